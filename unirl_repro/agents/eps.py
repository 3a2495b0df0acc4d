"""Equivalent policy sets (unified_rl, Sec. 3.1 and Eq. 1-3): can the model prove one policy better?

With f = log the bound of Eq. 3 is finite only if every sampled model says that the candidate returns
more, so that this alone decides; the bound's size is not needed (A.2.4). `lower_bound` and
`log_weights` are the rest of Eq. 3, which no run computes: tests show by them that it never decides.
"""

from math import log

import torch
from numpy.random import Generator
from torch import Tensor

from unirl_repro.models.bayesian_lstm import BayesianLSTM, Masks, Policy
from unirl_repro.replay import Batch


@torch.no_grad()
def return_gaps(
    model: BayesianLSTM,
    candidate: Policy,
    incumbent: Policy,
    start: Tensor,
    masks: Masks,
    steps: int,
    rng: Generator,
) -> Tensor:
    """J(candidate | w_i) - J(incumbent | w_i) for each sample w_i of the model's weights.

    Parameters
    ----------
    model : BayesianLSTM
        The model.
    candidate, incumbent : callable
        Policies: observations [B, O] and noise [B, A] to actions [B, A] and log-probabilities.
    start : Tensor
        Initial observations [2, K, M, O], M for each policy under each mask.
    masks : Masks
        w_1 to w_K.
    steps : int
        T.
    rng : Generator
        Where the noise of model and policies comes from.

    Returns
    -------
    Tensor
        [K], differences of mean returns; not finite where a rollout diverged.
    """
    policies, each = (candidate, incumbent), masks.repeat(start.shape[2])  # [K M, H]
    returns = model.returns(policies, start.flatten(1, 2), each, steps, rng)  # [2, K M]
    returns = returns.view(start.shape[:3]).mean(-1)  # [2, K]
    return returns[0] - returns[1]


def is_proven(gaps: Tensor) -> bool:
    """Whether all differences [K] are positive: then the incumbent is outside the equivalent set.

    A difference that is not finite proves nothing.
    """
    return bool((gaps.isfinite() & (gaps > 0)).all())


def lower_bound(gaps: Tensor, log_weights: Tensor) -> Tensor:
    """Eq. 3 with f = log: the sum over masks of log_weights + log(gaps), a scalar.

    -inf unless `is_proven`; `log_weights` are finite, so they never decide.
    """
    usable = gaps.isfinite() & (gaps > 0)
    terms = torch.where(usable, gaps.clamp(min=torch.finfo(gaps.dtype).tiny).log(), -torch.inf)
    return (log_weights + terms).sum()


@torch.no_grad()
def log_weights(model: BayesianLSTM, episodes: Batch, masks: Masks, prior: float) -> Tensor:
    """log p(D | w_i) p(w_i) / q(w_i; theta) of Eq. 3, up to a constant: [K].

    Parameters
    ----------
    model : BayesianLSTM
        The model.
    episodes : Batch
        D: all trajectories, [T, N, ·].
    masks : Masks
        w_1 to w_K.
    prior : float
        eta: the prior is a normal distribution of variance 1 / (2 eta), as the loss has it.
    """
    count = episodes.reward.shape[1]
    rows = [Masks(*(mask[i : i + 1] for mask in masks)) for i in range(len(masks.first))]
    fit = [model.log_likelihood(episodes, row.repeat(count)).sum() for row in rows]
    return torch.stack(fit) - prior * _masked_norm(model, masks) - _log_posterior(model, masks)


def _masked_norm(model: BayesianLSTM, masks: Masks) -> Tensor:
    """Sum of squares of the weights that each mask leaves: [K]."""
    lstm = model.lstm
    masked = zip(
        masks,
        (
            *(lstm.from_input.weight, lstm.from_output),
            *(model.first.weight, model.second.weight, model.heads.weight),
        ),
        strict=True,
    )
    kept = torch.stack([mask.square() @ weight.square().sum(-1) for mask, weight in masked])
    whole = model.squared_norm() - sum(
        weight.square().sum()
        for weight in (
            *(lstm.from_input.weight, lstm.from_output),
            *(model.first.weight, model.second.weight, model.heads.weight),
        )
    )
    return kept.sum(0) + whole


def _log_posterior(model: BayesianLSTM, masks: Masks) -> Tensor:
    """log q(w_i): independent Bernoulli draws, a unit each: [K]."""
    on = torch.cat(masks, -1).ne(0).double()
    off, kept = log(model.dropout), log(1 - model.dropout)
    return (on * kept + (1 - on) * off).sum(-1).to(masks.first)
