"""Linear layers by the faster of the two libraries that torch has for matrix products on a CPU.

torch multiplies float32 matrices with MKL, which uses half of the arithmetic units of AMD's newer
processors; oneDNN, which torch brings along for convolutions, uses all of them. Measured on one
thread of a Zen 5, 256 x 256: 110 against 235 GFLOP/s. On Intel's processors they are alike, and on
those without AVX-512 oneDNN is a tenth to a third slower.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

WORTHWHILE = 2**20  # multiplications of one product; below, a call costs more than it saves


def affine(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """x @ weight + bias for [.., I] and [I, O], or a stack of networks: [E, B, I] and [E, I, O]."""
    if weight.dim() != x.dim():
        return x @ weight + bias
    if is_worthwhile(x, weight):
        return product(x, weight) + bias
    if weight.shape[-1] == 1:  # slow as a matrix product, and slower backward
        return (x * weight.mT).sum(-1, keepdim=True) + bias
    return (torch.addmm if weight.dim() == 2 else torch.baddbmm)(bias, x, weight)


def product(x: Tensor, y: Tensor) -> Tensor:
    """x @ y by oneDNN, forward and backward: float32, both two-dimensional or both stacks."""
    return _Product.apply(x, y)


def is_worthwhile(x: Tensor, y: Tensor) -> bool:
    """Whether `product` can multiply these, and faster than the operator @."""
    return _FASTER and is_fusible(x, y)


def is_fusible(x: Tensor, y: Tensor) -> bool:
    """Whether oneDNN can multiply these and do what follows in one call, and that is worth it."""
    if x.device.type != "cpu" or x.dtype != torch.float32 or not _AVAILABLE:
        return False
    return x.shape[-2] * y.shape[-2] * y.shape[-1] >= WORTHWHILE


_AVAILABLE = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
_FASTER = torch.backends.cpu.get_cpu_capability() == "AVX512"


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, y: Tensor) -> Tensor:
        return _multiply(x, y)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, y = ctx.saved_tensors
        of_x = _multiply(gradient, y.mT) if ctx.needs_input_grad[0] else None
        of_y = _multiply(x.mT, gradient) if ctx.needs_input_grad[1] else None
        return of_x, of_y


def _multiply(x: Tensor, y: Tensor) -> Tensor:
    if x.dim() == 3:
        return torch.stack([_multiply(a, b) for a, b in zip(x, y, strict=True)])
    return torch.ops.unirl_repro.product(x, y)


# An operator of its own: torch.compile knows oneDNN's linear layer only with packed weights.
_LIBRARY = torch.library.Library("unirl_repro", "DEF")
_LIBRARY.define("product(Tensor x, Tensor y) -> Tensor")


def _by_onednn(x: Tensor, y: Tensor) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, y.t(), None, "none", [], "")


def _empty_product(x: Tensor, y: Tensor) -> Tensor:
    return x.new_empty(x.shape[0], y.shape[1])


_LIBRARY.impl("product", _by_onednn, "CPU")
torch.library.register_fake("unirl_repro::product", _empty_product, lib=_LIBRARY)
