"""What the run engine costs: checkpoints, start-up, planning, memory. Each against its limit.

Here `peer` is the limit that we set ourselves, and `ratio` how far below it we stay.
"""

import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

import torch

from benchmarks.measure import REPEATS, Entry
from unirl_repro.checkpoint import Checkpoint, Store
from unirl_repro.config import RunSpec, load_config
from unirl_repro.envs.tasks import TASKS
from unirl_repro.loop import Trainer
from unirl_repro.run import Options

MILLION = 1_000_000
STEPS_BETWEEN = 9_000  # at 100 steps/s and a checkpoint every 90 s


def measurements() -> list[Entry]:
    """All of the engine's entries."""
    return [*checkpoints(), start_up(), planning(), *memory()]


def checkpoints() -> list[Entry]:
    """The first checkpoint of a full replay, and then the usual one, HalfCheetah at paper sizes."""
    trainer = _trainer("halfcheetah-1000", MILLION)
    with tempfile.TemporaryDirectory(dir=".") as folder:
        store = Store(Path(folder))
        first = _save(store, trainer)
        usual = []
        for _ in range(REPEATS):
            _fill(trainer, STEPS_BETWEEN)
            usual.append(_save(store, trainer))
        store.close()
    share = median(usual) / Options().checkpoint_every
    return [
        _below("checkpoint, 1M new HalfCheetah transitions", first, 2.0, "s"),
        _below("checkpoint, 1M transitions, 9,000 of them new", median(usual), 2.0, "s"),
        _below("checkpoints' share of a run", 100 * share, 5.0, "%"),
    ]


def start_up() -> Entry:
    """Process start to the end of the first environment step, as the DAG starts a run."""
    times = []
    for _ in range(REPEATS):
        with tempfile.TemporaryDirectory() as folder:
            run = "train --task hopper-200 --variant sac_rlpd --seed 0 --scale quick --budget 1"
            times.append(_wall("unirl_repro", *run.split(), "--out", folder))
    return _below("process start to first step, and results written", median(times), 4.0, "s")


def planning() -> Entry:
    """A dry run of the whole matrix at scale paper, through the cluster's profile."""
    plan = ("-n", "--quiet", "all", "--profile", "slurm")
    times = [_wall("snakemake", *plan) for _ in range(REPEATS)]
    return _below("planning the paper-scale matrix", median(times), 10.0, "s")


def memory() -> list[Entry]:
    """Peak memory of a run of each task, each in a process of its own."""
    return [
        _below(f"peak memory at 300k steps, {task}", _peak_mb(task, 300_000), 700.0, "MB")
        for task in TASKS
    ]


def peak_mb(task: str, transitions: int) -> float:
    """Peak memory of this process after some updates with so many transitions in replay.

    From the kernel's count for this program: getrusage's also knows the parent's.
    """
    torch.set_num_threads(1)
    trainer = _trainer(task, transitions)
    for _ in range(3):
        trainer.advance()
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def _peak_mb(task: str, transitions: int) -> float:
    code = f"from benchmarks.engine import peak_mb; print(peak_mb({task!r}, {transitions}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def _trainer(task: str, transitions: int) -> Trainer:
    """A trainer at the paper's sizes whose replay holds so many transitions."""
    spec: RunSpec = load_config("config.yaml").spec(task, "sac", 0, "paper", budget=MILLION)
    eager = replace(spec, compiled=False)  # compiling takes half a minute and is not the question
    trainer = Trainer(eager, torch.device("cpu"), lambda rows: None)
    _fill(trainer, transitions)
    trainer.env_step = transitions
    return trainer


def _fill(trainer: Trainer, transitions: int) -> None:
    """Put transitions of noise into the replay, as if they had been collected."""
    replay = trainer.replay
    rows = torch.arange(replay.added, replay.added + transitions) % replay.capacity
    for field in ("obs", "action", "reward", "next_obs", "terminated"):
        values = getattr(replay, field)
        values[rows] = torch.rand(transitions, *values.shape[1:])
    replay.added += transitions


def _save(store: Store, trainer: Trainer) -> float:
    start = time.perf_counter()
    store.save(Checkpoint(trainer.replay.added, trainer.state(), {"segments": []}), trainer.replay)
    return time.perf_counter() - start


def _wall(module: str, *arguments: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", module, *arguments], capture_output=True, check=True)
    return time.perf_counter() - start


def _below(name: str, value: float, limit: float, unit: str) -> Entry:
    return Entry(name, value, limit, "our limit", limit / value, unit, 1.0)
