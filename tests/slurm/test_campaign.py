"""The fault campaign, and that its checks see what they are there for."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from tests.slurm import campaign_checks as checks
from tests.slurm.campaign_faults import Fault
from tests.slurm.cluster import missing
from tests.workflow.checkout import ROOT


@pytest.mark.full
@pytest.mark.timeout(0)  # with CAMPAIGN_JOBS=500 it lasts hours; it has time limits of its own
@pytest.mark.skipif(bool(missing()), reason=f"SLURM is not installed: {missing()}")
def test_a_campaign_survives_all_that_clusters_do(tmp_path):
    out = os.environ.get("CAMPAIGN_OUT", str(tmp_path / "campaign.json"))
    # In a process of its own: it puts a cluster into its environment.
    done = subprocess.run(
        [sys.executable, "-m", "tests.slurm.campaign", "--out", out], cwd=ROOT, check=False
    )
    assert done.returncode == 0, "its last lines, above, say what was not as it should be"


KILLED = {
    "job": "7",
    "reason": "killed",
    "started": "2026-01-01T00:00:00+00:00",
    "stopped": "2026-01-01T00:00:40+00:00",
}
FINISHED = KILLED | {
    "job": "8",
    "reason": "finished",
    "started": "2026-01-01T00:01:00+00:00",
    "stopped": "2026-01-01T00:02:00+00:00",
}
SEGMENTS = checks.segments("a run", {"segments": [KILLED, FINISHED]})
START = SEGMENTS[0].started
FAULT = Fault("trainer killed", START + 41, START + 42, ("7",))


def ended(fault: Fault) -> dict[str, int]:
    return dict(checks.outcomes([fault], SEGMENTS)[fault.kind].ends)


def test_a_fault_ends_the_segment_of_its_job_at_its_time_in_its_way():
    assert ended(FAULT) == {"killed": 1}
    assert ended(replace(FAULT, jobs=("9",))) == {}
    assert ended(replace(FAULT, began=START - 5)) == {}
    assert ended(replace(FAULT, began=START + 70)) == {}
    assert ended(replace(FAULT, kind="time limit")) == {}


def test_a_controller_restarted_is_one_that_a_segment_spans():
    restart = Fault("controller restarted", START + 70, START + 80, ("8",))
    assert ended(restart) == {"finished": 1}
    assert ended(replace(restart, ended=START + 130)) == {}
    assert ended(replace(restart, began=START + 50)) == {}


def test_faults_that_were_not_injected_or_ended_nothing_are_named():
    problems = checks.check_faults(checks.outcomes([replace(FAULT, jobs=("9",))], SEGMENTS))
    assert len(problems) == len(checks.KINDS)
    assert problems[0].startswith("fault 'trainer killed' (jobs 9): no manifest has a segment")
    assert "fault 'disk full' was never injected" in problems


def test_two_trainers_of_one_run_are_seen():
    apart = {"sac_rlpd-0": [(0.0, 10.0, 5), (11.0, 20.0, 5)]}
    assert checks.check_notes(apart) == []
    assert len(checks.check_notes({"sac_rlpd-0": [(0.0, 10.0, 5), (9.0, 20.0, 5)]})) == 1
