"""Meta-World's drawer-open-v3, with its goal observed (deviation E9)."""

from typing import Any

import gymnasium
from metaworld import ALL_V3_ENVIRONMENTS_GOAL_OBSERVABLE

from unirl_repro.envs.tasks import Task


def make(task: Task) -> gymnasium.Env:
    """The environment of that name; the place of its object is drawn at each reset."""
    cls: Any = ALL_V3_ENVIRONMENTS_GOAL_OBSERVABLE[f"{task.name}-goal-observable"]
    # It draws from NumPy's global generator at first; given a seed, it restores that generator.
    return SeededReset(cls(seed=0))


class SeededReset(gymnasium.Wrapper):
    """Draws the object's place from the environment's own generator, seeded through `reset`.

    Meta-World ignores `seed`, and resets twice with two draws: its first observation would show
    the object where the first one put it. Fixing one place before each reset, as its benchmarks
    do by choosing a task, avoids both.
    """

    def __init__(self, env: Any):
        super().__init__(env)
        self._raw = env
        # The environment's own attribute is that of the hidden goal.
        self.observation_space = env.sawyer_observation_space

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple:
        if seed is not None:
            self._raw.seed(seed)
        places = self._raw._random_reset_space
        self._raw._last_rand_vec = self._raw.np_random.uniform(places.low, places.high)
        return self.env.reset()
