"""unified_rl's overhead: the printed calculation in both readings, and ours, on known curves."""

import numpy as np
import pandas as pd
import pytest

from tests.analysis.frame_maker import curve_of
from unirl_repro.analysis.frames import RecordedRun, StudyPlan, build_frame
from unirl_repro.analysis.settings import PlannedSettings, RunSettings, load_printed
from unirl_repro.tables.unified_rl_overhead import CASES, COLUMNS, rows, tex

STUDY = "unified_rl_overhead"
ANT = "ant-100"
BUDGET = 20_000
NUM_SEEDS = 5
FAST, SLOW = "sac_rlpd", "unified"


def ramp(variant, seed, end, num_episodes=200):
    """Returns that rise in a line to 100 at step `end`, and stay."""
    steps = 100 * np.arange(1, num_episodes + 1)
    returns = 100 * np.minimum(1.0, steps / (end * (1 + 0.05 * (seed - NUM_SEEDS // 2))))
    return curve_of(returns, [100] * num_episodes, task=ANT, variant=variant, seed=seed)


def study(ends=None, speeds=None, beforehand=None, devices=None, updates=1, scale="paper", **marks):
    """`ends` maps a variant to where its curves stop rising, `speeds` to its steps per second."""
    planned = tuple((ANT, v, s) for v in (SLOW, FAST) for s in range(NUM_SEEDS))
    settings = PlannedSettings(
        parameters={(ANT, FAST): {"updates_per_step": updates}},
        speeds={(ANT, v): found for v, found in (beforehand or {}).items()},
        printed=load_printed(STUDY),
    )
    runs = [
        RecordedRun(
            ramp(variant, seed, (ends or {})[variant]),
            settings=RunSettings(
                {"updates_per_step": updates},
                (devices or {}).get(variant, ("cpu",)),
                (speeds or {}).get(variant),
            ),
            **marks,
        )
        for _, variant, seed in planned
        if variant in (ends or {})
    ]
    plan = StudyPlan(STUDY, scale, {ANT: BUDGET}, planned, (), settings)
    return build_frame(plan, runs, pd.DataFrame())


def case(table, name, statistic):
    part = table[(table["part"] == "cases") & (table["case"] == name)]
    return part[part["statistic"] == statistic].iloc[0]


def curve_row(table, statistic, variant):
    part = table[(table["part"] == "curves") & (table["variant"] == variant)]
    return part[part["statistic"] == statistic].iloc[0]


def time_row(table, variant):
    return table[(table["part"] == "times") & (table["variant"] == variant)].iloc[0]


def test_printed_inputs_give_the_printed_factor_and_the_other_reading_a_hundredth():
    table = rows(*study())
    assert list(table.columns) == COLUMNS
    episode = case(table, "per_episode", "permissible_overhead")
    assert episode["value"] == pytest.approx(944.7368, abs=5e-5)
    assert (episode["published"], episode["difference"]) == (944.7, pytest.approx(0.0368, abs=1e-4))
    update = case(table, "per_update", "permissible_overhead")
    assert update["value"] == pytest.approx(11.1842, abs=5e-5)
    assert np.isnan(update["published"])
    seconds = [case(table, name, "seconds_per_update")["value"] for name in CASES[:2]]
    assert seconds == pytest.approx([0.00008, 0.008])


def test_without_runs_or_speeds_what_needs_them_is_open():
    frame, status = study()
    table = rows(frame, status)
    for name in ("our_time", "ours"):
        part = table[(table["part"] == "cases") & (table["case"] == name)]
        numbers = part[part["statistic"] != "data_ratio"]["value"]
        assert numbers.isna().all()
    written = tex(table, status)
    assert written.count("is open: a run or a measured time is missing") == 2
    assert "is nearer to" not in written


def test_our_numbers_follow_from_our_curves_and_times():
    frame, status = study({FAST: 10_000, SLOW: 5_000}, {FAST: 125.0, SLOW: 12.5})
    table = rows(frame, status)
    ratio = curve_row(table, "data_ratio", SLOW)
    steps = [curve_row(table, "steps_to_level", v)["value"] for v in (SLOW, FAST)]
    assert steps == pytest.approx([4_000, 8_000], rel=0.05)
    assert ratio["value"] == pytest.approx(steps[0] / steps[1])
    assert ratio["low"] < ratio["value"] < ratio["high"]
    fast, slow = 100 / 125, 100 / 12.5
    assert [time_row(table, v)["value"] for v in (FAST, SLOW)] == pytest.approx([fast, slow])
    share = ratio["value"]
    ours = case(table, "ours", "permissible_overhead")
    assert ours["value"] == pytest.approx(((10 + fast) / share - 10) / fast)
    assert ours["low"] == pytest.approx(((10 + fast) / ratio["high"] - 10) / fast)
    assert ours["low"] < ours["value"] < ours["high"]
    assert case(table, "ours", "overhead")["value"] == pytest.approx(10.0)
    rate = case(table, "ours", "break_even_rate")["value"]
    assert rate == pytest.approx(100 * (1 - share) / (share * slow - fast))
    speed_up = case(table, "ours", "speed_up")["value"]
    assert speed_up == pytest.approx((10 + fast) / (share * (10 + slow)))
    printed = case(table, "our_time", "permissible_overhead")["value"]
    assert printed == pytest.approx(((10 + fast) / 0.57 - 10) / fast)


@pytest.mark.parametrize(("speed", "verb"), [(12.5, "pays at"), (2.0, "does not pay at")])
def test_the_verdict_compares_what_updates_take_with_what_they_may(speed, verb):
    frame, status = study({FAST: 10_000, SLOW: 5_000}, {FAST: 125.0, SLOW: speed})
    written = tex(rows(frame, status), status)
    assert f"With our own share of data Unified RL {verb} the paper's rate" in written


@pytest.mark.parametrize(("speed", "reading"), [(125.0, "update"), (12_500.0, "episode")])
def test_our_time_is_nearer_to_one_of_the_readings(speed, reading):
    frame, status = study({FAST: 10_000}, {FAST: speed})
    assert f"is nearer to 0.008 s for each {reading}." in tex(rows(frame, status), status)


@pytest.mark.parametrize("scale", ["smoke", "quick"])
def test_times_of_small_networks_conclude_nothing(scale):
    frame, status = study({FAST: 10_000, SLOW: 5_000}, {FAST: 125.0, SLOW: 12.5}, scale=scale)
    written = tex(rows(frame, status), status)
    assert rf"open at scale \texttt{{{scale}}}: times of small networks (R2)" in written
    assert r"\UnifiedRlOverheadRates}{}" in written
    assert "Unified RL pays" not in written
    assert "is nearer to" not in written


@pytest.mark.parametrize(
    ("ends", "speeds", "told"),
    [
        ({}, {}, ""),
        ({FAST: 10_000}, {FAST: 125.0, SLOW: 12.5}, ""),
        (
            {FAST: 10_000, SLOW: 100_000},
            {FAST: 125.0, SLOW: 50.0},
            r": with our times below $126.5$\,Hz with the printed share of data and at no rate with "
            "our own share of data",
        ),
        (
            {FAST: 10_000, SLOW: 5_000},
            {FAST: 125.0, SLOW: 100.0},
            ": with our times at any rate with the printed share of data and at any rate with our "
            "own share of data",
        ),
    ],
)
def test_break_even_rates_are_told_where_there_are_any(ends, speeds, told):
    frame, status = study(ends, speeds)
    assert rf"\UnifiedRlOverheadRates}}{{{told}}}" in tex(rows(frame, status), status)


def test_more_updates_a_step_make_each_of_them_shorter():
    frame, status = study({FAST: 10_000}, {FAST: 125.0}, updates=4)
    table = rows(frame, status)
    assert case(table, "ours", "seconds_per_update")["value"] == pytest.approx(0.8 / 400)
    assert case(table, "per_update", "episode_seconds_sac")["value"] == pytest.approx(3.2)


def test_a_curve_that_never_gets_there_does_not_pay():
    frame, status = study({FAST: 10_000, SLOW: 100_000}, {FAST: 125.0, SLOW: 12.5})
    table = rows(frame, status)
    assert curve_row(table, "steps_to_level", SLOW)["value"] == np.inf
    assert curve_row(table, "steps_to_level_by_seed", SLOW)["num_seeds"] == 0
    assert case(table, "ours", "break_even_rate")["value"] == 0.0
    written = tex(table, status)
    assert "With our own share of data Unified RL does not pay: its updates" in written
    assert r"Unified RL & $\infty$ & -- & 0 of 5 &" in written


def test_speeds_measured_beforehand_stand_in_for_runs():
    frame, status = study({FAST: 10_000}, {FAST: 125.0}, {FAST: {"cpu": 50.0}, SLOW: {"cpu": 10.0}})
    table = rows(frame, status)
    fast, slow = (time_row(table, variant) for variant in (FAST, SLOW))
    assert (fast["value"], fast["source"], fast["num_seeds"]) == (pytest.approx(0.8), "runs", 5)
    assert (slow["value"], slow["source"], slow["num_seeds"]) == (10.0, "beforehand", 0)


def test_times_are_of_one_device_where_they_can_be():
    gpu = {SLOW: ("cuda",)}
    beforehand = {FAST: {"cuda": 500.0}}
    ends, speeds = {FAST: 10_000, SLOW: 5_000}, {FAST: 125.0, SLOW: 50.0}
    table = rows(*study(ends, speeds, beforehand, gpu))
    assert [time_row(table, v)["device"] for v in (FAST, SLOW)] == ["cuda", "cuda"]
    assert case(table, "ours", "overhead")["value"] == pytest.approx(10.0)
    frame, status = study(ends, speeds, {}, gpu)
    table = rows(frame, status)
    assert [time_row(table, v)["device"] for v in (FAST, SLOW)] == ["cpu", "cuda"]
    assert "of different devices and do not compare" in tex(table, status)


def test_a_run_of_several_devices_is_no_measurement():
    frame, status = study({FAST: 10_000}, {FAST: 125.0}, devices={FAST: ("cpu", "cuda")})
    assert np.isnan(time_row(rows(frame, status), FAST)["value"])


def test_archived_and_short_runs_are_marked():
    frame, status = study({FAST: 10_000}, {FAST: 125.0}, source="archive", same_code=False)
    status["short"] = [{"task": ANT, "variant": FAST, "seed": 0, "reached": 0.25}]
    written = tex(rows(frame, status), status)
    assert "Holds archived runs." in written
    assert "recorded with other code" in written
    assert r"The shortest run stops at 25\% of its budget." in written


def test_a_scale_that_plans_none_of_it_has_the_printed_calculation():
    plan = StudyPlan(STUDY, "quick", {}, (), (), PlannedSettings(printed=load_printed(STUDY)))
    frame, status = build_frame(plan, [], pd.DataFrame())
    table = rows(frame, status)
    assert case(table, "per_episode", "permissible_overhead")["value"] == pytest.approx(944.7368)
    assert "$944.7$ & $11.18$ & -- & --" in tex(table, status)


def test_a_printed_input_that_is_missing_is_named():
    frame, status = study()
    status["printed"] = [row for row in status["printed"] if row["statistic"] != "horizon"]
    with pytest.raises(ValueError, match=r"overhead.csv has no row 'horizon'.* Needed are: data_"):
        rows(frame, status)
