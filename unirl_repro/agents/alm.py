"""Aligned latent models (ALM; Ghugare et al. 2022, arXiv:2209.08466): one objective for all.

An encoder turns observations into latent states, a model predicts the next one, a policy acts on
them. Encoder and model climb the reward and the value that K steps in the model lead to, less what
each step's prediction differs from the encoder's own; the policy climbs the same by gradients
through the model, with a classifier in place of the difference. Written from the published code,
whose losses are not quite the paper's bound: deviation A25.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import Generator
from torch import Tensor

from unirl_repro.agents.mbrl import lambda_returns
from unirl_repro.agents.protocol import Metrics
from unirl_repro.hyperparameters import ALMParameters
from unirl_repro.models.latent import Gaussian, GaussianNetwork, Network, kl_divergence
from unirl_repro.nn.adam import Adam
from unirl_repro.nn.clipping import clipped
from unirl_repro.nn.compiling import compile_gradients
from unirl_repro.nn.targets import move_towards, sharing, target_of
from unirl_repro.replay import Batch, Replay
from unirl_repro.rng import Keys, normal
from unirl_repro.windows import Windows, num_windows, sample_windows

Losses = dict[str, Tensor]
Gradients = tuple[Tensor, ...]
LARGEST_ACTION = 1 - 1e-6


class Noise(NamedTuple):
    """Standard normal draws of one update."""

    windows: Tensor  # [K + 1, B, Z]: the first latent state and those that the model predicts
    states: Tensor  # [7, B, Z]: four latent states of s, two of s', one that the model predicts
    rollouts: Tensor  # [K, B, Z]
    actions: Tensor  # [K + 3, B, A]: after a window, at s', and K + 1 of a rollout


class ALM:
    """Aligned latent models, as the loop sees it.

    Parameters
    ----------
    parameters : ALMParameters
        Hyper-parameters.
    obs_dim, action_dim : int
        Sizes of one observation and one action.
    horizon : int
        Steps of an episode; it learns from windows of a few steps, whatever the episode.
    keys : Keys
        Where the initial weights come from.
    device : torch.device
        Where networks live and updates run.
    compiled : bool
        Compile the update. Eager and compiled agree to rounding, not to the bit.
    """

    policy = "alm"

    def __init__(
        self,
        parameters: ALMParameters,
        obs_dim: int,
        action_dim: int,
        *,
        horizon: int,
        keys: Keys,
        device: torch.device,
        compiled: bool,
    ):
        self.parameters, self.random_steps = parameters, parameters.random_steps
        self.action_dim = action_dim
        self._build_networks(obs_dim, keys, device)
        self.encoder_target, self.critic_target = target_of(self.encoder), target_of(self.critic)
        self.fixed_model, self.fixed_critic = sharing(self.model), sharing(self.critic)
        self.fixed_reward, self.fixed_classifier = sharing(self.reward), sharing(self.classifier)
        self.env_steps = 0
        self.ends = np.empty(0, dtype=np.int64)  # transitions that no window goes on after
        self._list_tensors()
        self._model_gradients, self._actor_gradients = self.model_gradients, self.actor_gradients
        self._prediction_gradients = self.prediction_gradients
        if compiled:
            self._model_gradients = compile_gradients(self.model_gradients)
            self._prediction_gradients = compile_gradients(self.prediction_gradients)
            self._actor_gradients = compile_gradients(self.actor_gradients)

    def _build_networks(self, obs_dim: int, keys: Keys, device: torch.device) -> None:
        p, action_dim = self.parameters, self.action_dim
        latent, hidden, both = p.latent, p.hidden, p.latent + action_dim
        encoder = GaussianNetwork(obs_dim, hidden, latent, keys("encoder"))
        model = GaussianNetwork(both, p.model_hidden, latent, keys("model"))
        reward = Network(both, hidden, 1, keys("reward"), normalised=True)
        classifier = Network(both + latent, hidden, 2, keys("classifier"), normalised=True)
        critic = Network(both, hidden, 1, keys("critic"), normalised=True, members=2)
        actor = Network(latent, hidden, action_dim, keys("actor"))
        self.encoder, self.model = encoder.to(device), model.to(device)
        self.reward, self.classifier = reward.to(device), classifier.to(device)
        self.critic, self.actor = critic.to(device), actor.to(device)

    def _list_tensors(self) -> None:
        """What each optimiser changes; walking a module's tree at each update would cost more."""
        self.model_variables: list[Tensor] = [*self.model.parameters(), *self.encoder.parameters()]
        self.reward_variables: list[Tensor] = [
            *self.reward.parameters(),
            *self.classifier.parameters(),
        ]
        self.critic_variables: list[Tensor] = list(self.critic.parameters())
        self.actor_variables: list[Tensor] = list(self.actor.parameters())
        rate = self.parameters.learning_rate
        self.model_adam = Adam(self.model_variables, rate)
        self.reward_adam = Adam(self.reward_variables, rate)
        self.critic_adam = Adam(self.critic_variables, rate)
        self.actor_adam = Adam(self.actor_variables, rate)
        self.source_variables: list[Tensor] = [*self.encoder.parameters(), *self.critic_variables]
        self.target_variables: list[Tensor] = [
            *self.encoder_target.parameters(),
            *self.critic_target.parameters(),
        ]

    @torch.no_grad()
    def act(self, obs: Tensor, rng: Generator, *, explore: bool) -> Tensor:  # [B, O] -> [B, A]
        distribution, rows = self.encoder(obs), len(obs)
        if not explore:  # of both means: deviation A27
            return torch.tanh(self.actor(distribution.mean))
        z = distribution.sample(normal(rng, rows, self.parameters.latent, like=obs))
        noise = normal(rng, rows, self.action_dim, like=obs)  # not clipped here: deviation A28
        return _inside(torch.tanh(self.actor(z)) + self._noise_std() * noise)

    def before_episode(self, replay: Replay, keys: Keys) -> Metrics:
        return {}

    def after_step(self, replay: Replay, keys: Keys) -> Metrics:
        p, self.env_steps = self.parameters, replay.added
        if replay.added < self.random_steps or not num_windows(replay, self.ends, p.model_steps):
            return {}
        draws, size = keys("batch"), p.batch_size
        windows = sample_windows(replay, self.ends, p.model_steps, size, draws)
        batch = replay.sample(size, draws)
        std = torch.full((), self._noise_std(), device=replay.obs.device)
        return self.update(windows, batch, self._draw(keys("noise"), batch.obs), std)

    def after_episode(self, replay: Replay, keys: Keys) -> Metrics:
        """Note the end; as published, one by the time limit is none: deviation A24."""
        last = replay.added - 1
        terminated = bool(replay.rows(last, replay.added).terminated)
        if terminated or self.parameters.windows == "inside":
            kept = self.ends[self.ends >= replay.added - replay.capacity]
            self.ends = np.append(kept, last)
        return {}

    def _noise_std(self) -> float:
        """Of exploration, falling linearly from the last random step on."""
        p = self.parameters
        left = 1 - (self.env_steps - p.random_steps) / p.noise_steps
        return p.final_noise + min(max(left, 0.0), 1.0) * (p.initial_noise - p.final_noise)

    def _draw(self, rng: Generator, like: Tensor) -> Noise:
        rows, steps = self.parameters.batch_size, self.parameters.model_steps

        def draw(count: int, size: int) -> Tensor:
            return normal(rng, count, rows, size, like=like)

        latents = [draw(count, self.parameters.latent) for count in (steps + 1, 7, steps)]
        return Noise(latents[0], latents[1], latents[2], draw(steps + 3, self.action_dim))

    def update(self, windows: Windows, batch: Batch, noise: Noise, std: Tensor) -> Losses:
        """One gradient update of everything, in the published order; `std` is exploration's."""
        after_window, at_next, in_rollout = noise.actions.split([1, 1, len(noise.actions) - 2])
        gradients, metrics = self._model_gradients(windows, noise.windows, after_window[0], std)
        self._descend(self.model_adam, gradients)
        of_reward, of_critic, z, losses = self._prediction_gradients(
            batch, noise.states, at_next[0], std
        )
        self._descend(self.reward_adam, of_reward)
        self._descend(self.critic_adam, of_critic)
        gradients, policy_metrics = self._actor_gradients(z, noise.rollouts, in_rollout, std)
        self._descend(self.actor_adam, gradients)
        move_towards(self.target_variables, self.source_variables, self.parameters.polyak)
        return metrics | losses | policy_metrics | {"noise_std": std}

    def model_gradients(
        self, windows: Windows, noise: Tensor, action_noise: Tensor, std: Tensor
    ) -> tuple[Gradients, Losses]:
        """Of the objective of encoder and model, which the others' weights only measure.

        The sum over K steps of KL(m(z' | z, a) || target encoder(s')) - r(z, a), less the value
        at the end. Nothing is discounted: deviation A25.
        """
        with torch.no_grad():
            target = self.encoder_target(windows.next_obs.flatten(0, 1))  # [K B, Z]
        z = self.encoder(windows.obs).sample(noise[0])
        inputs, predicted = [], []
        for action, draws in zip(windows.action, noise[1:], strict=True):
            inputs.append(torch.cat([z, action], -1))
            predicted.append(self.model(inputs[-1]))
            z = predicted[-1].sample(draws)
        divergence = kl_divergence(Gaussian(*map(torch.cat, zip(*predicted, strict=True))), target)
        reward = self.fixed_reward(torch.cat(inputs)).squeeze(-1)  # [K B]
        with torch.no_grad():
            action = self._policy(z, action_noise, std)
        q = _smaller(self.fixed_critic, torch.cat([z, action], -1))  # [B]
        loss = len(predicted) * (divergence - reward).mean() - q.mean()
        metrics = {"model_loss": loss.detach(), "divergence": divergence.detach().mean()}
        return torch.autograd.grad(loss, self.model_variables), metrics

    def prediction_gradients(
        self, batch: Batch, noise: Tensor, action_noise: Tensor, std: Tensor
    ) -> tuple[Gradients, Gradients, Tensor, Losses]:
        """Of what is read off latent states: reward and classifier, then critic.

        The targets' latent states, each use with a draw of its own; one for the policy is returned.
        """
        size = len(batch.reward)
        with torch.no_grad():
            both = self.encoder_target(torch.cat([batch.obs, batch.next_obs]))
            now, following = (
                Gaussian(*(x[:size] for x in both)),
                Gaussian(*(x[size:] for x in both)),
            )
            step = torch.cat([now.sample(noise[0]), batch.action], -1)
            imagined = self.model(step).sample(noise[1])
        x = torch.cat([now.sample(noise[2]), batch.action], -1)  # [B, Z + A]
        reward_loss = F.mse_loss(self.reward(x).squeeze(-1), batch.reward)
        classifier_loss = self._classifier_loss(x, following.sample(noise[3]), imagined)
        x = torch.cat([now.sample(noise[4]), batch.action], -1)
        y = self._critic_target(batch, following.sample(noise[5]), action_noise, std)  # [B]
        critic_loss = 0.5 * (_q_values(self.critic, x) - y).square().mean(-1).sum()
        # One backward pass serves all three losses, which share no variable.
        loss = reward_loss + classifier_loss + critic_loss
        gradients = torch.autograd.grad(loss, [*self.reward_variables, *self.critic_variables])
        metrics = {
            "reward_loss": reward_loss.detach(),
            "classifier_loss": classifier_loss.detach(),
            "critic_loss": critic_loss.detach(),
        }
        split = len(self.reward_variables)
        return gradients[:split], gradients[split:], now.sample(noise[6]), metrics

    def _classifier_loss(self, x: Tensor, real: Tensor, imagined: Tensor) -> Tensor:
        """Cross-entropy of telling the encoder's next latent states from the model's."""
        half = len(x) // 2  # transitions come in random order, so it may be the first half
        logits = self.classifier(torch.cat([x, torch.cat([imagined[:half], real[half:]])], -1))
        is_real = (torch.arange(len(x), device=x.device) >= half).long()
        return F.cross_entropy(logits, is_real)

    @torch.no_grad()
    def _critic_target(
        self, batch: Batch, next_z: Tensor, action_noise: Tensor, std: Tensor
    ) -> Tensor:
        """r + discount * Q(z', a'), without Q where the environment ended: [B]."""
        action = self._policy(next_z, action_noise, std)
        value = _smaller(self.critic_target, torch.cat([next_z, action], -1))
        return batch.reward + self.parameters.discount * (1 - batch.terminated) * value

    def actor_gradients(
        self, z: Tensor, noise: Tensor, action_noise: Tensor, std: Tensor
    ) -> tuple[Gradients, Losses]:
        """Of minus the discounted sum of the lambda-returns of K steps in the model from z.

        Values teach through latent states alone, the classifier about the step before: deviation A26.
        """
        p, latents, actions = self.parameters, [z], []
        for draws, action_draws in zip(noise, action_noise[:-1], strict=True):
            actions.append(self._policy(z.detach(), action_draws, std))
            z = self.fixed_model(torch.cat([z, actions[-1]], -1)).sample(draws)
            latents.append(z)
        with torch.no_grad():
            actions.append(self._policy(z, action_noise[-1], std))
        x = torch.cat([torch.cat(latents[:-1]), torch.cat(actions[:-1])], -1)  # [K B, Z + A]
        reward = self.fixed_reward(x).squeeze(-1)
        after = torch.cat(latents[1:])  # [K B, Z]
        logits = self.fixed_classifier(torch.cat([x, after.detach()], -1))
        log_ratio = logits[:, 1] - logits[:, 0]
        value = _smaller(self.fixed_critic, torch.cat([after, torch.cat(actions[1:]).detach()], -1))
        total = reward + p.classifier_weight * log_ratio
        shape = noise.shape[:2]
        returns = lambda_returns(total.view(shape), value.view(shape), p.discount, p.trace_decay)
        weights = p.discount ** torch.arange(len(noise), device=z.device)[:, None]
        loss = -(weights * returns).mean()
        metrics = {
            "actor_loss": loss.detach(),
            "imagined_reward": reward.detach().mean(),
            "log_ratio": log_ratio.detach().mean(),
            "q": value.detach().mean(),
        }
        return torch.autograd.grad(loss, self.actor_variables), metrics

    def _policy(self, z: Tensor, noise: Tensor, std: Tensor) -> Tensor:
        """Actions [B, A] of latent states [B, Z] under noise, clipped as in updates."""
        clip = self.parameters.noise_clip
        return _inside(torch.tanh(self.actor(z)) + (std * noise).clamp(-clip, clip))

    def _descend(self, adam: Adam, gradients: Gradients) -> None:
        """A step against the clipped gradient."""
        adam.step(clipped(gradients, self.parameters.clip_norm))

    def state_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name).state_dict() for name in _STATEFUL} | {
            "env_steps": self.env_steps,
            "ends": torch.from_numpy(self.ends),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in _STATEFUL:
            getattr(self, name).load_state_dict(state[name])
        self.env_steps, self.ends = state["env_steps"], state["ends"].numpy(force=True)


_STATEFUL = (
    *("encoder", "model", "reward", "classifier", "critic", "actor"),
    *("encoder_target", "critic_target"),
    *("model_adam", "reward_adam", "critic_adam", "actor_adam"),
)


def _inside(action: Tensor) -> Tensor:
    """Actions kept inside the box; gradients pass as if they always were."""
    return action - action.detach() + action.detach().clamp(-LARGEST_ACTION, LARGEST_ACTION)


def _q_values(critics: Network, x: Tensor) -> Tensor:  # [B, Z + A] -> [2, B]
    return critics(x.expand(2, -1, -1)).squeeze(-1)


def _smaller(critics: Network, x: Tensor) -> Tensor:
    return _q_values(critics, x).amin(0)
