"""An ensemble of probabilistic networks (MBPO, USB-PO Sec. 4.3): each predicts a Gaussian.

Chua et al. 2018 (PETS) as MBPO's published code has it: inputs are normalised, outputs are the
reward and the change of the observation, and the logarithm of the variance is softly bounded by
learnt limits.
"""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from math import erf, sqrt
from typing import NamedTuple, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import Generator
from torch import Tensor, nn

from unirl_repro.nn.blocks import in_blocks
from unirl_repro.nn.mlp import Linear
from unirl_repro.nn.products import affine, is_worthwhile
from unirl_repro.rng import uniform

BOUND_WEIGHT = 0.01  # of the distance between the limits of log variance
SMALLEST = 1e-12  # a column of the inputs that never changes: its standard deviation would be 0


class Prediction(NamedTuple):
    """Independent normal distributions of reward and change of the observation: [.., 1 + O]."""

    mean: Tensor
    log_var: Tensor

    @property
    def std(self) -> Tensor:
        return (0.5 * self.log_var).exp()


class GaussianEnsemble(nn.Module):
    """`members` networks side by side, on inputs of their own or on the same.

    Parameters
    ----------
    obs_dim, action_dim : int
        Sizes of one observation and one action.
    hidden : sequence of int
        Units of each hidden layer.
    weight_decay : sequence of float
        Of each layer, the output one too.
    members : int
        Networks.
    rng : Generator
        Where the initial weights come from.
    """

    input_mean: Tensor
    input_std: Tensor

    def __init__(
        self,
        obs_dim: int,
        action_dim: int,
        hidden: Sequence[int],
        rng: Generator,
        *,
        weight_decay: Sequence[float],
        members: int,
    ):
        super().__init__()
        self.members, self.weight_decay = members, tuple(weight_decay)
        inputs, outputs = obs_dim + action_dim, 1 + obs_dim
        sizes = [inputs, *hidden, 2 * outputs]
        layers = [Linear(i, o, rng, members) for i, o in pairwise(sizes)]
        for layer in layers:
            layer.weight.data = truncated_normal(layer.weight, rng) / (
                2 * sqrt(layer.weight.shape[1])
            )
            layer.bias.data.zero_()
        self.layers = nn.ModuleList(layers)
        self.max_log_var = nn.Parameter(torch.full((outputs,), 0.5))
        self.min_log_var = nn.Parameter(torch.full((outputs,), -10.0))
        self.register_buffer("input_mean", torch.zeros(inputs))
        self.register_buffer("input_std", torch.ones(inputs))

    @torch.no_grad()
    def normalise(self, inputs: Tensor) -> None:
        """Take over mean and standard deviation of the inputs [N, O + A]; targets stay as they are."""
        self.input_mean.copy_(inputs.mean(0))
        std = inputs.std(0, correction=0)
        self.input_std.copy_(torch.where(std < SMALLEST, 1.0, std))

    def forward(self, inputs: Tensor) -> Prediction:
        """What each member says of its own rows [E, B, O + A], or all of the same [B, O + A]."""
        x = (inputs - self.input_mean) / self.input_std
        x = x.expand(self.members, -1, -1) if x.dim() == 2 else x
        *hidden, head = self.layers
        for layer in hidden:
            x = F.silu(layer(x))
        return self.bounded(head(x))

    def bounded(self, outputs: Tensor) -> Prediction:
        """Mean and log variance from a network's outputs [.., 2 (1 + O)]."""
        mean, log_var = outputs.chunk(2, dim=-1)
        log_var = self.max_log_var - F.softplus(self.max_log_var - log_var)
        log_var = self.min_log_var + F.softplus(log_var - self.min_log_var)
        return Prediction(mean, log_var)

    @torch.no_grad()
    def sample(
        self, obs: Tensor, action: Tensor, members: np.ndarray, noise: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Rewards [B] and next observations [B, O], from standard normal noise [B, 1 + O]."""
        said = self.of_members(torch.cat([obs, action], dim=1), members)
        drawn = torch.addcmul(said.mean, said.std, noise)
        return drawn[:, 0], obs + drawn[:, 1:]

    @torch.no_grad()
    def of_members(self, inputs: Tensor, members: np.ndarray) -> Prediction:
        """What one member says of each row of [B, O + A], which `members` [B] names: [B, 1 + O].

        Rows are sorted by member, so that no member sees another's.
        """
        order = torch.from_numpy(np.argsort(members, kind="stable")).to(inputs.device)
        counts = np.bincount(members, minlength=self.members).tolist()
        x = (inputs[order] - self.input_mean) / self.input_std
        each = enumerate(x.split(counts))
        parts = [in_blocks(partial(self._member, i), rows) for i, rows in each if len(rows)]
        outputs = torch.cat(parts)
        return self.bounded(torch.empty_like(outputs).index_copy_(0, order, outputs))

    def _member(self, i: int, x: Tensor) -> Tensor:
        """One network's outputs for normalised inputs [B, O + A]."""
        *hidden, head = [cast(Linear, layer) for layer in self.layers]
        for layer in hidden:
            x = affine_silu(x, layer.weight[i], layer.bias[i, 0])
        return affine(x, head.weight[i], head.bias[i, 0])

    def loss(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Negative log-likelihood, up to a constant and a factor of 2, and what keeps the limits near.

        Means over rows and outputs, summed over members: [E, B, O + A], [E, B, 1 + O] -> scalar.
        """
        mean, log_var = self(inputs)
        likelihood = ((mean - targets).square() * (-log_var).exp() + log_var).mean((1, 2)).sum()
        return likelihood + BOUND_WEIGHT * (self.max_log_var - self.min_log_var).sum()

    def decay(self) -> Tensor:
        """Half the squared weights, each layer's by its own factor."""
        squares = [cast(Linear, layer).weight.square().sum() for layer in self.layers]
        factors = squares[0].new_tensor(self.weight_decay)
        return 0.5 * (factors * torch.stack(squares)).sum()


def affine_silu(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """silu(x @ weight + bias) without gradients, [B, I] and [I, O]; on a CPU in one call."""
    if is_worthwhile(x, weight):
        return torch.ops.mkldnn._linear_pointwise(x, weight.t(), bias, "swish", [], "")
    return F.silu(torch.addmm(bias, x, weight))


def truncated_normal(like: Tensor, rng: Generator) -> Tensor:
    """Standard normal draws between -2 and 2, in the shape of `like`."""
    tail = 0.5 * (1 + erf(-2 / sqrt(2)))
    draws = uniform(rng, *like.shape, low=tail, high=1 - tail, like=like.detach().double())
    return torch.special.ndtri(draws).to(like.dtype)
