"""DDPG's hooks, state and forms, and TD3's, which are the same: one update after each step."""

import io
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.agents.sac_parity import ACTION, CPU, OBS, batches, distance, of_mlp
from tests.agents.test_sac import flat_state, replay
from unirl_repro.agents.ddpg import DDPG
from unirl_repro.agents.td3 import TD3
from unirl_repro.hyperparameters import DDPGParameters, TD3Parameters
from unirl_repro.replay import Batch
from unirl_repro.rng import Keys, normal

SMALL: dict[str, Any] = {"hidden": (16, 12), "batch_size": 32, "random_steps": 20}
BOTH = pytest.mark.parametrize("name", ["ddpg", "td3"])
FORMS = pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])


def build(
    name: str,
    sizes: tuple[int, int] = (OBS, ACTION),
    *,
    seed: int = 7,
    compiled: bool = False,
    device=CPU,
    **changes: Any,
) -> Any:
    rest = {"horizon": 10, "keys": Keys(seed, "init"), "device": device, "compiled": compiled}
    if name == "ddpg":
        return DDPG(DDPGParameters(**SMALL | changes), *sizes, **rest)
    return TD3(TD3Parameters(**SMALL | changes), *sizes, **rest)


def learnt(agent: DDPG | TD3) -> list[Tensor]:
    """All that updates change: one flat vector a network."""
    members = (0, 1) if isinstance(agent, TD3) else (None,)
    networks = [of_mlp(actor.mlp) for actor in (agent.actor, agent.actor_target)]
    critics = (agent.critic, agent.critic_target)
    return networks + [of_mlp(critic, member) for critic in critics for member in members]


def update(agent: Any, batch: Batch, noise: Tensor) -> dict[str, Tensor]:
    return agent.update(batch) if isinstance(agent, DDPG) else agent.update(batch, noise)


@BOTH
@pytest.mark.parametrize(
    ("hook", "added", "expected"),
    [
        ("after_step", 19, 0),
        ("after_step", 20, 1),
        ("before_episode", 20, 0),
        ("after_episode", 20, 0),
    ],
)
def test_one_update_follows_each_step_after_the_random_ones(
    name: str, hook: str, added: int, expected: int
) -> None:
    agent = build(name)
    metrics = getattr(agent, hook)(replay(added), Keys(0, hook))
    assert int(agent.critic_adam.steps) == expected
    assert bool(metrics) == bool(expected)


@BOTH
def test_without_random_steps_it_waits_for_the_first(name: str) -> None:
    agent = build(name, random_steps=0)
    assert agent.after_step(replay(0), Keys(0, "after_step")) == {}
    assert agent.after_step(replay(1), Keys(0, "after_step"))


def test_ddpg_moves_every_network_at_every_update() -> None:
    agent = build("ddpg")
    for step in range(2):
        before = [network.clone() for network in learnt(agent)]
        metrics = agent.after_step(replay(20), Keys(0, "after_step", 0, step))
        assert all(distance([a], [b]) > 0 for a, b in zip(before, learnt(agent), strict=True))
        assert set(metrics) == {"critic_loss", "q"}


@BOTH
def test_metrics_are_scalars_that_hold_no_graph(name: str) -> None:
    agent = build(name)
    for step in range(2):
        metrics = agent.after_step(replay(20), Keys(0, "after_step", 0, step))
    assert all(value.ndim == 0 and not value.requires_grad for value in metrics.values())


@BOTH
def test_the_same_keys_give_the_same_bytes(name: str) -> None:
    first, second = build(name), build(name)
    for step in range(5):
        for agent in (first, second):
            agent.after_step(replay(30), Keys(0, "after_step", 0, step))
        torch.randn(3)  # torch's own generator is nobody's source
    assert distance(learnt(first), learnt(second)) == 0


@BOTH
def test_other_keys_give_other_weights_and_updates(name: str) -> None:
    pairs = zip(learnt(build(name)), learnt(build(name, seed=8)), strict=True)
    assert all(distance([a], [b]) > 0 for a, b in pairs)
    agents = [build(name) for _ in range(2)]
    for seed, agent in enumerate(agents):
        agent.after_step(replay(30), Keys(seed, "after_step"))
    assert distance(learnt(agents[0]), learnt(agents[1])) > 0


@BOTH
@FORMS
def test_a_restored_agent_goes_on_bit_for_bit(name: str, compiled: bool) -> None:
    agent, restored = (build(name, compiled=compiled) for _ in range(2))
    made = replay(40)
    for step in range(3):
        agent.after_step(made, Keys(0, "after_step", 0, step))
    file = io.BytesIO()
    torch.save(agent.state_dict(), file)
    # The one that is restored has made two updates: of TD3's next, its own count would be wrong.
    for step in range(2):
        restored.after_step(made, Keys(9, "after_step", 0, step))
    file.seek(0)
    restored.load_state_dict(torch.load(file, weights_only=True))
    for step in range(3, 6):
        for one in (agent, restored):
            one.after_step(made, Keys(0, "after_step", 0, step))
    assert distance(learnt(agent), learnt(restored)) == 0
    assert _flat(agent.state_dict()) == _flat(restored.state_dict())


def _flat(state: dict[str, Any]) -> list[Any]:
    """Numbers of a state in which some are no tensors."""
    return flat_state(
        {
            name: torch.tensor(value) if isinstance(value, int) else value
            for name, value in state.items()
        }
    )


@BOTH
def test_loading_refuses_another_networks_state(name: str) -> None:
    with pytest.raises(RuntimeError, match="size mismatch"):
        build(name, hidden=(8, 12)).load_state_dict(build(name).state_dict())


@BOTH
def test_compiled_updates_agree_with_eager_ones(name: str) -> None:
    eager, compiled = build(name), build(name, compiled=True)
    for batch, noise in batches():
        ours, theirs = (update(one, batch, noise[0]) for one in (eager, compiled))
        for key, value in ours.items():
            assert float(value) == pytest.approx(float(theirs[key]), rel=1e-4, abs=1e-5)
    assert distance(learnt(eager), learnt(build(name))) > 1e-4
    assert distance(learnt(eager), learnt(compiled)) < 1e-4


@pytest.mark.parametrize(
    ("name", "compiled"),
    [("ddpg", False), ("td3", False), ("td3", True)],
    ids=["ddpg eager", "td3 eager", "td3 compiled"],
)
def test_wide_networks_agree_with_themselves_in_float64(name: str, compiled: bool) -> None:
    """Their products take another library's way, which the parity tests' small ones do not."""
    narrow = build(name, hidden=(200, 200), compiled=compiled)
    torch.set_default_dtype(torch.float64)
    try:
        wide = build(name, hidden=(200, 200))
    finally:
        torch.set_default_dtype(torch.float32)
    before = learnt(build(name, hidden=(200, 200)))
    for batch, noise in batches():
        update(narrow, batch, noise[0])
        update(wide, Batch(*(field.double() for field in batch)), noise[0].double())
    assert distance(learnt(narrow), before) > 1e-4
    # Adam divides a gradient by its size, so where that is tiny rounding decides the step's sign.
    gaps = [(a.double() - b).abs() for a, b in zip(learnt(narrow), learnt(wide), strict=True)]
    assert all(float(gap.quantile(0.99)) < 1e-5 for gap in gaps)


@BOTH
def test_the_actors_critic_is_the_critic_also_after_loading(name: str) -> None:
    agent, other = build(name), build(name)
    for step in range(2):
        agent.after_step(replay(30), Keys(0, "after_step", 0, step))
    other.load_state_dict(agent.state_dict())
    x = torch.randn(9, OBS + ACTION)
    for one in (agent, other):
        if isinstance(one, TD3):
            climbed, expected = one.first_critic, one.critic(x.expand(2, -1, -1))[0]
        else:
            climbed, expected = one.fixed_critic, one.critic(x)
        assert torch.allclose(climbed(x), expected, atol=1e-6)
        assert not any(parameter.requires_grad for parameter in climbed.parameters())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU on this machine")
@BOTH
@FORMS
def test_updates_on_a_gpu_agree_with_those_on_the_cpu(name: str, compiled: bool) -> None:
    cuda = torch.device("cuda")
    there, here = build(name, compiled=compiled, device=cuda), build(name)
    for (batch, noise), (batch_there, noise_there) in zip(batches(), batches(cuda), strict=True):
        update(here, batch, noise[0])
        update(there, batch_there, noise_there[0])
    assert distance(learnt(here), [tensor.cpu() for tensor in learnt(there)]) < 1e-3


@BOTH
def test_exploration_adds_noise_inside_the_box_only_when_asked(name: str) -> None:
    agent, obs = build(name, exploration_noise=0.5), 10 * torch.randn(50, OBS)
    greedy = [agent.act(obs, Keys(seed, "act")("action"), explore=False) for seed in (0, 1)]
    explored = agent.act(obs, Keys(0, "act")("action"), explore=True)
    noise = normal(Keys(0, "act")("action"), 50, ACTION, like=obs)
    assert torch.equal(*greedy)
    assert torch.equal(explored, (greedy[0] + 0.5 * noise).clamp(-1, 1))
    assert (explored.abs() == 1).any()
    assert not explored.requires_grad
