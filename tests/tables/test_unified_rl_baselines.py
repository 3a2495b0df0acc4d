"""The other rows' hyper-parameters: each once for all tasks, or once for each task."""

import pandas as pd

from tests.analysis.frame_maker import curve
from unirl_repro.analysis.frames import RecordedRun, StudyPlan, build_frame
from unirl_repro.analysis.settings import PlannedSettings, RunSettings
from unirl_repro.tables.unified_rl_baselines import COLUMNS, rows, tex

STUDY = "unified_rl_baselines"
HOPPER, WALKER = "hopper-200", "walker2d-100"
TD3 = {"hidden": (256, 256), "random_steps": 1000}
PLANNED = {
    (HOPPER, "td3"): TD3 | {"random_steps": 2000},
    (WALKER, "td3"): TD3,
    (HOPPER, "hl"): {"sac": {"hidden": (128, 128)}, "horizon": 10},
    (WALKER, "hl"): {"sac": {"hidden": (128, 128)}, "horizon": 10},
}


def study(ran=()):
    planned = tuple((task, variant, 0) for task, variant in PLANNED)
    runs = [
        RecordedRun(curve(key[0], key[1]), settings=RunSettings(parameters, ("cpu",), 100.0))
        for key, parameters in ran
    ]
    settings = PlannedSettings(parameters=PLANNED)
    plan = StudyPlan(STUDY, "paper", {HOPPER: 8_000, WALKER: 8_000}, planned, (), settings)
    return build_frame(plan, runs, pd.DataFrame())


def listed(table, variant, name):
    part = table[(table["variant"] == variant) & (table["name"] == name)]
    return dict(zip(part["task"], part["value"], strict=True))


def test_a_value_stands_once_or_once_for_each_task():
    table = rows(*study())
    assert list(table.columns) == COLUMNS
    assert listed(table, "td3", "hidden") == {"all": "256, 256"}
    assert listed(table, "td3", "random_steps") == {HOPPER: "2000", WALKER: "1000"}


def test_a_part_is_named_with_its_whole():
    assert listed(rows(*study()), "hl", "sac.hidden") == {"all": "128, 128"}


def test_what_ran_stands_in_place_of_what_was_planned():
    table = rows(*study([((WALKER, "td3"), TD3 | {"hidden": (64, 64)})]))
    assert listed(table, "td3", "hidden") == {HOPPER: "256, 256", WALKER: "64, 64"}
    counts = table[table["variant"] == "td3"].set_index(["name", "task"])["num_runs"]
    assert counts["hidden", WALKER] == 1
    assert counts["hidden", HOPPER] == 0


def test_latex_has_a_block_an_algorithm_and_says_what_has_not_run():
    frame, status = study([((task, "td3"), PLANNED[task, "td3"]) for task in (HOPPER, WALKER)])
    shown = tex(rows(frame, status), status)
    assert r"\newcommand{\UnifiedRlBaselinesShared}" in shown
    assert "TD3" in shown
    assert "not all have run yet: HL." in shown


def test_a_scale_without_these_runs_says_so():
    plan = StudyPlan(STUDY, "quick", {}, ())
    frame, status = build_frame(plan, [], pd.DataFrame())
    assert tex(rows(frame, status), status).count("Nothing is planned at this scale") == 2
