"""CMLO (Ji et al. 2022, "When to update your model"): MBPO that trains its model when it is time.

It is time when new data, weighed by how far they widen what was visited, surprise the model by more
than a threshold in all. Everything else is MBPO's; what the published code does otherwise beside
this is in deviation D5.
"""

from math import log1p
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from scipy.spatial import ConvexHull, QhullError
from torch import Tensor

from unirl_repro.agents.mbpo import MBPO
from unirl_repro.agents.protocol import Metrics
from unirl_repro.hyperparameters import CMLOParameters
from unirl_repro.replay import Replay
from unirl_repro.rng import Keys, normal

HULL_DIMENSIONS = 3  # of the principal components that a volume is measured in
FLAT = 1e-6  # of the widest component, below which another is rounding alone


class CMLO(MBPO):
    """MBPO with event-triggered training of the model, as the loop sees it; built like MBPO."""

    policy = "cmlo"
    parameters: CMLOParameters

    def __init__(self, parameters: CMLOParameters, *sizes: int, **options: Any):
        super().__init__(parameters, *sizes, **options)
        # Of the visited states when last looked at; since the last training, steps, the sum of the
        # model's errors on them, and of log(1 + volume ratio * mean error).
        self.volume, self.steps, self.errors, self.shift = 0.0, 0, 0.0, 0.0

    def model_is_due(self, replay: Replay, keys: Keys) -> bool:
        p = self.parameters
        if self.steps_learning(replay) % p.check_every:
            return False
        states = replay.obs[
            torch.from_numpy(keys("hull").integers(replay.added, size=p.hull_states))
        ]
        volume = hull_volume(states)
        # Where the states span no volume, they count as neither wider nor narrower: deviation D5.
        ratio = volume / self.volume if volume and self.volume else 1.0
        self.volume = volume or self.volume
        if not self.elites:
            return True
        self.steps += p.check_every
        self.errors += self._surprise(replay, keys("surprise"))
        self.shift += log1p(ratio * self.errors / self.steps)
        surprised = self.steps >= p.least_steps and self.shift > p.threshold
        return surprised or self.steps >= p.most_steps

    def train_model(self, replay: Replay, keys: Keys) -> Metrics:
        since = {"steps_between_trainings": float(self.steps), "data_shift": self.shift}
        self.steps, self.errors, self.shift = 0, 0.0, 0.0
        return {**super().train_model(replay, keys), **since}

    @torch.no_grad()
    def _surprise(self, replay: Replay, rng: Generator) -> float:
        """Distance from one sample of each elite to what came, over the steps since the last look."""
        new = replay.rows(replay.added - self.parameters.check_every, replay.added)
        count, elites = len(new.reward), len(self.elites)
        members = np.repeat(self.elites, count)
        obs, action = new.obs.repeat(elites, 1), new.action.repeat(elites, 1)
        noise = normal(rng, len(obs), 1 + obs.shape[1], like=obs)
        _, next_obs = self.model.sample(obs, action, members, noise)
        return ((next_obs - new.next_obs.repeat(elites, 1)).norm(dim=1).sum() / elites).item()

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {name: getattr(self, name) for name in _STATEFUL}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        for name in _STATEFUL:
            setattr(self, name, state[name])


_STATEFUL = ("volume", "steps", "errors", "shift")


def hull_volume(states: Tensor) -> float:
    """Volume of the convex hull of states [N, O] in their first principal components; 0 if flat."""
    centred = (states - states.mean(0)).double().cpu().numpy()
    _, sizes, components = np.linalg.svd(centred, full_matrices=False)
    if sizes[:HULL_DIMENSIONS][-1] <= FLAT * sizes[0]:
        return 0.0
    try:
        return float(ConvexHull(centred @ components[:HULL_DIMENSIONS].T).volume)
    except (QhullError, ValueError):  # the latter of one dimension
        return 0.0
