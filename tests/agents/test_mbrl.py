"""Model-based RL: lambda returns, where rollouts start, which gradients go where, and the hooks."""

import io
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor

from tests.agents.test_sac import flat_state
from tests.models.lstm_reference import finite_differences
from unirl_repro.agents.mbrl import MBRL, lambda_returns
from unirl_repro.hyperparameters import MBRLParameters
from unirl_repro.models.bayesian_lstm import Trajectories
from unirl_repro.replay import Replay
from unirl_repro.rng import Keys

OBS, ACTION, HORIZON = 2, 1, 6
SMALL: dict[str, Any] = {
    "initial_episodes": 1,
    "model_hidden": 4,
    "dropout": 0.3,
    "prior_strength": 0.1,
    "model_batch_size": 8,
    "hidden": (4,),
    "critic_hidden": (4,),
    "num_masks": 3,
    "num_starts": 2,
    "imagined_horizon": 4,
    "steps_per_update": 2,
    "random_steps": 0,
}
BOTH = pytest.mark.parametrize("training", ["full_trajectory", "dreamer"])


@pytest.fixture(autouse=True)
def _double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def episodes(count: int, steps: int = 0) -> Replay:
    """A replay of whole episodes, in which no two observations are alike."""
    replay, generator = Replay(200, OBS, ACTION), torch.Generator().manual_seed(3)
    for i in range(count * HORIZON + steps):
        obs, next_obs = torch.randn(2, OBS, generator=generator)
        obs[0] = i / 10
        action = torch.rand(ACTION, generator=generator) * 2 - 1
        replay.add(obs, action, float(obs[1]), next_obs, terminated=False)
    return replay


def build(training: str = "dreamer", *, seed: int = 0, known: Replay | None = None, **changes: Any):
    """An agent whose model has observed what is in the replay."""
    parameters = MBRLParameters(**(SMALL | {"policy_training": training} | changes))
    agent = MBRL(
        parameters,
        OBS,
        ACTION,
        horizon=HORIZON,
        keys=Keys(seed, "init"),
        device=torch.device("cpu"),
        compiled=False,
    )
    if known is not None:
        agent.model.observe(known.rows(0, known.added))
        agent.model.normalise()
    return agent


def update(agent: MBRL, replay: Replay, seed: int = 0) -> dict[str, Tensor]:
    """One update of the policy, of the agent's own kind."""
    keys = Keys(seed, "test")
    whole = agent.parameters.policy_training == "full_trajectory"
    one = agent.update_on_trajectories if whole else agent.update_on_segments
    return one(replay, keys("draws"), keys("noise"))


def gradients(agent: MBRL, of: str = "actor_adam") -> list[Tensor]:
    """What the first update took for gradients: Adam's mean is a tenth of it."""
    return [mean / 0.1 for mean in agent.state_dict()[of]["mean"]]


def recorded(agent: MBRL, monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    """The arguments of each rollout that the agent asks its model for."""
    calls, rollout = [], agent.model.rollout

    def recording(*arguments: Any) -> Trajectories:
        calls.append(arguments)
        return rollout(*arguments)

    monkeypatch.setattr(agent.model, "rollout", recording)
    return calls


# Lambda returns


def slow_lambda_returns(reward: np.ndarray, value: np.ndarray, discount: float, decay: float):
    """By the definition: a weighted mean of n-step returns, each summed up for itself."""
    steps = len(reward)
    found = np.zeros_like(reward)
    for t in range(steps):
        returns = []
        for n in range(1, steps - t + 1):
            rewards = sum(discount**k * reward[t + k] for k in range(n))
            returns.append(rewards + discount**n * value[t + n - 1])
        weights = [(1 - decay) * decay ** (n - 1) for n in range(1, steps - t)]
        weights.append(decay ** (steps - t - 1))
        found[t] = sum(w * r for w, r in zip(weights, returns, strict=True))
    return found


NUMBERS = st.floats(-100, 100)
SHAPES = st.tuples(st.integers(1, 8), st.integers(1, 3))


@given(
    data=st.data(),
    shape=SHAPES,
    discount=st.floats(0, 1),
    decay=st.one_of(st.sampled_from([0.0, 1e-9, 1 - 1e-9, 1.0]), st.floats(0, 1)),
)
def test_lambda_returns_are_a_weighted_mean_of_n_step_returns(data, shape, discount, decay):
    reward, value = (data.draw(arrays(np.float64, shape, elements=NUMBERS)) for _ in range(2))
    found = lambda_returns(torch.from_numpy(reward), torch.from_numpy(value), discount, decay)
    expected = slow_lambda_returns(reward, value, discount, decay)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def test_the_ends_of_lambda_are_one_step_and_all_steps():
    reward, value = torch.tensor([[1.0], [2.0], [4.0]]), torch.tensor([[10.0], [20.0], [40.0]])
    one_step = lambda_returns(reward, value, 0.5, 0.0)
    assert one_step.flatten().tolist() == [6.0, 12.0, 24.0]
    all_steps = lambda_returns(reward, value, 0.5, 1.0)
    assert all_steps.flatten().tolist() == [1 + 1 + 1 + 5, 2 + 2 + 10, 4 + 20]


# Gradients


def objective(agent: MBRL, call: tuple) -> Tensor:
    """What the policy's update descends, written anew on rollouts of the same noise."""
    _, start, masks, steps, _, *state = call
    noise = Keys(0, "test")("noise")
    with torch.no_grad():
        rollouts = agent.model.rollout(agent.actor, start, masks, steps, noise, *state)
    alpha = agent.parameters.entropy_coefficient
    if agent.parameters.policy_training == "full_trajectory":
        return (-rollouts.reward + alpha * rollouts.log_prob).sum(0).mean()
    values = agent.critic(rollouts.obs[1:].flatten(0, 1)).view_as(rollouts.reward).detach()
    returns = lambda_targets(agent, rollouts, values)
    return -(agent.parameters.discount ** torch.arange(steps)[:, None] * returns).mean()


def lambda_targets(agent: MBRL, rollouts: Trajectories, values: Tensor) -> Tensor:
    """Of the critic, where the entropy bonus counts as reward."""
    p = agent.parameters
    reward = (rollouts.reward - p.entropy_coefficient * rollouts.log_prob).detach().numpy()
    targets = slow_lambda_returns(reward, values.numpy(), p.discount, p.trace_decay)
    return torch.from_numpy(targets)


@BOTH
def test_the_policys_gradient_agrees_with_finite_differences(training, monkeypatch):
    replay = episodes(5)
    agent = build(training, known=replay, clip_norm=1e9, discount=0.9, trace_decay=0.7)
    before = agent.state_dict()
    saved = io.BytesIO()
    torch.save(before, saved)
    calls = recorded(agent, monkeypatch)
    loss = update(agent, replay)["policy_loss"]
    found = gradients(agent)
    saved.seek(0)
    agent.load_state_dict(torch.load(saved, weights_only=True))
    (call,) = calls
    torch.testing.assert_close(loss, objective(agent, call))
    for weight, gradient in zip(agent.actor.parameters(), found, strict=True):
        expected = finite_differences(lambda: objective(agent, call), weight)
        torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=1e-7)
    assert max(gradient.abs().max() for gradient in found) > 0.01


def test_the_critics_gradient_is_that_of_the_discounted_squared_error(monkeypatch):
    replay = episodes(5)
    agent = build("dreamer", known=replay, clip_norm=1e9, discount=0.9, trace_decay=0.7)
    saved = io.BytesIO()
    torch.save(agent.state_dict(), saved)
    calls = recorded(agent, monkeypatch)
    loss = update(agent, replay)["value_loss"]
    found = gradients(agent, "critic_adam")
    saved.seek(0)
    agent.load_state_dict(torch.load(saved, weights_only=True))
    _, start, masks, steps, _, state = calls[0]
    noise = Keys(0, "test")("noise")
    rollouts = agent.model.rollout(agent.actor, start, masks, steps, noise, state)

    def values(obs: Tensor) -> Tensor:
        return agent.critic(obs.detach().flatten(0, 1)).view(obs.shape[:2])

    target = lambda_targets(agent, rollouts, values(rollouts.obs[1:]).detach())

    def value_loss() -> Tensor:
        error = 0.5 * (values(rollouts.obs[:-1]) - target).square()
        return (0.9 ** torch.arange(steps)[:, None] * error).mean()

    torch.testing.assert_close(loss, value_loss().detach())
    for weight, gradient in zip(agent.critic.parameters(), found, strict=True):
        expected = finite_differences(value_loss, weight)
        torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=1e-7)


@BOTH
def test_training_the_policy_leaves_the_model_as_it_is(training, monkeypatch):
    replay = episodes(5)
    agent = build(training, known=replay)
    asked: list[bool] = []
    rollout = agent.model.rollout

    def watching(*arguments: Any) -> Trajectories:
        asked.extend(p.requires_grad for p in agent.model.parameters())
        return rollout(*arguments)

    monkeypatch.setattr(agent.model, "rollout", watching)
    before = flat_state(agent.model.state_dict())
    policy, critic = (flat_state(net.state_dict()) for net in (agent.actor, agent.critic))
    agent.train_policy(replay, Keys(0, "before_episode"))
    assert flat_state(agent.model.state_dict()) == before
    assert int(agent.state_dict()["model_adam"]["steps"]) == 0
    assert asked
    assert not any(asked)  # so none of the time goes into gradients that nobody wants
    networks = (agent.model, agent.actor, agent.critic)
    assert all(p.grad is None and p.requires_grad for net in networks for p in net.parameters())
    assert flat_state(agent.actor.state_dict()) != policy
    assert (flat_state(agent.critic.state_dict()) != critic) == (training == "dreamer")


def test_training_the_model_leaves_policy_and_critic_as_they_are():
    replay = episodes(5)
    agent = build(known=replay)
    before = [flat_state(net.state_dict()) for net in (agent.actor, agent.critic)]
    agent.train_model(replay, Keys(0, "before_episode"))
    assert [flat_state(net.state_dict()) for net in (agent.actor, agent.critic)] == before
    assert int(agent.state_dict()["model_adam"]["steps"]) == HORIZON // 2


@BOTH
@pytest.mark.parametrize("of", ["actor_adam", "critic_adam"])
def test_a_long_gradient_is_cut_to_its_length_and_keeps_its_direction(training, of):
    replay = episodes(5)
    found = {}
    for clip in (1e-3, 1e9):
        agent = build(training, known=replay, clip_norm=clip)
        update(agent, replay)
        found[clip] = torch.cat([gradient.flatten() for gradient in gradients(agent, of)])
    if training == "full_trajectory" and of == "critic_adam":
        assert not found[1e9].any()
        return
    assert found[1e9].norm() > 1e-2
    assert found[1e-3].norm() == pytest.approx(1e-3)
    torch.testing.assert_close(found[1e-3], found[1e9] * 1e-3 / found[1e9].norm())


# Diverging rollouts


def diverging(agent: MBRL, monkeypatch: pytest.MonkeyPatch, which: Callable[[int], bool]) -> None:
    """Make some rollouts, by their number, end in rewards that are not finite."""
    rollout, count = agent.model.rollout, [0]

    def disturbed(*arguments: Any) -> Trajectories:
        rollouts = rollout(*arguments)
        count[0] += 1
        if which(count[0] - 1):
            return rollouts._replace(reward=rollouts.reward * torch.tensor(torch.inf))
        return rollouts

    monkeypatch.setattr(agent.model, "rollout", disturbed)


@BOTH
def test_an_update_whose_gradient_is_not_finite_is_skipped_and_counted(training, monkeypatch):
    replay = episodes(5)
    agent = build(training, known=replay)
    before = flat_state(agent.state_dict())
    diverging(agent, monkeypatch, lambda number: number == 0)
    assert update(agent, replay)["updates_skipped"].item() == 1
    assert flat_state(agent.state_dict()) == before
    assert update(agent, replay)["updates_skipped"].item() == 0
    assert flat_state(agent.state_dict()) != before


@BOTH
def test_metrics_count_skipped_updates_and_are_means_over_the_others(training, monkeypatch):
    """The loop refuses metrics that are not finite: one rollout that diverges must end no run."""
    replay, keys = episodes(5), Keys(0, "before_episode")
    agent = build(training, known=replay)
    diverging(agent, monkeypatch, lambda number: number == HORIZON // 2 - 1)
    metrics = agent.train_policy(replay, keys)
    assert float(metrics.pop("updates_skipped")) == pytest.approx(2 / HORIZON)
    assert all(np.isfinite(float(value)) for value in metrics.values()), metrics
    # The last of three diverged, so the others went as in a run of two.
    short = build(training, known=replay, steps_per_update=3)
    expected = short.train_policy(replay, keys)
    for name, value in metrics.items():
        assert float(value) == pytest.approx(float(expected[name])), name


@BOTH
def test_with_every_update_skipped_there_is_a_count_and_nothing_else_that_is_not_finite(
    training, monkeypatch
):
    replay = episodes(5)
    agent = build(training, known=replay)
    diverging(agent, monkeypatch, lambda number: True)
    metrics = agent.train_policy(replay, Keys(0, "before_episode"))
    assert float(metrics["updates_skipped"]) == 1
    assert all(np.isfinite(float(value)) for value in metrics.values()), metrics


# Where rollouts start


def number_of(obs: Tensor) -> Tensor:
    """Numbers of the transitions that observations of `episodes` belong to."""
    return (obs[..., 0] * 10).round().long()


def test_whole_episodes_start_from_first_observations_each_mask_with_its_share(monkeypatch):
    replay = episodes(5)
    agent = build("full_trajectory", known=replay, num_masks=20, num_starts=3)
    calls = recorded(agent, monkeypatch)
    update(agent, replay)
    ((_, start, masks, steps, _, *state),) = calls
    assert steps == HORIZON
    assert state in ([], [None])
    assert start.shape == (60, OBS)
    assert set(number_of(start).tolist()) == {0, 6, 12, 18, 24}
    assert_share(masks, 20, 3)


def assert_share(masks: Any, num_masks: int, num_starts: int) -> None:
    rows = [tuple(row.tolist()) for row in torch.cat(masks, -1)]
    assert len(rows) == num_masks * num_starts
    assert {rows.count(row) for row in rows} == {num_starts}


def test_segments_start_anywhere_in_the_buffer_with_the_state_of_the_way_there(monkeypatch):
    replay = episodes(3, steps=2)  # and of a fourth episode the first two steps
    agent = build("dreamer", known=replay, num_masks=30, num_starts=100)
    calls = recorded(agent, monkeypatch)
    update(agent, replay)
    ((_, start, masks, steps, _, state),) = calls
    assert steps == 4
    assert_share(masks, 30, 100)
    assert_states_are_those_of_a_forward_pass(agent, replay, start[::7], state, masks)
    drawn = [number_of(start)]
    for seed in range(1, 40):  # a mask stays with its episode: many draws for the episodes' shares
        update(agent, replay, seed)
        drawn.append(number_of(calls[-1][1]))
    counts = torch.cat(drawn).bincount(minlength=20)
    assert not counts[18:].any()
    # Steps within an episode, then episodes: five standard deviations of a binomial count.
    assert spread(counts[:18].view(3, 6).sum(0), 120_000) < 5
    assert spread(counts[:18].view(3, 6).sum(1), 1200, per=100) < 5


def spread(counts: Tensor, draws: int, per: int = 1) -> float:
    """The largest deviation of equally likely counts, in standard deviations."""
    share = 1 / len(counts)
    deviation = (counts / per - draws * share).abs().max()
    return float(deviation) / (draws * share * (1 - share)) ** 0.5


@torch.no_grad()
def assert_states_are_those_of_a_forward_pass(agent, replay, start, state, masks) -> None:
    for i, number in enumerate(number_of(start).tolist()):
        row = 7 * i
        mask = type(masks)(*(part[row : row + 1] for part in masks))
        begin = number - number % HORIZON
        if number == begin:
            assert not state.output[row].any()
            assert not state.cell[row].any()
            continue
        way = replay.rows(begin, number)
        after = agent.model.states(way.obs[:, None], way.action[:, None], mask)
        torch.testing.assert_close(state.output[row], after.output[-1, 0])
        torch.testing.assert_close(state.cell[row], after.cell[-1, 0])


# Hooks


def test_the_model_trains_on_whole_episodes_with_its_own_count_and_prior(monkeypatch):
    replay = episodes(5, steps=3)
    agent = build(known=replay, steps_per_update=1)
    calls, loss = [], agent.model.loss

    def recording(batch, masks, num_episodes, prior):
        calls.append((batch, masks, num_episodes, prior))
        return loss(batch, masks, num_episodes, prior)

    monkeypatch.setattr(agent.model, "loss", recording)
    agent.train_model(replay, Keys(0, "before_episode"))
    assert len(calls) == HORIZON
    for batch, masks, num_episodes, prior in calls:
        assert (num_episodes, prior) == (5, 0.1)
        numbers = number_of(batch.obs)
        assert numbers.shape == (HORIZON, 8)
        assert (numbers == numbers[0] + torch.arange(HORIZON)[:, None]).all()
        assert not (numbers[0] % HORIZON).any()
        assert len({tuple(row.tolist()) for row in torch.cat(masks, -1)}) == 8


def test_a_training_period_begins_with_a_new_normalisation():
    replay = episodes(2)
    agent = build()
    for episode in range(2):
        begin = episode * HORIZON
        agent.after_episode(cut(replay, begin + HORIZON), Keys(0, "after_episode"))
        assert agent.model.inputs.mean[0] == 0
    agent.train_model(replay, Keys(0, "before_episode"))
    seen = replay.rows(0, 2 * HORIZON)
    expected = torch.cat([seen.obs, seen.action], -1)
    torch.testing.assert_close(agent.model.inputs.mean, expected.mean(0))
    torch.testing.assert_close(agent.model.inputs.std, expected.std(0, correction=0))
    kept = agent.model.inputs.mean.clone()
    agent.train_policy(replay, Keys(0, "before_episode"))
    assert torch.equal(agent.model.inputs.mean, kept)


def cut(replay: Replay, added: int) -> Replay:
    """The replay as it was after so many transitions."""
    made = Replay(replay.capacity, OBS, ACTION)
    made.restore(0, replay.rows(0, added))
    return made


@pytest.mark.parametrize(
    ("random_steps", "initial_episodes", "count", "trains"),
    [
        *[(0, 1, 0, False), (0, 1, 1, True)],
        *[(12, 1, 1, False), (12, 1, 2, True)],
        *[(0, 3, 2, False), (0, 3, 3, True), (24, 3, 3, False)],
    ],
)
def test_it_trains_once_the_random_steps_are_over_and_enough_episodes_are_there(
    random_steps, initial_episodes, count, trains
):
    replay = episodes(count)
    changes = {"random_steps": random_steps, "initial_episodes": initial_episodes}
    agent = build(known=replay if count else None, **changes)
    metrics = agent.before_episode(replay, Keys(0, "before_episode"))
    assert bool(metrics) == trains
    steps = [int(agent.state_dict()[name]["steps"]) for name in ("model_adam", "actor_adam")]
    assert steps == [3 * trains, 3 * trains]
    assert agent.after_step(replay, Keys(0, "after_step")) == {}


@BOTH
def test_its_metrics_are_finite_numbers_without_a_graph(training):
    replay = episodes(5)
    metrics = build(training, known=replay).before_episode(replay, Keys(0, "before_episode"))
    names = {"model_loss", "policy_loss", "imagined_return", "policy_entropy", "updates_skipped"}
    assert set(metrics) == names | ({"value_loss"} if training == "dreamer" else set())
    assert all(np.isfinite(float(value)) for value in metrics.values())
    assert not any(getattr(value, "requires_grad", False) for value in metrics.values())


@BOTH
def test_the_metrics_say_what_was_imagined(training, monkeypatch):
    replay = episodes(5)
    agent = build(training, known=replay)
    made: list[Trajectories] = []
    rollout = agent.model.rollout

    def keeping(*arguments: Any) -> Trajectories:
        made.append(rollout(*arguments))
        return made[-1]

    monkeypatch.setattr(agent.model, "rollout", keeping)
    metrics = update(agent, replay)
    (rollouts,) = made
    expected = rollouts.reward.sum(0).mean().item()
    assert float(metrics["imagined_return"]) == pytest.approx(expected)
    assert float(metrics["policy_entropy"]) == pytest.approx(-rollouts.log_prob.mean().item())


@BOTH
def test_the_same_keys_give_the_same_bytes_and_others_others(training):
    states = []
    for keys in (Keys(0, "before_episode"), Keys(0, "before_episode"), Keys(1, "before_episode")):
        replay = episodes(5)
        agent = build(training, known=replay)
        agent.before_episode(replay, keys)
        torch.randn(3)  # torch's own generator is nobody's source
        states.append(flat_state(agent.state_dict()))
    assert states[0] == states[1] != states[2]
    assert flat_state(build(seed=1).state_dict()) != flat_state(build().state_dict())


@BOTH
def test_a_restored_agent_goes_on_bit_for_bit(training):
    replay = episodes(5)
    agent, restored = build(training, known=replay), build(training, seed=4)
    agent.before_episode(replay, Keys(0, "before_episode"))
    agent.after_episode(replay, Keys(0, "after_episode"))
    file = io.BytesIO()
    torch.save(agent.state_dict(), file)
    file.seek(0)
    restored.load_state_dict(torch.load(file, weights_only=True))
    for one in (agent, restored):
        one.before_episode(replay, Keys(0, "before_episode", 1))
    assert flat_state(agent.state_dict()) == flat_state(restored.state_dict())


def test_actions_lie_inside_the_box_and_explore_only_when_asked():
    agent = build()
    obs = 10 * torch.randn(50, OBS)
    greedy = [agent.act(obs, Keys(seed, "act")("action"), explore=False) for seed in (0, 1)]
    explored = [agent.act(obs, Keys(seed, "act")("action"), explore=True) for seed in (0, 0, 1)]
    assert torch.equal(*greedy)
    assert torch.equal(explored[0], explored[1])
    assert not torch.equal(explored[0], explored[2])
    assert not torch.equal(explored[0], greedy[0])
    assert explored[0].shape == (50, ACTION)
    assert explored[0].abs().max() <= 1
