"""Meta-World's drawer-open-v3, with its goal observed (deviation E9)."""

from typing import Any

import gymnasium
from metaworld import ALL_V3_ENVIRONMENTS_GOAL_OBSERVABLE

from unirl_repro.envs.tasks import Task


def make(task: Task) -> gymnasium.Env:
    """The environment of that name; the drawer's place is drawn at each reset."""
    # The class draws from NumPy's global generator unless it gets a seed, and then restores it.
    cls: Any = ALL_V3_ENVIRONMENTS_GOAL_OBSERVABLE[f"{task.name}-goal-observable"]
    env = cls(seed=0)
    env.seeded_rand_vec = True  # draw from the environment's own generator
    env._freeze_rand_vec = False
    return SeededReset(env)


class SeededReset(gymnasium.Wrapper):
    """Seeds through `reset`, whose `seed` Meta-World ignores."""

    def __init__(self, env: Any):
        super().__init__(env)
        # The environment's own attribute is that of the hidden goal.
        self._seed = env.seed
        self.observation_space = env.sawyer_observation_space

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple:
        if seed is not None:
            self._seed(seed)
        return self.env.reset()
