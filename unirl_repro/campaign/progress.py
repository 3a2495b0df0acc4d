"""How far the runs of a scale are, from their manifests and live curves; plan against actuals."""

import re
import socket
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, get_args

from unirl_repro.campaign import plan, slurm, state, traces
from unirl_repro.campaign.columns import duration, number, table
from unirl_repro.campaign.places import Places
from unirl_repro.campaign.site import Site
from unirl_repro.campaign.traces import Trace, number_in
from unirl_repro.config import Config, RunSpec
from unirl_repro.fingerprint import fingerprint

LOCKS = Path("/proc/locks")
LAST = 10  # episodes of which a mean is shown
SILENT_SECONDS = 900.0  # an episode and a checkpoint take less
LISTED = 40  # runs of one kind that are listed, unless all are asked for
HOLDER = re.compile(r"process (?P<pid>\d+) on (?P<host>\S+)(?: \(SLURM job (?P<job>\d+)\))?")
RUNS = ("RUNNING", "COMPLETING", "SIGNALING", "STOPPED", "SUSPENDED")  # states of a job

Kind = Literal["running", "killed", "stopped", "failed", "fatal", "stale", "not begun", "finished"]
KINDS: tuple[Kind, ...] = get_args(Kind)
COUNTED = ("not begun", "finished")  # not listed, unless all are asked for


@dataclass(frozen=True)
class RunProgress:
    """Where one run is, and what it took.

    Attributes
    ----------
    name, algorithm, task, device : str
        ``task/variant/seed<k>``, and what it is planned by.
    kind : str
        running; killed, its process gone without a word; stopped by a signal; failed, to be tried
        again; fatal, not to be tried again; stale, of other settings, code or a smaller budget
        than today's; not begun; finished.
    why : str
        In words; empty where there is nothing to say.
    step, budget : int
        Environment steps reached, saved or not, and those wanted.
    last_return, mean_return : float or None
        Of the last training episode, and the mean of the last ten, or of fewer where their rows
        are long; not of finished runs.
    age_seconds : float or None
        Since the last row of the curve; not of finished runs.
    steps_per_second, seconds_left : float or None
        Of the present attempt if it runs, else of all so far; and what is left at that speed.
    planned_speed, planned_hours : float
        Steps per second, and core-hours to the budget, as planned.
    hours : float
        Core-hours that all attempts took, those of lost steps included.
    steps_done, steps_saved, steps_repeated : int
        Steps that the results or a checkpoint have; those that a checkpoint has; and those lost.
    peak_memory_mb : float or None
        Of the attempt that took most.
    memory_mb : int
        That its last job was given, or its next will ask for.
    ends : dict
        How many attempts ended in which way.
    """

    name: str
    algorithm: str
    task: str
    device: str
    kind: Kind
    why: str
    step: int
    budget: int
    last_return: float | None
    mean_return: float | None
    age_seconds: float | None
    steps_per_second: float | None
    seconds_left: float | None
    planned_speed: float
    planned_hours: float
    hours: float
    steps_done: int
    steps_saved: int
    steps_repeated: int
    peak_memory_mb: float | None
    memory_mb: int
    ends: dict[str, int]


@dataclass(frozen=True)
class Progress:
    """All runs of a scale, and what could not be read."""

    scale: str
    runs: tuple[RunProgress, ...]
    problems: tuple[str, ...]

    def text(self, all: bool = False) -> str:
        """Counts; runs that are not just finished or waiting; plan against actuals; what to type.

        Parameters
        ----------
        all : bool, default False
            List every run.
        """
        warnings = "\n".join(f"warning: {problem}" for problem in self.problems)
        parts = [_heading(self.runs, self.scale), _run_table(self.runs, all)]
        parts += [_plan_table(self.runs), _ends(self.runs), warnings, _hints(self)]
        return "\n\n".join(part for part in parts if part)


def progress(config: Config, places: Places, site: Site) -> Progress:
    """Look at all runs of a scale, without disturbing any.

    Parameters
    ----------
    config : Config
        The experiment.
    places : Places
        Where its results lie, and at which scale.
    site : Site
        Whether models are learned on GPUs.
    """
    problems: list[str] = []
    specs = list(config.runs(places.scale).values())
    found = [traces.read(spec, places, problems) for spec in specs]
    queue = _queue({job for trace in found if (job := _job(trace.status))})
    now = time.time()
    runs = []
    for spec, trace in zip(specs, found, strict=True):
        lock = places.checkpoints / fingerprint(spec) / "lock"
        runs.append(_run(spec, trace, site, _kind(trace, lock, queue, now), now))
    return Progress(places.scale, tuple(runs), tuple(problems))


# What became of a run


def _kind(trace: Trace, lock: Path, queue: dict[str, str] | None, now: float) -> tuple[Kind, str]:
    status = trace.status
    reason = str(status.get("reason", "no reason given"))
    waiting = (queue or {}).get(_job(status) or "")
    queued = f"; its SLURM job {_job(status)} is {waiting}" if waiting else ""
    match trace.results.kind, status.get("state"):
        case "finished", _:
            return "finished", ""
        case _, "running":
            holder, alive = str(status.get("holder", "unknown")), _alive(status, lock, queue)
            if alive is False:
                return "killed", f"{holder} is gone{queued}"
            silent = now - trace.touched if trace.touched else 0.0
            if alive is None and silent > SILENT_SECONDS:
                return "running", f"no row for {duration(silent)}: is {holder} alive?"
            return "running", holder
        case _, "stopped":
            return "stopped", f"by {reason}{queued}"
        case _, "failed":
            return "failed", f"{reason}{queued}"
        case _, "fatal":
            return "fatal", reason
        case "stale", _:
            return "stale", trace.results.why
        case _, "finished":
            return "stopped", "trained, but its results are gone; the checkpoint has them"
        case _ if trace.saved:
            return "stopped", f"there is a checkpoint at step {trace.saved}"
    return "not begun", ""


def _alive(status: dict[str, Any], lock: Path, queue: dict[str, str] | None) -> bool | None:
    """Whether the trainer that holds a run is still there; None if that cannot be told.

    Taking the lock to see whether it is free, if only shared and for a moment, could make a trainer
    fail that starts in that moment, and could wait for a file server's lock daemon. So nothing is
    taken: SLURM knows its jobs, and the kernel lists the locks of processes on this machine.
    """
    holder = HOLDER.fullmatch(str(status.get("holder")))
    if holder is None:
        return None
    if holder["job"] and queue is not None:
        return queue.get(holder["job"]) in RUNS
    if holder["host"] != socket.gethostname():
        return None
    try:
        lines = [line.split() for line in LOCKS.read_text().splitlines()]
        inode = str(lock.stat().st_ino)
    except OSError:
        return None
    held = [line for line in lines if line[1] == "FLOCK"]
    # Layered file systems show another inode there than stat does: then the process has to do.
    return any(inode == line[5].split(":")[-1] or holder["pid"] == line[4] for line in held)


def _job(status: dict[str, Any]) -> str | None:
    """The SLURM job of a run's last attempt."""
    holder = HOLDER.fullmatch(str(status.get("holder")))
    segment = status.get("segment")
    job = segment.get("job") if isinstance(segment, dict) else None
    found = str(job or (holder and holder["job"]) or "")
    return found if found.isdecimal() and status.get("state") != "finished" else None


def _queue(jobs: set[str]) -> dict[str, str] | None:
    """States of those jobs that are in SLURM's queue, asked for once; None if it cannot tell."""
    if not jobs:
        return {}
    wanted = ",".join(sorted(jobs))
    try:
        told = slurm.ask("squeue", "--noheader", f"--jobs={wanted}", "--format=%A|%T")
    except slurm.SlurmError as error:
        return {} if "Invalid job id" in str(error) else None  # said of a single job that is gone
    return dict(line.split("|", 1) for line in told.split())


# Figures of a run


def _run(
    spec: RunSpec, trace: Trace, site: Site, found: tuple[Kind, str], now: float
) -> RunProgress:
    (kind, why), segments = found, trace.segments
    device = str(segments[-1].get("device", "cpu")) if segments else plan.device(spec, site)
    planned = plan.steps_per_second(spec, device)
    done = max(int(number_in(trace.manifest, "budget_reached")), trace.saved)
    step = max([int(number_in(row, "env_step")) for row in trace.rows] + [done])
    returns = [number_in(row, "return") for row in trace.rows if row.get("kind") == "train"]
    seconds = sum(number_in(segment, "seconds") for segment in segments)
    mean_speed = done / seconds if seconds and done else None
    live = _live_speed(segments[-1], step, trace.touched) if kind == "running" and segments else 0
    speed = live or mean_speed
    repeated = _repeated(segments, kind, step)
    return RunProgress(
        name=state.name(spec),
        algorithm=spec.algorithm,
        task=spec.task.id,
        device=device,
        kind=kind,
        why=why,
        step=step,
        budget=spec.budget,
        last_return=returns[-1] if returns else None,
        mean_return=_mean(returns[-LAST:]),
        age_seconds=None if trace.touched is None else max(0.0, now - trace.touched),
        steps_per_second=speed,
        seconds_left=max(0, spec.budget - step) / speed if speed else None,
        planned_speed=planned,
        planned_hours=spec.budget / planned / 3600,
        hours=(seconds + repeated / (mean_speed or planned)) / 3600,
        steps_done=done,
        steps_saved=trace.saved,
        steps_repeated=repeated,
        peak_memory_mb=max((number_in(s, "peak_memory_mb") for s in segments), default=0) or None,
        memory_mb=_given_memory(segments) or plan.memory_mb(spec),
        ends=_count_ends(segments, kind, trace.status),
    )


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _live_speed(segment: dict[str, Any], step: int, touched: float | None) -> float:
    """Steps per second from the start of the attempt to its last row."""
    try:
        started = datetime.fromisoformat(str(segment.get("started"))).timestamp()
    except ValueError:
        return 0.0
    seconds = (touched or 0.0) - started
    return max(0.0, (step - number_in(segment, "start_step")) / seconds) if seconds > 0 else 0.0


def _repeated(segments: list[dict[str, Any]], kind: Kind, step: int) -> int:
    """Steps that were executed and lost, and so are done again; a living attempt lost none yet."""
    lost = [number_in(s, "reached_step") - number_in(s, "stop_step") for s in segments]
    if segments and kind != "finished":
        last = segments[-1]
        saved = max(number_in(last, "stop_step"), number_in(last, "start_step"))
        lost[-1] = 0 if kind == "running" else step - saved
    return int(sum(max(0, steps) for steps in lost))


def _given_memory(segments: list[dict[str, Any]]) -> int:
    return int(number_in(segments[-1], "memory_limit_mb")) if segments else 0


def _count_ends(
    segments: list[dict[str, Any]], kind: Kind, status: dict[str, Any]
) -> dict[str, int]:
    """Attempts by how they ended; of the last, what became of the run may know better."""
    reasons = [str(segment.get("reason", "killed")) for segment in segments]
    last = {"running": "running", "killed": "killed", "failed": "failed", "fatal": "failed"}
    last["stopped"] = status.get("reason", "")
    if segments and last.get(kind):
        reasons[-1] = str(last[kind])
    return dict(Counter(reasons))


# Text


def _heading(runs: Iterable[RunProgress], scale: str) -> str:
    kinds = Counter(run.kind for run in runs)
    counts = ", ".join(f"{number(kinds[kind])} {kind}" for kind in KINDS if kinds[kind])
    kept = [run for run in runs if run.kind != "stale" or run.steps_saved]  # others begin anew
    done = sum(min(run.step, run.budget) for run in kept)
    wanted = sum(run.budget for run in runs)
    share = f"{number(done)} of {number(wanted)} steps" if wanted else "no steps"
    return f"Scale {scale}: {number(kinds.total())} runs: {counts}; {share}."


def _run_table(runs: tuple[RunProgress, ...], everything: bool) -> str:
    listed, more = [], []
    for kind in KINDS:
        those = [run for run in runs if run.kind == kind]
        if kind in COUNTED and not everything:
            continue
        shown = those if everything else those[:LISTED]
        listed += [_line(run) for run in shown]
        if len(those) > len(shown):
            more.append(f"and {number(len(those) - len(shown))} more that are {kind}: --all")
    if not listed:
        return ""
    header = ("run", "state", "step", "of", "return", "last ten", "row age", "steps/s", "left")
    return "\n".join([table((*header, ""), listed), *more])


def _line(run: RunProgress) -> list[str]:
    return [
        *(run.name, run.kind, number(run.step), number(run.budget)),
        *(number(run.last_return, 1), number(run.mean_return, 1), duration(run.age_seconds)),
        *(number(run.steps_per_second), duration(run.seconds_left), run.why),
    ]


def _plan_table(runs: tuple[RunProgress, ...]) -> str:
    """What was planned for the steps that were done, and what they took."""
    groups: dict[tuple[str, str, str], list[RunProgress]] = {}
    for run in runs:
        if run.hours:
            groups.setdefault((run.algorithm, run.task, run.device), []).append(run)
    if not groups:
        return ""
    header = (
        *("algorithm", "task", "device", "runs", "steps done", "repeated", "core-h planned"),
        *("core-h spent", "steps/s planned", "steps/s measured", "peak MB", "asked MB"),
    )
    lines = table(header, [[*key, *_compared(group)] for key, group in groups.items()])
    return f"{lines}\nPlanned are the core-hours of the steps done; spent, also those of lost ones."


def _compared(runs: list[RunProgress]) -> list[str]:
    done = sum(run.steps_done for run in runs)
    executed = done + sum(run.steps_repeated for run in runs)
    hours = sum(run.hours for run in runs)
    peaks = [run.peak_memory_mb for run in runs if run.peak_memory_mb]
    return [
        *(number(len(runs)), number(done), f"{1 - done / executed:.0%}" if executed else "-"),
        *(number(sum(r.steps_done / r.planned_speed for r in runs) / 3600, 2), number(hours, 2)),
        *(number(runs[0].planned_speed), number(executed / hours / 3600)),
        *(number(max(peaks, default=None)), number(max(run.memory_mb for run in runs))),
    ]


def _ends(runs: tuple[RunProgress, ...]) -> str:
    ends: Counter[str] = sum((Counter(run.ends) for run in runs), Counter())
    told = ", ".join(f"{number(count)} {reason}" for reason, count in ends.most_common())
    return f"Attempts by how they ended: {told}." if told else ""


def _hints(found: Progress) -> str:
    by_kind: dict[str, RunProgress] = {}
    for run in found.runs:
        by_kind.setdefault(run.kind, run)
    on = f"--config scale={found.scale}"
    lines = []
    if {"failed", "fatal"} & set(by_kind):
        home = Places(found.scale).home
        lines.append(f"Why runs fail: {home}/runs/<task>/<variant>/seed<k>/log.txt")
    if fatal := by_kind.get("fatal"):
        task, variant, seed = fatal.name.split("/")
        lines += [
            "Once the cause of a fatal one is mended:",
            f"  unirl-repro train --task {task} --variant {variant} --seed "
            f"{seed.removeprefix('seed')} --scale {found.scale} --retry-fatal",
        ]
    if set(by_kind) - {"finished", "running"}:
        lines += ["To begin or go on, unless a snakemake runs that does it:"]
        if found.scale == "paper":
            lines.append("  snakemake --profile slurm  # on a cluster")
        lines.append(f"  snakemake -c2 {on}  # on this machine")
    target = "paper_partial " if set(by_kind) - {"finished"} else ""
    lines += ["The report of what is there:", f"  snakemake -c2 {target}{on}"]
    return "\n".join(lines)
