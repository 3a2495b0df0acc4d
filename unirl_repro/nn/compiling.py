"""torch.compile for a loss together with its gradients."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def compile_gradients(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Compile a pure function that calls `torch.autograd.grad` inside, forward and backward as one.

    Optimisers stay outside: their fused kernels cannot be traced, and gain nothing from it.
    Shapes are fixed: a batch of another size compiles anew.
    """
    torch._dynamo.config.trace_autograd_ops = True  # off by default, then `grad` breaks the graph
    return torch.compile(function, fullgraph=True, dynamic=False)
