"""Cartpole swing-up of the DeepMind control suite, its first 2 s at 0.01 s a step (deviation E7)."""

import warnings
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box

from unirl_repro.envs.tasks import Task

with warnings.catch_warnings():  # importing it looks for a display, which training does not need
    warnings.simplefilter("ignore")
    from dm_control.suite import cartpole


def make(task: Task) -> gymnasium.Env:
    """The only task of this suite."""
    if task.name != "cartpole swingup":
        raise ValueError(f"task {task.id}: name is {task.name!r}. Allowed: 'cartpole swingup'.")
    return CartpoleSwingup(task.obs_dim)


class CartpoleSwingup(gymnasium.Env):
    """The suite's environment behind gymnasium's interface, without its own time limit."""

    def __init__(self, obs_dim: int) -> None:
        self._env = cartpole.swingup(time_limit=float("inf"))
        self.observation_space = Box(-np.inf, np.inf, (obs_dim,), np.float64)
        self.action_space = Box(-1.0, 1.0, self._env.action_spec().shape, np.float32)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple:
        super().reset(seed=seed)
        # The suite draws from a generator of the old kind, kept in its task: a new one each time.
        words = self.np_random.integers(2**32, size=4, dtype=np.uint32)
        self._env.task.random.seed(words)
        return _flat(self._env.reset().observation), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        moment = self._env.step(action)
        return _flat(moment.observation), float(moment.reward), False, False, {}


def _flat(observation: dict[str, np.ndarray]) -> np.ndarray:
    return np.concatenate([observation["position"], observation["velocity"]])
