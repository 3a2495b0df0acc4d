"""A tanh-Gaussian policy: a = tanh(u), u ~ N(mean, std), with three heads for the std."""

from collections.abc import Sequence
from math import log, pi

import torch
import torch.nn.functional as F
from numpy.random import Generator
from torch import Tensor, nn

from unirl_repro.nn.mlp import MLP

MIN_STD = 1e-6  # deviation A3: a softplus of a very negative number is 0, its logarithm -inf


class StdHead(nn.Module):
    """Standard deviation and its logarithm from a network's output.

    Parameters
    ----------
    kind : {"exp", "softplus", "sigmoid"}
        ``exp`` of a clipped logarithm (SAC); ``softplus``, or ``sigma_max * sigmoid`` (unified_rl,
        A.2.2 and A.2.5).
    log_std_range : pair of float
        Where "exp" clips the logarithm.
    sigma_max : float, optional
        Upper bound of "sigmoid".
    """

    def __init__(
        self,
        kind: str,
        log_std_range: tuple[float, float] = (-20.0, 2.0),
        sigma_max: float | None = None,
    ):
        super().__init__()
        self.kind, self.range = kind, log_std_range
        self.log_sigma_max = 0.0 if sigma_max is None else log(sigma_max)

    def forward(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        if self.kind == "softplus":
            std = F.softplus(raw) + MIN_STD
            return std, std.log()
        if self.kind == "sigmoid":
            log_std = F.logsigmoid(raw) + self.log_sigma_max
        else:
            log_std = raw.clamp(*self.range)
        return log_std.exp(), log_std


class Actor(nn.Module):
    """Policy with one trunk for mean and standard deviation.

    Parameters
    ----------
    obs_dim, action_dim : int
        Sizes of one observation and one action.
    hidden : sequence of int
        Units of each hidden layer.
    rng : Generator
        Where the initial weights come from.
    std_head : StdHead
        Turns the second half of the output into standard deviations.
    activation : str, default "relu"
        Of the hidden layers.
    """

    def __init__(
        self,
        obs_dim: int,
        action_dim: int,
        hidden: Sequence[int],
        rng: Generator,
        *,
        std_head: StdHead,
        activation: str = "relu",
    ):
        super().__init__()
        self.mlp = MLP([obs_dim, *hidden, 2 * action_dim], rng, activation=activation)
        self.std_head = std_head

    def forward(self, obs: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Actions [.., A] and their log-probabilities [..] from standard normal noise [.., A]."""
        mean, raw = self.mlp(obs).chunk(2, dim=-1)  # [.., A] each
        std, log_std = self.std_head(raw)
        u = mean + std * noise
        return torch.tanh(u), tanh_gaussian_log_prob(u, noise, log_std)

    def act(self, obs: Tensor, noise: Tensor | None) -> Tensor:
        """Actions without log-probabilities; of the mean where there is no noise."""
        mean, raw = self.mlp(obs).chunk(2, dim=-1)
        return torch.tanh(mean if noise is None else mean + self.std_head(raw)[0] * noise)


def tanh_gaussian_log_prob(u: Tensor, noise: Tensor, log_std: Tensor) -> Tensor:
    r"""log density of tanh(u) at u = mean + std * noise, summed over action dimensions.

    The tanh's Jacobian, log(1 - tanh² u), is written as 2 (log 2 - u - softplus(-2u)): the first
    form is -inf in float32 from abs(u) = 9 on.
    """
    gaussian = -0.5 * noise.square() - log_std - 0.5 * log(2 * pi)
    return (gaussian - 2 * (log(2) - u - F.softplus(-2 * u))).sum(-1)
