"""HL: its actions against the published procedure, plan and all; its model; its hooks and state."""

import io
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal

from tests.agents.sac_parity import (
    ACTION,
    CPU,
    OBS,
    batches,
    copy_actor,
    copy_mlp,
    distance,
    linears,
    of_layers,
    of_mlp,
)
from tests.agents.sac_parity import learnt as learnt_by_sac
from tests.agents.test_sac import flat_state, replay, updates_made
from unirl_repro.agents.hl import HL
from unirl_repro.agents.sac import SAC
from unirl_repro.hyperparameters import HLParameters, SACParameters
from unirl_repro.models.gaussian_mlp import MIN_STD
from unirl_repro.nn.mlp import MLP
from unirl_repro.rng import Keys, normal

SMALL: dict[str, Any] = {"hidden": (16, 12), "batch_size": 32, "random_steps": 20}
HIDDEN, HORIZON, SAMPLES = (14, 10), 4, 7
TOLERANCE = 1e-9


@pytest.fixture
def double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def build(*, compiled: bool = False, seed: int = 7, **changes: Any) -> HL:
    parameters = HLParameters(
        sac=SACParameters(**SMALL),
        plan_horizon=HORIZON,
        num_samples=SAMPLES,
        model_hidden=HIDDEN,
        model_updates=3,
    )
    keys = Keys(seed, "init")
    return HL(
        replace(parameters, **changes),
        OBS,
        ACTION,
        horizon=10,
        keys=keys,
        device=CPU,
        compiled=compiled,
    )


def learnt(agent: HL) -> list[Tensor]:
    networks = [of_mlp(agent.model.dynamics), of_mlp(agent.model.rewards)]
    return [*learnt_by_sac(agent.sac), *networks, agent.model.log_std.detach()]


# --- actions


class SlowPlanner:
    """The published planner for one observation: a plan, moved by weighted differences."""

    def __init__(self, agent: HL, plan: Tensor):
        self.p, self.plan = agent.parameters, plan  # [H, A]
        self.trunk = torch_layers([OBS, *SMALL["hidden"]], nn.ReLU)
        self.trunk.append(nn.ReLU())
        self.mean, self.raw = (nn.Linear(SMALL["hidden"][-1], ACTION) for _ in range(2))
        copy_actor(agent.sac.actor.mlp, linears(self.trunk), self.mean, self.raw)
        self.dynamics, self.rewards = of_model(agent)
        self.weight_of_log_prob = 1.0

    @torch.no_grad()
    def __call__(self, obs: Tensor, noise: Tensor) -> Tensor:  # [O], [H, N, A]
        plan = torch.cat([self.plan[1:], torch.zeros_like(self.plan[:1])])
        returns = torch.zeros(self.p.plan_horizon, self.p.num_samples)
        differences = torch.zeros(self.p.plan_horizon, self.p.num_samples, ACTION)
        for n in range(self.p.num_samples):
            state, rewards, log_probs = obs, [], []
            for t in range(self.p.plan_horizon):
                features = self.trunk(state)
                std = self.raw(features).clamp(-20, 2).exp()
                policy = Normal(self.mean(features), std)
                sample = policy.loc + std * noise[t, n]
                log_probs.append(policy.log_prob(sample).sum())
                action = torch.tanh(sample)
                differences[t, n] = action - plan[t]
                x = torch.cat([state, action])
                rewards.append(self.rewards(x)[0])
                state = state + self.dynamics(x)
            for t in range(self.p.plan_horizon):
                log_prob = self.weight_of_log_prob * self.p.temperature * log_probs[t]
                returns[t, n] = sum(rewards[t:]) + log_prob
        for t in range(self.p.plan_horizon):
            w = ((returns[t] - returns[t].max()) / self.p.temperature).exp() + 1e-5
            w = w / w.sum()
            plan[t] = plan[t] + (w[:, None] * differences[t]).sum(0)
        self.plan = plan
        return plan[0]


def torch_layers(sizes: list[int], activation: type[nn.Module]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [activation()] if layers else []
        layers.append(nn.Linear(inputs, outputs))
    return nn.Sequential(*layers)


def of_model(agent: HL) -> tuple[nn.Sequential, nn.Sequential]:
    made = []
    for mlp, outputs in ((agent.model.dynamics, OBS), (agent.model.rewards, 1)):
        net = torch_layers([OBS + ACTION, *HIDDEN, outputs], nn.ReLU)
        copy_mlp(mlp, linears(net))
        made.append(net)
    return made[0], made[1]


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_actions_are_the_published_planners_whatever_its_plan_was(double, temperature) -> None:
    agent = build(temperature=temperature)
    rng = Keys(3, "test")("noise")
    for start in (torch.zeros(HORIZON, ACTION), normal(rng, HORIZON, ACTION, like=torch.zeros(1))):
        planner = SlowPlanner(agent, start)
        for _ in range(3):  # the plan is handed on from step to step
            obs = normal(rng, OBS, like=torch.zeros(()))
            noise = normal(rng, HORIZON, SAMPLES, ACTION, like=obs)
            ours = agent.weighted_mean(obs[None], noise)[0]
            assert (ours - planner(obs, noise)).abs().max() < TOLERANCE


def test_a_planner_with_another_weight_disagrees(double) -> None:
    agent, rng = build(temperature=1.0), Keys(3, "test")("noise")
    planner = SlowPlanner(agent, torch.zeros(HORIZON, ACTION))
    planner.weight_of_log_prob = 0.0
    obs = normal(rng, OBS, like=torch.zeros(()))
    noise = normal(rng, HORIZON, SAMPLES, ACTION, like=obs)
    gap = agent.weighted_mean(obs[None], noise)[0] - planner(obs, noise)
    assert gap.abs().max() > 1e3 * TOLERANCE


def test_each_of_several_observations_has_its_own_trajectories(double) -> None:
    agent, rng = build(), Keys(4, "test")("noise")
    obs = normal(rng, 3, OBS, like=torch.zeros(()))
    noise = normal(rng, HORIZON, 3, SAMPLES, ACTION, like=obs)
    together = agent.weighted_mean(obs, noise.flatten(1, 2))
    alone = [agent.weighted_mean(obs[i : i + 1], noise[:, i])[0] for i in range(3)]
    assert (together - torch.stack(alone)).abs().max() < TOLERANCE


def test_the_model_chooses_among_the_policys_actions() -> None:
    """With a reward for the action's first entry, the action has nearly the largest of all drawn."""
    agent = build(temperature=1e-3, num_samples=200, plan_horizon=1)
    for parameter in agent.model.parameters():
        parameter.data.zero_()
    agent.model.rewards = FirstEntry()  # type: ignore[assignment]
    obs, keys = torch.zeros(1, OBS), Keys(0, "act")
    action = agent.act(obs, keys("action"), explore=True)[0]
    noise = normal(keys("action"), 1, 200, ACTION, like=obs)
    drawn, _ = agent._sampled(obs.expand(200, -1), noise[0])
    assert action[0] > drawn[:, 0].quantile(0.95)
    assert (drawn.min(0).values <= action).all()
    assert (action <= drawn.max(0).values).all()


class FirstEntry(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 10 * x[:, OBS : OBS + 1]


def test_acting_changes_nothing_and_follows_its_draws() -> None:
    agent, obs = build(), torch.randn(2, OBS)
    before = flat_state(agent.state_dict())
    first, again = (agent.act(obs, Keys(0, "act")("action"), explore=True) for _ in range(2))
    other = agent.act(obs, Keys(1, "act")("action"), explore=True)
    evaluated = agent.act(obs, Keys(0, "act")("action"), explore=False)
    assert torch.equal(first, again)
    assert torch.equal(first, evaluated)
    assert not torch.equal(first, other)
    assert first.shape == (2, ACTION)
    assert first.abs().max() <= 1
    assert flat_state(agent.state_dict()) == before


# --- updates


def test_three_updates_of_the_model_equal_the_slow_reference(double) -> None:
    agent = build()
    nets, log_std = of_model(agent), nn.Parameter(agent.model.log_std.detach().clone())
    optimiser = torch.optim.Adam(
        [*nets[0].parameters(), *nets[1].parameters(), log_std],
        lr=agent.parameters.model_learning_rate,
    )
    for batch, _ in batches():
        metrics = agent.update_model(batch)
        x = torch.cat([batch.obs, batch.action], 1)
        policy = Normal(batch.obs + nets[0](x), log_std.exp() + MIN_STD)
        likelihood = -policy.log_prob(batch.next_obs).mean()
        error = 0.5 * ((nets[1](x)[:, 0] - batch.reward) ** 2).mean()
        optimiser.zero_grad()
        (likelihood + error).backward()
        optimiser.step()
        assert abs(float(metrics["model_loss"]) - likelihood.item()) < TOLERANCE
        assert abs(float(metrics["reward_loss"]) - error.item()) < TOLERANCE
    ours = [of_mlp(agent.model.dynamics), of_mlp(agent.model.rewards), agent.model.log_std.detach()]
    theirs = [of_layers([nets[0]]), of_layers([nets[1]]), log_std.detach()]
    assert distance(ours, theirs) < TOLERANCE


def test_its_sac_is_sac_on_the_same_data() -> None:
    agent, made = build(), replay(30)
    alone = SAC(
        SACParameters(**SMALL),
        OBS,
        ACTION,
        horizon=10,
        keys=Keys(7, "init"),
        device=CPU,
        compiled=False,
    )
    for step in range(3):
        for one in (agent, alone):
            one.after_step(made, Keys(0, "after_step", 0, step))
    assert distance(learnt_by_sac(agent.sac), learnt_by_sac(alone)) == 0


@pytest.mark.parametrize(("added", "expected"), [(19, 0), (20, 1)])
def test_updates_begin_after_the_random_steps_and_come_in_their_numbers(added, expected) -> None:
    agent = build()
    metrics = agent.after_step(replay(added), Keys(0, "after_step"))
    assert updates_made(agent.sac) == expected
    assert int(agent.model_adam.steps) == 3 * expected
    assert bool(metrics) == bool(expected)
    assert not any(isinstance(v, Tensor) and v.requires_grad for v in metrics.values())


def test_a_sac_that_learns_before_episodes_does_so_here() -> None:
    agent = build(sac=SACParameters(**SMALL, update_at="episode"))
    agent.before_episode(replay(20), Keys(0, "before_episode"))
    assert updates_made(agent.sac) == 10
    assert int(agent.model_adam.steps) == 0


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_a_restored_agent_goes_on_bit_for_bit(compiled: bool) -> None:
    agent, restored = (build(compiled=compiled) for _ in range(2))
    made = replay(40)
    for step in range(3):
        agent.after_step(made, Keys(0, "after_step", 0, step))
    file = io.BytesIO()
    torch.save(agent.state_dict(), file)
    restored.after_step(made, Keys(9, "after_step"))
    file.seek(0)
    restored.load_state_dict(torch.load(file, weights_only=True))
    for step in range(3, 6):
        for one in (agent, restored):
            one.after_step(made, Keys(0, "after_step", 0, step))
    assert distance(learnt(agent), learnt(restored)) == 0
    obs = torch.randn(1, OBS)
    actions = [one.act(obs, Keys(0, "act")("action"), explore=True) for one in (agent, restored)]
    assert torch.equal(*actions)


def test_compiled_updates_agree_with_eager_ones() -> None:
    eager, compiled = build(), build(compiled=True)
    for batch, _ in batches():
        ours, theirs = eager.update_model(batch), compiled.update_model(batch)
        for name, value in ours.items():
            assert float(value) == pytest.approx(float(theirs[name]), rel=1e-4, abs=1e-5)
    assert distance(learnt(eager), learnt(build())) > 0
    assert distance(learnt(eager), learnt(compiled)) < 1e-4


def test_the_same_keys_give_the_same_bytes_and_others_do_not() -> None:
    first, second, other = build(), build(), build(seed=8)
    assert distance(learnt(first), learnt(other)) > 0
    for agent in (first, second):
        agent.after_step(replay(30), Keys(0, "after_step"))
        torch.randn(3)  # torch's own generator is nobody's source
    assert distance(learnt(first), learnt(second)) == 0
    assert isinstance(first.model.dynamics, MLP)
