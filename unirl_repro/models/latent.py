"""Latent states as Gaussians, and the networks on them (Ghugare et al. 2022, arXiv:2209.08466).

An encoder gives a distribution over latent states for an observation, a model one over the next
latent state; rewards, values and a classifier are read off latent states and actions. All have two
hidden layers of one size.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from numpy.random import Generator
from torch import Tensor, nn

from unirl_repro.nn.mlp import LayerNorm, Linear
from unirl_repro.nn.orthogonal import orthogonal

MEAN_BOUND = 30.0
MIN_STD, MAX_STD = 0.1, 10.0


class Gaussian(NamedTuple):
    """Independent normal distributions of the entries of latent states [.., Z]."""

    mean: Tensor
    std: Tensor

    def sample(self, noise: Tensor) -> Tensor:
        """Latent states from standard normal noise; gradients reach mean and std."""
        return torch.addcmul(self.mean, self.std, noise)


def kl_divergence(p: Gaussian, q: Gaussian) -> Tensor:
    """KL(p || q) of whole latent states: [..]."""
    ratio = p.std / q.std
    gap = (p.mean - q.mean) / q.std
    return (0.5 * (ratio.square() + gap.square() - 1) - ratio.log()).sum(-1)


class Network(nn.Module):
    """Two hidden layers with ELU; or with normalisation and tanh in place of the first ELU.

    Weights begin orthogonal, biases at zero.

    Parameters
    ----------
    inputs, hidden, outputs : int
        Sizes; both hidden layers have the same.
    rng : Generator
        Where the initial weights come from.
    normalised : bool, default False
        Linear, LayerNorm and tanh are the first layer.
    members : int, optional
        Networks that are evaluated side by side, as in `Linear`.
    """

    def __init__(
        self,
        inputs: int,
        hidden: int,
        outputs: int,
        rng: Generator,
        *,
        normalised: bool = False,
        members: int | None = None,
    ):
        super().__init__()
        self.first = Linear(inputs, hidden, rng, members)
        self.norm = LayerNorm(hidden, members) if normalised else None
        self.second = Linear(hidden, hidden, rng, members)
        self.head = Linear(hidden, outputs, rng, members)
        for layer in (self.first, self.second, self.head):
            layer.weight.data.copy_(orthogonal(layer.weight, rng))
            layer.bias.data.zero_()

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        x = F.elu(x) if self.norm is None else torch.tanh(self.norm(x))
        return self.head(F.elu(self.second(x)))


class GaussianNetwork(nn.Module):
    """A `Network` whose outputs are mean and standard deviation of a latent state.

    Parameters
    ----------
    inputs, hidden, latent : int
        Sizes.
    rng : Generator
        Where the initial weights come from.
    """

    def __init__(self, inputs: int, hidden: int, latent: int, rng: Generator):
        super().__init__()
        self.network = Network(inputs, hidden, 2 * latent, rng)

    def forward(self, x: Tensor) -> Gaussian:
        mean, std = self.network(x).chunk(2, dim=-1)
        std = MAX_STD - F.softplus(MAX_STD - std)
        return Gaussian(
            MEAN_BOUND * torch.tanh(mean / MEAN_BOUND), MIN_STD + F.softplus(std - MIN_STD)
        )
