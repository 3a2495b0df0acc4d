"""ALM's hooks, state, windows and noise: when it updates, what it saves, compiled and on a GPU."""

import io
from typing import Any, Literal

import numpy as np
import pytest
import torch
from scipy import stats

from tests.agents.test_alm_reference import ACTION, OBS, distance, draws, learnt, moved
from unirl_repro.agents.alm import ALM
from unirl_repro.hyperparameters import ALMParameters
from unirl_repro.replay import Batch, Replay
from unirl_repro.rng import Keys

CPU = torch.device("cpu")
SMALL: dict[str, Any] = {
    "latent": 4,
    "hidden": 16,
    "model_hidden": 12,
    "batch_size": 32,
    "random_steps": 20,
    "learning_rate": 1e-3,
}


def build(*, seed: int = 7, compiled: bool = False, device: torch.device = CPU, **changes) -> ALM:
    parameters, keys = ALMParameters(**SMALL | changes), Keys(seed, "init")
    sizes: dict[str, Any] = {"horizon": 10, "keys": keys, "device": device, "compiled": compiled}
    return ALM(parameters, OBS, ACTION, **sizes)


def add(replay: Replay, count: int, *, terminated: bool = False) -> None:
    """Transitions, of which the last may be the end of an episode."""
    generator = torch.Generator().manual_seed(replay.added)
    for step in range(count):
        obs, next_obs = torch.randn(2, OBS, generator=generator)
        action = torch.rand(ACTION, generator=generator) * 2 - 1
        replay.add(obs, action, float(obs[0]), next_obs, terminated and step == count - 1)


def replay(added: int) -> Replay:
    made = Replay(100, OBS, ACTION)
    add(made, added)
    return made


def updates_made(agent: ALM) -> list[int]:
    adams = (agent.model_adam, agent.reward_adam, agent.critic_adam, agent.actor_adam)
    return [int(adam.steps) for adam in adams]


@pytest.mark.parametrize(
    ("hook", "expected"), [("after_step", 1), ("before_episode", 0), ("after_episode", 0)]
)
def test_it_makes_one_update_of_everything_after_each_step(hook: str, expected: int) -> None:
    agent = build()
    before = learnt(agent)
    metrics = getattr(agent, hook)(replay(20), Keys(0, hook))
    assert updates_made(agent) == [expected] * 4
    assert bool(metrics) == bool(expected)
    assert all(np.isfinite(float(value)) for value in metrics.values())
    moved = [not torch.equal(a, b) for a, b in zip(before, learnt(agent), strict=True)]
    assert moved == [bool(expected)] * len(moved)  # every network, the targets too


@pytest.mark.parametrize(
    ("random_steps", "added", "expected"),
    [(20, 19, 0), (20, 20, 1), (0, 0, 0), (0, 2, 0), (0, 3, 1)],
)
def test_updates_begin_after_the_random_steps_when_there_is_a_window(
    random_steps: int, added: int, expected: int
) -> None:
    agent = build(random_steps=random_steps)
    agent.after_step(replay(added), Keys(0, "after_step"))
    assert updates_made(agent) == [expected] * 4


@pytest.mark.parametrize(
    ("windows", "terminated", "expected"),
    [("across", False, 18), ("across", True, 16), ("inside", False, 16), ("inside", True, 16)],
)
def test_windows_cross_time_outs_only_as_published(
    windows: Literal["across", "inside"], terminated: bool, expected: int
) -> None:
    agent, made, seen = build(windows=windows), replay(0), []
    update = agent.update

    def watched(windows, *rest):
        seen.append(windows)
        return update(windows, *rest)

    agent.update = watched  # type: ignore[method-assign]
    add(made, 10, terminated=terminated)
    agent.after_episode(made, Keys(0, "after_episode"))
    add(made, 10)
    for step in range(20):
        agent.after_step(made, Keys(0, "after_step", 1, step))
    rows = torch.cat([windows.obs for windows in seen])
    # Transition 8 and 9 are one and two steps before the other episode's third.
    starts = {int((made.obs == obs).all(1).nonzero()) for obs in rows}
    assert starts == set(range(18)) - ({8, 9} if expected == 16 else set())


def test_ends_that_left_the_ring_are_forgotten() -> None:
    agent, made = build(windows="inside"), Replay(25, OBS, ACTION)
    for _ in range(6):
        add(made, 10)
        agent.after_episode(made, Keys(0, "after_episode"))
    assert agent.ends.tolist() == [39, 49, 59]  # transitions 35 to 59 are left


def test_exploration_falls_linearly_from_the_last_random_step_on() -> None:
    agent, made = build(noise_steps=40, initial_noise=0.9, final_noise=0.1), replay(0)
    stds = []
    for _ in range(12):
        add(made, 10)
        metrics = agent.after_step(made, Keys(0, "after_step", 0, made.added))
        stds.append(float(metrics.get("noise_std", torch.nan)))
    expected = [0.9, 0.7, 0.5, 0.3] + [0.1] * 7
    np.testing.assert_allclose(stds, [np.nan, *expected], rtol=1e-6)


def saturated(agent: ALM, mean: float) -> ALM:
    """With a policy whose action is `mean` everywhere."""
    agent.actor.head.weight.data.zero_()
    agent.actor.head.bias.data.fill_(float(np.arctanh(mean)))
    return agent


@pytest.mark.parametrize("mean", [0.0, 0.8])
def test_exploration_is_a_normal_distribution_clipped_to_the_box(mean: float) -> None:
    agent = saturated(build(initial_noise=0.5), mean)
    drawn = agent.act(torch.zeros(20_000, OBS), Keys(0, "act")("action"), explore=True)
    actions, bound = drawn.double().flatten().numpy(), 1 - 1e-6
    assert np.abs(actions).max() == pytest.approx(bound)
    at_bound = (actions > 1 - 1e-5).mean()
    assert at_bound == pytest.approx(stats.norm.sf(bound, mean, 0.5), abs=0.01)
    inner = actions[np.abs(actions) < 1 - 1e-5]
    a, b = (-bound - mean) / 0.5, (bound - mean) / 0.5
    assert stats.kstest(inner, stats.truncnorm(a, b, mean, 0.5).cdf).pvalue > 1e-3
    assert stats.kstest(inner, stats.truncnorm(a, b, mean, 0.55).cdf).pvalue < 1e-3


def test_noise_in_updates_is_clipped_before_it_is_added() -> None:
    agent = saturated(build(noise_clip=0.3), 0.2)
    noise = torch.randn(20_000, ACTION, generator=torch.Generator().manual_seed(0))
    actions = agent._policy(torch.zeros(20_000, 4), noise, torch.tensor(0.5)).detach()
    np.testing.assert_allclose([actions.min(), actions.max()], [-0.1, 0.5], rtol=1e-5)
    at_bound = float((actions > 0.5 - 1e-5).double().mean())
    assert at_bound == pytest.approx(stats.norm.sf(0.3 / 0.5), abs=0.01)


def test_actions_lie_inside_the_box_and_explore_only_when_asked() -> None:
    agent, keys = build(), Keys(0, "act")
    obs = 10 * torch.randn(50, OBS, generator=torch.Generator().manual_seed(0))
    greedy = [agent.act(obs, Keys(seed, "act")("action"), explore=False) for seed in (0, 1)]
    explored = [agent.act(obs, keys("action"), explore=True) for _ in range(2)]
    assert torch.equal(*greedy)
    assert torch.equal(*explored)
    assert not torch.equal(explored[0], greedy[0])
    assert explored[0].shape == (50, ACTION)
    assert explored[0].abs().max() <= 1
    assert not explored[0].requires_grad


def test_the_same_keys_give_the_same_bytes_and_others_do_not() -> None:
    agents, made = [build(), build(), build(seed=8)], replay(40)
    for step in range(3):
        for agent in agents:
            agent.after_step(made, Keys(0, "after_step", 0, step))
        torch.randn(3)  # torch's own generator is nobody's source
    assert distance(learnt(agents[0]), learnt(agents[1])) == 0
    assert distance(learnt(agents[0]), learnt(agents[2])) > 0
    agents[0].after_step(made, Keys(1, "after_step"))
    agents[1].after_step(made, Keys(2, "after_step"))
    assert distance(learnt(agents[0]), learnt(agents[1])) > 0


def test_a_restored_agent_goes_on_bit_for_bit() -> None:
    agent, restored = (build(windows="inside") for _ in range(2))
    made = replay(24)

    def step(one: ALM, number: int) -> None:
        one.after_step(made, Keys(0, "after_step", 0, number))

    step(agent, 0)
    agent.after_episode(made, Keys(0, "after_episode"))
    add(made, 5)
    step(agent, 1)
    file = io.BytesIO()
    torch.save(agent.state_dict(), file)
    restored.after_step(made, Keys(9, "after_step"))
    file.seek(0)
    restored.load_state_dict(torch.load(file, weights_only=True))
    acts = [
        one.act(made.obs[:9], Keys(0, "act")("action"), explore=True) for one in (agent, restored)
    ]
    assert torch.equal(*acts)
    for number in range(2, 5):
        add(made, 3)
        for one in (agent, restored):
            step(one, number)
            one.after_episode(made, Keys(0, "after_episode"))
    assert distance(learnt(agent), learnt(restored)) == 0
    assert flat_state(agent.state_dict()) == flat_state(restored.state_dict())


def flat_state(state: Any) -> list[Any]:
    if isinstance(state, torch.Tensor):
        return state.reshape(-1).tolist()
    if isinstance(state, int):
        return [state]
    values = state.values() if isinstance(state, dict) else state
    return [number for value in values for number in flat_state(value)]


def test_loading_leaves_no_memory_in_common() -> None:
    agent, other, made = build(windows="inside"), build(), replay(30)
    agent.after_episode(made, Keys(0, "after_episode"))
    other.load_state_dict(agent.state_dict())
    before = flat_state(agent.state_dict())
    other.after_step(made, Keys(0, "after_step"))
    other.after_episode(made, Keys(0, "after_episode"))
    assert flat_state(agent.state_dict()) == before
    for one in (agent, other):
        for name in ("model", "reward", "classifier", "critic"):
            fixed = getattr(one, f"fixed_{name}")
            pairs = zip(getattr(one, name).parameters(), fixed.parameters(), strict=True)
            assert all(a.data_ptr() == b.data_ptr() and not b.requires_grad for a, b in pairs)


def test_loading_refuses_another_networks_state() -> None:
    with pytest.raises(RuntimeError, match="size mismatch"):
        build(latent=3).load_state_dict(build().state_dict())


@pytest.mark.full
@pytest.mark.timeout(1200)  # three graphs to compile: alone on a core, a minute or two
def test_compiled_updates_agree_with_eager_ones_and_go_on_after_loading() -> None:
    eager, compiled = build(), build(compiled=True)
    for made in draws(eager.parameters):
        # Another noise at each update: the compiled code must not hold the first one's.
        std = torch.tensor(0.4 - 0.1 * float(eager.model_adam.steps))
        saved = io.BytesIO()
        torch.save(compiled.state_dict(), saved)
        ours, theirs = eager.update(*made, std), compiled.update(*made, std)
        for name, value in ours.items():
            assert float(value) == pytest.approx(float(theirs[name]), rel=1e-3, abs=1e-4)
    assert distance(learnt(eager), learnt(build())) > 1e-3
    assert distance(learnt(eager), learnt(compiled)) < 1e-4
    # The compiled code holds tensors: the loaded weights must be in these.
    once = learnt(compiled)
    saved.seek(0)
    compiled.load_state_dict(torch.load(saved, weights_only=True))
    assert distance(learnt(compiled), once) > 1e-4
    compiled.update(*made, std)
    assert distance(learnt(compiled), once) == 0


def test_wide_networks_agree_with_themselves_in_float64() -> None:
    """Their products take another library's way, which the parity tests' small ones do not."""
    sizes: dict[str, Any] = {"hidden": 200, "model_hidden": 200, "batch_size": 32}
    narrow = build(**sizes)
    torch.set_default_dtype(torch.float64)
    try:
        wide = build(**sizes)
    finally:
        torch.set_default_dtype(torch.float32)
    std = torch.tensor(0.4)
    for made in draws(narrow.parameters):
        narrow.update(*made, std)
        wide.update(*moved(made, torch.Tensor.double), std.double())
    assert distance(learnt(narrow), learnt(build(**sizes))) > 1e-3
    # Adam divides a gradient by its size, so where that is tiny rounding decides the step's sign.
    gaps = [(a.double() - b).abs() for a, b in zip(learnt(narrow), learnt(wide), strict=True)]
    assert all(float(gap.quantile(0.99)) < 1e-4 for gap in gaps)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU on this machine")
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_updates_on_a_gpu_agree_with_those_on_the_cpu(compiled: bool) -> None:
    cuda = torch.device("cuda")
    there, here = build(compiled=compiled, device=cuda), build()
    std = torch.tensor(0.4)
    for made in draws(here.parameters):
        here.update(*made, std)
        there.update(*moved(made, torch.Tensor.cuda), std.cuda())
    assert distance(learnt(here), [tensor.cpu() for tensor in learnt(there)]) < 1e-3


def test_an_unfinished_number_in_a_batch_shows_in_the_metrics() -> None:
    """The loop stops a run at such a number; clipping must not hide it."""
    agent = build()
    windows, batch, noise = draws(agent.parameters)[0]
    reward = torch.full_like(batch.reward, torch.inf)
    broken = Batch(*batch)._replace(reward=reward)
    for _ in range(2):
        metrics = agent.update(windows, broken, noise, torch.tensor(0.4))
    assert not all(np.isfinite(float(value)) for value in metrics.values())
