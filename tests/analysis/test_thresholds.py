"""Steps to a level, ratios of data, and the overhead that they pay for."""

import numpy as np
import pandas as pd
import pytest

from tests.analysis.frame_maker import curve_of
from unirl_repro.analysis.thresholds import (
    data_ratio,
    level,
    mean_curve,
    permissible_overhead,
    steps_to_reach,
)

EDGES = np.linspace(0.0, 10_000.0, 101)


def ramp(end, variant="sac_rlpd", num_seeds=5, spread=0.0, top=100.0):
    """Curves that rise in a line to `top` at step `end`, and stay; each seed's `end` its own."""
    steps = 100 * np.arange(1, 101)
    curves = [
        curve_of(
            top * np.minimum(1, steps / (end * (1 + spread * (seed - 2)))),
            [100] * 100,
            variant=variant,
            seed=seed,
        )
        for seed in range(num_seeds)
    ]
    return pd.concat(curves, ignore_index=True)


def test_level_is_a_share_of_the_highest_point_and_needs_a_positive_one():
    assert level(np.array([1.0, 10.0, 5.0]), 0.8) == 8.0
    assert np.isnan(level(np.array([-3.0, -1.0]), 0.8))
    assert np.isnan(level(np.array([]), 0.8))


@pytest.mark.parametrize(
    ("target", "expected"), [(0.0, 10.0), (2.0, 15.0), (4.0, 20.0), (3.5, 18.75), (4.1, np.inf)]
)
def test_steps_are_linear_between_points_and_infinite_where_never_reached(target, expected):
    assert steps_to_reach(np.array([10.0, 20, 30]), np.array([0.0, 4, 2]), target) == expected


def test_a_curve_without_points_reaches_nothing_that_could_be_told():
    assert np.isnan(steps_to_reach(np.array([]), np.array([]), 1.0))
    assert np.isnan(steps_to_reach(np.array([1.0]), np.array([1.0]), np.nan))


def test_mean_curve_ends_with_the_shortest_run():
    points = pd.DataFrame({"seed": [0, 0, 1], "env_step": [1.0, 2, 1], "return": [2.0, 9, 4]})
    steps, returns = mean_curve(points)
    assert (steps.tolist(), returns.tolist()) == ([1.0], [3.0])


def test_half_the_slope_needs_twice_the_data():
    found = data_ratio(ramp(2_000, "unified"), ramp(4_000), EDGES, 0.8)
    # Exactly 1,600 over 3,200 steps, but a cell's mean stands at its right edge.
    assert found.value == pytest.approx(0.5, rel=0.03)
    assert found.low == found.high == found.value  # all seeds are alike


def test_the_interval_grows_with_the_spread_of_the_seeds():
    narrow, wide = (
        data_ratio(ramp(2_000, "unified", spread=s), ramp(4_000, spread=s), EDGES, 0.8)
        for s in (0.02, 0.1)
    )
    assert narrow.low < narrow.value < narrow.high
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


def test_the_interval_is_the_same_each_time_and_leaves_the_global_generator_alone():
    np.random.seed(3)  # noqa: NPY002
    first = data_ratio(ramp(2_000, spread=0.1), ramp(4_000, spread=0.1), EDGES, 0.8)
    drawn = np.random.random()  # noqa: NPY002
    np.random.seed(3)  # noqa: NPY002
    assert drawn == np.random.random()  # noqa: NPY002
    assert first == data_ratio(ramp(2_000, spread=0.1), ramp(4_000, spread=0.1), EDGES, 0.8)


def test_who_never_gets_there_needs_infinitely_much():
    found = data_ratio(ramp(2_000, "mbrl", top=50.0), ramp(4_000), EDGES, 0.8)
    assert (found.value, found.low, found.high) == (np.inf, np.inf, np.inf)


def test_one_seed_has_no_interval_and_no_curve_no_ratio():
    found = data_ratio(ramp(2_000, num_seeds=1), ramp(4_000), EDGES, 0.8)
    assert found.value == pytest.approx(0.5, rel=0.03)
    assert np.isnan([found.low, found.high]).all()
    assert np.isnan(data_ratio(ramp(2_000).iloc[:0], ramp(4_000), EDGES, 0.8).value)


def test_overhead_makes_both_take_equally_long():
    ratio, update, episode = 0.4, 0.5, 7.0
    factor = permissible_overhead(ratio, update, episode)
    assert (episode + factor * update) * ratio == pytest.approx(episode + update)
    # Read per update, 100 of them an episode, the printed inputs allow eleven times, not 945.
    assert permissible_overhead(0.57, 0.8) == pytest.approx(11.18, abs=0.01)
