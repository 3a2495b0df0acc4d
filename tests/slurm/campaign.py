"""The fault campaign: runs on a real one-node cluster, while all that clusters do is done to them.

    python -m tests.slurm.campaign [--jobs N] [--out FILE]

It trains about N runs by `snakemake --profile slurm`, injects each kind of fault at least once (at
random moments again and again where N is large), and compares the end with an undisturbed campaign.
It prints what happened by each fault, and fails with a list of what was not as it should be.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.slurm import campaign_checks as checks
from tests.slurm.campaign_checkout import CampaignCheckout
from tests.slurm.campaign_faults import CampaignError, Driver
from tests.slurm.cluster import Cluster

JOBS = 19
LONG = 60  # from so many runs on, faults are repeated at random
CPUS, LONG_CPUS = 9, 13  # jobs at once; one is somebody else's
MEMORY_MB = 24_000  # what the node claims to have; jobs ask for more than they use


@dataclass
class Result:
    """How a campaign went.

    Attributes
    ----------
    jobs : int
        Runs.
    seconds : float
        From the first Snakemake's start to the last one's end.
    problems : list of str
        What was not as it should be.
    outcomes : dict
        By kind of fault: how many, and reasons of the segments that they ended.
    repeated : float
        Steps made more than once, as a share of those needed.
    attempts : int
        Trainers that made steps.
    disk : str
        What was full in place of a disk.
    """

    jobs: int
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)
    outcomes: dict[str, dict[str, Any]] = field(default_factory=dict)
    repeated: float = 0.0
    attempts: int = 0
    disk: str = ""

    def as_json(self) -> dict[str, Any]:
        minutes = self.seconds / 60
        return vars(self) | {"runs_per_minute": self.jobs / minutes if minutes else None}

    def table(self) -> str:
        """A line for each kind of fault."""
        lines = [f"{'fault':<22}{'times':>6}{'jobs':>6}  segments"]
        for kind, outcome in self.outcomes.items():
            ends = ", ".join(f"{count} {reason}" for reason, count in outcome["segments"].items())
            lines.append(f"{kind:<22}{outcome['times']:>6}{outcome['jobs']:>6}  {ends}")
        lines.append(
            f"{self.jobs} runs, {self.attempts} attempts, {self.seconds:.0f} s, "
            f"{self.repeated:.1%} of the steps repeated; full disk: {self.disk}"
        )
        return "\n".join(lines)


def campaign(jobs: int, folder: Path, cluster: Cluster) -> Result:
    """Run it in `folder` on a cluster that has nothing else to do."""
    os.environ.update(cluster.env)
    place = CampaignCheckout.make(folder / "checkout", jobs)
    small, pretended = "a small file system", "pretended, since nothing can be mounted here"
    result = Result(len(place.runs), disk=small if place.mounted else pretended)
    try:
        undisturbed = place.undisturbed()
        try:
            said = _disturb(place, cluster, result)
            if said is not None:
                undisturbed.wait()
                _check(place, said, result)
        finally:
            undisturbed.kill()
    finally:
        place.leave_mount()
    return result


def _disturb(place: CampaignCheckout, cluster: Cluster, result: Result) -> str | None:
    """Train with faults; what Snakemake said at its end, or None if it did not get there."""
    started = time.monotonic()
    driver = Driver(place, cluster)
    try:
        driver.each_fault_once()
        if result.jobs >= LONG:
            driver.more_faults(seed=result.jobs, until=2 * LONG_CPUS)
        said = driver.finish()
    except CampaignError as error:
        result.problems.append(str(error))
        said = None
    finally:
        driver.stop()
        result.seconds = time.monotonic() - started
    found = [
        segment
        for run in place.runs
        if (manifest := run.manifest)
        for segment in checks.segments(run.name, manifest)
    ]
    table = checks.outcomes(driver.faults, found)
    result.outcomes = {kind: _summary(outcome) for kind, outcome in table.items()}
    result.problems += checks.check_faults(table)
    if not driver.foreign_job_lives():
        result.problems.append("a job of another checkout was cancelled, too")
    return said


def _summary(outcome: checks.Outcome) -> dict[str, Any]:
    jobs = sum(len(fault.jobs) for fault in outcome.faults)
    return {"times": len(outcome.faults), "jobs": jobs, "segments": dict(outcome.ends)}


def _check(place: CampaignCheckout, said: str, result: Result) -> None:
    """All that must be true of the runs and of what Snakemake says."""
    notes = checks.read_notes(place.folder / "steps")
    result.attempts = sum(len(attempts) for attempts in notes.values())
    result.repeated = checks.repeated_share(notes, place.runs)
    for run in place.runs:
        if not run.breaks:
            result.problems += checks.check_run(run, place.folder / "undisturbed")
    result.problems += checks.check_notes(notes)
    if result.repeated > checks.REPEATED:
        result.problems.append(
            f"{result.repeated:.0%} of the steps were repeated; allowed: {checks.REPEATED:.0%}"
        )
    result.problems += checks.check_broken(place.runs, said)
    result.problems += checks.check_rest(place)


def main(arguments: list[str] | None = None) -> int:
    """Run a campaign and report it; 1 if something was not as it should be."""
    parser = argparse.ArgumentParser(description="The fault campaign on a one-node cluster.")
    jobs = int(os.environ.get("CAMPAIGN_JOBS", JOBS))
    parser.add_argument("--jobs", type=int, default=jobs, help="runs; default: CAMPAIGN_JOBS")
    parser.add_argument("--out", type=Path, help="JSON of what happened")
    parser.add_argument("--keep", action="store_true", help="keep the checkout")
    options = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="campaign_", dir="/tmp"))
    try:
        result = _on_a_cluster(options.jobs, folder)
    finally:
        if not options.keep:
            shutil.rmtree(folder)
    print(result.table())
    if options.out:
        options.out.write_text(json.dumps(result.as_json(), indent=1) + "\n")
    for problem in result.problems:
        print(f"FAILED: {problem}")
    if options.keep:
        print(f"kept: {folder}")
    return 1 if result.problems else 0


def _on_a_cluster(jobs: int, folder: Path) -> Result:
    cpus = CPUS if jobs < LONG else LONG_CPUS
    with Cluster.start(cpus=cpus, gpus=0, mem_mb=MEMORY_MB) as cluster:
        return campaign(jobs, folder, cluster)


if __name__ == "__main__":
    sys.exit(main())
