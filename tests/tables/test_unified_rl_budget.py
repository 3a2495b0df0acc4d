"""unified_rl's training lengths and updates per step, from studies whose answer is known."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from tests.analysis.frame_maker import curve_of
from unirl_repro.analysis.frames import RecordedRun, StudyPlan, build_frame, load_published
from unirl_repro.analysis.settings import PlannedSettings, RunSettings
from unirl_repro.config import Budget
from unirl_repro.tables.unified_rl_budget import COLUMNS, rows, tex

STUDY = "unified_rl_budget"
HOPPER = "hopper-200"
SAC, TWO, FOUR = (f"sac_rlpd{more}" for more in ("", "@updates_per_step=2", "@updates_per_step=4"))
UPDATES = {SAC: 1, TWO: 2, FOUR: 4}
SEEDS = (-2.0, -1.0, 0.0, 1.0, 2.0)
# Published on Hopper: PPO 582.2, TD3 631.8, SAC 632.8. Running averages rise as `slope` an episode.
ENTRY = {
    **{"steps": 50_000, "status": "provisional", "source": "a guess"},
    **{"calibrated_on": [], "variants": {}},
}


def study(slopes, num_episodes=400, scale="paper", seeds=SEEDS, planned_only=(), **marks):
    """`slopes` maps a variant to its running average's rise an episode of 200 steps."""
    variants = (*slopes, *planned_only)
    planned = tuple((HOPPER, v, s) for v in variants for s in range(len(seeds)))
    number = 2 * np.arange(1, num_episodes + 1) - 1
    runs = [
        RecordedRun(
            curve_of(slope * number + offset, [200] * num_episodes, variant=variant, seed=seed),
            settings=RunSettings({"updates_per_step": UPDATES.get(variant, 1)}),
            **marks,
        )
        for variant, slope in slopes.items()
        for seed, offset in enumerate(seeds)
    ]
    settings = PlannedSettings(
        parameters={(HOPPER, v): {"updates_per_step": UPDATES.get(v, 1)} for v in variants},
        entries={HOPPER: ENTRY},
    )
    plan = StudyPlan(STUDY, scale, {HOPPER: 200 * num_episodes}, planned, (), settings)
    return build_frame(plan, runs, load_published(STUDY))


def length(table, variant):
    return table[(table["part"] == "lengths") & (table["variant"] == variant)].iloc[0]


def part(table, name):
    return table[table["part"] == name].iloc[0]


def entries(table) -> tuple[Budget, dict[str, Any]]:
    """What the proposal says, as config.yaml would be read with it."""
    first, _, second = part(table, "proposal")["entry"].partition("\n")
    return Budget.model_validate(yaml.safe_load(first)[HOPPER]), yaml.safe_load(second) or {}


# PPO and TD3 reach their rows at 40,000 steps: 200 episodes.
BOTH = {"ppo": 582.2 / 200, "td3": 631.8 / 200}
# At 40,000 steps SAC has 532.8, 632.8 and 732.8 with 1, 2 and 4 updates.
RATIOS = {SAC: 532.8 / 200, TWO: 632.8 / 200, FOUR: 732.8 / 200}


def test_length_of_each_row_is_where_its_average_is_the_published_one():
    table = rows(*study(BOTH))
    assert list(table.columns) == COLUMNS
    for variant, published in (("ppo", 582.2), ("td3", 631.8)):
        row = length(table, variant)
        assert row["value"] == pytest.approx(40_000)
        assert row["low"] < 40_000 < row["high"]
        assert row["published"] == published
        assert (row["num_seeds"], row["num_planned"], row["num_steps"]) == (5, 5, 80_000)
        assert row["average"] == pytest.approx(2 * published)


def test_both_rows_and_the_ratios_give_a_proposal_that_config_yaml_takes():
    frame, status = study(BOTH | RATIOS)
    table = rows(frame, status)
    ratio = part(table, "updates")
    assert ratio["status"] == "inferred"
    assert ratio["value"] == pytest.approx(2.0, rel=1e-3)
    assert 1 < ratio["low"] < 2 < ratio["high"] < 4
    proposal = part(table, "proposal")
    assert (proposal["status"], proposal["reason"]) == ("inferred", "")
    lengths = [length(table, v) for v in BOTH]
    assert proposal["low"] == max(row["low"] for row in lengths)
    assert proposal["high"] == min(row["high"] for row in lengths)
    budget, more = entries(table)
    assert (budget.steps, budget.status) == (40_000, "inferred")
    assert budget.calibrated_on == ["ppo", "td3", SAC]
    assert more == {f"variants.{SAC}.tasks.{HOPPER}": {"updates_per_step": 2}}
    written = tex(table, status)
    assert r"NumInferred}{1}" in written
    assert r"BudgetEntries}{\texttt{hopper" in written
    assert r"\\ \texttt{variants" in written


@pytest.mark.parametrize("row", ["ppo", "td3"])
def test_one_of_the_rows_is_enough(row):
    table = rows(*study({row: BOTH[row]}))
    assert part(table, "proposal")["status"] == "inferred"
    budget, more = entries(table)
    assert budget.calibrated_on == [row]
    assert more == {}
    assert part(table, "proposal")["reason"] == (
        "updates per step stay: no runs of SAC reach that length"
    )


def test_without_either_row_the_present_budget_stands():
    frame, status = study({SAC: 632.8 / 300})
    table = rows(frame, status)
    proposal = part(table, "proposal")
    assert np.isnan(proposal["value"])
    assert proposal["status"] == "provisional"
    assert proposal["reason"] == "no run of PPO and TD3: the length cannot be fixed"
    budget, _ = entries(table)
    assert (budget.steps, budget.status, budget.source) == (50_000, "provisional", "a guess")
    assert length(table, SAC)["value"] == pytest.approx(60_000)
    written = tex(table, status)
    assert "none: the present entries stand." in written
    assert r"NumInferred}{0}" in written


def test_without_a_length_the_ratio_is_that_of_the_present_budget():
    # At 50,000 steps, 250 episodes, SAC has 600 and 665.6 with 1 and 4 updates.
    table = rows(*study({SAC: 600.0 / 250, FOUR: 665.6 / 250}))
    ratio = part(table, "updates")
    assert ratio["status"] == "present"
    assert ratio["value"] == pytest.approx(2.0, rel=1e-3)


def test_a_row_beyond_our_data_is_a_lower_limit_and_decides_nothing():
    frame, status = study({"ppo": 1.0, SAC: 1.0})
    table = rows(frame, status)
    for variant in ("ppo", SAC):
        row = length(table, variant)
        assert (np.isnan(row["value"]), row["low"], row["high"]) == (True, 80_000, np.inf)
    proposal = part(table, "proposal")
    assert (proposal["status"], proposal["reason"]) == (
        "provisional",
        "the curves end before the interval does",
    )
    written = tex(table, status)
    assert written.count("more than 80{,}000") == 2
    assert r"NumBeyond}{2}" in written


@pytest.mark.parametrize(
    ("slope", "cell", "beyond"), [(1.0, "not by 80{,}000", 1), (1_000.0, "from the first on", 0)]
)
def test_single_seed_has_no_interval_and_may_not_reach_the_published_average(slope, cell, beyond):
    frame, status = study({"ppo": slope}, seeds=(0.0,))
    written = tex(rows(frame, status), status)
    assert cell in written
    assert rf"NumBeyond}}{{{beyond}}}" in written


@pytest.mark.parametrize(
    ("slopes", "seeds", "reason"),
    [
        ({"ppo": 582.2 / 200, "td3": 631.8 / 100}, SEEDS, "the rows of PPO and TD3 contradict"),
        (BOTH, (0.0,), "fewer than two seeds: no interval"),
        ({"ppo": 582.2}, SEEDS, "the curves begin above the published average"),
        ({"ppo": 582.2 / 200}, (-90.0, 90.0), "the curves end before the interval does"),
    ],
)
def test_evidence_that_does_not_suffice_is_told(slopes, seeds, reason):
    proposal = part(rows(*study(slopes, seeds=seeds)), "proposal")
    assert proposal["status"] == "provisional"
    assert proposal["reason"].startswith(reason)


def test_an_interval_that_is_too_wide_decides_nothing():
    table = rows(*study({"ppo": 582.2 / 200}, num_episodes=4_000, seeds=(-60.0, 0.0, 60.0)))
    row = length(table, "ppo")
    wide = rows(*study({"ppo": 582.2 / 200}, num_episodes=4_000, seeds=(-170.0, 0.0, 170.0)))
    assert row["high"] < 4 * row["low"]
    assert part(table, "proposal")["status"] == "inferred"
    assert part(wide, "proposal")["reason"] == "the interval spans more than a factor of 4"


@pytest.mark.parametrize(
    ("slopes", "reason"),
    [
        ({SAC: 532.8 / 200, TWO: 533.8 / 200}, "the ratios that ran end before the interval does"),
        ({SAC: 700.0 / 200, TWO: 732.8 / 200}, "the least that ran is at or above the published"),
        ({}, "no runs of SAC reach that length"),
    ],
)
def test_updates_that_cannot_be_told_stay(slopes, reason):
    proposal = part(rows(*study(BOTH | slopes)), "proposal")
    assert proposal["status"] == "inferred"
    assert proposal["reason"].startswith(f"updates per step stay: {reason}")
    assert SAC not in proposal["entry"]


def test_updates_that_are_no_whole_number_stay():
    # 2 ** 0.5 updates at the length, with an interval that holds neither 1 nor 2.
    slopes = {SAC: 532.8 / 200, TWO: 732.8 / 200}
    proposal = part(rows(*study(BOTH | slopes, seeds=(-1.0, 0.0, 1.0))), "proposal")
    assert proposal["reason"] == "updates per step stay: no whole number is inside"


@pytest.mark.parametrize("scale", ["smoke", "quick"])
def test_a_small_scale_decides_nothing(scale):
    frame, status = study(BOTH | RATIOS, scale=scale)
    table = rows(frame, status)
    proposal = part(table, "proposal")
    assert (proposal["status"], proposal["reason"]) == (
        "provisional",
        "not decidable at this scale",
    )
    assert part(table, "updates")[["value", "low", "high"]].isna().all()


def test_planned_rows_without_runs_show_as_missing():
    frame, status = study({SAC: 1.0}, planned_only=(TWO,))
    table = rows(frame, status)
    assert (length(table, TWO)["num_seeds"], length(table, TWO)["num_planned"]) == (0, 5)
    written = tex(table, status)
    assert "SAC (updates per step = 2) & 0/5 & -- & -- &" in written
    assert "PPO &" not in written  # neither planned nor run


def test_archived_runs_are_marked():
    frame, status = study({SAC: 1.0}, source="archive", same_code=False)
    written = tex(rows(frame, status), status)
    assert r"5/5$^\dagger$$^\ddagger$" in written
    assert "Holds archived runs." in written
    assert "recorded with other code" in written


def test_a_scale_that_plans_none_of_it_says_so():
    plan = StudyPlan(STUDY, "quick", {}, ())
    frame, status = build_frame(plan, [], load_published(STUDY))
    table = rows(frame, status)
    assert table.empty
    assert list(table.columns) == COLUMNS
    assert tex(table, status).count("No run of this study is planned at this scale.") == 2


def test_without_published_rows_nothing_is_known():
    frame, status = study({SAC: 1.0})
    table = rows(frame[frame["kind"] != "published"], status)
    assert np.isnan(length(table, SAC)["value"])
    pd.testing.assert_index_equal(table.columns, rows(frame, status).columns)
