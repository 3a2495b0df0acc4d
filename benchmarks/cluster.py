"""What the cluster costs us and we cost it, measured on a throwaway one-node cluster.

Planning a matrix of 3,000 runs; the seconds of a job that are not training; a campaign of tiny
runs: how many a minute, and how often it asks SLURM's controller and database something. Without
SLURM's programs only the planning is measured. As in engine.py, `peer` is a limit of our own.
"""

import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

from benchmarks.measure import Entry
from tests.slurm.cluster import Cluster, missing
from tests.workflow.checkout import ROOT, Checkout

MATRIX = 3_000  # runs that are planned
MATRIX_TASKS = (
    *("ant-100", "hopper-200", "walker2d-100", "halfcheetah-100"),
    *("cartpole-200", "dclaw_turn_fixed-40"),
)
CAMPAIGN = 16  # tiny runs of the campaign
SLOTS = 8  # of them at once, on as many cores as there are
ALONE = 3  # jobs one after the other, each with the machine to itself
POLL = 5  # seconds before the first look at jobs, as on a cluster it is 30

TINY = """
scale: smoke
documents:
  unified_rl: {{title: Tiny, citation: freed2024unified}}
variants:
  sac_rlpd: {{algorithm: sac}}
budgets: {{}}
studies:
  unified_rl_fig2:
    document: unified_rl
    kind: figure
    place: Figure 2
    title: tiny
    tasks: [{tasks}]
    variants: [{variants}]
    seeds: {seeds}
scales:
  smoke: &tiny
    compiled: false
    evaluation: {{every: 100, episodes: 1}}
    budgets: {{{budgets}}}
    parameters:
      sac: {{hidden: [8], batch_size: 8, random_steps: 90}}
  quick: *tiny
  paper: *tiny
"""
# The job's log says when its Snakemakes are through and the trainer starts.
STOPWATCH = " date '+trainer %s.%N' >&2;"
# Questions and requests that come from Snakemake and our jobs; the rest is SLURM's own talk.
ASKED_OF_CONTROLLER = (
    "REQUEST_SUBMIT_BATCH_JOB|REQUEST_JOB_INFO\\w*|REQUEST_BUILD_INFO|REQUEST_PING"
    "|REQUEST_PARTITION_INFO|REQUEST_NODE_INFO\\w*|REQUEST_JOB_STEP_CREATE|REQUEST_STEP_COMPLETE"
    "|REQUEST_HET_JOB_ALLOC_INFO|REQUEST_CANCEL_JOB_STEP|REQUEST_KILL_JOB"
)
ASKED_OF_DATABASE = "DBD_GET_\\w+"


def measurements() -> list[Entry]:
    """All of the cluster's entries."""
    entries = planning()
    if lacking := missing():
        print(f"not measured, for lack of {lacking}: what a job costs beside its training")
        return entries
    with tempfile.TemporaryDirectory() as folder, Cluster.start(cpus=SLOTS) as cluster:
        tiny = _tiny(Path(folder))
        return [*entries, *overhead(tiny, cluster), *campaign(tiny, cluster)]


def planning() -> list[Entry]:
    """Of 3,000 runs: a dry run through the cluster's profile, the forecast, and where they stand."""
    with tempfile.TemporaryDirectory() as folder:
        checkout = _checkout(Path(folder), _matrix())
        snakemake, ours = ((sys.executable, "-m", name) for name in ("snakemake", "unirl_repro"))
        checkout.call(*snakemake, "--version")  # compiles what it imports, if need be
        planned, dry_run = _timed(checkout, *snakemake, "-n", "-q", "rules", "--profile", "slurm")
        forecast, plan = _timed(checkout, *ours, "plan", "--scale", "smoke", "--json")
        progress, status = _timed(checkout, *ours, "status", "--scale", "smoke", "--json")
    found = re.search(r"^train\S*\s+(\d+)$", planned, flags=re.MULTILINE)
    counts = (
        int(found[1]) if found else 0,
        json.loads(forecast)["totals"]["runs"],
        len(json.loads(progress)["runs"]),
    )
    if set(counts) != {MATRIX}:
        raise RuntimeError(f"{MATRIX} runs were to be planned, not {counts}:\n{planned}")
    return [
        _below(f"planning {MATRIX:,} runs", dry_run, 10.0, "s"),
        _below(f"unirl-repro plan, {MATRIX:,} runs", plan, 10.0, "s"),
        _below(f"unirl-repro status, {MATRIX:,} runs", status, 10.0, "s"),
    ]


def _timed(checkout: Checkout, *command: str) -> tuple[str, float]:
    """What a command prints, and the seconds that it takes."""
    start = time.perf_counter()
    done = checkout.call(*command)
    seconds = time.perf_counter() - start
    if done.returncode != 0:
        raise RuntimeError(done.stdout + done.stderr)
    return done.stdout, seconds


def overhead(tiny: Checkout, cluster: Cluster) -> list[Entry]:
    """Seconds from SLURM's start of a job to the results of its first step, and their parts."""
    runs = [_run(seed) for seed in range(ALONE)]
    _train(tiny, cluster, runs, jobs=1)
    laps = [_laps(tiny, cluster, run) for run in runs]
    whole, snakemake, trainer = (median(values) for values in zip(*laps, strict=True))
    return [
        _below("a job's start to its first step", whole, 6.0, "s"),
        _below("  of this Snakemake, in the job", snakemake, 3.0, "s"),
        _below("  of this the trainer", trainer, 3.0, "s"),
    ]


def campaign(tiny: Checkout, cluster: Cluster) -> list[Entry]:
    """Tiny runs a minute on all slots, and what Snakemake and its jobs ask of SLURM meanwhile."""
    runs = [_run(seed) for seed in range(ALONE, ALONE + CAMPAIGN)]
    with _counted(cluster) as asked:
        _train(tiny, cluster, runs, jobs=SLOTS)
    launched = [_launched(cluster, _job(tiny, run)) for run in runs]
    ended = [_finished(tiny, run) for run in runs]
    minutes = (max(ended) - min(launched)) / 60
    return [
        _above(f"tiny runs on {SLOTS} slots", CAMPAIGN / minutes, 8.0, "1/min"),
        _below("requests to the controller, a job", asked.controller / CAMPAIGN, 20.0, ""),
        _below("requests to the controller", asked.controller / asked.minutes, 120.0, "1/min"),
        _below("queries of the database", asked.database / asked.minutes, 30.0, "1/min"),
    ]


def _matrix() -> str:
    """Six tasks, and so many variants and seeds that there are 3,000 runs."""
    variants = ["sac_rlpd", *(f'"sac_rlpd@batch_size={2**power}"' for power in range(4, 13))]
    return _experiment(MATRIX_TASKS, variants, MATRIX // (len(MATRIX_TASKS) * len(variants)))


def _experiment(tasks: Sequence[str], variants: Sequence[str], seeds: int) -> str:
    budgets = ", ".join(f"{task}: 1" for task in tasks)
    named = {"tasks": ", ".join(tasks), "variants": ", ".join(variants)}
    return TINY.format(**named, seeds=seeds, budgets=budgets)


def _tiny(folder: Path) -> Checkout:
    checkout = _checkout(folder, _experiment(["hopper-200"], ["sac_rlpd"], ALONE + CAMPAIGN))
    wait = "slurm-init-seconds-before-status-checks: "
    checkout.edit("profiles/slurm/config.v8+.yaml", f"{wait}30", f"{wait}{POLL}")
    checkout.edit("workflow/rules/train.smk", '" exec env', f'"{STOPWATCH} exec env')
    return checkout


def _checkout(folder: Path, config: str) -> Checkout:
    """A copy of the project with another experiment, on a cluster without containers."""
    checkout = Checkout.make(folder)
    checkout.write("config.yaml", config)
    checkout.write("profiles/slurm/site.yaml", "container: none\n")
    (folder / "containers").mkdir(exist_ok=True)
    for name in ("requirements.lock", "containers/unirl.def"):  # which the preflight reads
        shutil.copy(ROOT / name, folder / name)
    (folder / "slurm").symlink_to("profiles/slurm")
    done = checkout.call(sys.executable, "-m", "unirl_repro", "schema")
    if done.returncode != 0:
        raise RuntimeError(done.stdout + done.stderr)
    return checkout


def _run(seed: int) -> str:
    return f"results/paper/runs/hopper-200/sac_rlpd/seed{seed}/run.json"


def _train(checkout: Checkout, cluster: Cluster, runs: list[str], *, jobs: int) -> None:
    """Train runs as jobs of the cluster, so many at once."""
    command = (sys.executable, "-m", "snakemake", *runs, "--profile", "slurm", "--jobs", str(jobs))
    with patch.dict(os.environ, cluster.env):
        done = checkout.call(*command)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}:\n{done.stdout}{done.stderr}")


def _laps(checkout: Checkout, cluster: Cluster, run: str) -> tuple[float, float, float]:
    """Seconds of a job from its start to its results; until the trainer starts, and from then."""
    job = _job(checkout, run)
    (log,) = (checkout.folder / "logs" / "slurm").rglob(f"{job}.log")
    told = re.search(r"^trainer (\S+)$", log.read_text(), flags=re.MULTILINE)
    if told is None:
        raise RuntimeError(f"{log} does not say when the trainer started")
    start, trainer = _launched(cluster, job), float(told[1])
    end = _finished(checkout, run)
    return end - start, trainer - start, end - trainer


def _manifest(checkout: Checkout, run: str) -> dict[str, Any]:
    return json.loads((checkout.folder / run).read_text())


def _job(checkout: Checkout, run: str) -> str:
    return _manifest(checkout, run)["segments"][-1]["job"]


def _finished(checkout: Checkout, run: str) -> float:
    """When a trainer was through; its results themselves are touched later, by Snakemake."""
    fingerprint = _manifest(checkout, run)["fingerprint"]
    status = checkout.folder / "results" / "paper" / "checkpoints" / fingerprint / "status.json"
    return status.stat().st_mtime


def _launched(cluster: Cluster, job: str) -> float:
    """When the node started a job; the database knows only the second."""
    log = (cluster.folder / "log" / "slurmd.log").read_text()
    (moment,) = re.findall(rf"^\[(\S+)\] Launching batch job {job} for", log, flags=re.MULTILINE)
    return datetime.fromisoformat(moment).timestamp()


@dataclass
class _Asked:
    """Requests within some minutes."""

    controller: int = 0
    database: int = 0
    minutes: float = 0.0


@contextmanager
def _counted(cluster: Cluster) -> Iterator[_Asked]:
    """Count what is asked of SLURM while the context lasts."""
    asked = _Asked()
    before, start = _requests(cluster), time.perf_counter()
    yield asked
    asked.minutes = (time.perf_counter() - start) / 60
    asked.controller, asked.database = (
        now - then for now, then in zip(_requests(cluster), before, strict=True)
    )


def _requests(cluster: Cluster) -> tuple[int, int]:
    """How many the controller and the database have had."""
    told = (("sdiag",), ASKED_OF_CONTROLLER), (("sacctmgr", "show", "stats"), ASKED_OF_DATABASE)
    controller, database = (
        sum(map(int, re.findall(rf"^\s*(?:{kinds})\s.*count:(\d+)", text, flags=re.MULTILINE)))
        for text, kinds in ((cluster.call(*command).stdout, kinds) for command, kinds in told)
    )
    return controller, database


def _below(name: str, value: float, limit: float, unit: str) -> Entry:
    return Entry(name, value, limit, "our limit", limit / value, unit, 1.0)


def _above(name: str, value: float, limit: float, unit: str) -> Entry:
    return Entry(name, value, limit, "our limit", value / limit, unit, 1.0)
