"""Rules of when a task ends against the environments: on rollouts, at the limits, without numbers."""

from collections.abc import Iterator
from typing import Any, get_args

import numpy as np
import pytest
import torch

from unirl_repro.envs import make
from unirl_repro.hyperparameters import Termination
from unirl_repro.models.termination import TERMINATION

STEPS = 3_000
# Of each environment that can end, entries of qpos that decide it, with their limits.
LIMITS: dict[str, dict[int, list[float]]] = {
    "hopper": {1: [0.7], 2: [-0.2, 0.2]},
    "walker2d": {1: [0.8, 2.0], 2: [-1.0, 1.0]},
    "ant": {2: [0.2, 1.0]},
    "humanoid": {2: [1.0, 2.0]},
    "inverted_pendulum": {1: [-0.2, 0.2]},
}
ENVIRONMENTS = ["halfcheetah", *LIMITS]
HEALTHY = ["hopper", "walker2d", "ant", "humanoid"]  # that can be asked without a step


def rule(environment: str, obs: np.ndarray, dtype: type = np.float64) -> np.ndarray:
    name = environment if environment in LIMITS else "never"
    return TERMINATION[name](torch.from_numpy(obs.astype(dtype))).numpy()


def perturb(env: Any, environment: str, rng: np.random.Generator) -> None:
    """Move the task to somewhere near its limits, upright or not, and push it."""
    data, start = env.unwrapped.data, env.unwrapped.init_qpos
    qpos = start + rng.uniform(-0.05, 0.05, start.shape)
    qvel = rng.normal(0, rng.choice([0.1, 1.0, 5.0]), data.qvel.shape)
    limits = LIMITS.get(environment, {1: [-0.5, 0.5], 2: [-1.0, 1.0]})
    entry = rng.choice(list(limits))
    qpos[entry] = rng.choice(limits[entry]) + rng.normal(0, 0.05)
    env.unwrapped.set_state(qpos, qvel)


def visited(environment: str) -> Iterator[tuple[np.ndarray, bool]]:
    """Next observations and `terminated`, of episodes that are disturbed every few steps."""
    env, rng = make(f"{environment}-1000"), np.random.default_rng(0)
    env.reset(seed=0)
    for step in range(STEPS):
        if step % 3 == 0 and step % 300 > 100:  # in between, plain random play
            perturb(env, environment, rng)
        action = rng.uniform(-1, 1, env.action_space.shape)
        obs, _, terminated, truncated, _ = env.step(action)
        yield obs, terminated
        if terminated or truncated:
            env.reset()


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_a_rule_says_terminated_where_the_environment_does(environment: str) -> None:
    rows, flags = zip(*visited(environment), strict=True)
    obs, terminated = np.array(rows), np.array(flags)
    assert (rule(environment, obs) == terminated).all()
    share = terminated.mean()
    assert (0.05 < share < 0.95) if environment in LIMITS else share == 0
    # In single precision, which models and replay have, but for states at a limit.
    away = np.ones(len(obs), dtype=bool)
    for entry, limits in LIMITS.get(environment, {}).items():
        column = entry - (len(env_positions(environment)) - positions_seen(environment))
        away &= np.abs(obs[:, column, None] - limits).min(1) > 1e-6
    assert away.mean() > 0.99
    assert (rule(environment, obs, np.float32) == terminated)[away].all()


def env_positions(environment: str) -> np.ndarray:
    env: Any = make(f"{environment}-1000").unwrapped
    return env.init_qpos


def positions_seen(environment: str) -> int:
    """Entries of qpos in the observation: all but where on the ground a robot is."""
    env: Any = make(f"{environment}-1000")
    return env.observation_space.shape[0] - env.unwrapped.model.nv


def at(env: Any, **entries: float) -> tuple[np.ndarray, bool]:
    """Observation and `terminated` where entries such as `qpos1` have these values."""
    inner = env.unwrapped
    inner.data.qpos[:], inner.data.qvel[:] = inner.init_qpos, inner.init_qvel
    for name, value in entries.items():
        getattr(inner.data, name[:4])[int(name[4:])] = value
    return inner._get_obs()[: env.observation_space.shape[0]], bool(inner.terminated)


@pytest.mark.parametrize("environment", HEALTHY)
def test_a_limit_belongs_to_the_side_that_the_environment_puts_it_on(environment: str) -> None:
    env: Any = make(f"{environment}-1000")
    env.reset(seed=0)
    outcomes = set()
    for entry, limits in LIMITS[environment].items():
        for limit in limits:
            near = [np.nextafter(limit, -9.0), limit, np.nextafter(limit, 9.0)]
            cases = [at(env, **{f"qpos{entry}": value}) for value in near]
            said = rule(environment, np.array([obs for obs, _ in cases]))
            assert said.tolist() == [terminated for _, terminated in cases]
            outcomes |= set(said.tolist())
    assert outcomes == {False, True}


def test_the_pendulum_may_lean_as_far_as_its_limit() -> None:
    """Whose rule the environment has in its step: not finite, or abs(angle) > 0.2."""
    angles = [np.nextafter(0.2, 0), 0.2, np.nextafter(0.2, 1)]
    for sign in (-1, 1):
        obs = np.zeros((3, 4))
        obs[:, 1] = sign * np.array(angles)
        assert rule("inverted_pendulum", obs).tolist() == [False, False, True]
    obs = np.array([[5.0, 0.0, -90.0, 90.0], [0.0, 0.1, 0.3, 0.3], [0.3, -0.3, 0.0, 0.0]])
    assert rule("inverted_pendulum", obs).tolist() == [False, False, True]


@pytest.mark.parametrize("sign", [-1, 1])
def test_a_hopper_ends_where_a_joint_has_turned_too_far_either_way(sign: int) -> None:
    env: Any = make("hopper-1000")
    env.reset(seed=0)
    for joint in (3, 4, 5):
        for value in (99.0, 100.0, 101.0):
            obs, terminated = at(env, **{f"qpos{joint}": sign * value})
            assert terminated == (value >= 100)
            assert rule("hopper", obs[None]).tolist() == [terminated]


@pytest.mark.parametrize("environment", HEALTHY)
def test_heights_and_angles_of_any_size_are_judged_as_the_environment_does(
    environment: str,
) -> None:
    env: Any = make(f"{environment}-1000")
    env.reset(seed=0)
    rng, rows = np.random.default_rng(1), []
    for _ in range(2_000):
        entries = {f"qpos{entry}": rng.normal(0.5, 1.0) for entry in LIMITS[environment]}
        rows.append(at(env, **entries | {"qvel0": rng.normal(0, 5)}))
    said = rule(environment, np.array([obs for obs, _ in rows]))
    assert said.tolist() == [terminated for _, terminated in rows]
    assert 0.01 < said.mean() < 0.99


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_what_is_not_finite_ends_every_task_that_can_end(environment: str, value: float) -> None:
    env = make(f"{environment}-1000")
    start, _ = env.reset(seed=0)
    obs = np.tile(start, (len(start) + 1, 1))
    obs[np.arange(len(start)), np.arange(len(start))] = value  # the last row is as it was
    ends = environment in LIMITS
    for dtype in (np.float32, np.float64):
        assert rule(environment, obs, dtype).tolist() == [ends] * len(start) + [False]


def test_there_is_a_rule_for_each_name_and_it_gives_one_flag_a_row() -> None:
    assert set(TERMINATION) == set(get_args(Termination))
    for judge in TERMINATION.values():
        for rows in (0, 1, 3):
            flags = judge(torch.zeros(rows, 45))
            assert flags.shape == (rows,)
            assert flags.dtype == torch.bool
