"""Unified RL (unified_rl, Alg. 1): model-free unless the model proves its own policy better."""

from typing import Any

import torch
from numpy.random import Generator
from torch import Tensor

from unirl_repro.agents import eps
from unirl_repro.agents.mbrl import MBRL
from unirl_repro.agents.protocol import Metrics
from unirl_repro.agents.sac import SAC
from unirl_repro.episodes import sample_initial
from unirl_repro.hyperparameters import UnifiedParameters
from unirl_repro.nn.repeated import repeated
from unirl_repro.replay import Replay
from unirl_repro.rng import Keys

QUANTILES = {"min": 0.0, "q25": 0.25, "median": 0.5, "q75": 0.75, "max": 1.0}


class Unified:
    """Unified RL, as the loop sees it: SAC and model-based RL on one buffer, one of them acting.

    Parameters
    ----------
    parameters : UnifiedParameters
        Hyper-parameters.
    obs_dim, action_dim, horizon, keys, device, compiled
        As both parts take them.
    """

    def __init__(
        self,
        parameters: UnifiedParameters,
        obs_dim: int,
        action_dim: int,
        *,
        horizon: int,
        keys: Keys,
        device: torch.device,
        compiled: bool,
    ):
        self.parameters, self.horizon = parameters, horizon
        common: dict[str, Any] = {"horizon": horizon, "keys": keys, "device": device}
        self.sac = SAC(parameters.sac, obs_dim, action_dim, **common, compiled=compiled)
        self.mbrl = MBRL(parameters.mbrl, obs_dim, action_dim, **common, compiled=compiled)
        self.random_steps = parameters.sac.random_steps
        self.policy = "sac_untested"  # who acts: sac, mbrl, sac_forced, or SAC without a test
        self.model_based_in_a_row = 0

    def act(self, obs: Tensor, rng: Generator, *, explore: bool) -> Tensor:  # [B, O] -> [B, A]
        active = self.mbrl if self.policy == "mbrl" else self.sac
        return active.act(obs, rng, explore=explore)

    def before_episode(self, replay: Replay, keys: Keys) -> Metrics:
        of_mbrl = self.mbrl.before_episode(replay, keys)  # line 3
        metrics = {**of_mbrl, **self.sac.before_episode(replay, keys)}  # line 4
        if not of_mbrl:  # a model that has not been trained proves nothing
            return metrics
        gaps = self.return_gaps(replay, keys)  # line 5
        proven = eps.is_proven(gaps)
        # At least one episode in ten is model-free (A.2.5); which, is deviation U8.
        due = self.model_based_in_a_row >= self.parameters.model_free_every - 1
        self._choose(proven, due)  # lines 6 to 10
        return metrics | _gap_metrics(gaps, proven=proven, forced=proven and due)

    def return_gaps(self, replay: Replay, keys: Keys) -> Tensor:
        """What each of K samples of the model says that its policy gains over SAC's: [K]."""
        num_masks, num_rollouts = self.parameters.num_masks, self.parameters.num_rollouts
        rng, model = keys("gaps"), self.mbrl.model
        masks = model.sample_masks(num_masks, rng)
        start = sample_initial(replay, self.horizon, 2 * num_masks * num_rollouts, rng)
        start = start.view(2, num_masks, num_rollouts, -1)
        policies = (repeated(self.mbrl.actor), repeated(self.sac.actor))
        return eps.return_gaps(model, *policies, start, masks, self.horizon, rng)

    def _choose(self, proven: bool, due: bool) -> None:
        if proven and not due:
            self.policy = "mbrl"
            self.model_based_in_a_row += 1
        else:
            self.policy = "sac_forced" if proven else "sac"
            self.model_based_in_a_row = 0

    def after_step(self, replay: Replay, keys: Keys) -> Metrics:
        return self.sac.after_step(replay, keys)

    def after_episode(self, replay: Replay, keys: Keys) -> Metrics:
        return self.mbrl.after_episode(replay, keys)

    def state_dict(self) -> dict[str, Any]:
        return {
            "mbrl": self.mbrl.state_dict(),
            "sac": self.sac.state_dict(),
            "policy": self.policy,
            "model_based_in_a_row": self.model_based_in_a_row,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.mbrl.load_state_dict(state["mbrl"])
        self.sac.load_state_dict(state["sac"])
        self.policy = state["policy"]
        self.model_based_in_a_row = state["model_based_in_a_row"]


def _gap_metrics(gaps: Tensor, *, proven: bool, forced: bool) -> dict[str, float | Tensor]:
    """The gaps' distribution over masks; rollouts that diverged are counted, and left out of it."""
    finite = gaps[gaps.isfinite()]
    metrics: dict[str, float | Tensor] = {
        "gap_diverged": float(len(gaps) - len(finite)),
        "proven": float(proven),
        "forced": float(forced),
    }
    if len(finite):
        metrics |= {f"gap_{name}": finite.quantile(q) for name, q in QUANTILES.items()}
    return metrics
