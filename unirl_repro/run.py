"""One training run, and what keeps it from losing anything.

Around the loop: lock, resume, checkpoints, signals, manifest, results. A run killed at any moment
and started again gives the same curve, metrics and final parameters, and repeats only the work
since its last checkpoint.
"""

import ctypes
import json
import os
import platform
import resource
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from unirl_repro.checkpoint import BusyError, Checkpoint, DamagedError, Store
from unirl_repro.config import RunSpec, check_choice
from unirl_repro.files import sha256, write_bytes, write_json
from unirl_repro.fingerprint import code_hash, fingerprint, spec_hash
from unirl_repro.loop import CURVE_COLUMNS, METRIC_COLUMNS, MismatchError, Trainer
from unirl_repro.stopping import Stop

# Distributions whose version a run's results may depend on; torch and Python come beside them.
VERSIONED = ("numpy", "mujoco", "gymnasium")
SUITE_PACKAGES = {"dmc": ("dm-control",), "dclaw": ("robel",), "metaworld": ("metaworld",)}
GRACE_SECONDS = 4.5  # a signal waits so long for the next safe point
SAVE_SHARE = 0.04  # of a run's time at most goes into checkpoints


class StoppedError(RuntimeError):
    """The run was asked to stop; it goes on from its checkpoint when it is started again."""


class FatalError(RuntimeError):
    """A failure that no retry can cure."""


class DeviceError(RuntimeError):
    """The device that was asked for is not there."""


@dataclass(frozen=True)
class Options:
    """How a run is carried out; nothing here changes its results.

    Attributes
    ----------
    device : str
        "cpu" or "cuda".
    checkpoint_every : float
        Seconds between two checkpoints; more where writing one takes long.
    allow_other_versions : bool
        Resume a checkpoint that other versions, or another kind of device, made.
    retry_fatal : bool
        Try again although the last attempt was marked fatal.
    wait : float
        Seconds that another trainer of the same run gets to leave.
    report : callable
        Called about once a second with (env_step, budget, last return, steps per second).
    """

    device: str = "cpu"
    checkpoint_every: float = 90.0
    allow_other_versions: bool = False
    retry_fatal: bool = False
    wait: float = 0.0
    report: Callable[[int, int, float | None, float], None] | None = None


def train(spec: RunSpec, checkpoints: Path, out: Path, options: Options) -> dict[str, Any]:
    """Train one run to its budget, from its newest checkpoint if it has one.

    Parameters
    ----------
    spec : RunSpec
        What to train, and to which budget.
    checkpoints : path
        Folder of all runs' checkpoints; this one uses ``<fingerprint>/`` in it.
    out : path
        Where curve.parquet, metrics.parquet and run.json go at the end.
    options : Options
        Device, checkpoint interval, and what to put up with.

    Returns
    -------
    dict
        The manifest, as in run.json.

    Raises
    ------
    StoppedError
        After SIGTERM or SIGUSR1; the checkpoint is written.
    BusyError
        If another process trains the same run, and goes on with it.
    DeviceError
        If there is no such device.
    FatalError
        If an earlier attempt failed in a way that no retry can cure.
    MismatchError
        If the checkpoint comes from other versions or another kind of device.
    DamagedError
        If all of its checkpoints are damaged.
    """
    check_choice("--device", options.device, ("cpu", "cuda"), "command line")
    if options.device == "cuda":
        _check_gpu()
    torch.set_num_threads(1)  # one run, one thread: the same bytes on any number of cores
    keep_freed_memory()
    session = _Session(spec, checkpoints, out, options)
    with session.stop:
        try:
            return session.run()
        finally:
            session.store.close()


def keep_freed_memory() -> None:
    """Have glibc keep for the next array what the last one gave back; elsewhere change nothing.

    Otherwise arrays of some megabytes go back to the system at once and come as new pages, each a
    fault: 26,000 in one update of unified_rl's model at Hopper's size, 12% of its time. The peak is
    the same to a few percent.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(_M_MMAP_THRESHOLD, 2**30)
        library.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


class _Session:
    """One attempt at a run: from taking the lock to writing results or leaving."""

    def __init__(self, spec: RunSpec, checkpoints: Path, out: Path, options: Options):
        self.spec, self.out, self.options = spec, out, options
        self.fingerprint = fingerprint(spec)
        self.store = Store(checkpoints / self.fingerprint)
        self.stop = Stop(GRACE_SECONDS, self._leave)
        self.started = time.monotonic()
        self.saving_seconds = self.last_save_seconds = 0.0
        self.step = self.saved_step = 0
        self.segment: dict[str, Any] = {}  # of this attempt
        self.earlier: list[dict[str, Any]] = []  # those of earlier ones
        self.last_return: float | None = None

    def run(self) -> dict[str, Any]:
        self._lock()
        print(
            f"{_now()} {self.spec.variant} on {self.spec.task.id}, seed {self.spec.seed}: {_holder()}",
            flush=True,
        )
        before = self.store.status()
        if before.get("state") == "fatal" and not self.options.retry_fatal:
            raise FatalError(
                f"{before['reason']} (marked fatal in {self.store.directory / 'status.json'}; "
                "mend the cause and start again with --retry-fatal, or change the code or settings)"
            )
        try:
            return self._resume(before)
        except StoppedError:
            raise
        except Exception as error:
            self._record_failure(error, before)
            raise

    def _lock(self) -> None:
        """Take the run; one that was told to stop may need some seconds to save and leave."""
        until = time.monotonic() + self.options.wait
        while True:
            try:
                return self.store.lock(_holder())
            except BusyError as busy:
                if time.monotonic() >= until:
                    raise
                if self.stop.requested is not None:
                    raise StoppedError(f"stopped by {self.stop.requested}: {busy}") from None
            time.sleep(0.5)

    def _resume(self, before: dict[str, Any]) -> dict[str, Any]:
        reached = self._last_step_seen()
        checkpoint, problems = self.store.load()
        for problem in problems:
            print(f"warning: {problem}; going on from the one before", flush=True)
        if checkpoint is not None:
            self.earlier = checkpoint.manifest["segments"]
            self.step = self.saved_step = checkpoint.step
        self._account_for(before, reached)
        if checkpoint is not None and checkpoint.step >= self.spec.budget:
            return self._write_results(checkpoint.manifest | {"segments": self.earlier})
        return self._train(checkpoint)

    def _train(self, checkpoint: Checkpoint | None) -> dict[str, Any]:
        if checkpoint is not None:
            self._check_versions(checkpoint.manifest)
        self.segment = self._header() | {"start_step": self.step}
        self._write_status("running", step=self.step, holder=_holder())
        trainer = Trainer(self.spec, torch.device(self.options.device), self._emit)
        if checkpoint is not None:
            trainer.restore(checkpoint)
            checkpoint.replay.clear()  # the trainer has a copy, and memory is short
        self._loop(trainer)
        if trainer.env_step >= self.spec.budget:
            return self._write_results(self._save(trainer, "finished"))
        assert self.stop.requested is not None
        self._save(trainer, self.stop.requested)
        self._write_status("stopped", reason=self.stop.requested, step=self.step)
        raise StoppedError(
            f"stopped by {self.stop.requested} at step {self.step}, checkpoint written"
        )

    def _loop(self, trainer: Trainer) -> None:
        saved_at = reported_at = time.monotonic()
        first = self.step
        while trainer.env_step < self.spec.budget and self.stop.requested is None:
            trainer.advance()
            self.step = trainer.env_step
            now = time.monotonic()
            if now - reported_at >= 1 and self.options.report:
                speed = (self.step - first) / (now - self.started)
                self.options.report(self.step, self.spec.budget, self.last_return, speed)
                reported_at = now
            if now - saved_at >= self._interval():
                self._save(trainer, "running")
                saved_at = time.monotonic()

    def _interval(self) -> float:
        """Seconds between checkpoints: longer where they would take too large a share."""
        return max(self.options.checkpoint_every, self.last_save_seconds / SAVE_SHARE)

    def _save(self, trainer: Trainer, reason: str) -> dict[str, Any]:
        before = time.monotonic()
        self.stop.disarm()  # this is the safe point that a signal waited for
        self.segment |= {
            "stop_step": self.step,
            "reached_step": self.step,
            "reason": reason,
            "stopped": _now(),
            "seconds": before - self.started,
            "saving_seconds": self.saving_seconds,
            "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
        manifest = {
            "segments": [*self.earlier, self.segment],
            "parameters_sha256": trainer.parameters_sha256(),
        }
        self.store.save(Checkpoint(self.step, trainer.state(), manifest), trainer.replay)
        self.saved_step = self.step
        self.last_save_seconds = time.monotonic() - before
        self.saving_seconds += self.last_save_seconds
        return manifest

    def _emit(self, rows: list[dict[str, Any]]) -> None:
        self.store.append(rows)
        for row in rows:
            if row.get("kind") == "train":
                self.last_return = row["return"]

    def _leave(self, name: str) -> None:
        """No safe point came in time: the last checkpoint is whole, and says where it goes on."""
        told = f"stopped by {name} away from a safe point; goes on at step {self.saved_step}\n"
        os.write(1, told.encode())  # print may have been interrupted itself
        if self.store.locked:
            self._write_status("stopped", reason=name, step=self.saved_step, saved=False)

    # Records

    def _header(self) -> dict[str, Any]:
        return segment_header(self.options.device, self.spec.task.suite)

    def _last_step_seen(self) -> int:
        """How far the attempt before got; what damage hides is for `Store.load` to report."""
        try:
            return max((row["env_step"] for row in self.store.rows()), default=0)
        except (UnicodeDecodeError, json.JSONDecodeError):
            return 0

    def _account_for(self, before: dict[str, Any], reached: int) -> None:
        """Write down what became of the attempt before, which may have left no checkpoint.

        Parameters
        ----------
        before : dict
            The status that it left.
        reached : int
            How far its rows got, whether or not they were saved.
        """
        ended = {"stopped": before.get("reason"), "failed": "failed", "fatal": "failed"}
        reason = ended.get(before.get("state", ""), "killed")
        last = before.get("segment")
        if last is not None and last["started"] not in [s["started"] for s in self.earlier]:
            lost = last | {"stop_step": last["start_step"], "reached_step": last["start_step"]}
            self.earlier = [*before["earlier"], lost | {"reason": "running"}]
        for segment in self.earlier:
            if segment["reason"] == "running":
                segment |= {"reason": reason, "reached_step": max(segment["reached_step"], reached)}
            for end in ("start_step", "stop_step"):  # if the newest checkpoint was damaged
                segment[end] = min(segment[end], self.step)

    def _write_status(self, state: str, **details: Any) -> None:
        attempt = {"segment": self.segment, "earlier": self.earlier} if self.segment else {}
        self.store.write_status(state, **details, **attempt)

    def _check_versions(self, manifest: dict[str, Any]) -> None:
        now, then = self._header(), manifest["segments"][-1]
        keys = ("device", *(f"versions.{name}" for name in now["versions"]))
        changed = [k for k in keys if _at(now, k) != _at(then, k)]
        if changed and not self.options.allow_other_versions:
            what = "; ".join(f"{k}: {_at(then, k)} then, {_at(now, k)} now" for k in changed)
            raise MismatchError(
                f"{self.store.directory}: the checkpoint was made under other conditions ({what}), "
                "so the run would not be the same. Restore them, or go on all the same with "
                "--allow-other-versions: the manifest will show it."
            )

    def _record_failure(self, error: Exception, before: dict[str, Any]) -> None:
        """The same failure twice at the same step is one that no retry cures.

        Unless it may lie with the machine: files, memory, libraries, a GPU.
        """
        record = {"reason": f"{type(error).__name__}: {error}", "step": self.step}
        again = before.get("state") == "failed" and all(before[k] == record[k] for k in record)
        machines: tuple[type[Exception], ...] = (OSError, MemoryError, ImportError, MismatchError)
        if self.options.device == "cuda":
            machines += (RuntimeError,)
        fatal = isinstance(error, DamagedError) or (again and not isinstance(error, machines))
        try:
            self._write_status("fatal" if fatal else "failed", **record)
        except OSError as other:
            print(f"warning: status.json could not be written: {other}", flush=True)

    def _write_results(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """Parquet and run.json from progress.jsonl, which the checkpoint vouches for."""
        curve, metrics = tables(self.store.rows())
        self.out.mkdir(parents=True, exist_ok=True)
        contents = {"curve": _parquet(curve), "metrics": _parquet(metrics)}
        for name, content in contents.items():
            write_bytes(self.out / f"{name}.parquet", content)
        record = self._manifest(manifest) | {
            "hashes": {name: sha256(content) for name, content in contents.items()}
            | {"parameters": manifest["parameters_sha256"]}
        }
        write_json(self.out / "run.json", record)
        self.stop.disarm()
        self._write_status("finished", step=record["budget_reached"])
        return record

    def _manifest(self, manifest: dict[str, Any]) -> dict[str, Any]:
        segments = manifest["segments"]
        seconds = sum(s["seconds"] for s in segments if "seconds" in s)
        steps = sum(s["stop_step"] - s["start_step"] for s in segments)
        return {
            "spec": self.spec.identity(),
            "budget": self.spec.budget,
            "budget_reached": segments[-1]["stop_step"],
            "fingerprint": self.fingerprint,
            "spec_hash": spec_hash(self.spec),
            "code_hash": code_hash(self.spec),
            "git": segments[-1].get("git", {}),
            "container": segments[-1].get("container"),
            "segments": segments,
            "steps_per_second": steps / seconds if seconds else None,
            "peak_memory_mb": max(s.get("peak_memory_mb", 0.0) for s in segments),
        }


def tables(rows: Any) -> tuple[Any, Any]:
    """Curve and metrics as data frames, from the rows of progress.jsonl."""
    import pandas as pd  # training itself needs no pandas

    curve: list[dict[str, Any]] = []
    metrics: list[dict[str, Any]] = []
    for row in rows:
        (curve if "kind" in row else metrics).append(row)
    return (  # with types of their own, which a table without rows would not have
        pd.DataFrame(curve, columns=list(CURVE_COLUMNS)).astype(CURVE_COLUMNS),
        pd.DataFrame(metrics, columns=list(METRIC_COLUMNS)).astype(METRIC_COLUMNS),
    )


def _parquet(table: Any) -> bytes:
    return table.to_parquet(index=False, compression="zstd")


def segment_header(device: str, suite: str) -> dict[str, Any]:
    """Under which conditions an attempt runs."""
    versions = {name: version(name) for name in (*VERSIONED, *SUITE_PACKAGES.get(suite, ()))}
    versions |= {"python": platform.python_version(), "torch": torch.__version__}
    model = torch.cuda.get_device_name() if device == "cuda" else _cpu_model()
    return {
        "device": device,
        "device_model": model,
        "threads": torch.get_num_threads(),
        "versions": versions,
        "git": _git(),
        "container": os.environ.get("UNIRL_CONTAINER_DIGEST"),
        "host": socket.gethostname(),
        "job": os.environ.get("SLURM_JOB_ID"),
        "memory_limit_mb": _memory_limit_mb(),
        "started": datetime.now(UTC).isoformat(),  # to the microsecond: it tells attempts apart
    }


def _check_gpu() -> None:
    if torch.cuda.is_available():
        return
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "not set")
    raise DeviceError(
        f"--device is cuda, but torch {torch.__version__} sees no GPU (CUDA_VISIBLE_DEVICES: "
        f"{visible}). On a cluster name a partition with GPUs in profiles/slurm/site.yaml, under "
        "gpu; a torch built without CUDA is replaced by: make setup TORCH=cuda (in a container: "
        "build.torch: cuda). Or train with --device cpu."
    )


def _memory_limit_mb() -> int | None:
    """What this job was given; a retry asks for more where that was too little."""
    given = os.environ.get("UNIRL_MEMORY_MB")
    return int(given) if given else None


def _cpu_model() -> str:
    """The processor's name, and which of its instructions torch uses: both decide the last bit."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.machine()
    return f"{name} {torch.backends.cpu.get_cpu_capability()}"


def _at(record: dict[str, Any], path: str) -> Any:
    for part in path.split("."):
        record = record[part]
    return record


def _holder() -> str:
    job = os.environ.get("SLURM_JOB_ID")
    where = f" (SLURM job {job})" if job else ""
    return f"process {os.getpid()} on {socket.gethostname()}{where}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _git() -> dict[str, Any]:
    """Commit of the checkout and whether it was edited; empty without git or a repository."""
    here = Path(__file__).parent

    def ask(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", *arguments], cwd=here, capture_output=True, text=True, check=False
            )
        except FileNotFoundError:
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    commit = ask("rev-parse", "HEAD")
    return {"commit": commit, "dirty": bool(ask("status", "--porcelain"))} if commit else {}
