"""Replay buffer of transitions, on the training device."""

from typing import NamedTuple

import torch
from numpy.random import Generator
from torch import Tensor


class Batch(NamedTuple):
    """Transitions, one a row: all float, [B, O], [B, A], [B], [B, O], [B]."""

    obs: Tensor
    action: Tensor
    reward: Tensor
    next_obs: Tensor
    terminated: Tensor  # 1 where the environment ended; a time limit is not an end


class Replay:
    """The newest `capacity` transitions of a run, in a ring.

    Parameters
    ----------
    capacity : int
        Transitions kept; the oldest is overwritten.
    obs_dim, action_dim : int
        Sizes of one observation and one action.
    device : torch.device or str, default "cpu"
        Where the transitions live and batches appear.

    Attributes
    ----------
    added : int
        Transitions added since the start of the run; transition i lies in row ``i % capacity``.
    """

    def __init__(
        self, capacity: int, obs_dim: int, action_dim: int, device: torch.device | str = "cpu"
    ):
        self.capacity, self.added = capacity, 0
        # `empty` commits no memory before rows are written.
        self.obs = torch.empty(capacity, obs_dim, device=device)
        self.action = torch.empty(capacity, action_dim, device=device)
        self.reward = torch.empty(capacity, device=device)
        self.next_obs = torch.empty(capacity, obs_dim, device=device)
        self.terminated = torch.empty(capacity, device=device)

    def __len__(self) -> int:
        return min(self.added, self.capacity)

    def add(
        self, obs: Tensor, action: Tensor, reward: float, next_obs: Tensor, terminated: bool
    ) -> None:
        """Append one transition: [O], [A], scalar, [O], flag."""
        row = self.added % self.capacity
        self.obs[row] = obs
        self.action[row] = action
        self.reward[row] = reward
        self.next_obs[row] = next_obs
        self.terminated[row] = terminated
        self.added += 1

    def sample(self, batch_size: int, rng: Generator) -> Batch:
        """Transitions drawn uniformly with replacement."""
        if not self.added:
            raise ValueError("cannot sample from an empty replay")
        rows = torch.from_numpy(rng.integers(len(self), size=batch_size)).to(self.obs.device)
        return self._batch(rows)

    def rows(self, start: int, stop: int) -> Batch:
        """Transitions number `start` to `stop` of the run, in order."""
        if not max(0, self.added - self.capacity) <= start <= stop <= self.added:
            raise IndexError(
                f"transitions [{start}, {stop}) are not all in the replay, which holds "
                f"[{max(0, self.added - self.capacity)}, {self.added})"
            )
        return self._batch(torch.arange(start, stop, device=self.obs.device) % self.capacity)

    def restore(self, start: int, batch: Batch) -> None:
        """Put transitions back as number `start` onwards, as `rows` gave them."""
        stop = start + len(batch.reward)
        rows = torch.arange(start, stop, device=self.obs.device) % self.capacity
        for field, values in zip(Batch._fields, batch, strict=True):
            getattr(self, field)[rows] = values.to(self.obs.device)
        self.added = stop

    def _batch(self, rows: Tensor) -> Batch:
        return Batch(*(getattr(self, field)[rows] for field in Batch._fields))
