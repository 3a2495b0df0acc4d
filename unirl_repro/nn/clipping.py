"""Gradients of bounded size."""

import torch
from torch import Tensor

Gradients = tuple[Tensor, ...] | list[Tensor]


def clipped(gradients: Gradients, max_norm: float) -> tuple[Tensor, ...]:
    """The gradients, scaled down together where their joint norm is above `max_norm`.

    To the bit as `torch.nn.utils.clip_grad_norm_`, whose small number this is.
    """
    norm = torch.stack(torch._foreach_norm(gradients)).norm()
    return torch._foreach_mul(gradients, (max_norm / (norm + 1e-6)).clamp(max=1))
