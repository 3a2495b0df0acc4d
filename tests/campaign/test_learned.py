"""Studies that train models of their own: parts, frames, and what makes them stale."""

import json
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pandas as pd
import pytest
from typer.testing import CliRunner

from unirl_repro.campaign.collect import UnfinishedError
from unirl_repro.campaign.gathering import gather
from unirl_repro.campaign.learned import finished_seeds, learned_fingerprint
from unirl_repro.campaign.learning import learn
from unirl_repro.campaign.places import Places
from unirl_repro.cli import app
from unirl_repro.config import ConfigError, load_config
from unirl_repro.learned.sizes import COMPOUNDING
from unirl_repro.tabular.frame import COLUMNS

ROOT = Path(__file__).parents[2]
CONFIG = load_config(ROOT / "config.yaml")
STUDY = "mbpo_blog_fig2"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """One seed of scale smoke, which has one."""
    root = tmp_path_factory.mktemp("results")
    learn(STUDY, 0, Places("smoke", root=root))
    return root


def test_the_seeds_of_a_study_become_its_frame(root):
    places = Places("smoke", root=root)
    status = gather(CONFIG, STUDY, places)
    frame = pd.read_parquet(places.frame(STUDY))
    assert list(frame.columns) == COLUMNS
    assert set(frame["seed"]) == {0}
    assert pd.read_parquet(places.metrics(STUDY)).empty
    assert json.loads(places.status(STUDY).read_text()) == status
    assert (status["seeds"], status["planned_seeds"], status["full_size"]) == (1, 1, False)
    assert set(status["versions"][0]) == {"gymnasium", "mujoco", "numpy", "torch"}


def test_a_seed_that_is_missing_is_named_and_left_out_of_a_partial_frame(tmp_path):
    with pytest.raises(UnfinishedError, match=r"seeds \[0\] are missing.*snakemake -c2 mbpo_blog"):
        gather(CONFIG, STUDY, Places("smoke", root=tmp_path))
    places = Places("paper", partial=True, root=tmp_path)
    status = gather(CONFIG, STUDY, places)
    assert (status["seeds"], status["planned_seeds"], status["versions"]) == (0, 5, [])
    assert pd.read_parquet(places.frame(STUDY)).empty


def test_other_sizes_make_a_seed_stale_and_those_of_another_scale_do_not(root):
    places = Places("smoke", root=root)
    assert finished_seeds(CONFIG, STUDY, places) == [0]
    for scale, fresh in (("quick", [0]), ("smoke", [])):
        other = {**COMPOUNDING, scale: replace(COMPOUNDING[scale], collected=77)}
        with mock.patch.dict("unirl_repro.campaign.learned.SIZES", {STUDY: other}):
            assert finished_seeds(CONFIG, STUDY, places) == fresh


def test_code_that_means_something_else_makes_a_seed_stale():
    before = learned_fingerprint(STUDY, "smoke")
    with mock.patch("unirl_repro.campaign.learned.modules_hash", return_value="other"):
        assert learned_fingerprint(STUDY, "smoke") != before


def test_scales_have_their_seeds():
    seeds = {scale: len(CONFIG.learned_seeds(STUDY, scale)) for scale in CONFIG.scales}
    assert seeds == {"smoke": 1, "quick": 3, "paper": 5}
    assert all(CONFIG.selection(STUDY, scale) == [] for scale in CONFIG.scales)


def test_a_scale_cannot_take_tasks_of_it(tmp_path):
    text = (ROOT / "config.yaml").read_text()
    path = tmp_path / "config.yaml"
    path.write_text(text.replace("&few_seeds {seeds: 3}", "&few_seeds {tasks: [ant-100]}"))
    with pytest.raises(ConfigError, match=r"scales.quick.studies.mbpo_blog_fig1 names tasks"):
        load_config(path)


@pytest.mark.parametrize("command", [["learn", "--seed", "0"], ["gather"]])
def test_a_command_for_another_kind_of_study_says_which_there_are(command, monkeypatch):
    monkeypatch.chdir(ROOT)
    done = CliRunner().invoke(app, [*command, "--study", "mnm_fig2", "--scale", "smoke"])
    assert done.exit_code == 1
    assert "study is 'mnm_fig2'. Allowed: mbpo_blog_fig1, mbpo_blog_fig2, usbpo_cost" in done.output
