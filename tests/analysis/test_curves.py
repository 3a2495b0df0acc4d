"""Curves: areas under them, grids, intervals."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tests.analysis.frame_maker import curve, curve_of
from unirl_repro.analysis.curves import (
    cut,
    grid,
    mean_interval,
    on_grid,
    training_average,
    training_averages,
)

EPISODES = st.lists(
    st.tuples(st.floats(-1e3, 1e3), st.integers(1, 50)), min_size=1, max_size=40
).map(lambda pairs: tuple(zip(*pairs, strict=True)))


@given(EPISODES)
def test_training_average_counts_each_environment_step_once(episodes):
    returns, lengths = episodes
    stepwise = np.repeat(returns, lengths)  # the return of the episode that each step is in
    assert training_average(curve_of(returns, lengths)) == pytest.approx(stepwise.mean(), abs=1e-6)


def test_training_average_is_the_plain_mean_where_episodes_have_one_length():
    assert training_average(curve_of([1, 2, 6], [200] * 3)) == pytest.approx(3.0)


def test_training_average_of_nothing_is_nan():
    assert np.isnan(training_average(curve_of([], [])))


def test_training_average_of_a_diverged_run_is_nan():
    assert np.isnan(training_average(curve_of([1.0, np.nan], [10, 10])))


@given(EPISODES, st.integers(1, 30))
def test_grid_keeps_the_area_under_the_curve(episodes, num_cells):
    returns, lengths = episodes
    run = curve_of(returns, lengths)
    edges = np.linspace(0, sum(lengths), num_cells + 1)
    points = on_grid(run, edges)
    assert points["return"].mean() == pytest.approx(training_average(run), abs=1e-6)


@given(EPISODES, st.integers(1, 30), st.integers(0, 2_000))
def test_grid_of_one_value_is_that_value_as_far_as_the_run_goes(episodes, num_cells, beyond):
    _, lengths = episodes
    edges = np.linspace(0, sum(lengths) + beyond, num_cells + 1)
    points = on_grid(curve_of([7.0] * len(lengths), lengths), edges)
    assert points["return"].to_numpy() == pytest.approx(7.0)
    assert len(points) == np.searchsorted(edges, sum(lengths), side="left")


def test_two_seeds_with_other_episode_ends_share_their_grid():
    curves = pd.concat([curve_of([1, 3], [10, 30]), curve_of([5, 5, 5], [20, 10, 10], seed=1)])
    table = on_grid(curves, np.array([0.0, 20.0, 40.0])).pivot_table(
        index="seed", columns="env_step", values="return"
    )
    assert table.to_numpy().tolist() == [[2.0, 3.0], [5.0, 5.0]]


def test_no_point_lies_beyond_what_the_longest_run_reached():
    curves = pd.concat([curve_of([1.0] * 3, [10] * 3), curve_of([3.0] * 2, [14] * 2, seed=1)])
    points = on_grid(curves, np.array([0.0, 20.0, 40.0]))
    assert points["env_step"].tolist() == [20, 30, 20, 30]


def test_no_cell_is_shorter_than_an_episode():
    assert len(grid(curve("hopper-200"), end=8_000)) == 41
    assert len(grid(curve("dclaw_turn_fixed-40"), end=8_000)) == 101
    assert len(grid(curve_of([1.0], [200]), end=100)) == 2


def test_cut_is_what_a_run_with_that_budget_records():
    longer, shorter = curve(budget=4_000), cut(curve(budget=8_000), 4_000)
    assert shorter["env_step"].tolist() == longer["env_step"].tolist()


def test_training_averages_leave_out_evaluations_and_published_rows():
    run = curve_of([1.0, 3.0], [10, 10]).assign(source="trained")
    others = [run.assign(kind=kind, **{"return": 99.0}) for kind in ("eval", "published")]
    table = training_averages(pd.concat([run, *others]))
    assert table["value"].tolist() == [2.0]
    assert table["num_steps"].tolist() == [20]


def test_training_averages_of_an_empty_frame_have_their_columns():
    empty = curve_of([], []).assign(source="trained")
    assert {"task", "variant", "value"} <= set(training_averages(empty).columns)


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=9), st.sampled_from([0.5, 0.9, 0.95]))
def test_interval_is_scipys_t_interval(values, confidence):
    mean, low, high = mean_interval(np.array(values)[:, None], confidence)
    scale = stats.sem(values)
    assert mean[0] == pytest.approx(np.mean(values), abs=1e-6)
    if scale > 1e-6:
        expected = stats.t.interval(confidence, len(values) - 1, np.mean(values), scale)
        assert (low[0], high[0]) == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_interval_covers_the_mean_as_often_as_it_says():
    draws = np.random.default_rng(0).normal(3.0, 2.0, size=(5, 20_000))
    _, low, high = mean_interval(draws, 0.95)
    covered = ((low <= 3.0) & (high >= 3.0)).mean()
    assert covered == pytest.approx(0.95, abs=0.006)  # four standard errors


def test_single_seed_has_a_mean_and_no_interval():
    mean, low, high = mean_interval(np.array([[1.0, 2.0]]))
    assert mean.tolist() == [1.0, 2.0]
    assert np.isnan([low, high]).all()


def test_missing_seeds_count_for_nothing():
    ragged = np.array([[1.0, 1.0, np.nan], [3.0, np.nan, np.nan], [2.0, 5.0, np.nan]])
    mean, low, high = mean_interval(ragged)
    whole = mean_interval(ragged[[0, 2], 1][:, None])
    assert mean[:2].tolist() == [2.0, 3.0]
    assert (low[1], high[1]) == (whole[1][0], whole[2][0])
    assert np.isnan([mean[2], low[2], high[2]]).all()


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0])
def test_confidence_outside_its_range_is_refused(confidence):
    with pytest.raises(ValueError, match="allowed: above 0 and below 1"):
        mean_interval(np.zeros((2, 2)), confidence)


def test_returns_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"shape \(3,\); expected \(seeds, points\)"):
        mean_interval(np.zeros(3))


def test_window_reaches_back_over_earlier_cells_but_not_before_the_run():
    """Four episodes of 10 steps in cells of 10, means over the last 20 steps."""
    edges = np.array([0.0, 10.0, 20.0, 30.0, 40.0])
    points = on_grid(curve_of([1.0, 3.0, 5.0, 9.0], [10] * 4), edges, window=20)
    assert points["env_step"].tolist() == [10, 20, 30, 40]
    assert points["return"].tolist() == [1.0, 2.0, 4.0, 7.0]


def test_window_of_a_run_that_begins_late_holds_what_there_is():
    late = curve_of([1.0, 3.0, 5.0, 9.0], [10] * 4).iloc[2:]
    points = on_grid(late, np.array([0.0, 10.0, 20.0, 30.0, 40.0]), window=30)
    assert points["env_step"].tolist() == [30, 40]
    assert points["return"].tolist() == [5.0, 7.0]


@given(EPISODES)
def test_window_no_longer_than_a_cell_changes_nothing(episodes):
    run = curve_of(*episodes)
    edges = grid(run, int(run["env_step"].max()))
    window = float(np.diff(edges).min()) / 2
    pd.testing.assert_frame_equal(on_grid(run, edges, window), on_grid(run, edges))
