"""Rollouts that the tests of all suites compare."""

from typing import Any, NamedTuple

import numpy as np


class Rollout(NamedTuple):
    """Observations [T + 1, O] and rewards [T] of at most one episode, and how it ended."""

    obs: np.ndarray
    rewards: np.ndarray
    terminated: list[bool]
    truncated: list[bool]


def random_actions(env: Any, steps: int, seed: int = 0) -> np.ndarray:
    """Uniform in [-1, 1], as single precision: [T, A]."""
    rng = np.random.default_rng(seed)
    return rng.uniform(-1.0, 1.0, (steps, *env.action_space.shape)).astype(np.float32)


def rollout(env: Any, actions: np.ndarray, seed: int | None) -> Rollout:
    """One episode, until it ends or the actions do."""
    start, _ = env.reset(seed=seed)
    steps: list[Any] = []
    for action in actions:
        steps.append(env.step(action)[:4])
        if steps[-1][2] or steps[-1][3]:
            break
    obs, rewards, terminated, truncated = zip(*steps, strict=True)
    return Rollout(np.array([start, *obs]), np.array(rewards), list(terminated), list(truncated))


def same_bytes(a: Rollout, b: Rollout) -> bool:
    """Whether two rollouts agree in every bit."""
    return (
        a.obs.tobytes() == b.obs.tobytes()
        and a.rewards.tobytes() == b.rewards.tobytes()
        and a[2:] == b[2:]
    )
