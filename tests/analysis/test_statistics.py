"""Tests, normalisation and bootstrap intervals."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from rliable import metrics
from scipy import stats
from statsmodels.stats.multitest import multipletests

from unirl_repro.analysis import statistics
from unirl_repro.analysis.frames import AVERAGE, REFERENCE, load_published
from unirl_repro.analysis.statistics import (
    Summary,
    compare_to_best,
    holm,
    improvement,
    improvement_interval,
    interquartile_mean,
    interquartile_mean_interval,
    normalise,
    seeded_numpy,
    significantly_better,
    summarise,
    summary_of_interval,
    t_test,
)

SAMPLE = st.lists(st.floats(-1e3, 1e3).map(lambda x: round(x, 3)), min_size=2, max_size=8)


@given(SAMPLE, SAMPLE, st.booleans())
def test_t_test_is_scipys(first, second, equal_variance):
    assume(np.std(first) > 1e-3 and np.std(second) > 1e-3)
    expected = stats.ttest_ind(first, second, equal_var=equal_variance).pvalue
    mine = t_test(summarise(first), summarise(second), equal_variance=equal_variance)
    assert mine == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_t_test_without_spread_compares_the_means():
    same, other = Summary(1.0, 0.0, 5), Summary(2.0, 0.0, 5)
    assert t_test(same, same) == 1.0
    assert t_test(same, other) == 0.0


def test_t_test_needs_two_seeds_on_each_side():
    assert np.isnan(t_test(summarise([1.0]), summarise([1.0, 2.0])))
    assert np.isnan(t_test(summarise([1.0, 2.0]), summarise([])))


def test_missing_seeds_are_not_part_of_a_summary():
    assert summarise([1.0, np.nan, 3.0]) == summarise([1.0, 3.0])
    assert np.isnan(summarise([np.nan]).mean)


@given(SAMPLE)
def test_published_interval_gives_back_the_spread(values):
    summary = summarise(values)
    again = summary_of_interval(summary.mean, summary.half_width, summary.num_seeds)
    assert again.spread == pytest.approx(summary.spread, abs=1e-9)


def test_half_width_is_scipys_t_interval():
    values = [1.0, 2.0, 4.0, 8.0]
    low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert summarise(values).half_width == pytest.approx((high - low) / 2)


def test_best_and_what_is_not_worse_are_bold():
    samples = {
        "best": summarise([10.0, 11.0, 12.0]),
        "close": summarise([9.0, 10.0, 12.5]),
        "worse": summarise([1.0, 2.0, 3.0]),
        "lone": summarise([9.9]),
        "none": summarise([]),
    }
    table = compare_to_best(samples)
    assert table.index[table["bold"]].tolist() == ["best", "close"]
    assert np.isnan(table["p_student"]["best"])
    expected = stats.ttest_ind([1.0, 2.0, 3.0], [10.0, 11.0, 12.0]).pvalue
    assert table["p_student"]["worse"] == pytest.approx(expected)


def test_all_that_tie_for_the_best_are_bold():
    tie = {"a": Summary(2.0, 1.0, 5), "b": Summary(2.0, 1.0, 5), "c": Summary(0.0, 0.1, 5)}
    assert compare_to_best(tie)["bold"].tolist() == [True, True, False]


def test_holm_counts_the_comparisons_that_were_made():
    samples = {
        name: Summary(mean, 1.0, 5) for name, mean in zip("abc", (5.0, 3.0, 2.5), strict=True)
    }
    table = compare_to_best(samples)
    smaller, larger = sorted(table["p_welch"].dropna())
    assert sorted(table["p_holm"].dropna()) == pytest.approx(
        [2 * smaller, max(2 * smaller, larger)]
    )


def test_a_sample_that_repeats_another_is_no_comparison_more():
    samples = {
        name: Summary(mean, 1.0, 5) for name, mean in zip("abc", (5.0, 3.0, 2.5), strict=True)
    }
    alone = compare_to_best(samples)
    table = compare_to_best(samples | {"again": samples["b"]}, repeated={"again"})
    pd.testing.assert_frame_equal(table.loc[list("abc")], alone)
    assert np.isnan(table["p_holm"]["again"])
    assert table["p_student"]["again"] == alone["p_student"]["b"]


@given(st.lists(st.floats(0, 1), max_size=8), st.floats(0.001, 0.5))
def test_holm_rejects_what_his_procedure_rejects(p_values, level):
    rejected = []
    for rank, p in enumerate(sorted(p_values)):
        bound = level / (len(p_values) - rank)
        assume(abs(p - bound) > 1e-9)
        if p > bound:
            break
        rejected.append(p)
    corrected = holm(np.array(p_values))
    assert sorted(np.array(p_values)[corrected < level]) == rejected


def test_holm_equals_statsmodels_on_the_p_values_that_exist():
    p_values = np.array([0.04, np.nan, 0.01, 0.3, 0.01, 0.9, np.nan, 0.0])
    known, corrected = np.isfinite(p_values), holm(p_values)
    assert (np.isfinite(corrected) == known).all()
    expected = multipletests(p_values[known], method="holm")[1]
    assert corrected[known] == pytest.approx(expected, rel=1e-12)


def test_significantly_better_is_one_sided_in_its_meaning():
    high, low = Summary(10.0, 1.0, 5), Summary(1.0, 1.0, 5)
    assert significantly_better(high, low)
    assert not significantly_better(low, high)
    assert not significantly_better(high, Summary(9.9, 1.0, 5))


@given(st.lists(st.floats(-1e3, 1e3).map(lambda x: round(x, 2)), min_size=2, max_size=9))
def test_normalised_returns_span_zero_to_one_and_keep_their_order(values):
    assume(len(set(values)) > 1)
    scores = normalise(pd.DataFrame({"task": values}))["task"]
    assert scores.min() == 0
    assert scores.max() == 1
    assert (scores.rank() == pd.Series(values).rank()).all()


def test_normalisation_of_equal_or_missing_rows_is_nan_not_an_error():
    scores = normalise(pd.DataFrame({"tied": [2.0, 2.0, 2.0], "part": [1.0, np.nan, 3.0]}))
    assert scores["tied"].isna().all()
    assert scores["part"].isna().tolist() == [False, True, False]


def test_anchors_place_a_single_row():
    anchors = pd.DataFrame({"task": [0.0, 10.0]})
    assert normalise(pd.DataFrame({"task": [12.0]}), anchors)["task"].tolist() == [1.2]


def published_matrix():
    printed = load_published("unified_rl_table1", REFERENCE)
    cells = printed[printed["task"] != AVERAGE]
    returns = cells.pivot_table(index="variant", columns="task", values="return")
    averages = printed[printed["task"] == AVERAGE].set_index("variant")["return"]
    return returns, averages


def test_published_averages_follow_from_the_printed_means_except_ppos():
    returns, averages = published_matrix()
    recomputed = normalise(returns).mean(axis=1)
    # Half a unit of the printed means moves an average by less than 0.0003.
    differs = (recomputed - averages).abs() > 3e-4
    assert differs[differs].index.tolist() == ["ppo"]
    assert recomputed["ppo"] == pytest.approx(0.3994, abs=5e-5)
    assert averages["ppo"] == 0.3936


def test_published_asterisks_follow_from_the_printed_intervals():
    printed = pd.read_csv(REFERENCE / "unified_rl_table1.csv").set_index(["task", "variant"])
    printed = printed[printed["statistic"] == "training_average"]
    cells = {
        key: summary_of_interval(r.value, r.interval, r.num_seeds) for key, r in printed.iterrows()
    }
    starred = {
        task
        for task in set(printed.index.get_level_values("task"))
        if significantly_better(cells[task, "unified"], cells[task, "max(mbrl,sac_rlpd)"])
    }
    assert starred == set(printed[printed["asterisk"] == 1].index.get_level_values("task"))


def test_better_part_row_is_the_better_of_its_parts():
    returns, _ = published_matrix()
    better = returns.loc[["mbrl", "sac_rlpd"]].max()
    assert (returns.loc["max(mbrl,sac_rlpd)"] == better).all()


def test_seeding_numpy_leaves_its_generator_as_it_was():
    np.random.seed(1)  # noqa: NPY002
    expected = np.random.random(3)  # noqa: NPY002
    np.random.seed(1)  # noqa: NPY002
    with pytest.raises(ZeroDivisionError), seeded_numpy(5):
        1 / int(np.random.random() - 1)  # noqa: NPY002
    assert np.random.random(3).tolist() == expected.tolist()  # noqa: NPY002


@given(st.lists(SAMPLE, min_size=1, max_size=4), st.lists(SAMPLE, min_size=4, max_size=4))
@settings(max_examples=30)
def test_improvement_is_rliables(first, second):
    second = second[: len(first)]
    mine = improvement(*map(np.array, first), *map(np.array, second))[0]
    theirs = np.mean(
        [
            metrics.probability_of_improvement(np.array(a)[:, None], np.array(b)[:, None])
            for a, b in zip(first, second, strict=True)
        ]
    )
    assert mine == pytest.approx(theirs)


def test_interquartile_mean_is_rliables():
    scores = np.random.default_rng(0).normal(size=(5, 6))
    assert interquartile_mean(*scores.T)[0] == pytest.approx(metrics.aggregate_iqm(scores))


def test_bootstrap_repeats_with_its_seed_and_not_without():
    tasks = list(np.random.default_rng(0).normal(size=(3, 5)))
    again = [interquartile_mean_interval(tasks, seed) for seed in (0, 0, 1)]
    assert again[0] == again[1]
    assert again[0] != again[2]
    assert again[0].low < again[0].value < again[0].high


def test_bootstrap_takes_ragged_tasks_and_leaves_nan_out():
    ragged = [np.array([1.0, 2.0, np.nan, 99.0]), np.array([4.0]), np.array([np.nan])]
    estimate = interquartile_mean_interval(ragged)
    assert estimate == interquartile_mean_interval([np.array([1.0, 2.0, 99.0]), np.array([4.0])])
    assert estimate.value == 3.0  # the middle half of four runs


def test_bootstrap_of_single_seeds_has_no_interval():
    estimate = interquartile_mean_interval([np.array([1.0]), np.array([3.0])])
    assert estimate.value == 2.0
    assert np.isnan([estimate.low, estimate.high]).all()
    assert np.isnan(interquartile_mean_interval([]).value)


def test_bootstrap_interval_covers_the_mean_about_as_often_as_it_says(monkeypatch):
    monkeypatch.setattr(statistics, "NUM_RESAMPLES", 200)
    rng = np.random.default_rng(0)
    estimates = [interquartile_mean_interval(list(rng.normal(size=(6, 10)))) for _ in range(150)]
    covered = np.mean([e.low <= 0.0 <= e.high for e in estimates])
    assert 0.85 < covered < 0.99  # percentile intervals of few seeds are a little narrow


def test_improvement_over_a_clear_loser_is_one_and_ties_are_one_half():
    high, low = [np.array([3.0, 4.0])], [np.array([1.0, 2.0])]
    assert improvement_interval(high, low).value == 1.0
    assert improvement_interval(low, high).value == 0.0
    assert improvement_interval(high, high).value == 0.5


def test_improvement_looks_only_at_tasks_that_both_ran():
    first = [np.array([3.0, 4.0]), np.array([])]
    second = [np.array([1.0, 2.0]), np.array([9.0, 9.0])]
    assert improvement_interval(first, second).value == 1.0


def test_improvement_refuses_different_task_lists():
    with pytest.raises(ValueError, match="1 tasks against 2"):
        improvement_interval([np.ones(2)], [np.ones(2)] * 2)
