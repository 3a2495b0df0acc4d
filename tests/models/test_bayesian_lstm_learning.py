"""The Bayesian LSTM fitted to systems that are known: what it recovers, and where it is unsure."""

from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from unirl_repro.models.bayesian_lstm import BayesianLSTM, Masks
from unirl_repro.nn.adam import Adam
from unirl_repro.replay import Batch
from unirl_repro.rng import Keys

STEPS, EPISODES = 15, 300
# x' = x + F x + G a + noise, r = c x + d a + noise.
F = torch.tensor([[-0.1, 0.2], [-0.2, -0.1]])
G = torch.tensor([[0.5, 0.0]])
C, D = torch.tensor([1.0, -0.5]), torch.tensor([0.3])
NOISE = torch.tensor([0.3, 0.2, 0.5])  # std of both changes and of the reward
LEVEL = 3.0  # of a third observation, which never changes


def means(obs: Tensor, action: Tensor) -> Tensor:
    """The true mean change and reward: [.., 4], with that of the constant third observation."""
    x = obs[..., :2]
    reward = (x * C).sum(-1) + (action * D).sum(-1)
    return torch.cat([x @ F.t() + action @ G, torch.zeros_like(x[..., :1]), reward[..., None]], -1)


def simulated(rows: int, seed: int) -> Batch:
    """Trajectories [T, B, ·] under random actions."""
    generator = torch.Generator().manual_seed(seed)
    obs = torch.cat([torch.randn(rows, 2, generator=generator), torch.full((rows, 1), LEVEL)], -1)
    parts = []
    for _ in range(STEPS):
        action = 2 * torch.rand(rows, 1, generator=generator) - 1
        change, level, reward = means(obs, action).split([2, 1, 1], -1)
        noise = torch.randn(rows, 3, generator=generator) * NOISE
        next_obs = obs + torch.cat([change + noise[:, :2], level], -1)
        reward = (reward + noise[:, 2:]).squeeze(-1)
        parts.append(Batch(obs, action, reward, next_obs, torch.zeros(rows)))
        obs = next_obs
    return Batch(*map(torch.stack, zip(*parts, strict=True)))


class Fitted(NamedTuple):
    model: BayesianLSTM
    data: Batch


@pytest.fixture(scope="module")
def fitted() -> Fitted:
    data, keys = simulated(EPISODES, seed=0), Keys(0, "test")
    model = BayesianLSTM(3, 1, 32, 0.02, keys("model"))
    model.observe(Batch(*(part.flatten(0, 1) for part in data)))
    model.normalise()
    weights = list(model.parameters())
    rows, masks = keys("rows"), keys("masks")
    for learning_rate, updates in ((3e-3, 400), (5e-4, 200)):
        adam = Adam(weights, learning_rate)
        for _ in range(updates):
            chosen = torch.from_numpy(rows.integers(EPISODES, size=64))
            batch = Batch(*(part[:, chosen] for part in data))
            loss = model.loss(batch, model.sample_masks(64, masks), EPISODES, prior=0.01)
            adam.step(torch.autograd.grad(loss, weights))
    return Fitted(model, data)


@torch.no_grad()
def predicted(model: BayesianLSTM, data: Batch, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Mean and std in the data's units, a mask a row."""
    masks = model.sample_masks(data.obs.shape[1], Keys(seed, "test")("probe"))
    mean, std = model.predict(data.obs, data.action, masks)
    return model.outputs.mean + model.outputs.std * mean, model.outputs.std * std


def test_it_recovers_mean_and_noise_of_a_linear_gaussian_system(fitted):
    fresh = simulated(200, seed=1)
    draws = [predicted(fitted.model, fresh, seed) for seed in range(10)]
    mean, std = (torch.stack(parts).mean(0) for parts in zip(*draws, strict=True))
    moving = [0, 1, 3]  # the changing observations, and the reward
    error = (mean - means(fresh.obs, fresh.action))[..., moving].square().mean((0, 1)).sqrt()
    assert (error < 0.3 * NOISE).all(), error / NOISE
    typical = std[..., moving].mean((0, 1))
    torch.testing.assert_close(typical, NOISE, rtol=0.1, atol=0)


@torch.no_grad()
def test_what_never_changes_stays_all_along_a_rollout(fitted):
    model, rows = fitted.model, 50
    masks = model.sample_masks(rows, Keys(0, "test")("rollout"))

    def policy(obs: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        return noise.tanh(), noise.sum(-1)

    start = fitted.data.obs[0, :rows]
    rollouts = model.rollout(policy, start, masks, 100, np.random.default_rng(0))
    assert (rollouts.obs[..., 2] - LEVEL).abs().max() < 1e-3
    assert all(part.isfinite().all() for part in rollouts)


@torch.no_grad()
def test_the_masks_agree_on_the_data_and_disagree_off_it(fitted):
    """The further off, the more: spread of the predicted mean over masks, in units of the noise."""
    model, count = fitted.model, 200
    some, spreads = model.sample_masks(count, Keys(0, "test")("spread")), []
    for distance in (1.0, 3.0, 9.0, 27.0):
        angle = torch.linspace(0, 6.28, 17)[:-1]
        obs = distance * torch.stack([angle.cos(), angle.sin(), torch.zeros(16)], -1)
        obs[:, 2] = LEVEL
        # Each place in turn under all masks.
        rows = obs.repeat_interleave(count, 0)[None]
        masks = Masks(*(mask.repeat(16, 1) for mask in some))
        mean = model.predict(rows, torch.zeros(1, 16 * count, 1), masks)[0]
        spread = (model.outputs.std * mean).view(16, count, 4).std(1)[:, [0, 1, 3]] / NOISE
        spreads.append(spread.mean().item())
    assert spreads == sorted(spreads)
    assert spreads[1] > 1.5 * spreads[0]
