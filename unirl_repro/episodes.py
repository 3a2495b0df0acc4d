"""Whole episodes of one length, out of a replay of transitions."""

import torch
from numpy.random import Generator
from torch import Tensor

from unirl_repro.replay import Batch, Replay


def num_episodes(replay: Replay, horizon: int) -> int:
    """Complete episodes of `horizon` steps that the replay still holds from start to end."""
    first, end = _bounds(replay, horizon)
    return max(0, end - first)


def sample_episodes(replay: Replay, horizon: int, count: int, rng: Generator) -> Batch:
    """Episodes drawn uniformly with replacement.

    Parameters
    ----------
    replay : Replay
        Of a task that never ends early, so that episode i is transitions i T to (i + 1) T.
    horizon : int
        T.
    count : int
        B.
    rng : Generator
        Where the draws come from.

    Returns
    -------
    Batch
        Fields with a leading [T, B].
    """
    start = _drawn(replay, horizon, count, rng) * horizon  # [B]
    return _rows(replay, start + torch.arange(horizon)[:, None])


def sample_initial(replay: Replay, horizon: int, count: int, rng: Generator) -> Tensor:
    """First observations [B, O] of episodes drawn uniformly with replacement."""
    return _rows(replay, _drawn(replay, horizon, count, rng) * horizon).obs


def _bounds(replay: Replay, horizon: int) -> tuple[int, int]:
    """Numbers of the oldest whole episode, and of the one that is not complete yet."""
    oldest = max(0, replay.added - replay.capacity)
    return -(-oldest // horizon), replay.added // horizon


def _drawn(replay: Replay, horizon: int, count: int, rng: Generator) -> Tensor:
    first, end = _bounds(replay, horizon)
    if first >= end:
        raise ValueError(
            f"the replay, {len(replay)} transitions, holds no whole episode of {horizon} steps"
        )
    return torch.from_numpy(rng.integers(first, end, size=count))


def _rows(replay: Replay, numbers: Tensor) -> Batch:
    rows = (numbers % replay.capacity).to(replay.obs.device)
    return Batch(*(getattr(replay, field)[rows] for field in Batch._fields))
