"""Transitions that a learnt model made up, of the last few times that it was asked to."""

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from unirl_repro.replay import Batch


class ModelData:
    """The newest `generations` sets of transitions; those of one set stay and go together.

    Parameters
    ----------
    generations : int
        Sets that are kept.
    """

    def __init__(self, generations: int):
        self.generations = generations
        self.sets: list[Tensor] = []  # [n, 2 O + A + 2], a transition a row
        self.sizes = (0, 0)  # of observation and action
        self.ends = np.zeros(0, dtype=np.int64)  # of each set, counted through all of them

    def __len__(self) -> int:
        return int(self.ends[-1]) if len(self.ends) else 0

    def add(self, batch: Batch) -> None:
        """One more set; the oldest goes when there is no room."""
        self.sizes = batch.obs.shape[1], batch.action.shape[1]
        columns = (batch.obs, batch.action, batch.reward[:, None], batch.next_obs)
        rows = torch.cat([*columns, batch.terminated[:, None]], dim=1)
        self.sets = [*self.sets, rows][-self.generations :]
        self.ends = np.cumsum([len(rows) for rows in self.sets])

    def clear(self) -> None:
        self.sets, self.ends = [], np.zeros(0, dtype=np.int64)

    def sample(self, batch_size: int, rng: Generator, *, newest: bool = False) -> Batch:
        """Transitions drawn uniformly with replacement, from all sets or from the newest alone."""
        if not len(self):
            raise ValueError("cannot sample from model data before the first rollout")
        starts = self.ends - [len(rows) for rows in self.sets]
        first = int(starts[-1]) if newest else 0
        drawn = np.sort(rng.integers(first, len(self), size=batch_size))
        parts = np.split(drawn, np.searchsorted(drawn, self.ends[:-1]))  # by set
        numbers = [torch.from_numpy(p - s) for p, s in zip(parts, starts, strict=True)]
        taken = [r[n.to(r.device)] for r, n in zip(self.sets, numbers, strict=True)]
        return self._batch(torch.cat(taken))

    def _batch(self, rows: Tensor) -> Batch:
        obs_dim, action_dim = self.sizes
        obs, action, reward, next_obs, terminated = rows.split(
            [obs_dim, action_dim, 1, obs_dim, 1], dim=1
        )
        return Batch(obs, action, reward[:, 0], next_obs, terminated[:, 0])
