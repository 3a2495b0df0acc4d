"""Model-based policy optimisation (MBPO; Janner et al. 2019, Alg. 2): SAC on short model rollouts.

Every `model_every` steps an ensemble is trained on all transitions and rolled out for a few steps
from states that were visited; SAC learns from the made-up transitions, and a few real ones. What
differs from the published code is in deviation D1. CMLO, PDML and USB-PO are this loop with one
method changed (deviation D4).
"""

from copy import deepcopy
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from unirl_repro.agents.protocol import Metrics
from unirl_repro.agents.sac import SAC
from unirl_repro.agents.updates import repeated_updates
from unirl_repro.hyperparameters import MBPOParameters
from unirl_repro.model_data import ModelData
from unirl_repro.models.ensemble_training import EnsembleTrainer, Fit
from unirl_repro.models.gaussian_ensemble import GaussianEnsemble
from unirl_repro.models.termination import TERMINATION
from unirl_repro.nn.actor import Actor
from unirl_repro.nn.blocks import in_blocks
from unirl_repro.replay import Batch, Replay
from unirl_repro.rng import Keys, normal


class MBPO:
    """Model-based policy optimisation, as the loop sees it.

    Parameters
    ----------
    parameters : MBPOParameters
        Hyper-parameters.
    obs_dim, action_dim : int
        Sizes of one observation and one action.
    horizon : int
        Steps of an episode, as SAC takes it.
    keys : Keys
        Where the initial weights come from.
    device : torch.device
        Where networks live and updates run.
    compiled : bool
        Compile the updates. Eager and compiled agree to rounding, not to the bit.

    Notes
    -----
    A checkpoint holds no model data: they are made again from what they came from, the weights and
    the starting states of that moment and the keys of their noise.
    """

    policy = "mbpo"

    def __init__(
        self,
        parameters: MBPOParameters,
        obs_dim: int,
        action_dim: int,
        *,
        horizon: int,
        keys: Keys,
        device: torch.device,
        compiled: bool,
    ):
        p = self.parameters = parameters
        self.random_steps, self.action_dim = p.sac.random_steps, action_dim
        self.sac = SAC(
            p.sac,
            obs_dim,
            action_dim,
            horizon=horizon,
            keys=keys,
            device=device,
            compiled=compiled,
        )
        self.model = GaussianEnsemble(
            obs_dim,
            action_dim,
            p.model_hidden,
            keys("model"),
            weight_decay=p.weight_decay,
            members=p.members,
        ).to(device)
        self.trainer = EnsembleTrainer(
            self.model, p.model_learning_rate, p.model_batch_size, compiled=compiled
        )
        self.elites: list[int] = []
        self.is_terminal = TERMINATION[p.termination]
        self.rollouts: list[dict[str, Any]] = []  # what each set of model data came from
        self.model_data = ModelData(p.model_data_epochs * p.epoch_length // p.model_every)

    @torch.no_grad()
    def act(self, obs: Tensor, rng: Generator, *, explore: bool) -> Tensor:  # [B, O] -> [B, A]
        return self.sac.act(obs, rng, explore=explore)

    def before_episode(self, replay: Replay, keys: Keys) -> Metrics:
        return {}

    def after_step(self, replay: Replay, keys: Keys) -> Metrics:
        if replay.added < max(1, self.random_steps):
            return {}
        self._check_complete(replay)
        self._make_again(replay, keys.seed)
        metrics: dict[str, float | Tensor] = {}
        if self.model_is_due(replay, keys):
            metrics |= self.train_model(replay, keys)  # line 3
        if self.steps_learning(replay) % self.parameters.model_every == 0:
            metrics |= self.roll_out(replay, keys)  # lines 6 to 8
        return {**metrics, **self.update_policy(replay, keys)}  # lines 9 and 10

    def after_episode(self, replay: Replay, keys: Keys) -> Metrics:
        return {}

    def steps_learning(self, replay: Replay) -> int:
        """Environment steps since the random ones."""
        return replay.added - max(1, self.random_steps)

    # The model

    def model_is_due(self, replay: Replay, keys: Keys) -> bool:
        """Whether the model is trained after this step."""
        return self.steps_learning(replay) % self.parameters.model_every == 0

    def train_model(self, replay: Replay, keys: Keys) -> Metrics:
        """Maximum likelihood on all transitions; the members with the smallest errors are elites."""
        fit = self.fit_model(replay, keys)
        self.choose_elites(fit.errors)
        return {
            "model_error": fit.errors.mean(),
            "model_epochs": float(fit.epochs),
            "model_updates": float(fit.updates),
        }

    def fit_model(self, replay: Replay, keys: Keys) -> Fit:
        return self.trainer.fit(*model_rows(replay.rows(0, replay.added)), keys("model"))

    def choose_elites(self, errors: Tensor) -> None:
        self.elites = torch.argsort(errors, stable=True)[: self.parameters.elites].tolist()

    # Rollouts

    def roll_out(self, replay: Replay, keys: Keys) -> Metrics:
        """Branch from visited states, and keep what the model makes of it."""
        starts = self.start_rows(replay, keys("starts"))
        length = self.rollout_length(self.steps_learning(replay))
        source = {
            "model": self.model.state_dict(),
            "actor": self.sac.actor.state_dict(),
            "elites": list(self.elites),
            "starts": torch.from_numpy(starts.astype(np.int32)),
            "moment": [keys.episode, keys.step, length],
        }
        self.rollouts = [*self.rollouts, deepcopy(source)][-self.model_data.generations :]
        self.model_data.add(self._imagined(source, self.model, self.sac.actor, replay, keys))
        return {"rollout_length": float(length), "model_data": float(len(self.model_data))}

    def start_rows(self, replay: Replay, rng: Generator) -> np.ndarray:
        """Numbers of the transitions whose observations the rollouts branch from."""
        return rng.integers(replay.added, size=self.parameters.rollout_batch)

    def rollout_length(self, steps: int) -> int:
        """k, which grows linearly from one epoch to another, after so many steps of learning."""
        first, last, shortest, longest = self.parameters.rollout_schedule
        progress = (steps // self.parameters.epoch_length - first) / (last - first)
        return int(shortest + min(max(progress, 0.0), 1.0) * (longest - shortest))

    @torch.no_grad()
    def _imagined(
        self,
        source: dict[str, Any],
        model: GaussianEnsemble,
        actor: Actor,
        replay: Replay,
        keys: Keys,
    ) -> Batch:
        """What the policy does in the model, with an elite drawn for each row and step: [.., ·]."""
        obs = replay.obs[source["starts"].to(replay.obs.device, torch.int64)]
        elites, rng = np.array(source["elites"]), keys("rollout")
        steps: list[Batch] = []
        for _ in range(source["moment"][2]):
            wanted = normal(rng, len(obs), self.action_dim, like=obs)
            action = in_blocks(actor.act, obs, wanted)
            members = elites[rng.integers(len(elites), size=len(obs))]
            noise = normal(rng, len(obs), 1 + obs.shape[1], like=obs)
            reward, next_obs = model.sample(obs, action, members, noise)
            terminated = self.is_terminal(next_obs)
            steps.append(Batch(obs, action, reward, next_obs, terminated.to(obs.dtype)))
            obs = next_obs[~terminated]
            if not len(obs):
                break
        return Batch(*map(torch.cat, zip(*steps, strict=True)))

    def _make_again(self, replay: Replay, seed: int) -> None:
        """After a restart: the model data that the checkpoint left out."""
        if len(self.model_data) or not self.rollouts:
            return
        model, actor = deepcopy(self.model), deepcopy(self.sac.actor)
        for source in self.rollouts:
            model.load_state_dict(source["model"])
            actor.load_state_dict(source["actor"])
            episode, step, _ = source["moment"]
            keys = Keys(seed, "after_step", episode, step)
            self.model_data.add(self._imagined(source, model, actor, replay, keys))

    # The policy

    def update_policy(self, replay: Replay, keys: Keys) -> Metrics:
        """SAC's updates on batches of real and made-up transitions."""
        p = self.parameters.sac
        real = int(self.parameters.real_ratio * p.batch_size)
        batches, noise = keys("batch"), keys("noise")

        def update() -> dict[str, Tensor]:
            parts = (
                replay.sample(real, batches),
                self.model_data.sample(p.batch_size - real, batches),
            )
            batch = Batch(*map(torch.cat, zip(*parts, strict=True)))
            draws = normal(noise, 2, p.batch_size, self.action_dim, like=batch.obs)
            return self.sac.update(batch, draws)

        return repeated_updates(p.updates_per_step, update)

    def _check_complete(self, replay: Replay) -> None:
        if replay.added > replay.capacity:
            raise ValueError(
                f"replay_capacity is {replay.capacity}, and the run has {replay.added} transitions, "
                "all of which the model learns from. Allowed: at least the run's budget"
            )

    def state_dict(self) -> dict[str, Any]:
        return {
            "sac": self.sac.state_dict(),
            "trainer": self.trainer.state_dict(),
            "elites": self.elites,
            "rollouts": self.rollouts,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.sac.load_state_dict(state["sac"])
        self.trainer.load_state_dict(state["trainer"])
        self.elites, self.rollouts = list(state["elites"]), list(state["rollouts"])
        self.model_data.clear()


def model_rows(batch: Batch) -> tuple[Tensor, Tensor]:
    """What the model sees and what it is to say: [B, O + A], and reward and change [B, 1 + O]."""
    inputs = torch.cat([batch.obs, batch.action], dim=1)
    return inputs, torch.cat([batch.reward[:, None], batch.next_obs - batch.obs], dim=1)
