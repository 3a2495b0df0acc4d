"""Orthogonal initial weights, from a keyed generator."""

from math import sqrt
from typing import cast

import torch
from numpy.random import Generator
from torch import Tensor

from unirl_repro.nn.mlp import MLP, Linear
from unirl_repro.rng import normal


@torch.no_grad()
def make_orthogonal(mlp: MLP, rng: Generator, *, head_gain: float) -> None:
    """Give a single network orthogonal weights and biases of 0, in place.

    Parameters
    ----------
    mlp : MLP
        Its hidden layers get a gain of sqrt 2.
    rng : Generator
        Where the weights come from.
    head_gain : float
        Gain of the output layer.
    """
    for module in (*mlp.layers, mlp.head):
        layer, gain = cast(Linear, module), head_gain if module is mlp.head else sqrt(2)
        layer.weight.copy_(gain * orthogonal(layer.weight, rng))
        layer.bias.zero_()


def orthogonal(like: Tensor, rng: Generator) -> Tensor:
    """Uniformly random matrices with orthonormal rows or columns, whichever are fewer: [.., I, O].

    Saxe et al. 2014; in float64.
    """
    wide = like.shape[-2] < like.shape[-1]
    draws = normal(rng, *like.shape, like=like.detach().double())
    q, r = torch.linalg.qr(draws.mT if wide else draws)
    # QR leaves the columns' signs to the library; so chosen, q is uniformly distributed.
    q = q * r.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)
    return q.mT if wide else q
