"""The run engine, against real processes: killed, signalled, damaged, out of disk."""

import errno
import itertools
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pandas as pd
import pytest
import torch

import unirl_repro.run
from tests.engine import (
    VARIANTS,
    Attempt,
    assert_same_run,
    edit_manifest,
    manifest,
    parameters,
    results,
    run,
    save_often,
    saved_steps,
    small_spec,
)
from unirl_repro.checkpoint import Store
from unirl_repro.config import RunSpec
from unirl_repro.fingerprint import fingerprint
from unirl_repro.run import DeviceError, Options, train
from unirl_repro.stopping import Stop

ALL = pytest.mark.parametrize("variant", sorted(VARIANTS))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of the undisturbed run of a spec, trained once for all tests."""
    folders: dict[tuple[str, int], Path] = {}

    def folder(spec: RunSpec) -> Path:
        key = (fingerprint(spec), spec.budget)
        if key not in folders:
            folders[key] = tmp_path_factory.mktemp("whole")
            outcome = run(spec, folders[key])
            assert outcome.code == 0, outcome
        return folders[key]

    return folder


@ALL
def test_the_same_spec_twice_gives_the_same_bytes(variant, tmp_path):
    for name in ("one", "two"):
        assert run(small_spec(variant), tmp_path / name).code == 0
    assert results(tmp_path / "one") == results(tmp_path / "two")
    assert parameters(tmp_path / "one") == parameters(tmp_path / "two")


def test_another_seed_gives_another_run(tmp_path):
    for seed in (0, 1):
        assert run(small_spec(seed=seed), tmp_path / str(seed)).code == 0
    curves = [pd.read_parquet(tmp_path / str(seed) / "curve.parquet") for seed in (0, 1)]
    assert not (curves[0]["return"] == curves[1]["return"]).any()
    assert parameters(tmp_path / "0") != parameters(tmp_path / "1")


def test_an_attempt_lost_before_its_first_checkpoint_is_in_the_manifest(tmp_path):
    spec = small_spec(budget=1500)
    attempt = Attempt(spec, tmp_path, checkpoint_every=1000)
    progress = attempt.checkpoints / "progress.jsonl"
    assert attempt.until(lambda: attempt.steps > 450 and progress.stat().st_size > 0)
    attempt.signal(signal.SIGKILL)
    attempt.wait()
    assert run(spec, tmp_path).code == 0
    first, second = manifest(tmp_path)["segments"]
    assert first["reason"] == "killed"
    assert first["reached_step"] >= 400
    assert (first["stop_step"], second["start_step"]) == (0, 0)


def _interrupted(spec: RunSpec, folder: Path, at_least: int = 300) -> Path:
    """A run killed between two checkpoints, with two of them whole; its checkpoint directory."""
    attempt = Attempt(spec, folder, checkpoint_every=0.05, prepare=save_often)

    def frozen_between_two_saves() -> bool:
        if len(saved_steps(attempt.checkpoints)) != 2 or attempt.steps <= at_least:
            return False
        attempt.signal(signal.SIGSTOP)
        names = {path.stem for path in attempt.checkpoints.glob("step-*.pt")}
        whole = len(names) == 2 == len(saved_steps(attempt.checkpoints))
        if not whole or list(attempt.checkpoints.glob(".*")) or _orphans(attempt.checkpoints):
            attempt.signal(signal.SIGCONT)
            return False
        return True

    assert attempt.until(frozen_between_two_saves), attempt.wait()
    attempt.signal(signal.SIGKILL)
    attempt.wait()
    return attempt.checkpoints


def _orphans(checkpoints: Path) -> set[str]:
    """Replay files of a checkpoint that is not finished."""
    text = "".join(path.read_text() for path in checkpoints.glob("step-*.json"))
    return {path.name for path in checkpoints.glob("replay-*.pt") if path.name not in text}


def _truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


# A checkpoint without its JSON file is one that was never finished, so no damage.
DAMAGES = [
    (part, damage)
    for part in ("step-*.pt", "step-*.json", "replay-*.pt")
    for damage in (_truncate, _flip_a_bit, Path.unlink)
    if (part, damage) != ("step-*.json", Path.unlink)
]


@pytest.mark.parametrize(("part", "damage"), DAMAGES)
def test_a_damaged_newest_checkpoint_is_reported_and_the_one_before_used(
    part, damage, tmp_path, whole
):
    spec = small_spec(budget=1500)
    checkpoints = _interrupted(spec, tmp_path / "damaged")
    before, _ = saved_steps(checkpoints)
    damage(sorted(checkpoints.glob(part))[-1])
    assert run(spec, tmp_path / "damaged").code == 0
    assert "is damaged and set aside" in (tmp_path / "damaged.log").read_text()
    assert manifest(tmp_path / "damaged")["segments"][-1]["start_step"] == before
    assert_same_run(tmp_path / "damaged", whole(spec))


def test_all_checkpoints_damaged_is_an_error_and_never_a_silent_restart(tmp_path):
    spec = small_spec(budget=1500)
    checkpoints = _interrupted(spec, tmp_path)
    for path in checkpoints.glob("step-*.pt"):
        _flip_a_bit(path)
    for _ in range(2):  # the second time nothing but damaged files is left
        outcome = run(spec, tmp_path)
        assert outcome.code == 1
        assert "every checkpoint is damaged" in outcome.error
        assert outcome.steps == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
@pytest.mark.parametrize("variant", ["sac", "sac_rlpd"])
def test_a_signal_stops_at_a_safe_point_and_the_run_goes_on_from_there(
    variant, number, tmp_path, whole
):
    spec = small_spec(variant, budget=1500)
    attempt = Attempt(spec, tmp_path / "stopped")
    assert attempt.until(lambda: attempt.steps > 300)
    attempt.signal(number)
    outcome = attempt.wait(10)
    assert outcome.code == 75
    status = json.loads((attempt.checkpoints / "status.json").read_text())
    assert (status["state"], status["reason"]) == ("stopped", number.name)
    assert saved_steps(attempt.checkpoints) == [outcome.steps]
    assert run(spec, tmp_path / "stopped").code == 0
    first, second = manifest(tmp_path / "stopped")["segments"]
    assert first["reason"] == number.name
    assert first["stop_step"] == second["start_step"] == outcome.steps
    assert_same_run(tmp_path / "stopped", whole(spec))


def _short_grace() -> None:
    unirl_repro.run.GRACE_SECONDS = 0.3


def test_a_signal_inside_a_long_update_leaves_the_last_checkpoint(tmp_path, whole):
    # 200 * 100 updates before the third episode take many seconds: no safe point comes in time.
    spec = small_spec("sac_rlpd", budget=450, random_steps=400, updates_per_step=30)
    early = Attempt(spec, tmp_path / "stopped", checkpoint_every=0.01)
    assert early.until(lambda: early.steps >= 250)
    early.signal(signal.SIGTERM)
    assert early.wait(10).code == 75
    resumed_from = saved_steps(early.checkpoints)[-1]
    attempt = Attempt(spec, tmp_path / "stopped", checkpoint_every=1000, prepare=_short_grace)
    assert attempt.until(lambda: attempt.steps == 400 - resumed_from)
    attempt.signal(signal.SIGUSR1)
    outcome = attempt.wait(5)
    assert outcome.code == 75
    status = json.loads((attempt.checkpoints / "status.json").read_text())
    assert status["saved"] is False
    assert status["step"] == resumed_from
    assert run(spec, tmp_path / "stopped").code == 0
    assert_same_run(tmp_path / "stopped", whole(spec))


def _signal_in_the_final_save() -> None:
    save = Store.save

    def interrupted(store, checkpoint, replay):
        if checkpoint.step == 600:
            os.kill(os.getpid(), signal.SIGTERM)
        save(store, checkpoint, replay)

    Store.save = interrupted  # type: ignore[method-assign]


def _signal_in_the_results() -> None:
    original = unirl_repro.run.tables

    def interrupted(rows):
        os.kill(os.getpid(), signal.SIGUSR1)
        return original(rows)

    unirl_repro.run.tables = interrupted


@pytest.mark.parametrize("moment", [_signal_in_the_final_save, _signal_in_the_results])
def test_a_signal_when_all_is_trained_lets_it_finish(moment, tmp_path, whole):
    outcome = run(small_spec(), tmp_path / "run", prepare=moment)
    assert outcome.code == 0, outcome.error
    status = json.loads(next(tmp_path.glob("run/checkpoints/*/status.json")).read_text())
    assert status["state"] == "finished"
    assert manifest(tmp_path / "run")["segments"][-1]["reason"] == "finished"
    assert_same_run(tmp_path / "run", whole(small_spec()))


def _signal_in_the_load() -> None:
    load = Store.load

    def interrupted(store):
        os.kill(os.getpid(), signal.SIGTERM)
        return load(store)

    Store.load = interrupted  # type: ignore[method-assign]


def test_a_signal_while_a_checkpoint_is_read_stops_at_once_and_loses_nothing(tmp_path, whole):
    spec = small_spec(budget=1500)
    checkpoints = _interrupted(spec, tmp_path / "run")
    saved = saved_steps(checkpoints)[-1]
    outcome = run(spec, tmp_path / "run", prepare=_signal_in_the_load)
    assert (outcome.code, outcome.steps) == (75, 0)
    assert saved_steps(checkpoints)[-1] == saved
    assert run(spec, tmp_path / "run").code == 0
    assert_same_run(tmp_path / "run", whole(spec))


def test_after_a_run_the_signal_handlers_are_those_of_before(tmp_path):
    before = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGUSR1, signal.SIGALRM)]
    with Stop(60, lambda name: None) as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGUSR1)
        assert stop.requested == "SIGTERM"
        assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 60
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
    after = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGUSR1, signal.SIGALRM)]
    assert after == before


def test_a_full_disk_is_a_clear_error_and_damages_nothing(tmp_path, whole):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=250k", "tmpfs", str(disk)], check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small disk needs root")
    try:
        spec = small_spec(budget=2000)
        outcome = run(spec, disk, checkpoint_every=0.05)
        assert outcome.code == 1
        assert os.strerror(errno.ENOSPC) in outcome.error
        checkpoint = saved_steps(disk / "checkpoints" / fingerprint(spec))[-1]
        assert checkpoint > 0
        subprocess.run(["mount", "-o", "remount,size=20m", str(disk)], check=True)
        assert run(spec, disk).code == 0
        assert manifest(disk)["segments"][-1]["start_step"] == checkpoint
        assert_same_run(disk, whole(spec))
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def _become_nobody() -> None:
    if os.getuid() == 0:
        os.setuid(65534)


def test_checkpoints_that_cannot_be_written_are_a_clear_error(tmp_path):
    folder = tmp_path / "results"
    (folder / "checkpoints").mkdir(parents=True)
    _open_to_all(tmp_path)
    (folder / "checkpoints").chmod(0o500)
    outcome = run(small_spec(), folder, prepare=_become_nobody)
    assert (outcome.code, outcome.steps) == (1, 0)
    assert os.strerror(errno.EACCES) in outcome.error
    assert str(folder / "checkpoints") in outcome.error


def test_results_that_cannot_be_written_are_a_clear_error_and_cost_no_step(tmp_path, whole):
    folder = tmp_path / "results"
    (folder / "checkpoints").mkdir(parents=True)
    _open_to_all(tmp_path)
    (folder / "checkpoints").chmod(0o777)
    folder.chmod(0o555)
    outcome = run(small_spec(), folder, prepare=_become_nobody)
    assert outcome.code == 1
    assert os.strerror(errno.EACCES) in outcome.error
    folder.chmod(0o777)
    again = run(small_spec(), folder, prepare=_become_nobody)
    assert (again.code, again.steps) == (0, 0), again.error
    assert_same_run(folder, whole(small_spec()))


def _open_to_all(folder: Path) -> None:
    """pytest's folders are their owner's alone; nobody has to come in and write the log."""
    folder.chmod(0o777)
    for parent in folder.parents:
        if parent.owner() == folder.owner() and parent != Path(parent.anchor):
            parent.chmod(parent.stat().st_mode | 0o011)


def test_a_second_trainer_of_the_same_run_says_who_has_it_and_leaves(tmp_path, whole):
    spec = small_spec(budget=1000)
    first = Attempt(spec, tmp_path / "run")
    assert first.until(lambda: first.steps > 100)
    second = run(spec, tmp_path / "run")
    assert second.code == 1
    assert f"process {first.process.pid}" in second.error
    assert second.steps == 0
    assert first.wait().code == 0
    assert_same_run(tmp_path / "run", whole(spec))


def _held(folder: Path) -> Attempt:
    """A trainer that has the run's lock, and does nothing until it is told to go on."""
    first = Attempt(small_spec(), folder)
    assert first.until(lambda: first.steps > 150)
    first.signal(signal.SIGSTOP)
    return first


def test_a_trainer_that_waits_goes_on_where_the_one_before_it_stops(tmp_path, whole):
    first = _held(tmp_path / "run")
    second = Attempt(small_spec(), tmp_path / "run", wait=60.0)
    time.sleep(1.2)  # so it has found the lock taken more than once
    assert second.process.is_alive()
    first.signal(signal.SIGTERM)
    first.signal(signal.SIGCONT)
    assert first.wait().code == 75
    assert second.wait().code == 0
    assert first.steps + second.steps == small_spec().budget
    assert_same_run(tmp_path / "run", whole(small_spec()))


def test_a_trainer_that_waits_leaves_when_it_is_told_to(tmp_path):
    first = _held(tmp_path / "run")
    second = Attempt(small_spec(), tmp_path / "run", wait=600.0)
    time.sleep(0.7)
    second.signal(signal.SIGTERM)
    outcome = second.wait(30)
    first.process.kill()
    assert (outcome.code, outcome.steps) == (75, 0)


def test_a_gpu_that_is_not_there_is_a_clear_error(tmp_path, monkeypatch):
    if torch.cuda.is_available():
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceError, match=r"sees no GPU.*site\.yaml.*--device cpu"):
        train(small_spec(), tmp_path, tmp_path, Options(device="cuda"))
    assert not list(tmp_path.iterdir())


@ALL
def test_evaluation_and_logging_change_nothing_in_training(variant, tmp_path):
    runs = {"rare": 10_000, "often": 50}
    for name, every in runs.items():
        spec = small_spec(variant, evaluate_every=every)
        assert run(spec, tmp_path / name, checkpoint_every=0.05).code == 0
    curves = [pd.read_parquet(tmp_path / name / "curve.parquet") for name in runs]
    rare, often = (c[c["kind"] == "train"].reset_index(drop=True) for c in curves)
    assert len(often) < len(curves[1]), "nothing was evaluated"
    pd.testing.assert_frame_equal(rare, often, check_exact=True)
    assert parameters(tmp_path / "rare") == parameters(tmp_path / "often")


@pytest.mark.parametrize(
    ("variant", "budget"),
    [
        *itertools.product(["sac", "sac_rlpd"], [200, 555, 800]),
        *itertools.product(["mbrl", "unified"], [555]),
    ],
)
def test_a_run_cut_at_n_steps_equals_the_run_with_budget_n(variant, budget, tmp_path):
    for name, steps in (("short", budget), ("long", 1200)):
        assert run(small_spec(variant, budget=steps), tmp_path / name).code == 0
    for table in ("curve", "metrics"):
        short, long = (
            pd.read_parquet(tmp_path / n / f"{table}.parquet") for n in ("short", "long")
        )
        cut = long[long["env_step"] <= budget]
        pd.testing.assert_frame_equal(short, cut.reset_index(drop=True), check_exact=True)
    # Raising the budget goes on from the end of the short run, to the same place.
    extended = run(small_spec(variant, budget=1200), tmp_path / "short")
    assert extended.steps == 1200 - budget
    assert results(tmp_path / "short") == results(tmp_path / "long")
    assert parameters(tmp_path / "short") == parameters(tmp_path / "long")


def test_a_finished_run_is_written_again_without_a_step(tmp_path):
    assert run(small_spec(), tmp_path).code == 0
    before = results(tmp_path)
    (tmp_path / "curve.parquet").unlink()
    again = run(small_spec(), tmp_path)
    assert (again.code, again.steps) == (0, 0)
    assert results(tmp_path) == before


@pytest.mark.parametrize("what", ["device", "versions.mujoco", "versions.torch"])
def test_it_refuses_to_resume_what_other_conditions_made(what, tmp_path):
    spec = small_spec(budget=1500)
    checkpoints = _interrupted(spec, tmp_path)

    def pretend(record: dict) -> None:
        segment = record["manifest"]["segments"][-1]
        holder = segment["versions"] if what.startswith("versions") else segment
        holder[what.rpartition(".")[2]] = "another"

    edit_manifest(checkpoints, pretend)
    refused = run(spec, tmp_path)
    assert refused.code == 1
    assert what in refused.error
    assert "--allow-other-versions" in refused.error
    assert refused.steps == 0
    assert run(spec, tmp_path, allow_other_versions=True).code == 0


def _break_the_reward() -> None:
    from unirl_repro.loop import Trainer

    original = Trainer._step_env

    def broken(self, action):
        if self.env_step == 150:
            raise FloatingPointError("reward nan")
        return original(self, action)

    Trainer._step_env = broken  # type: ignore[method-assign]


def test_the_same_failure_twice_is_fatal_until_the_user_clears_it(tmp_path):
    spec = small_spec()
    for _ in range(2):
        failed = run(spec, tmp_path, prepare=_break_the_reward)
        assert (failed.code, failed.steps) == (1, 150)
    third = run(spec, tmp_path, prepare=_break_the_reward)
    assert third.code == 1
    assert third.steps == 0
    assert "FatalError" in third.error
    assert "reward nan" in third.error
    assert run(spec, tmp_path, retry_fatal=True).code == 0


def test_checkpoints_hold_tensors_and_json_alone(tmp_path):
    spec = small_spec(budget=1500)
    checkpoints = _interrupted(spec, tmp_path)
    allowed = {".pt", ".json", ".jsonl", ""}
    assert {path.suffix for path in checkpoints.iterdir()} <= allowed
    sources = list(Path(unirl_repro.run.__file__).parent.rglob("*.py"))
    assert len(sources) > 40
    for source in sources:
        text = source.read_text()
        assert not re.search(r"\b(pickle|joblib|dill)\b|allow_pickle=True", text), source
        assert text.count("torch.load(") == text.count("weights_only=True, map_location"), source
