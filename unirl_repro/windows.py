"""Short windows of consecutive transitions, out of a replay of transitions."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from unirl_repro.replay import Replay


class Windows(NamedTuple):
    """Windows of K transitions: where each begins, what is done, and what is seen after it."""

    obs: Tensor  # [B, O]
    action: Tensor  # [K, B, A]
    next_obs: Tensor  # [K, B, O]


def num_windows(replay: Replay, ends: np.ndarray, length: int) -> int:
    """Windows that `sample_windows` draws from."""
    return int(_pieces(replay, ends, length)[1].sum())


def sample_windows(
    replay: Replay, ends: np.ndarray, length: int, count: int, rng: Generator
) -> Windows:
    """Windows drawn uniformly with replacement, of all that do not go on after an end.

    Parameters
    ----------
    replay : Replay
        Where transitions lie in the order of the run.
    ends : ndarray of int
        Numbers of the transitions after which a window must not go on, in order. It may itself be a
        window's last one.
    length : int
        K.
    count : int
        B.
    rng : Generator
        Where the draws come from.
    """
    starts, counts = _pieces(replay, ends, length)
    following = counts.cumsum()  # number of the first window after each piece
    if not following[-1]:
        raise ValueError(
            f"the replay, {len(replay)} transitions in {len(starts)} pieces, holds no window of "
            f"{length} steps"
        )
    drawn = rng.integers(following[-1], size=count)
    piece = following.searchsorted(drawn, side="right")
    first = starts[piece] + drawn - (following - counts)[piece]  # [B]
    rows = torch.from_numpy((first + np.arange(length)[:, None]) % replay.capacity)
    rows = rows.to(replay.obs.device)
    return Windows(replay.obs[rows[0]], replay.action[rows], replay.next_obs[rows])


def _pieces(replay: Replay, ends: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """First transition of each piece between two ends, and the number of windows in it."""
    oldest = max(0, replay.added - replay.capacity)
    starts = np.concatenate([[oldest], ends[ends >= oldest] + 1])
    stops = np.append(starts[1:], replay.added)
    return starts, np.maximum(stops - starts - length + 1, 0)
