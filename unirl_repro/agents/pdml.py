"""PDML (Wang et al. 2023, "Live in the moment"): MBPO that learns most from recent policies' data.

At each training the policy is remembered; data count the more, the less their policy differs from
the present one. Model and rollouts draw by these weights. What the published code does otherwise
beside this is in deviation D6.
"""

from copy import deepcopy
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from unirl_repro.agents.mbpo import MBPO, model_rows
from unirl_repro.hyperparameters import PDMLParameters
from unirl_repro.models.ensemble_training import Fit
from unirl_repro.nn.actor import Actor
from unirl_repro.replay import Replay
from unirl_repro.rng import Keys

SMALLEST_SHIFT = 1e-6  # of a policy that has not changed, whose weight would be infinite


class PDML(MBPO):
    """MBPO with data weighted by policy, as the loop sees it; built like MBPO."""

    policy = "pdml"
    parameters: PDMLParameters

    def __init__(self, parameters: PDMLParameters, *sizes: int, **options: Any):
        super().__init__(parameters, *sizes, **options)
        self.policies: list[dict[str, Tensor]] = []  # at each training of the model
        self.weights = np.ones(0)  # of all transitions, as of the last training

    def fit_model(self, replay: Replay, keys: Keys) -> Fit:
        self.policies.append(deepcopy(self.sac.actor.state_dict()))
        self.weights = self.data_weights(replay, keys("shift"))
        rows = model_rows(replay.rows(0, replay.added))
        return self.trainer.fit(*rows, keys("model"), self.weights)

    def start_rows(self, replay: Replay, rng: Generator) -> np.ndarray:
        limits = np.cumsum(self.weights)
        draws = limits[-1] * rng.random(self.parameters.rollout_batch)
        return np.searchsorted(limits, draws, side="right").clip(max=replay.added - 1)

    def data_weights(self, replay: Replay, rng: Generator) -> np.ndarray:
        """Of each transition, up to a factor: [N]."""
        p, blocks = self.parameters, len(self.policies) - 1
        if blocks < p.weighted_from:
            return np.ones(replay.added)
        rows = torch.from_numpy(rng.integers(replay.added, size=p.shift_states))
        # A block weighs as the policy at its end; the first policy ended none.
        shifts = self.shifts(replay.obs[rows.to(replay.obs.device)], self.policies[1:-1])
        by_block = block_weights(shifts, p.newest_share, p.random_weight)
        random = replay.added - blocks * p.model_every
        return np.repeat(by_block, [random, *[p.model_every] * blocks])

    @torch.no_grad()
    def shifts(self, obs: Tensor, policies: list[dict[str, Tensor]]) -> np.ndarray:
        """Mean distance of each policy from the present one on states [B, O]."""
        former = deepcopy(self.sac.actor)
        means = []
        for policy in policies:
            former.load_state_dict(policy)
            means.append(policy_shift(self.sac.actor, former, obs).mean())
        return torch.stack(means).double().cpu().numpy()

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"policies": self.policies}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.policies = list(state["policies"])


def policy_shift(present: Actor, former: Actor, obs: Tensor) -> Tensor:
    """Pinsker's bound of the total variation between two policies, before the tanh: [B].

    sqrt(KL(present || former) / 2); the published code has std where variances belong (D6).
    """
    mean, raw = present.mlp(obs).chunk(2, dim=-1)
    std, log_std = present.std_head(raw)
    other, raw = former.mlp(obs).chunk(2, dim=-1)
    other_std, other_log_std = former.std_head(raw)
    ratio, gap = (std / other_std).square(), ((mean - other) / other_std).square()
    kl = (other_log_std - log_std + 0.5 * (ratio + gap - 1)).sum(-1)
    return (0.5 * kl.clamp(min=0)).sqrt()


def block_weights(shifts: np.ndarray, newest_share: float, random_weight: float) -> np.ndarray:
    """Weights of a transition of the random steps, and of each block from the oldest on.

    Parameters
    ----------
    shifts : (M,) array
        Of the policies at the ends of all blocks but the newest, from the present policy.
    newest_share : float
        Least share of the newest block among all blocks, the random steps counting as one.
    random_weight : float
        Of a random step, in units of a step of the first block.

    Returns
    -------
    weights : (M + 2,) array
        The random steps', then each block's; those of `shifts` sum to 1.
    """
    weights = 1 / np.maximum(shifts, SMALLEST_SHIFT)
    weights = weights / weights.sum()
    random = random_weight * weights[0]
    least = (random + weights.sum()) * newest_share / (1 - newest_share)
    return np.array([random, *weights, max(weights.max(), least)])
