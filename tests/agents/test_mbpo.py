"""MBPO: its schedule, its rollouts against a slow reference, its batches, its hooks and state."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.agents.dyna import (
    ACTION,
    CAPACITY,
    OBS,
    RANDOM_STEPS,
    add,
    assert_goes_on_bit_for_bit,
    build,
    empty_replay,
    equal,
    go,
    learnt,
    moment,
    replay,
)
from tests.agents.test_sac import updates_made
from unirl_repro.agents.mbpo import MBPO, model_rows
from unirl_repro.replay import Batch, Replay
from unirl_repro.rng import Keys, normal

# --- how long rollouts are

PUBLISHED: dict[str, tuple[tuple[int, int, int, int], dict[int, int]]] = {
    "hopper": ((20, 150, 1, 15), {2: 30, 3: 39, 4: 48, 15: 150}),
    "ant": ((20, 100, 1, 25), {2: 24, 3: 27, 4: 30, 25: 100}),
    "humanoid": ((20, 300, 1, 25), {2: 32, 3: 44, 4: 55, 25: 300}),
}


@pytest.mark.parametrize("task", PUBLISHED)
def test_rollouts_grow_at_the_published_epochs(task: str) -> None:
    schedule, first_epochs = PUBLISHED[task]
    agent = build(MBPO, rollout_schedule=schedule, epoch_length=1000, model_every=250)
    lengths = [agent.rollout_length(1000 * epoch) for epoch in range(400)]
    for length, epoch in first_epochs.items():
        assert lengths.index(length) == epoch
        assert agent.rollout_length(1000 * epoch - 1) == lengths[epoch - 1] < length
        assert agent.rollout_length(1000 * epoch + 999) == length
    assert lengths == [published_length(epoch, *schedule) for epoch in range(400)]
    assert max(lengths) == schedule[-1]


def published_length(epoch: int, first: int, last: int, shortest: int, longest: int) -> int:
    """jannerm/mbpo's `_set_rollout_length`."""
    if epoch <= first:
        return shortest
    dx = min((epoch - first) / (last - first), 1)
    return int(dx * (longest - shortest) + shortest)


def test_a_schedule_may_stand_still_and_epochs_may_be_short() -> None:
    agent = build(MBPO, rollout_schedule=(1, 15, 1, 1), epoch_length=250, model_every=250)
    assert {agent.rollout_length(steps) for steps in range(0, 20_000, 50)} == {1}
    agent = build(MBPO, rollout_schedule=(1, 3, 2, 4), epoch_length=250, model_every=250)
    lengths = [agent.rollout_length(steps) for steps in (0, 499, 500, 749, 750, 9_999)]
    assert lengths == [2, 2, 3, 3, 4, 4]


# --- when it does what


def watch(agent: MBPO) -> list[str]:
    """The order of what it does."""
    seen: list[str] = []

    def watched(owner: Any, name: str, label: str) -> None:
        function = getattr(owner, name)

        def call(*arguments: Any, **named: Any) -> Any:
            seen.append(label)
            return function(*arguments, **named)

        setattr(owner, name, call)

    watched(agent.trainer, "fit", "train")
    watched(agent.model_data, "add", "roll out")
    watched(agent.sac, "update", "update")
    return seen


@pytest.mark.parametrize("random_steps", [RANDOM_STEPS, 13])
def test_it_trains_and_rolls_out_every_few_steps_from_the_last_random_one(random_steps) -> None:
    agent, made = build(MBPO, sac={"random_steps": random_steps, "updates_per_step": 3}), replay(0)
    seen, events = watch(agent), {}
    while made.added < random_steps + 25:
        metrics = go(agent, made, made.added + 1)[0]
        events[made.added], seen[:] = list(seen), []
        assert bool(metrics) == (made.added >= random_steps)
        assert ("model_error" in metrics) == (events[made.added][:1] == ["train"])
        assert not any(isinstance(v, Tensor) and v.requires_grad for v in metrics.values())
    for step, happened in events.items():
        if step < random_steps:
            assert happened == []
        elif (step - random_steps) % 10 == 0:
            assert happened == ["train", "roll out", *["update"] * 3]
        else:
            assert happened == ["update"] * 3


def test_before_the_end_of_the_random_steps_nothing_changes() -> None:
    agent = build(MBPO)
    before = learnt(agent)
    go(agent, empty_replay(), RANDOM_STEPS - 1)
    assert equal(before, learnt(agent))
    assert agent.elites == []
    assert len(agent.model_data) == 0


@pytest.mark.parametrize("hook", ["before_episode", "after_episode"])
def test_other_hooks_do_nothing(hook: str) -> None:
    agent, made = build(MBPO), replay(RANDOM_STEPS)
    before = learnt(agent)
    assert getattr(agent, hook)(made, Keys(0, hook)) == {}
    assert equal(before, learnt(agent))
    assert updates_made(agent.sac) == 0


def test_the_model_learns_from_all_transitions_as_they_are() -> None:
    agent, made, seen = build(MBPO), empty_replay(), []

    def fit(inputs: Tensor, targets: Tensor, rng: Any, weights: Any = None) -> Any:
        seen.append((inputs.clone(), targets.clone(), weights))
        return original(inputs, targets, rng, weights)

    original = agent.trainer.fit
    agent.trainer.fit = fit  # type: ignore[method-assign]
    go(agent, made, RANDOM_STEPS + 10)
    assert [len(inputs) for inputs, _, _ in seen] == [RANDOM_STEPS, RANDOM_STEPS + 10]
    inputs, targets, weights = seen[-1]
    assert weights is None
    for row in range(made.added):
        assert torch.equal(inputs[row], torch.cat([made.obs[row], made.action[row]]))
        change = made.next_obs[row] - made.obs[row]
        assert torch.equal(targets[row], torch.cat([made.reward[row : row + 1], change]))


def test_members_with_the_smallest_errors_are_elites() -> None:
    agent = build(MBPO, members=5, elites=3)
    agent.choose_elites(torch.tensor([0.5, 0.1, 0.9, 0.3, 0.2]))
    assert sorted(agent.elites) == [1, 3, 4]


def test_elites_are_those_of_the_last_training() -> None:
    agent, made = build(MBPO, members=4, elites=2), empty_replay()
    go(agent, made, RANDOM_STEPS)
    errors = agent.trainer.errors(*agent.trainer.held_out)
    assert set(agent.elites) == set(errors.argsort()[:2].tolist())


def test_a_replay_that_has_lost_transitions_is_an_error() -> None:
    agent, made = build(MBPO), Replay(RANDOM_STEPS + 3, OBS, ACTION)
    go(agent, made, RANDOM_STEPS + 3)
    with pytest.raises(ValueError, match="replay_capacity is 23, and the run has 24 transitions"):
        go(agent, made, RANDOM_STEPS + 4)


# --- rollouts


def trained(until: int = RANDOM_STEPS, **changes: Any) -> tuple[MBPO, Replay]:
    agent, made = build(MBPO, **changes), empty_replay()
    go(agent, made, until)
    return agent, made


def parts(rows: Tensor) -> Batch:
    obs, action, reward, next_obs, terminated = rows.split([OBS, ACTION, 1, OBS, 1], 1)
    return Batch(obs, action, reward[:, 0], next_obs, terminated[:, 0])


@torch.no_grad()
def slow_rollout(agent: MBPO, replay: Replay, keys: Keys, length: int) -> list[Batch]:
    """Each row for itself, by the whole ensemble's forward pass; the draws in their order."""
    size = agent.parameters.rollout_batch
    starts = keys("starts").integers(replay.added, size=size)
    states, rng, steps = [replay.obs[row] for row in starts], keys("rollout"), []
    like = torch.zeros(())
    for _ in range(length):
        action_noise = normal(rng, len(states), ACTION, like=like)
        elites = rng.integers(len(agent.elites), size=len(states))
        noise = normal(rng, len(states), 1 + OBS, like=like)
        rows = []
        for i, state in enumerate(states):
            mean, raw = agent.sac.actor.mlp(state[None])[0].chunk(2)
            action = torch.tanh(mean + raw.clamp(-20, 2).exp() * action_noise[i])
            said = agent.model(torch.cat([state, action])[None])
            member = agent.elites[elites[i]]
            std = (said.log_var[member, 0] / 2).exp()
            outputs = said.mean[member, 0] + std * noise[i]
            next_obs = state + outputs[1:]
            ended = agent.is_terminal(next_obs[None])[0]
            rows.append((state, action, outputs[0], next_obs, ended.float()))
        steps.append(Batch(*(torch.stack(column) for column in zip(*rows, strict=True))))
        states = [row[3] for row in rows if not row[4]]
        if not states:
            break
    return steps


def positive(obs: Tensor) -> Tensor:
    return obs[:, 0] > 0.3


@pytest.mark.parametrize("length", [1, 4])
@pytest.mark.parametrize("ends", [False, True])
def test_rollouts_equal_a_slow_reference_row_by_row(length: int, ends: bool) -> None:
    agent, made = trained(members=4, elites=3, rollout_schedule=(0, 1, length, length))
    if ends:
        agent.is_terminal = positive
    agent.roll_out(made, Keys(3, "after_step", 5, 6))
    slow = slow_rollout(agent, made, Keys(3, "after_step", 5, 6), length)
    rows = agent.model_data.sets[-1]
    for ours, theirs in zip(parts(rows), map(torch.cat, zip(*slow, strict=True)), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    assert len(slow) == length
    assert rows[:, -1].any() == ends


def test_rollouts_branch_from_visited_states_and_follow_one_another() -> None:
    agent, made = trained(rollout_schedule=(0, 1, 3, 3))
    size = agent.parameters.rollout_batch
    rows = parts(agent.model_data.sets[-1])
    assert len(rows.obs) == 3 * size
    visited = {tuple(state) for state in made.obs[: made.added].tolist()}
    branched = {tuple(state) for state in rows.obs[:size].tolist()}
    assert branched <= visited
    assert len(branched) > 8
    assert torch.equal(rows.obs[size:], rows.next_obs[:-size])
    assert not rows.terminated.any()


def test_starts_are_drawn_from_all_transitions_alike() -> None:
    agent, made = build(MBPO, rollout_batch=20_000), replay(50)
    counts = np.bincount(agent.start_rows(made, Keys(0, "test")("starts")), minlength=50)
    assert len(counts) == 50
    np.testing.assert_allclose(counts / 20_000, 0.02, atol=0.005)


def test_what_has_ended_is_kept_with_its_flag_and_not_continued() -> None:
    agent, made = trained(rollout_schedule=(0, 1, 4, 4), rollout_batch=200)
    agent.is_terminal = positive
    agent.roll_out(made, moment(made))
    rows = parts(agent.model_data.sets[-1])
    assert torch.equal(rows.terminated.bool(), rows.next_obs[:, 0] > 0.3)
    first, left, steps = 0, 200, 0
    while first < len(rows.obs):
        steps += 1
        now = slice(first, first + left)
        alive = rows.next_obs[now][rows.terminated[now] == 0]
        first, left = first + left, len(alive)
        assert torch.equal(rows.obs[first : first + left], alive[: len(rows.obs) - first])
    assert steps == 4
    assert 0 < rows.terminated.sum() < len(rows.obs)


def test_rollouts_stop_when_all_have_ended() -> None:
    agent, made = trained(rollout_schedule=(0, 1, 4, 4))
    agent.is_terminal = lambda obs: torch.ones(len(obs), dtype=torch.bool)
    agent.roll_out(made, moment(made))
    rows = parts(agent.model_data.sets[-1])
    assert len(rows.obs) == agent.parameters.rollout_batch
    assert rows.terminated.all()


@pytest.mark.parametrize("termination", ["never", "inverted_pendulum"])
def test_the_tasks_rule_ends_rollouts(termination: str) -> None:
    agent, _ = trained(termination=termination, rollout_schedule=(0, 1, 3, 3))
    rows = parts(agent.model_data.sets[-1])
    expected = rows.next_obs[:, 1].abs() > 0.2 if termination != "never" else torch.zeros(90)
    assert torch.equal(rows.terminated.bool(), expected.bool())


def test_only_elites_are_asked_and_each_row_and_step_draws_one() -> None:
    agent, made = trained(members=5, elites=3, rollout_schedule=(0, 1, 3, 3), rollout_batch=300)
    sample, asked = agent.model.sample, []

    def watched(obs: Tensor, action: Tensor, members: np.ndarray, noise: Tensor) -> Any:
        asked.append(members)
        return sample(obs, action, members, noise)

    agent.model.sample = watched  # type: ignore[method-assign]
    agent.roll_out(made, moment(made))
    assert len(asked) == 3
    for members in asked:
        counts = np.bincount(members, minlength=5)
        assert set(np.flatnonzero(counts)) == set(agent.elites)
        assert counts.max() < 140
        assert counts[agent.elites].min() > 60
    assert not (asked[0] == asked[1]).all()


def test_sets_are_kept_as_long_as_their_epochs() -> None:
    agent, made = build(MBPO, model_data_epochs=2), empty_replay()  # two rollouts an epoch of 20
    kept = []
    for step in range(RANDOM_STEPS, RANDOM_STEPS + 61, 10):
        go(agent, made, step)
        kept.append(len(agent.model_data.sets))
        assert len(agent.rollouts) == kept[-1]
    assert kept == [1, 2, 3, 4, 4, 4, 4]
    assert [len(rows) // 30 for rows in agent.model_data.sets] == [2, 3, 3, 3]


# --- the policy


@pytest.mark.parametrize(
    ("real_ratio", "batch_size", "expected"),
    [(0.05, 256, 12), (0.0, 20, 0), (0.5, 20, 10), (0.99, 10, 9)],
)
def test_a_batch_has_its_share_of_real_transitions(real_ratio, batch_size, expected) -> None:
    sac = {"batch_size": batch_size, "updates_per_step": 4}
    agent, made, batches = build(MBPO, real_ratio=real_ratio, sac=sac), empty_replay(), []
    update = agent.sac.update

    def watched(batch: Batch, noise: Tensor) -> dict[str, Tensor]:
        batches.append(batch)
        assert noise.shape == (2, batch_size, ACTION)
        return update(batch, noise)

    agent.sac.update = watched  # type: ignore[method-assign]
    go(agent, made, RANDOM_STEPS)
    real = {tuple(row) for row in torch.column_stack(list(made.rows(0, made.added))).tolist()}
    made_up = {
        tuple(row) for row in torch.column_stack(list(parts(agent.model_data.sets[0]))).tolist()
    }
    assert len(batches) == 4
    assert not real & made_up
    for batch in batches:
        rows = [tuple(row) for row in torch.column_stack(list(batch)).tolist()]
        assert len(rows) == batch_size
        assert sum(row in real for row in rows) == expected
        assert sum(row in made_up for row in rows) == batch_size - expected
    assert not torch.equal(batches[0].obs, batches[1].obs)


def test_it_acts_as_its_sac_does() -> None:
    agent, obs = build(MBPO), torch.randn(4, OBS)
    for explore in (False, True):
        ours, theirs = (
            one.act(obs, Keys(0, "act")("action"), explore=explore) for one in (agent, agent.sac)
        )
        assert torch.equal(ours, theirs)
        assert ours.shape == (4, ACTION)


def test_rows_of_the_model_are_inputs_and_reward_before_change() -> None:
    obs, action, next_obs = (torch.tensor([row]) for row in ([1.0, 1.5], [2.0, 2.5], [5.0, 7.0]))
    batch = Batch(obs, action, torch.tensor([3.0]), next_obs, torch.ones(1))
    inputs, targets = model_rows(batch)
    assert inputs.tolist() == [[1.0, 1.5, 2.0, 2.5]]
    assert targets.tolist() == [[3.0, 4.0, 5.5]]


# --- state


@pytest.mark.parametrize("at", [RANDOM_STEPS, RANDOM_STEPS + 13, RANDOM_STEPS + 29])
def test_a_restored_agent_goes_on_bit_for_bit_with_the_same_model_data(at: int) -> None:
    assert_goes_on_bit_for_bit(MBPO, at, at + 12, model_data_epochs=2)


def test_a_checkpoint_holds_what_model_data_came_from_and_not_the_data() -> None:
    agent, _ = trained(rollout_batch=1_000, rollout_schedule=(0, 1, 3, 3))
    source = agent.state_dict()["rollouts"][0]
    assert set(source) == {"model", "actor", "elites", "starts", "moment"}
    before = {name: value.clone() for name, value in source["model"].items()}
    agent.trainer.update(torch.randn(3, 32, OBS + ACTION), torch.randn(3, 32, 1 + OBS))
    after = agent.state_dict()["rollouts"][0]["model"]
    assert all(torch.equal(value, before[name]) for name, value in after.items())


def test_an_agent_restored_before_its_first_rollout_starts_as_any_other() -> None:
    agent, restored, made = build(MBPO), build(MBPO, seed=8), replay(RANDOM_STEPS - 1)
    restored.load_state_dict(agent.state_dict())
    for one in (agent, restored):
        again = replay(RANDOM_STEPS - 1)
        go(one, again, RANDOM_STEPS + 2)
    assert equal(learnt(agent), learnt(restored))
    assert made.added == RANDOM_STEPS - 1


def test_the_same_keys_give_the_same_bytes_and_others_do_not() -> None:
    agents = [build(MBPO), build(MBPO), build(MBPO, seed=8)]
    assert not equal(learnt(agents[0]), learnt(agents[2]))
    other = build(MBPO)
    for agent, seed in zip([*agents, other], [0, 0, 0, 1], strict=True):
        torch.randn(3)  # torch's own generator is nobody's source
        go(agent, empty_replay(), RANDOM_STEPS + 3, seed=seed)
    assert equal(learnt(agents[0]), learnt(agents[1]))
    assert not equal(learnt(agents[0]), learnt(other))
    assert agents[0].parameters.replay_capacity >= CAPACITY


def test_data_may_grow_between_two_hooks() -> None:
    """Steps that the loop stored while the hook was not called: nothing but the count matters."""
    agent, made = build(MBPO), replay(RANDOM_STEPS)
    agent.after_step(made, moment(made))
    add(made, 10)
    assert "model_error" in agent.after_step(made, moment(made))
