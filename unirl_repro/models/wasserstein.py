"""Second-order Wasserstein distances between predictions of an ensemble (usbpo, Sec. 4.3)."""

import torch
from torch import Tensor

from unirl_repro.models.gaussian_ensemble import Prediction

TINY = 1e-12  # a root has no slope at 0: deviation D9


def squared_w2(p: Prediction, q: Prediction) -> Tensor:
    """Eq. 11, squared, of Gaussians with diagonal covariances: [.., D] -> [..].

    The covariances commute, so that the trace is the sum of (std_p - std_q)^2.
    """
    return ((p.mean - q.mean).square() + (p.std - q.std).square()).sum(-1)


def member_of(said: Prediction, members: Tensor) -> Prediction:
    """For each row of [E, B, D], what the member that `members` [B] names says of it: [B, D]."""
    rows = torch.arange(len(members), device=members.device)
    return Prediction(said.mean[members, rows], said.log_var[members, rows])


def shift_and_bias(former: Prediction, said: Prediction, members: Tensor) -> tuple[Tensor, Tensor]:
    """Model shift and model bias of each row, as in the paper.

    Parameters
    ----------
    former : Prediction
        What one member of the former model says of each row: [B, D].
    said : Prediction
        What each member of the present model says: [E, B, D].
    members : Tensor
        The present member, k2, that stands for the model in each row: [B].

    Returns
    -------
    shift, bias : Tensor
        W2(p_M1^k1, p_M2^k2), and the mean of W2(p_M2^k2, p_M2^b) over b other than k2: [B].
    """
    chosen = member_of(said, members)
    shift = (squared_w2(former, chosen) + TINY).sqrt()
    squares = squared_w2(chosen, said)  # [E, B]
    itself = members == torch.arange(len(squares), device=members.device)[:, None]
    roots = torch.where(itself, 1.0, squares + TINY).sqrt()
    return shift, torch.where(itself, 0.0, roots).sum(0) / (len(squares) - 1)


def published_shift_and_bias(
    former: Prediction, said: Prediction, members: Tensor
) -> tuple[Tensor, Tensor]:
    """The same as the published code computes them, one number for a whole batch: deviation D10.

    Squared distances of means are summed over rows before the root is drawn, those of standard
    deviations over a matrix's diagonal, that is entry i of row i alone; the result is divided by
    the number of rows.
    """
    chosen, rows = member_of(said, members), len(members)

    def distance(p: Prediction, q: Prediction) -> Tensor:  # [.., B, D] -> [..]
        means = (p.mean - q.mean).square().sum((-1, -2))
        deviations = (p.std - q.std).diagonal(dim1=-2, dim2=-1).square().sum(-1)
        return (means + deviations + TINY).sqrt() / rows

    bias = distance(chosen, said).sum() / (len(said.mean) - 1)
    return distance(former, chosen), bias
