"""What a study's status says of parameters, speeds and printed cells."""

import csv
import json

import pytest

from unirl_repro.analysis.settings import (
    PlannedSettings,
    RunSettings,
    is_calibrated,
    load_printed,
    settings_status,
)

CELL = ("ant-100", "sac_rlpd")
PLANNED = [(*CELL, 0), (*CELL, 1), (*CELL, 2)]
FILES = PlannedSettings({CELL: {"batch_size": 256}}, {CELL: {"cpu": 105.0}})


def test_planned_parameters_stand_where_nothing_ran():
    (found,) = settings_status(PLANNED, FILES, {})["parameters"]
    assert found == {
        **{"task": "ant-100", "variant": "sac_rlpd", "num_runs": 0},
        "parameters": {"batch_size": 256},
    }


def test_each_set_that_ran_is_listed_once_with_its_runs():
    sizes = {0: 64, 1: 128, 2: 64}
    runs = {(*CELL, seed): RunSettings({"batch_size": size}) for seed, size in sizes.items()}
    found = settings_status(PLANNED, FILES, runs)["parameters"]
    assert [(f["num_runs"], f["parameters"]["batch_size"]) for f in found] == [(2, 64), (1, 128)]


def test_speeds_are_those_of_runs_and_those_measured_beforehand():
    runs = {PLANNED[1]: RunSettings({}, ("cpu", "cuda"), 88.0), PLANNED[0]: RunSettings({})}
    speeds = settings_status(PLANNED, FILES, runs)["speeds"]
    assert [(s["seed"], s["devices"], s["steps_per_second"]) for s in speeds] == [
        (1, ["cpu", "cuda"], 88.0),
        (None, ["cpu"], 105.0),
    ]


def test_a_study_without_settings_has_none_and_can_be_written():
    status = settings_status(PLANNED, PlannedSettings(), {})
    nothing: dict[str, object] = {"parameters": [], "speeds": [], "entries": {}, "printed": []}
    assert json.loads(json.dumps(status)) == nothing


def test_printed_cells_are_text_and_no_returns(tmp_path):
    with (tmp_path / "study.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows(
            [["statistic", "value"], ["num_masks", "default"], ["training_average", "1"]]
        )
    assert load_printed("study", tmp_path) == [{"statistic": "num_masks", "value": "default"}]
    assert load_printed("nosuch", tmp_path) == []


@pytest.mark.parametrize(
    ("task", "variant", "calibrated"),
    [
        ("ant-100", "ppo", True),
        ("ant-100", "sac", False),
        ("ant-100", "td3", False),
        ("x", "ppo", False),
    ],
)
def test_rows_that_a_budget_rests_on_are_calibrated(task, variant, calibrated):
    own: dict[str, dict[str, list[str]]] = {"td3": {"calibrated_on": []}}
    entries = {"ant-100": {"calibrated_on": ["ppo", "td3"], "variants": own}}
    assert is_calibrated({"entries": entries}, task, variant) is calibrated
