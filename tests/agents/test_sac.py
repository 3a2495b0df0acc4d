"""SAC's hooks, state and forms: when it updates, what it saves, compiled and on a GPU."""

import io
from typing import Any

import pytest
import torch

from tests.agents.sac_parity import ACTION, CPU, OBS, batches, build, distance, learnt
from unirl_repro.agents.sac import SAC
from unirl_repro.hyperparameters import SACParameters
from unirl_repro.replay import Batch, Replay
from unirl_repro.rng import Keys

SMALL: dict[str, Any] = {"hidden": (16, 12), "batch_size": 32, "random_steps": 20}
FORMS: dict[str, dict[str, Any]] = {
    "sac": {},
    "fixed": {"entropy_coefficient": 0.2},
    "sac_rlpd": {"layer_norm": True, "entropy_in_target": False, "std_head": "softplus"},
    "bounded": {"std_head": "sigmoid", "sigma_max": 0.1, "activation": "tanh"},
}


def replay(added: int, device: torch.device = CPU) -> Replay:
    made = Replay(100, OBS, ACTION, device)
    generator = torch.Generator().manual_seed(3)
    for _ in range(added):
        obs, next_obs = torch.randn(2, OBS, generator=generator)
        action = torch.rand(ACTION, generator=generator) * 2 - 1
        made.add(obs, action, float(obs[0]), next_obs, terminated=bool(obs[1] > 1))
    return made


def updates_made(agent: SAC) -> int:
    return int(agent.critic_adam.steps)


@pytest.mark.parametrize(
    ("update_at", "hook", "expected"),
    [
        ("step", "after_step", 2),
        ("step", "before_episode", 0),
        ("step", "after_episode", 0),
        ("episode", "before_episode", 20),
        ("episode", "after_step", 0),
        ("episode", "after_episode", 0),
    ],
)
def test_each_hook_makes_its_number_of_updates(update_at: Any, hook: str, expected: int) -> None:
    parameters = SACParameters(**SMALL, update_at=update_at, updates_per_step=2)
    agent = build(parameters)  # a horizon of 10
    metrics = getattr(agent, hook)(replay(20), Keys(0, hook))
    assert updates_made(agent) == int(agent.actor_adam.steps) == expected
    assert bool(metrics) == bool(expected)


@pytest.mark.parametrize(
    ("random_steps", "added", "expected"), [(20, 19, 0), (20, 20, 1), (0, 0, 0), (0, 1, 1)]
)
def test_updates_begin_after_the_random_steps(random_steps: int, added: int, expected: int) -> None:
    agent = build(SACParameters(**SMALL | {"random_steps": random_steps}))
    agent.after_step(replay(added), Keys(0, "after_step"))
    assert updates_made(agent) == expected


def test_metrics_are_means_over_a_hooks_updates_and_hold_no_graph() -> None:
    once = build(SACParameters(**SMALL, polyak=0.5))
    thrice = build(SACParameters(**SMALL, polyak=0.5, updates_per_step=3))
    made, keys = replay(40), Keys(0, "after_step")
    rng, noise, rows = keys("batch"), keys("noise"), []
    for _ in range(3):
        batch = made.sample(32, rng)
        draws = torch.from_numpy(noise.standard_normal((2, 32, ACTION), dtype="float32"))
        rows.append(once.update(batch, draws))
    metrics = thrice.after_step(made, keys)
    assert distance(learnt(once), learnt(thrice)) == 0
    for name, value in metrics.items():
        assert isinstance(value, torch.Tensor)
        assert not value.requires_grad
        assert float(value) == pytest.approx(sum(float(row[name]) for row in rows) / 3, rel=1e-5)


def test_a_fixed_coefficient_stays() -> None:
    agent = build(SACParameters(**SMALL, entropy_coefficient=0.2))
    agent.after_step(replay(20), Keys(0, "after_step"))
    assert float(agent.log_alpha.exp()) == pytest.approx(0.2)


@pytest.mark.parametrize("target_entropy", [-50.0, 50.0])
def test_the_coefficient_follows_the_entropy_gap(target_entropy: float) -> None:
    agent = build(SACParameters(**SMALL, target_entropy=target_entropy))
    agent.after_step(replay(20), Keys(0, "after_step"))
    assert (float(agent.log_alpha.detach()) > 0) == (target_entropy > 0)


@pytest.mark.parametrize("form", FORMS)
def test_the_same_keys_give_the_same_bytes(form: str) -> None:
    first, second = (build(SACParameters(**SMALL, **FORMS[form])) for _ in range(2))
    for step in range(5):
        for agent in (first, second):
            agent.after_step(replay(30), Keys(0, "after_step", 0, step))
        torch.randn(3)  # torch's own generator is nobody's source
    assert distance(learnt(first), learnt(second)) == 0


def test_other_keys_give_other_weights_and_updates() -> None:
    agents = [build(SACParameters(**SMALL)) for _ in range(2)]
    for seed, agent in enumerate(agents):
        agent.after_step(replay(30), Keys(seed, "after_step"))
    assert distance(learnt(agents[0]), learnt(agents[1])) > 0
    other = SAC(
        SACParameters(**SMALL),
        OBS,
        ACTION,
        horizon=10,
        keys=Keys(8, "init"),
        device=CPU,
        compiled=False,
    )
    assert distance(learnt(build(SACParameters(**SMALL))), learnt(other)) > 0


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_a_restored_agent_goes_on_bit_for_bit(compiled: bool) -> None:
    parameters = SACParameters(**SMALL)
    agent, restored = (build(parameters, compiled=compiled) for _ in range(2))
    made = replay(40)
    for step in range(3):
        agent.after_step(made, Keys(0, "after_step", 0, step))
    file = io.BytesIO()
    torch.save(agent.state_dict(), file)
    # The one that is restored has updated before: its compiled code holds its own tensors.
    restored.after_step(made, Keys(9, "after_step"))
    file.seek(0)
    restored.load_state_dict(torch.load(file, weights_only=True))
    for step in range(3, 6):
        for one in (agent, restored):
            one.after_step(made, Keys(0, "after_step", 0, step))
    assert distance(learnt(agent), learnt(restored)) == 0
    assert flat_state(agent.state_dict()) == flat_state(restored.state_dict())


def flat_state(state: Any) -> list[Any]:
    if isinstance(state, torch.Tensor):
        return state.reshape(-1).tolist()
    values = state.values() if isinstance(state, dict) else state
    return [number for value in values for number in flat_state(value)]


def test_loading_refuses_another_networks_state() -> None:
    state = build(SACParameters(**SMALL)).state_dict()
    with pytest.raises(RuntimeError, match="size mismatch"):
        build(SACParameters(**SMALL | {"hidden": (8, 12)})).load_state_dict(state)


@pytest.mark.parametrize("form", ["sac", "sac_rlpd"])
def test_compiled_updates_agree_with_eager_ones(form: str) -> None:
    parameters = SACParameters(**SMALL, **FORMS[form])
    eager, compiled = build(parameters), build(parameters, compiled=True)
    for batch, noise in batches():
        ours, theirs = eager.update(batch, noise), compiled.update(batch, noise)
        for name, value in ours.items():
            assert float(value) == pytest.approx(float(theirs[name]), rel=1e-4, abs=1e-5)
    assert distance(learnt(eager), learnt(build(parameters))) > 0
    assert distance(learnt(eager), learnt(compiled)) < 1e-4


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_wide_networks_agree_with_themselves_in_float64(compiled: bool) -> None:
    """Their products take another library's way, which the parity tests' small ones do not."""
    parameters = SACParameters(hidden=(200, 200), batch_size=32)
    narrow = build(parameters, compiled=compiled)
    before = learnt(build(parameters))
    torch.set_default_dtype(torch.float64)
    try:
        wide = build(parameters)
    finally:
        torch.set_default_dtype(torch.float32)
    for batch, noise in batches():
        narrow.update(batch, noise)
        wide.update(Batch(*(field.double() for field in batch)), noise.double())
    assert distance(learnt(narrow), before) > 1e-4
    # Adam divides a gradient by its size, so where that is tiny rounding decides the step's sign.
    gaps = [(a.double() - b).abs() for a, b in zip(learnt(narrow), learnt(wide), strict=True)]
    assert all(float(gap.quantile(0.99)) < 1e-5 for gap in gaps)


def test_the_actors_critic_is_the_critic_also_after_loading() -> None:
    agent, other = build(SACParameters(**SMALL)), build(SACParameters(**SMALL))
    for step in range(2):
        agent.after_step(replay(30), Keys(0, "after_step", 0, step))
    other.load_state_dict(agent.state_dict())
    for one in (agent, other):
        pairs = zip(one.critic.parameters(), one.fixed_critic.parameters(), strict=True)
        assert all(a.data_ptr() == b.data_ptr() and not b.requires_grad for a, b in pairs)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU on this machine")
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_updates_on_a_gpu_agree_with_those_on_the_cpu(compiled: bool) -> None:
    parameters, cuda = SACParameters(**SMALL), torch.device("cuda")
    there, here = build(parameters, compiled=compiled, device=cuda), build(parameters)
    for (batch, noise), (batch_there, noise_there) in zip(batches(), batches(cuda), strict=True):
        here.update(batch, noise)
        there.update(batch_there, noise_there)
    assert distance(learnt(here), [tensor.cpu() for tensor in learnt(there)]) < 1e-3


def test_actions_lie_inside_the_box_and_explore_only_when_asked() -> None:
    agent, keys = build(SACParameters(**SMALL)), Keys(0, "act")
    obs = 10 * torch.randn(50, OBS)
    greedy = [agent.act(obs, Keys(seed, "act")("action"), explore=False) for seed in (0, 1)]
    explored = [agent.act(obs, keys("action"), explore=True) for _ in range(2)]
    assert torch.equal(*greedy)
    assert torch.equal(*explored)
    assert not torch.equal(explored[0], greedy[0])
    assert explored[0].shape == (50, ACTION)
    assert explored[0].abs().max() <= 1
    assert not explored[0].requires_grad
