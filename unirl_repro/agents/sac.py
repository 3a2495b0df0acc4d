"""Soft actor-critic (Haarnoja et al. 2018, arXiv:1812.05905, "v2"), and unified_rl's changes to it.

As published: two critics and the smaller of their targets, a tanh-Gaussian policy trained by
reparameterisation, an entropy coefficient that is learnt. unified_rl (Sec. 3.2) changes two things,
both from RLPD: layer normalisation in the critics, and no entropy in the critics' target.
"""

from math import log
from typing import Any

import torch
from numpy.random import Generator
from torch import Tensor

from unirl_repro.agents.protocol import Metrics
from unirl_repro.agents.updates import repeated_updates
from unirl_repro.hyperparameters import SACParameters
from unirl_repro.nn.actor import Actor, StdHead
from unirl_repro.nn.adam import Adam
from unirl_repro.nn.compiling import compile_gradients
from unirl_repro.nn.mlp import MLP
from unirl_repro.nn.targets import move_towards, sharing, target_of
from unirl_repro.replay import Batch, Replay
from unirl_repro.rng import Keys, normal

Gradients = tuple[tuple[Tensor, ...], dict[str, Tensor]]  # and metrics


class SAC:
    """Soft actor-critic, as the loop sees it.

    Parameters
    ----------
    parameters : SACParameters
        Hyper-parameters.
    obs_dim, action_dim : int
        Sizes of one observation and one action.
    horizon : int
        Steps of an episode, T: as many updates precede it where ``update_at`` is "episode".
    keys : Keys
        Where the initial weights come from.
    device : torch.device
        Where networks live and updates run.
    compiled : bool
        Compile the update. Eager and compiled agree to rounding, not to the bit.
    """

    policy = "sac"

    def __init__(
        self,
        parameters: SACParameters,
        obs_dim: int,
        action_dim: int,
        *,
        horizon: int,
        keys: Keys,
        device: torch.device,
        compiled: bool,
    ):
        self.parameters, self.action_dim, self.horizon = parameters, action_dim, horizon
        self.random_steps = parameters.random_steps
        self.actor = _actor(parameters, obs_dim, action_dim, keys("actor")).to(device)
        critic_sizes = [obs_dim + action_dim, *parameters.hidden, 1]
        self.critic = MLP(
            critic_sizes, keys("critic"), layer_norm=parameters.layer_norm, members=2
        ).to(device)
        self.target = target_of(self.critic)
        self.fixed_critic = sharing(self.critic)
        self.automatic = parameters.entropy_coefficient == "auto"
        self.log_alpha = torch.tensor(
            log(_initial_coefficient(parameters)), device=device, requires_grad=self.automatic
        )
        self.target_entropy = (
            -float(action_dim) if parameters.target_entropy is None else parameters.target_entropy
        )
        self._list_tensors()
        self._critic_gradients, self._actor_gradients = self.critic_gradients, self.actor_gradients
        if compiled:
            self._critic_gradients = compile_gradients(self.critic_gradients)
            self._actor_gradients = compile_gradients(self.actor_gradients)

    def _list_tensors(self) -> None:
        """What each optimiser changes; walking a module's tree at each update would cost more."""
        coefficient = [self.log_alpha] if self.automatic else []
        self.actor_variables: list[Tensor] = [*self.actor.parameters(), *coefficient]
        self.critic_variables: list[Tensor] = list(self.critic.parameters())
        self.target_variables: list[Tensor] = list(self.target.parameters())
        self.actor_adam = Adam(self.actor_variables, self.parameters.learning_rate)
        self.critic_adam = Adam(self.critic_variables, self.parameters.learning_rate)

    @torch.no_grad()
    def act(self, obs: Tensor, rng: Generator, *, explore: bool) -> Tensor:  # [B, O] -> [B, A]
        noise = normal(rng, len(obs), self.action_dim, like=obs) if explore else None
        return self.actor.act(obs, noise)

    def before_episode(self, replay: Replay, keys: Keys) -> Metrics:
        if self.parameters.update_at != "episode":
            return {}
        # Alg. 1 trains here without a number: deviation A2.
        return self._updates(replay, keys, self.horizon * self.parameters.updates_per_step)

    def after_step(self, replay: Replay, keys: Keys) -> Metrics:
        if self.parameters.update_at != "step":
            return {}
        return self._updates(replay, keys, self.parameters.updates_per_step)

    def after_episode(self, replay: Replay, keys: Keys) -> Metrics:
        return {}

    def _updates(self, replay: Replay, keys: Keys, count: int) -> Metrics:
        """`count` updates, once the random steps are over; the mean of their metrics."""
        if replay.added < max(1, self.random_steps):
            return {}
        batches, noise, size = keys("batch"), keys("noise"), self.parameters.batch_size

        def update() -> dict[str, Tensor]:
            batch = replay.sample(size, batches)
            return self.update(batch, normal(noise, 2, size, self.action_dim, like=batch.obs))

        return repeated_updates(count, update)

    def update(self, batch: Batch, noise: Tensor) -> dict[str, Tensor]:
        """One gradient update of critics, policy, coefficient and targets: [B, ·], [2, B, A]."""
        alpha = self.log_alpha.detach().exp()
        gradients, critic_metrics = self._critic_gradients(batch, noise[1], alpha)
        self.critic_adam.step(gradients)
        gradients, actor_metrics = self._actor_gradients(batch.obs, noise[0], alpha)
        self.actor_adam.step(gradients)
        move_towards(self.target_variables, self.critic_variables, self.parameters.polyak)
        return critic_metrics | actor_metrics | {"entropy_coefficient": alpha}

    def critic_gradients(self, batch: Batch, noise: Tensor, alpha: Tensor) -> Gradients:
        """Of the squared Bellman error, halved, of both critics."""
        y = self._critic_target(batch, noise, alpha)  # [B]
        q = self._q_values(self.critic, batch.obs, batch.action)  # [2, B]
        loss = 0.5 * (q - y).square().mean(-1).sum()  # Eq. 5
        return torch.autograd.grad(loss, self.critic_variables), {"critic_loss": loss.detach()}

    def actor_gradients(self, obs: Tensor, noise: Tensor, alpha: Tensor) -> Gradients:
        """Of the policy's loss and, where it is learnt, of the entropy coefficient's."""
        action, log_prob = self.actor(obs, noise)  # [B, A], [B]
        q = self._q_values(self.fixed_critic, obs, action).amin(0)  # [B]
        loss = (alpha * log_prob - q).mean()  # Eq. 9
        entropy = -log_prob.detach().mean()
        # Eq. 18, times the coefficient's logarithm (deviation A7); one backward pass serves both
        # losses, which share no variable.
        both = loss + self.log_alpha * (entropy - self.target_entropy)
        metrics = {"actor_loss": loss.detach(), "entropy": entropy, "q": q.detach().mean()}
        return torch.autograd.grad(both, self.actor_variables), metrics

    @torch.no_grad()
    def _critic_target(self, batch: Batch, noise: Tensor, alpha: Tensor) -> Tensor:
        """r + discount * V(s'), without V where the environment ended: [B]."""
        action, log_prob = self.actor(batch.next_obs, noise)
        value = self._q_values(self.target, batch.next_obs, action).amin(0)  # [B]
        if self.parameters.entropy_in_target:  # unified_rl, Sec. 3.2, leaves it out
            value = value - alpha * log_prob  # Eq. 3
        return batch.reward + self.parameters.discount * (1 - batch.terminated) * value

    @staticmethod
    def _q_values(critic: MLP, obs: Tensor, action: Tensor) -> Tensor:
        x = torch.cat([obs, action], dim=-1)  # [B, O + A]
        return critic(x.expand(2, -1, -1)).squeeze(-1)  # [2, B]

    def state_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name).state_dict() for name in _STATEFUL} | {
            "log_alpha": self.log_alpha.detach()
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in _STATEFUL:
            getattr(self, name).load_state_dict(state[name])
        self.log_alpha.data.copy_(state["log_alpha"])


_STATEFUL = ("actor", "critic", "target", "actor_adam", "critic_adam")


def _actor(parameters: SACParameters, obs_dim: int, action_dim: int, rng: Generator) -> Actor:
    clip = (parameters.log_std_min, parameters.log_std_max)
    head = StdHead(parameters.std_head, clip, parameters.sigma_max)
    sizes = (obs_dim, action_dim, parameters.hidden)
    return Actor(*sizes, rng, std_head=head, activation=parameters.activation)


def _initial_coefficient(parameters: SACParameters) -> float:
    fixed = parameters.entropy_coefficient
    return parameters.initial_entropy_coefficient if isinstance(fixed, str) else fixed
