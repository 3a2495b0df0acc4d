"""oneDNN's products give what the operator @ gives, forward and backward."""

import pytest
import torch

from unirl_repro.nn import products
from unirl_repro.nn.products import affine, is_fusible, is_worthwhile, product

SHAPES = [((7, 5), (5, 3)), ((128, 96), (96, 100)), ((2, 64, 23), (2, 23, 33))]


@pytest.mark.parametrize("shapes", SHAPES)
def test_a_product_and_its_gradients_are_those_of_the_operator(shapes: tuple) -> None:
    x, y = (torch.randn(shape, requires_grad=True) for shape in shapes)
    ours, theirs = product(x, y), x.double() @ y.double()
    direction = torch.randn_like(ours)
    gradients = torch.autograd.grad(ours, (x, y), direction)
    expected = torch.autograd.grad(theirs, (x, y), direction.double())
    for mine, their in zip((ours, *gradients), (theirs, *expected), strict=True):
        assert torch.allclose(mine.double(), their.double(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("wide", [True, False])  # AVX-512, without which MKL is faster
def test_only_large_float32_products_go_there(wide: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "_FASTER", wide)
    large, small = torch.randn(128, 128), torch.randn(32, 32)
    available = torch.backends.mkldnn.is_available()
    assert is_worthwhile(large, large) == (available and wide)
    assert is_fusible(large, large) == available
    for whether in (is_worthwhile, is_fusible):
        assert not whether(small, small)
        assert not whether(large.double(), large.double())


@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("outputs", [1, 4, 128])
@pytest.mark.parametrize("members", [None, 2])
def test_an_affine_map_is_the_same_by_every_way(
    outputs: int, members: int | None, wide: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(products, "_FASTER", wide)
    stack = () if members is None else (members,)
    x = torch.randn(*stack, 128, 128)
    weight, bias = torch.randn(*stack, 128, outputs), torch.randn(*stack, 1, outputs)
    row = bias if members else bias[0]
    expected = x.double() @ weight.double() + bias.double()
    assert torch.allclose(affine(x, weight, row).double(), expected, rtol=1e-4, atol=1e-4)


def test_gradients_that_nobody_asks_for_are_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def counted(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        calls.append(x.shape)
        return x @ y

    monkeypatch.setattr(products, "_multiply", counted)
    x, y = torch.randn(64, 64, requires_grad=True), torch.randn(64, 64)
    product(x, y).sum().backward()
    assert len(calls) == 2  # forward, and backward to x alone
