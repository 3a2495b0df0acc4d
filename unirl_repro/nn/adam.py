"""Adam on lists of tensors, cheap enough for networks of 64 units."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class Adam:
    """Adam (Kingma and Ba 2015) with beta 0.9 and 0.999, epsilon 1e-8.

    The arithmetic is that of ``torch.optim.Adam(fused=True)``. That class's bookkeeping costs as
    much as an update of a small network, cannot be compiled into the update, and its state dict is
    keyed by position in parameter groups.

    Parameters
    ----------
    parameters : sequence of Tensor
        What `step` changes, in place.
    learning_rate : float
        Step size.
    """

    def __init__(self, parameters: Sequence[Tensor], learning_rate: float):
        self.parameters, self.learning_rate = list(parameters), learning_rate
        self.mean = [torch.zeros_like(p, requires_grad=False) for p in self.parameters]
        self.square = [torch.zeros_like(p, requires_grad=False) for p in self.parameters]
        self.steps = torch.zeros((), device=self.parameters[0].device)

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor]) -> None:
        """One step against the gradients, in the order of `parameters`."""
        self.steps.add_(1)
        torch._fused_adam_(
            self.parameters,
            list(gradients),
            self.mean,
            self.square,
            [],  # running maxima, of the amsgrad variant
            [self.steps] * len(self.parameters),
            lr=self.learning_rate,
            beta1=0.9,
            beta2=0.999,
            weight_decay=0.0,
            eps=1e-8,
            amsgrad=False,
            maximize=False,
        )

    def state_dict(self) -> dict[str, Any]:
        return {"mean": self.mean, "square": self.square, "steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Copy the moments in place: compiled updates hold on to these tensors."""
        self.steps.copy_(state["steps"])
        for name in ("mean", "square"):
            for mine, saved in zip(getattr(self, name), state[name], strict=True):
                mine.copy_(saved)
