"""USB-PO's second phase: what it minimises, keeps and reports; without it, MBPO bit for bit."""

from copy import deepcopy
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.agents.dyna import (
    ACTION,
    OBS,
    RANDOM_STEPS,
    add,
    assert_goes_on_bit_for_bit,
    build,
    empty_replay,
    equal,
    go,
    learnt,
    model_weights,
    moment,
)
from tests.agents.sac_parity import distance
from unirl_repro.agents.mbpo import MBPO
from unirl_repro.agents.usbpo import IMPROVEMENT, PATIENCE, USBPO
from unirl_repro.models.gaussian_ensemble import GaussianEnsemble, Prediction
from unirl_repro.replay import Replay
from unirl_repro.rng import Keys

BATCH = 24
TUNING: dict[str, Any] = {
    "fine_tuning_batch_size": BATCH,
    "fine_tuning_updates": 20,
    "fine_tuning_learning_rate": 1e-3,
}
FORMS = ["sample", "repo"]


def usbpo(**changes: Any) -> USBPO:
    return build(USBPO, **TUNING | changes)


def ready(**changes: Any) -> tuple[USBPO, GaussianEnsemble, Keys]:
    """Trained once and rolled out; its model then moved away from the former one."""
    agent, made = usbpo(**changes), empty_replay()
    go(agent, made, RANDOM_STEPS)
    before = deepcopy(agent.model).requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in agent.model.layers.parameters():
            weight.add_(0.1 * torch.randn(weight.shape, generator=generator))
    return agent, before, Keys(0, "after_step", 9, 9)


# --- Eq. 3, one row at a time


def slow_w2(p: Prediction, q: Prediction) -> Tensor:
    stds = (p.log_var / 2).exp(), (q.log_var / 2).exp()
    return (((p.mean - q.mean) ** 2).sum() + ((stds[0] - stds[1]) ** 2).sum() + 1e-12).sqrt()


def at(said: Prediction, member: int, row: int) -> Prediction:
    return Prediction(said.mean[member, row], said.log_var[member, row])


def slow_parts(
    before: GaussianEnsemble, model: GaussianEnsemble, inputs: Tensor, pairs: np.ndarray
) -> tuple[Tensor, Tensor]:
    """Means over rows of model shift and of model bias."""
    old, new = before(inputs), model(inputs)
    shifts, biases = [], []
    for row, (k1, k2) in enumerate(pairs.T):
        chosen = at(new, k2, row)
        shifts.append(slow_w2(at(old, k1, row), chosen))
        others = [b for b in range(model.members) if b != k2]
        distances = [slow_w2(chosen, at(new, b, row)) for b in others]
        biases.append(torch.stack(distances).mean())
    return torch.stack(shifts).mean(), torch.stack(biases).mean()


def test_gradients_are_those_of_the_sum_written_out_and_of_nothing_else() -> None:
    agent, before, _ = ready()
    agent.model.double(), before.double()
    agent.trainer.variables = list(agent.model.parameters())
    inputs = torch.randn(BATCH, OBS + ACTION, dtype=torch.float64)
    pairs = np.random.default_rng(0).integers(3, size=(2, BATCH))
    former = before.of_members(inputs, pairs[0])
    ours = agent.gradients(inputs, former, torch.from_numpy(pairs[1]))
    shift, bias = slow_parts(before, agent.model, inputs, pairs)
    slow = torch.autograd.grad(shift + bias, agent.trainer.variables)
    assert distance(ours, slow) < 1e-9
    assert min(gradient.abs().max().item() for gradient in ours) > 1e-6


def test_an_update_moves_the_model_towards_the_former_one_and_its_members_together() -> None:
    agent, before, _ = ready(fine_tuning_learning_rate=3e-3)
    inputs = torch.randn(BATCH, OBS + ACTION)
    pairs = np.random.default_rng(0).integers(3, size=(2, BATCH))
    frozen = deepcopy(before.state_dict())
    with torch.no_grad():
        start = slow_parts(before, agent.model, inputs, pairs)
    for _ in range(200):
        agent.update_model(before, inputs, pairs)
    with torch.no_grad():
        end = slow_parts(before, agent.model, inputs, pairs)
    assert end[0] < 0.7 * start[0]
    assert end[1] < 0.7 * start[1]
    assert all(torch.equal(value, frozen[name]) for name, value in before.state_dict().items())


# --- phase 2


class Look(NamedTuple):
    """At the objective on real states, during fine-tuning."""

    inputs: Tensor
    pairs: np.ndarray
    value: float
    weights: list[Tensor]


def watch(agent: USBPO) -> tuple[list[Look], list[Tensor]]:
    """Looks at the objective, and the inputs of updates."""
    looks: list[Look] = []
    updates: list[Tensor] = []
    objective, update = agent._objective, agent.update_model

    def looked(before: GaussianEnsemble, inputs: Tensor, pairs: np.ndarray) -> float:
        value = objective(before, inputs, pairs)
        looks.append(Look(inputs, pairs, value, model_weights(agent)))
        return value

    def updated(before: GaussianEnsemble, inputs: Tensor, pairs: np.ndarray) -> None:
        updates.append(inputs)
        update(before, inputs, pairs)

    agent._objective = looked  # type: ignore[method-assign]
    agent.update_model = updated  # type: ignore[method-assign]
    return looks, updates


def kept(values: list[float]) -> tuple[int, int]:
    """The look whose weights are to stay, and the updates made, were there no limit."""
    best, stale = 0, 0
    for update, value in enumerate(values[1:], start=1):
        if (values[best] - value) / values[best] > 1e-4:
            best, stale = update, 0
        else:
            stale += 1
        if stale > 10:
            return best, update
    return best, len(values) - 1


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("rate", [1e-3, 0.1])
def test_fine_tuning_lowers_the_objective_on_real_states_and_keeps_its_best(form, rate) -> None:
    assert (IMPROVEMENT, PATIENCE) == (1e-4, 10)
    agent, before, keys = ready(
        wasserstein=form, fine_tuning_learning_rate=rate, fine_tuning_updates=200
    )
    looks, updates = watch(agent)
    metrics = agent.fine_tune(before, keys)
    values = [look.value for look in looks]
    best, count = kept(values)
    assert len(updates) == len(looks) - 1 == count == metrics["tuning_updates"]
    assert equal(model_weights(agent), looks[best].weights)
    assert values[best] < 0.95 * values[0]
    assert agent._objective(before, looks[0].inputs, looks[0].pairs) < values[0]
    if rate == 0.1:  # the last weights would have been another choice
        assert count < 200
        assert not equal(looks[best].weights, looks[-2].weights)


def test_where_every_update_makes_it_worse_the_weights_stay() -> None:
    agent, before, keys = ready(fine_tuning_learning_rate=10.0, fine_tuning_updates=60)
    start = model_weights(agent)
    metrics = agent.fine_tune(before, keys)
    assert metrics["tuning_updates"] == 11
    assert equal(model_weights(agent), start)


def test_it_makes_no_more_updates_than_allowed() -> None:
    agent, before, keys = ready(fine_tuning_updates=3)
    assert agent.fine_tune(before, keys)["tuning_updates"] == 3


def test_with_the_former_model_identical_and_tiny_steps_nothing_moves() -> None:
    agent, _, keys = ready(fine_tuning_learning_rate=1e-12)
    before, start = deepcopy(agent.model).requires_grad_(False), learnt(agent)
    metrics = agent.fine_tune(before, keys)
    assert distance(start, learnt(agent)) < 1e-7
    pairs = np.random.default_rng(0).integers(3, size=BATCH)
    same = np.stack([pairs, pairs])
    shift, bias = agent._magnitudes(before, torch.randn(BATCH, OBS + ACTION), same)
    assert shift < 1e-4
    assert bias > 1e-2
    assert metrics["model_shift"] > 1e-2  # of members k1 and k2, which differ


def test_the_objective_is_measured_on_the_same_real_states_and_lowered_on_made_up_ones() -> None:
    agent, made = usbpo(), empty_replay()
    go(agent, made, RANDOM_STEPS + 9)
    made_up = agent.model_data.sets[-1][:, : OBS + ACTION]
    looks, updates = watch(agent)
    go(agent, made, RANDOM_STEPS + 10)
    real, _ = agent.trainer.held_out
    assert len(updates) > 1
    for look in looks:
        assert torch.equal(look.inputs, looks[0].inputs)
        assert np.array_equal(look.pairs, looks[0].pairs)
        assert look.inputs.shape == (BATCH, OBS + ACTION)
        assert {tuple(row) for row in look.inputs.tolist()} <= set(map(tuple, real.tolist()))
    for inputs in updates:
        assert {tuple(row) for row in inputs.tolist()} <= set(map(tuple, made_up.tolist()))
    assert not torch.equal(updates[0], updates[1])


def test_pairs_of_members_are_drawn_for_each_row_or_fixed_for_the_run() -> None:
    rng = np.random.default_rng(0)
    for form in FORMS:
        agent = usbpo(wasserstein=form, fine_tuning_batch_size=3_000)
        pairs, others = agent._pairs(rng), agent._pairs(rng)
        assert pairs.shape == (2, 3_000)
        assert np.array_equal(pairs, others) == (form == "repo")
        together = np.bincount(3 * pairs[0] + pairs[1], minlength=9)  # independent and uniform
        np.testing.assert_allclose(together / 3_000, 1 / 9, atol=0.025)
    again, other = (build(USBPO, seed=seed, **TUNING) for seed in (7, 8))
    assert np.array_equal(usbpo().fixed_pairs, again.fixed_pairs)
    assert not np.array_equal(again.fixed_pairs, other.fixed_pairs)


# --- inside the loop


def without_phase_2(agent: USBPO) -> USBPO:
    agent.fine_tune = lambda before, keys: {}  # type: ignore[method-assign]
    return agent


@pytest.mark.parametrize("form", FORMS)
def test_without_its_second_phase_it_is_mbpo_bit_for_bit(form: str) -> None:
    agents = [without_phase_2(usbpo(wasserstein=form)), build(MBPO), usbpo(wasserstein=form)]
    replays = [empty_replay() for _ in agents]
    metrics = [go(a, r, RANDOM_STEPS + 23) for a, r in zip(agents, replays, strict=True)]
    changed, mbpo, whole = agents
    assert equal(learnt(changed), learnt(mbpo))
    assert equal(changed.model_data.sets, mbpo.model_data.sets)
    assert changed.elites == mbpo.elites
    for ours, theirs in zip(metrics[0], metrics[1], strict=True):
        assert {k: float(v) for k, v in ours.items()} == {k: float(v) for k, v in theirs.items()}
    assert not equal(learnt(whole), learnt(mbpo))


def test_the_first_training_has_no_second_phase() -> None:
    agent, mbpo, made = usbpo(), build(MBPO), empty_replay()
    go(mbpo, empty_replay(), RANDOM_STEPS + 9)
    metrics = go(agent, made, RANDOM_STEPS + 9)
    assert not any("tuning_updates" in row or "delta" in row for row in metrics)
    assert int(agent.tuning_adam.steps) == 0
    assert equal(learnt(agent), learnt(mbpo))
    row = go(agent, made, RANDOM_STEPS + 10)[-1]
    assert {"tuning_updates", "model_shift", "model_bias", "delta"} <= set(row)
    assert int(agent.tuning_adam.steps) == row["tuning_updates"]
    assert not any(isinstance(v, Tensor) and v.requires_grad for v in row.values())


def test_optimisers_are_two_and_their_moments_stay() -> None:
    agent = usbpo()
    rows = go(agent, empty_replay(), RANDOM_STEPS + 30)
    assert int(agent.trainer.adam.steps) == sum(row.get("model_updates", 0.0) for row in rows)
    assert int(agent.tuning_adam.steps) == sum(row.get("tuning_updates", 0.0) for row in rows) > 3


def test_the_former_model_is_that_before_the_training_with_its_scale_and_limits() -> None:
    agent, made, seen = usbpo(), empty_replay(), []
    go(agent, made, RANDOM_STEPS + 9)
    former = deepcopy(agent.model.state_dict())
    fine_tune = agent.fine_tune

    def watched(before: GaussianEnsemble, keys: Keys) -> Any:
        seen.append((before, deepcopy(before.state_dict()), deepcopy(agent.model.state_dict())))
        return fine_tune(before, keys)

    agent.fine_tune = watched  # type: ignore[method-assign]
    go(agent, made, RANDOM_STEPS + 10)
    (before, given, after_phase_1) = seen[0]
    assert not any(parameter.requires_grad for parameter in before.parameters())
    for name, value in former.items():
        assert torch.equal(given[name], value)
        assert torch.equal(before.state_dict()[name], value)  # not even by phase 2
        assert not torch.equal(after_phase_1[name], value)


def test_elites_are_chosen_anew_after_the_second_phase() -> None:
    agent, made = usbpo(members=5, elites=3, fine_tuning_learning_rate=0.03), empty_replay()
    go(agent, made, RANDOM_STEPS + 9)
    chosen: list[list[int]] = []
    choose = agent.choose_elites

    def watched(errors: Tensor) -> None:
        choose(errors)
        chosen.append(agent.elites)

    agent.choose_elites = watched  # type: ignore[method-assign]
    go(agent, made, RANDOM_STEPS + 10)
    assert len(chosen) == 2
    errors = agent.trainer.errors(*agent.trainer.held_out)
    assert agent.elites == chosen[1] == errors.argsort(stable=True)[:3].tolist()


class Measured(NamedTuple):
    """A call of `_magnitudes`: its inputs, the models' weights then, and what it should give."""

    inputs: Tensor
    model: dict[str, Tensor]
    sets: list[Tensor]
    shift: float
    bias: float


@pytest.mark.parametrize("form", FORMS)
def test_delta_is_the_bias_on_states_before_minus_that_on_states_after(form: str) -> None:
    """Theorem 4: both of the updated model; by Eq. 11, whichever form is minimised."""
    agent, made, measured = usbpo(wasserstein=form, model_data_epochs=2), empty_replay(), []
    go(agent, made, RANDOM_STEPS + 19)
    magnitudes = agent._magnitudes

    def watched(before: GaussianEnsemble, inputs: Tensor, pairs: np.ndarray) -> Any:
        with torch.no_grad():
            shift, bias = slow_parts(before, agent.model, inputs, pairs)
        state = deepcopy(agent.model.state_dict())
        sets = list(agent.model_data.sets)
        measured.append(Measured(inputs, state, sets, shift.item(), bias.item()))
        return magnitudes(before, inputs, pairs)

    agent._magnitudes = watched  # type: ignore[method-assign]
    (row,) = go(agent, made, RANDOM_STEPS + 20)
    first, last = measured
    assert float(row["model_shift"]) == pytest.approx(first.shift, rel=1e-4)
    assert float(row["model_bias"]) == pytest.approx(first.bias, rel=1e-4)
    assert float(row["delta"]) == pytest.approx(first.bias - last.bias, rel=1e-3, abs=1e-6)
    assert float(row["delta"]) != 0
    for one in measured:
        assert all(torch.equal(v, agent.model.state_dict()[n]) for n, v in one.model.items())
    assert (len(first.sets), len(last.sets)) == (2, 3)
    assert states_of(first.inputs) <= states_of(torch.cat(first.sets))
    assert states_of(last.inputs) <= states_of(last.sets[-1])
    assert not states_of(last.inputs) & states_of(first.inputs)


def states_of(rows: Tensor) -> set[tuple[float, ...]]:
    return set(map(tuple, rows[:, : OBS + ACTION].tolist()))


def test_delta_comes_with_fine_tuning_alone() -> None:
    agent, made = usbpo(), empty_replay()
    go(agent, made, RANDOM_STEPS + 10)
    assert agent.bias_before is None
    metrics = agent.roll_out(made, moment(made))
    assert "delta" not in metrics


# --- state, bytes, compiled


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("at", [RANDOM_STEPS + 3, RANDOM_STEPS + 14])
def test_a_restored_agent_goes_on_bit_for_bit(form: str, at: int) -> None:
    assert_goes_on_bit_for_bit(USBPO, at, at + 12, **TUNING, wasserstein=form)


def test_the_same_keys_give_the_same_bytes_and_others_do_not() -> None:
    agents: list[USBPO] = []
    for seed in (0, 0, 1):
        agent, made = usbpo(), Replay(100, OBS, ACTION)
        add(made, RANDOM_STEPS - 1)
        torch.randn(3)  # torch's own generator is nobody's source
        go(agent, made, RANDOM_STEPS + 10, seed=seed)
        agents.append(agent)
    assert equal(learnt(agents[0]), learnt(agents[1]))
    assert not equal(learnt(agents[0]), learnt(agents[2]))


def test_compiled_and_eager_fine_tuning_agree() -> None:
    eager, before, _ = ready()
    compiled = build(USBPO, compiled=True, **TUNING)
    compiled.model.load_state_dict(eager.model.state_dict())
    start, generator = model_weights(eager), np.random.default_rng(0)
    for _ in range(5):
        inputs = torch.from_numpy(generator.normal(size=(BATCH, OBS + ACTION)).astype(np.float32))
        pairs = generator.integers(3, size=(2, BATCH))
        for agent in (eager, compiled):
            agent.update_model(before, inputs, pairs)
    assert distance(start, model_weights(eager)) > 1e-3
    assert distance(model_weights(compiled), model_weights(eager)) < 1e-5
