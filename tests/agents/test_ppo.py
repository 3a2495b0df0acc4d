"""PPO's hooks, state and forms: when it updates, what it saves, compiled and on a GPU."""

import io
from dataclasses import replace
from typing import Any

import pytest
import torch

from tests.agents.sac_parity import ACTION, CPU, OBS, distance
from unirl_repro.agents.ppo import PPO, Samples, advantages
from unirl_repro.checkpoint import Checkpoint
from unirl_repro.config import RunSpec
from unirl_repro.envs.tasks import TASKS
from unirl_repro.hyperparameters import PPOParameters
from unirl_repro.loop import Trainer
from unirl_repro.replay import Batch, Replay
from unirl_repro.rng import Keys

SMALL: dict[str, Any] = {"hidden": (16, 12), "num_steps": 32, "batch_size": 16, "epochs": 3}
FORMS: dict[str, dict[str, Any]] = {
    "plain": {},
    "normalised": {"normalise": True},
    "tuned": {"activation": "relu", "orthogonal": False, "entropy_coefficient": 0.01},
}


def build(
    parameters: PPOParameters, *, seed: int = 7, compiled: bool = False, device: Any = CPU
) -> PPO:
    keys = Keys(seed, "init")
    sizes = {"horizon": 10, "keys": keys, "device": device, "compiled": compiled}
    return PPO(parameters, OBS, ACTION, **sizes)


def collect(
    agent: PPO,
    steps: int,
    *,
    seed: int = 0,
    replay: Replay | None = None,
    told: list[Any] | None = None,
) -> Replay:
    """So many steps more of episodes that end after 10, every other one by itself.

    Metrics of the updates are `told`.
    """
    replay = Replay(32, OBS, ACTION, agent.log_std.device) if replay is None else replay
    generator = torch.Generator().manual_seed(3 + replay.added)
    for step in range(replay.added, replay.added + steps):
        obs, next_obs = torch.randn(2, OBS, generator=generator).to(replay.obs.device)
        keys = Keys(seed, "act", 0, step)
        action = agent.act(obs[None], keys("action"), explore=True)[0]
        ended = step % 10 == 9
        replay.add(obs, action, float(obs[0]), next_obs, terminated=ended and step % 20 == 9)
        metrics = agent.after_step(replay, Keys(seed, "after_step", 0, step))
        if metrics and told is not None:
            told.append(metrics)
        if ended:
            agent.after_episode(replay, Keys(seed, "after_episode", 0, step))
    return replay


def batches(device: Any = CPU) -> list[Samples]:
    generator = torch.Generator().manual_seed(5)
    shapes = ((16, OBS), (16, ACTION), (16,), (16,), (16,))
    return [
        Samples(*(torch.randn(shape, generator=generator).to(device) for shape in shapes))
        for _ in range(3)
    ]


def learnt(agent: PPO) -> list[torch.Tensor]:
    return [tensor.detach().clone() for tensor in agent.variables]


def flat_state(state: Any) -> list[Any]:
    if isinstance(state, torch.Tensor):
        return state.reshape(-1).tolist()
    if isinstance(state, int | float):
        return [state]
    values = state.values() if isinstance(state, dict) else state
    return [number for value in values for number in flat_state(value)]


@pytest.mark.parametrize(("steps", "expected"), [(31, 0), (32, 6), (33, 6), (63, 6), (64, 12)])
def test_a_full_window_makes_its_epochs_of_updates(steps: int, expected: int) -> None:
    agent = build(PPOParameters(**SMALL))
    replay = collect(agent, steps)
    assert int(agent.adam.steps) == expected
    for hook in ("before_episode", "after_episode"):
        assert not getattr(agent, hook)(replay, Keys(0, hook))
    assert int(agent.adam.steps) == expected


def test_each_epoch_takes_every_step_of_the_window_once_in_an_order_of_its_own() -> None:
    agent = build(PPOParameters(**SMALL))
    rows = torch.arange(32.0)
    samples = Samples(rows[:, None].expand(32, OBS), rows[:, None].expand(32, ACTION), *[rows] * 3)
    made = list(agent._batches(samples, Keys(0, "after_step")("batch")))
    assert [len(batch.obs) for batch in made] == [16] * 6
    epochs = [torch.cat([made[i].returns, made[i + 1].returns]) for i in (0, 2, 4)]
    assert all(torch.equal(epoch.sort().values, rows) for epoch in epochs)
    assert len({tuple(epoch.tolist()) for epoch in epochs}) == 3
    for batch in made:
        assert torch.equal(batch.obs[:, 0], batch.action[:, 0])
        assert torch.equal(batch.obs[:, 0], batch.advantage)


def test_metrics_are_means_over_the_updates_and_hold_no_graph() -> None:
    agent, other = build(PPOParameters(**SMALL)), build(PPOParameters(**SMALL))
    samples = Samples(*(torch.cat(parts) for parts in zip(*batches()[:2], strict=True)))
    metrics = agent._updates(samples, Keys(0, "after_step")("batch"))
    rows = [other.update(b) for b in other._batches(samples, Keys(0, "after_step")("batch"))]
    assert len(rows) == 6
    assert distance(learnt(agent), learnt(other)) == 0
    for name, value in metrics.items():
        assert isinstance(value, torch.Tensor)
        assert not value.requires_grad
        assert float(value) == pytest.approx(sum(float(row[name]) for row in rows) / 6, rel=1e-5)


def test_a_windows_first_update_has_ratios_of_one() -> None:
    told: list[Any] = []
    collect(build(PPOParameters(**SMALL | {"epochs": 1, "batch_size": 32})), 64, told=told)
    assert len(told) == 2
    for metrics in told:
        assert float(metrics["kl"]) == pytest.approx(0, abs=1e-6)
        assert float(metrics["clip_fraction"]) == 0
        assert float(metrics["policy_loss"]) == pytest.approx(0, abs=1e-6)  # advantages' mean


def test_advantages_have_their_closed_forms() -> None:
    reward, value = torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor([0.5, -1.0, 2.0, 8.0])
    ended, beyond = torch.tensor([0.0, 1.0, 0.0, 0.0]), torch.tensor([9.0, 10.0, 9.0, 20.0])
    parts = (reward, value, ended, beyond)
    one_step = advantages(*parts, discount=0.5, trace_decay=0.0)
    assert one_step.tolist() == [1 - 0.5 - 0.5, 2 + 5 + 1, 3 + 4 - 2, 4 + 10 - 8]
    whole = advantages(*parts, discount=0.5, trace_decay=1.0)
    assert whole.tolist() == [1 + 1 + 2.5 - 0.5, 2 + 5 + 1, 3 + 2 + 5 - 2, 4 + 10 - 8]


def test_only_a_true_end_has_no_value_beyond_it() -> None:
    agent = build(PPOParameters(**SMALL))
    with torch.no_grad():
        agent.critic.head.bias.fill_(50.0)
    replay, window = collect(agent, 31), agent.window
    assert window.ended.nonzero().flatten().tolist() == [9, 19, 29]
    assert window.beyond[[9, 29]].tolist() == [0, 0]  # terminated
    assert window.beyond[19] > 40  # truncated
    collect(agent, 1, replay=replay)
    assert window.beyond[31] > 40  # a window's end is no end at all
    assert not window.ended.any()  # of the next one's steps


@pytest.mark.parametrize("form", FORMS)
def test_the_same_keys_give_the_same_bytes(form: str) -> None:
    states = []
    for _ in range(2):
        agent = build(PPOParameters(**SMALL, **FORMS[form]))
        collect(agent, 70)
        torch.randn(3)  # torch's own generator is nobody's source
        states.append(flat_state(agent.state_dict()))
    assert states[0] == states[1]


def test_other_keys_give_other_weights_actions_and_updates() -> None:
    first, other = build(PPOParameters(**SMALL)), build(PPOParameters(**SMALL), seed=8)
    assert distance(learnt(first)[:1], learnt(other)[:1]) > 0
    agents = [build(PPOParameters(**SMALL)) for _ in range(2)]
    for seed, agent in enumerate(agents):
        collect(agent, 40, seed=seed)
    assert distance(learnt(agents[0]), learnt(agents[1])) > 0
    assert not torch.equal(agents[0].window.action, agents[1].window.action)


# A run that is cut, by the loop


def short(form: str) -> RunSpec:
    return RunSpec(
        # So short that some episodes end by time and some by themselves.
        task=replace(TASKS["inverted_pendulum-1000"], horizon=9),
        variant="ppo",
        algorithm="ppo",
        parameters=PPOParameters(**SMALL, **FORMS[form]),
        seed=0,
        budget=1,
        evaluate_every=5,
        evaluation_episodes=1,
        compiled=False,
    )


def restored(trainer: Trainer, rows: list[dict]) -> Trainer:
    """The same run in a trainer of its own, by way of a file."""
    file, replay = io.BytesIO(), trainer.replay
    start = max(0, replay.added - replay.capacity)
    torch.save({"state": trainer.state(), "replay": list(replay.rows(start, replay.added))}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    other = Trainer(trainer.spec, CPU, rows.extend)
    batch = Batch(*saved["replay"])
    other.restore(Checkpoint(trainer.env_step, saved["state"], {}, [batch], start))
    return other


@pytest.mark.parametrize("form", FORMS)
def test_a_run_cut_after_every_step_ends_as_if_undisturbed(form: str) -> None:
    expected: list[dict] = []
    rows: list[dict] = []
    whole = Trainer(short(form), CPU, expected.extend)
    cut = Trainer(short(form), CPU, rows.extend)
    for _ in range(110):
        whole.advance()
        cut.advance()
        cut = restored(cut, rows)
    assert whole.parameters_sha256() == cut.parameters_sha256()
    assert rows == expected
    lengths = {row["length"] for row in rows if row.get("kind") == "train"}
    assert 9 in lengths
    assert len(lengths) > 1
    assert int(cut.agent.adam.steps) == 3 * 6  # type: ignore[attr-defined]


def test_evaluations_change_nothing() -> None:
    specs = [replace(short("normalised"), evaluate_every=every) for every in (1, 1_000)]
    trainers = [Trainer(spec, CPU, lambda rows: None) for spec in specs]
    for trainer in trainers:
        for _ in range(70):
            trainer.advance()
    assert trainers[0].parameters_sha256() == trainers[1].parameters_sha256()


def test_an_agent_restored_over_another_goes_on_bit_for_bit() -> None:
    agent, other = (build(PPOParameters(**SMALL, normalise=True)) for _ in range(2))
    replay = collect(agent, 40)
    collect(other, 45, seed=9)
    file = io.BytesIO()
    torch.save(agent.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    copy = Replay(32, OBS, ACTION)
    copy.restore(8, replay.rows(8, 40))
    collect(agent, 40, replay=replay)
    collect(other, 40, replay=copy)
    assert flat_state(agent.state_dict()) == flat_state(other.state_dict())


def test_loading_refuses_another_networks_state() -> None:
    state = build(PPOParameters(**SMALL)).state_dict()
    with pytest.raises(RuntimeError, match="size mismatch"):
        build(PPOParameters(**SMALL | {"hidden": (8, 12)})).load_state_dict(state)


# Forms


@pytest.mark.parametrize("form", ["plain", "tuned"])
def test_compiled_updates_agree_with_eager_ones(form: str) -> None:
    parameters = PPOParameters(**SMALL, **FORMS[form])
    eager, compiled = build(parameters), build(parameters, compiled=True)
    for batch in batches():
        ours, theirs = eager.update(batch), compiled.update(batch)
        for name, value in ours.items():
            assert float(value) == pytest.approx(float(theirs[name]), rel=1e-4, abs=1e-5)
    assert distance(learnt(eager), learnt(build(parameters))) > 0
    assert distance(learnt(eager), learnt(compiled)) < 1e-4
    # Its compiled code holds on to its tensors, also after it is restored.
    reached = learnt(compiled)
    compiled.load_state_dict(build(parameters).state_dict())
    for batch in batches():
        compiled.update(batch)
    assert distance(reached, learnt(compiled)) == 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU on this machine")
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_windows_on_a_gpu_agree_with_those_on_the_cpu(compiled: bool) -> None:
    parameters, cuda = PPOParameters(**SMALL, normalise=True), torch.device("cuda")
    there, here = build(parameters, compiled=compiled, device=cuda), build(parameters)
    collect(here, 70)
    collect(there, 70)
    assert distance(learnt(here), [tensor.cpu() for tensor in learnt(there)]) < 1e-3
    loaded = build(parameters, device=cuda)
    loaded.load_state_dict(here.state_dict())  # as a checkpoint's tensors come, on the CPU
    assert loaded.obs_moments.mean.is_cuda


def test_actions_lie_inside_the_box_and_explore_only_when_asked() -> None:
    agent = build(PPOParameters(**SMALL, initial_log_std=1.0))
    obs = 10 * torch.randn(1, OBS)
    with torch.no_grad():
        agent.actor.head.bias.copy_(torch.tensor([3.0, 0.0, -3.0]))
    greedy = [
        agent.act(obs.expand(50, OBS), Keys(k, "act")("action"), explore=False) for k in (0, 1)
    ]
    explored = [agent.act(obs, Keys(0, "act")("action"), explore=True) for _ in range(2)]
    assert torch.equal(*greedy)
    assert greedy[0].shape == (50, ACTION)
    assert greedy[0][0, [0, 2]].tolist() == [1, -1]  # the mean, clipped
    assert torch.equal(*explored)
    assert explored[0].shape == (1, ACTION)
    assert not torch.equal(explored[0], greedy[0][:1])
    assert explored[0].abs().max() <= 1
    assert agent.window.action[0].abs().max() > 1  # as it was drawn
    assert not explored[0].requires_grad


def test_a_window_that_batches_do_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match=r"batch_size is 64 and num_steps is 100\. Allowed"):
        PPOParameters(num_steps=100)
