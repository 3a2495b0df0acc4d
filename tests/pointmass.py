"""A point mass whose best return is known: x' = x + a, cost x^2 + 0.1 a^2, 20 steps, |x| <= 1.

Its best controller is linear, found by the Riccati recursion. Actions are clipped to [-1, 1], which
that controller never needs from such starts; so both ends of the score are exact.
"""

from typing import Any

import gymnasium as gym
import numpy as np

HORIZON = 20
ACTION_COST = 0.1
STARTS = np.linspace(-1.0, 1.0, 21)


def optimal_gains() -> np.ndarray:
    """k_t in a = -k_t x, first step first, and the cost-to-go P_0: k_0, ..., k_{T-1}, P_0."""
    cost, gains = 0.0, []
    for _ in range(HORIZON):
        gain = cost / (ACTION_COST + cost)
        gains.append(gain)
        cost = 1.0 + ACTION_COST * gain**2 + cost * (1 - gain) ** 2
    return np.array([*reversed(gains), cost])


def score(returns: np.ndarray, starts: np.ndarray = STARTS) -> float:
    """Share of the way from doing nothing (0) to the optimum (1), over a set of starts."""
    idle = -HORIZON * np.square(starts).mean()
    best = -optimal_gains()[-1] * np.square(starts).mean()
    return float((returns.mean() - idle) / (best - idle))


class PointMass(gym.Env):
    """The task as an environment; ``reset(options={"start": x})`` fixes where it starts."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (1,), np.float32)
    action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        start = (options or {}).get("start")
        self.x = float(self.np_random.uniform(-1, 1) if start is None else start)
        self.steps = 0
        return self._obs(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        a = float(np.clip(action, -1.0, 1.0).item())
        reward = -(self.x**2) - ACTION_COST * a**2
        self.x += a
        self.steps += 1
        return self._obs(), reward, False, self.steps == HORIZON, {}

    def _obs(self) -> np.ndarray:
        return np.array([self.x], dtype=np.float32)
