"""What a scale needs before anything is submitted: hours, jobs, wall time, memory and disk."""

import heapq
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from unirl_repro.campaign import plan, state
from unirl_repro.campaign.columns import duration, mib, number, table
from unirl_repro.campaign.places import Places
from unirl_repro.campaign.site import Site
from unirl_repro.campaign.sizes import replay_bytes, state_bytes
from unirl_repro.campaign.traces import newest_checkpoint, step_of
from unirl_repro.config import Config, RunSpec
from unirl_repro.fingerprint import fingerprint

STOP_SECONDS = 90  # workflow/rules/train.smk: so long before its limit a trainer is told to save
KEPT_STATES = 2  # checkpoint.KEPT, without importing torch
# As measured on recorded runs, with five metrics an episode.
LOG_BYTES = 540  # of progress.jsonl, an episode
TABLE_BYTES = 50  # of Parquet, an episode
MANIFEST_BYTES = 4096
# Against eager updates: recorded runs of scale paper, two at a time on two cores.
COMPILED = "0.8 to 1.7"


@dataclass(frozen=True)
class Row:
    """All runs of one algorithm on one task; hours and jobs are those that are left.

    Attributes
    ----------
    document, algorithm, task, device : str
        A run that several documents use stands under the first.
    runs, finished : int
        How many there are, and how many of them need nothing any more.
    steps, steps_left : int
        Environment steps of all of them, and those that no checkpoint has yet.
    steps_per_second, speed, conditions
        `plan.Speed` of one run: how fast, from which source, measured under which conditions.
    core_hours, gpu_hours : float
        For what is left.
    all_core_hours, all_gpu_hours : float
        For everything, from nothing.
    jobs : int
        What is left, in jobs of at most the site's longest.
    memory_mb : int
        That a job asks for, together for the runs that share a GPU.
    results_bytes, checkpoint_bytes : int
        On disk at the end.
    spare_bytes : int
        Of the checkpoints what `gc` gives back of finished runs.
    """

    document: str
    algorithm: str
    task: str
    device: str
    runs: int
    finished: int
    steps: int
    steps_left: int
    steps_per_second: float
    speed: str
    conditions: str
    core_hours: float
    gpu_hours: float
    all_core_hours: float
    all_gpu_hours: float
    jobs: int
    memory_mb: int
    results_bytes: int
    checkpoint_bytes: int
    spare_bytes: int


@dataclass(frozen=True)
class Totals:
    """Sums over all rows, and how long it takes side by side.

    Attributes
    ----------
    runs, finished, jobs, core_hours, gpu_hours, all_core_hours, all_gpu_hours
        As in the rows.
    longest_run_hours : float
        No number of jobs makes it shorter than this.
    wall_hours : float
        With so many jobs and GPUs at the same time; waiting in a queue and starting not counted.
    results_bytes, checkpoint_bytes, spare_bytes : int
        As in the rows: all checkpoints are kept until `gc`.
    """

    runs: int
    finished: int
    jobs: int
    core_hours: float
    gpu_hours: float
    all_core_hours: float
    all_gpu_hours: float
    longest_run_hours: float
    wall_hours: float
    results_bytes: int
    checkpoint_bytes: int
    spare_bytes: int


@dataclass(frozen=True)
class Forecast:
    """What a scale needs, by document, algorithm and task."""

    scale: str
    at_once: int
    gpus: int
    rows: tuple[Row, ...]
    totals: Totals

    def text(self) -> str:
        """A table, and what it adds up to."""
        return "\n".join([_heading(self), "", _table(self), "", *_notes(self)])


@dataclass(frozen=True)
class _Need:
    """What one run needs."""

    spec: RunSpec
    device: str
    finished: bool
    steps_left: int
    seconds_left: float
    state_bytes: int


def forecast(
    config: Config,
    scale: str,
    site: Site,
    *,
    jobs: int = 200,
    gpus: int = 8,
    places: Places | None = None,
) -> Forecast:
    """What is left to do of a scale, from measured speeds; the full cost stands beside it.

    Parameters
    ----------
    config : Config
        The experiment.
    scale : str
        smoke, quick or paper.
    site : Site
        Longest job, and whether models are learned on GPUs.
    jobs, gpus : int
        How many run at the same time.
    places : Places, optional
        Where its results lie.
    """
    where = places or Places(scale)
    groups: dict[tuple[str, str, str], list[_Need]] = {}
    for document, spec in _by_document(config, scale):
        key = (document, spec.algorithm, spec.task.id)
        groups.setdefault(key, []).append(_need(spec, where, site))
    rows = tuple(_row(document, needs, site) for (document, *_), needs in groups.items())
    needs = [need for group in groups.values() for need in group]
    return Forecast(scale, jobs, gpus, rows, _totals(rows, needs, site, jobs, gpus))


def makespan(seconds: Iterable[float], workers: int) -> float:
    """When the last of some tasks ends, if the longest that waits always goes to the first free.

    Examples
    --------
    >>> makespan([1, 1, 2], workers=2)
    2.0
    >>> makespan([5, 1, 1], workers=8)
    5.0
    """
    free = [0.0] * workers
    for task in sorted(seconds, reverse=True):
        heapq.heapreplace(free, free[0] + task)
    return max(free)


def _by_document(config: Config, scale: str) -> list[tuple[str, RunSpec]]:
    documents: dict[tuple[str, str, int], str] = {}
    for study, content in config.studies.items():
        for spec in config.selection(study, scale):
            documents.setdefault(spec.key, content.document)
    return [(documents[key], spec) for key, spec in config.runs(scale).items()]


def _need(spec: RunSpec, places: Places, site: Site) -> _Need:
    device = plan.device(spec, site)
    saved, size = _saved(places.checkpoints / fingerprint(spec))
    finished = state.run_state(spec, places).kind == "finished"
    left = 0 if finished else max(0, spec.budget - saved)
    seconds = left / plan.steps_per_second(spec, device)
    return _Need(spec, device, finished, left, seconds, size or state_bytes(spec))


def _saved(folder: Path) -> tuple[int, int]:
    """Step of a run's newest checkpoint, and the size of its state; zeros where there is none."""
    newest = newest_checkpoint(folder)
    if newest is None:
        return 0, 0
    state = newest.with_suffix(".pt")
    size = state.stat().st_size if state.exists() else 0
    return step_of(newest), size


def _row(document: str, needs: list[_Need], site: Site) -> Row:
    spec, device = needs[0].spec, needs[0].device
    steps = sum(need.spec.budget for need in needs)
    speed = plan.speed(spec, device)
    hours = sum(need.seconds_left for need in needs) / 3600
    all_hours = steps / speed.steps_per_second / 3600
    together = site.gpu.runs_per_gpu if site.gpu and device == "cuda" else 1
    gpus = 1 / together if device == "cuda" else 0.0  # of one run
    states = sum(need.state_bytes for need in needs)
    episodes = sum(_episodes(need.spec) for need in needs)
    replays = sum(replay_bytes(need.spec) for need in needs)
    return Row(
        document=document,
        algorithm=spec.algorithm,
        task=spec.task.id,
        device=device,
        runs=len(needs),
        finished=sum(need.finished for need in needs),
        steps=steps,
        steps_left=sum(need.steps_left for need in needs),
        steps_per_second=speed.steps_per_second,
        speed=speed.source,
        conditions=speed.conditions,
        core_hours=hours,
        gpu_hours=hours * gpus,
        all_core_hours=all_hours,
        all_gpu_hours=all_hours * gpus,
        jobs=math.ceil(sum(_jobs(need, site) for need in needs) / together),
        memory_mb=together * max(plan.memory_mb(need.spec) for need in needs),
        results_bytes=TABLE_BYTES * episodes + MANIFEST_BYTES * len(needs),
        checkpoint_bytes=replays + LOG_BYTES * episodes + KEPT_STATES * states,
        spare_bytes=(KEPT_STATES - 1) * states,
    )


def _jobs(need: _Need, site: Site) -> int:
    """Jobs that a run still takes; one that has all its steps needs another to write results."""
    if need.finished:
        return 0
    useful = max(60 * site.longest_job - STOP_SECONDS, 1)
    return max(1, math.ceil(need.seconds_left / useful))


def _episodes(spec: RunSpec) -> int:
    evaluations = spec.budget // spec.evaluate_every * spec.evaluation_episodes
    return math.ceil(spec.budget / spec.task.horizon) + evaluations


def _totals(rows: tuple[Row, ...], needs: list[_Need], site: Site, jobs: int, gpus: int) -> Totals:
    slots = {"cpu": jobs, "cuda": gpus * site.gpu.runs_per_gpu if site.gpu else 0}
    seconds = {
        device: [need.seconds_left for need in needs if need.device == device] for device in slots
    }
    walls = [makespan(seconds[device], slots[device]) for device in slots if seconds[device]]
    return Totals(
        runs=sum(row.runs for row in rows),
        finished=sum(row.finished for row in rows),
        jobs=sum(row.jobs for row in rows),
        core_hours=sum(row.core_hours for row in rows),
        gpu_hours=sum(row.gpu_hours for row in rows),
        all_core_hours=sum(row.all_core_hours for row in rows),
        all_gpu_hours=sum(row.all_gpu_hours for row in rows),
        longest_run_hours=max((need.seconds_left for need in needs), default=0.0) / 3600,
        wall_hours=max(walls, default=0.0) / 3600,
        results_bytes=sum(row.results_bytes for row in rows),
        checkpoint_bytes=sum(row.checkpoint_bytes for row in rows),
        spare_bytes=sum(row.spare_bytes for row in rows),
    )


# Text

_HEADER = (
    *("document", "algorithm", "task", "device", "runs", "finished", "steps left", "steps/s"),
    *("speed", "core-hours", "GPU-hours", "jobs", "MB a job", "disk [MiB]"),
)


def _heading(found: Forecast) -> str:
    totals = found.totals
    if totals.finished == totals.runs:
        return f"Scale {found.scale}: all {number(totals.runs)} runs are finished."
    begun = f", {number(totals.finished)} of them finished" if totals.finished else ""
    return f"Scale {found.scale}: {number(totals.runs)} runs{begun}. What is left to do:"


def _table(found: Forecast) -> str:
    totals = found.totals
    lines = [
        [
            *(row.document, row.algorithm, row.task, row.device),
            *(number(n) for n in (row.runs, row.finished, row.steps_left, row.steps_per_second)),
            row.speed,
            *_sums(row),
            number(row.memory_mb),
            mib(row.results_bytes + row.checkpoint_bytes),
        ]
        for row in found.rows
    ]
    steps = number(sum(row.steps_left for row in found.rows))
    size = mib(totals.results_bytes + totals.checkpoint_bytes)
    counts = (number(totals.runs), number(totals.finished), steps)
    lines.append(["total", "", "", "", *counts, "", "", *_sums(totals), "", size])
    return table(_HEADER, lines)


def _sums(row: Row | Totals) -> list[str]:
    return [number(row.core_hours, 2), number(row.gpu_hours, 2), number(row.jobs)]


def _notes(found: Forecast) -> list[str]:
    totals = found.totals
    whole = f"{number(totals.all_core_hours, 2)} core-hours"
    if totals.all_gpu_hours:
        whole += f" and {number(totals.all_gpu_hours, 2)} GPU-hours"
    gpus = f" and {number(found.gpus)} GPUs" if totals.all_gpu_hours else ""
    wall, longest = duration(3600 * totals.wall_hours), duration(3600 * totals.longest_run_hours)
    lines = [
        f"From nothing all of it takes {whole}.",
        f"Wall time with {number(found.at_once)} jobs{gpus} at a time: {wall}; the longest run "
        f"alone takes {longest}. Waiting in the queue and starting come on top.",
        f"Disk at the end: results {mib(totals.results_bytes)} MiB, checkpoints "
        f"{mib(totals.checkpoint_bytes)} MiB. Of finished runs' checkpoints `unirl-repro gc --scale "
        f"{found.scale}` gives back {mib(totals.spare_bytes)} MiB, with --finished all.",
    ]
    return [*lines, *_caveats(found)]


def _caveats(found: Forecast) -> list[str]:
    sources = {row.speed for row in found.rows}
    lines = []
    if found.scale != "paper":
        lines.append("Speeds are those of the papers' sizes; smaller networks are faster.")
    if "borrowed" in sources:
        lines.append("A borrowed speed is the algorithm's slowest on other tasks.")
    if "guess" in sources:
        lines.append(
            f"A guess is {plan.SLOWEST:g} steps/s: nothing was measured of that algorithm there."
        )
    if any(row.device == "cuda" for row in found.rows):
        lines.append("Speeds on GPUs count as those of a run that shares its GPU with the others.")
    return [*lines, *map(_told, sorted({row.conditions for row in found.rows} - {""}))]


def _told(conditions: str) -> str:
    line = f"Speeds were measured with {conditions}."
    if "eager" in conditions:
        line += f" Compiled runs, as those of scale paper, reached {COMPILED} times that speed."
    return line
