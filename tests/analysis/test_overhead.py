"""Whether saved data pay for slower updates: exact values."""

import numpy as np
import pytest

from unirl_repro.analysis.overhead import break_even_rate, nearer, wall_seconds
from unirl_repro.analysis.thresholds import permissible_overhead


@pytest.mark.parametrize(("update_seconds", "expected"), [(0.008, 944.7368), (0.8, 11.1842)])
def test_both_readings_of_the_printed_inputs(update_seconds, expected):
    assert permissible_overhead(0.57, update_seconds) == pytest.approx(expected, abs=5e-5)


def test_at_the_permissible_factor_both_take_the_same_time():
    factor = permissible_overhead(0.57, 0.8)
    fast = wall_seconds(10_000, 10.0, 0.8, horizon=100)
    slow = wall_seconds(5_700, 10.0, 0.8 * factor, horizon=100)
    assert fast == pytest.approx(1_080.0)
    assert slow == pytest.approx(fast)


def test_at_the_break_even_rate_both_take_the_same_time():
    rate = break_even_rate(0.57, 0.95, 12.0, horizon=100)
    assert rate == pytest.approx(100 * 0.43 / (0.57 * 12 - 0.95))
    fast = wall_seconds(10_000, rate, 0.95, horizon=100)
    assert wall_seconds(5_700, rate, 12.0, horizon=100) == pytest.approx(fast)
    slower, faster = 0.9 * rate, 1.1 * rate
    for pays, at in ((True, slower), (False, faster)):
        ours = wall_seconds(5_700, at, 12.0, horizon=100)
        assert (ours < wall_seconds(10_000, at, 0.95, horizon=100)) is pays


@pytest.mark.parametrize(
    ("ratio", "fast", "slow", "expected"),
    [
        (0.5, 1.0, 2.0, np.inf),  # per episode of the other the updates cost no more
        (0.5, 1.0, 1.5, np.inf),
        (1.0, 1.0, 2.0, 0.0),
        (1.2, 1.0, 2.0, 0.0),
        (np.inf, 1.0, 2.0, 0.0),  # never gets there
        (1.2, 1.0, 0.1, np.nan),
        (np.nan, 1.0, 2.0, np.nan),
        (0.5, np.nan, 2.0, np.nan),
        (0.5, 1.0, np.nan, np.nan),
    ],
)
def test_where_there_is_no_finite_break_even_rate(ratio, fast, slow, expected):
    assert break_even_rate(ratio, fast, slow, horizon=100) == pytest.approx(expected, nan_ok=True)


def test_nearer_is_by_factors_and_knows_nothing_of_nan():
    candidates = {"low": 1.0, "high": 100.0}
    assert (nearer(9.9, candidates), nearer(10.1, candidates)) == ("low", "high")
    assert nearer(np.nan, candidates) == nearer(0.0, candidates) == ""
