"""Studies without runs: their frames, statuses and commands."""

import json
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from unirl_repro.campaign.places import Places
from unirl_repro.campaign.tabular import compute, experiment
from unirl_repro.cli import app
from unirl_repro.config import load_config
from unirl_repro.tabular.frame import COLUMNS

ROOT = Path(__file__).parents[2]
CONFIG = load_config(ROOT / "config.yaml")
TABULAR = [name for name, study in CONFIG.studies.items() if study.tabular]


def test_a_study_leaves_a_frame_an_empty_one_of_metrics_and_a_status(tmp_path):
    places = Places("paper", root=tmp_path)
    status = compute(CONFIG, "mnm_fig3", places)
    frame = pd.read_parquet(places.frame("mnm_fig3"))
    assert list(frame.columns) == COLUMNS
    assert set(frame["study"]) == {"mnm_fig3"}
    assert pd.read_parquet(places.metrics("mnm_fig3")).empty
    assert json.loads(places.status("mnm_fig3").read_text()) == status
    assert (status["seeds"], status["planned"], status["missing"]) == (1, [], [])
    assert set(status["versions"][0]) == {"numpy", "scipy"}


def test_each_tabular_study_has_an_experiment_and_no_runs():
    for study in TABULAR:
        assert callable(experiment(study).run)
        for scale in CONFIG.scales:
            assert CONFIG.selection(study, scale) == []


def test_a_small_scale_takes_fewer_seeds_and_nothing_else():
    seeds = {scale: CONFIG.tabular_seeds("mnm_fig2", scale) for scale in CONFIG.scales}
    assert seeds == {"smoke": 1, "quick": 10, "paper": 10}


@pytest.mark.parametrize(
    ("command", "study", "allowed"),
    [
        ("tabular", "unified_rl_fig2", "mnm_fig13, mnm_fig2"),
        ("aggregate", "mnm_fig2", "alm_windows"),
    ],
)
def test_a_command_for_the_other_kind_of_study_says_which_there_are(
    command, study, allowed, monkeypatch
):
    monkeypatch.chdir(ROOT)
    done = CliRunner().invoke(app, [command, "--study", study, "--scale", "quick"])
    assert done.exit_code == 1
    assert f"study is '{study}'. Allowed: {allowed}" in done.output
