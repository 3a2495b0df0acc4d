"""Equivalent policy sets: one mask that disagrees, ties, divergence, few rollouts, and Eq. 3's terms."""

import itertools
from math import inf, isfinite, log, nan
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from tests.agents.stand_ins import StandIn, labelled
from tests.models.lstm_reference import ACTION, OBS, build, trajectories
from unirl_repro.agents import eps
from unirl_repro.models.bayesian_lstm import Masks
from unirl_repro.replay import Batch

STEPS = 4


def constant(level: float):
    """A policy that does the same whatever it sees."""

    def act(obs: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        return torch.full_like(noise, level), noise.sum(-1)

    return act


def gaps_of(dynamics, labels: list[float], num_rollouts: int = 3, **more: Any) -> Tensor:
    """Gaps of the policy "1" over the policy "0", where each label is a mask."""
    masks = labelled(torch.tensor(labels))
    start = more.pop("start", torch.zeros(2, len(labels), num_rollouts, 1))
    model = StandIn(dynamics)
    policies = (constant(1.0), constant(0.0))
    rng = np.random.default_rng(more.pop("seed", 0))
    return eps.return_gaps(model, *policies, start, masks, STEPS, rng)  # type: ignore[arg-type]


def by_label(obs: Tensor, action: Tensor, label: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """The label is what an action of 1 gains, at each step."""
    return obs, label * action[:, 0] - 7


# Return gaps


def test_a_gap_is_what_each_mask_says_that_the_candidate_gains():
    labels = [2.0, -1.0, 0.0, 0.25]
    assert gaps_of(by_label, labels).tolist() == [STEPS * label for label in labels]


def test_a_gap_is_a_difference_of_means_over_each_policys_own_rollouts():
    def dynamics(obs, action, label, noise):
        return obs + 1, obs[:, 0] * label

    start = torch.randn(2, 3, 5, 1, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([1.0, 10.0, 100.0])
    returns = labels[:, None] * (STEPS * start[..., 0] + sum(range(STEPS)))  # [2, K, M]
    expected = returns.mean(-1)
    found = gaps_of(dynamics, labels.tolist(), num_rollouts=5, start=start)
    torch.testing.assert_close(found, expected[0] - expected[1])


def test_both_policies_are_judged_under_the_same_masks_but_other_noise():
    def dynamics(obs, action, label, noise):
        return obs, noise[:, 1]

    seen = gaps_of(dynamics, [0.0] * 2000, num_rollouts=2)
    assert (seen != 0).all()
    assert len(set(seen.tolist())) == 2000
    # Of each of 2 T M draws the same share, with opposite signs.
    assert stats.kstest(seen / (2 * STEPS / 2) ** 0.5, "norm").pvalue > 1e-3
    again = gaps_of(dynamics, [0.0] * 2000, num_rollouts=2)
    assert torch.equal(seen, again)
    assert not torch.equal(seen, gaps_of(dynamics, [0.0] * 2000, num_rollouts=2, seed=1))


def test_gaps_of_a_learned_model_are_those_of_its_own_rollouts(monkeypatch):
    """With K masks of M rollouts each, against a mask at a time, where nothing is random."""
    model = build(hidden=6)
    monkeypatch.setattr("unirl_repro.models.bayesian_lstm.MIN_STD", 0.0)
    with torch.no_grad():
        model.heads.bias[OBS + 1 :] = -1000  # the softplus of which is zero
    masks = model.sample_masks(4, np.random.default_rng(0))
    start = trajectories(steps=2, rows=12).obs.view(2, 4, 3, OBS)

    def rising(obs, noise):
        return (obs[:, :ACTION] / 4).tanh(), noise.sum(-1)

    def falling(obs, noise):
        return -(obs[:, :ACTION] / 2).tanh(), noise.sum(-1)

    rng = np.random.default_rng(1)
    found = eps.return_gaps(model, rising, falling, start, masks, 10, rng)
    for k in range(4):
        mask = Masks(*(part[k : k + 1] for part in masks)).repeat(3)
        returns = [
            model.rollout(policy, start[i, k], mask, 10, rng).reward.sum(0).mean().item()
            for i, policy in enumerate((rising, falling))
        ]
        assert found[k].item() == pytest.approx(returns[0] - returns[1], rel=1e-6)
    assert found.abs().min() > 1e-2


def test_gaps_hold_no_graph_and_leave_the_model_alone():
    model = build()
    masks = model.sample_masks(2, np.random.default_rng(0))
    start = trajectories(steps=2, rows=4).obs.view(2, 2, 2, OBS)

    def act(obs, noise):
        return noise.tanh(), noise.sum(-1)

    gaps = eps.return_gaps(model, act, act, start, masks, 3, np.random.default_rng(0))
    assert not gaps.requires_grad
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


# The decision

NUMBERS = st.one_of(st.floats(width=32), st.sampled_from([0.0, -0.0, nan, inf, -inf, 1e-45]))
GAPS = st.lists(NUMBERS, min_size=1, max_size=8)


@given(gaps=GAPS)
def test_proven_means_that_each_gap_is_a_positive_number(gaps):
    expected = all(isfinite(gap) and gap > 0 for gap in gaps)
    assert eps.is_proven(torch.tensor(gaps)) is expected


@given(gaps=GAPS, more=GAPS)
def test_more_masks_never_prove_what_fewer_did_not(gaps, more):
    assert eps.is_proven(torch.tensor(gaps)) >= eps.is_proven(torch.tensor(gaps + more))


@pytest.mark.parametrize("dissent", [-1e-6, 0.0, -0.0, -inf, inf, nan])
@pytest.mark.parametrize("place", [0, 24, 49])
def test_one_mask_that_disagrees_is_enough(place, dissent):
    gaps = torch.full((50,), 3.0)
    assert eps.is_proven(gaps)
    gaps[place] = dissent
    assert not eps.is_proven(gaps)


def test_two_policies_alike_prove_nothing():
    model = StandIn(by_label)
    masks, start = labelled(torch.tensor([2.0, 3.0])), torch.zeros(2, 2, 3, 1)
    rng = np.random.default_rng(0)
    gaps = eps.return_gaps(model, constant(1.0), constant(1.0), start, masks, STEPS, rng)  # type: ignore[arg-type]
    assert gaps.tolist() == [0, 0]
    assert not eps.is_proven(gaps)


@pytest.mark.parametrize("value", [inf, -inf, nan])
@pytest.mark.parametrize("whose", [1.0, 0.0])
def test_a_rollout_that_diverges_proves_nothing_whoever_acted(value, whose):
    """Were the incumbent's returns to fall to -inf, the candidate would not be the better for it."""

    def dynamics(obs, action, label, noise):
        lost = (label == 1) & (action[:, 0] == whose)
        reward = torch.where(lost, torch.tensor(value), 1 + action[:, 0])
        return obs, reward

    gaps = gaps_of(dynamics, [0.0, 1.0, 2.0])
    assert gaps.isfinite().tolist() == [True, False, True]
    assert gaps[[0, 2]].tolist() == [STEPS, STEPS]
    assert not eps.is_proven(gaps)


# The bound


@given(gaps=st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=8), data=st.data())
def test_the_bound_is_the_sum_of_log_weights_and_log_gaps(gaps, data):
    sizes: Any = {"min_size": len(gaps), "max_size": len(gaps)}
    weights = data.draw(st.lists(st.floats(-1e3, 1e3), **sizes))
    found = eps.lower_bound(*(torch.tensor(x, dtype=torch.float64) for x in (gaps, weights)))
    expected = sum(w + log(gap) for w, gap in zip(weights, gaps, strict=True))
    assert found.item() == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(gaps=GAPS, weight=st.floats(-1e3, 1e3))
def test_the_bound_is_infinitely_low_exactly_where_nothing_is_proven(gaps, weight):
    values = torch.tensor(gaps)
    bound = eps.lower_bound(values, torch.full_like(values, weight)).item()
    assert isfinite(bound) if eps.is_proven(values) else bound == -inf


# Few rollouts


def noisy(obs: Tensor, action: Tensor, label: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """An action of 1 gains 0.25 a step under each mask; the reward's noise has variance 1."""
    return obs, 0.25 * action[:, 0] + noise[:, 1]


def simulated(num_rollouts: int, checks: int, num_masks: int) -> Tensor:
    """Gaps of many checks at once: [checks, K]."""
    found = gaps_of(noisy, [0.0] * (checks * num_masks), num_rollouts=num_rollouts)
    return found.view(checks, num_masks)


def test_few_rollouts_make_it_slow_to_prove_a_better_policy_better():
    """As normal gaps have it: each of K is above zero with probability Phi(mean / std)."""
    checks, masks, shares = 3000, 5, []
    for rollouts in (1, 3, 10, 40):
        proven = [eps.is_proven(gaps) for gaps in simulated(rollouts, checks, masks)]
        shares.append(np.mean(proven))
        chance = stats.norm.cdf(0.25 * STEPS / (2 * STEPS / rollouts) ** 0.5) ** masks
        assert abs(shares[-1] - chance) < 5 * (chance * (1 - chance) / checks) ** 0.5
    assert shares[0] < 0.2
    assert shares[-1] > 0.9
    assert shares == sorted(shares)


def test_few_rollouts_put_the_bound_below_what_many_say():
    """Jensen: the mean logarithm of a noisy gap is below the logarithm of its mean."""
    weights, means = torch.zeros(1), []
    for rollouts in (120, 360, 1080):  # so many that no gap of the sample is negative
        gaps = simulated(rollouts, checks=2000, num_masks=1)
        assert (gaps > 0).all()
        bounds = torch.stack([eps.lower_bound(gap, weights) for gap in gaps])
        # Less the luck of this sample, whose mean gap is not exactly 1.
        means.append((bounds.mean() - (gaps.mean() - 1)).item())
        # To second order the loss is half the gap's variance.
        assert -means[-1] == pytest.approx(0.5 * 2 * STEPS / rollouts, rel=0.2)
    assert means == sorted(means)
    assert means[-1] < 0


def test_with_any_chance_of_a_loss_the_mean_bound_is_infinitely_low():
    gaps = simulated(1, checks=100, num_masks=1)
    bounds = torch.stack([eps.lower_bound(gap, torch.zeros(1)) for gap in gaps])
    assert bounds.max().isfinite()
    assert bounds.mean() == -inf


# The weights of Eq. 3


def masked_parameters(model: Any, masks: Masks, row: int) -> list[np.ndarray]:
    """The weights that a set of dropout masks leaves: each matrix's rows times its mask."""
    rows = {
        "lstm.from_input.weight": masks.lstm_input,
        "lstm.from_output": masks.lstm_output,
        "first.weight": masks.first,
        "second.weight": masks.second,
        "heads.weight": masks.heads,
    }
    found = []
    for name, weight in model.named_parameters():
        kept = rows[name][row].numpy()[:, None] if name in rows else 1.0
        found.append(kept * weight.detach().numpy())
    return found


def test_log_weights_are_likelihood_times_prior_over_posterior_by_hand():
    """For each of the masks of a tiny model: all 32 patterns of units that are on or off."""
    dropout, prior = 0.3, 0.4
    model = build(hidden=1, dropout=dropout)
    patterns = torch.tensor(list(itertools.product([0.0, 1.0], repeat=5)), dtype=torch.float64)
    masks = Masks(*(patterns / (1 - dropout)).split(1, dim=1))
    data = trajectories(steps=4, rows=3)
    found = eps.log_weights(model, data, masks, prior)
    assert found.shape == (32,)
    for row, pattern in enumerate(patterns):
        fit = log_likelihood(model, data, masks, row)
        weights = np.concatenate([w.ravel() for w in masked_parameters(model, masks, row)])
        # Up to its constant the log density of a normal of variance 1 / (2 eta).
        density = stats.norm.logpdf(weights, scale=(1 / (2 * prior)) ** 0.5)
        constant = stats.norm.logpdf(0, scale=(1 / (2 * prior)) ** 0.5) * len(weights)
        posterior = stats.bernoulli.logpmf(pattern.numpy(), 1 - dropout).sum()
        expected = fit + density.sum() - constant - posterior
        assert found[row].item() == pytest.approx(expected, rel=1e-8), pattern


def log_likelihood(model: Any, data: Batch, masks: Masks, row: int) -> float:
    """Of all trajectories under one mask, by scipy."""
    one = Masks(*(mask[row : row + 1] for mask in masks)).repeat(data.reward.shape[1])
    mean, std = (part.detach().numpy() for part in model.predict(data.obs, data.action, one))
    targets = torch.cat([data.next_obs - data.obs, data.reward[..., None]], -1)
    targets = ((targets - model.outputs.mean) / model.outputs.std).numpy()
    return stats.norm.logpdf(targets, mean, std).sum()


def test_log_weights_grow_with_the_data():
    """The likelihood is of all trajectories, not of their mean."""
    model = build(hidden=4)
    masks = model.sample_masks(3, np.random.default_rng(0))
    data = trajectories(steps=4, rows=3)
    weights = []
    for times in (1, 2, 3):
        more = Batch(*(torch.cat([part] * times, 1) for part in data))
        weights.append(eps.log_weights(model, more, masks, 0.4))
    likelihood = torch.tensor(
        [log_likelihood(model, data, masks, row) for row in range(3)], dtype=torch.float64
    )
    for fewer, many in itertools.pairwise(weights):
        torch.testing.assert_close(many - fewer, likelihood)
