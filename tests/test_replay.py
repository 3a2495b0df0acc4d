"""The replay: the newest transitions, whole and in order, drawn uniformly."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from unirl_repro.replay import Batch, Replay
from unirl_repro.rng import Keys

PROPERTY = settings(max_examples=50, deadline=None)


def filled(capacity: int, added: int) -> Replay:
    """A replay in which every field of transition i tells i."""
    replay = Replay(capacity, obs_dim=2, action_dim=1)
    for i in range(added):
        obs, next_obs = torch.tensor([i, -i]), torch.tensor([i + 1, -i - 1])
        replay.add(obs, torch.full((1,), i / 1000), i / 2, next_obs, terminated=i % 3 == 0)
    return replay


def expected(start: int, stop: int) -> Batch:
    i = torch.arange(start, stop, dtype=torch.float32)
    obs, next_obs = torch.stack([i, -i], -1), torch.stack([i + 1, -i - 1], -1)
    return Batch(obs, (i / 1000)[:, None], i / 2, next_obs, (i % 3 == 0).float())


def same(one: Batch, other: Batch) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@PROPERTY
@given(capacity=st.integers(1, 40), added=st.integers(0, 120))
def test_it_keeps_exactly_the_newest(capacity, added):
    replay = filled(capacity, added)
    kept = sorted(replay.obs[: len(replay), 0].tolist())
    assert kept == list(range(max(0, added - capacity), added))
    assert (len(replay), replay.added) == (min(capacity, added), added)


@PROPERTY
@given(capacity=st.integers(1, 40), added=st.integers(0, 120), data=st.data())
def test_rows_gives_any_kept_stretch_in_order(capacity, added, data):
    oldest = max(0, added - capacity)
    start = data.draw(st.integers(oldest, added))
    stop = data.draw(st.integers(start, added))
    assert same(filled(capacity, added).rows(start, stop), expected(start, stop))


@PROPERTY
@given(capacity=st.integers(1, 40), added=st.integers(0, 120), piece=st.integers(1, 50))
def test_what_rows_gave_restores_the_replay(capacity, added, piece):
    """In pieces, as checkpoints have it, and across the end of the ring."""
    replay, copy = filled(capacity, added), Replay(capacity, obs_dim=2, action_dim=1)
    oldest = max(0, added - capacity)
    for start in range(oldest, added, piece):
        copy.restore(start, replay.rows(start, min(start + piece, added)))
    assert (len(copy), copy.added) == (len(replay), replay.added)
    assert same(copy.rows(oldest, added), expected(oldest, added))
    if added:
        both = [r.sample(8, Keys(0, "test")("batch")) for r in (replay, copy)]
        assert same(*both)


@PROPERTY
@given(capacity=st.integers(2, 40), added=st.integers(1, 120), old=st.integers(1, 20))
def test_a_piece_that_reaches_back_too_far_does_no_harm(capacity, added, old):
    """A checkpoint's oldest file may hold transitions that the ring has lost since."""
    whole = filled(1000, added)
    middle = max(0, added - capacity)
    start = max(0, middle - min(old, capacity))
    copy = Replay(capacity, obs_dim=2, action_dim=1)
    copy.restore(start, whole.rows(start, middle))
    copy.restore(middle, whole.rows(middle, added))
    assert same(copy.rows(middle, added), expected(middle, added))


@pytest.mark.parametrize(("capacity", "added"), [(40, 10), (10, 10), (10, 25)])
def test_every_kept_transition_is_drawn_equally_often(capacity, added):
    replay = filled(capacity, added)
    batch = replay.sample(20_000, Keys(0, "test")("batch"))
    counts = torch.bincount(batch.obs[:, 0].long(), minlength=added)[-len(replay) :]
    assert counts.sum() == 20_000
    assert stats.chisquare(counts.numpy()).pvalue > 0.01


def test_a_sample_is_made_of_whole_transitions():
    batch = filled(10, 25).sample(64, Keys(0, "test")("batch"))
    i = batch.obs[:, 0]
    assert torch.equal(batch.reward, i / 2)
    assert torch.equal(batch.next_obs[:, 1], -i - 1)
    assert torch.equal(batch.terminated, (i % 3 == 0).float())


def test_the_generator_decides_the_sample():
    replay = filled(40, 40)
    one, two = (replay.sample(16, Keys(0, "test", step=s)("batch")) for s in (0, 1))
    again = replay.sample(16, Keys(0, "test", step=0)("batch"))
    assert same(one, again)
    assert not same(one, two)


def test_an_empty_replay_cannot_be_sampled():
    with pytest.raises(ValueError, match="empty replay"):
        Replay(4, 1, 1).sample(2, Keys(0, "test")("batch"))


@pytest.mark.parametrize(("start", "stop"), [(14, 20), (20, 26), (22, 21), (-1, 3)])
def test_rows_that_are_not_there_are_an_error(start, stop):
    with pytest.raises(IndexError, match=r"holds \[15, 25\)"):
        filled(10, 25).rows(start, stop)
