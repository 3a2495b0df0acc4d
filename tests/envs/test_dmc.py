"""Cartpole against dm_control's own suite, 1,000 random actions."""

from typing import Any

import gymnasium.utils.seeding
import numpy as np

from tests.envs.rollouts import random_actions
from unirl_repro.envs import make


def test_steps_equal_those_of_the_suite():
    ours = make("cartpole-200")
    from dm_control import suite  # after ours, which silences its search for a display

    rng, _ = gymnasium.utils.seeding.np_random(13)
    state = np.random.RandomState()
    theirs = suite.load("cartpole", "swingup", task_kwargs={"random": state})
    episodes = random_actions(ours, 1000, seed=5).reshape(5, 200, 1)
    for number, actions in enumerate(episodes):
        state.seed(rng.integers(2**32, size=4, dtype=np.uint32))
        obs, _ = ours.reset(seed=13 if number == 0 else None)
        moment = theirs.reset()
        for action in actions:
            assert np.array_equal(obs, np.hstack(list(moment.observation.values())))
            obs, reward, terminated, truncated, _ = ours.step(action)
            moment = theirs.step(action)
            assert reward == moment.reward
            assert not terminated
        assert truncated


def test_an_episode_is_the_first_two_seconds():
    env: Any = make("cartpole-200")
    env.reset(seed=0)
    for _ in range(200):
        env.step(np.zeros(1))
    assert abs(env.unwrapped._env.physics.time() - 2.0) < 1e-9


def test_hanging_still_earns_nothing_and_standing_earns_one_a_step():
    env: Any = make("cartpole-200")
    env.reset(seed=0)
    assert env.step(np.zeros(1))[1] < 0.01
    physics = env.unwrapped._env.physics
    with physics.reset_context():
        physics.data.qpos[:] = 0.0
    assert env.step(np.zeros(1))[1] > 0.99
