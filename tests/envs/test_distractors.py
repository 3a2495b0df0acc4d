"""Ant's distractors are a pure function of step and phase, beside an unchanged Ant."""

import numpy as np
import pytest

from tests.envs.rollouts import random_actions, rollout
from unirl_repro.envs import make
from unirl_repro.envs.distractors import GROUP, sinusoids

PERIODS = np.geomspace(5.0, 50.0, 50)


def test_ant_itself_is_that_of_the_plain_task():
    actions = random_actions(make("ant-100"), 100)
    plain = rollout(make("ant-100"), actions, seed=3)
    distracted = rollout(make("ant_distractors-100"), actions, seed=3)
    assert np.array_equal(distracted.obs[:, :27], plain.obs)
    assert np.array_equal(distracted.rewards, plain.rewards)


def test_distractors_are_given_by_step_and_phases_whatever_the_agent_does():
    env = make("ant_distractors-100")
    one = rollout(env, random_actions(env, 60, seed=0), seed=8).obs[:, 27:]
    two = rollout(env, random_actions(env, 60, seed=1), seed=8).obs[:, 27:]
    assert np.array_equal(one, two)
    start, quarter = one[0].reshape(5, GROUP), one[1].reshape(5, GROUP)
    assert np.ptp(start, axis=1) == pytest.approx(np.zeros(5))  # a group shares its phase
    assert len(np.unique(start[:, 0])) == 5  # and groups do not
    angle = 2 * np.pi / PERIODS.reshape(GROUP, 5).T
    cosine = (quarter - start * np.cos(angle)) / np.sin(angle)  # of the phase
    phases = np.arctan2(start, cosine).mean(axis=1)
    expected = np.array([sinusoids(step, phases) for step in range(61)])
    assert np.allclose(one, expected, atol=1e-9)


def test_phases_are_drawn_anew_and_frequencies_are_not():
    env = make("ant_distractors-100")
    first, second = (rollout(env, np.zeros((99, 8)), seed=s).obs[:, 27:] for s in (8, None))
    assert not np.allclose(first[0], second[0])
    for curve, period in zip(
        np.concatenate([first.T, second.T]), list(_by_group()) * 2, strict=True
    ):
        # A sinusoid x of angular frequency w obeys x[t+1] + x[t-1] = 2 cos(w) x[t].
        recurrence = curve[2:] + curve[:-2] - 2 * np.cos(2 * np.pi / period) * curve[1:-1]
        assert np.abs(recurrence).max() < 1e-9


def _by_group() -> np.ndarray:
    return PERIODS.reshape(GROUP, 5).T.ravel()
