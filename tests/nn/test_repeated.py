"""Layers for many calls are plain ones, forward and backward, whatever is done at once."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from unirl_repro.nn.actor import Actor, StdHead
from unirl_repro.nn.mlp import MLP, Linear
from unirl_repro.nn.repeated import ROWS, Repeated, repeated

DOUBLE = torch.float64
ACTIVATION = {"none": nn.Identity(), "relu": nn.ReLU(), "tanh": nn.Tanh()}


def layer(inputs: int, outputs: int, dtype: torch.dtype = DOUBLE) -> Linear:
    return Linear(inputs, outputs, np.random.default_rng(0)).to(dtype)


def chain(step: Callable[[Tensor], Tensor], x: Tensor, count: int) -> Tensor:
    """What a rollout does to a layer: each call takes what the one before gave."""
    total = x.new_zeros(())
    for _ in range(count):
        x = step(x)
        total = total + x.square().sum()
    return total


def away_from_the_kink(linear: Linear, x: Tensor, count: int) -> Tensor:
    """The rows of x, those first whose units all stay far from zero through a chain of relus.

    Rounding decides on which side of the kink a unit at zero is, and so whether it has a gradient.
    """
    margin, y = torch.full((len(x),), torch.inf, dtype=DOUBLE), x.double()
    for _ in range(count):
        y = y @ linear.weight.detach() + linear.bias.detach()
        margin = torch.minimum(margin, y.abs().amin(dim=1))
        y = y.relu()
    return x[margin.argsort(descending=True)]


@pytest.mark.parametrize("activation", ["none", "relu", "tanh"])
@pytest.mark.parametrize("rows", [1, 12, 1000])  # multiplied at once; 12 leaves a rest
def test_calls_in_a_row_have_the_value_and_the_gradients_of_plain_torch(
    activation: str, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unirl_repro.nn.repeated.ROWS", rows)
    linear, count = layer(6, 6), 7
    plain = nn.Linear(6, 6, dtype=DOUBLE)
    plain.weight.data, plain.bias.data = linear.weight.data.t(), linear.bias.data
    x = torch.randn(5, 6, dtype=DOUBLE, requires_grad=True)
    ours = chain(Repeated.of(linear, activation), x, count)
    theirs = chain(nn.Sequential(plain, ACTIVATION[activation]), x, count)
    assert torch.allclose(ours, theirs, rtol=1e-12)
    got = torch.autograd.grad(ours, (x, linear.weight, linear.bias))
    of_x, of_weight, of_bias = torch.autograd.grad(theirs, (x, plain.weight, plain.bias))
    for a, b in zip(got, (of_x, of_weight.t(), of_bias), strict=True):
        assert torch.allclose(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("activation", ["none", "relu", "tanh"])
def test_packed_float32_agrees_with_float64(activation: str) -> None:
    linear, count = layer(256, 256, torch.float32), 2 * ROWS // 300  # over several sums
    wide = layer(256, 256)
    x = away_from_the_kink(wide, torch.randn(600, 256), count)[:300]
    ours = chain(Repeated.of(linear, activation), x, count)
    theirs = chain(Repeated.of(wide, activation), x.double(), count)
    assert torch.allclose(ours.double(), theirs, rtol=1e-5)
    got = torch.autograd.grad(ours, list(linear.parameters()))
    want = torch.autograd.grad(theirs, list(wide.parameters()))
    for a, b in zip(got, want, strict=True):
        assert (a - b).norm() < 1e-5 * b.norm()


def test_gradients_are_those_of_finite_differences() -> None:
    linear = layer(3, 3)

    def loss(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return chain(Repeated(weight, bias, "tanh"), x, 3)

    x = torch.randn(4, 3, dtype=DOUBLE, requires_grad=True)
    assert torch.autograd.gradcheck(loss, (x, linear.weight, linear.bias))


def test_a_layer_without_gradients_lets_them_through() -> None:
    linear = layer(4, 4).requires_grad_(False)
    x = torch.randn(3, 4, dtype=DOUBLE, requires_grad=True)
    total = chain(Repeated.of(linear, "tanh"), x, 3)
    total.backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0
    assert linear.weight.grad is None
    assert linear.bias.grad is None


def test_a_weight_may_be_made_of_others() -> None:
    parts = [torch.randn(2, 5, dtype=DOUBLE, requires_grad=True) for _ in range(2)]
    bias = torch.zeros(5, dtype=DOUBLE)
    x = torch.randn(7, 4, dtype=DOUBLE)
    chain(Repeated(torch.cat(parts), bias), x, 1).backward()
    got = [part.grad for part in parts if part.grad is not None]
    assert torch.allclose(torch.cat(got), (2 * x.t() @ (x @ torch.cat(parts))).detach())


def test_two_passes_backward_give_the_same() -> None:
    linear = layer(4, 4)
    total = chain(Repeated.of(linear, "tanh"), torch.randn(3, 4, dtype=DOUBLE), 3)
    one = torch.autograd.grad(total, linear.weight, retain_graph=True)
    two = torch.autograd.grad(total, linear.weight)
    assert torch.equal(*one, *two)


def test_gradients_may_reach_a_layer_along_some_calls_alone() -> None:
    linear = layer(4, 4)
    step, x = Repeated.of(linear), torch.randn(3, 4, dtype=DOUBLE)
    used, _ = step(x), step(2 * x)
    (got,) = torch.autograd.grad(used.sum(), [linear.weight])
    assert torch.allclose(got, x.sum(0)[:, None].expand(4, 4))


def actor(activation: str, hidden: int, dtype: torch.dtype) -> Actor:
    head = StdHead("softplus")
    made = Actor(5, 2, [hidden] * 2, np.random.default_rng(0), std_head=head, activation=activation)
    return made.to(dtype)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_a_repeated_policy_acts_and_learns_as_the_policy(activation: str) -> None:
    policy = actor(activation, 8, DOUBLE)
    obs, noise = torch.randn(6, 5, dtype=DOUBLE), torch.randn(6, 2, dtype=DOUBLE)
    losses = []
    for same in (policy, repeated(policy)):
        action, log_prob = same(obs, noise)
        assert torch.equal(action, same.act(obs, noise))
        again, _ = same(torch.cat([action, obs[:, 2:]], -1), noise)
        losses.append((again.square().sum(-1) + log_prob).sum())
    assert torch.allclose(losses[0], losses[1], rtol=1e-12)
    got, want = (torch.autograd.grad(loss, list(policy.parameters())) for loss in losses)
    for a, b in zip(got, want, strict=True):
        assert torch.allclose(a, b, rtol=1e-9, atol=1e-12)


def test_a_repeated_policy_of_many_units_agrees_to_rounding() -> None:
    policy = actor("tanh", 512, torch.float32)
    obs, noise = torch.randn(200, 5), torch.randn(200, 2)
    with torch.no_grad():
        assert torch.allclose(policy.act(obs, noise), repeated(policy).act(obs, noise), atol=1e-5)


def test_the_policy_itself_keeps_its_layers() -> None:
    policy = actor("tanh", 8, DOUBLE)
    repeated(policy)
    assert isinstance(policy.mlp, MLP)


def test_a_network_that_normalises_is_refused() -> None:
    policy = actor("tanh", 8, DOUBLE)
    policy.mlp = MLP([5, 8, 4], np.random.default_rng(0), layer_norm=True)
    with pytest.raises(ValueError, match="layer_norm"):
        repeated(policy)
