"""The Gaussian model of one step: its losses in closed form, and that it finds a known system."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from tests.agents.stand_ins import point_mass, random_episodes
from unirl_repro.models.gaussian_mlp import MIN_STD, GaussianMLP
from unirl_repro.nn.adam import Adam
from unirl_repro.replay import Batch
from unirl_repro.rng import Keys


def model(obs_dim: int = 2, action_dim: int = 1) -> GaussianMLP:
    return GaussianMLP(obs_dim, action_dim, (32, 32), np.random.default_rng(0))


def constant(made: GaussianMLP, change: Tensor, reward: float) -> None:
    """Let the networks predict the same everywhere."""
    for network, value in ((made.dynamics, change), (made.rewards, torch.tensor([reward]))):
        network.head.weight.data.zero_()
        network.head.bias.data = value


def test_it_predicts_a_change_of_the_observation_and_a_reward() -> None:
    made = model()
    constant(made, torch.tensor([0.5, -1.0]), 3.0)
    obs, action = torch.randn(4, 2), torch.randn(4, 1)
    mean, reward = made(obs, action)
    assert torch.allclose(mean, obs + torch.tensor([0.5, -1.0]))
    assert reward.tolist() == [3.0] * 4


def test_losses_are_those_of_torchs_distributions() -> None:
    made = model()
    made.log_std.data = torch.tensor([0.3, -2.0])
    constant(made, torch.tensor([0.5, -1.0]), 3.0)
    obs, next_obs, reward = torch.randn(6, 2), torch.randn(6, 2), torch.randn(6)
    batch = Batch(obs, torch.randn(6, 1), reward, next_obs, torch.zeros(6))
    likelihood, error = made.losses(batch)
    mean, std = obs + torch.tensor([0.5, -1.0]), torch.tensor([0.3, -2.0]).exp() + MIN_STD
    assert torch.allclose(likelihood, -Normal(mean, std).log_prob(next_obs).mean(), rtol=1e-5)
    assert torch.allclose(error, 0.5 * (reward - 3.0).square().mean())


def test_an_entry_without_noise_has_a_finite_likelihood_and_gradient() -> None:
    made = model()
    made.log_std.data.fill_(-200.0)
    constant(made, torch.zeros(2), 0.0)
    obs = torch.randn(3, 2)
    batch = Batch(obs, torch.zeros(3, 1), torch.zeros(3), obs + 1e-2, torch.zeros(3))
    likelihood, error = made.losses(batch)
    gradients = torch.autograd.grad(likelihood + error, list(made.parameters()))
    assert likelihood.isfinite()
    assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("noise", [0.05, 0.5])
def test_it_finds_the_point_mass_and_the_size_of_its_noise(noise: float) -> None:
    made, replay = model(obs_dim=1), random_episodes(20)
    replay.next_obs += noise * torch.randn(
        replay.next_obs.shape, generator=torch.Generator().manual_seed(0)
    )
    rng, adam = Keys(0, "test")("batch"), Adam(list(made.parameters()), 3e-3)
    for _ in range(1_500):
        loss = sum(made.losses(replay.sample(64, rng)))
        assert isinstance(loss, Tensor)
        adam.step(torch.autograd.grad(loss, adam.parameters))
    obs, action = torch.linspace(-1, 1, 9)[:, None], torch.linspace(1, -1, 9)[:, None]
    mean, reward = made(obs, action)
    true_obs, true_reward = point_mass(obs, action, obs, obs)
    assert (mean - true_obs).abs().mean() < 0.02 + 0.5 * noise
    assert (reward - true_reward).abs().mean() < 0.2
    assert made.std().item() == pytest.approx(noise, rel=0.2)
