"""Stochastic value gradients (Heess et al. 2015, arXiv:1510.09142): SVG(1) with experience replay.

The policy climbs r(s, a) + discount * V(s') by gradients through a learned model of one step. Where
the model is asked it is right: action and next observation are those of a real transition, written
as functions of noise that is inferred from them, and only their derivatives are the model's. The
transitions are another policy's, so each counts by the ratio of the two policies' densities.

unified_rl does not say which member of the family it ran: deviation A14.
"""

from math import log
from typing import Any

import torch
from numpy.random import Generator
from torch import Tensor

from unirl_repro.agents.protocol import Metrics
from unirl_repro.hyperparameters import SVGParameters
from unirl_repro.models.gaussian_mlp import GaussianMLP
from unirl_repro.nn.actor import Actor, StdHead, tanh_gaussian_log_prob
from unirl_repro.nn.adam import Adam
from unirl_repro.nn.clipping import clipped
from unirl_repro.nn.compiling import compile_gradients
from unirl_repro.nn.mlp import MLP
from unirl_repro.nn.targets import move_towards, sharing, target_of
from unirl_repro.replay import Batch, Replay
from unirl_repro.rng import Keys, normal

EDGE = 1 - 1e-6  # largest action that noise is inferred from: the inverse of tanh at 1 is infinite
Gradients = tuple[tuple[Tensor, ...], dict[str, Tensor]]  # and metrics


class SVG:
    """SVG(1) with experience replay, as the loop sees it.

    Parameters
    ----------
    parameters : SVGParameters
        Hyper-parameters.
    obs_dim, action_dim : int
        Sizes of one observation and one action.
    horizon : int
        Steps of an episode, which the replay holds at least.
    keys : Keys
        Where the initial weights come from.
    device : torch.device
        Where networks live and updates run.
    compiled : bool
        Compile the update. Eager and compiled agree to rounding, not to the bit.
    """

    policy = "svg"

    def __init__(
        self,
        parameters: SVGParameters,
        obs_dim: int,
        action_dim: int,
        *,
        horizon: int,
        keys: Keys,
        device: torch.device,
        compiled: bool,
    ):
        self.parameters, self.action_dim = parameters, action_dim
        self.random_steps = parameters.random_steps
        sizes, hidden = (obs_dim, action_dim), parameters.hidden
        head = StdHead("exp", (parameters.log_std_min, parameters.log_std_max))
        self.actor = Actor(*sizes, hidden, keys("actor"), std_head=head)
        self.value = MLP([obs_dim, *hidden, 1], keys("state_critic"))
        model_rng = keys("model")
        self.model = GaussianMLP(*sizes, parameters.model_hidden, model_rng)
        for network in (self.actor, self.value, self.model):
            network.to(device)
        self.target = target_of(self.value)
        self.fixed_value, self.fixed_model = sharing(self.value), sharing(self.model)
        # Of each transition's action under the policy that took it; `empty` commits no memory.
        capacity = max(parameters.replay_capacity, horizon)
        self.log_probs = torch.empty(capacity, device=device)
        self.recorded = 0  # transitions so far; number i has its entry at i % capacity
        self._list_tensors()
        self._gradients = compile_gradients(self.gradients) if compiled else self.gradients

    def _list_tensors(self) -> None:
        networks = (self.model, self.value, self.actor)
        self.groups: list[list[Tensor]] = [list(network.parameters()) for network in networks]
        self.variables = [tensor for group in self.groups for tensor in group]
        model, value, actor = self.groups
        self.adam = Adam([*model, *value], self.parameters.learning_rate)
        self.actor_adam = Adam(actor, self.parameters.actor_learning_rate)
        self.target_variables: list[Tensor] = list(self.target.parameters())

    @torch.no_grad()
    def act(self, obs: Tensor, rng: Generator, *, explore: bool) -> Tensor:  # [B, O] -> [B, A]
        noise = normal(rng, len(obs), self.action_dim, like=obs) if explore else None
        return self.actor.act(obs, noise)

    def before_episode(self, replay: Replay, keys: Keys) -> Metrics:
        return {}

    def after_step(self, replay: Replay, keys: Keys) -> Metrics:
        self.record(replay)
        if replay.added < max(1, self.random_steps):
            return {}
        return self.update(*self.sample(replay, keys("batch")))

    def after_episode(self, replay: Replay, keys: Keys) -> Metrics:
        return {}

    @torch.no_grad()
    def record(self, replay: Replay) -> None:
        """Note the log-probability of actions since the last call; the policy is still theirs."""
        new = replay.rows(self.recorded, replay.added)
        _, log_prob = reproduced(self.actor, new.obs, new.action)
        numbers = torch.arange(self.recorded, replay.added, device=log_prob.device)
        # The loop draws the first ones uniformly from the box [-1, 1]^A.
        uniform = torch.full_like(log_prob, -self.action_dim * log(2))
        log_prob = torch.where(numbers < self.random_steps, uniform, log_prob)
        self.log_probs[numbers % len(self.log_probs)] = log_prob
        self.recorded = replay.added

    def sample(self, replay: Replay, rng: Generator) -> tuple[Batch, Tensor]:
        """Transitions drawn uniformly with replacement, and their log-probabilities [B]."""
        oldest, size = replay.added - len(replay), self.parameters.batch_size
        numbers = torch.from_numpy(rng.integers(oldest, replay.added, size=size))
        numbers = numbers.to(self.log_probs.device)
        rows = numbers % replay.capacity
        batch = Batch(*(getattr(replay, field)[rows] for field in Batch._fields))
        return batch, self.log_probs[numbers % len(self.log_probs)]

    def update(self, batch: Batch, log_prob: Tensor) -> dict[str, Tensor]:
        """One gradient update of model, value function, policy and target: [B, ·], [B]."""
        gradients, metrics = self._gradients(batch, log_prob)
        remaining = iter(gradients)
        model, value, actor = (
            clipped([next(remaining) for _ in group], self.parameters.clip_norm)
            for group in self.groups
        )
        self.adam.step([*model, *value])
        self.actor_adam.step(actor)
        move_towards(self.target_variables, self.groups[1], self.parameters.polyak)
        return metrics

    def gradients(self, batch: Batch, log_prob: Tensor) -> Gradients:
        """Of the losses of model, value function and policy, all at the present weights."""
        action, log_prob_now = reproduced(self.actor, batch.obs, batch.action)
        # Deviation A16: the ratio is clipped; as a logarithm it cannot overflow.
        bound = log(self.parameters.max_weight)
        weight = (log_prob_now.detach() - log_prob).clamp(max=bound).exp()  # [B]
        likelihood, error = self.model.losses(batch)
        value_loss = self._value_loss(batch, weight)
        actor_loss = -(weight * self._reproduced_value(batch, action)).mean()
        # KL(mu || pi), mu being whoever acted: keeps the tanh from saturating (deviation A16).
        divergence = (log_prob - log_prob_now).mean()
        penalty = self.parameters.kl_coefficient * divergence
        # Losses of different networks share no variable, so one backward pass serves all.
        total = likelihood + error + value_loss + actor_loss + penalty
        metrics = {
            "model_loss": likelihood,
            "reward_loss": error,
            "value_loss": value_loss,
            "actor_loss": actor_loss,
            "importance_weight": weight.mean(),
            "divergence": divergence,
        }
        detached = {name: value.detach() for name, value in metrics.items()}
        return torch.autograd.grad(total, self.variables), detached

    def _value_loss(self, batch: Batch, weight: Tensor) -> Tensor:
        """Squared temporal-difference error, weighted by the ratio and halved."""
        with torch.no_grad():
            following = self._discounted(self.target(batch.next_obs), batch)
            y = batch.reward + following  # [B]
        return 0.5 * (weight * (self.value(batch.obs).squeeze(-1) - y).square()).mean()

    def _reproduced_value(self, batch: Batch, action: Tensor) -> Tensor:
        """r + discount * V(s') as a function of the action, at a real transition: [B]."""
        mean, reward = self.fixed_model(batch.obs, action)  # learnt, not known: deviation A15
        # The noise that leads to the real next observation, with a std that no action changes,
        # is their difference: deviation A17.
        next_obs = mean + (batch.next_obs - mean).detach()
        return reward + self._discounted(self.fixed_value(next_obs), batch)

    def _discounted(self, value: Tensor, batch: Batch) -> Tensor:
        """discount * V(s'), without V where the environment ended: [B, 1] -> [B]."""
        return self.parameters.discount * (1 - batch.terminated) * value.squeeze(-1)

    def state_dict(self) -> dict[str, Any]:
        known = self.log_probs[: min(self.recorded, len(self.log_probs))]
        return {name: getattr(self, name).state_dict() for name in _STATEFUL} | {
            "recorded": self.recorded,
            "log_probs": known.clone(),  # a slice would be saved with all that it is cut from
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in _STATEFUL:
            getattr(self, name).load_state_dict(state[name])
        self.recorded = state["recorded"]
        self.log_probs[: len(state["log_probs"])] = state["log_probs"]


_STATEFUL = ("actor", "value", "target", "model", "adam", "actor_adam")


def reproduced(actor: Actor, obs: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
    """Actions as the policy's function of the noise behind them, and their log-probabilities.

    Parameters
    ----------
    actor : Actor
        The policy, whoever took the actions.
    obs, action : Tensor
        [B, O] and [B, A].

    Returns
    -------
    action : Tensor
        The same actions (moved off the box's edge, where no noise leads), with gradients into the
        policy at fixed noise: [B, A].
    log_prob : Tensor
        With gradients into the policy at fixed actions: [B].
    """
    u = action.clamp(-EDGE, EDGE).atanh()
    mean, raw = actor.mlp(obs).chunk(2, dim=-1)
    std, log_std = actor.std_head(raw)
    noise = (u - mean) / std
    log_prob = tanh_gaussian_log_prob(u, noise, log_std)
    return torch.tanh(mean + std * noise.detach()), log_prob
