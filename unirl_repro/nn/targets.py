"""Target networks, and networks that share their weights with another."""

from collections.abc import Sequence
from copy import deepcopy
from typing import TypeVar

import torch
from torch import Tensor, nn

Module = TypeVar("Module", bound=nn.Module)


def target_of(network: Module) -> Module:
    """A copy that only `move_towards` changes."""
    return deepcopy(network).requires_grad_(False)


def sharing(network: Module) -> Module:
    """The network, in the same memory, as a function whose weights need no gradients."""
    shared = deepcopy(network).requires_grad_(False)
    for mine, theirs in zip(shared.parameters(), network.parameters(), strict=True):
        mine.data = theirs.data
    return shared


@torch.no_grad()
def move_towards(target: Sequence[Tensor], source: Sequence[Tensor], polyak: float) -> None:
    """One step of target networks: target <- (1 - polyak) target + polyak source."""
    torch._foreach_lerp_(list(target), list(source), polyak)
