"""CMLO: when it trains its model, against a slow reference and closed forms; hulls; its state."""

from math import ceil, log1p
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import ConvexHull
from torch import Tensor

from tests.agents.dyna import (
    ACTION,
    OBS,
    RANDOM_STEPS,
    add,
    assert_goes_on_bit_for_bit,
    build,
    empty_replay,
    equal,
    learnt,
    model_weights,
    moment,
)
from unirl_repro.agents import cmlo
from unirl_repro.agents.cmlo import CMLO, hull_volume
from unirl_repro.agents.mbpo import MBPO
from unirl_repro.replay import Replay
from unirl_repro.rng import Keys, normal

LOOKS: dict[str, Any] = {"check_every": 5, "hull_states": 40, "least_steps": 15, "most_steps": 60}

# --- when it trains


class SlowTrigger:
    """The published rule, one state and one elite at a time; asked before the agent's hook."""

    def __init__(self, agent: CMLO):
        self.agent, self.p = agent, agent.parameters
        self.volume, self.n, self.total, self.sum_of_logs = 0.0, 0, 0.0, 0.0
        self.reasons: list[str] = []

    def __call__(self, replay: Replay, keys: Keys) -> bool:
        learning = replay.added - RANDOM_STEPS
        if learning < 0 or learning % self.p.check_every:
            return False
        rows = keys("hull").integers(replay.added, size=self.p.hull_states)
        former, self.volume = self.volume, self.hull(replay.obs[rows].double().numpy())
        reason = "first" if learning == 0 else ""
        if learning:
            self.n += self.p.check_every
            self.total += sum(self.surprises(replay, keys("surprise")))
            event = self.volume / former * self.total / self.n
            self.sum_of_logs += log1p(event)
            if self.sum_of_logs > self.p.threshold:
                reason = "surprise" if self.n >= self.p.least_steps else "too early"
            if not reason and self.n >= self.p.most_steps:
                reason = "time"
        self.reasons.append(reason)
        if reason not in ("", "too early"):
            self.n, self.total, self.sum_of_logs = 0, 0.0, 0.0
            return True
        return False

    def hull(self, states: np.ndarray) -> float:
        values, vectors = np.linalg.eigh(np.cov(states.T))
        main = vectors[:, np.argsort(values)[::-1][:3]]
        return ConvexHull((states - states.mean(0)) @ main).volume

    @torch.no_grad()
    def surprises(self, replay: Replay, rng: np.random.Generator) -> list[float]:
        """Of each new step, the mean over elites of a sample's distance from what came."""
        count, elites = self.p.check_every, self.agent.elites
        noise = normal(rng, len(elites) * count, 1 + OBS, like=torch.zeros(()))
        means = []
        for step in range(count):
            row = replay.added - count + step
            inputs = torch.cat([replay.obs[row], replay.action[row]])[None]
            said, distances = self.agent.model(inputs), []
            for place, member in enumerate(elites):
                drawn = noise[place * count + step, 1:]
                std = (said.log_var[member, 0, 1:] / 2).exp()
                next_obs = replay.obs[row] + said.mean[member, 0, 1:] + std * drawn
                distances.append((next_obs - replay.next_obs[row]).norm().item())
            means.append(sum(distances) / len(distances))
        return means


def test_it_trains_when_a_slow_reference_says_so() -> None:
    """Calm stretches, in which time runs out, and stretches in which the states grow."""
    agent = build(CMLO, threshold=7.0, **LOOKS)
    slow, made, trained, expected = SlowTrigger(agent), empty_replay(), [], []
    for step in range(1, RANDOM_STEPS + 221):
        grown = RANDOM_STEPS + 70 < step <= RANDOM_STEPS + 130
        add(made, 1, scale=200.0 if grown else 1.0)
        keys = moment(made)
        if slow(made, keys):
            expected.append(step)
        before = model_weights(agent)
        metrics = agent.after_step(made, keys)
        if "model_error" in metrics:
            trained.append(step)
        assert equal(before, model_weights(agent)) == ("model_error" not in metrics)
    assert trained == expected
    assert {"first", "surprise", "time", "too early", ""} <= set(slow.reasons)
    assert agent.shift == pytest.approx(slow.sum_of_logs, rel=1e-3)
    assert agent.volume == pytest.approx(slow.volume, rel=1e-4)


def looks(agent: CMLO, count: int, error: float) -> list[int]:
    """Steps of learning at which it trains where each step surprises it alike; nothing is learnt."""
    trained = []
    agent._surprise = (  # type: ignore[method-assign]
        lambda replay, rng: error * agent.parameters.check_every
    )
    for step in range(count + 1):
        replay: Any = SimpleNamespace(added=RANDOM_STEPS + step, obs=torch.zeros(2_000, OBS))
        if agent.model_is_due(replay, Keys(0, "after_step", 0, step)):
            agent.train_model(replay, Keys(0, "after_step", 0, step))
            trained.append(step)
    return trained


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training takes no time and teaches nothing; hulls have one volume."""

    def train_model(agent: MBPO, replay: Replay, keys: Keys) -> dict[str, float]:
        agent.elites = [0]
        return {}

    monkeypatch.setattr(MBPO, "train_model", train_model)
    monkeypatch.setattr(cmlo, "hull_volume", lambda states: 2.0)


@pytest.mark.parametrize("error", [0.0, 0.05, 0.3, 2.0, 1e6])
def test_where_every_step_surprises_alike_intervals_are_a_closed_form(untrained, error) -> None:
    counts = []
    for threshold in (0.1, 0.5, 1.0, 2.0, 4.0, 8.0, 100.0):
        agent = build(CMLO, threshold=threshold, **LOOKS)
        trained = looks(agent, 300, error)
        by_error = int(threshold / log1p(error)) + 1 if error else 1_000  # looks until S > alpha
        interval = min(60, max(15, 5 * by_error))
        assert trained == list(range(0, 301, interval))
        counts.append(len(trained))
    assert counts == sorted(counts, reverse=True)  # a larger threshold never trains more often
    assert counts[-1] <= counts[0]


@pytest.mark.parametrize(("least_steps", "most_steps"), [(150, 500), (1, 50), (120, 150), (50, 50)])
def test_it_waits_for_the_least_steps_and_no_longer_than_the_most(
    untrained, least_steps: int, most_steps: int
) -> None:
    limits: dict[str, Any] = {
        "check_every": 50,
        "least_steps": least_steps,
        "most_steps": most_steps,
    }
    surprised = looks(build(CMLO, threshold=1.0, **limits), 1_500, error=1e6)
    assert surprised == list(range(0, 1_501, 50 * ceil(least_steps / 50)))
    calm = looks(build(CMLO, threshold=1.0, **limits), 1_500, error=0.0)
    assert calm == list(range(0, 1_501, most_steps))


def test_the_sum_must_be_more_than_the_threshold(untrained) -> None:
    limits: dict[str, Any] = {"check_every": 5, "least_steps": 5, "most_steps": 100}
    threshold = log1p(0.5) + log1p(0.5)
    assert looks(build(CMLO, threshold=threshold, **limits), 50, 0.5)[1] == 15


def test_volumes_are_compared_with_the_look_before_and_none_counts_as_the_same(
    untrained, monkeypatch
) -> None:
    volumes = iter([1.0, 2.0, 0.0, 4.0, 1.0, 1.0])
    monkeypatch.setattr(cmlo, "hull_volume", lambda states: next(volumes))
    agent, shifts = build(CMLO, threshold=100.0, **LOOKS), []
    for step in range(0, 26, 5):
        agent._surprise = lambda replay, rng: 5 * 0.4  # type: ignore[method-assign]
        replay: Any = SimpleNamespace(added=RANDOM_STEPS + step, obs=torch.zeros(2_000, OBS))
        if agent.model_is_due(replay, Keys(0, "after_step", 0, step)):
            agent.train_model(replay, Keys(0, "after_step", 0, step))
        shifts.append(agent.shift)
    expected = np.log1p(0.4 * np.array([2.0, 1.0, 2.0, 0.25, 1.0]))
    np.testing.assert_allclose(np.diff(shifts), expected)


def test_a_trainings_metrics_tell_what_led_to_it_and_then_counting_starts_anew(untrained) -> None:
    agent = build(CMLO, threshold=1.0, **LOOKS)
    looks(agent, 12, 0.4)
    assert (agent.steps, agent.errors) == (10, pytest.approx(4.0))
    metrics = agent.train_model(empty_replay(), Keys(0, "after_step"))
    assert metrics["steps_between_trainings"] == 10
    assert metrics["data_shift"] == pytest.approx(2 * log1p(0.4))
    assert (agent.steps, agent.errors, agent.shift) == (0, 0.0, 0.0)


def test_it_rolls_out_and_learns_on_between_trainings() -> None:
    agent, made, seen = build(CMLO, threshold=100.0, **LOOKS), empty_replay(), []
    add(made, RANDOM_STEPS - 1)
    for _ in range(31):
        add(made, 1)
        metrics = agent.after_step(made, moment(made))
        seen.append(("model_error" in metrics, "rollout_length" in metrics, "q" in metrics))
    assert seen == [(step == 0, step % 10 == 0, True) for step in range(31)]


def test_only_the_newest_steps_surprise_it() -> None:
    agent, made = build(CMLO, threshold=100.0, **LOOKS), empty_replay()
    add(made, RANDOM_STEPS)
    agent.after_step(made, moment(made))
    add(made, 5)
    calm = agent._surprise(made, Keys(0, "test")("surprise"))
    made.next_obs[: made.added - 5] += 100  # others do not matter
    assert agent._surprise(made, Keys(0, "test")("surprise")) == calm
    made.next_obs[made.added - 5] += 100
    far = 100 * OBS**0.5
    assert agent._surprise(made, Keys(0, "test")("surprise")) == pytest.approx(calm + far, abs=5)


# --- hulls


def box(sides: list[float], dims: int, seed: int = 0) -> Tensor:
    """Corners of a box, and points in it, turned and moved in a space of more dimensions."""
    rng = np.random.default_rng(seed)
    inside = rng.uniform(0, 1, (50, len(sides)))
    corners = np.stack(np.meshgrid(*[[0, 1]] * len(sides)), -1).reshape(-1, len(sides))
    turned, _ = np.linalg.qr(rng.normal(size=(dims, dims)))
    points = np.concatenate([inside, corners]) * sides @ turned[: len(sides)]
    return torch.from_numpy((points + rng.normal(size=dims)).astype(np.float32))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0.1, 10), min_size=3, max_size=3), st.integers(3, 7), st.integers(0, 9))
def test_the_hull_of_a_box_has_the_boxs_volume_however_it_lies(sides, dims, seed) -> None:
    assert hull_volume(box(sides, dims, seed)) == pytest.approx(np.prod(sides), rel=1e-3)


def test_a_cube_in_three_of_five_dimensions_has_volume_one() -> None:
    states = torch.zeros(9, 5)
    states[:8, [0, 2, 3]] = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 3)
    states[8, [0, 2, 3]] = 0.5
    assert hull_volume(states) == pytest.approx(1.0)


def test_a_thin_body_is_not_flat() -> None:
    assert hull_volume(box([2.0, 3.0, 1e-4], 4)) == pytest.approx(6e-4, rel=1e-2)


def test_only_the_three_widest_directions_count() -> None:
    sides = [5.0, 4.0, 3.0, 0.01]
    assert hull_volume(box(sides, 6)) == pytest.approx(60, rel=0.02)


@pytest.mark.parametrize(
    "states",
    [
        box([2.0, 3.0], 5),
        box([2.0], 5),
        torch.full((30, 5), 0.3),
        torch.zeros(30, 5),
        torch.randn(3, 5, generator=torch.Generator().manual_seed(0)),
        torch.zeros(1, 5),
        torch.randn(9, 1, generator=torch.Generator().manual_seed(0)),
    ],
    ids=["a plane", "a line", "a point", "zeros", "three states", "one state", "one dimension"],
)
def test_where_states_span_no_volume_it_is_none(states: Tensor) -> None:
    assert hull_volume(states) == 0


def test_flat_states_do_not_stop_a_run() -> None:
    agent, made = build(CMLO, threshold=1.0, **LOOKS), empty_replay()
    add(made, RANDOM_STEPS - 1)
    made.obs[:, 1:] = 0.5
    for _ in range(12):
        add(made, 1)
        made.obs[:, 1:] = 0.5
        metrics = agent.after_step(made, moment(made))
    assert agent.volume == 0
    assert np.isfinite(agent.shift)
    assert metrics


# --- state


@pytest.mark.parametrize("at", [RANDOM_STEPS + 3, RANDOM_STEPS + 14])
def test_a_restored_agent_goes_on_bit_for_bit(at: int) -> None:
    changes = LOOKS | {"threshold": 1.0, "least_steps": 5, "model_data_epochs": 2}
    assert_goes_on_bit_for_bit(CMLO, at, at + 25, **changes)


def test_what_it_has_counted_is_part_of_its_state() -> None:
    agent, restored = (build(CMLO, threshold=100.0, **LOOKS) for _ in range(2))
    made = empty_replay()
    add(made, RANDOM_STEPS)
    agent.after_step(made, moment(made))
    add(made, 5)
    agent.after_step(made, moment(made))
    restored.load_state_dict(agent.state_dict())
    counted = [(one.volume, one.steps, one.errors, one.shift) for one in (agent, restored)]
    assert counted[0] == counted[1]
    assert 0 not in counted[0]
    assert equal(learnt(agent), learnt(restored))
    assert agent.sac.action_dim == ACTION
