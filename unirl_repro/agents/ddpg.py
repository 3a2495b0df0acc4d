"""Deep deterministic policy gradient (DDPG; Lillicrap et al. 2016, arXiv:1509.02971, Alg. 1).

Q-learning for continuous actions: a critic learnt from replayed transitions, a deterministic policy
that climbs it, and slowly moving targets of both. Settings are not that paper's but those in the
code of Fujimoto et al. 2018, who tuned it anew to compare TD3 with it: deviation A8.
"""

from typing import Any

import torch
from numpy.random import Generator
from torch import Tensor

from unirl_repro.agents.protocol import Metrics
from unirl_repro.hyperparameters import DDPGParameters
from unirl_repro.nn.adam import Adam
from unirl_repro.nn.compiling import compile_gradients
from unirl_repro.nn.deterministic import DeterministicActor, noisy
from unirl_repro.nn.mlp import MLP
from unirl_repro.nn.targets import move_towards, sharing, target_of
from unirl_repro.replay import Batch, Replay
from unirl_repro.rng import Keys, normal

Gradients = tuple[tuple[Tensor, ...], dict[str, Tensor]]  # and metrics


class DDPG:
    """Deep deterministic policy gradient, as the loop sees it.

    Parameters
    ----------
    parameters : DDPGParameters
        Hyper-parameters.
    obs_dim, action_dim : int
        Sizes of one observation and one action.
    horizon : int
        Steps of an episode; it learns from steps, whatever the episode.
    keys : Keys
        Where the initial weights come from.
    device : torch.device
        Where networks live and updates run.
    compiled : bool
        Compile the update. Eager and compiled agree to rounding, not to the bit.
    """

    policy = "ddpg"

    def __init__(
        self,
        parameters: DDPGParameters,
        obs_dim: int,
        action_dim: int,
        *,
        horizon: int,
        keys: Keys,
        device: torch.device,
        compiled: bool,
    ):
        self.parameters, self.random_steps = parameters, parameters.random_steps
        hidden = parameters.hidden
        self.actor = DeterministicActor(obs_dim, action_dim, hidden, keys("actor")).to(device)
        self.critic = MLP([obs_dim + action_dim, *hidden, 1], keys("critic")).to(device)
        self.actor_target, self.critic_target = target_of(self.actor), target_of(self.critic)
        self.fixed_critic = sharing(self.critic)
        self._list_tensors()
        self._critic_gradients, self._actor_gradients = self.critic_gradients, self.actor_gradients
        if compiled:
            self._critic_gradients = compile_gradients(self.critic_gradients)
            self._actor_gradients = compile_gradients(self.actor_gradients)

    def _list_tensors(self) -> None:
        """What each optimiser changes; walking a module's tree at each update would cost more."""
        self.actor_variables: list[Tensor] = list(self.actor.parameters())
        self.critic_variables: list[Tensor] = list(self.critic.parameters())
        self.variables = self.actor_variables + self.critic_variables
        self.target_variables: list[Tensor] = [
            *self.actor_target.parameters(),
            *self.critic_target.parameters(),
        ]
        self.actor_adam = Adam(self.actor_variables, self.parameters.learning_rate)
        self.critic_adam = Adam(self.critic_variables, self.parameters.learning_rate)

    @torch.no_grad()
    def act(self, obs: Tensor, rng: Generator, *, explore: bool) -> Tensor:  # [B, O] -> [B, A]
        action = self.actor(obs)
        if not explore:
            return action
        noise = normal(rng, *action.shape, like=action)
        return noisy(action, self.parameters.exploration_noise * noise)

    def before_episode(self, replay: Replay, keys: Keys) -> Metrics:
        return {}

    def after_step(self, replay: Replay, keys: Keys) -> Metrics:
        if replay.added < max(1, self.random_steps):
            return {}
        return self.update(replay.sample(self.parameters.batch_size, keys("batch")))

    def after_episode(self, replay: Replay, keys: Keys) -> Metrics:
        return {}

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """One gradient update of critic, policy and targets."""
        gradients, critic_metrics = self._critic_gradients(batch)
        self.critic_adam.step(gradients)
        gradients, actor_metrics = self._actor_gradients(batch.obs)
        self.actor_adam.step(gradients)
        move_towards(self.target_variables, self.variables, self.parameters.polyak)
        return critic_metrics | actor_metrics

    def critic_gradients(self, batch: Batch) -> Gradients:
        """Of the squared Bellman error."""
        y = self._bellman_target(batch)  # [B]
        loss = (_q_value(self.critic, batch.obs, batch.action) - y).square().mean()
        return torch.autograd.grad(loss, self.critic_variables), {"critic_loss": loss.detach()}

    def actor_gradients(self, obs: Tensor) -> Gradients:
        """Of the value of the policy's actions, to be raised."""
        q = _q_value(self.fixed_critic, obs, self.actor(obs)).mean()  # Eq. 6, by autograd
        return torch.autograd.grad(-q, self.actor_variables), {"q": q.detach()}

    @torch.no_grad()
    def _bellman_target(self, batch: Batch) -> Tensor:
        """r + discount * Q(s', a'), without Q where the environment ended: [B]."""
        value = _q_value(self.critic_target, batch.next_obs, self.actor_target(batch.next_obs))
        return batch.reward + self.parameters.discount * (1 - batch.terminated) * value

    def state_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name).state_dict() for name in _STATEFUL}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in _STATEFUL:
            getattr(self, name).load_state_dict(state[name])


_STATEFUL = ("actor", "critic", "actor_target", "critic_target", "actor_adam", "critic_adam")


def _q_value(critic: MLP, obs: Tensor, action: Tensor) -> Tensor:
    return critic(torch.cat([obs, action], dim=-1)).squeeze(-1)  # [B]
