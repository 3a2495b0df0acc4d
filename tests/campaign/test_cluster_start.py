"""The first step on a cluster: what is wrong stops it; an earlier Snakemake's jobs are cancelled."""

import os
import uuid
from pathlib import Path

import pytest

from tests.campaign.commands import command, commands
from unirl_repro.campaign import cluster
from unirl_repro.campaign.cluster import StartError, begin
from unirl_repro.campaign.finding import error, ok
from unirl_repro.campaign.site import Site
from unirl_repro.config import load_config

CONFIG = load_config(Path(__file__).parents[2] / "config.yaml")
OWN = f"unirl_{uuid.uuid4()}"


@pytest.fixture(autouse=True)
def checked(monkeypatch: pytest.MonkeyPatch):
    """A preflight, tested elsewhere, that finds nothing wrong."""
    monkeypatch.setattr(cluster, "preflight", lambda *about: [ok("SLURM", "answers")])
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)


def test_orphans_are_cancelled_and_nothing_else(tmp_path, monkeypatch):
    rows = [
        f"7|{OWN}|RUNNING|{tmp_path}",
        f"8_3|{OWN}|PENDING|{tmp_path}",
        f"9|unirl_driver|RUNNING|{tmp_path}",
        f"10|{OWN}|RUNNING|{tmp_path}/other",
        f"11|{OWN}|RUNNING|{tmp_path}",
    ]
    commands(tmp_path, monkeypatch, squeue="\n".join(rows))
    command(tmp_path, monkeypatch, "scancel", f"echo $@ >> {tmp_path}/cancelled")
    monkeypatch.setenv("SLURM_JOB_ID", "11")  # this process's own, whatever it is called
    told = begin(CONFIG, "smoke", Site(), tmp_path)
    assert (tmp_path / "cancelled").read_text() == "7 8_3\n"
    assert "cancelled 2 jobs that an earlier Snakemake left behind: 7, 8_3." in told


def test_without_orphans_only_the_checks_are_told(tmp_path, monkeypatch):
    commands(tmp_path, monkeypatch, squeue="")
    assert "cancelled" not in begin(CONFIG, "smoke", Site(), tmp_path)
    assert (tmp_path / "results" / "format.json").exists()


@pytest.mark.parametrize("failing", ["squeue", "scancel"])
def test_a_controller_that_leaves_in_between_is_told_without_a_traceback(
    tmp_path, monkeypatch, failing
):
    commands(tmp_path, monkeypatch, squeue=f"7|{OWN}|RUNNING|{tmp_path}", scancel="")
    command(tmp_path, monkeypatch, failing, "echo Unable to contact controller >&2; exit 1")
    with pytest.raises(StartError, match=rf"(?s){failing} says: Unable.*start again"):
        begin(CONFIG, "smoke", Site(), tmp_path)


def test_a_second_snakemake_of_the_same_folder_cancels_nothing(tmp_path, monkeypatch):
    commands(tmp_path, monkeypatch, squeue="")
    begin(CONFIG, "smoke", Site(), tmp_path)
    command(tmp_path, monkeypatch, "squeue", f"touch {tmp_path}/asked")
    with pytest.raises(StartError, match=rf"submits jobs from this folder.*process {os.getpid()}"):
        begin(CONFIG, "paper", Site(), tmp_path)
    assert not (tmp_path / "asked").exists()
    for file in cluster._held:  # as when the process ends
        file.close()
    begin(CONFIG, "paper", Site(), tmp_path)
    assert (tmp_path / "asked").exists()


def test_after_an_error_nothing_is_asked_or_cancelled(tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "preflight", lambda *about: [error("SLURM", "is away", "wait")])
    command(tmp_path, monkeypatch, "squeue", f"touch {tmp_path}/asked")
    with pytest.raises(StartError, match=r"(?s)is away.*Nothing was submitted\."):
        begin(CONFIG, "smoke", Site(), tmp_path)
    assert not (tmp_path / "asked").exists()
