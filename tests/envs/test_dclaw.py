"""DClaw against robel's own classes, 1,000 random actions each, and against known return levels."""

import sys
from typing import Any

import mujoco
import numpy as np
import pytest

from tests.envs.robel_reference import CLASSES, reference
from tests.envs.rollouts import random_actions, rollout
from unirl_repro.envs import dclaw, make
from unirl_repro.envs.tasks import TASKS

TASK_OF = {task.name: task for task in TASKS.values() if task.suite == "dclaw"}


@pytest.fixture(scope="module")
def robel(tmp_path_factory):
    with reference(tmp_path_factory.mktemp("robel")) as classes:
        yield classes


def test_every_class_of_the_reference_has_its_task():
    assert set(TASK_OF) == set(CLASSES)


@pytest.mark.parametrize("name", CLASSES)
def test_steps_equal_those_of_robel(robel, name: str):
    ours, theirs = make(TASK_OF[name]), robel[name]()
    theirs.seed(7)
    obs, want = ours.reset(seed=7)[0], theirs.reset()
    for action in random_actions(ours, 1000, seed=9).astype(np.float64):
        assert np.array_equal(obs, want)
        obs, reward, _, truncated, _ = ours.step(action)
        want, wanted_reward, *_ = theirs.step(action)
        assert reward == wanted_reward
        if truncated:
            obs, want = ours.reset()[0], theirs.reset()


@pytest.mark.parametrize(("name", "level"), [("turn_fixed", -778.0), ("screw_fixed", -1021.0)])
def test_random_actions_reach_the_known_level(name: str, level: float):
    env, horizon = make(TASK_OF[name]), TASK_OF[name].horizon
    actions = random_actions(env, 24 * horizon, seed=0).reshape(24, horizon, 9)
    returns = [rollout(env, episode, seed=k).rewards.sum() for k, episode in enumerate(actions)]
    error = np.std(returns, ddof=1) / np.sqrt(len(returns))
    assert abs(np.mean(returns) - level) < 3 * error
    assert error < 0.03 * abs(level)


def test_the_target_of_a_screw_moves_and_that_of_a_turn_stays():
    for task_id, moved in (("dclaw_screw_fixed-80", 0.05), ("dclaw_turn_fixed-40", 0.0)):
        env: Any = make(task_id)
        env.reset(seed=0)
        before = env.unwrapped._target
        env.step(np.zeros(9))
        assert env.unwrapped._target - before == pytest.approx(moved, abs=1e-6)


def test_the_bonuses_are_paid_near_the_target():
    env: Any = make("dclaw_turn_fixed-40")
    env.reset(seed=0)
    claw = env.unwrapped.claw
    base = {}
    for error in (0.3, 0.2, 0.05):
        claw.reset()
        claw.place(dclaw.NOMINAL_POSE)
        claw.data.qpos[-1] = env.unwrapped._target + error
        base[error] = env.unwrapped._reward() + 5 * error
    assert base == pytest.approx({0.3: 0.0, 0.2: 10.0, 0.05: 60.0}, abs=1e-4)


def test_a_pose_costs_its_error_and_a_tenth_of_velocities_above_pi():
    env: Any = make("dclaw_pose_fixed-80")
    env.reset(seed=0)
    raw = env.unwrapped
    error = np.linalg.norm(raw._target - raw.claw.position)
    raw.claw.data.qvel[:9] = [0, -4.0, 3.1, 0, 3.0, 0, 0, 0, -3.2]  # [rad/s]
    assert raw._reward() == pytest.approx(-error - 0.1 * np.hypot(4.0, 3.2))


def test_the_package_itself_is_not_imported_for_its_models():
    imported = {name for name in sys.modules if name.partition(".")[0] == "robel"}
    assert isinstance(dclaw.load("robel-scenes/dclaw/dclaw3xh.xml"), mujoco.MjModel)
    assert {n for n in sys.modules if n.partition(".")[0] == "robel"} == imported


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(dclaw.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="robel is not installed"):
        make("dclaw_turn_fixed-40")
