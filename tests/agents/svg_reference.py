"""SVG(1) with replay written as in the paper: a loop over transitions, torch's own layers and Adam."""

from itertools import pairwise
from types import SimpleNamespace

import torch
from torch import Tensor, nn
from torch.distributions import Normal

from tests.agents.sac_parity import copy_actor, copy_mlp, linears, of_actor, of_layers
from unirl_repro.agents.svg import SVG
from unirl_repro.models.gaussian_mlp import MIN_STD
from unirl_repro.replay import Batch

TERMS = ("actor", "value", "likelihood", "reward", "weight", "following")


class SlowSVG:
    """The same losses from the equations; `weights` changes one of their terms."""

    def __init__(self, agent: SVG, obs_dim: int, action_dim: int):
        self.p, self.action_dim = agent.parameters, action_dim
        self.weights = dict.fromkeys(TERMS, 1.0)
        hidden, units = self.p.hidden, self.p.model_hidden
        self.trunk = layers([obs_dim, *hidden], nn.ReLU)
        self.trunk.append(nn.ReLU())
        self.mean, self.raw = (nn.Linear(hidden[-1], action_dim) for _ in range(2))
        self.value, self.target = (layers([obs_dim, *hidden, 1], nn.ReLU) for _ in range(2))
        inputs = [obs_dim + action_dim, *units]
        self.dynamics, self.rewards = (
            layers([*inputs, obs_dim], nn.ReLU),
            layers([*inputs, 1], nn.ReLU),
        )
        copy_actor(agent.actor.mlp, linears(self.trunk), self.mean, self.raw)
        for net in (self.value, self.target):
            copy_mlp(agent.value, linears(net))
        copy_mlp(agent.model.dynamics, linears(self.dynamics))
        copy_mlp(agent.model.rewards, linears(self.rewards))
        self.log_std = nn.Parameter(agent.model.log_std.detach().clone())
        self.groups = [
            [*self.dynamics.parameters(), *self.rewards.parameters(), self.log_std],
            [*self.value.parameters()],
            [*self.trunk.parameters(), *self.mean.parameters(), *self.raw.parameters()],
        ]
        rates = (self.p.learning_rate, self.p.learning_rate, self.p.actor_learning_rate)
        self.adams = [
            torch.optim.Adam(group, lr=rate) for group, rate in zip(self.groups, rates, strict=True)
        ]

    def update(self, batch: SimpleNamespace, log_prob: Tensor) -> dict[str, float]:
        count = len(log_prob)
        rows = [
            self.one(Batch(*(getattr(batch, f)[i] for f in Batch._fields)), log_prob[i])
            for i in range(count)
        ]
        means = {name: torch.stack([row[name] for row in rows]).mean() for name in rows[0]}
        losses = [
            means["likelihood"] + means["reward"],
            means["value"],
            means["actor"] + self.p.kl_coefficient * means["divergence"],
        ]
        gradients = [
            torch.autograd.grad(loss, group, retain_graph=True)
            for loss, group in zip(losses, self.groups, strict=True)
        ]
        for group, found, adam in zip(self.groups, gradients, self.adams, strict=True):
            for parameter, gradient in zip(group, found, strict=True):
                parameter.grad = gradient.clone()
            nn.utils.clip_grad_norm_(group, self.p.clip_norm)
            adam.step()
        with torch.no_grad():
            for mine, new in zip(self.target.parameters(), self.value.parameters(), strict=True):
                mine.copy_((1 - self.p.polyak) * mine + self.p.polyak * new)
        return {name: value.item() for name, value in means.items()}

    def one(self, transition: Batch, log_prob: Tensor) -> dict[str, Tensor]:
        """All losses at one transition."""
        obs, action, reward, next_obs, terminated = transition
        u = action.clamp(-(1 - 1e-6), 1 - 1e-6).atanh()
        features = self.trunk(obs)
        mean = self.mean(features)
        std = self.raw(features).clamp(self.p.log_std_min, self.p.log_std_max).exp()
        jacobian = (1 - u.tanh().square()).log()
        now = (Normal(mean, std).log_prob(u) - jacobian).sum()
        weight = torch.exp(now.detach() - log_prob).clamp(max=self.p.max_weight)
        weight = weight ** self.weights["weight"]
        eta = ((u - mean) / std).detach()  # the policy's noise
        chosen = torch.tanh(mean + std * eta)

        def go(a: Tensor) -> tuple[Tensor, Tensor]:
            x = torch.cat([obs, a])
            return obs + self.dynamics(x), self.rewards(x)[0]

        expected, predicted = go(action)
        model_std = self.log_std.exp() + MIN_STD
        likelihood = -Normal(expected, model_std).log_prob(next_obs).mean()
        xi = ((next_obs - expected) / model_std).detach()  # the model's noise
        after_mean, gained = go(chosen)
        goes_on = self.p.discount * (1 - terminated)
        following = goes_on * self.value(after_mean + model_std.detach() * xi)[0]
        y = reward + goes_on * self.target(next_obs)[0].detach()
        return {
            "actor": -self.weights["actor"]
            * weight
            * (gained + self.weights["following"] * following),
            "value": self.weights["value"] * 0.5 * weight * (self.value(obs)[0] - y) ** 2,
            "likelihood": self.weights["likelihood"] * likelihood,
            "reward": self.weights["reward"] * 0.5 * (reward - predicted) ** 2,
            "divergence": log_prob - now,
            "importance_weight": weight,
        }

    def learnt(self) -> list[Tensor]:
        nets = [self.value, self.target, self.dynamics, self.rewards]
        return [
            of_actor(self.trunk, self.mean, self.raw),
            *(of_layers([net]) for net in nets),
            self.log_std.detach(),
        ]


def layers(sizes: list[int], activation: type[nn.Module]) -> nn.Sequential:
    made: list[nn.Module] = []
    for i, (inputs, outputs) in enumerate(pairwise(sizes)):
        made += [activation()] if i else []
        made.append(nn.Linear(inputs, outputs))
    return nn.Sequential(*made)
