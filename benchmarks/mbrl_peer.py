"""Unified RL's model and its uses as one writes them down first: what ours is measured against.

A Python loop over `torch.nn.LSTMCell`, a mask before each layer, `torch.distributions` for every
density, `backward()` for every gradient. The sizes are ours, and so is the arithmetic.
"""

from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Distribution, Normal, TransformedDistribution
from torch.distributions.transforms import TanhTransform

from unirl_repro.hyperparameters import MBRLParameters
from unirl_repro.replay import Batch

MIN_STD = 0.01


class Start(NamedTuple):
    """Where rollouts begin: observations [B, O], and the LSTM's output and cell [B, H]."""

    obs: Tensor
    output: Tensor
    cell: Tensor


class Rollout(NamedTuple):
    """Following observations [T, B, O], rewards and log-probabilities [T, B]."""

    obs: Tensor
    reward: Tensor
    log_prob: Tensor


class Model(nn.Module):
    """The Bayesian LSTM."""

    def __init__(self, obs_dim: int, action_dim: int, parameters: MBRLParameters):
        super().__init__()
        hidden = parameters.model_hidden
        self.dropout, self.hidden = parameters.dropout, hidden
        self.inputs = nn.Linear(obs_dim + action_dim, hidden)
        self.lstm = nn.LSTMCell(hidden, hidden)
        self.first, self.second = nn.Linear(hidden, hidden), nn.Linear(hidden, hidden)
        self.mean, self.std = nn.Linear(hidden, obs_dim + 1), nn.Linear(hidden, obs_dim + 1)
        inputs, outputs = obs_dim + action_dim, obs_dim + 1
        self.input_mean, self.input_std = torch.zeros(inputs), torch.ones(inputs)
        self.output_mean, self.output_std = torch.zeros(outputs), torch.ones(outputs)

    def masks(self, rows: int) -> list[Tensor]:
        keep = 1 - self.dropout
        return [torch.bernoulli(torch.full((rows, self.hidden), keep)) / keep for _ in range(5)]

    def start(self, obs: Tensor) -> Start:
        return Start(obs, *(torch.zeros(len(obs), self.hidden) for _ in range(2)))

    def step(self, at: Start, action: Tensor, masks: list[Tensor]) -> tuple[Normal, Start]:
        """The distribution of normalised changes and rewards, and the LSTM's next state."""
        x = (torch.cat([at.obs, action], -1) - self.input_mean) / self.input_std
        x = F.relu(self.inputs(x))
        output, cell = self.lstm(x * masks[0], (at.output * masks[1], at.cell))
        x = F.relu(self.first(output * masks[2]))
        x = F.relu(self.second(x * masks[3]))
        std = F.softplus(self.std(x * masks[4])) + MIN_STD
        return Normal(self.mean(x * masks[4]), std), Start(at.obs, output, cell)

    def loss(self, episodes: Batch, count: int, prior: float) -> Tensor:
        masks, at = self.masks(episodes.obs.shape[1]), self.start(episodes.obs[0])
        log_likelihood = torch.zeros(len(at.obs))
        for t in range(len(episodes.obs)):
            predicted, at = self.step(at._replace(obs=episodes.obs[t]), episodes.action[t], masks)
            change = episodes.next_obs[t] - episodes.obs[t]
            target = torch.cat([change, episodes.reward[t, :, None]], -1)
            target = (target - self.output_mean) / self.output_std
            log_likelihood = log_likelihood + predicted.log_prob(target).sum(-1)
        squares = torch.stack([p.square().sum() for p in self.parameters()]).sum()
        return -log_likelihood.mean() + prior / count * squares

    def rollout(self, policy: "Policy", at: Start, masks: list[Tensor], steps: int) -> Rollout:
        rows = []
        for _ in range(steps):
            distribution = policy(at.obs)
            action = distribution.rsample()
            predicted, at = self.step(at, action, masks)
            sampled = self.output_mean + self.output_std * predicted.rsample()
            at = at._replace(obs=at.obs + sampled[:, :-1])
            rows.append((at.obs, sampled[:, -1], distribution.log_prob(action).sum(-1)))
        return Rollout(*map(torch.stack, zip(*rows, strict=True)))


class Policy(nn.Module):
    """A tanh-Gaussian of the given sizes."""

    def __init__(self, obs_dim: int, action_dim: int, hidden: tuple[int, ...]):
        super().__init__()
        sizes = [obs_dim, *hidden]
        layers = [part for i, o in pairwise(sizes) for part in (nn.Linear(i, o), nn.Tanh())]
        self.trunk, self.heads = nn.Sequential(*layers), nn.Linear(sizes[-1], 2 * action_dim)

    def forward(self, obs: Tensor) -> Distribution:
        mean, raw = self.heads(self.trunk(obs)).chunk(2, -1)
        return TransformedDistribution(Normal(mean, F.softplus(raw)), TanhTransform(cache_size=1))


class Learner:
    """The model with its policies, and one update or check at a time."""

    def __init__(
        self,
        obs_dim: int,
        action_dim: int,
        parameters: MBRLParameters,
        incumbent: tuple[int, ...] = (256, 256),
    ):
        self.parameters = parameters
        self.model = Model(obs_dim, action_dim, parameters)
        self.policy = Policy(obs_dim, action_dim, parameters.hidden)
        self.incumbent = Policy(obs_dim, action_dim, incumbent)
        sizes = [obs_dim, *parameters.critic_hidden]
        layers = [part for i, o in pairwise(sizes) for part in (nn.Linear(i, o), nn.ReLU())]
        self.critic = nn.Sequential(*layers, nn.Linear(sizes[-1], 1))
        self.model_adam = torch.optim.Adam(self.model.parameters(), parameters.model_learning_rate)
        self.policy_adam = torch.optim.Adam(self.policy.parameters(), parameters.learning_rate)
        self.critic_adam = torch.optim.Adam(self.critic.parameters(), parameters.learning_rate)

    def update_model(self, episodes: Batch, count: int) -> None:
        loss = self.model.loss(episodes, count, self.parameters.prior_strength)
        self.model_adam.zero_grad()
        loss.backward()
        self.model_adam.step()

    def update_on_trajectories(self, obs: Tensor, steps: int) -> None:
        masks = self._masks()
        rollout = self.model.rollout(self.policy, self.model.start(obs), masks, steps)
        coefficient = self.parameters.entropy_coefficient
        loss = (coefficient * rollout.log_prob - rollout.reward).sum(0).mean()
        self._descend(self.policy, self.policy_adam, loss)

    def update_on_segments(self, episodes: Batch) -> None:
        """Starts are visited states of an episode for each mask, as ours are."""
        at, masks = self._visited(episodes)
        steps, discount = self.parameters.imagined_horizon, self.parameters.discount
        rollout = self.model.rollout(self.policy, at, masks, steps)
        values = self.critic(rollout.obs).squeeze(-1)
        reward = rollout.reward - self.parameters.entropy_coefficient * rollout.log_prob
        following, decay, returns = values[-1], self.parameters.trace_decay, []
        for t in reversed(range(steps)):
            mixed = (1 - decay) * values[t] + decay * following
            following = reward[t] + discount * mixed
            returns.append(following)
        targets = torch.stack(returns[::-1])
        weights = discount ** torch.arange(steps)[:, None]
        self._descend(self.policy, self.policy_adam, -(weights * targets).mean())
        before = torch.cat([at.obs[None], rollout.obs[:-1]]).detach()
        errors = self.critic(before).squeeze(-1) - targets.detach()
        self._descend(self.critic, self.critic_adam, 0.5 * (weights * errors.square()).mean())

    @torch.no_grad()
    def return_gaps(self, obs: Tensor, masks: int, steps: int) -> Tensor:
        """Observations [2, K M, O], M for each of so many masks."""
        repeats = obs.shape[1] // masks
        each = [mask.repeat_interleave(repeats, 0) for mask in self.model.masks(masks)]
        policies = zip((self.policy, self.incumbent), obs, strict=True)
        rollouts = [self.model.rollout(p, self.model.start(o), each, steps) for p, o in policies]
        returns = [rollout.reward.sum(0).view(masks, repeats).mean(-1) for rollout in rollouts]
        return returns[0] - returns[1]

    def _masks(self) -> list[Tensor]:
        masks = self.model.masks(self.parameters.num_masks)
        return [mask.repeat_interleave(self.parameters.num_starts, 0) for mask in masks]

    @torch.no_grad()
    def _visited(self, episodes: Batch) -> tuple[Start, list[Tensor]]:
        masks, at = self.model.masks(self.parameters.num_masks), self.model.start(episodes.obs[0])
        states = []
        for t in range(len(episodes.obs)):
            states.append(Start(episodes.obs[t], at.output, at.cell))
            _, at = self.model.step(states[-1], episodes.action[t], masks)
        starts = self.parameters.num_starts
        row = torch.arange(len(masks[0])).repeat_interleave(starts)
        step = torch.randint(len(states), (len(row),))
        found = (torch.stack(parts)[step, row] for parts in zip(*states, strict=True))
        return Start(*found), [mask.repeat_interleave(starts, 0) for mask in masks]

    def _descend(self, module: nn.Module, adam: torch.optim.Optimizer, loss: Tensor) -> None:
        adam.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(module.parameters(), self.parameters.clip_norm)
        adam.step()
