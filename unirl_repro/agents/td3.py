"""Twin delayed DDPG (TD3; Fujimoto et al. 2018, arXiv:1802.09477, Alg. 1).

DDPG with three changes against values that are too high: the smaller of two critics as the target
(Sec. 4.2), a policy and targets that change less often than the critics (Sec. 5.2), and noise on
the target's action (Sec. 5.3). Settings are those of its authors' code today: deviation A9.
"""

from typing import Any

import torch
from numpy.random import Generator
from torch import Tensor

from unirl_repro.agents.protocol import Metrics
from unirl_repro.hyperparameters import TD3Parameters
from unirl_repro.nn.adam import Adam
from unirl_repro.nn.compiling import compile_gradients
from unirl_repro.nn.deterministic import DeterministicActor, first_of, noisy
from unirl_repro.nn.mlp import MLP
from unirl_repro.nn.targets import move_towards, target_of
from unirl_repro.replay import Batch, Replay
from unirl_repro.rng import Keys, normal

Gradients = tuple[tuple[Tensor, ...], dict[str, Tensor]]  # and metrics


class TD3:
    """Twin delayed DDPG, as the loop sees it.

    Parameters
    ----------
    parameters : TD3Parameters
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

    policy = "td3"

    def __init__(
        self,
        parameters: TD3Parameters,
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
        self.critic = MLP([obs_dim + action_dim, *hidden, 1], keys("critic"), members=2).to(device)
        self.actor_target, self.critic_target = target_of(self.actor), target_of(self.critic)
        self.first_critic = first_of(self.critic)
        self.num_updates = 0  # of the critics, over the whole run
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
        batch = replay.sample(self.parameters.batch_size, keys("batch"))
        return self.update(batch, normal(keys("noise"), *batch.action.shape, like=batch.obs))

    def after_episode(self, replay: Replay, keys: Keys) -> Metrics:
        return {}

    def update(self, batch: Batch, noise: Tensor) -> dict[str, Tensor]:
        """One update of the critics, and at every d-th one of policy and targets: [B, ·], [B, A]."""
        gradients, metrics = self._critic_gradients(batch, noise)
        self.critic_adam.step(gradients)
        self.num_updates += 1
        if self.num_updates % self.parameters.policy_delay:
            return metrics
        gradients, actor_metrics = self._actor_gradients(batch.obs)
        self.actor_adam.step(gradients)
        move_towards(self.target_variables, self.variables, self.parameters.polyak)
        return metrics | actor_metrics

    def critic_gradients(self, batch: Batch, noise: Tensor) -> Gradients:
        """Of the squared Bellman error of both critics."""
        y = self._bellman_target(batch, noise)  # [B]
        q = _q_values(self.critic, batch.obs, batch.action)  # [2, B]
        loss = (q - y).square().mean(-1).sum()
        return torch.autograd.grad(loss, self.critic_variables), {"critic_loss": loss.detach()}

    def actor_gradients(self, obs: Tensor) -> Gradients:
        """Of the first critic's value of the policy's actions, to be raised."""
        x = torch.cat([obs, self.actor(obs)], dim=-1)  # [B, O + A]
        q = self.first_critic(x).mean()
        return torch.autograd.grad(-q, self.actor_variables), {"q": q.detach()}

    @torch.no_grad()
    def _bellman_target(self, batch: Batch, noise: Tensor) -> Tensor:
        """r + discount * Q(s', a'), without Q where the environment ended: [B]."""
        clip = self.parameters.target_noise_clip
        noise = (self.parameters.target_noise * noise).clamp(-clip, clip)
        action = noisy(self.actor_target(batch.next_obs), noise)  # Sec. 5.3
        value = _q_values(self.critic_target, batch.next_obs, action).amin(0)  # Sec. 4.2
        return batch.reward + self.parameters.discount * (1 - batch.terminated) * value

    def state_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name).state_dict() for name in _STATEFUL} | {
            "num_updates": self.num_updates
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in _STATEFUL:
            getattr(self, name).load_state_dict(state[name])
        self.num_updates = state["num_updates"]


_STATEFUL = ("actor", "critic", "actor_target", "critic_target", "actor_adam", "critic_adam")


def _q_values(critics: MLP, obs: Tensor, action: Tensor) -> Tensor:
    x = torch.cat([obs, action], dim=-1)  # [B, O + A]
    return critics(x.expand(2, -1, -1)).squeeze(-1)  # [2, B]
