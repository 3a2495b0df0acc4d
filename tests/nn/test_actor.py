"""The tanh-Gaussian policy against torch.distributions, and its heads at their limits."""

import pytest
import torch
from torch.distributions import Normal, TanhTransform, TransformedDistribution

from unirl_repro.nn.actor import Actor, StdHead, tanh_gaussian_log_prob
from unirl_repro.rng import Keys

HEADS = {
    "exp": StdHead("exp"),
    "softplus": StdHead("softplus"),
    "sigmoid": StdHead("sigmoid", sigma_max=0.1),
}


def test_log_probability_equals_torchs_distribution() -> None:
    mean, log_std, noise = torch.randn(3, 40, 2, dtype=torch.float64)
    u = mean + log_std.exp() * noise
    base = Normal(mean, log_std.exp())
    policy = TransformedDistribution(base, [TanhTransform(cache_size=1)])
    expected = policy.log_prob(policy.transforms[0](u)).sum(-1)
    assert torch.allclose(tanh_gaussian_log_prob(u, noise, log_std), expected, rtol=0, atol=1e-10)


def test_density_integrates_to_one() -> None:
    u = torch.linspace(-12, 12, 40_001, dtype=torch.float64)[:, None]
    action, log_std = torch.tanh(u[:, 0]), torch.full_like(u, -0.5)
    density = tanh_gaussian_log_prob(u, (u - 0.3) / log_std.exp(), log_std).exp()
    assert float(torch.trapezoid(density, action)) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("u", [-200.0, -20.0, -9.5, 9.5, 20.0, 200.0])
def test_log_probability_and_gradient_stay_finite_at_the_bounds(u: float) -> None:
    at = torch.tensor([[u]], requires_grad=True)
    value = tanh_gaussian_log_prob(at, torch.zeros(1, 1), torch.zeros(1, 1)).sum()
    (gradient,) = torch.autograd.grad(value, at)
    assert torch.isfinite(value)
    # The Jacobian's logarithm falls by 2 for each unit of abs(u), so its density rises by 2.
    assert float(gradient) == pytest.approx(2.0 if u > 0 else -2.0, abs=1e-5)


@pytest.mark.parametrize("head", HEADS)
def test_heads_stay_finite_and_agree_with_their_logarithm(head: str) -> None:
    raw = torch.tensor([-1e4, -200.0, -15.0, 0.0, 2.0, 15.0, 1e4], requires_grad=True)
    std, log_std = HEADS[head](raw)
    assert torch.isfinite(log_std).all()
    assert torch.allclose(std, log_std.exp(), rtol=1e-4)
    (gradient,) = torch.autograd.grad(log_std.sum(), raw)
    assert torch.isfinite(gradient).all()


def test_heads_have_their_ranges() -> None:
    raw = torch.linspace(-50, 50, 101)
    std = {name: head(raw)[0] for name, head in HEADS.items()}
    assert torch.allclose(std["exp"], raw.clamp(-20, 2).exp())
    assert torch.allclose(std["softplus"], torch.nn.functional.softplus(raw), atol=2e-6)
    assert torch.allclose(std["sigmoid"], 0.1 * torch.sigmoid(raw))
    assert std["sigmoid"].max() <= 0.1


def test_an_action_without_noise_is_the_means() -> None:
    actor = Actor(4, 2, [8], Keys(0, "init")("actor"), std_head=HEADS["exp"])
    obs, noise = torch.randn(6, 4), torch.randn(6, 2)
    assert torch.equal(actor.act(obs, None), torch.tanh(actor.mlp(obs)[:, :2]))
    assert torch.allclose(actor.act(obs, torch.zeros(6, 2)), actor.act(obs, None))
    assert torch.allclose(actor.act(obs, noise), actor(obs, noise)[0])
