"""The Bayesian LSTM: what masks do, what the loss and its gradients are, what rollouts draw."""

import io
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from tests.models.lstm_reference import (
    ACTION,
    OBS,
    SlowModel,
    build,
    finite_differences,
    masks_for,
    normals,
    trajectories,
)
from unirl_repro.models.bayesian_lstm import MIN_STD, BayesianLSTM, Masks
from unirl_repro.nn.lstm import LSTMState
from unirl_repro.replay import Batch
from unirl_repro.rng import Keys

# The weights that each mask's unit j feeds: row j of these.
FED = {
    "lstm_input": "lstm.from_input.weight",
    "lstm_output": "lstm.from_output",
    "first": "first.weight",
    "second": "second.weight",
    "heads": "heads.weight",
}


def start_state(model: BayesianLSTM, rows: int) -> LSTMState:
    zero = torch.zeros(rows, model.hidden, dtype=torch.float64)
    return LSTMState(zero, zero)


def outputs(batch: Batch) -> Tensor:
    return torch.cat([batch.next_obs - batch.obs, batch.reward[..., None]], -1)


def weights(model: BayesianLSTM) -> dict[str, Tensor]:
    return dict(model.named_parameters())


# Masks


@pytest.mark.parametrize("dropout", [0.1, 0.5, 0.8])
def test_a_mask_is_zero_or_the_inverse_of_what_is_kept(dropout):
    model = build(hidden=5, dropout=dropout)
    count = 4000
    for mask in masks_for(model, count):
        assert mask.shape == (count, 5)
        off = mask == 0
        torch.testing.assert_close(mask[~off], torch.full_like(mask[~off], 1 / (1 - dropout)))
        spread = (dropout * (1 - dropout) / count) ** 0.5
        assert ((off.double().mean(0) - dropout).abs() < 5 * spread).all()


def test_each_row_layer_and_draw_has_a_mask_of_its_own():
    model = build(hidden=40)
    masks, others = masks_for(model, 3), masks_for(model, 3, seed=1)
    rows = [mask[i] for mask in masks for i in range(3)] + [mask[0] for mask in others]
    assert len({tuple(row.tolist()) for row in rows}) == len(rows)
    again = masks_for(model, 3)
    assert all(torch.equal(*pair) for pair in zip(masks, again, strict=True))


def test_repeated_masks_stand_next_to_each_other():
    masks = masks_for(build(), 3)
    for mask, repeated in zip(masks, masks.repeat(2), strict=True):
        assert torch.equal(repeated, mask[[0, 0, 1, 1, 2, 2]])


@pytest.mark.parametrize("layer", FED)
def test_a_unit_that_is_off_has_no_influence_at_any_step(layer):
    model, data = build(), trajectories(steps=6, rows=2)
    ones = torch.full((2, model.hidden), 1 / 0.7, dtype=torch.float64)
    masks = Masks(ones, ones, ones, ones, ones)
    mask = ones.clone()
    mask[0, 4] = 0.0  # in the first trajectory alone
    masks = masks._replace(**{layer: mask})
    before = model.predict(data.obs, data.action, masks)
    with torch.no_grad():
        weights(model)[FED[layer]][4] += 3.0
    after = model.predict(data.obs, data.action, masks)
    for one, other in zip(before, after, strict=True):
        assert torch.equal(one[:, 0], other[:, 0])
        # The recurrent input is zero before the first step.
        first = 1 if layer == "lstm_output" else 0
        assert (one[first:, 1] != other[first:, 1]).any(-1).all()


def test_another_mask_is_another_prediction_and_the_same_mask_the_same():
    model, data = build(), trajectories(steps=4, rows=1)
    same = Batch(*(part.expand(4, 2, *part.shape[2:]) for part in data))
    differ = model.predict(same.obs, same.action, masks_for(model, 2))[0]
    assert not torch.equal(differ[:, 0], differ[:, 1])
    alike = model.predict(same.obs, same.action, masks_for(model, 1).repeat(2))[0]
    assert torch.equal(alike[:, 0], alike[:, 1])


def test_trajectories_do_not_see_each_other():
    model, data = build(), trajectories(steps=5, rows=4)
    masks = masks_for(model, 4)
    together = model.predict(data.obs, data.action, masks)
    for row in range(4):
        one = slice(row, row + 1)
        mask = Masks(*(part[one] for part in masks))
        alone = model.predict(data.obs[:, one], data.action[:, one], mask)
        for a, b in zip(alone, together, strict=True):
            torch.testing.assert_close(a[:, 0], b[:, row], rtol=1e-12, atol=1e-12)


def test_the_present_is_not_told_the_future():
    model, data = build(), trajectories(steps=5, rows=2)
    masks = masks_for(model, 2)
    before = model.predict(data.obs, data.action, masks)[0]
    data.obs[3], data.action[4] = 0.0, 0.0
    after = model.predict(data.obs, data.action, masks)[0]
    torch.testing.assert_close(before[:3], after[:3], rtol=1e-12, atol=1e-12)
    assert (before[3:] != after[3:]).any(-1).all()


# Predictions, loss and gradients


def test_predictions_equal_a_slow_references():
    model, data = build(), trajectories(steps=7, rows=3)
    masks = masks_for(model, 3)
    ours, slow = (m.predict(data.obs, data.action, masks) for m in (model, SlowModel(model)))
    for a, b in zip(ours, slow, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_step_by_step_it_predicts_what_it_does_along_whole_trajectories():
    model, data = build(), trajectories(steps=6, rows=3)
    masks = masks_for(model, 3)
    mean, std = model.predict(data.obs, data.action, masks)
    state = start_state(model, 3)
    for t in range(6):
        noise = normals(3, OBS + 1, rng=np.random.default_rng(t))
        next_obs, reward, state = model.step(data.obs[t], data.action[t], state, masks, noise)
        expected = model.outputs.mean + model.outputs.std * (mean[t] + std[t] * noise)
        sampled = torch.cat([next_obs - data.obs[t], reward[:, None]], -1)
        torch.testing.assert_close(sampled, expected, rtol=1e-10, atol=1e-10)
        after = model.states(data.obs, data.action, masks)
        torch.testing.assert_close(state.output, after.output[t], rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(state.cell, after.cell[t], rtol=1e-10, atol=1e-10)


def test_the_likelihood_is_scipys_and_the_loss_its_mean_over_trajectories():
    model, data = build(), trajectories(steps=5, rows=3)
    masks = masks_for(model, 3)
    mean, std = (part.detach() for part in model.predict(data.obs, data.action, masks))
    targets = (outputs(data) - model.outputs.mean) / model.outputs.std
    expected = stats.norm.logpdf(targets, mean, std).sum((0, 2))
    found = model.log_likelihood(data, masks).detach()
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    loss = model.loss(data, masks, num_episodes=10, prior=0.0)
    assert loss.item() == pytest.approx(-expected.mean(), rel=1e-10)


@pytest.mark.parametrize(("num_episodes", "prior"), [(1, 2.0), (10, 2.0), (10, 100.0)])
def test_the_prior_adds_eta_over_n_times_the_squared_weights(num_episodes, prior):
    model, data = build(), trajectories(steps=2, rows=3)
    masks = masks_for(model, 3)
    with_it = model.loss(data, masks, num_episodes, prior)
    added = (with_it - model.loss(data, masks, num_episodes, prior=0.0)).item()
    squares = sum(np.square(p.detach().numpy()).sum() for p in weights(model).values())
    assert added == pytest.approx(prior / num_episodes * squares, rel=1e-10)


def test_the_prior_pulls_each_weight_by_its_own_size_and_no_mean_or_std():
    model, data = build(), trajectories(steps=2, rows=2)
    masks, learnt = masks_for(model, 2), list(model.parameters())
    pulls = [
        torch.autograd.grad(model.loss(data, masks, 4, prior=prior), learnt) for prior in (0.0, 6.0)
    ]
    for weight, without, with_it in zip(learnt, *pulls, strict=True):
        torch.testing.assert_close(with_it - without, 2 * 6.0 / 4 * weight.detach())
    assert {name for name in weights(model) if name.startswith(("inputs.", "outputs."))} == set()


def test_gradients_of_the_loss_agree_with_finite_differences():
    model, data = build(hidden=4), trajectories(steps=4, rows=3)
    masks = masks_for(model, 3)

    def loss() -> Tensor:
        return model.loss(data, masks, num_episodes=5, prior=0.7)

    gradients = torch.autograd.grad(loss(), list(model.parameters()))
    for (name, weight), gradient in zip(weights(model).items(), gradients, strict=True):
        found = finite_differences(loss, weight)
        torch.testing.assert_close(gradient, found, rtol=1e-6, atol=1e-7, msg=name)


def test_at_training_size_loss_and_gradients_equal_a_slow_references():
    """Long and wide enough to be computed in several parts."""
    model, data = build(hidden=64, dropout=0.1), trajectories(steps=100, rows=100)
    masks, slow = masks_for(model, 100), SlowModel(model)
    ours = model.loss(data, masks, 20, prior=0.5)
    theirs = slow.loss(data, masks, 20, prior=0.5)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-10)
    theirs.backward()
    found = dict(
        zip(weights(model), torch.autograd.grad(ours, list(model.parameters())), strict=True)
    )
    expected = slow.gradients()
    assert set(found) == set(expected)
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-8, atol=1e-8, msg=name)


def test_gradients_of_a_rollout_agree_with_finite_differences():
    model = build(hidden=4)
    masks, gain = masks_for(model, 3), torch.full((OBS, ACTION), 0.1, dtype=torch.float64)
    gain.requires_grad_()

    def policy(obs: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        action = obs @ gain + 0.3 * noise
        return action.tanh(), action.square().sum(-1)

    start = trajectories(steps=1, rows=3).obs[0].requires_grad_()

    def objective() -> Tensor:
        rollouts = model.rollout(policy, start, masks, 5, np.random.default_rng(1))
        parts = (rollouts.obs[-1], rollouts.reward, rollouts.log_prob)
        return torch.stack([part.sum() for part in parts]).sum()

    gradients = torch.autograd.grad(objective(), [start, gain])
    for variable, gradient in zip((start, gain), gradients, strict=True):
        torch.testing.assert_close(
            gradient, finite_differences(objective, variable), rtol=1e-6, atol=1e-7
        )


# Rollouts


def sharp(**sizes: Any) -> BayesianLSTM:
    """Small standard deviations, so that a wrong mean shows, and means that move about."""
    model = build(**sizes)
    with torch.no_grad():
        for weight in weights(model).values():
            weight *= 2
        model.heads.weight[:, OBS + 1 :] /= 20
        model.heads.bias[OBS + 1 :] = -4
    return model


def noisy_policy(obs: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    return (obs[:, :ACTION] / 5 + noise).tanh(), noise.sum(-1)


class Recorder:
    """A policy that remembers what it saw and did."""

    def __init__(self) -> None:
        self.seen: list[tuple[Tensor, Tensor]] = []

    def __call__(self, obs: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        action, log_prob = noisy_policy(obs, noise)
        self.seen.append((obs, action))
        return action, log_prob


@pytest.mark.parametrize("burnt_in", [0, 4])
@torch.no_grad()
def test_a_rollout_draws_from_what_the_model_predicts_along_it(burnt_in):
    """Each row under its own mask all along, from the zero state or from where it had got to."""
    model, rows, steps = sharp(), 600, 8
    masks = masks_for(model, rows)
    prefix = trajectories(steps=burnt_in + 1, rows=rows)
    state = None
    if burnt_in:
        after = model.states(prefix.obs[:-1], prefix.action[:-1], masks)
        state = LSTMState(after.output[-1], after.cell[-1])
    policy = Recorder()
    rollouts = model.rollout(policy, prefix.obs[-1], masks, steps, np.random.default_rng(0), state)
    assert rollouts.obs.shape == (steps + 1, rows, OBS)
    assert rollouts.reward.shape == rollouts.log_prob.shape == (steps, rows)
    seen, done = (torch.stack(part) for part in zip(*policy.seen, strict=True))
    assert torch.equal(seen, rollouts.obs[:-1])
    obs, action = torch.cat([prefix.obs[:-1], seen]), torch.cat([prefix.action[:-1], done])
    mean, std = (part[burnt_in:] for part in model.predict(obs, action, masks))
    drawn = torch.cat([rollouts.obs.diff(dim=0), rollouts.reward[..., None]], -1)
    score = ((drawn - model.outputs.mean) / model.outputs.std - mean) / std  # [T, B, O + 1]
    assert std.mean() < 0.1
    assert stats.kstest(score.flatten(), "norm").pvalue > 1e-3
    # Of one trajectory at two times, or in two columns: independent.
    correlation = np.corrcoef(score.transpose(0, 1).flatten(1).T)
    assert np.abs(correlation - np.eye(len(correlation))).max() < 6 / rows**0.5


@torch.no_grad()
def test_rollouts_follow_their_generator_alone():
    model = build()
    start, masks = trajectories(steps=1, rows=3).obs[0], masks_for(model, 3)
    rollouts = [
        model.rollout(noisy_policy, start, masks, 5, np.random.default_rng(seed))
        for seed in (0, 0, 1)
    ]
    for first, second, other in zip(*rollouts, strict=True):
        assert torch.equal(first, second)
        assert not torch.equal(first, other)


# Data


def test_normalisation_counts_all_that_was_observed_and_changes_only_when_told():
    model = BayesianLSTM(OBS, ACTION, 20, 0.1, Keys(0, "init")("model")).double()
    episodes = [Batch(*(p[:, 0] for p in trajectories(steps=9, rows=1, seed=s))) for s in range(3)]
    masks, probe = masks_for(model, 1), trajectories(steps=3, rows=1, seed=9)
    before = model.predict(probe.obs, probe.action, masks)[0]
    for episode in episodes:
        model.observe(episode)
    assert torch.equal(model.predict(probe.obs, probe.action, masks)[0], before)
    model.normalise()
    assert not torch.equal(model.predict(probe.obs, probe.action, masks)[0], before)
    whole = Batch(*(torch.cat(parts) for parts in zip(*episodes, strict=True)))
    columns = {"inputs": torch.cat([whole.obs, whole.action], -1), "outputs": outputs(whole)}
    for name, rows in columns.items():
        normaliser = getattr(model, name)
        torch.testing.assert_close(normaliser.mean, rows.mean(0))
        torch.testing.assert_close(normaliser.std, rows.std(0, correction=0))


def test_predictions_do_not_depend_on_the_units_of_the_data():
    """Of observations, actions and rewards, once both models are normalised."""
    scale, offset = torch.tensor([10.0, 0.1, 3.0]), torch.tensor([-5.0, 7.0, 0.0])
    data = trajectories(steps=20, rows=2)
    other = data._replace(
        obs=data.obs * scale + offset,
        next_obs=data.next_obs * scale + offset,
        action=data.action * 2,
        reward=data.reward * 50 - 3,
    )
    found = []
    for batch in (data, other):
        model = BayesianLSTM(OBS, ACTION, 20, 0.1, Keys(0, "init")("model")).double()
        model.observe(Batch(*(part.flatten(0, 1) for part in batch)))
        model.normalise()
        found.append(model.log_likelihood(batch, masks_for(model, 2)))
    torch.testing.assert_close(*found, rtol=1e-8, atol=1e-8)


def test_a_saved_model_predicts_the_same_once_loaded():
    model, other = build(), build(seed=1)
    data, masks = trajectories(steps=4, rows=3), masks_for(model, 3)
    assert not torch.equal(*(m.predict(data.obs, data.action, masks)[0] for m in (model, other)))
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    for part in range(2):
        assert torch.equal(*(m.predict(data.obs, data.action, masks)[part] for m in (model, other)))
    rollouts = [
        m.rollout(noisy_policy, data.obs[0], masks, 3, np.random.default_rng(0))
        for m in (model, other)
    ]
    assert torch.equal(rollouts[0].reward, rollouts[1].reward)


def test_no_standard_deviation_falls_below_the_floor():
    model, data = build(), trajectories(steps=3, rows=2)
    with torch.no_grad():
        model.heads.bias.sub_(1000)
    std = model.predict(data.obs, data.action, masks_for(model, 2))[1]
    assert torch.equal(std, torch.full_like(std, MIN_STD))
    assert model.log_likelihood(data, masks_for(model, 2)).isfinite().all()
