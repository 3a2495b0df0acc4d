"""Latent Gaussians and their networks against closed forms and torch's own layers."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Independent, Normal, kl_divergence

from unirl_repro.models import latent
from unirl_repro.models.latent import Gaussian, GaussianNetwork, Network
from unirl_repro.nn.orthogonal import orthogonal
from unirl_repro.rng import Keys, normal

RNG = Keys(0, "init")


def gaussian(seed: int, *shape: int) -> Gaussian:
    generator = torch.Generator().manual_seed(seed)
    mean = torch.randn(*shape, generator=generator, dtype=torch.float64)
    raw = torch.randn(*shape, generator=generator, dtype=torch.float64)
    return Gaussian(3 * mean, raw.exp())


def in_torch(p: Gaussian) -> Independent:
    return Independent(Normal(p.mean, p.std), 1)


def test_the_divergence_is_torchs_and_has_a_direction():
    p, q = gaussian(1, 4, 6, 5), gaussian(2, 4, 6, 5)
    expected = kl_divergence(in_torch(p), in_torch(q))
    torch.testing.assert_close(latent.kl_divergence(p, q), expected, rtol=1e-12, atol=1e-12)
    assert not torch.allclose(expected, kl_divergence(in_torch(q), in_torch(p)))
    assert torch.equal(latent.kl_divergence(p, p), torch.zeros(4, 6, dtype=torch.float64))


def test_samples_have_the_distributions_mean_and_std_and_pass_gradients():
    p = Gaussian(*(x.requires_grad_() for x in gaussian(3, 1, 4)))
    noise = torch.randn(100_000, 4, generator=torch.Generator().manual_seed(0)).double()
    drawn = p.sample(noise)
    torch.testing.assert_close(drawn.mean(0), p.mean[0], rtol=0, atol=0.05)
    torch.testing.assert_close(drawn.std(0), p.std[0], rtol=0.02, atol=0)
    of_mean, of_std = torch.autograd.grad(drawn.sum(), p)
    assert torch.equal(of_mean, torch.full_like(of_mean, len(noise)))
    torch.testing.assert_close(of_std[0], noise.sum(0))


@pytest.mark.parametrize("size", [1.0, 1e4], ids=["moderate", "extreme"])
def test_mean_and_std_are_bounded_softly(size):
    network = GaussianNetwork(3, 16, 4, RNG("bounds"))
    x = size * torch.randn(500, 3, generator=torch.Generator().manual_seed(0))
    p = network(x)
    assert p.mean.shape == p.std.shape == (500, 4)
    assert p.mean.abs().max() <= 30
    assert p.std.min() >= 0.1
    assert p.std.max() <= 10.001
    if size > 1:
        assert p.mean.abs().max() > 29.9
        assert p.std.min() < 0.11
        assert p.std.max() > 9.9


def test_outputs_are_squashed_as_published():
    """models.py of RajGhugare19/alm: 30 tanh(x / 30), and softplus at both ends of [0.1, 10]."""
    network = GaussianNetwork(3, 16, 2, RNG("squash")).double()
    x = 5 * torch.randn(200, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    mean, std = network.network(x).split(2, dim=-1)
    std = 10.0 - torch.log1p(torch.exp(10.0 - std))
    std = 0.1 + torch.log1p(torch.exp(std - 0.1))
    p = network(x)
    torch.testing.assert_close(p.mean, 30 * torch.tanh(mean / 30))
    torch.testing.assert_close(p.std, std)


@pytest.mark.parametrize("normalised", [False, True])
def test_a_network_is_the_published_stack_of_layers(normalised):
    network = Network(3, 16, 2, RNG("layers"), normalised=normalised, members=2)
    x = torch.randn(2, 7, 3, generator=torch.Generator().manual_seed(0))
    for parameter in network.parameters():  # zeros and ones would hide a mistake
        parameter.data.copy_(normal(RNG("weights"), *parameter.shape, like=parameter.data))
    for member in range(2):
        start = [nn.LayerNorm(16), nn.Tanh()] if normalised else [nn.ELU()]
        slow = nn.Sequential(
            nn.Linear(3, 16), *start, nn.Linear(16, 16), nn.ELU(), nn.Linear(16, 2)
        )
        parameters = list(network.parameters())
        for mine, theirs in zip(parameters, slow.parameters(), strict=True):
            theirs.data.copy_(mine[member].mT.squeeze())
        torch.testing.assert_close(network(x)[member], slow(x[member]))


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 4), (2, 6, 3)])
def test_initial_weights_are_orthogonal_and_biases_zero(shape):
    *members, inputs, outputs = shape
    matrices = orthogonal(torch.empty(shape), RNG("orthogonal"))
    fewer = matrices if inputs <= outputs else matrices.mT
    identity = torch.eye(min(inputs, outputs), dtype=torch.float64).expand(*members, -1, -1)
    torch.testing.assert_close(fewer @ fewer.mT, identity)
    network = Network(inputs, 8, outputs, RNG("network"), members=members[0] if members else None)
    torch.testing.assert_close(
        network.second.weight.mT @ network.second.weight, torch.eye(8).expand(*members, -1, -1)
    )
    assert all(not layer.bias.any() for layer in (network.first, network.second, network.head))
    if members:
        assert not torch.equal(*network.second.weight)


def test_orthogonal_matrices_prefer_no_direction():
    """QR alone would leave the sign of each column's leading entry to the library."""
    rng = np.random.default_rng(0)
    first = orthogonal(torch.empty(4000, 2, 2), rng)
    assert abs(float(first[:, 0, 0].sign().mean())) < 0.1
    assert abs(float(torch.linalg.det(first).mean())) < 0.1
    # The entries of a random direction in the plane: the mean square is 1/2, the fourth moment 3/8.
    torch.testing.assert_close(
        first.pow(4).mean(0), torch.full((2, 2), 3 / 8).double(), rtol=0, atol=0.03
    )


def test_the_same_keys_give_the_same_weights():
    first, second = (Network(3, 8, 2, RNG("same")) for _ in range(2))
    other = Network(3, 8, 2, RNG("other"))
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(first.second.weight, other.second.weight)
