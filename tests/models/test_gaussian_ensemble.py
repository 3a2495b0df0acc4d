"""The ensemble against mbrl-lib's, torch's distributions and itself one member at a time."""

from collections.abc import Iterator, Sequence
from math import log, pi

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mbrl.models import GaussianMLP
from scipy import stats
from torch import Tensor
from torch.distributions import Normal

from unirl_repro.models.ensemble_training import EnsembleTrainer
from unirl_repro.models.gaussian_ensemble import GaussianEnsemble, Prediction
from unirl_repro.nn import blocks, products
from unirl_repro.rng import Keys, normal

OBS, ACTION, MEMBERS, ROWS = 4, 2, 3, 32
INPUTS, OUTPUTS = OBS + ACTION, 1 + OBS
HIDDEN, DECAY = (16, 16, 16, 16), (2.5e-5, 5e-5, 7.5e-5, 7.5e-5, 1e-4)
TOLERANCE = 1e-9


@pytest.fixture
def double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def ensemble(hidden: Sequence[int] = HIDDEN, members: int = MEMBERS, seed: int = 0):
    decay = DECAY if len(hidden) == len(HIDDEN) else (1e-4,) * (len(hidden) + 1)
    return GaussianEnsemble(
        OBS, ACTION, hidden, Keys(seed, "init")("model"), weight_decay=decay, members=members
    )


def moved(model: GaussianEnsemble) -> GaussianEnsemble:
    """With nothing left at zero or one, where it would hide a mistake."""
    rng = Keys(5, "test")("moved")
    with torch.no_grad():
        for variable in [*model.parameters(), model.input_mean]:
            variable += 0.3 * normal(rng, *variable.shape, like=variable)
        model.input_std *= normal(rng, INPUTS, like=model.input_std).exp()
    return model


def draws(*shape: int, seed: int = 1) -> Tensor:
    return normal(Keys(seed, "test")("draws"), *shape, like=torch.zeros(()))


# --- mbrl-lib's


def by_mbrl(model: GaussianEnsemble) -> GaussianMLP:
    """mbrl-lib's network with the same weights and limits; inputs it takes normalised."""
    theirs = GaussianMLP(
        INPUTS,
        OUTPUTS,
        "cpu",
        num_layers=len(HIDDEN),
        ensemble_size=MEMBERS,
        hid_size=HIDDEN[0],
        learn_logvar_bounds=True,
        activation_fn_cfg={"_target_": "torch.nn.SiLU"},
    )
    with torch.no_grad():
        for mine, other in zip(ours_of(model), theirs_of(theirs), strict=True):
            other.copy_(mine.reshape(other.shape))
    return theirs


def ours_of(model: GaussianEnsemble) -> list[Tensor]:
    return [*model.layers.parameters(), model.max_log_var, model.min_log_var]


def theirs_of(theirs: GaussianMLP) -> list[Tensor]:
    layers = [*(block[0] for block in theirs.hidden_layers), theirs.mean_and_logvar]
    parts = [part for layer in layers for part in (layer.weight, layer.bias)]
    return [*parts, theirs.max_logvar, theirs.min_logvar]


def normalised(model: GaussianEnsemble, inputs: Tensor) -> Tensor:
    return (inputs - model.input_mean) / model.input_std


def farthest(first: Sequence[Tensor], second: Sequence[Tensor]) -> float:
    pairs = zip(first, second, strict=True)
    return max((a.flatten() - b.flatten()).abs().max().item() for a, b in pairs)


def test_predictions_loss_and_gradients_equal_mbrl_libs(double) -> None:
    model = moved(ensemble())
    theirs = by_mbrl(model)
    inputs, targets = draws(MEMBERS, ROWS, INPUTS), draws(MEMBERS, ROWS, OUTPUTS, seed=2)
    x = normalised(model, inputs)
    assert farthest(model(inputs), theirs.forward(x, use_propagation=False)) < TOLERANCE
    ours, (other, _) = model.loss(inputs, targets), theirs.loss(x, targets)
    assert abs(ours.item() - other.item()) < TOLERANCE
    gradients = torch.autograd.grad(ours, ours_of(model))
    others = torch.autograd.grad(other, theirs_of(theirs))
    assert all(gradient.abs().max() > 1e-4 for gradient in gradients)
    assert farthest(gradients, others) < TOLERANCE


@pytest.mark.parametrize("factor", [1.0, 0.0], ids=["with decay", "mutant without"])
def test_five_updates_equal_torchs_adam_on_mbrl_libs_loss_and_the_decay(double, factor) -> None:
    model = moved(ensemble())
    theirs, trainer = by_mbrl(model), EnsembleTrainer(model, 1e-3, ROWS, compiled=False)
    adam = torch.optim.Adam(theirs_of(theirs), lr=1e-3)
    for step in range(5):
        inputs = draws(MEMBERS, ROWS, INPUTS, seed=10 + step)
        targets = draws(MEMBERS, ROWS, OUTPUTS, seed=20 + step)
        trainer.update(inputs, targets)
        loss, _ = theirs.loss(normalised(model, inputs), targets)
        for decay, weight in zip(DECAY, theirs_of(theirs)[0:-2:2], strict=True):
            loss = loss + factor * decay * (weight**2).sum() / 2
        adam.zero_grad()
        loss.backward()
        adam.step()
    gap = farthest(ours_of(model), theirs_of(theirs))
    assert gap < TOLERANCE if factor else gap > 1e3 * TOLERANCE


def test_errors_equal_mbrl_libs_scores(double) -> None:
    model = moved(ensemble())
    inputs, targets = draws(ROWS, INPUTS), draws(ROWS, OUTPUTS, seed=2)
    scores, _ = by_mbrl(model).eval_score(normalised(model, inputs), targets)
    ours = EnsembleTrainer(model, 1e-3, ROWS, compiled=False).errors(inputs, targets)
    assert (ours - scores.mean((1, 2))).abs().max() < TOLERANCE


# --- closed forms


def test_the_loss_is_twice_the_log_likelihood_of_torchs_normal(double) -> None:
    model = moved(ensemble())
    inputs, targets = draws(MEMBERS, ROWS, INPUTS), draws(MEMBERS, ROWS, OUTPUTS, seed=2)
    said = model(inputs)
    twice = -2 * Normal(said.mean, said.std).log_prob(targets) - log(2 * pi)
    span = (model.max_log_var - model.min_log_var).sum()
    expected = sum(twice[member].mean() for member in range(MEMBERS)) + 0.01 * span
    torch.testing.assert_close(model.loss(inputs, targets), expected)


def test_only_weights_decay_and_each_layer_by_its_factor() -> None:
    model = moved(ensemble())
    variables = ours_of(model)
    gradients = torch.autograd.grad(model.decay(), variables, allow_unused=True)
    for decay, weight, gradient in zip(DECAY, variables[0:-2:2], gradients[0:-2:2], strict=True):
        torch.testing.assert_close(gradient, decay * weight)
    assert not any(g is not None for g in [*gradients[1:-2:2], *gradients[-2:]])


def test_log_variances_stay_between_their_limits_and_are_left_alone_far_inside() -> None:
    model = ensemble()
    raw = torch.linspace(-1e4, 1e4, 4001).repeat_interleave(2 * OUTPUTS).reshape(-1, 2 * OUTPUTS)
    raw.requires_grad_()
    mean, log_var = model.bounded(raw)
    assert torch.equal(mean, raw[:, :OUTPUTS])
    assert log_var.min() >= -10
    assert log_var.max() <= 0.5 + 2 * np.exp(-10.5)
    assert (log_var.diff(dim=0) >= 0).all()
    inside = (raw > -9) & (raw < -0.5)
    assert (log_var - raw[:, OUTPUTS:])[inside[:, OUTPUTS:]].abs().max() < 0.4
    middle, _ = model.bounded(torch.full((1, 2 * OUTPUTS), -4.75)).log_var.sort()
    torch.testing.assert_close(middle, torch.full((1, OUTPUTS), -4.75), rtol=0, atol=0.02)
    gradients = torch.autograd.grad(log_var.sum(), [raw, model.max_log_var, model.min_log_var])
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_each_output_has_limits_of_its_own_that_all_members_share() -> None:
    model = ensemble()
    assert model.max_log_var.shape == model.min_log_var.shape == (OUTPUTS,)
    model.max_log_var.data[1] = -3.0
    low = model.bounded(torch.full((MEMBERS, 7, 2 * OUTPUTS), 50.0)).log_var
    torch.testing.assert_close(low[..., 1], torch.full((MEMBERS, 7), -3.0), rtol=0, atol=2e-3)
    torch.testing.assert_close(low[..., 2], torch.full((MEMBERS, 7), 0.5), rtol=0, atol=2e-3)


def test_std_is_the_root_of_the_variance() -> None:
    assert Prediction(torch.zeros(2), torch.tensor([9.0, 0.25]).log()).std.tolist() == (
        pytest.approx([3.0, 0.5])
    )


# --- inputs


@pytest.mark.parametrize("constant", [0.0, 0.1, 1 / 3, -1234.5])
def test_inputs_are_normalised_by_mean_and_std_and_constant_ones_are_only_shifted(constant) -> None:
    inputs = 3 * draws(5_003, INPUTS) + torch.arange(INPUTS)
    inputs[:, 2] = constant
    model = ensemble()
    model.normalise(inputs)
    exact = inputs.double().numpy()
    np.testing.assert_allclose(model.input_mean, exact.mean(0), rtol=1e-5, atol=1e-5)
    expected = exact.std(0)
    expected[2] = 1.0
    np.testing.assert_allclose(model.input_std, expected, rtol=1e-5)
    small = inputs[:5].clone()
    model.normalise(small)
    varied = [0, 1, 3, 4, 5]
    np.testing.assert_allclose(model.input_std[varied], exact[:5].std(0)[varied], rtol=1e-4)


def test_predictions_move_with_the_normalisation_and_not_with_the_scale_of_inputs() -> None:
    model, inputs = moved(ensemble()), draws(200, INPUTS)
    model.normalise(inputs)
    before = model(inputs)
    scaled = inputs * torch.tensor([1.0, 10.0, 0.1, 2.0, 3.0, 100.0]) + 7
    assert farthest(before, model(scaled)) > 0.1
    model.normalise(scaled)
    assert farthest(before, model(scaled)) < 1e-3


# --- initial weights


def test_initial_weights_are_truncated_normal_and_biases_zero() -> None:
    model = ensemble(hidden=(100, 150), members=4)
    for layer in model.layers:
        members, inputs, _ = layer.weight.shape
        scaled = layer.weight.detach().double() * 2 * inputs**0.5
        assert scaled.abs().max() <= 2 + 1e-6
        assert not layer.bias.any()
        for member in range(members):
            assert stats.kstest(scaled[member].flatten(), stats.truncnorm(-2, 2).cdf).pvalue > 1e-3
    everything = torch.cat(
        [(w.weight * 2 * w.weight.shape[1] ** 0.5).flatten() for w in model.layers]
    )
    assert everything.std().item() == pytest.approx(stats.truncnorm(-2, 2).std(), rel=0.01)
    assert everything.abs().max() > 1.95
    assert stats.kstest(everything.detach(), stats.norm.cdf).pvalue < 1e-3
    assert model.max_log_var.tolist() == [0.5] * OUTPUTS
    assert model.min_log_var.tolist() == [-10.0] * OUTPUTS


def test_members_differ_and_the_same_keys_give_the_same_bytes() -> None:
    first, again, other = ensemble(), ensemble(), ensemble(seed=1)
    for mine, same, different in zip(
        first.layers.parameters(), again.layers.parameters(), other.layers.parameters(), strict=True
    ):
        assert torch.equal(mine, same)
        if mine.shape[1] > 1:  # not a bias
            assert not torch.equal(mine, different)
            assert not torch.equal(mine[0], mine[1])


# --- one member for each row


def assert_rows_are_their_members(model: GaussianEnsemble, inputs: Tensor, members: np.ndarray):
    said = model.of_members(inputs, members)
    with torch.no_grad():
        everything = model(inputs)
    assert said.mean.shape == said.log_var.shape == (len(inputs), OUTPUTS)
    assert everything.mean.std(0).mean() > 1e-2  # members are told apart
    for whole, mine in zip(everything, said, strict=True):
        rows = torch.stack([whole[member, row] for row, member in enumerate(members)])
        torch.testing.assert_close(mine, rows, rtol=2e-4, atol=2e-5)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, MEMBERS - 1), min_size=1, max_size=40))
def test_each_row_is_what_its_member_says_whatever_their_order(members: list[int]) -> None:
    model = moved(ensemble())
    assert_rows_are_their_members(model, draws(len(members), INPUTS), np.array(members))


@pytest.mark.parametrize("wide", [True, False])  # which library multiplies
@pytest.mark.parametrize("drawn", [[0, 1, 2, 3, 4, 5, 6], [6, 2], [4]], ids=str)
def test_so_does_each_row_of_several_blocks(
    drawn: list[int], wide: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(products, "_FASTER", wide)
    model = moved(ensemble(hidden=(64, 64, 64, 64), members=7))
    members = Keys(0, "test")("members").choice(drawn, size=(blocks.ROWS + 200) * len(drawn))
    full = torch.empty(blocks.ROWS, 64)
    assert products.is_worthwhile(full, torch.empty(64, 64)) == (wide and products._AVAILABLE)
    assert_rows_are_their_members(model, draws(len(members), INPUTS), members)


def test_double_precision_agrees_with_the_full_forward_pass_to_its_last_digits(double) -> None:
    model, inputs = moved(ensemble()), draws(50, INPUTS)
    members = Keys(0, "test")("members").integers(MEMBERS, size=50)
    said, everything = model.of_members(inputs, members), model(inputs)
    for whole, mine in zip(everything, said, strict=True):
        assert farthest([mine], [whole[torch.from_numpy(members), torch.arange(50)]]) < 1e-12


def test_samples_are_the_members_means_and_stds_times_the_noise() -> None:
    model, obs, action = moved(ensemble()), draws(20, OBS), draws(20, ACTION, seed=2)
    members = Keys(0, "test")("members").integers(MEMBERS, size=20)
    noise = draws(20, OUTPUTS, seed=3)
    with torch.no_grad():
        said = model(torch.cat([obs, action], 1))
    rows = (torch.from_numpy(members), torch.arange(20))
    outputs = said.mean[rows] + said.log_var[rows].exp().sqrt() * noise
    reward, next_obs = model.sample(obs, action, members, noise)
    torch.testing.assert_close(reward, outputs[:, 0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(next_obs, obs + outputs[:, 1:], rtol=1e-4, atol=1e-5)
    assert not reward.requires_grad
    assert not next_obs.requires_grad


def test_without_noise_a_sample_is_the_mean_and_noise_moves_its_own_entry_alone() -> None:
    model, obs, action = moved(ensemble()), draws(9, OBS), draws(9, ACTION, seed=2)
    members = np.arange(9) % MEMBERS
    noise = torch.zeros(9, OUTPUTS)
    reward, next_obs = model.sample(obs, action, members, noise)
    mean = model.of_members(torch.cat([obs, action], 1), members).mean
    assert torch.equal(torch.column_stack([reward, next_obs - obs])[:, 0], mean[:, 0])
    noise[4, 2] = 1.0
    other_reward, other_obs = model.sample(obs, action, members, noise)
    assert torch.equal(other_reward, reward)
    changed = (other_obs != next_obs).nonzero().tolist()
    assert changed == [[4, 1]]
