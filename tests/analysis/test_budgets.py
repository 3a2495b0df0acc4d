"""Training lengths and updates per step, from curves whose answer is known."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tests.analysis.frame_maker import curve_of
from unirl_repro.analysis.budgets import (
    UNKNOWN,
    Crossing,
    RunningAverage,
    combine,
    crossing,
    margin,
    running_average,
    training_length,
    updates_per_step,
)
from unirl_repro.analysis.statistics import Summary, summarise, summary_of_interval, t_test

PUBLISHED = summary_of_interval(100.0, 5.0, 5)
SPREAD = (-2.0, -1.0, 0.0, 1.0, 2.0)


def rising(num_episodes=400, slope=1.0, offsets=SPREAD, ends=None):
    """Episode k (of 100 steps) returns slope * (2k - 1) + offset: the average over k is slope * k."""
    ends = ends or [num_episodes] * len(offsets)
    curves = [
        curve_of(slope * (2 * np.arange(1, end + 1) - 1) + offset, [100] * end, seed=seed)
        for seed, (offset, end) in enumerate(zip(offsets, ends, strict=True))
    ]
    return pd.concat(curves, ignore_index=True)


def average(**arguments):
    return running_average(rising(**arguments))


def test_running_average_is_that_over_the_first_episodes():
    found = average(num_episodes=3, offsets=(0.0, 10.0))
    assert found.steps.tolist() == [100.0, 200.0, 300.0]
    assert found.averages.tolist() == [[1.0, 2.0, 3.0], [11.0, 12.0, 13.0]]
    assert found.at(250).tolist() == [2.5, 12.5]
    assert found.at(301).size == found.at(0).size == 0


def test_running_average_counts_steps_and_not_episodes():
    curve = curve_of([0.0, 6.0], [100, 200])
    assert running_average(curve).averages.tolist() == [[0.0, 4.0]]


def test_running_average_goes_as_far_as_the_shortest_seed():
    found = average(offsets=(0.0, 0.0), ends=[5, 3])
    assert found.end == 300
    assert found.averages.shape == (2, 3)


def test_seed_that_diverged_is_left_out():
    curves = rising(num_episodes=3, offsets=(0.0, 1.0))
    curves.loc[(curves["seed"] == 1) & (curves["episode"] == 2), "return"] = np.nan
    assert running_average(curves).averages.tolist() == [[1.0, 2.0, 3.0]]


def test_no_curve_has_no_average():
    found = running_average(rising().iloc[:0])
    assert (found.end, found.averages.size, found.at(1).size) == (0.0, 0, 0)
    assert training_length(found, PUBLISHED) == UNKNOWN


def test_margin_is_where_welchs_test_begins_to_tell_means_apart():
    ours = np.array([[1.0], [2.0], [4.0]])
    half = margin(ours, PUBLISHED)[0]
    mean = summarise(ours).mean
    for factor, told in ((0.999, False), (1.001, True)):
        moved = Summary(mean + factor * half, PUBLISHED.spread, PUBLISHED.num_seeds)
        assert (t_test(summarise(ours), moved, equal_variance=False) < 0.05) is told


def test_margin_needs_two_seeds_and_stands_no_spread():
    assert np.isnan(margin(np.array([[1.0]]), PUBLISHED)).all()
    assert margin(np.zeros((3, 1)), Summary(1.0, 0.0, 5))[0] == pytest.approx(0.0, abs=1e-40)


def test_length_is_where_the_average_is_the_published_one():
    found = training_length(average(), PUBLISHED)
    assert found.value == pytest.approx(10_000)
    # All seeds' averages rise alike, so the margin is the same at each step.
    half = margin(np.array(SPREAD)[:, None], PUBLISHED)[0]
    assert (found.low, found.high) == pytest.approx((100 * (100 - half), 100 * (100 + half)))
    ours, theirs = 2.5 / 5, PUBLISHED.spread**2 / 5  # variances of the means
    freedom = (ours + theirs) ** 2 / (ours**2 / 4 + theirs**2 / 4)
    assert half == pytest.approx(stats.t.ppf(0.975, freedom) * np.sqrt(ours + theirs))
    assert np.isfinite([found.value, found.low, found.high]).all()


def test_length_beyond_the_data_is_a_lower_limit():
    found = training_length(average(num_episodes=50), PUBLISHED)
    assert (np.isnan(found.value), found.low, found.high) == (True, 5_000, np.inf)
    assert not np.isfinite([found.value, found.low, found.high]).all()


def test_interval_may_begin_inside_the_data_where_the_value_does_not():
    found = training_length(average(num_episodes=99), PUBLISHED)
    assert np.isnan(found.value)
    assert 9_000 < found.low < 9_900
    assert found.high == np.inf


def test_interval_may_end_beyond_the_data_where_the_value_does_not():
    found = training_length(average(num_episodes=101), PUBLISHED)
    assert found.value == pytest.approx(10_000)
    assert (found.low < found.value, found.high) == (True, np.inf)


def test_average_above_the_published_one_from_the_start_is_an_upper_limit():
    found = training_length(average(slope=200.0), PUBLISHED)
    assert (np.isnan(found.value), found.low, found.high) == (True, -np.inf, 100.0)


def test_one_seed_has_a_value_and_no_interval():
    found = training_length(average(offsets=(0.0,)), PUBLISHED)
    assert found.value == pytest.approx(10_000)
    assert np.isnan([found.low, found.high]).all()
    assert not np.isfinite([found.value, found.low, found.high]).all()


def test_an_early_spike_is_no_crossing():
    x = np.arange(1.0, 7.0)
    mean = np.array([9.0, 1.0, 2.0, 4.0, 6.0, 8.0])
    found = crossing(x, mean, np.full(6, 0.5), 5.0)
    assert found == Crossing(4.5, 4.25, 4.75)


def test_limits_are_of_the_stretch_around_the_value():
    x = np.arange(1.0, 7.0)
    mean = np.array([5.0, 1.0, 2.0, 4.0, 6.0, 8.0])  # 5 at the start is no part of it
    assert crossing(x, mean, np.full(6, 1.0), 5.0) == Crossing(4.5, 4.0, 5.0)


def test_nothing_is_known_of_no_points():
    assert crossing(np.array([]), np.array([]), np.array([]), 1.0) == UNKNOWN


def test_rows_that_agree_give_the_middle_of_what_they_share():
    found = combine({"ppo": Crossing(100.0, 80.0, 150.0), "td3": Crossing(400.0, 120.0, 900.0)})
    assert found == Crossing(150.0, 120.0, 150.0)


def test_a_row_beyond_its_data_still_bounds_the_other():
    found = combine({"ppo": Crossing(np.nan, 110.0, np.inf), "td3": Crossing(120.0, 90.0, 200.0)})
    assert (found.value, found.low, found.high) == (pytest.approx(120.0), 110.0, 200.0)


def test_rows_that_contradict_each_other_show():
    found = combine({"ppo": Crossing(1.0, 0.5, 2.0), "td3": Crossing(9.0, 8.0, 10.0)})
    assert found.low > found.high


def test_rows_without_an_interval_say_nothing():
    assert combine({"ppo": Crossing(3.0, np.nan, np.nan)}) == UNKNOWN
    assert combine({}) == UNKNOWN


def flat(mean, end=20_000.0):
    """Five seeds whose average is the same from the first step to the last."""
    return RunningAverage(np.array([100.0, end]), np.array([[mean + s] * 2 for s in SPREAD]))


LENGTH = Crossing(10_000.0, 10_000.0, 10_000.0)


def test_updates_are_interpolated_between_logarithms_of_ratios():
    found = updates_per_step({1.0: flat(80.0), 4.0: flat(120.0)}, LENGTH, PUBLISHED)
    half = margin(np.array(SPREAD)[:, None], PUBLISHED)[0]
    assert found.value == pytest.approx(2.0)
    assert (found.low, found.high) == pytest.approx((2 ** (1 - half / 20), 2 ** (1 + half / 20)))


def test_longer_training_needs_fewer_updates():
    averages = {1.0: average(slope=0.8), 4.0: average(slope=1.2)}
    sure = updates_per_step(averages, LENGTH, PUBLISHED)
    unsure = updates_per_step(averages, Crossing(10_000.0, 9_500.0, 10_500.0), PUBLISHED)
    assert sure.value == unsure.value == pytest.approx(2.0)
    assert unsure.low < sure.low < sure.high < unsure.high
    later = updates_per_step(averages, Crossing(10_500.0, 10_500.0, 10_500.0), PUBLISHED)
    assert later.value < sure.value
    assert later.low == pytest.approx(unsure.low)


@pytest.mark.parametrize(("mean", "low", "high"), [(80.0, 4.0, np.inf), (120.0, 0.0, 1.0)])
def test_updates_outside_the_ratios_that_ran_are_a_limit(mean, low, high):
    found = updates_per_step({1.0: flat(mean), 4.0: flat(mean)}, LENGTH, PUBLISHED)
    assert (np.isnan(found.value), found.low, found.high) == (True, low, high)


def test_ratios_whose_runs_are_too_short_are_left_out():
    averages = {1.0: flat(80.0), 2.0: flat(90.0, end=5_000.0), 4.0: flat(120.0)}
    without = {1.0: flat(80.0), 4.0: flat(120.0)}
    expected = updates_per_step(without, LENGTH, PUBLISHED)
    assert updates_per_step(averages, LENGTH, PUBLISHED) == expected
    assert updates_per_step({1.0: flat(80.0, end=5_000.0)}, LENGTH, PUBLISHED) == UNKNOWN
    assert updates_per_step(without, UNKNOWN, PUBLISHED) == UNKNOWN
