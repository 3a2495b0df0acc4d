"""Runs in processes of their own, for the tests of the run engine: started, signalled, killed.

Processes are forked from a server that has imported torch already, so that an attempt starts in
milliseconds and a campaign of many kills stays short.
"""

import json
import multiprocessing
import os
import signal
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import unirl_repro.run
from unirl_repro.checkpoint import BusyError, DamagedError
from unirl_repro.config import RunSpec, resolve_parameters
from unirl_repro.envs.tasks import TASKS
from unirl_repro.files import sha256, write_bytes
from unirl_repro.fingerprint import fingerprint
from unirl_repro.loop import MismatchError, Trainer
from unirl_repro.run import FatalError, Options, StoppedError, train

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["tests.engine", "unirl_repro.agents.unified", "unirl_repro.envs.dmc"]
)

SMALL: dict[str, Any] = {"hidden": [16, 16], "batch_size": 16, "random_steps": 100}
RLPD: dict[str, Any] = SMALL | {
    "layer_norm": True,
    "entropy_in_target": False,
    "activation": "tanh",
    "std_head": "softplus",
    "update_at": "episode",
}
MODEL_BASED: dict[str, Any] = {
    "initial_episodes": 1,
    "model_hidden": 8,
    "hidden": [16, 16],
    "critic_hidden": [16, 16],
    "num_masks": 2,
    "num_starts": 2,
    "model_batch_size": 2,
    "imagined_horizon": 4,
    "steps_per_update": 200,
    "random_steps": 100,
}
DYNA: dict[str, Any] = {
    "termination": "never",
    "sac": SMALL | {"updates_per_step": 2},
    "members": 3,
    "elites": 2,
    "model_hidden": [16, 16, 16, 16],
    "model_batch_size": 32,
    "model_every": 50,
    "epoch_length": 100,
    "rollout_schedule": [0, 4, 1, 3],
    "rollout_batch": 100,
}
VARIANTS: dict[str, dict[str, Any]] = {
    "sac": SMALL,
    "sac_rlpd": RLPD,
    "mbrl": MODEL_BASED,
    "unified": {
        "sac": RLPD,
        "mbrl": MODEL_BASED | {"policy_training": "full_trajectory"},
        "num_masks": 1,  # of so untrained a model many would never agree: each part is to act
        "num_rollouts": 2,
    },
    "td3": SMALL,
    "ddpg": SMALL,
    "ppo": {"hidden": [16, 16], "num_steps": 64, "batch_size": 16, "epochs": 2, "normalise": True},
    "svg": SMALL | {"model_hidden": [16, 16]},
    "hl": {
        "sac": SMALL,
        "model_hidden": [16, 16],
        "plan_horizon": 3,
        "num_samples": 4,
        "model_updates": 1,
    },
    "alm": {
        "latent": 4,
        "hidden": 16,
        "model_hidden": 16,
        "batch_size": 16,
        "windows": "inside",
        "random_steps": 100,
    },
    "mbpo": DYNA,
    "cmlo": DYNA | {"check_every": 10, "least_steps": 20, "most_steps": 60, "hull_states": 50},
    "usbpo": DYNA | {"fine_tuning_batch_size": 32, "fine_tuning_updates": 10},
    "pdml": DYNA | {"weighted_from": 2, "shift_states": 20},
}
ALGORITHM = {"sac_rlpd": "sac"}  # of a variant that is not named after its own


def small_spec(variant: str = "sac", task: str = "cartpole-200", **changes: Any) -> RunSpec:
    """A run with tiny networks; `changes` go to the spec, unknown ones to the hyper-parameters."""
    fields = {k: changes.pop(k) for k in list(changes) if k in RunSpec.__dataclass_fields__}
    values, algorithm = VARIANTS[variant] | changes, ALGORITHM.get(variant, variant)
    spec = RunSpec(
        task=TASKS[task],
        variant=variant,
        algorithm=algorithm,
        parameters=resolve_parameters(algorithm, values, "test"),
        seed=0,
        budget=600,
        evaluate_every=500,
        evaluation_episodes=1,
        compiled=False,
    )
    return replace(spec, **fields)


@dataclass
class Outcome:
    """How an attempt ended."""

    code: int  # 0 done, 75 stopped, 1 failed; negative: killed by that signal
    error: str  # "Class: message", empty where there was none
    steps: int  # environment steps that this attempt executed, saved or not


class Attempt:
    """One process that trains `spec` under `folder`."""

    def __init__(
        self, spec: RunSpec, folder: Path, prepare: Callable[[], None] | None = None, **options: Any
    ):
        self.spec, self.folder = spec, folder
        self._error = folder.with_name(f"{folder.name}.error.{time.monotonic_ns()}")
        # Without a lock, which who is killed while holding it keeps for ever; one process writes.
        self._steps = CONTEXT.RawValue("q", 0)
        arguments = (spec, folder, options, self._steps, self._error, prepare)
        self.process = CONTEXT.Process(target=_attempt, args=arguments)
        self.process.start()

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints" / fingerprint(self.spec)

    @property
    def steps(self) -> int:
        return self._steps.value

    def wait(self, seconds: float = 120) -> Outcome:
        self.process.join(seconds)
        if self.process.is_alive():
            self.process.kill()
            raise TimeoutError(f"the attempt still ran after {seconds} s, at step {self.steps}")
        error = self._error.read_text() if self._error.exists() else ""
        return Outcome(self.process.exitcode or 0, error, self.steps)

    def until(self, condition: Callable[[], bool], seconds: float = 60) -> bool:
        """Wait for a condition; False if the process ended first."""
        deadline = time.monotonic() + seconds
        while not condition():
            if not self.process.is_alive():
                return False
            if time.monotonic() > deadline:
                self.process.kill()
                raise TimeoutError(f"waited {seconds} s in vain, at step {self.steps}")
            time.sleep(0.002)
        return True

    def signal(self, number: signal.Signals) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, number)


def run(spec: RunSpec, folder: Path, **options: Any) -> Outcome:
    """An attempt from start to end, which a busy machine may take its time for."""
    return Attempt(spec, folder, **options).wait(120 + spec.budget / 50)


def saved_steps(checkpoints: Path) -> list[int]:
    """Steps of the checkpoints that are there, oldest first."""
    return sorted(int(path.stem.removeprefix("step-")) for path in checkpoints.glob("step-*.json"))


def results(folder: Path) -> dict[str, bytes]:
    """The bytes of a run's curve and metrics."""
    return {name: (folder / name).read_bytes() for name in ("curve.parquet", "metrics.parquet")}


def manifest(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "run.json").read_text())


def parameters(folder: Path) -> str:
    """Hash of all that a finished run has learnt."""
    return manifest(folder)["hashes"]["parameters"]


def assert_same_run(folder: Path, undisturbed: Path) -> None:
    assert results(folder) == results(undisturbed)
    assert parameters(folder) == parameters(undisturbed)


def save_often() -> None:
    """As often as asked, however large a share of the time it takes on a slow disk."""
    unirl_repro.run.SAVE_SHARE = 1.0


def _attempt(
    spec: RunSpec, folder: Path, options: dict, steps: Any, error: Path, prepare: Any
) -> None:
    _log_to(folder.with_name(f"{folder.name}.log"))
    _count_steps(steps)
    expected = (BusyError, DamagedError, FatalError, MismatchError, OSError, RuntimeError)
    try:
        if prepare is not None:
            prepare()
        train(spec, folder / "checkpoints", folder, Options(**options))
    except StoppedError as stop:
        error.write_text(f"StoppedError: {stop}")
        os._exit(75)
    except expected as failure:
        error.write_text(f"{type(failure).__name__}: {failure}")
        traceback.print_exc()
        os._exit(1)


def _log_to(path: Path) -> None:
    """The server's output went to whoever started it first; each run has a log of its own."""
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    for stream in (1, 2):
        os.dup2(log, stream)


def _count_steps(steps: Any) -> None:
    """Count executed environment steps in shared memory: also those that a kill will lose."""
    advance = Trainer.advance

    def counted(trainer: Trainer) -> None:
        advance(trainer)
        steps.value += 1

    Trainer.advance = counted  # type: ignore[assignment, method-assign]


def edit_manifest(checkpoints: Path, edit: Callable[[dict], None]) -> None:
    """Change the newest checkpoint's record and make its checksum right again."""
    path = sorted(checkpoints.glob("step-*.json"))[-1]
    record = json.loads(path.read_text().splitlines()[0])
    edit(record)
    body = json.dumps(record, sort_keys=True)
    write_bytes(path, f"{body}\n{sha256(body.encode())}\n".encode())
