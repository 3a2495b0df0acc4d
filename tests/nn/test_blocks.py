"""A function of single rows gives the same in blocks, none of which is too large."""

import pytest
import torch
from torch import Tensor

from unirl_repro.nn.blocks import ROWS, in_blocks


@pytest.mark.parametrize("count", [0, 1, ROWS, 2 * ROWS + 1])
def test_blocks_come_together_in_their_order(count: int) -> None:
    sizes = []

    def differences(x: Tensor, y: Tensor) -> Tensor:
        sizes.append(len(x))
        return x - y

    x, y = torch.randn(count, 3), torch.randn(count, 3)
    assert torch.equal(in_blocks(differences, x, y), x - y)
    assert max(sizes) <= ROWS
    assert sum(sizes) == count


def test_gradients_flow_through() -> None:
    x = torch.randn(ROWS + 1, 2, requires_grad=True)
    (gradient,) = torch.autograd.grad(in_blocks(torch.square, x).sum(), x)
    assert torch.equal(gradient, 2 * x.detach())
