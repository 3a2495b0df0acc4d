"""Model data: what is drawn from where, what is thrown away, and that rows come back as they went in."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from unirl_repro.model_data import ModelData
from unirl_repro.replay import Batch
from unirl_repro.rng import Keys

OBS, ACTION = 3, 2


def transitions(first: int, count: int) -> Batch:
    return numbered(torch.arange(first, first + count, dtype=torch.float32))


def numbered(number: Tensor) -> Batch:
    """Transitions each of whose entries tells which one and which column it is."""
    columns = torch.arange(2 * OBS + ACTION + 1) / 64
    rows = number[:, None] + columns
    obs, action, reward, next_obs = rows.split([OBS, ACTION, 1, OBS], dim=1)
    return Batch(obs, action, reward[:, 0], next_obs, (number % 2 == 0).float())


def filled(generations: int, sizes: list[int]) -> ModelData:
    data, first = ModelData(generations), 0
    for size in sizes:
        data.add(transitions(first, size))
        first += size
    return data


def numbers(batch: Batch) -> np.ndarray:
    """Which transitions these are, whose columns all belong together."""
    number = batch.obs[:, 0]
    for got, wanted in zip(batch, numbered(number), strict=True):
        assert torch.equal(got, wanted)
    return number.to(torch.int64).numpy()


def rng(seed: int = 0) -> np.random.Generator:
    return Keys(seed, "test")("batch")


def test_rows_come_back_with_each_column_where_it_was() -> None:
    drawn = filled(3, [5, 1, 7]).sample(64, rng())
    assert [tuple(column.shape) for column in drawn] == [(64, 3), (64, 2), (64,), (64, 3), (64,)]
    assert len(set(numbers(drawn).tolist())) > 10
    assert set(drawn.terminated.tolist()) == {0.0, 1.0}


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 4), st.lists(st.integers(1, 9), min_size=1, max_size=8), st.integers(0, 99))
def test_exactly_the_newest_sets_are_there_whole(generations, sizes, seed) -> None:
    data, total = filled(generations, sizes), sum(sizes)
    kept = sum(sizes[-generations:])
    assert len(data) == kept
    drawn = set(numbers(data.sample(40 * kept, rng(seed))).tolist())
    assert drawn == set(range(total - kept, total))
    newest = set(numbers(data.sample(40 * kept, rng(seed), newest=True)).tolist())
    assert newest == set(range(total - sizes[-1], total))


@pytest.mark.parametrize("sizes", [[400], [1, 300, 99], [100, 100, 100, 100]], ids=str)
def test_all_rows_are_drawn_alike_whatever_set_they_are_in(sizes: list[int]) -> None:
    counts = np.bincount(numbers(filled(4, sizes).sample(40_000, rng())), minlength=400)
    # Of a generator that is keyed, so that the outcome is always the same.
    assert stats.chisquare(counts).pvalue > 1e-3
    ends = np.cumsum(sizes)
    shares = [part.sum() / 40_000 for part in np.split(counts, ends[:-1])]
    np.testing.assert_allclose(shares, np.array(sizes) / 400, atol=0.01)


def test_newest_rows_are_drawn_alike() -> None:
    drawn = numbers(filled(2, [300, 50]).sample(5_000, rng(), newest=True))
    assert stats.chisquare(np.bincount(drawn - 300, minlength=50)).pvalue > 1e-3


def test_a_draw_is_with_replacement_and_follows_its_generator() -> None:
    data = filled(2, [6, 4])
    first, again, other = (numbers(data.sample(30, rng(seed))) for seed in (0, 0, 1))
    assert first.tolist() == again.tolist()
    assert sorted(first) != sorted(other)
    assert len(first) == 30


def test_sets_are_copied_and_not_shared_with_who_adds_them() -> None:
    data, batch = ModelData(2), transitions(0, 4)
    data.add(batch)
    batch.obs.zero_()
    assert set(numbers(data.sample(50, rng())).tolist()) == {0, 1, 2, 3}


def test_nothing_can_be_drawn_before_the_first_set_nor_after_clearing() -> None:
    data = ModelData(2)
    for _ in range(2):
        assert len(data) == 0
        with pytest.raises(ValueError, match="before the first rollout"):
            data.sample(1, rng())
        data.add(transitions(0, 3))
        assert len(data) == 3
        data.clear()
    data.add(transitions(7, 2))
    assert set(numbers(data.sample(20, rng())).tolist()) == {7, 8}
