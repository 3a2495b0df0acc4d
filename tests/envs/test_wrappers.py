"""The wrappers that every task shares."""

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box

from unirl_repro.envs import make
from unirl_repro.envs.wrappers import CheckedActions, FixedLength, TimeLimit


class Recorder(gymnasium.Env):
    """Keeps the last action; terminates at a given step, never by default."""

    def __init__(self, end: int = -1, bound: float = 3.0):
        self.observation_space = Box(-np.inf, np.inf, (1,), np.float64)
        self.action_space = Box(-bound, bound, (2,), np.float32)
        self.end = end
        self.steps = 0
        self.action: Any = None

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple:
        super().reset(seed=seed)
        self.steps = 0
        return np.zeros(1), {}

    def step(self, action: np.ndarray) -> tuple:
        self.steps += 1
        self.action = action
        return np.zeros(1), np.float64(1.0), np.bool_(self.steps == self.end), False, {}


def test_actions_are_scaled_to_the_environments_bounds_and_clipped():
    inner = Recorder()
    env = CheckedActions(inner)
    env.reset()
    for given, applied in [
        ([0.5, -1.0], [1.5, -3.0]),
        ([7.0, -7.0], [3.0, -3.0]),
        ([np.inf, -np.inf], [3.0, -3.0]),
    ]:
        env.step(np.array(given, np.float32))
        assert inner.action.tolist() == applied
        assert inner.action.dtype == np.float64


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (np.zeros(3), r"shape \(3,\); expected \(2,\)"),
        (np.zeros((1, 2)), r"shape \(1, 2\); expected \(2,\)"),
        (np.float64(0.0), r"shape \(\); expected \(2,\)"),
        (np.array([0.0, np.nan]), r"nan.*numbers in \[-1, 1\]"),
    ],
)
def test_an_action_that_means_nothing_is_an_error(action, message):
    env = CheckedActions(Recorder())
    env.reset()
    with pytest.raises(ValueError, match=message):
        env.step(action)


def test_the_callers_action_is_not_changed():
    env = make("dclaw_turn_fixed-40")
    env.reset(seed=0)
    action = np.full(9, 2.0, np.float32)
    obs, *_ = env.step(action)
    assert action.tolist() == [2.0] * 9
    assert obs[11:20].tolist() == [1.0] * 9  # the last action, as applied


@pytest.mark.parametrize(("end", "left"), [(-1, 5), (2, 2), (5, 5)])
def test_termination_and_truncation_are_kept_apart(end, left):
    env = TimeLimit(Recorder(end), horizon=5)
    env.reset()
    ends = [env.step(np.zeros(2))[2:4] for _ in range(left)]
    assert ends[:-1] == [(False, False)] * (left - 1)
    assert ends[-1] == (end == left, left == 5)


@pytest.mark.parametrize(("end", "steps"), [(-1, 5), (2, 2)])
def test_a_step_outside_of_an_episode_is_an_error(end, steps):
    env = TimeLimit(Recorder(end), horizon=5)
    with pytest.raises(RuntimeError, match="call reset"):
        env.step(np.zeros(2))
    env.reset()
    for _ in range(steps):
        env.step(np.zeros(2))
    with pytest.raises(RuntimeError, match="call reset"):
        env.step(np.zeros(2))
    env.reset()
    env.step(np.zeros(2))


def test_fixed_length_drops_only_termination():
    env = FixedLength(Recorder(end=1))
    env.reset()
    _, reward, terminated, truncated, _ = env.step(np.zeros(2))
    assert (reward, terminated, truncated) == (1.0, False, False)
