"""Whole episodes out of the ring of transitions, checked against a list of all of them."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unirl_repro.episodes import num_episodes, sample_episodes, sample_initial
from unirl_repro.replay import Replay

SIZES = {"capacity": st.integers(1, 40), "horizon": st.integers(1, 7), "added": st.integers(0, 120)}


def numbered(capacity: int, added: int) -> Replay:
    """A replay whose transition i has observation i, action -i, reward 10 i."""
    replay = Replay(capacity, obs_dim=1, action_dim=1)
    for i in range(added):
        obs = torch.full((1,), float(i))
        replay.add(obs, -obs, 10.0 * i, obs + 0.5, terminated=False)
    return replay


def whole_episodes(capacity: int, horizon: int, added: int) -> list[int]:
    """Numbers of the first transitions of all episodes that lie in the ring from start to end."""
    held = set(range(max(0, added - capacity), added))
    return [
        start
        for start in range(0, added, horizon)
        if held.issuperset(range(start, start + horizon))
    ]


@given(**SIZES)
def test_it_counts_the_episodes_that_are_there_from_start_to_end(capacity, horizon, added):
    expected = len(whole_episodes(capacity, horizon, added))
    assert num_episodes(numbered(capacity, added), horizon) == expected


@given(**SIZES, seed=st.integers(0, 1000))
def test_a_sample_holds_whole_episodes_in_order(capacity, horizon, added, seed):
    starts = whole_episodes(capacity, horizon, added)
    replay = numbered(capacity, added)
    if not starts:
        with pytest.raises(ValueError, match=f"no whole episode of {horizon} steps"):
            sample_episodes(replay, horizon, 2, np.random.default_rng(seed))
        return
    episodes = sample_episodes(replay, horizon, 5, np.random.default_rng(seed))
    assert episodes.obs.shape == episodes.action.shape == (horizon, 5, 1)
    assert episodes.reward.shape == episodes.terminated.shape == (horizon, 5)
    first = episodes.obs[0, :, 0]
    assert set(first.tolist()) <= set(starts)
    numbers = first + torch.arange(horizon)[:, None]
    assert torch.equal(episodes.obs[..., 0], numbers)
    assert torch.equal(episodes.action[..., 0], -numbers)
    assert torch.equal(episodes.reward, 10 * numbers)
    assert torch.equal(episodes.next_obs[..., 0], numbers + 0.5)


def test_episodes_and_first_observations_are_drawn_uniformly():
    # Transitions 13 to 32 are left, and episode 4, transitions 12 to 14, is cut.
    replay, count = numbered(capacity=20, added=33), 5000
    starts = torch.tensor(whole_episodes(20, 3, 33))
    assert starts.tolist() == [15, 18, 21, 24, 27, 30]
    rng = np.random.default_rng(0)
    drawn = [
        sample_initial(replay, 3, count, rng)[:, 0],
        sample_episodes(replay, 3, count, rng).obs[0, :, 0],
    ]
    for first in drawn:
        counts = (first[:, None] == starts).sum(0)
        assert counts.sum() == count
        # Five standard deviations of a binomial count.
        assert ((counts - count / 6).abs() < 5 * (count * 5 / 36) ** 0.5).all()
    assert not torch.equal(*drawn)
