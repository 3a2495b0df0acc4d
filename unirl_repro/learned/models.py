"""What the studies of `learned` share: transitions of a policy, and an ensemble trained on some."""

from collections.abc import Callable

import gymnasium
import torch
from torch import Tensor

from unirl_repro.agents.mbpo import model_rows
from unirl_repro.envs import make
from unirl_repro.envs.tasks import Task
from unirl_repro.hyperparameters import MBPOParameters
from unirl_repro.learned.sizes import ModelSizes
from unirl_repro.models.ensemble_training import EnsembleTrainer
from unirl_repro.models.gaussian_ensemble import SMALLEST, GaussianEnsemble
from unirl_repro.replay import Batch, Replay
from unirl_repro.rng import Keys

# An action [A] for an observation [O] and the keys of this step.
Policy = Callable[[Tensor, Keys], Tensor]
WEIGHT_DECAY = MBPOParameters().weight_decay


def collect(task: Task, policy: Policy, steps: int, seed: int, phase: str) -> Batch:
    """Transitions of a policy's own episodes, the last one cut short.

    Parameters
    ----------
    task : Task
        Where it acts.
    policy : callable
        Takes an observation and the keys of the moment.
    steps : int
        Transitions.
    seed, phase : int, str
        Of the keys.
    """
    env, keys = make(task), Keys(seed, phase)
    data = Replay(steps, task.obs_dim, task.action_dim)
    obs = _reset(env, keys)
    for _ in range(steps):
        action = policy(obs, keys)
        raw, reward, terminated, truncated, _ = env.step(action.double().numpy())
        next_obs = torch.as_tensor(raw, dtype=torch.float32)
        data.add(obs, action, float(reward), next_obs, bool(terminated))
        obs, keys = next_obs, Keys(seed, phase, keys.episode, keys.step + 1)
        if terminated or truncated:
            keys = Keys(seed, phase, keys.episode + 1)
            obs = _reset(env, keys)
    return data.rows(0, steps)


def _reset(env: gymnasium.Env, keys: Keys) -> Tensor:
    obs, _ = env.reset(seed=keys.integer("env"))
    return torch.as_tensor(obs, dtype=torch.float32)


class LearntModel:
    """An ensemble trained on some transitions, and the members that do best on those held out.

    Parameters
    ----------
    batch : Batch
        The transitions.
    sizes : ModelSizes
        Of the ensemble.
    keys : Keys
        Where initial weights and the order of the rows come from.

    Attributes
    ----------
    elites : Tensor
        Members by number.
    """

    def __init__(self, batch: Batch, sizes: ModelSizes, keys: Keys):
        inputs, targets = model_rows(batch)
        obs_dim, action_dim = batch.obs.shape[1], batch.action.shape[1]
        self.model = GaussianEnsemble(
            obs_dim,
            action_dim,
            sizes.hidden,
            keys("model"),
            weight_decay=WEIGHT_DECAY,
            members=sizes.members,
        )
        trainer = EnsembleTrainer(self.model, sizes.learning_rate, sizes.batch_size, compiled=False)
        # Targets in units of their own spread, which MBPO's are not: deviation B2.
        self.centre, spread = targets.mean(0), targets.std(0, correction=0)
        self.unit = torch.where(spread < SMALLEST, 1.0, spread)
        fit = trainer.fit(inputs, (targets - self.centre) / self.unit, keys("fit"))
        self.elites = torch.argsort(fit.errors, stable=True)[: sizes.elites]

    @torch.no_grad()
    def predict(self, batch: Batch) -> Tensor:
        """The change of the observation that the elites expect, in their mean: [B, O]."""
        inputs, _ = model_rows(batch)
        mean = self.model(inputs).mean[self.elites].mean(0)  # [B, 1 + O]
        return (mean * self.unit + self.centre)[:, 1:]

    @torch.no_grad()
    def sample(self, obs: Tensor, action: Tensor, choice: Tensor, noise: Tensor) -> Tensor:
        """Next observations [B, O]: of the elite that `choice` [B] counts, with noise [B, 1 + O]."""
        inputs = torch.cat([obs, action], dim=1)
        said = self.model.of_members(inputs, self.elites[choice].numpy())
        drawn = (said.mean + said.std * noise) * self.unit + self.centre
        return obs + drawn[:, 1:]
