"""Memory of a further attempt: raised after out-of-memory alone; and which attempts are in vain."""

import json
import os
from pathlib import Path

import pytest

from tests.campaign.commands import command
from tests.engine import small_spec
from unirl_repro.campaign import plan, retry
from unirl_repro.campaign.places import Places
from unirl_repro.campaign.retry import is_settled, memory_mb
from unirl_repro.fingerprint import fingerprint

SPEC = small_spec()
NEEDED = plan.memory_mb(SPEC)


def left(folder: Path, state: str, limit: int | None = 3000, job: str | None = "45", reason=""):
    """What an attempt leaves in status.json."""
    path = folder / fingerprint(SPEC) / "status.json"
    path.parent.mkdir(parents=True)
    segment = {"job": job, "memory_limit_mb": limit}
    path.write_text(json.dumps({"state": state, "reason": reason, "segment": segment, "step": 7}))


@pytest.fixture(autouse=True)
def forgotten():
    """What was asked in another test."""
    retry._states.cache_clear()


@pytest.fixture
def sacct(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A stand-in that knows job 45: its step was out of memory, its batch script only failed."""
    program = tmp_path / "bin" / "sacct"
    program.parent.mkdir()
    program.write_text(
        '#!/bin/sh\ncase "$*" in *"-j 45 "*) printf "FAILED\\nFAILED\\nOUT_OF_MEMORY\\n";;'
        ' *"-j 46 "*) printf "TIMEOUT\\nCANCELLED by 0\\n";; esac\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places("smoke", root=tmp_path)


@pytest.fixture
def folder(places: Places) -> Path:
    return places.checkpoints


def test_a_first_attempt_asks_for_what_the_run_needs(folder):
    assert memory_mb(SPEC, folder) == NEEDED


@pytest.mark.usefixtures("sacct")
def test_after_out_of_memory_it_asks_for_twice_what_it_had(folder):
    left(folder, "running")
    assert memory_mb(SPEC, folder) == 6000


@pytest.mark.usefixtures("sacct")
@pytest.mark.parametrize(
    ("had", "asked"), [(3 * NEEDED, 6 * NEEDED), (5 * NEEDED, 8 * NEEDED), (8 * NEEDED, 8 * NEEDED)]
)
def test_it_asks_for_eight_times_the_need_at_most(folder, had, asked):
    left(folder, "running", limit=had)
    assert memory_mb(SPEC, folder) == asked


def test_slurm_is_asked_once_about_a_job_and_not_for_long(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(retry, "PATIENCE", 0.2)
    for name in ("sacct", "scontrol"):
        late = f"echo {name} >> {tmp_path}/asked; sleep 2; echo OUT_OF_MEMORY"
        command(tmp_path, monkeypatch, name, late)
    left(folder, "running")
    assert [memory_mb(SPEC, folder) for _ in range(3)] == [3000] * 3
    assert (tmp_path / "asked").read_text().split() == ["sacct", "scontrol"]


@pytest.mark.usefixtures("sacct")
def test_killed_for_another_reason_it_asks_for_what_it_had(folder):
    left(folder, "running", job="46")
    assert memory_mb(SPEC, folder) == 3000


@pytest.mark.usefixtures("sacct")
@pytest.mark.parametrize("state", ["stopped", "failed", "finished"])
def test_an_attempt_that_left_word_was_not_out_of_memory(state, folder):
    left(folder, state, reason="SIGTERM")
    assert memory_mb(SPEC, folder) == 3000


def test_an_allocation_that_python_was_refused_counts_without_slurm(folder):
    left(folder, "failed", job=None, reason="MemoryError: cannot allocate")
    assert memory_mb(SPEC, folder) == 6000


def test_a_limit_below_the_need_is_not_kept(folder):
    left(folder, "stopped", limit=10)
    assert memory_mb(SPEC, folder) == NEEDED


def test_without_slurm_a_silent_end_changes_nothing(folder, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    left(folder, "running")
    assert memory_mb(SPEC, folder) == 3000


def test_a_run_trained_by_hand_has_no_limit_to_double(folder):
    left(folder, "running", limit=None, job=None)
    assert memory_mb(SPEC, folder) == NEEDED


@pytest.mark.parametrize("state", ["fatal", "finished", "failed", "stopped", "running"])
def test_a_further_attempt_is_in_vain_where_none_cures_the_failure(state, places):
    left(places.checkpoints, state)
    assert is_settled(SPEC, places) is (state == "fatal")


@pytest.mark.parametrize(("reached", "settled"), [(SPEC.budget, True), (SPEC.budget - 1, False)])
def test_a_further_attempt_is_in_vain_where_all_results_are_there(reached, settled, places):
    """Not where they are lost, or short of a raised budget: the checkpoint says finished, too."""
    left(places.checkpoints, "finished")
    record = {"fingerprint": fingerprint(SPEC), "spec_hash": "", "budget_reached": reached}
    write_json_under(places.run(SPEC.key) / "run.json", record)
    assert is_settled(SPEC, places) is settled


def write_json_under(path: Path, record: dict) -> None:
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(record))


@pytest.mark.parametrize("content", ["{", "[]", "{}"])
def test_a_status_that_cannot_be_read_decides_nothing(content, places, folder):
    left(folder, "fatal")
    (folder / fingerprint(SPEC) / "status.json").write_text(content)
    assert not is_settled(SPEC, places)
    assert memory_mb(SPEC, folder) == NEEDED
