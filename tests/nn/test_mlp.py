"""Layers: torch's default start, ensembles equal to their members one by one."""

from math import sqrt

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from unirl_repro.nn.mlp import MLP, LayerNorm, Linear
from unirl_repro.rng import Keys


@pytest.mark.parametrize("members", [None, 2])
@pytest.mark.parametrize(("inputs", "outputs"), [(3, 200), (100, 64)])
def test_linear_starts_like_torchs(inputs: int, outputs: int, members: int | None) -> None:
    layer = Linear(inputs, outputs, Keys(0, "init")("layer"), members)
    torch.manual_seed(0)
    peers = [nn.Linear(inputs, outputs) for _ in range(50)]
    for ours, theirs in (("weight", "weight"), ("bias", "bias")):
        draws = getattr(layer, ours).detach().reshape(-1).numpy()
        reference = np.concatenate([getattr(p, theirs).detach().reshape(-1) for p in peers])
        assert abs(draws).max() <= 1 / sqrt(inputs)
        assert stats.ks_2samp(draws, reference).pvalue > 1e-3


def test_members_of_an_ensemble_start_apart_and_torchs_generator_is_not_used() -> None:
    before = torch.random.get_rng_state()
    layer = Linear(3, 4, Keys(0, "init")("layer"), members=2)
    assert not torch.equal(layer.weight[0], layer.weight[1])
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_an_ensemble_equals_its_members_one_by_one(activation: str, layer_norm: bool) -> None:
    mlp = MLP(
        [5, 8, 7, 2],
        Keys(0, "init")("mlp"),
        activation=activation,
        layer_norm=layer_norm,
        members=3,
    )
    randomise(mlp)
    x = torch.randn(3, 10, 5)
    together = mlp(x)
    assert together.shape == (3, 10, 2)
    for member in range(3):
        assert torch.allclose(
            together[member], torchs(mlp, member, activation)(x[member]), atol=1e-5
        )


@pytest.mark.parametrize("lead", [(), (4,), (2, 3)])
def test_a_single_network_takes_any_leading_dimensions(lead: tuple[int, ...]) -> None:
    mlp = MLP([5, 8, 2], Keys(0, "init")("mlp"))
    x = torch.randn(*lead, 5)
    assert mlp(x).shape == (*lead, 2)
    assert torch.allclose(mlp(x).reshape(-1, 2), mlp(x.reshape(-1, 5)), atol=1e-6)


def test_layer_norm_starts_as_plain_normalisation() -> None:
    x = 3 + 5 * torch.randn(2, 10, 64)
    y = LayerNorm(64, members=2)(x)
    assert torch.allclose(y.mean(-1), torch.zeros(2, 10), atol=1e-5)
    assert torch.allclose(y.std(-1, unbiased=False), torch.ones(2, 10), atol=1e-4)


@torch.no_grad()
def randomise(mlp: MLP) -> None:
    """Scales and shifts of the normalisation start at 1 and 0, where a mix-up would not show."""
    for parameter in mlp.norms.parameters():
        parameter.copy_(torch.randn_like(parameter))


@torch.no_grad()
def torchs(mlp: MLP, member: int, activation: str) -> nn.Sequential:
    """One member as torch's own layers."""
    layers: list[nn.Module] = []
    for i, ours in enumerate([*mlp.layers, mlp.head]):
        weight, bias = (parameter[member] for parameter in ours.parameters())
        layer = nn.Linear(*weight.shape)
        layer.weight.copy_(weight.t())
        layer.bias.copy_(bias[0])
        layers.append(layer)
        if i < len(mlp.norms):
            scale, shift = (parameter[member, 0] for parameter in mlp.norms[i].parameters())
            norm = nn.LayerNorm(len(scale))
            norm.weight.copy_(scale)
            norm.bias.copy_(shift)
            layers.append(norm)
        if i < len(mlp.layers):
            layers.append({"relu": nn.ReLU, "tanh": nn.Tanh}[activation]())
    return nn.Sequential(*layers)
