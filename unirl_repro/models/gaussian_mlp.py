"""A model of one step: a Gaussian over the next observation, and the expected reward."""

from collections.abc import Sequence
from math import log, pi

import torch
from numpy.random import Generator
from torch import Tensor, nn

from unirl_repro.nn.mlp import MLP
from unirl_repro.replay import Batch

MIN_STD = 1e-3  # the likelihood of what is predicted without error has no bound: deviation A17


class GaussianMLP(nn.Module):
    """s' ~ N(s + f(s, a), std) and r = g(s, a), with a perceptron each for f and g.

    The standard deviation is learnt, one for each entry of the observation, whatever s and a.

    Parameters
    ----------
    obs_dim, action_dim : int
        Sizes of one observation and one action.
    hidden : sequence of int
        Units of each hidden layer, of both perceptrons.
    rng : Generator
        Where the initial weights come from.
    """

    def __init__(self, obs_dim: int, action_dim: int, hidden: Sequence[int], rng: Generator):
        super().__init__()
        inputs = obs_dim + action_dim
        self.dynamics = MLP([inputs, *hidden, obs_dim], rng)
        self.rewards = MLP([inputs, *hidden, 1], rng)
        self.log_std = nn.Parameter(torch.zeros(obs_dim))

    def forward(self, obs: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        """Means of the next observation [B, O] and the reward [B]."""
        x = torch.cat([obs, action], dim=-1)  # [B, O + A]
        return obs + self.dynamics(x), self.rewards(x).squeeze(-1)

    def std(self) -> Tensor:
        """Standard deviation of the next observation: [O]."""
        return self.log_std.exp() + MIN_STD

    def losses(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Negative log-likelihood of the next observation's entries, and the reward's error.

        Both are means, the error is squared and halved: a Gaussian's of unit variance.
        """
        mean, reward = self(batch.obs, batch.action)
        std = self.std()
        noise = (batch.next_obs - mean) / std  # [B, O]
        likelihood = (0.5 * noise.square() + std.log() + 0.5 * log(2 * pi)).mean()
        return likelihood, 0.5 * (batch.reward - reward).square().mean()
