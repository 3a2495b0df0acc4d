"""Where a partial frame's runs come from: what is there, what is damaged, and with which code."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from tests import engine
from unirl_repro.campaign import archive, sources
from unirl_repro.campaign.collect import aggregate
from unirl_repro.campaign.places import Places
from unirl_repro.config import load_config

ROOT = Path(__file__).parents[2]
STUDY = "unified_rl_fig2"
CONFIG = load_config(ROOT / "config.yaml")
SPEC = CONFIG.spec("halfcheetah-100", "sac_rlpd", 0, "smoke")
NAME = "halfcheetah-100/sac_rlpd/seed0"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    outcome = engine.run(SPEC, folder)
    assert outcome.code == 0, outcome.error
    return folder


@pytest.fixture
def recorded(trained, tmp_path):
    """An archive that holds one run of the study."""
    archive.add(trained, tmp_path / "archive")
    return tmp_path / "archive"


@pytest.fixture
def places(tmp_path):
    return Places("smoke", partial=True, root=tmp_path / "results")


def contribution(places, recorded):
    return sources.available(CONFIG, STUDY, places, recorded)[NAME]


def test_a_recorded_run_counts_with_its_folder_curve_metrics_and_code(recorded, places):
    hashes = json.loads((recorded / NAME / "run.json").read_text())["hashes"]
    expected = (str(recorded / NAME), hashes["curve"], hashes["metrics"], True)
    assert contribution(places, recorded) == expected


def test_the_same_curve_from_another_folder_is_not_the_same(trained, recorded, places):
    before = contribution(places, recorded)
    shutil.copytree(trained, places.run(SPEC.key))
    after = contribution(places, recorded)
    assert after == (str(places.run(SPEC.key)), *before[1:])
    assert after != before


def test_a_recorded_run_of_other_code_is_not_the_same(recorded, places):
    path = recorded / NAME / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"code_hash": "0" * 24}))
    assert contribution(places, recorded)[-1] is False


def test_a_damaged_recording_counts_as_missing_with_one_warning(recorded, places, capsys):
    (recorded / NAME / "metrics.parquet").write_bytes(b"")
    assert sources.available(CONFIG, STUDY, places, recorded) == {}
    status = aggregate(CONFIG, STUDY, places, recorded)
    assert {"task": "halfcheetah-100", "variant": "sac_rlpd", "seed": 0} in status["missing"]
    told = capsys.readouterr().err
    assert told.count("warning: ") == 1
    assert f"{recorded / NAME}/metrics.parquet: is not the file that run.json describes" in told
    assert "that run counts as not recorded" in told
    assert "metrics.parquet" in archive.entries(recorded)[0].problem


def with_metrics(*names):
    """The configuration, where the study names these metrics."""
    study = CONFIG.studies[STUDY].model_copy(update={"metrics": list(names)})
    return CONFIG.model_copy(update={"studies": CONFIG.studies | {STUDY: study}})


def test_metrics_of_recorded_runs_come_with_the_frame_if_the_study_names_them(recorded, places):
    aggregate(with_metrics("entropy", "q"), STUDY, places, recorded)
    metrics = pd.read_parquet(places.metrics(STUDY))
    whole = pd.read_parquet(recorded / NAME / "metrics.parquet")
    expected = whole[whole["name"].isin(["entropy", "q"])].reset_index(drop=True)
    pd.testing.assert_frame_equal(metrics[["env_step", "name", "value"]], expected)
    assert len(expected) >= 2
    assert set(metrics["source"]) == {"archive"}
    aggregate(CONFIG, STUDY, places, recorded)
    assert pd.read_parquet(places.metrics(STUDY)).empty
