"""unified_rl Table 1 on small frames."""

import re

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tests.analysis.frame_maker import ALL_VARIANTS, BUDGET, curve_of, make_study
from unirl_repro.analysis.frames import RecordedRun, StudyPlan, build_frame, load_published
from unirl_repro.analysis.statistics import holm
from unirl_repro.tables.unified_rl_table1 import TASKS, VARIANTS, rows, tex

STUDY = "unified_rl_table1"
HOPPER = "hopper-200"


def study_of(values, scale="quick", **marks):
    """Study on Hopper; `values` maps a variant to the training averages of its seeds."""
    num_seeds = max(len(seeds) for seeds in values.values())
    planned = tuple((HOPPER, variant, seed) for variant in values for seed in range(num_seeds))
    runs = [
        RecordedRun(curve_of([value] * 40, [200] * 40, variant=variant, seed=seed), **marks)
        for variant, seeds in values.items()
        for seed, value in enumerate(seeds)
    ]
    plan = StudyPlan(STUDY, scale, {HOPPER: BUDGET}, planned)
    return build_frame(plan, runs, load_published(STUDY))


def cell(table, variant, task=HOPPER):
    part = table[table["part"] == "returns"]
    return part[(part["task"] == task) & (part["variant"] == variant)].iloc[0]


def statistic(table, name, variant="sac_rlpd"):
    return table[(table["statistic"] == name) & (table["variant"] == variant)].iloc[0]


def test_ours_stands_beside_published_with_the_difference():
    row = cell(rows(*study_of({"sac_rlpd": [600.0, 610.0, 620.0]})), "sac_rlpd")
    assert row["value"] == 610.0
    low, high = stats.t.interval(0.95, 2, 610.0, stats.sem([600.0, 610.0, 620.0]))
    assert (row["low"], row["high"]) == pytest.approx((low, high))
    assert (row["published"], row["published_interval"]) == pytest.approx((632.8, 13.6))
    assert row["difference"] == pytest.approx(-22.8)
    assert (row["num_seeds"], row["num_planned"]) == (3, 3)


def test_each_published_row_is_there_for_each_task():
    table = rows(*make_study(STUDY, tasks=(HOPPER,)))
    part = table[table["part"] == "returns"]
    assert list(zip(part["task"], part["variant"], strict=True)) == [
        (task, variant) for task in TASKS for variant in VARIANTS
    ]
    assert part["published"].notna().all()
    assert part["value"].notna().sum() == 1


def test_bold_is_the_best_and_what_the_t_test_cannot_tell_from_it():
    values = {
        "unified": [100.0, 101.0, 102.0],
        "sac_rlpd": [99.5, 101.0, 101.5],
        "mbrl": [1.0, 2.0, 3.0],
    }
    table = rows(*study_of(values))
    bold = {v: bool(cell(table, v)["bold"]) for v in ("unified", "sac_rlpd", "mbrl", "td3")}
    assert bold == {"unified": True, "sac_rlpd": True, "mbrl": False, "td3": False}
    expected = stats.ttest_ind(values["mbrl"], values["unified"]).pvalue
    assert cell(table, "mbrl")["p_student"] == pytest.approx(expected)


def test_a_single_algorithm_is_the_best_of_nothing():
    row = cell(rows(*study_of({"sac_rlpd": [1.0, 2.0]})), "sac_rlpd")
    assert not row["bold"]
    assert np.isnan(row["p_student"])


@pytest.mark.parametrize(
    ("mine", "starred"), [([20.0, 21.0, 22.0], True), ([9.0, 11.0, 13.0], False)]
)
def test_asterisk_needs_a_significant_win_over_the_better_part(mine, starred):
    values = {"unified": mine, "sac_rlpd": [9.0, 10.0, 11.0], "mbrl": [1.0, 2.0, 3.0]}
    table = rows(*study_of(values))
    assert bool(cell(table, "unified")["asterisk"]) is starred
    assert not cell(table, "sac_rlpd")["asterisk"]


def test_better_part_is_the_better_of_both_and_needs_both():
    both = rows(*study_of({"sac_rlpd": [9.0, 11.0], "mbrl": [1.0, 2.0]}))
    assert cell(both, "max(mbrl,sac_rlpd)")["value"] == 10.0
    one = rows(*study_of({"sac_rlpd": [9.0, 11.0]}))
    assert np.isnan(cell(one, "max(mbrl,sac_rlpd)")["value"])


def test_single_seed_has_a_mean_without_an_interval():
    frame, status = study_of({"sac_rlpd": [600.0]}, scale="paper")
    table = rows(frame, status)
    assert np.isnan(cell(table, "sac_rlpd")["low"])
    assert np.isnan(cell(table, "sac_rlpd")["p_published"])
    assert "SAC & $600.0$ & 1/1 &" in tex(table, status)


def test_seed_that_diverged_is_not_among_those_there():
    row = cell(rows(*study_of({"sac_rlpd": [1.0, 3.0, np.nan]})), "sac_rlpd")
    assert (row["value"], row["num_seeds"], row["num_planned"]) == (2.0, 2, 3)


def test_published_rows_are_bold_where_their_intervals_say_so():
    table = rows(*make_study(STUDY, tasks=(HOPPER,)))
    bold = table[(table["task"] == "halfcheetah-100") & (table["published_bold"] == True)]  # noqa: E712
    assert bold["variant"].tolist() == ["unified", "svg", "hl"]
    starred = table[table["published_asterisk"] == True]["task"].tolist()  # noqa: E712
    assert starred == ["ant-100", HOPPER, "walker2d-100", "halfcheetah-100"]


def test_average_on_the_published_range_compares_the_same_tasks():
    table = rows(*study_of({"sac_rlpd": [541.6, 541.6, 541.6]}))  # the lowest published on Hopper
    row = statistic(table, "average_normalised_published_range")
    assert row["value"] == pytest.approx(0.0)
    assert row["num_tasks"] == 1
    assert row["published"] == pytest.approx((632.8 - 541.6) / (750.3 - 541.6))
    assert row["difference"] == pytest.approx(-row["published"])


def test_average_by_the_papers_rule_is_over_our_own_rows():
    values = {"unified": [4.0, 4.0], "sac_rlpd": [2.0, 2.0], "mbrl": [0.0, 0.0]}
    table = rows(*study_of(values))
    averages = [statistic(table, "average_normalised_own_range", v)["value"] for v in values]
    assert averages == [1.0, 0.5, 0.0]
    lone = rows(*study_of({"sac_rlpd": [2.0, 2.0]}))
    assert np.isnan(statistic(lone, "average_normalised_own_range")["value"])


def test_test_against_published_is_welchs():
    mine = [600.0, 610.0, 620.0]
    row = cell(rows(*study_of({"sac_rlpd": mine}, scale="paper")), "sac_rlpd")
    spread = 13.6 * np.sqrt(5) / stats.t.ppf(0.975, 4)
    expected = stats.ttest_ind_from_stats(
        610.0, np.std(mine, ddof=1), 3, 632.8, spread, 5, equal_var=False
    ).pvalue
    assert row["p_published"] == pytest.approx(expected)
    assert row["p_published_holm"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("scale", "shorter", "comparable"),
    [("paper", (), True), ("quick", (), False), ("paper", (HOPPER,), False)],
)
def test_only_runs_of_the_papers_length_are_tested_against_published(scale, shorter, comparable):
    frame, status = make_study(STUDY, tasks=(HOPPER,), scale=scale, shorter=shorter)
    table = rows(frame, status)
    row = cell(table, "sac_rlpd")
    assert np.isfinite(row["difference"])
    assert bool(row["comparable"]) is comparable
    assert np.isfinite(row["p_published"]) == comparable
    differ = statistic(table, "tasks_that_differ_from_published")
    assert differ["num_tasks"] == comparable
    assert np.isfinite(differ["value"]) == comparable
    found = re.search(r"^SAC & 1/6 & .*$", tex(table, status), re.M)
    assert found
    line = found.group()
    assert line.split(" & ")[5] == ("1/1" if comparable else "--")


def test_one_short_seed_makes_a_cell_incomparable():
    frame, status = make_study(STUDY, tasks=(HOPPER,), scale="paper")
    status["short"] = [{"task": HOPPER, "variant": "sac_rlpd", "seed": 4, "reached": 0.2}]
    row = cell(rows(frame, status), "sac_rlpd")
    assert (row["reached"], bool(row["comparable"])) == (0.2, False)


def test_better_part_is_no_comparison_of_its_own():
    values = {"sac_rlpd": [600.0, 610.0, 620.0], "mbrl": [1.0, 2.0, 3.0], "td3": [5.0, 6.0, 7.0]}
    table = rows(*study_of(values, scale="paper"))
    better, parts = cell(table, "max(mbrl,sac_rlpd)"), [cell(table, v) for v in values]
    assert np.isnan([better["p_published_holm"], better["p_holm"]]).all()
    expected = holm(np.array([part["p_published"] for part in parts]))
    assert [part["p_published_holm"] for part in parts] == pytest.approx(expected)
    table = rows(*study_of(values | {"unified": [700.0, 701.0, 702.0]}))
    welch = np.array([cell(table, variant)["p_welch"] for variant in values])
    assert [cell(table, v)["p_holm"] for v in values] == pytest.approx(holm(welch))


@pytest.mark.parametrize(("tasks", "compared"), [(TASKS, True), (TASKS[:5], False)])
def test_own_range_is_compared_with_the_printed_average_of_six_tasks_only(tasks, compared):
    table = rows(*make_study(STUDY, tasks=tasks, variants=("sac_rlpd", "mbrl"), num_seeds=2))
    row = statistic(table, "average_normalised_own_range")
    assert np.isfinite(row["value"])
    assert np.isfinite([row["difference"], row["published"]]).tolist() == [compared] * 2


def test_robust_statistics_need_a_second_algorithm_for_improvement():
    lone = rows(*study_of({"sac_rlpd": [600.0, 610.0]}))
    assert lone[lone["part"] == "robust"]["statistic"].tolist() == ["interquartile_mean"]
    pair = rows(*study_of({"unified": [5.0, 6.0], "sac_rlpd": [1.0, 2.0]}))
    row = statistic(pair, "probability_of_improvement", "unified")
    assert (row["against"], row["value"]) == ("sac_rlpd", 1.0)


def test_runs_that_stop_early_are_marked_and_named():
    frame, status = make_study(STUDY, tasks=(HOPPER, "ant-100"), shorter=(HOPPER,))
    table = rows(frame, status)
    assert cell(table, "sac_rlpd")["reached"] == pytest.approx(0.5)
    assert cell(table, "sac_rlpd", "ant-100")["reached"] == 1.0
    assert r"stops before the budget: SAC on Hopper 50\%." in tex(table, status)


def test_runs_that_all_stop_at_one_share_have_one_note():
    tasks = (HOPPER, "ant-100")
    frame, status = make_study(STUDY, tasks=tasks, shorter=tasks)
    assert r"stops before the budget, at 50\% of it." in tex(rows(frame, status), status)


def test_archived_runs_and_runs_of_other_code_are_marked():
    frame, status = make_study(STUDY, tasks=(HOPPER,), archive=(HOPPER,), other_code=(HOPPER,))
    text = tex(rows(frame, status), status)
    assert r"5/5$^\dagger$$^\ddagger$" in text
    assert "Holds archived runs." in text
    assert "recorded with other code" in text
    fresh = make_study(STUDY, tasks=(HOPPER,))
    assert "archived" not in tex(rows(*fresh), fresh[1])


def test_missing_seeds_show_in_the_cell():
    frame, status = make_study(STUDY, tasks=(HOPPER,), missing={(HOPPER, "sac_rlpd", 2)})
    assert "& 4/5 &" in tex(rows(frame, status), status)


def test_study_without_a_run_is_still_a_table():
    nothing = {(HOPPER, "sac_rlpd", seed) for seed in range(5)}
    frame, status = make_study(STUDY, tasks=(HOPPER,), missing=nothing)
    table = rows(frame, status)
    assert table["published"].notna().sum() > 60
    text = tex(table, status)
    assert "SAC & -- & 0/5 &" in text
    assert "No run has finished." in text


def test_all_algorithms_fill_all_rows():
    frame, status = make_study(STUDY, tasks=(HOPPER, "ant-100"), variants=ALL_VARIANTS, num_seeds=2)
    table = rows(frame, status)
    part = table[(table["part"] == "returns") & table["task"].isin([HOPPER, "ant-100"])]
    assert part["value"].notna().all()
    assert len(table[table["statistic"] == "probability_of_improvement"]) == 8


@pytest.mark.parametrize(("column", "value"), [("task", "ant-1000"), ("variant", "sac")])
def test_what_has_no_place_is_refused(column, value):
    frame, status = make_study(STUDY, tasks=(HOPPER,))
    with pytest.raises(ValueError, match=f"no place for {column} '{value}'"):
        rows(frame.assign(**{column: value}), status)


def test_csv_columns_do_not_depend_on_what_ran():
    few, many = make_study(STUDY, tasks=(HOPPER,)), study_of({"unified": [1.0], "mbrl": [2.0]})
    pd.testing.assert_index_equal(rows(*few).columns, rows(*many).columns)


def calibrated(frame, status, *variants):
    """The same study, with Hopper's budget inferred from these published rows."""
    entry = {"steps": BUDGET, "status": "inferred", "calibrated_on": list(variants)}
    return frame, status | {"entries": {HOPPER: entry}}


def test_row_that_the_budget_was_calibrated_on_is_marked_and_not_tested():
    study = calibrated(*study_of({"sac_rlpd": [1.0, 2.0], "mbrl": [3.0, 4.0]}, "paper"), "sac_rlpd")
    table = rows(*study)
    for variant, expected in {"sac_rlpd": True, "max(mbrl,sac_rlpd)": True, "mbrl": False}.items():
        row = cell(table, variant)
        assert row["calibrated"] == expected
        assert row["comparable"] != expected
        assert np.isnan(row["p_published"]) == expected
    assert statistic(table, "tasks_that_differ_from_published", "sac_rlpd")["num_tasks"] == 0
    assert statistic(table, "tasks_that_differ_from_published", "mbrl")["num_tasks"] == 1
    set_table = tex(table, study[1])
    seeds = dict(re.findall(r"^(SAC|MBRL) & .*? & (2/2.*?) &", set_table, re.MULTILINE))
    assert seeds == {"SAC": r"2/2$^\P$", "MBRL": "2/2"}
    assert r"$^\P$ Calibrated" in set_table


def test_calibration_on_a_row_that_did_not_run_needs_no_note():
    study = calibrated(*study_of({"sac_rlpd": [1.0, 2.0]}, "paper"), "td3")
    assert r"$^\P$" not in tex(rows(*study), study[1])
