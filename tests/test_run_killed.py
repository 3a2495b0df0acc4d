"""Runs killed at random moments end as if undisturbed: in updates, between steps, inside saves."""

import itertools
import math
import os
import random
import signal
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import unirl_repro.run
from tests.engine import (
    Attempt,
    assert_same_run,
    manifest,
    run,
    save_often,
    saved_steps,
    small_spec,
)
from unirl_repro.campaign.conditions import why_not_compiled
from unirl_repro.config import RunSpec
from unirl_repro.loop import Trainer

STEPS_A_KILL = 160  # of the budget
SAVED_EVERY = 25  # environment steps
DELAY = 50  # steps within which the timer has to end a run
OTHERS = ("td3", "ddpg", "ppo", "svg", "hl", "alm", "mbpo")
DYNA = ("cmlo", "usbpo", "pdml")  # MBPO's loop, with a state of their own
UPDATES = 0.2  # seconds of the processor that a round of updates takes, about


@pytest.mark.parametrize(
    ("variant", "kills"),
    [("sac", 20), ("sac_rlpd", 10), ("mbrl", 4), ("unified", 4), *((v, 4) for v in OTHERS)],
)
def test_killed_again_and_again_it_ends_as_if_undisturbed(variant, kills, tmp_path):
    _kill_campaign(_spec_to_kill(variant, kills), tmp_path, kills)


@pytest.mark.full
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("variant", "kills"),
    [
        *(("sac", 100), ("sac_rlpd", 40), ("mbrl", 10), ("unified", 10)),
        *((v, 5) for v in DYNA),
    ],
)
def test_killed_many_times_it_ends_as_if_undisturbed(variant, kills, tmp_path):
    _kill_campaign(_spec_to_kill(variant, kills), tmp_path, kills)


def _spec_to_kill(variant: str, kills: int) -> RunSpec:
    """Model-based parts learn from short episodes here, so that there are many rounds of updates."""
    task = "dclaw_turn_fixed-40" if variant in ("mbrl", "unified") else "cartpole-200"
    return small_spec(variant, task, budget=STEPS_A_KILL * kills, evaluate_every=2_000)


def _kill_campaign(spec: RunSpec, folder: Path, kills: int) -> None:
    """Kill `kills` times, let it finish, and compare with a run that nobody killed.

    A moment is a number of environment steps, then a time of the processor: what else the machine
    does changes nothing. Half of them begin where an episode does, with its updates.
    """
    draws = random.Random(0)
    executed = checkpoint = 0
    for _ in range(kills):
        steps = draws.randrange(2 * SAVED_EVERY, STEPS_A_KILL // 2)
        if draws.random() < 0.5:
            steps += -(checkpoint + steps) % spec.task.horizon
        steps = min(steps, STEPS_A_KILL - DELAY)
        prepare = partial(_die, steps, draws.uniform(0.001, UPDATES))
        attempt = Attempt(spec, folder / "killed", prepare=prepare)
        outcome = attempt.wait()
        assert outcome.code in (-signal.SIGPROF, -signal.SIGKILL), outcome
        executed += outcome.steps
        checkpoint = saved_steps(attempt.checkpoints)[-1]
    last = run(spec, folder / "killed")
    assert last.code == 0, last.error
    assert checkpoint > spec.budget // 4
    segments = manifest(folder / "killed")["segments"]
    assert len(segments) == kills + 1
    for before, after in itertools.pairwise(segments):
        assert before["reason"] == "killed"
        assert after["start_step"] == before["stop_step"]
    # No more than what lay behind the last checkpoint is done again.
    again = executed + last.steps - spec.budget
    assert 0 < again <= kills * SAVED_EVERY, f"{again} steps for a budget of {spec.budget}"
    assert run(spec, folder / "undisturbed").code == 0
    assert_same_run(folder / "killed", folder / "undisturbed")


def _die(after_steps: int, seconds: float) -> None:
    """Let the kernel end this process so many steps and then so many seconds of its work from now.

    As SIGKILL does, SIGPROF then ends it in the middle of whatever it does; where that took more
    than DELAY steps, SIGKILL itself does, between two of them. Checkpoints come by steps.
    """
    advance, taken = Trainer.advance, itertools.count()

    def counted(trainer: Trainer) -> None:
        step = next(taken)
        if step == after_steps:
            signal.setitimer(signal.ITIMER_PROF, seconds)
        elif step == after_steps + DELAY:
            os.kill(os.getpid(), signal.SIGKILL)
        advance(trainer)

    def interval(session: Any) -> float:
        return 0.0 if session.step % SAVED_EVERY == 0 else math.inf

    Trainer.advance = counted  # type: ignore[assignment, method-assign]
    unirl_repro.run._Session._interval = interval  # type: ignore[assignment, method-assign]


@pytest.mark.full
@pytest.mark.timeout(600)
@pytest.mark.parametrize("compiled", [False, True])
def test_at_paper_sizes_a_killed_run_ends_as_if_undisturbed(compiled, tmp_path):
    """Other kernels than those of small networks, and other code where it is compiled."""
    if compiled and (reason := why_not_compiled()):
        pytest.skip(reason)
    sizes = {"hidden": [256, 256], "batch_size": 256, "random_steps": 200}
    spec = small_spec("sac_rlpd", task="hopper-200", budget=1000, compiled=compiled, **sizes)
    attempt = Attempt(spec, tmp_path / "killed", checkpoint_every=0.05, prepare=save_often)

    def past_updates() -> bool:
        return max(saved_steps(attempt.checkpoints), default=0) > 600

    assert attempt.until(past_updates, seconds=200), attempt.wait()
    attempt.signal(signal.SIGKILL)
    assert attempt.wait().code == -signal.SIGKILL
    assert Attempt(spec, tmp_path / "killed").wait(200).code == 0
    assert manifest(tmp_path / "killed")["segments"][-1]["start_step"] > 600
    assert run(spec, tmp_path / "undisturbed").code == 0
    assert_same_run(tmp_path / "killed", tmp_path / "undisturbed")
