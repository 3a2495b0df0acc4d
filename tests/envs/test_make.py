"""The contract that every task's environment keeps."""

import subprocess
import sys
import warnings
from typing import Any

import mujoco
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from tests.envs.rollouts import random_actions, rollout, same_bytes
from unirl_repro.envs import make
from unirl_repro.envs.tasks import TASKS, Task, UnknownTaskError, find

EXPECTED = {
    *("hopper-200", "walker2d-100", "ant-100", "halfcheetah-100", "cartpole-200"),
    *("dclaw_turn_fixed-40", "ant_distractors-100", "halfcheetah-1000", "walker2d-1000"),
    *("hopper-1000", "ant-1000", "humanoid-1000", "inverted_pendulum-1000", "pusher-100"),
    *("drawer_open-500", "dclaw_turn_random-40", "dclaw_screw_fixed-80"),
    *("dclaw_screw_random-80", "dclaw_pose_fixed-80", "dclaw_pose_random-80"),
}
# Said of every wrapped environment and of every unbounded observation, which these have.
USUAL_WARNINGS = ("different from the unwrapped version", "infinity", "alternative render modes")
RESUMED = 150  # environment steps: an episode's, or a good part of one

every_task = pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.id)


def test_the_list_of_tasks_is_closed():
    assert set(TASKS) == EXPECTED
    assert all(task.id == key for key, task in TASKS.items())
    assert all(task.id.endswith(f"-{task.horizon}") for task in TASKS.values())


def test_an_unknown_task_is_named_with_what_is_allowed():
    with pytest.raises(UnknownTaskError) as error:
        make("waker2d-1000")
    message = str(error.value)
    assert "'waker2d-1000'" in message
    assert all(task_id in message for task_id in EXPECTED)
    assert "Did you mean 'walker2d-1000'?" in message
    assert "Did you mean" not in str(UnknownTaskError("?"))
    assert isinstance(error.value, ValueError)


@every_task
def test_gymnasiums_checker_passes(task: Task):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_env(make(task), skip_close_check=True)
    messages = [str(warning.message) for warning in caught]
    assert not [m for m in messages if not any(usual in m for usual in USUAL_WARNINGS)]


@every_task
def test_spaces_are_as_declared(task: Task):
    env: Any = make(task.id)
    assert env.observation_space.shape == (task.obs_dim,)
    assert env.observation_space.dtype == np.float64
    assert env.action_space.shape == (task.action_dim,)
    assert env.action_space.low.tolist() == [-1.0] * task.action_dim
    assert env.action_space.high.tolist() == [1.0] * task.action_dim
    obs, _ = env.reset(seed=0)
    assert obs.dtype == np.float64
    _, reward, terminated, truncated, _ = env.step(np.zeros(task.action_dim, np.float32))
    assert [type(x) for x in (reward, terminated, truncated)] == [float, bool, bool]


@every_task
def test_an_episode_depends_on_its_seed_and_actions_alone(task: Task):
    """On resume an episode is re-created by its seed and actions in a fresh instance."""
    lived, fresh = make(task), make(task)
    actions = random_actions(lived, RESUMED)
    np.random.seed(1)  # noqa: NPY002
    rollout(lived, random_actions(lived, task.horizon, seed=1), seed=3)
    rollout(lived, random_actions(lived, 7, seed=2), seed=None)  # cut short
    again = rollout(lived, actions, seed=2**31 - 1)
    np.random.seed(2)  # noqa: NPY002
    assert same_bytes(again, rollout(fresh, actions, seed=2**31 - 1))
    assert same_bytes(again, rollout(fresh, actions, seed=2**31 - 1))


@every_task
def test_a_reset_clears_the_simulator_down_to_its_warm_start(task: Task):
    lived, fresh = make(task), make(task)
    rollout(lived, random_actions(lived, 9), seed=3)
    lived.reset(seed=4), fresh.reset(seed=4)
    state = simulator_state(lived)
    assert state.size > task.action_dim
    assert state.tobytes() == simulator_state(fresh).tobytes()


def simulator_state(env: Any) -> np.ndarray:
    """All that MuJoCo's next step depends on: positions, warm start, applied forces, and so on."""
    raw = env.unwrapped
    if hasattr(raw, "_env"):  # the suite's, whose model and data wrap MuJoCo's
        model, data = raw._env.physics.model.ptr, raw._env.physics.data.ptr
    else:
        model, data = getattr(raw, "claw", raw).model, getattr(raw, "claw", raw).data
    kind = mujoco.mjtState.mjSTATE_INTEGRATION
    state = np.empty(mujoco.mj_stateSize(model, kind))
    mujoco.mj_getState(model, data, state, kind)
    return state


@every_task
def test_the_global_generator_is_left_alone(task: Task):
    np.random.seed(5)  # noqa: NPY002
    env = make(task)
    rollout(env, random_actions(env, 3), seed=0)
    drawn = np.random.random()  # noqa: NPY002
    np.random.seed(5)  # noqa: NPY002
    assert drawn == np.random.random()  # noqa: NPY002


@every_task
def test_seeds_give_different_starts_where_the_start_is_random(task: Task):
    env = make(task)
    first, other = env.reset(seed=0)[0], env.reset(seed=1)[0]
    fixed = task.name in ("turn_fixed", "screw_fixed")
    assert (first.tobytes() == other.tobytes()) == fixed
    assert fixed or env.reset()[0].tobytes() != other.tobytes()  # the generator moves on


@pytest.mark.parametrize("task_id", [t.id for t in TASKS.values() if not t.terminates])
def test_a_fixed_length_task_is_truncated_at_its_horizon_and_never_terminates(task_id: str):
    env = make(task_id)
    horizon = find(task_id).horizon
    episode = rollout(env, random_actions(env, horizon + 1), seed=0)
    assert episode.truncated == [False] * (horizon - 1) + [True]
    assert not any(episode.terminated)


def test_a_fallen_hopper_terminates_only_with_the_usual_horizon():
    idle = np.zeros((200, 3), np.float32)
    usual = rollout(make("hopper-1000"), idle, seed=0)
    fixed = rollout(make("hopper-200"), idle, seed=0)
    fallen = len(usual.rewards)
    assert usual.terminated == [False] * (fallen - 1) + [True]
    assert usual.truncated == [False] * fallen
    assert fallen < len(fixed.rewards) == 200
    assert np.array_equal(usual.obs, fixed.obs[: fallen + 1])


def test_a_task_that_can_end_is_truncated_at_its_horizon():
    env = make("halfcheetah-1000")
    episode = rollout(env, random_actions(env, 1001), seed=0)
    assert episode.truncated == [False] * 999 + [True]
    assert not any(episode.terminated)


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import unirl_repro.envs.tasks", ["gymnasium", "mujoco", "numpy", "torch"]),
        ("import unirl_repro.envs as e; e.make('hopper-200')", ["dm_control", "metaworld"]),
        ("import unirl_repro.envs as e; e.make('dclaw_turn_fixed-40')", ["robel", "dm_control"]),
    ],
)
def test_only_what_a_task_needs_is_imported(statement: str, absent: list[str]):
    code = f"{statement}\nimport sys\nprint([m for m in {[*absent, 'robel']} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert done.stderr == ""
