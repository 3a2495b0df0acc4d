"""unified_rl Table 2: what ran beside what is printed, and everything else that ran."""

import copy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.analysis.frame_maker import curve
from unirl_repro.analysis.frames import RecordedRun, StudyPlan, build_frame
from unirl_repro.analysis.settings import RunSettings
from unirl_repro.campaign.planned import planned_settings, settings_hash
from unirl_repro.config import load_config
from unirl_repro.tables.unified_rl_table2 import COLUMNS, HEADS, TASKS, rows, tex, text

STUDY = "unified_rl_table2"
CONFIG = load_config(Path(__file__).parents[2] / "config.yaml")
HOPPER, WALKER, CARTPOLE = "hopper-200", "walker2d-100", "cartpole-200"
ALONE = ["sac_rlpd", "mbrl"]


def study(scale="paper", ran=(), tasks=TASKS, change=None):
    """The study at a scale; `ran` holds (task, variant), and `change` edits what a run ran with."""
    settings = copy.deepcopy(planned_settings(CONFIG, STUDY, scale))
    planned = tuple(spec.key for spec in CONFIG.selection(STUDY, scale) if spec.task.id in tasks)
    runs = []
    for task, variant, seed in planned:
        if (task, variant) in ran:
            parameters = copy.deepcopy(settings.parameters[task, variant])
            if change:
                change(parameters)
            told = RunSettings(parameters, ("cpu",), 100.0)
            runs.append(RecordedRun(curve(task, variant, seed), settings=told))
    plan = StudyPlan(STUDY, scale, dict.fromkeys(tasks, 8_000), planned, (), settings)
    return build_frame(plan, runs, pd.DataFrame())


def cell(table, name, task=HOPPER):
    part = table[(table["part"] == "printed") & (table["task"] == task)]
    return part[part["name"] == name].iloc[0]


def listed(table, group, name, variant="unified"):
    part = table[(table["part"] == "all") & (table["group"] == group) & (table["name"] == name)]
    part = part[part["variant"] == variant]
    return dict(zip(part["task"], part["value"], strict=True))


def test_every_printed_cell_is_there_and_follows_the_document():
    table = rows(*study())
    part = table[table["part"] == "printed"]
    assert list(table.columns) == COLUMNS
    assert list(zip(part["task"], part["name"], strict=True)) == [
        (t, n) for t in TASKS for n in HEADS
    ]
    assert part["verdict"].value_counts().to_dict() == {"same": 58, "ambiguous": 2}
    ambiguous = part[part["verdict"] == "ambiguous"]
    found = [tuple(row) for row in ambiguous[["task", "name", "deviation"]].to_numpy()]
    assert found == [(WALKER, "sigma_max", "U13"), (CARTPOLE, "num_rollouts", "U9")]


@pytest.mark.parametrize(
    ("name", "hopper", "cartpole"),
    [
        ("policy_training", "Full trajectory", "Dreamer"),
        ("sigma_max", "None", "None"),
        ("entropy_coefficient_mbrl", "0.2", "0.2"),
        ("entropy_coefficient_sac", "0.2", "-"),
        ("automatic_entropy_mbrl", "False", "False"),
        ("automatic_entropy_sac", "False", "True"),
        ("horizon", "200", "200"),
        ("num_rollouts", "100", "10"),
    ],
)
def test_cells_are_written_as_the_document_writes_them(name, hopper, cartpole):
    table = rows(*study())
    assert [cell(table, name, task)["value"] for task in (HOPPER, CARTPOLE)] == [hopper, cartpole]


def test_a_value_that_differs_is_told_from_the_printed_one():
    def other(parameters):
        parameters["num_masks"] = 20
        parameters["mbrl"]["prior_strength"] = 7.5

    frame, status = study(ran={(HOPPER, "unified")}, change=other)
    table = rows(frame, status)
    for name, value in (("num_masks", "20"), ("prior_strength", "7.5")):
        row = cell(table, name)
        assert (row["value"], row["verdict"], row["num_runs"]) == (value, "differs", 5)
    assert cell(table, "num_masks", WALKER)["verdict"] == "same"
    assert r"\textbf{20}" in tex(table, status)
    assert r"NumDiffers}{2}" in tex(table, status)


def test_two_bounds_that_are_not_the_same_both_show():
    def other(parameters):
        parameters["sac"] |= {"sigma_max": None, "std_head": "softplus"}

    table = rows(*study(ran={(WALKER, "unified")}, change=other))
    assert cell(table, "sigma_max", WALKER)["value"] == "0.1 / None"


def test_planned_values_stand_for_what_has_not_run():
    table = rows(*study(ran={(HOPPER, "sac_rlpd")}))
    assert cell(table, "num_masks")["num_runs"] == 0
    assert cell(table, "automatic_entropy_sac")["num_runs"] == 5  # of SAC alone
    assert cell(table, "automatic_entropy_mbrl")["num_runs"] == 0


def test_what_ran_alone_comes_before_what_is_planned_inside():
    def other(parameters):
        parameters["entropy_coefficient"] = 0.7

    table = rows(*study(ran={(HOPPER, "sac_rlpd")}, change=other))
    assert cell(table, "entropy_coefficient_sac")["value"] == "0.7"
    inside = rows(*study(ran={(HOPPER, v) for v in ("sac_rlpd", "mbrl", "unified")}))
    assert cell(inside, "entropy_coefficient_sac")["value"] == "0.2"


def test_runs_with_several_sets_show_all_of_them():
    seen = []

    def other(parameters):
        seen.append(parameters)
        parameters["num_masks"] = 20 + len(seen) % 2

    row = cell(rows(*study(ran={(HOPPER, "unified")}, change=other)), "num_masks")
    assert (row["value"], row["num_runs"]) == ("21 / 20", 5)


def test_every_hyper_parameter_of_every_algorithm_is_listed():
    table = rows(*study())
    known = planned_settings(CONFIG, STUDY, "paper").parameters[HOPPER, "unified"]
    expected = {("unified", name) for name in known if name not in ("sac", "mbrl")}
    expected |= {(part, name) for part in ("sac", "mbrl") for name in known[part]}
    part = table[table["part"] == "all"]
    assert set(zip(part["group"], part["name"], strict=True)) == expected


def test_a_value_that_all_tasks_share_is_listed_once():
    table = rows(*study(ran={(HOPPER, "sac_rlpd"), (HOPPER, "unified")}))
    assert listed(table, "sac", "batch_size") == {"all": "256"}
    starts = listed(table, "mbrl", "num_starts")
    assert list(starts) == list(TASKS)
    assert (starts[HOPPER], starts[CARTPOLE]) == ("2", "10")
    part = table[(table["part"] == "all") & (table["name"] == "discount")]
    assert dict(zip(part["group"], part["num_runs"], strict=True)) == {"sac": 10, "mbrl": 5}


def test_parts_alone_have_rows_only_where_they_differ():
    frame, status = study()
    table = rows(frame, status)
    assert set(table["variant"]) == {"unified"}
    assert "SAC and MBRL alone have the same values as inside" in tex(table, status)

    def other(parameters):
        parameters["batch_size"] = 512

    frame, status = study(ran={(HOPPER, "sac_rlpd")}, change=other)
    table = rows(frame, status)
    assert listed(table, "sac", "batch_size", "sac_rlpd") == {HOPPER: "512"}
    assert listed(table, "sac", "batch_size") == {"all": "256"}
    assert r"differ from what Unified RL holds in: \texttt{batch\_\allowbreak{}size}." in tex(
        table, status
    )


def test_a_scale_with_one_task_has_dashes_and_sizes_of_its_own():
    frame, status = study("quick", tasks=(CARTPOLE,))
    table = rows(frame, status)
    assert cell(table, "num_masks", HOPPER)["value"] == ""
    assert cell(table, "num_masks", CARTPOLE)["verdict"] == "differs"
    written = tex(table, status)
    assert "Hopper & ours & -- & -- &" in written
    assert "No value differs between the tasks of this scale." in written
    assert r"NumCells}{10}" in written


@pytest.mark.parametrize(
    ("scale", "rollouts", "masks"),
    [
        ("paper", ("10", "ambiguous", "U9"), ("50", "same", "")),
        ("quick", ("10", "ambiguous", "U9"), ("20", "differs", "R3")),
        ("smoke", ("2", "differs", "R2"), ("3", "differs", "R2")),
    ],
)
def test_cell_that_a_small_scale_changes_names_that_and_no_reading(scale, rollouts, masks):
    frame, status = study(scale, tasks=(CARTPOLE,))
    table = rows(frame, status)
    found = [cell(table, name, CARTPOLE) for name in ("num_rollouts", "num_masks")]
    told = [tuple(each[["value", "verdict", "deviation"]]) for each in found]
    assert told == [rollouts, masks]
    if scale == "smoke":
        assert r"\textbf{2}$^{\mathrm{R2}}$" in tex(table, status)


def test_reading_that_ran_with_another_value_differs():
    def other(parameters):
        parameters["num_rollouts"] = 7

    table = rows(*study(ran={(CARTPOLE, "unified")}, change=other))
    found = cell(table, "num_rollouts", CARTPOLE)
    assert (found["verdict"], found["deviation"]) == ("differs", "")


def test_a_study_without_runs_planned_is_still_a_table():
    frame, status = study(tasks=())
    table = rows(frame, status)
    assert (table["value"] == "").all()
    assert "Nothing is planned at this scale." in tex(table, status)


def test_what_has_no_place_is_refused():
    frame, status = study(tasks=(HOPPER,))
    status["parameters"].append({"task": HOPPER, "variant": "ppo", "num_runs": 1, "parameters": {}})
    with pytest.raises(ValueError, match=r"no place for variant 'ppo'. Allowed: unified, sac_rlpd"):
        rows(frame, status)
    frame, status = study(tasks=(HOPPER,))
    status["printed"] = [{"task": HOPPER, "statistic": "nosuch", "value": "1"}]
    with pytest.raises(ValueError, match=r"table2.csv: statistic is 'nosuch'. Allowed: num_masks"):
        rows(frame, status)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        *((True, "True"), (None, "None"), (1024, "1024"), (10_000, "10,000")),
        *(([2, 3], "2, 3"), (3e-4, "0.0003"), (100.0, "100")),
        ("full_trajectory", "full trajectory"),
    ],
)
def test_values_as_text(value, shown):
    assert text(value) == shown


def test_planned_settings_are_those_of_the_scale_and_change_its_hash():
    paper, smoke = (planned_settings(CONFIG, STUDY, scale) for scale in ("paper", "smoke"))
    assert paper.parameters[HOPPER, "sac_rlpd"]["batch_size"] == 256
    assert smoke.parameters[HOPPER, "sac_rlpd"]["batch_size"] == 16
    assert paper.speeds[HOPPER, "sac_rlpd"]["cpu"] > 0
    assert not any(smoke.speeds.values())
    assert np.isfinite(paper.entries[HOPPER]["steps"])
    hashes = {settings_hash(CONFIG, STUDY, scale) for scale in ("paper", "smoke", "paper")}
    assert len(hashes) == 2
