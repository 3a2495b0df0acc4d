"""drawer-open-v3 against Meta-World's own class and its way to set a task."""

import pickle

import numpy as np
from gymnasium.utils import seeding
from metaworld.envs.sawyer_drawer_open_v3 import SawyerDrawerOpenEnvV3
from metaworld.types import Task

from tests.envs.rollouts import random_actions
from unirl_repro.envs import make

LOW, HIGH = np.array([-0.1, 0.9, 0.0]), np.array([0.1, 0.9, 0.0])  # of the drawer's place


def chosen(place: np.ndarray) -> Task:
    data = {"env_cls": SawyerDrawerOpenEnvV3, "rand_vec": place, "partially_observable": False}
    return Task(env_name="drawer-open-v3", data=pickle.dumps(data))


def test_steps_equal_those_of_metaworld():
    ours, theirs = make("drawer_open-500"), SawyerDrawerOpenEnvV3()
    rng, _ = seeding.np_random(17)
    for number, actions in enumerate(random_actions(ours, 1000, seed=6).reshape(2, 500, 4)):
        theirs.set_task(chosen(rng.uniform(LOW, HIGH)))
        obs, want = ours.reset(seed=17 if number == 0 else None)[0], theirs.reset()[0]
        for action in actions:
            assert np.array_equal(obs, want)
            obs, reward, terminated, truncated, _ = ours.step(action)
            want, wanted_reward, *_ = theirs.step(action.astype(np.float64))
            assert reward == wanted_reward
            assert not terminated
        assert truncated


def test_the_first_observation_shows_the_drawer_and_its_goal_where_they_are():
    env = make("drawer_open-500")
    for _ in range(3):
        first, _ = env.reset()
        second, *_ = env.step(np.zeros(4))
        assert np.allclose(first[4:7], second[4:7], atol=1e-3)  # the handle
        assert np.allclose(first[4:7] - [0, 0.2, 0], first[-3:], atol=1e-2)  # 20 cm to pull
        assert np.array_equal(first[18:36], first[:18])
