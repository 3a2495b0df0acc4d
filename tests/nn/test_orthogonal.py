"""Orthogonal initial weights: orthonormal, uniform, and the generator's own."""

import pytest
import torch

from unirl_repro.nn.mlp import MLP
from unirl_repro.nn.orthogonal import make_orthogonal, orthogonal
from unirl_repro.rng import Keys


def draws(rows: int, columns: int, count: int = 1) -> torch.Tensor:
    rng = Keys(0, "init")("weights")
    return torch.stack([orthogonal(torch.empty(rows, columns), rng) for _ in range(count)])


@pytest.mark.parametrize(("rows", "columns"), [(7, 3), (3, 7), (5, 5), (1, 4), (4, 1)])
def test_the_shorter_side_is_orthonormal(rows: int, columns: int) -> None:
    (matrix,) = draws(rows, columns)
    assert matrix.shape == (rows, columns)
    product = matrix @ matrix.T if rows <= columns else matrix.T @ matrix
    assert torch.allclose(product, torch.eye(min(rows, columns), dtype=product.dtype))


def test_no_entry_prefers_a_sign() -> None:
    """LAPACK's own choice of signs would make the mean of the first diagonal entry about -0.4."""
    mean = draws(3, 3, count=2_000).mean(0)
    assert mean.abs().max() < 5 * (1 / 3 / 2_000) ** 0.5


def test_layers_get_their_gains_and_no_bias() -> None:
    mlp = MLP([4, 8, 6, 2], Keys(0, "init")("mlp"))
    make_orthogonal(mlp, Keys(0, "init")("weights"), head_gain=0.01)
    gains = [2**0.5, 2**0.5, 0.01]
    for layer, gain in zip([*mlp.layers, mlp.head], gains, strict=True):
        assert torch.linalg.svdvals(layer.weight.detach()) == pytest.approx(gain, rel=1e-5)
        assert not layer.bias.any()
    assert all(parameter.requires_grad for parameter in mlp.parameters())
