"""Deterministic policies: the network, noise on its actions, and the critic it climbs."""

from collections.abc import Sequence

import torch
from numpy.random import Generator
from torch import Tensor, nn

from unirl_repro.nn.mlp import MLP
from unirl_repro.nn.targets import sharing


class DeterministicActor(nn.Module):
    """Policy a = tanh(u) with u from a multi-layer perceptron.

    Parameters
    ----------
    obs_dim, action_dim : int
        Sizes of one observation and one action.
    hidden : sequence of int
        Units of each hidden layer.
    rng : Generator
        Where the initial weights come from.
    """

    def __init__(self, obs_dim: int, action_dim: int, hidden: Sequence[int], rng: Generator):
        super().__init__()
        self.mlp = MLP([obs_dim, *hidden, action_dim], rng)

    def forward(self, obs: Tensor) -> Tensor:
        return torch.tanh(self.mlp(obs))


def noisy(action: Tensor, noise: Tensor) -> Tensor:
    """Actions with noise added, kept inside [-1, 1]."""
    return (action + noise).clamp(-1, 1)


def first_of(ensemble: MLP) -> MLP:
    """The first of stacked networks, in the same memory, as a function [B, I] -> [B, O].

    As in `unirl_repro.nn.targets.sharing`, its weights need no gradients.
    """
    shared = sharing(ensemble)
    for parameter in shared.parameters():
        parameter.data = parameter.data[0]
    return shared
