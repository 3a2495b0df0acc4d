"""Windows out of the ring of transitions, checked against a list of all that there are."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.test_episodes import numbered
from unirl_repro.windows import num_windows, sample_windows

SIZES = {
    "capacity": st.integers(1, 40),
    "added": st.integers(0, 120),
    "length": st.integers(1, 7),
    "ends": st.sets(st.integers(0, 119)),
}


def allowed_starts(capacity: int, added: int, length: int, ends: set[int]) -> list[int]:
    """First transitions of all windows in the ring with an end at their last transition at most."""
    oldest = max(0, added - capacity)
    return [
        start
        for start in range(oldest, added - length + 1)
        if ends.isdisjoint(range(start, start + length - 1))
    ]


def noted(ends: set[int], added: int) -> np.ndarray:
    """As an agent keeps them: in order, and none that has not come yet."""
    return np.array(sorted(end for end in ends if end < added), dtype=np.int64)


@given(**SIZES)
def test_it_counts_the_windows_that_are_there(capacity, added, length, ends):
    expected = len(allowed_starts(capacity, added, length, ends))
    assert num_windows(numbered(capacity, added), noted(ends, added), length) == expected


@given(**SIZES, seed=st.integers(0, 1000))
def test_a_window_is_consecutive_and_never_goes_on_after_an_end(
    capacity, added, length, ends, seed
):
    replay, rng = numbered(capacity, added), np.random.default_rng(seed)
    allowed = allowed_starts(capacity, added, length, ends)
    if not allowed:
        with pytest.raises(ValueError, match=f"no window of {length} steps"):
            sample_windows(replay, noted(ends, added), length, 2, rng)
        return
    windows = sample_windows(replay, noted(ends, added), length, 5, rng)
    assert windows.obs.shape == (5, 1)
    assert windows.action.shape == windows.next_obs.shape == (length, 5, 1)
    assert set(windows.obs[:, 0].tolist()) <= set(allowed)
    numbers = windows.obs + torch.arange(length)[:, None, None]
    assert torch.equal(windows.action, -numbers)
    assert torch.equal(windows.next_obs, numbers + 0.5)


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ([], range(13, 31)),
        ([16, 20, 21, 31], [13, 14, 17, 18, *range(22, 30)]),
        ([3, 16], [13, 14, *range(17, 31)]),  # the first is no longer in the ring
    ],
)
def test_every_allowed_window_is_drawn_equally_often(ends, expected):
    # Transitions 13 to 32 are left.
    replay, count, starts = numbered(capacity=20, added=33), 20_000, torch.tensor([*expected])
    rng = np.random.default_rng(0)
    first = sample_windows(replay, np.array(ends, dtype=np.int64), 3, count, rng).obs[:, 0]
    share = 1 / len(starts)
    counts = (first[:, None] == starts).sum(0)
    assert counts.sum() == count
    # Five standard deviations of a binomial count.
    assert ((counts - count * share).abs() < 5 * (count * share * (1 - share)) ** 0.5).all()


def test_the_published_sampler_draws_from_the_same_windows():
    """RajGhugare19/alm, utils/replay_buffer.py: draw a start until no rule forbids it.

    While its buffer is not full it never takes the newest transition; ours does: deviation A24.
    """
    capacity, added, length, ends = 20, 33, 3, {16, 20, 21}
    oldest = added % capacity  # the row that is written next
    rows = {number % capacity: number for number in range(added - capacity, added)}
    published = set()
    for row in range(capacity):
        window = [(row + step) % capacity for step in range(length)]
        crosses = oldest in window[1:] or any(rows[r] in ends for r in window[:-1])
        if not crosses:
            published.add(rows[row])
    assert published == set(allowed_starts(capacity, added, length, ends))
