"""SAC against stable-baselines3 and against a slow reference: float64, 1e-9, three updates."""

from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import stable_baselines3 as sb3
import torch
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from torch import Tensor

from tests.agents.sac_parity import (
    ACTION,
    BATCH,
    OBS,
    UPDATES,
    batches,
    build,
    copy_actor,
    copy_mlp,
    distance,
    learnt,
    linears,
    named,
    of_actor,
    of_layers,
)
from tests.agents.sac_reference import (
    ACTOR_TERMS,
    COEFFICIENT_TERMS,
    CRITIC_TERMS,
    TARGET_TERMS,
    TERMS,
    SlowSAC,
)
from unirl_repro.agents.sac import SAC
from unirl_repro.hyperparameters import SACParameters

TOLERANCE = 1e-9
HIDDEN = (16, 12)
PUBLISHED: dict[str, Any] = {
    "hidden": HIDDEN,
    "batch_size": BATCH,
    "polyak": 0.1,
    "learning_rate": 1e-2,
}
RLPD = PUBLISHED | {
    "layer_norm": True,
    "entropy_in_target": False,
    "std_head": "softplus",
    "activation": "tanh",
    "update_at": "episode",
}
VARIANTS: dict[str, dict[str, Any]] = {
    "sac": PUBLISHED,
    "sac, fixed coefficient": PUBLISHED | {"entropy_coefficient": 0.2},
    "sac, clipped logarithm": PUBLISHED | {"log_std_min": -0.1, "log_std_max": 0.1},
    "sac, target entropy": PUBLISHED | {"target_entropy": -0.5, "initial_entropy_coefficient": 0.3},
    "layer norm alone": PUBLISHED | {"layer_norm": True},
    "no entropy in the target alone": PUBLISHED | {"entropy_in_target": False},
    "softplus alone": PUBLISHED | {"std_head": "softplus"},
    "tanh alone": PUBLISHED | {"activation": "tanh"},
    "sac_rlpd": RLPD,
    "sac_rlpd, fixed coefficient": RLPD | {"entropy_coefficient": 0.2},
    "sac_rlpd, bounded std": RLPD | {"std_head": "sigmoid", "sigma_max": 0.1},
}


@pytest.fixture(autouse=True)
def _double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("name", VARIANTS)
def test_three_updates_equal_the_slow_reference(name: str) -> None:
    parameters = SACParameters(**VARIANTS[name])
    assert disagreement(parameters, reference(parameters)) < TOLERANCE


RED = (
    [("sac", term) for term in TERMS]
    + [("sac, fixed coefficient", term) for term in TARGET_TERMS + CRITIC_TERMS + ACTOR_TERMS]
    + [("sac_rlpd", term) for term in TERMS if term != "target.entropy"]
    + [("sac, target entropy", term) for term in COEFFICIENT_TERMS]
)


@pytest.mark.parametrize("weight", [-1.0, 0.0], ids=["flipped", "dropped"])
@pytest.mark.parametrize(("name", "term"), RED)
def test_a_reference_with_another_loss_disagrees(name: str, term: str, weight: float) -> None:
    parameters = SACParameters(**VARIANTS[name])
    mutant = reference(parameters)
    mutant.weights[term] = weight
    assert disagreement(parameters, mutant) > 1e3 * TOLERANCE


@pytest.mark.parametrize(
    "change",
    [
        {"entropy_in_target": True},
        {"std_head": "exp"},
        {"activation": "relu"},
        {"discount": 0.98},
        {"polyak": 0.09},
        {"learning_rate": 1.1e-2},
        {"target_entropy": -0.5},
        {"entropy_coefficient": 1.0},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_reference_with_another_switch_disagrees(change: dict[str, Any]) -> None:
    parameters = SACParameters(**RLPD)
    other = SACParameters(**(RLPD | change))
    assert disagreement(parameters, reference(other)) > 1e3 * TOLERANCE


class LargerTarget(SlowSAC):
    def smaller(self, critics: list, obs: Tensor, action: Tensor) -> Tensor:
        first, second = (critic(torch.cat([obs, action], dim=1))[:, 0] for critic in critics)
        return torch.maximum(first, second)


class LastCriticAsTarget(SlowSAC):
    def move_targets(self) -> None:
        self.targets = self.critics


class FrozenTarget(SlowSAC):
    def move_targets(self) -> None:
        pass


class SkippedNormalisation(SlowSAC):
    def start_training(self) -> None:
        for layer in (layer for critic in self.critics for layer in critic):
            if isinstance(layer, torch.nn.LayerNorm):
                layer.register_forward_hook(lambda _, arguments, __: arguments[0])
        super().start_training()


def test_a_reference_that_skips_normalisation_disagrees() -> None:
    parameters = SACParameters(**RLPD)
    slow = reference(parameters, SkippedNormalisation)
    assert disagreement(parameters, slow) > 1e3 * TOLERANCE


@pytest.mark.parametrize("mutant", [LargerTarget, LastCriticAsTarget, FrozenTarget])
@pytest.mark.parametrize("name", ["sac", "sac_rlpd"])
def test_a_reference_with_another_target_disagrees(name: str, mutant: type[SlowSAC]) -> None:
    parameters = SACParameters(**VARIANTS[name])
    assert disagreement(parameters, reference(parameters, mutant)) > 1e3 * TOLERANCE


@pytest.mark.parametrize("coefficient", ["auto", "auto_0.3", 0.2])
def test_three_updates_equal_stable_baselines3(
    coefficient: str | float, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes: dict[str, Any] = (
        {} if isinstance(coefficient, str) else {"entropy_coefficient": coefficient}
    )
    if coefficient == "auto_0.3":
        changes = {"initial_entropy_coefficient": 0.3}
    agent = build(SACParameters(**PUBLISHED, **changes))
    peer = peer_of(agent, coefficient)
    feed(peer, monkeypatch)
    peer.train(gradient_steps=UPDATES, batch_size=BATCH)
    for batch, noise in batches():
        agent.update(batch, noise)
    assert distance(learnt(agent), learnt_by_peer(peer)) < TOLERANCE


def disagreement(parameters: SACParameters, slow: SlowSAC) -> float:
    """Largest difference of weights, coefficient and losses after three updates."""
    agent, losses = build(parameters), []
    for batch, noise in batches():
        ours, theirs = agent.update(batch, noise), slow.update(named(batch), *noise)
        losses += [abs(float(ours[name]) - theirs[name]) for name in theirs]
    nets = [of_actor(slow.trunk, slow.mean, slow.raw_std)]
    nets += [of_layers([net]) for net in (*slow.critics, *slow.targets)]
    return max(*losses, distance(learnt(agent), [*nets, slow.log_alpha.detach().reshape(1)]))


def reference(parameters: SACParameters, kind: type[SlowSAC] = SlowSAC) -> SlowSAC:
    """The slow reference with the weights that the agent starts from."""
    agent, slow = build(parameters), kind(parameters, OBS, ACTION)
    copy_actor(agent.actor.mlp, linears(slow.trunk), slow.mean, slow.raw_std)
    for member, critic in enumerate(slow.critics):
        copy_mlp(agent.critic, linears(critic), member)
    slow.start_training()
    return slow


class Spaces(gym.Env):
    """Nothing but the spaces, which are all that the peer's constructor looks at."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (OBS,), np.float32)
    action_space = gym.spaces.Box(-1, 1, (ACTION,), np.float32)


def peer_of(agent: SAC, coefficient: str | float) -> Any:
    """stable-baselines3's SAC with the agent's settings and weights, in float64."""
    p = agent.parameters
    peer: Any = sb3.SAC(
        "MlpPolicy",
        Spaces(),
        learning_rate=p.learning_rate,
        tau=p.polyak,
        gamma=p.discount,
        ent_coef=coefficient,
        buffer_size=1,
        policy_kwargs={"net_arch": list(p.hidden)},
        device="cpu",
    )
    peer.policy.double()
    # Its Jacobian has 1e-6 added inside the logarithm; ours is exact.
    peer.actor.action_dist.epsilon = 0.0
    if peer.ent_coef_optimizer is not None:
        peer.log_ent_coef = peer.log_ent_coef.detach().double().requires_grad_(True)
        peer.log_ent_coef.data.fill_(agent.log_alpha.item())
        peer.ent_coef_optimizer = torch.optim.Adam([peer.log_ent_coef], lr=p.learning_rate)
    else:
        peer.ent_coef_tensor = torch.tensor(float(coefficient))
    copy_actor(agent.actor.mlp, linears(peer.actor.latent_pi), peer.actor.mu, peer.actor.log_std)
    for critic in (peer.critic, peer.critic_target):
        for member, net in enumerate(critic.q_networks):
            copy_mlp(agent.critic, linears(net), member)
    peer.set_logger(Logger(folder=None, output_formats=[]))
    return peer


def feed(peer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the peer our batches and our noise, in the order in which it asks."""
    made = batches()
    samples = iter(
        [
            ReplayBufferSamples(
                b.obs, b.action, b.next_obs, b.terminated[:, None], b.reward[:, None]
            )
            for b, _ in made
        ]
    )
    draws = iter([noise for _, pair in made for noise in pair])
    monkeypatch.setattr(peer.replay_buffer, "sample", lambda *_, **__: next(samples))
    # It turns observations into float32.
    monkeypatch.setattr(
        "stable_baselines3.common.policies.preprocess_obs", lambda obs, *_, **__: obs
    )
    monkeypatch.setattr("torch.distributions.normal._standard_normal", lambda *_, **__: next(draws))


def learnt_by_peer(peer: Any) -> list[Tensor]:
    nets = [of_actor(peer.actor.latent_pi, peer.actor.mu, peer.actor.log_std)]
    for critic in (peer.critic, peer.critic_target):
        nets += [of_layers([net]) for net in critic.q_networks]
    if peer.log_ent_coef is not None:
        return [*nets, peer.log_ent_coef.detach().reshape(1)]
    return [*nets, peer.ent_coef_tensor.log().reshape(1)]
