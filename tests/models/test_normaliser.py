"""The running mean and standard deviation: exact however the rows come, fixed between updates."""

import io

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from unirl_repro.models.normaliser import Normaliser

COLUMNS = 3
NUMBERS = st.floats(-1e4, 1e4, width=32)


def fed(rows: np.ndarray, cuts: list[int]) -> Normaliser:
    """A normaliser that got the rows in parts."""
    made = Normaliser(rows.shape[1])
    for part in np.split(rows, cuts):
        if len(part):
            made.add(torch.from_numpy(part))
    made.update()
    return made


@given(
    rows=arrays(np.float32, st.tuples(st.integers(1, 30), st.just(COLUMNS)), elements=NUMBERS),
    data=st.data(),
)
def test_it_has_numpys_mean_and_std_however_the_rows_are_split(rows, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=6)))
    got = fed(rows, cuts)
    std = rows.std(0, dtype=np.float64)
    size = np.abs(rows).max(initial=1.0)
    np.testing.assert_allclose(got.mean, rows.mean(0, dtype=np.float64), atol=1e-6 * size)
    np.testing.assert_allclose(
        got.std, np.maximum(std, Normaliser.SMALLEST), rtol=1e-5, atol=1e-6 * size
    )


def test_a_small_spread_around_a_large_mean_is_not_lost():
    rows = 1e4 + np.random.default_rng(0).normal(0, 0.01, size=(5000, COLUMNS))
    got = fed(rows, list(range(50, 5000, 50)))
    np.testing.assert_allclose(got.std, rows.std(0), rtol=1e-5)


def test_data_comes_out_with_mean_zero_and_variance_one():
    rows = np.random.default_rng(0).normal([3, -50, 0], [0.1, 20, 1], size=(400, COLUMNS))
    out = fed(rows, [7, 150])(torch.from_numpy(rows))
    torch.testing.assert_close(out.mean(0), torch.zeros(3, dtype=out.dtype), atol=1e-5, rtol=0)
    torch.testing.assert_close(out.var(0, correction=0), torch.ones(3, dtype=out.dtype))


def test_a_constant_column_comes_out_as_zero():
    rows = torch.full((40, 1), 0.1)
    made = fed(rows.numpy(), [13])
    assert made.std.item() == pytest.approx(Normaliser.SMALLEST)
    assert made(rows).abs().max() < 0.02


def test_what_is_added_counts_from_the_next_update_on():
    made = Normaliser(1)
    assert (made.mean.item(), made.std.item()) == (0, 1)
    made.add(torch.tensor([[2.0], [4.0]]))
    assert (made.mean.item(), made.std.item()) == (0, 1)
    made.update()
    assert (made.mean.item(), made.std.item()) == (3, 1)
    made.add(torch.tensor([[30.0]]))
    assert made(torch.tensor([[5.0]])).item() == 2
    made.update()
    made.update()
    assert (made.mean.item(), made.std.item()) == (12, pytest.approx(np.std([2, 4, 30])))


def test_saved_in_the_middle_it_goes_on_as_if_undisturbed():
    rows = torch.from_numpy(np.random.default_rng(0).normal(size=(30, COLUMNS)))
    whole, restored = Normaliser(COLUMNS), Normaliser(COLUMNS)
    whole.add(rows[:10])
    whole.update()
    whole.add(rows[10:20])
    file = io.BytesIO()
    torch.save(whole.state_dict(), file)
    file.seek(0)
    restored.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(restored(rows), whole(rows))
    for one in (whole, restored):
        one.add(rows[20:])
        one.update()
    assert torch.equal(whole.mean, restored.mean)
    assert torch.equal(whole.std, restored.std)
