"""Proximal policy optimisation (PPO; Schulman et al. 2017, arXiv:1707.06347, Alg. 1).

The policy collects a window of steps, which may cross episodes. Its advantages (Eq. 11) then serve
several epochs of updates that climb a surrogate of the return, clipped so that the policy does not
move too far from the one that acted (Eq. 7). What the paper leaves open follows the implementation
in stable-baselines3: deviation A10.
"""

from collections.abc import Iterator
from math import e, log, pi
from typing import Any, NamedTuple

import torch
from numpy.random import Generator
from torch import Tensor, nn

from unirl_repro.agents.protocol import Metrics
from unirl_repro.agents.updates import repeated_updates
from unirl_repro.hyperparameters import PPOParameters
from unirl_repro.nn.adam import Adam
from unirl_repro.nn.clipping import clipped
from unirl_repro.nn.compiling import compile_gradients
from unirl_repro.nn.mlp import MLP
from unirl_repro.nn.orthogonal import make_orthogonal
from unirl_repro.nn.running import RunningMoments
from unirl_repro.replay import Replay
from unirl_repro.rng import Keys, normal

Gradients = tuple[tuple[Tensor, ...], dict[str, Tensor]]  # and metrics
# PPO's codes have an epsilon of 1e-5 in Adam, ours is 1e-8: of gradients that are a thousand times
# smaller, Adam with the one makes the steps of Adam with the other.
GRADIENT_SCALE = 1e-8 / 1e-5


class Samples(NamedTuple):
    """Steps of a window, one a row: [B, O], [B, A], [B], [B], [B]."""

    obs: Tensor
    action: Tensor
    log_prob: Tensor  # of the policy that acted
    advantage: Tensor
    returns: Tensor  # what the value function is fitted to


class Window(nn.Module):
    """What the replay does not hold of the steps since the last update, one a row."""

    obs: Tensor  # as the policy saw them
    action: Tensor  # before they were clipped
    ended: Tensor  # 1 at the last step of an episode
    beyond: Tensor  # there and in the last row: value of what follows, 0 if the environment ended

    def __init__(self, num_steps: int, obs_dim: int, action_dim: int):
        super().__init__()
        self.register_buffer("obs", torch.zeros(num_steps, obs_dim))
        self.register_buffer("action", torch.zeros(num_steps, action_dim))
        self.register_buffer("ended", torch.zeros(num_steps))
        self.register_buffer("beyond", torch.zeros(num_steps))


class PPO:
    """Proximal policy optimisation, as the loop sees it.

    Parameters
    ----------
    parameters : PPOParameters
        Hyper-parameters.
    obs_dim, action_dim : int
        Sizes of one observation and one action.
    horizon : int
        Steps of an episode; it learns from windows, whatever the episode.
    keys : Keys
        Where the initial weights come from.
    device : torch.device
        Where networks live and updates run.
    compiled : bool
        Compile the update. Eager and compiled agree to rounding, not to the bit.
    """

    policy = "ppo"
    random_steps = 0

    def __init__(
        self,
        parameters: PPOParameters,
        obs_dim: int,
        action_dim: int,
        *,
        horizon: int,
        keys: Keys,
        device: torch.device,
        compiled: bool,
    ):
        self.parameters = parameters
        # The policy's first actions have nearly no mean, whatever the observation.
        self.actor = _network(parameters, obs_dim, action_dim, keys("actor"), 0.01).to(device)
        self.critic = _network(parameters, obs_dim, 1, keys("critic"), 1.0).to(device)
        self.log_std = torch.full(
            (action_dim,), parameters.initial_log_std, device=device, requires_grad=True
        )
        self.variables: list[Tensor] = [
            *self.actor.parameters(),
            *self.critic.parameters(),
            self.log_std,
        ]
        self.adam = Adam(self.variables, parameters.learning_rate)
        self.window = Window(parameters.num_steps, obs_dim, action_dim).to(device)
        self.filled = 0  # rows of the window
        zero = torch.zeros(obs_dim, dtype=torch.float64, device=device)
        self.obs_moments, self.return_moments = RunningMoments(zero), RunningMoments(0.0)
        self.discounted = 0.0  # rewards of the episode so far, up to the window's start
        self._gradients = compile_gradients(self.gradients) if compiled else self.gradients

    @torch.no_grad()
    def act(self, obs: Tensor, rng: Generator, *, explore: bool) -> Tensor:  # [B, O] -> [B, A]
        """Actions; exploring is for the loop, one step at a time: it opens a row of the window."""
        if explore and self.parameters.normalise:
            self.obs_moments.add(obs[0].double())
        obs = self._normalised(obs)
        mean = self.actor(obs)
        if not explore:
            return mean.clamp(-1, 1)
        action = mean + self.log_std.exp() * normal(rng, *mean.shape, like=mean)
        self.window.obs[self.filled], self.window.action[self.filled] = obs, action
        return action.clamp(-1, 1)  # deviation A13

    def before_episode(self, replay: Replay, keys: Keys) -> Metrics:
        return {}

    def after_step(self, replay: Replay, keys: Keys) -> Metrics:
        self.filled += 1
        if self.filled < self.parameters.num_steps:
            return {}
        # Whether the episode goes on or was truncated here, the value of what follows is the same.
        self.window.beyond[-1] = self._value_beyond(replay)
        metrics = self._updates(self._samples(replay), keys("batch"))
        self.window.ended.zero_()
        self.filled = 0
        return metrics

    def after_episode(self, replay: Replay, keys: Keys) -> Metrics:
        if self.filled:
            self.window.ended[self.filled - 1] = 1
            self.window.beyond[self.filled - 1] = self._value_beyond(replay)
        else:
            self.discounted = 0.0  # the window ended with the episode
        return {}

    def _updates(self, samples: Samples, rng: Generator) -> Metrics:
        """Some epochs over the window, each in a new order; the mean of the updates' metrics."""
        batches = self._batches(samples, rng)
        count = self.parameters.epochs * self.parameters.num_steps // self.parameters.batch_size
        return repeated_updates(count, lambda: self.update(next(batches)))

    def _batches(self, samples: Samples, rng: Generator) -> Iterator[Samples]:
        for _ in range(self.parameters.epochs):
            order = torch.from_numpy(rng.permutation(self.parameters.num_steps))
            rows = order.to(samples.obs.device)
            parts = [field[rows].split(self.parameters.batch_size) for field in samples]
            yield from map(Samples._make, zip(*parts, strict=True))

    def update(self, batch: Samples) -> dict[str, Tensor]:
        """One gradient update of policy and value function."""
        gradients, metrics = self._gradients(batch)
        self.adam.step(gradients)
        return metrics

    def gradients(self, batch: Samples) -> Gradients:
        """Of the clipped surrogate, the value function's error and the entropy bonus."""
        p = self.parameters
        log_ratio = self._log_prob(self.actor(batch.obs), batch.action) - batch.log_prob  # [B]
        ratio = log_ratio.exp()
        advantage = batch.advantage - batch.advantage.mean()  # of this batch: deviation A10
        advantage = advantage / (batch.advantage.std() + 1e-8)
        limited = ratio.clamp(1 - p.clip_range, 1 + p.clip_range)
        surrogate = torch.minimum(ratio * advantage, limited * advantage).mean()  # Eq. 7
        value_loss = (self._value(batch.obs) - batch.returns).square().mean()
        entropy = (self.log_std + 0.5 * log(2 * pi * e)).sum()
        bonus = p.entropy_coefficient * entropy
        loss = p.value_coefficient * value_loss - surrogate - bonus  # Eq. 9
        with torch.no_grad():
            metrics = {
                "policy_loss": -surrogate,
                "value_loss": value_loss.detach(),
                "entropy": entropy.detach(),
                "kl": (ratio - 1 - log_ratio).mean(),
                "clip_fraction": (limited != ratio).to(ratio.dtype).mean(),
            }
        bounded = clipped(torch.autograd.grad(loss, self.variables), p.clip_norm)
        return torch._foreach_mul(bounded, GRADIENT_SCALE), metrics

    @torch.no_grad()
    def _samples(self, replay: Replay) -> Samples:
        """The window once it is full. All of it was collected by the policy as it is now."""
        window, p = self.window, self.parameters
        reward = self._scaled(replay.rows(replay.added - p.num_steps, replay.added).reward)
        value = self._value(window.obs)
        advantage = advantages(
            *(reward, value, window.ended, window.beyond),
            discount=p.discount,
            trace_decay=p.trace_decay,
        )
        log_prob = self._log_prob(self.actor(window.obs), window.action)
        return Samples(window.obs, window.action, log_prob, advantage, advantage + value)

    @torch.no_grad()
    def _value_beyond(self, replay: Replay) -> Tensor:
        """Value of where the newest transition led, 0 if the environment ended: deviation A11."""
        newest = replay.rows(replay.added - 1, replay.added)
        return (1 - newest.terminated) * self._value(self._normalised(newest.next_obs))  # [1]

    def _value(self, obs: Tensor) -> Tensor:  # [B, O] -> [B]
        return self.critic(obs).squeeze(-1)

    def _log_prob(self, mean: Tensor, action: Tensor) -> Tensor:  # [B, A] -> [B]
        noise = (action - mean) * (-self.log_std).exp()
        return (-0.5 * noise.square() - self.log_std - 0.5 * log(2 * pi)).sum(-1)

    def _normalised(self, obs: Tensor) -> Tensor:
        """By the moments of all observations that were acted on so far: deviation A12."""
        if not self.parameters.normalise:
            return obs
        moments = self.obs_moments
        standard = (obs - moments.mean) / moments.std
        return standard.clamp(-moments.LIMIT, moments.LIMIT).to(obs.dtype)

    def _scaled(self, reward: Tensor) -> Tensor:
        """Each reward over the standard deviation of the discounted sums up to it: deviation A12."""
        if not self.parameters.normalise:
            return reward
        moments, scaled = self.return_moments, []
        for r, ended in zip(reward.tolist(), self.window.ended.tolist(), strict=True):
            self.discounted = self.parameters.discount * self.discounted + r
            moments.add(self.discounted)
            scaled.append(max(-moments.LIMIT, min(r / moments.std, moments.LIMIT)))
            if ended:
                self.discounted = 0.0
        return reward.new_tensor(scaled)

    def state_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name).state_dict() for name in _STATEFUL} | {
            "log_std": self.log_std.detach(),
            "filled": self.filled,
            "discounted": self.discounted,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in _STATEFUL:
            getattr(self, name).load_state_dict(state[name])
        self.log_std.data.copy_(state["log_std"])
        self.filled, self.discounted = state["filled"], state["discounted"]


_STATEFUL = ("actor", "critic", "adam", "window", "obs_moments", "return_moments")


def advantages(
    reward: Tensor,
    value: Tensor,
    ended: Tensor,
    beyond: Tensor,
    *,
    discount: float,
    trace_decay: float,
) -> Tensor:
    r"""Generalised advantage estimates of consecutive steps (Eq. 11 and 12).

    Parameters
    ----------
    reward, value : Tensor
        r_t and V(s_t), [T].
    ended : Tensor
        1 where an episode ended, [T].
    beyond : Tensor
        V(s_{t+1}) there and in the last row, 0 if the environment ended; not read elsewhere, [T].
    discount, trace_decay : float
        gamma and lambda.

    Returns
    -------
    Tensor
        :math:`\sum_k (\gamma \lambda)^k \delta_{t+k}` over the rest of the episode, or of the
        steps, with :math:`\delta_t = r_t + \gamma V(s_{t+1}) - V(s_t)`: [T].
    """
    # Of plain numbers, with which a step takes a tenth of the time.
    rows = list(zip(*(x.tolist() for x in (reward, value, ended, beyond)), strict=True))
    estimates: list[float] = []
    estimate, next_value = 0.0, rows[-1][-1]
    for r, v, end, after in reversed(rows):
        if end:
            estimate, next_value = 0.0, after
        delta = r + discount * next_value - v  # Eq. 12
        estimate = delta + discount * trace_decay * estimate  # Eq. 11
        next_value = v
        estimates.append(estimate)
    return value.new_tensor(estimates[::-1])


def _network(
    parameters: PPOParameters, inputs: int, outputs: int, rng: Generator, head_gain: float
) -> MLP:
    mlp = MLP([inputs, *parameters.hidden, outputs], rng, activation=parameters.activation)
    if parameters.orthogonal:
        make_orthogonal(mlp, rng, head_gain=head_gain)
    return mlp
