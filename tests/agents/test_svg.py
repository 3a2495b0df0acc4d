"""SVG: against a slow reference in float64, its record of densities, its hooks, state and forms."""

import io
from collections.abc import Iterator
from dataclasses import replace
from math import log
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.agents.sac_parity import ACTION, CPU, OBS, batches, distance, named, of_mlp
from tests.agents.svg_reference import TERMS, SlowSVG
from unirl_repro.agents.svg import SVG, reproduced
from unirl_repro.hyperparameters import SVGParameters
from unirl_repro.replay import Batch, Replay
from unirl_repro.rng import Keys, normal

SMALL = SVGParameters(
    hidden=(16, 12), model_hidden=(14, 10), batch_size=32, random_steps=20, replay_capacity=50
)
TOLERANCE = 1e-9
FORMS: dict[str, dict[str, Any]] = {
    "svg": {},
    "small weights": {"max_weight": 1.2},
    "clipped gradients": {"clip_norm": 0.1},
    "narrow policy": {"log_std_min": -1.0, "log_std_max": -0.5},
    "divergence": {"kl_coefficient": 0.3},
}


@pytest.fixture
def double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def build(*, compiled: bool = False, seed: int = 7, **changes: Any) -> SVG:
    return SVG(
        replace(SMALL, **changes),
        OBS,
        ACTION,
        horizon=10,
        keys=Keys(seed, "init"),
        device=CPU,
        compiled=compiled,
    )


def learnt(agent: SVG) -> list[Tensor]:
    nets = [agent.actor.mlp, agent.value, agent.target, agent.model.dynamics, agent.model.rewards]
    return [*(of_mlp(net) for net in nets), agent.model.log_std.detach()]


def log_probs(agent: SVG, batch: Batch) -> Tensor:
    """As if a policy not far from the present one had acted."""
    with torch.no_grad():
        _, now = reproduced(agent.actor, batch.obs, batch.action)
    return now + torch.linspace(-1, 1, len(now))


def disagreement(agent: SVG, slow: SlowSVG) -> float:
    """Largest difference of weights and losses after three updates."""
    gaps = []
    for batch, _ in batches():
        log_prob = log_probs(agent, batch)
        ours, theirs = agent.update(batch, log_prob), slow.update(named(batch), log_prob)
        names = {
            "actor_loss": "actor",
            "value_loss": "value",
            "model_loss": "likelihood",
            "reward_loss": "reward",
            "importance_weight": "importance_weight",
            "divergence": "divergence",
        }
        gaps += [abs(float(ours[mine]) - theirs[other]) for mine, other in names.items()]
    return max(*gaps, distance(learnt(agent), slow.learnt()))


@pytest.mark.parametrize("form", FORMS)
def test_three_updates_equal_the_slow_reference(double, form: str) -> None:
    agent = build(**FORMS[form])
    assert disagreement(agent, SlowSVG(agent, OBS, ACTION)) < TOLERANCE


@pytest.mark.parametrize("weight", [-1.0, 0.0], ids=["flipped", "dropped"])
@pytest.mark.parametrize("term", TERMS)
def test_a_reference_with_another_loss_disagrees(double, term: str, weight: float) -> None:
    agent = build()
    slow = SlowSVG(agent, OBS, ACTION)
    slow.weights[term] = weight
    assert disagreement(agent, slow) > 1e3 * TOLERANCE


@pytest.mark.parametrize(
    "change",
    [
        {"discount": 0.98},
        {"polyak": 0.01},
        {"max_weight": 1.1},
        {"clip_norm": 0.1},
        {"learning_rate": 2e-3},
        {"actor_learning_rate": 2e-3},
        {"kl_coefficient": 0.5},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_reference_with_another_setting_disagrees(double, change: dict[str, Any]) -> None:
    agent = build()
    slow = SlowSVG(build(**change), OBS, ACTION)
    assert disagreement(agent, slow) > 1e3 * TOLERANCE


def test_actions_are_reproduced_from_the_noise_that_is_inferred(double) -> None:
    agent, rng = build(), Keys(0, "test")("noise")
    obs = normal(rng, 6, OBS, like=torch.zeros(()))
    noise = normal(rng, 6, ACTION, like=obs)
    action, log_prob = agent.actor(obs, noise)
    again, inferred = reproduced(agent.actor, obs, action.detach())
    assert (action - again).abs().max() < TOLERANCE
    assert (log_prob - inferred).abs().max() < TOLERANCE
    gradients = torch.autograd.grad(again.sum(), list(agent.actor.parameters()))
    direct = torch.autograd.grad(action.sum(), list(agent.actor.parameters()))
    assert distance(gradients, direct) < TOLERANCE


def test_actions_at_the_edge_of_the_box_stay_finite() -> None:
    agent = build()
    obs, action = torch.randn(4, OBS), torch.ones(4, ACTION)
    again, log_prob = reproduced(agent.actor, obs, action)
    gradients = torch.autograd.grad(again.sum(), list(agent.actor.parameters()))
    assert log_prob.isfinite().all()
    assert all(gradient.isfinite().all() for gradient in gradients)


# --- what it knows of each transition


def fill(agent: SVG, steps: int, replay: Replay | None = None) -> Replay:
    """The loop's steps: random ones, then the policy's."""
    replay = Replay(50, OBS, ACTION) if replay is None else replay
    for _ in range(steps):
        keys = Keys(0, "act", 0, replay.added)
        obs, next_obs = (normal(keys(name), OBS, like=torch.zeros(())) for name in ("a", "b"))
        action = agent.act(obs[None], keys("action"), explore=True)[0]
        if replay.added < agent.random_steps:
            action = torch.from_numpy(keys("random").uniform(-1, 1, ACTION)).float()
        replay.add(obs, action, float(obs[0]), next_obs, terminated=bool(obs[1] > 1))
        agent.after_step(replay, Keys(0, "after_step", 0, replay.added))
    return replay


def test_densities_are_those_of_whoever_acted() -> None:
    agent = build(random_steps=20)
    replay = fill(agent, 20)
    uniform = torch.full((20,), -ACTION * log(2))
    assert torch.allclose(agent.log_probs[:20], uniform)
    before = build(random_steps=20)
    before.load_state_dict(agent.state_dict())
    fill(agent, 1, replay)  # by the policy as it was before this step's update
    row = replay.rows(20, 21)
    _, expected = reproduced(before.actor, row.obs, row.action)
    assert agent.log_probs[20] == pytest.approx(expected.item(), abs=1e-6)


def test_samples_carry_the_density_of_their_own_action() -> None:
    agent = build(random_steps=20)
    replay = fill(agent, 120)  # more than twice round the ring
    agent.log_probs.copy_(torch.arange(50.0))
    replay.reward.copy_(torch.arange(50.0))
    batch, log_prob = agent.sample(replay, Keys(0, "test")("batch"))
    assert torch.equal(batch.reward, log_prob)
    assert len(log_prob.unique()) > 10


def test_densities_are_known_of_a_whole_episode_however_small_the_replay() -> None:
    agent = build(replay_capacity=5)
    replay = fill(agent, 33, Replay(10, OBS, ACTION))  # as the loop makes it for 10 steps
    agent.log_probs.copy_(torch.arange(10.0))
    replay.reward.copy_(torch.arange(10.0))
    batch, log_prob = agent.sample(replay, Keys(0, "test")("batch"))
    assert torch.equal(batch.reward, log_prob)


@pytest.mark.parametrize(("added", "expected"), [(19, 0), (20, 1), (22, 3)])
def test_an_update_a_step_after_the_random_ones(added: int, expected: int) -> None:
    agent = build(random_steps=20)
    fill(agent, added)
    assert int(agent.adam.steps) == int(agent.actor_adam.steps) == expected


def test_metrics_hold_no_graph_and_are_finite() -> None:
    agent = build()
    fill(agent, 25)
    metrics = agent.after_step(fill(agent, 0, fill(build(), 30)), Keys(0, "after_step"))
    assert metrics
    for value in metrics.values():
        assert isinstance(value, Tensor)
        assert not value.requires_grad
        assert value.isfinite()


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize("steps", [30, 70])
def test_a_restored_agent_goes_on_bit_for_bit(compiled: bool, steps: int) -> None:
    agent, restored = (build(compiled=compiled) for _ in range(2))
    replay = fill(agent, steps)
    file = io.BytesIO()
    torch.save(agent.state_dict(), file)
    fill(restored, 25)  # one that has lived
    file.seek(0)
    restored.load_state_dict(torch.load(file, weights_only=True))
    twin = Replay(50, OBS, ACTION)
    oldest = max(0, replay.added - 50)
    twin.added = oldest
    twin.restore(oldest, replay.rows(oldest, replay.added))
    fill(agent, 5, replay), fill(restored, 5, twin)
    assert distance(learnt(agent), learnt(restored)) == 0
    assert agent.recorded == restored.recorded == steps + 5
    known = [one.state_dict()["log_probs"] for one in (agent, restored)]
    assert torch.equal(*known)
    assert len(known[0]) == min(steps + 5, 50)


def test_the_same_keys_give_the_same_bytes_and_others_do_not() -> None:
    first, second, other = build(), build(), build(seed=8)
    assert distance(learnt(first), learnt(other)) > 0
    for agent in (first, second):
        fill(agent, 25)
        torch.randn(3)  # torch's own generator is nobody's source
    assert distance(learnt(first), learnt(second)) == 0


def test_compiled_updates_agree_with_eager_ones() -> None:
    eager, compiled = build(), build(compiled=True)
    for batch, _ in batches():
        log_prob = log_probs(eager, batch)
        ours, theirs = eager.update(batch, log_prob), compiled.update(batch, log_prob)
        for name, value in ours.items():
            assert float(value) == pytest.approx(float(theirs[name]), rel=1e-4, abs=1e-4)
    assert distance(learnt(eager), learnt(build())) > 0
    assert distance(learnt(eager), learnt(compiled)) < 1e-4


def test_actions_lie_inside_the_box_and_explore_only_when_asked() -> None:
    agent, keys = build(), Keys(0, "act")
    obs = 10 * torch.randn(50, OBS)
    greedy = [agent.act(obs, Keys(seed, "act")("action"), explore=False) for seed in (0, 1)]
    explored = [agent.act(obs, keys("action"), explore=True) for _ in range(2)]
    assert torch.equal(*greedy)
    assert torch.equal(*explored)
    assert not torch.equal(explored[0], greedy[0])
    assert explored[0].abs().max() <= 1
