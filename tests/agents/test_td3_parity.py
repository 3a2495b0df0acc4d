"""TD3 and DDPG against stable-baselines3 and its mutants: float64, 1e-9, six updates."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import stable_baselines3 as sb3
import torch
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from torch import Tensor

from tests.agents.sac_parity import BATCH, batches, copy_mlp, distance, linears, of_layers
from tests.agents.test_ddpg import build, learnt, update
from tests.agents.test_sac_parity import Spaces
from unirl_repro.agents.ddpg import DDPG
from unirl_repro.agents.td3 import TD3

TOLERANCE = 1e-9
DDPG_SETTINGS: dict[str, Any] = {"discount": 0.9, "polyak": 0.1, "learning_rate": 1e-2}
# So much noise that it is clipped, and that actions leave the box.
TD3_SETTINGS = DDPG_SETTINGS | {"target_noise": 1.0, "target_noise_clip": 1.2}
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "ddpg": ("ddpg", DDPG_SETTINGS),
    "td3": ("td3", TD3_SETTINGS),
    "td3, no delay": ("td3", TD3_SETTINGS | {"policy_delay": 1}),
    "td3, delay of three": ("td3", TD3_SETTINGS | {"policy_delay": 3}),
    "td3, no smoothing": ("td3", TD3_SETTINGS | {"target_noise": 0.0}),
    "td3, as published": ("td3", {}),
}
Mutant = Callable[[Any, pytest.MonkeyPatch], None]


@pytest.fixture(autouse=True)
def _double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("variant", VARIANTS)
def test_six_updates_equal_stable_baselines3(variant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, settings = VARIANTS[variant]
    agent = build(name, **settings)
    assert disagreement(agent, peer_of(agent), monkeypatch) < TOLERANCE


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("td3", {"target_noise": 0.0}),
        ("td3", {"target_noise_clip": 1.5}),
        ("td3", {"policy_delay": 1}),
        ("td3", {"policy_delay": 3}),
        *(
            (name, {key: value})
            for name in ("ddpg", "td3")
            for key, value in {"discount": 0.89, "polyak": 0.09, "learning_rate": 1.1e-2}.items()
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else value,
)
def test_a_peer_with_another_setting_disagrees(
    name: str, change: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = VARIANTS[name][1]
    agent, peer = build(name, **settings), peer_of(build(name, **settings | change))
    assert disagreement(agent, peer, monkeypatch) > 1e3 * TOLERANCE


def larger_target(peer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "min", torch.max)


def second_critic_climbed(peer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    peer.critic.q1_forward = lambda obs, action: peer.critic(obs, action)[1]


def smoothing_out_of_the_box(peer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    clamp = torch.Tensor.clamp
    monkeypatch.setattr(
        torch.Tensor, "clamp", lambda x, low, high: x if high == 1 else clamp(x, low, high)
    )


def frozen_targets(peer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stable_baselines3.td3.td3.polyak_update", lambda *_: None)


def target_of_the_actor(peer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    peer.actor_target = peer.actor


def endless_episodes(peer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sample = peer.replay_buffer.sample

    def without_ends(*_: Any, **__: Any) -> ReplayBufferSamples:
        batch = sample()
        return batch._replace(dones=torch.zeros_like(batch.dones))

    monkeypatch.setattr(peer.replay_buffer, "sample", without_ends)


MUTANTS: dict[str, list[Mutant]] = {
    "ddpg": [frozen_targets, target_of_the_actor, endless_episodes],
    "td3": [
        larger_target,
        second_critic_climbed,
        smoothing_out_of_the_box,
        frozen_targets,
        target_of_the_actor,
        endless_episodes,
    ],
}


@pytest.mark.parametrize(
    ("name", "mutant"),
    [(name, mutant) for name, mutants in MUTANTS.items() for mutant in mutants],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_mutant_of_the_peer_disagrees(
    name: str, mutant: Mutant, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = build(name, **VARIANTS[name][1])
    assert disagreement(agent, peer_of(agent), monkeypatch, mutant) > 1e3 * TOLERANCE


def disagreement(
    agent: DDPG | TD3, peer: Any, monkeypatch: pytest.MonkeyPatch, mutant: Mutant | None = None
) -> float:
    """Largest difference of weights and mean losses after six updates."""
    made = batches() * 2
    rows = [update(agent, batch, noise[0]) for batch, noise in made]
    feed(peer, made, monkeypatch)
    if mutant is not None:
        mutant(peer, monkeypatch)
    peer.train(gradient_steps=len(made), batch_size=BATCH)
    losses = peer.logger.name_to_value
    gaps = [
        mean([row["critic_loss"] for row in rows]) - losses["train/critic_loss"],
        mean([row["q"] for row in rows if "q" in row]) + losses["train/actor_loss"],
    ]
    return max(distance(learnt(agent), learnt_by_peer(peer)), *map(abs, gaps))


def mean(values: list[Tensor]) -> float:
    return float(torch.stack(values).mean())


def peer_of(agent: DDPG | TD3) -> Any:
    """stable-baselines3's form with the agent's settings and weights, in float64."""
    p = agent.parameters
    settings: dict[str, Any] = {
        "learning_rate": p.learning_rate,
        "tau": p.polyak,
        "gamma": p.discount,
        "buffer_size": 1,
        "policy_kwargs": {"net_arch": list(p.hidden)},
        "device": "cpu",
    }
    if isinstance(agent, TD3):
        settings["policy_delay"] = agent.parameters.policy_delay
        settings["target_policy_noise"] = agent.parameters.target_noise
        settings["target_noise_clip"] = agent.parameters.target_noise_clip
    peer: Any = (sb3.TD3 if isinstance(agent, TD3) else sb3.DDPG)("MlpPolicy", Spaces(), **settings)
    peer.policy.double()
    for actor in (peer.actor, peer.actor_target):
        copy_mlp(agent.actor.mlp, linears(actor))
    for critic in (peer.critic, peer.critic_target):
        for member, net in enumerate(critic.q_networks):
            copy_mlp(agent.critic, linears(net), member if isinstance(agent, TD3) else None)
    peer.set_logger(Logger(folder=None, output_formats=[]))
    return peer


def feed(peer: Any, made: list, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the peer our batches and our noise, in the order in which it asks."""
    samples = iter(
        [
            ReplayBufferSamples(
                b.obs, b.action, b.next_obs, b.terminated[:, None], b.reward[:, None]
            )
            for b, _ in made
        ]
    )
    draws = iter([noise[0] for _, noise in made])
    monkeypatch.setattr(peer.replay_buffer, "sample", lambda *_, **__: next(samples))
    # It turns observations into float32.
    monkeypatch.setattr(
        "stable_baselines3.common.policies.preprocess_obs", lambda obs, *_, **__: obs
    )
    monkeypatch.setattr(torch.Tensor, "normal_", lambda x, mean, std: x.copy_(std * next(draws)))


def learnt_by_peer(peer: Any) -> list[Tensor]:
    networks = [of_layers([actor]) for actor in (peer.actor, peer.actor_target)]
    critics = (peer.critic, peer.critic_target)
    return networks + [of_layers([net]) for critic in critics for net in critic.q_networks]
