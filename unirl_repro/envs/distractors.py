"""Ant with distractors (unified_rl Sec. 4.2): sinusoids of time, appended to the observation."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, flatdim

from unirl_repro.envs import gym
from unirl_repro.envs.tasks import Task

GROUP = 10  # sinusoids in a group; they share a phase


def make(task: Task) -> gymnasium.Env:
    """The gymnasium task of that name with `task.distractors` groups of sinusoids."""
    return Distractors(gym.make(task), task.distractors)


def sinusoids(step: int, phases: np.ndarray) -> np.ndarray:
    """The distractors at one step of an episode.

    Parameters
    ----------
    step : int
        Environment steps since the reset.
    phases : (G,) array of float
        One phase a group [rad].

    Returns
    -------
    (10 G,) array of float
        In [-1, 1]; group after group.

    Notes
    -----
    The paper gives neither frequencies nor amplitude: periods are spaced geometrically from 5 to 50
    steps, each group spanning the whole range, and the amplitude is 1 (deviation E6).
    """
    periods = np.geomspace(5.0, 50.0, GROUP * len(phases)).reshape(GROUP, -1).T  # [G, 10]
    return np.sin(2 * np.pi * step / periods + phases[:, None]).ravel()


class Distractors(gymnasium.Wrapper):
    """Appends distractors, with phases drawn anew at each reset from the environment's generator.

    They are drawn after the environment's own reset, which thus is that of the plain task.
    """

    def __init__(self, env: gymnasium.Env, groups: int):
        super().__init__(env)
        self._step = 0
        self._phases = np.zeros(groups)
        size = flatdim(env.observation_space) + GROUP * groups
        self.observation_space = Box(-np.inf, np.inf, (size,), np.float64)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple:
        obs, info = self.env.reset(seed=seed, options=options)
        self._step = 0
        self._phases = self.np_random.uniform(0.0, 2 * np.pi, len(self._phases))
        return self._with_sinusoids(obs), info

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        obs, reward, terminated, truncated, info = self.env.step(action)
        self._step += 1
        return self._with_sinusoids(obs), float(reward), terminated, truncated, info

    def _with_sinusoids(self, obs: np.ndarray) -> np.ndarray:
        return np.concatenate([obs, sinusoids(self._step, self._phases)])
