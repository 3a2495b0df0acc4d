"""Hybrid learning (HL; Pinosky et al. 2023), the stochastic variant: a model improves SAC's actions.

The policy draws a few trajectories in a learned model; the action is the mean of their first
actions, weighted by the returns that the model predicts. SAC and the model learn from what is done
so (deviations A21 and A23). The published code also keeps a plan of actions and moves it by weighted differences, but its
weights sum to one, so that nothing of the plan before remains and only its first action is ever
used: this is what is computed here (deviation A19).
"""

from typing import Any

import torch
from numpy.random import Generator
from torch import Tensor

from unirl_repro.agents.protocol import Metrics
from unirl_repro.agents.sac import SAC
from unirl_repro.agents.updates import repeated_updates
from unirl_repro.hyperparameters import HLParameters
from unirl_repro.models.gaussian_mlp import GaussianMLP
from unirl_repro.nn.adam import Adam
from unirl_repro.nn.compiling import compile_gradients
from unirl_repro.replay import Batch, Replay
from unirl_repro.rng import Keys, normal

Gradients = tuple[tuple[Tensor, ...], dict[str, Tensor]]  # and metrics
LEAST_WEIGHT = 1e-5  # of a trajectory, the best one's being 1: the published code's


class HL:
    """Hybrid learning, as the loop sees it.

    Parameters
    ----------
    parameters : HLParameters
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
    """

    policy = "hl"

    def __init__(
        self,
        parameters: HLParameters,
        obs_dim: int,
        action_dim: int,
        *,
        horizon: int,
        keys: Keys,
        device: torch.device,
        compiled: bool,
    ):
        self.parameters, self.action_dim = parameters, action_dim
        self.random_steps = parameters.sac.random_steps
        sizes = (obs_dim, action_dim)
        self.sac = SAC(
            parameters.sac, *sizes, horizon=horizon, keys=keys, device=device, compiled=compiled
        )
        self.model = GaussianMLP(*sizes, parameters.model_hidden, keys("model")).to(device)
        self.model_variables: list[Tensor] = list(self.model.parameters())
        self.model_adam = Adam(self.model_variables, parameters.model_learning_rate)
        self._gradients = compile_gradients(self.gradients) if compiled else self.gradients

    @torch.no_grad()
    def act(self, obs: Tensor, rng: Generator, *, explore: bool) -> Tensor:  # [B, O] -> [B, A]
        """The same whether it explores or not: deviation A20. Random steps come first: deviation A22."""
        p = self.parameters
        rows = len(obs) * p.num_samples
        noise = normal(rng, p.plan_horizon, rows, self.action_dim, like=obs)
        return self.weighted_mean(obs, noise)

    def weighted_mean(self, obs: Tensor, noise: Tensor) -> Tensor:
        """Actions [B, A] from the policy's trajectories under noise [H, B N, A], N a row of `obs`."""
        count, temperature = self.parameters.num_samples, self.parameters.temperature
        state = obs.repeat_interleave(count, 0)  # [B N, O]
        first, log_prob = self._sampled(state, noise[0])
        state, returns = self.model(state, first)  # the model's mean: A19
        for draws in noise[1:]:
            action, _ = self._sampled(state, draws)
            state, reward = self.model(state, action)
            returns = returns + reward
        scores = (returns + temperature * log_prob).view(-1, count)  # [B, N]
        gaps = scores - scores.amax(-1, keepdim=True)
        weights = (gaps / temperature).exp() + LEAST_WEIGHT
        weights = weights / weights.sum(-1, keepdim=True)
        return (weights[..., None] * first.view(-1, count, self.action_dim)).sum(1)

    def _sampled(self, obs: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """The policy's actions, and log-probabilities of what the tanh is applied to: A19."""
        mean, raw = self.sac.actor.mlp(obs).chunk(2, dim=-1)
        std, log_std = self.sac.actor.std_head(raw)
        log_prob = (-0.5 * noise.square() - log_std).sum(-1)  # up to a constant
        return torch.tanh(mean + std * noise), log_prob

    def before_episode(self, replay: Replay, keys: Keys) -> Metrics:
        return self.sac.before_episode(replay, keys)

    def after_step(self, replay: Replay, keys: Keys) -> Metrics:
        if replay.added < max(1, self.random_steps):
            return {}
        batches, size = keys("model_batch"), self.parameters.sac.batch_size
        of_model = repeated_updates(
            self.parameters.model_updates, lambda: self.update_model(replay.sample(size, batches))
        )
        return {**of_model, **self.sac.after_step(replay, keys)}

    def after_episode(self, replay: Replay, keys: Keys) -> Metrics:
        return {}

    def update_model(self, batch: Batch) -> dict[str, Tensor]:
        """One gradient update of the model: [B, ·]."""
        gradients, metrics = self._gradients(batch)
        self.model_adam.step(gradients)
        return metrics

    def gradients(self, batch: Batch) -> Gradients:
        """Of the model's likelihood and the reward's error."""
        likelihood, error = self.model.losses(batch)
        metrics = {"model_loss": likelihood.detach(), "reward_loss": error.detach()}
        return torch.autograd.grad(likelihood + error, self.model_variables), metrics

    def state_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name).state_dict() for name in _STATEFUL}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in _STATEFUL:
            getattr(self, name).load_state_dict(state[name])


_STATEFUL = ("sac", "model", "model_adam")
