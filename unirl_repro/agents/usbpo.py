"""USB-PO (usbpo, Alg. 1): MBPO whose model is fine-tuned after each training.

Maximum likelihood may move the model further than is good for the policy. A second phase pulls it
back towards its former self (model shift) and its members towards each other (model bias), on
states that former models and policies visited: Eq. 3, by the Wasserstein distance of Eq. 11.
"""

from copy import deepcopy
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from unirl_repro.agents.mbpo import MBPO, model_rows
from unirl_repro.agents.protocol import Metrics
from unirl_repro.hyperparameters import USBPOParameters
from unirl_repro.models.gaussian_ensemble import GaussianEnsemble, Prediction
from unirl_repro.models.wasserstein import (
    published_shift_and_bias,
    shift_and_bias,
)
from unirl_repro.nn.adam import Adam
from unirl_repro.nn.compiling import compile_gradients
from unirl_repro.replay import Replay
from unirl_repro.rng import Keys

IMPROVEMENT = 1e-4  # of the objective on real states, from which on an update counts as better
PATIENCE = 10  # updates without one that fine-tuning goes on
DISTANCES = {"sample": shift_and_bias, "repo": published_shift_and_bias}


class USBPO(MBPO):
    """MBPO with a second phase of training the model, as the loop sees it; built like MBPO."""

    policy = "usbpo"
    parameters: USBPOParameters

    def __init__(
        self, parameters: USBPOParameters, *sizes: int, keys: Keys, compiled: bool, **options: Any
    ):
        super().__init__(parameters, *sizes, keys=keys, compiled=compiled, **options)
        self.tuning_adam = Adam(self.trainer.variables, parameters.fine_tuning_learning_rate)
        self.tuning_gradients = compile_gradients(self.gradients) if compiled else self.gradients
        self.distances = DISTANCES[parameters.wasserstein]
        self.fixed_pairs = self._draw_pairs(keys("pairs"))  # of "repo": deviation D10
        self.bias_before: Tensor | None = None  # of the states that fine-tuning saw

    def train_model(self, replay: Replay, keys: Keys) -> Metrics:
        before = deepcopy(self.model).requires_grad_(False)  # line 5
        metrics = super().train_model(replay, keys)  # line 6
        if not len(self.model_data):  # before the first rollout there is nothing for line 7
            return metrics
        tuning = self.fine_tune(before, keys)  # line 7
        self.choose_elites(self.trainer.errors(*self.trainer.held_out))
        return {**metrics, **tuning}

    def fine_tune(self, before: GaussianEnsemble, keys: Keys) -> Metrics:
        """Phase 2: down Eq. 3, until it falls no more on real states; the best weights stay."""
        p, rng = self.parameters, keys("tuning")
        real, _ = self.trainer.held_out
        rows = rng.integers(len(real), size=p.fine_tuning_batch_size)
        real, pairs = real[torch.from_numpy(rows).to(real.device)], self._pairs(rng)
        variables: list[Tensor] = list(self.model.layers.parameters())
        best, weights = self._objective(before, real, pairs), _copies(variables)
        updates = stale = 0
        while updates < p.fine_tuning_updates and stale <= PATIENCE:
            self.update_model(before, self._visited(rng), self._pairs(rng))
            updates, now = updates + 1, self._objective(before, real, pairs)
            if (best - now) / best > IMPROVEMENT:
                best, weights, stale = now, _copies(variables), 0
            else:
                stale += 1
        for variable, kept in zip(variables, weights, strict=True):
            variable.data.copy_(kept)
        visited, pairs = self._visited(rng), self._draw_pairs(rng)
        shift, self.bias_before = self._magnitudes(before, visited, pairs)
        return {
            "tuning_updates": float(updates),
            "model_shift": shift,
            "model_bias": self.bias_before,
        }

    def update_model(self, before: GaussianEnsemble, inputs: Tensor, pairs: np.ndarray) -> None:
        """One gradient update of Eq. 3 on [B, O + A], the members k1 and k2 being `pairs` [2, B]."""
        former = before.of_members(inputs, pairs[0])
        present = torch.from_numpy(pairs[1]).to(inputs.device)
        self.tuning_adam.step(self.tuning_gradients(inputs, former, present))

    def gradients(self, inputs: Tensor, former: Prediction, present: Tensor) -> tuple[Tensor, ...]:
        """Of model shift and model bias."""
        shift, bias = self.distances(former, self.model(inputs), present)
        return torch.autograd.grad((shift + bias).mean(), self.trainer.variables)

    def roll_out(self, replay: Replay, keys: Keys) -> Metrics:
        """MBPO's; and Delta of Theorem 4, between the states before and after the updates."""
        metrics = super().roll_out(replay, keys)
        if self.bias_before is None:
            return metrics
        rng = keys("after")
        inputs, _ = model_rows(
            self.model_data.sample(self.parameters.fine_tuning_batch_size, rng, newest=True)
        )
        _, bias = self._magnitudes(self.model, inputs, self._draw_pairs(rng))
        delta, self.bias_before = self.bias_before - bias, None
        return {**metrics, "delta": delta}

    # Eq. 3 on a batch

    @torch.no_grad()
    def _objective(self, before: GaussianEnsemble, inputs: Tensor, pairs: np.ndarray) -> float:
        former = before.of_members(inputs, pairs[0])
        present = torch.from_numpy(pairs[1]).to(inputs.device)
        shift, bias = self.distances(former, self.model(inputs), present)
        return (shift + bias).mean().item()

    @torch.no_grad()
    def _magnitudes(
        self, before: GaussianEnsemble, inputs: Tensor, pairs: np.ndarray
    ) -> tuple[Tensor, Tensor]:
        """Model shift and model bias for Figure 3, by Eq. 11 whatever is minimised."""
        former = before.of_members(inputs, pairs[0])
        present = torch.from_numpy(pairs[1]).to(inputs.device)
        shift, bias = shift_and_bias(former, self.model(inputs), present)
        return shift.mean(), bias.mean()

    def _visited(self, rng: Generator) -> Tensor:
        """States and actions of rollouts in former models: [B, O + A]."""
        inputs, _ = model_rows(self.model_data.sample(self.parameters.fine_tuning_batch_size, rng))
        # They come by age, and to the published code's distance a row's place matters.
        return inputs[torch.from_numpy(rng.permutation(len(inputs))).to(inputs.device)]

    def _pairs(self, rng: Generator) -> np.ndarray:
        """Members k1 of the former and k2 of the present model for each row: [2, B]."""
        return (
            self._draw_pairs(rng) if self.parameters.wasserstein == "sample" else self.fixed_pairs
        )

    def _draw_pairs(self, rng: Generator) -> np.ndarray:
        p = self.parameters
        return rng.integers(p.members, size=(2, p.fine_tuning_batch_size))

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"tuning_adam": self.tuning_adam.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.tuning_adam.load_state_dict(state["tuning_adam"])


def _copies(variables: list[Tensor]) -> list[Tensor]:
    return [variable.detach().clone() for variable in variables]
