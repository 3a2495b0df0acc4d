"""Maximum-likelihood training of an ensemble, as MBPO's published code does it.

A fifth of the data is held out; each member sees a bootstrap sample of the rest, in an order of its
own, until for some epochs no member has done better on what was held out; then each goes back to
its best epoch. Training goes on from the weights before. See deviation D2.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from unirl_repro.models.gaussian_ensemble import GaussianEnsemble
from unirl_repro.nn.adam import Adam
from unirl_repro.nn.compiling import compile_gradients

HOLDOUT_SHARE, MOST_HELD_OUT = 0.2, 5_000
IMPROVEMENT = 0.01  # of the error, from which on an epoch counts as better
PATIENCE = 5  # epochs without one that training goes on


class Fit(NamedTuple):
    """What a period of training came to."""

    epochs: int
    updates: int
    errors: Tensor  # mean squared error of each member on what was held out: [E]


class EnsembleTrainer:
    """Trains an ensemble, again and again.

    Parameters
    ----------
    model : GaussianEnsemble
        Changed in place.
    learning_rate : float
        Adam's, whose moments stay from one period of training to the next.
    batch_size : int
        Rows of one update, for each member.
    compiled : bool
        Compile the update of a full batch.

    Attributes
    ----------
    held_out : pair of Tensor
        Inputs and targets that the last training did not see.
    """

    held_out: tuple[Tensor, Tensor]

    def __init__(
        self, model: GaussianEnsemble, learning_rate: float, batch_size: int, *, compiled: bool
    ):
        self.model, self.batch_size = model, batch_size
        self.variables: list[Tensor] = list(model.parameters())
        self.adam = Adam(self.variables, learning_rate)
        self._full_batch = compile_gradients(self.gradients) if compiled else self.gradients

    def fit(
        self, inputs: Tensor, targets: Tensor, rng: Generator, weights: np.ndarray | None = None
    ) -> Fit:
        """Train on rows [N, O + A] and [N, 1 + O] until that helps no more.

        With weights [N], each member draws its rows anew for each epoch, in proportion to these;
        without, its bootstrap sample stays the same.
        """
        order = rng.permutation(len(inputs))
        count = min(int(HOLDOUT_SHARE * len(inputs)), MOST_HELD_OUT)
        (first, last), device = (order[:count], order[count:]), inputs.device
        aside, rest = torch.from_numpy(first).to(device), torch.from_numpy(last).to(device)
        self.held_out = inputs[aside], targets[aside]
        inputs, targets = inputs[rest], targets[rest]
        self.model.normalise(inputs)
        chosen = None if weights is None else weights[last]
        best, epochs, stale = Best(self.model), 0, 0
        for rows in rows_of_epochs(self.model.members, len(inputs), rng, chosen):
            self._epoch(inputs, targets, rows)
            epochs += 1
            stale = 0 if best.keep(self.errors(*self.held_out)) else stale + 1
            if stale > PATIENCE:
                break
        best.restore()
        updates = epochs * -(-len(inputs) // self.batch_size)
        return Fit(epochs, updates, self.errors(*self.held_out))

    def _epoch(self, inputs: Tensor, targets: Tensor, rows: np.ndarray) -> None:
        for columns in torch.from_numpy(rows).to(inputs.device).split(self.batch_size, dim=1):
            self.update(inputs[columns], targets[columns])

    def update(self, inputs: Tensor, targets: Tensor) -> None:
        """One gradient update: [E, B, O + A], [E, B, 1 + O]."""
        full = inputs.shape[1] == self.batch_size  # compiled for one size alone
        self.adam.step((self._full_batch if full else self.gradients)(inputs, targets))

    def gradients(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, ...]:
        """Of the likelihood and the weights' decay."""
        loss = self.model.loss(inputs, targets) + self.model.decay()
        return torch.autograd.grad(loss, self.variables)

    @torch.no_grad()
    def errors(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Mean squared error of each member on rows [N, ·]: [E]."""
        return (self.model(inputs).mean - targets).square().mean((1, 2))

    def state_dict(self) -> dict[str, Any]:
        return {"model": self.model.state_dict(), "adam": self.adam.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.adam.load_state_dict(state["adam"])


def rows_of_epochs(
    members: int, count: int, rng: Generator, weights: np.ndarray | None
) -> Iterator[np.ndarray]:
    """Which of `count` rows each member sees in one epoch after the other: [E, N] each."""
    if weights is not None:
        limits = np.cumsum(weights)
        while True:
            draws = limits[-1] * rng.random((members, count))
            yield np.searchsorted(limits, draws, side="right").clip(max=count - 1)
    rows = rng.integers(count, size=(members, count))
    while True:
        yield rows
        rows = rng.permuted(rows, axis=1)


class Best:
    """The best weights of each member so far, and their errors.

    The limits of log variance, which all members share, are not among them: they stay as they are.
    """

    def __init__(self, model: GaussianEnsemble):
        self.variables = list(model.layers.parameters())  # [E, ·, ·] each
        self.copies = [v.detach().clone() for v in self.variables]
        self.errors = torch.full((model.members,), 1e10, device=self.copies[0].device)

    @torch.no_grad()
    def keep(self, errors: Tensor) -> bool:
        """Copy the members that improved; whether any did."""
        better = (self.errors - errors) / self.errors > IMPROVEMENT  # [E]
        self.errors = torch.where(better, errors, self.errors)
        for copy, now in zip(self.copies, self.variables, strict=True):
            copy.copy_(torch.where(better[:, None, None], now, copy))
        return bool(better.any())

    @torch.no_grad()
    def restore(self) -> None:
        for now, copy in zip(self.variables, self.copies, strict=True):
            now.copy_(copy)
