"""What each way of starting Snakemake really uses: scale, cores, executor."""

import os
from pathlib import Path

import pytest
import yaml
from snakemake.cli import parse_args

from tests.workflow.checkout import ROOT


@pytest.fixture(autouse=True)
def _in_the_checkout(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("SNAKEMAKE_PROFILE", raising=False)


def effective_scale(arguments) -> str:
    """Snakemake's order: the Snakefile's file, then those of profile or command line."""
    values = yaml.safe_load(Path("config.yaml").read_text())
    for file in arguments.configfile or []:
        values |= yaml.safe_load(Path(file).read_text())
    return values["scale"]


def test_without_a_profile_the_scale_is_quick_and_the_cores_are_those_asked_for():
    _, arguments = parse_args(["-c2"])
    assert effective_scale(arguments) == "quick"
    assert arguments.cores == 2
    assert arguments.executor is None


def test_profile_slurm_is_everything_at_scale_paper_as_cluster_jobs():
    assert os.path.realpath("slurm") == str(ROOT / "profiles" / "slurm")
    _, arguments = parse_args(["--profile", "slurm"])
    assert effective_scale(arguments) == "paper"
    assert arguments.executor == "slurm"
    assert (arguments.jobs, arguments.local_cores, arguments.cores) == (200, 2, None)


@pytest.mark.parametrize("profile", [[], ["--profile", "slurm"]])
def test_what_is_the_same_everywhere(profile):
    _, arguments = parse_args(profile)
    assert arguments.keep_going
    assert arguments.rerun_incomplete
    assert {trigger.name for trigger in arguments.rerun_triggers} == {"MTIME", "PARAMS"}
    assert arguments.forcerun == {"mark_stale"}
