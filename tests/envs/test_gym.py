"""Gymnasium's tasks against gymnasium's own version 4, 1,000 random actions each."""

from typing import Any

import gymnasium
import mujoco
import numpy as np
import pytest
from gymnasium.envs.mujoco import pusher_v4, pusher_v5

from tests.envs.rollouts import random_actions, rollout
from unirl_repro.envs import make
from unirl_repro.envs.gym import Pusher
from unirl_repro.envs.tasks import TASKS, Task

VERSION_4 = [task for task in TASKS.values() if task.suite == "gym" and task.name != "Pusher"]
STEPS = 1000
# Episodes of Pusher in which the arm comes down on the object: seed of the reset -> actions.
PUSHES = {
    seed: np.tile(np.array(action, np.float32), (100, 1))
    for seed, action in {
        1: [0.23, 0.54, 0.44, 0.32, -0.5, 0.36, -0.47],
        7: [0.33, 0.79, -0.26, 0.38, -0.44, -0.16, -0.35],
        36: [0.49, 0.78, -0.01, -0.08, 0.38, -0.41, 0.21],
    }.items()
}


@pytest.mark.filterwarnings("ignore:.*out of date.*")
@pytest.mark.parametrize("task", VERSION_4, ids=lambda task: task.id)
def test_steps_equal_those_of_version_4(task: Task):
    ours = make(task)
    theirs: Any = gymnasium.make(f"{task.name}-v4").unwrapped
    scale = theirs.action_space.high.astype(np.float64)
    actions = random_actions(ours, STEPS, seed=4).astype(np.float64)
    obs, want = ours.reset(seed=11)[0], theirs.reset(seed=11)[0]
    for action in actions:
        assert np.array_equal(obs, want[: task.obs_dim])
        obs, reward, terminated, truncated, _ = ours.step(action)
        want, wanted_reward, ended, *_ = theirs.step(action * scale)
        assert reward == wanted_reward
        assert terminated == (ended and task.terminates)
        if terminated or truncated:
            obs, want = ours.reset()[0], theirs.reset()[0]


@pytest.mark.parametrize("task_id", ["ant-1000", "humanoid-1000"])
def test_observations_are_positions_and_velocities_alone(task_id: str):
    env: Any = make(task_id)
    env.reset(seed=0)
    obs, *_ = env.step(np.full(env.action_space.shape, 0.3))
    data = env.unwrapped.data
    assert np.array_equal(obs, np.concatenate([data.qpos[2:], data.qvel]))


@pytest.mark.filterwarnings("ignore:.*out of date.*")
@pytest.mark.parametrize("task_id", ["hopper-200", "walker2d-100", "ant-100"])
def test_the_healthy_bonus_is_paid_to_the_end(task_id: str):
    """Against the other reading: the bonus paid only while healthy, no termination either."""
    env: Any = make(task_id)
    task = TASKS[task_id]
    other: Any = gymnasium.make(f"{task.name}-v4", terminate_when_unhealthy=False).unwrapped
    actions = random_actions(env, task.horizon, seed=1)
    rewards = rollout(env, actions, seed=2).rewards
    other.reset(seed=2)
    for reward, action in zip(rewards, actions.astype(np.float64), strict=True):
        _, wanted, *_ = other.step(action)
        missing = 0.0 if other.is_healthy else 1.0
        assert reward == pytest.approx(wanted + missing, abs=1e-9)


def test_scaled_actions_reach_the_actuators():
    env: Any = make("inverted_pendulum-1000")
    env.reset(seed=0)
    env.step(np.array([-0.5]))
    assert env.unwrapped.data.ctrl.tolist() == [-1.5]


def test_pusher_equals_version_4_where_only_the_inverse_weights_are_repaired(monkeypatch):
    monkeypatch.setattr(mujoco, "__version__", "2.3.7")  # version 4 refuses MuJoCo 3
    theirs, ours = pusher_v4.PusherEnv(), make("pusher-100")
    for body in (theirs.model.body("object"), theirs.model.body("goal")):
        weight = 1 / (0.04 + body.mass[0])  # the joints' armature
        theirs.model.dof_invweight0[body.dofadr[0] : body.dofadr[0] + 2] = weight
        theirs.model.body_invweight0[body.id, 0] = 2 * weight / 3
    episodes = dict(enumerate(np.split(random_actions(ours, 700, seed=3), 7), start=100))
    for seed, actions in (episodes | PUSHES).items():
        got = rollout(ours, actions, seed)
        want = rollout(theirs, 2.0 * actions.astype(np.float64), seed)
        # Their inverse weights come from a formula, ours from the mass matrix: not to the bit.
        assert np.allclose(got.obs, want.obs, rtol=0, atol=1e-7)
        assert np.allclose(got.rewards, want.rewards, rtol=0, atol=1e-7)


@pytest.mark.parametrize("seed", PUSHES)
def test_pushers_arm_pushes_the_object_only_with_repaired_inverse_weights(seed: int):
    ours, unrepaired = make("pusher-100"), pusher_v5.PusherEnv(xml_file="pusher.xml")
    obs = rollout(ours, PUSHES[seed], seed).obs
    through = rollout(unrepaired, 2.0 * PUSHES[seed].astype(np.float64), seed).obs
    pushed, passed = (np.abs(o[-1, 17:20] - o[0, 17:20]).max() for o in (obs, through))
    assert pushed > 0.05  # [m]
    assert passed < 0.01


def test_pushers_inverse_weights_are_those_of_old_mujoco():
    model = Pusher().model
    assert model.dof_invweight0[-4:] == pytest.approx([25.0] * 4, rel=1e-5)
    for name in ("object", "goal"):
        assert model.body_invweight0[model.body(name).id, 0] == pytest.approx(50 / 3, rel=1e-5)


def test_pushers_reward_comes_from_before_the_step():
    ours, version_5 = Pusher(), pusher_v5.PusherEnv(xml_file="pusher.xml")
    ours.reset(seed=0), version_5.reset(seed=0)
    before = version_5._get_rew(np.ones(7))[0]
    assert ours.step(np.ones(7))[1] == before
    assert version_5.step(np.ones(7))[1] != before
