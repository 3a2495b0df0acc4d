"""What every suite's environments share: actions in [-1, 1], fixed length, an explicit time limit."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box

Step = tuple[np.ndarray, float, bool, bool, dict[str, Any]]


class CheckedActions(gymnasium.Wrapper):
    """Actions in [-1, 1], scaled to the environment's own bounds (deviation E11).

    Entries beyond the bounds are clipped, as the papers' environments do; an action of another
    shape or with an entry that is not a number is an error, for no environment can mean it.

    Parameters
    ----------
    env : gymnasium.Env
        With a Box of finite bounds, symmetric about zero, as action space.
    """

    def __init__(self, env: gymnasium.Env):
        super().__init__(env)
        own = env.action_space
        assert isinstance(own, Box)
        assert (own.low == -own.high).all()
        self._scale = own.high.astype(np.float64)
        # Single precision, which replay stores without loss.
        self.action_space = Box(-1.0, 1.0, own.shape, np.float32)

    def step(self, action: np.ndarray) -> Step:
        action = np.asarray(action, dtype=np.float64)
        if action.shape != self._scale.shape:
            raise ValueError(f"action has shape {action.shape}; expected {self._scale.shape}")
        if np.isnan(action).any():
            raise ValueError(f"action is {action}; its entries must be numbers in [-1, 1]")
        obs, reward, *ends = self.env.step(np.clip(action, -1.0, 1.0) * self._scale)
        return obs, float(reward), *ends


class FixedLength(gymnasium.Wrapper):
    """An environment that never terminates (deviation E3): its `terminated` is dropped."""

    def step(self, action: np.ndarray) -> Step:
        obs, reward, _, truncated, info = self.env.step(action)
        return obs, float(reward), False, truncated, info


class TimeLimit(gymnasium.Wrapper):
    """Truncates at the horizon, and refuses a step outside of an episode.

    Unlike gymnasium's, it stops an agent that steps on after the end: its data would be wrong.
    """

    def __init__(self, env: gymnasium.Env, horizon: int):
        super().__init__(env)
        self._horizon = horizon
        self._left = 0

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple:
        self._left = self._horizon
        return self.env.reset(seed=seed, options=options)

    def step(self, action: np.ndarray) -> Step:
        if self._left == 0:
            raise RuntimeError("no episode is running: call reset() before step()")
        obs, reward, terminated, truncated, info = self.env.step(action)
        truncated = truncated or self._left == 1
        self._left = 0 if terminated or truncated else self._left - 1
        return obs, float(reward), bool(terminated), bool(truncated), info
