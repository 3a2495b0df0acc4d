"""What must be true when the campaign is over, read off manifests, notes and Snakemake's words."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.slurm.campaign_checkout import BROKEN, SCALE, CampaignCheckout, Run
from tests.slurm.campaign_faults import Fault

# How a segment ends by each kind of fault. SIGTERM comes first; who does not leave is killed.
ENDS = {
    "trainer killed": {"killed"},
    "time limit": {"SIGUSR1"},
    "requeued": {"SIGTERM", "killed"},
    "preempted": {"SIGTERM", "killed"},
    "node down": {"SIGTERM", "killed"},
    "snakemake killed": {"SIGTERM", "killed"},
    "disk full": {"failed", "killed"},
}
SPANNED = "controller restarted"  # jobs live on
KINDS = (*ENDS, SPANNED)
REPEATED = 0.3  # of all steps at most


@dataclass
class Segment:
    """One attempt at a run, as its manifest tells."""

    run: str
    job: str | None
    reason: str
    started: float
    stopped: float  # of its last checkpoint, where it was killed
    before_next: float  # start of the next attempt; infinite for the last


@dataclass
class Outcome:
    """What each kind of fault did, by reason of the segment that it ended."""

    faults: list[Fault] = field(default_factory=list)
    ends: Counter[str] = field(default_factory=Counter)


def segments(run: str, manifest: Mapping[str, Any]) -> list[Segment]:
    """Attempts of a manifest, in order."""
    listed = manifest["segments"]
    starts = [_seconds(s["started"]) for s in listed]
    return [
        Segment(
            run, s.get("job"), s["reason"], start,
            _seconds(s["stopped"]) if "stopped" in s else start, following,
        )
        for s, start, following in zip(listed, starts, [*starts[1:], float("inf")], strict=True)
    ]  # fmt: skip


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


def outcomes(faults: Sequence[Fault], found: Sequence[Segment]) -> dict[str, Outcome]:
    """Match faults with the segments that they ended, by job and time."""
    table = {kind: Outcome() for kind in KINDS}
    for fault in faults:
        outcome = table[fault.kind]
        outcome.faults.append(fault)
        outcome.ends.update(s.reason for s in found if s.job in fault.jobs and _met(fault, s))
    return table


def _met(fault: Fault, segment: Segment) -> bool:
    """Whether a segment of one of the fault's jobs ended by it, or lived through it."""
    if fault.kind == SPANNED:
        return segment.started < fault.began and segment.stopped >= fault.ended
    if fault.kind == "time limit":  # noticed some time after it happened
        return segment.reason in ENDS[fault.kind]
    met = segment.started <= fault.began < segment.before_next
    return met and segment.reason in ENDS[fault.kind]


def check_faults(table: Mapping[str, Outcome]) -> list[str]:
    """Kinds of faults that did not happen, or that no manifest shows."""
    problems = []
    for kind, outcome in table.items():
        if not outcome.faults:
            problems.append(f"fault '{kind}' was never injected")
        elif not outcome.ends:
            what = "spans it" if kind == SPANNED else "was ended by it"
            jobs = ", ".join(job for fault in outcome.faults for job in fault.jobs)
            problems.append(f"fault '{kind}' (jobs {jobs}): no manifest has a segment that {what}")
    return problems


def check_run(run: Run, undisturbed: Path) -> list[str]:
    """One run: finished once, in segments that fit, with the results of the undisturbed one."""
    manifest = run.manifest
    if manifest is None:
        return [f"{run.name}: not finished; its last status: {run.status}"]
    problems = []
    reasons = [s["reason"] for s in manifest["segments"]]
    if reasons.count("finished") != 1 or reasons[-1] != "finished":
        problems.append(f"{run.name}: did not finish once, at its end: {reasons}")
    if manifest["budget_reached"] != run.budget:
        problems.append(f"{run.name}: {manifest['budget_reached']} of {run.budget} steps")
    for before, after in pairwise(manifest["segments"]):
        if after["start_step"] != before["stop_step"]:
            steps = f"{before['stop_step']}, then {after['start_step']}"
            problems.append(f"{run.name}: segments do not join: {steps}")
    whole = json.loads((undisturbed / f"{run.variant}-{run.seed}" / "run.json").read_text())
    differ = [k for k, v in manifest["hashes"].items() if whole["hashes"][k] != v]
    if differ:
        problems.append(f"{run.name}: {', '.join(differ)} differ from the undisturbed run's")
    return problems


def read_notes(folder: Path) -> dict[str, list[tuple[float, float, int]]]:
    """Of each run, what its trainers noted: first and last moment, and number of steps."""
    found: dict[str, list[tuple[float, float, int]]] = {}
    for path in folder.iterdir():
        moments = [float(line) for line in path.read_text().splitlines()]
        if moments:
            run = "-".join(path.name.split("-")[:2])
            found.setdefault(run, []).append((moments[0], moments[-1], len(moments)))
    return {run: sorted(attempts) for run, attempts in found.items()}


def check_notes(notes: Mapping[str, Sequence[tuple[float, float, int]]]) -> list[str]:
    """Runs that two trainers trained at the same time."""
    return [
        f"{run}: two trainers at the same time, {after[0]:.1f} to {before[1]:.1f}"
        for run, attempts in notes.items()
        for before, after in pairwise(attempts)
        if after[0] <= before[1]
    ]


def repeated_share(
    notes: Mapping[str, Sequence[tuple[float, float, int]]], runs: Iterable[Run]
) -> float:
    """Steps that were made more than once, as a share of those that were needed."""
    needed = {f"{run.variant}-{run.seed}": run.budget for run in runs if not run.breaks}
    made = sum(steps for run in needed for _, _, steps in notes.get(run, ()))
    return made / sum(needed.values()) - 1


def check_broken(runs: Sequence[Run], said: str) -> list[str]:
    """The run that cannot succeed: marked fatal after few attempts, and named at the end."""
    (broken,) = (run for run in runs if run.breaks)
    problems = []
    if broken.status.get("state") != "fatal":
        problems.append(f"{broken.name} is not marked fatal: {broken.status}")
    failures = (broken.folder / "log.txt").read_text().count("\nFloatingPointError:")
    if failures > 4:  # two, or more where other faults came between
        problems.append(f"{broken.name} failed {failures} times before it was given up")
    for words in (f"1 of {len(runs)} runs", f"{broken.name}: failed at step"):
        if words not in said:
            problems.append(f"Snakemake's last message does not say: {words}")
    return problems


def check_rest(place: CampaignCheckout) -> list[str]:
    """Afterwards Snakemake would train the broken run alone, and the partial report says n of N."""
    problems = []
    left = place.checkout.trains("--profile", "slurm")
    if left != {f"{BROKEN}/0"}:
        problems.append(f"Snakemake would train {sorted(left)}, and should only {BROKEN}/0")
    done = place.checkout.snakemake("paper_partial", "--config", f"scale={SCALE}")
    if done.returncode != 0:
        return [*problems, f"paper_partial: {done.stdout[-1500:]}{done.stderr[-1500:]}"]
    told = (place.folder / "results" / SCALE / "partial" / "what_ran.tex").read_text()
    counts = [(int(n), int(of)) for n, of in re.findall(r"\b(\d+) of (\d+)\b", told)]
    expected = Counter(run.variant for run in place.runs)
    wanted = {(0 if v == BROKEN else n, n) for v, n in expected.items()}
    if not wanted <= set(counts):
        problems.append(f"paper_partial says {counts} runs, and should say {sorted(wanted)}")
    return problems
