"""Linear layers that are used many times between two changes of their weights.

So are the layers of a model and a policy in a rollout. Before oneDNN multiplies it brings a weight
into an order of its own, which for a hundred rows takes a quarter of the time: here once, not at
each step. Autograd would add the weights' gradient up step by step, each time a matrix as large as
the weight; here one product takes the rows of many steps. Bias and activation are part of the
product, where a CPU finds its result still in the cache; torch's own tanh would take as long as a
quarter of the product.

On a GPU, in float64 and for small layers nothing is reordered; all else is the same.
"""

from collections.abc import Callable
from copy import copy
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from unirl_repro.nn.actor import Actor
from unirl_repro.nn.mlp import MLP, Linear
from unirl_repro.nn.products import is_fusible, is_worthwhile, product

ROWS = 2048  # so many are multiplied at once for the weights' gradient


class Packed:
    """x -> activation(x @ weight + bias) for rows [B, I] and a matrix [I, O], without gradients.

    Parameters
    ----------
    weight : Tensor
        [I, O]; it may be a view. It is read at the first call.
    bias : Tensor, optional
        [O].
    activation : {"none", "relu", "tanh"}
        What follows.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None, activation: str = "none"):
        self.weight, self.bias, self.activation = weight, bias, activation
        self.packed: Tensor | None = None

    def __call__(self, x: Tensor) -> Tensor:
        if not is_fusible(x, self.weight):
            plain = x @ self.weight if self.bias is None else self._affine(x, self.bias)
            return FORWARD[self.activation](plain)
        if self.packed is None:
            transposed = self.weight.t().contiguous()
            self.packed = torch.ops.mkldnn._reorder_linear_weight(transposed, len(x))
        return torch.ops.mkldnn._linear_pointwise(
            x, self.packed, self.bias, self.activation, [], ""
        )

    def _affine(self, x: Tensor, bias: Tensor) -> Tensor:
        return torch.addmm(bias, x, self.weight)


class Repeated:
    """A linear layer [B, I] -> [B, O] with its weights as they are now, for many calls.

    Gradients flow through it, and into weight and bias where these require them.

    Parameters
    ----------
    weight, bias : Tensor
        [I, O] and [O]; they must not change before the last backward pass.
    activation : {"none", "relu", "tanh"}
        What follows.
    """

    def __init__(self, weight: Tensor, bias: Tensor, activation: str = "none"):
        self.activation = activation
        self.forward = Packed(weight.detach(), bias.detach(), activation)
        self.backward = Packed(weight.detach().t())
        self.gradient = _Gradient()
        # Each call depends on it, so that autograd asks for the sum only after the last of them.
        self.token: Tensor = _Sum.apply(weight, bias, self.gradient)

    @staticmethod
    def of(layer: Linear, activation: str = "none") -> "Repeated":
        """From a layer, and what follows it."""
        return Repeated(layer.weight, layer.bias, activation)

    def __call__(self, x: Tensor) -> Tensor:
        return _Call.apply(x, self.token, self)


def repeated(actor: Actor) -> Actor:
    """The same policy for many calls, until its weights change."""
    twin = copy(actor)
    twin._modules = actor._modules | {"mlp": _RepeatedMLP(actor.mlp)}
    return twin


class _RepeatedMLP(nn.Module):
    def __init__(self, mlp: MLP):
        super().__init__()
        if mlp.norms:
            raise ValueError(
                "the network normalises its layers. Allowed: networks without layer_norm"
            )
        (name,) = (name for name, function in FORWARD.items() if function is mlp.activation)
        self.layers = [Repeated.of(cast(Linear, layer), name) for layer in mlp.layers]
        self.head = Repeated.of(mlp.head)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return self.head(x)


class _Gradient:
    """Sums of x^T dy and dy over all calls of a layer."""

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self.waiting: list[tuple[Tensor, Tensor]] = []
        self.rows = 0
        self.sums: tuple[Tensor, Tensor] | None = None

    def add(self, x: Tensor, of_y: Tensor) -> None:
        self.waiting.append((x.detach(), of_y))
        self.rows += len(x)
        if self.rows >= ROWS:
            self._multiply()

    def _multiply(self) -> None:
        x, of_y = (torch.cat(parts) for parts in zip(*self.waiting, strict=True))
        multiply = product if is_worthwhile(x.t(), of_y) else torch.mm
        weight, bias = multiply(x.t(), of_y), of_y.sum(0)
        if self.sums is not None:
            weight, bias = weight.add_(self.sums[0]), bias.add_(self.sums[1])
        self.waiting, self.rows, self.sums = [], 0, (weight, bias)

    def take(self) -> tuple[Tensor, Tensor] | tuple[None, None]:
        """The sums so far, which start anew; None if there was no call."""
        if self.waiting:
            self._multiply()
        sums = self.sums
        self._clear()
        return sums or (None, None)


class _Sum(torch.autograd.Function):
    """Hands the weights' gradient to autograd, once all calls have added theirs."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, bias: Tensor, gradient: _Gradient) -> Tensor:
        ctx.gradient = gradient
        return weight.new_zeros(())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, _: Tensor) -> tuple[Tensor | None, ...]:
        return *ctx.gradient.take(), None


class _Call(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, token: Tensor, layer: Repeated) -> Tensor:
        y = layer.forward(x)
        ctx.layer = layer
        ctx.save_for_backward(
            x if ctx.needs_input_grad[1] else None,
            None if layer.activation == "none" else y,
        )
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_y: Tensor) -> tuple[Tensor | None, ...]:
        (x, y), layer = ctx.saved_tensors, ctx.layer
        of_y = BACKWARD[layer.activation](of_y.contiguous(), y)
        if x is not None:
            layer.gradient.add(x, of_y)
        of_x = layer.backward(of_y) if ctx.needs_input_grad[0] else None
        return of_x, None if x is None else of_y.new_zeros(()), None


FORWARD: dict[str, Callable[[Tensor], Tensor]] = {
    "none": lambda x: x,
    "relu": torch.relu,
    "tanh": torch.tanh,
}
# From the gradient of an activation's output, and that output.
BACKWARD: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "none": lambda of_y, y: of_y,
    "relu": lambda of_y, y: torch.ops.aten.threshold_backward(of_y, y, 0),
    "tanh": torch.ops.aten.tanh_backward,
}
