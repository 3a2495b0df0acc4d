"""A slow soft actor-critic, written from the equations: separate critics, autograd, torch's Adam.

Each term of each loss carries a weight of 1. A test sets one to -1 or 0 and must see a difference.
"""

import copy
import math
from itertools import pairwise
from types import SimpleNamespace

import torch
from torch import Tensor, nn
from torch.distributions import Normal

from unirl_repro.hyperparameters import SACParameters

TARGET_TERMS = ("target.reward", "target.value", "target.entropy", "target.terminated")
CRITIC_TERMS = ("critic.first", "critic.second")
ACTOR_TERMS = ("actor.entropy", "actor.q", "density.gaussian", "density.jacobian")
COEFFICIENT_TERMS = ("coefficient.entropy", "coefficient.target")
TERMS = TARGET_TERMS + CRITIC_TERMS + ACTOR_TERMS + COEFFICIENT_TERMS


class SlowSAC:
    """As published, with unified_rl's switches; `weights` changes a term, for the mutants."""

    def __init__(self, parameters: SACParameters, obs_dim: int, action_dim: int):
        self.p, self.weights = parameters, dict.fromkeys(TERMS, 1.0)
        activation = {"relu": nn.ReLU, "tanh": nn.Tanh}[parameters.activation]
        sizes = [obs_dim, *parameters.hidden]
        self.trunk = network(sizes, activation, layer_norm=False)
        self.mean = nn.Linear(sizes[-1], action_dim)
        self.raw_std = nn.Linear(sizes[-1], action_dim)
        self.critics = [self._critic(obs_dim + action_dim) for _ in range(2)]
        self.targets = copy.deepcopy(self.critics)
        start = parameters.entropy_coefficient
        self.automatic = start == "auto"
        if start == "auto":
            start = parameters.initial_entropy_coefficient
        self.log_alpha = nn.Parameter(torch.tensor(math.log(start)))
        self.target_entropy = -float(action_dim)
        if parameters.target_entropy is not None:
            self.target_entropy = parameters.target_entropy

    def _critic(self, inputs: int) -> nn.Sequential:
        sizes = [inputs, *self.p.hidden]
        hidden = network(sizes, nn.ReLU, layer_norm=self.p.layer_norm)
        return nn.Sequential(*hidden, nn.Linear(sizes[-1], 1))

    def start_training(self) -> None:
        """Optimisers, once the weights are those to start from."""
        self.targets = copy.deepcopy(self.critics)
        actor = nn.ModuleList([self.trunk, self.mean, self.raw_std])
        self.actor_optimiser = torch.optim.Adam(actor.parameters(), self.p.learning_rate)
        critics = nn.ModuleList(self.critics)
        self.critic_optimiser = torch.optim.Adam(critics.parameters(), self.p.learning_rate)
        self.alpha_optimiser = torch.optim.Adam([self.log_alpha], self.p.learning_rate)

    def update(self, batch: SimpleNamespace, noise: Tensor, next_noise: Tensor) -> dict[str, float]:
        alpha = self.log_alpha.exp().item()
        critic_loss = self.critic_loss(batch, next_noise, alpha)
        descend(critic_loss, self.critic_optimiser)
        action, log_prob = self.policy(batch.obs, noise)
        w, smaller = self.weights, self.smaller(self.critics, batch.obs, action)
        actor_loss = (w["actor.entropy"] * alpha * log_prob - w["actor.q"] * smaller).mean()
        if self.automatic:
            gap = (
                w["coefficient.entropy"] * log_prob.detach().mean()
                + w["coefficient.target"] * self.target_entropy
            )
            descend(-self.log_alpha * gap, self.alpha_optimiser)
        descend(actor_loss, self.actor_optimiser)
        self.move_targets()
        return {"critic_loss": critic_loss.item(), "actor_loss": actor_loss.item()}

    def critic_loss(self, batch: SimpleNamespace, next_noise: Tensor, alpha: float) -> Tensor:
        w = self.weights
        with torch.no_grad():
            action, log_prob = self.policy(batch.next_obs, next_noise)
            value = w["target.value"] * self.smaller(self.targets, batch.next_obs, action)
            if self.p.entropy_in_target:
                value = value - w["target.entropy"] * alpha * log_prob
            going_on = 1 - w["target.terminated"] * batch.terminated
            y = w["target.reward"] * batch.reward + self.p.discount * going_on * value
        x = torch.cat([batch.obs, batch.action], dim=1)
        first, second = (((critic(x)[:, 0] - y) ** 2).mean() / 2 for critic in self.critics)
        return w["critic.first"] * first + w["critic.second"] * second

    def policy(self, obs: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        features = self.trunk(obs)
        mean, std = self.mean(features), self.std(self.raw_std(features))
        u = mean + std * noise
        action = torch.tanh(u)
        w = self.weights
        gaussian = Normal(mean, std).log_prob(u).sum(1)
        jacobian = torch.log(1 - action**2).sum(1)
        return action, w["density.gaussian"] * gaussian - w["density.jacobian"] * jacobian

    def std(self, raw: Tensor) -> Tensor:
        if self.p.std_head == "exp":
            return torch.exp(torch.clamp(raw, self.p.log_std_min, self.p.log_std_max))
        if self.p.std_head == "softplus":
            return torch.log(1 + torch.exp(raw)) + 1e-6
        assert self.p.sigma_max is not None
        return self.p.sigma_max / (1 + torch.exp(-raw))

    def smaller(self, critics: list[nn.Sequential], obs: Tensor, action: Tensor) -> Tensor:
        first, second = (critic(torch.cat([obs, action], dim=1))[:, 0] for critic in critics)
        return torch.minimum(first, second)

    @torch.no_grad()
    def move_targets(self) -> None:
        for target, critic in zip(self.targets, self.critics, strict=True):
            for mine, new in zip(target.parameters(), critic.parameters(), strict=True):
                mine.copy_((1 - self.p.polyak) * mine + self.p.polyak * new)


def network(sizes: list[int], activation: type[nn.Module], *, layer_norm: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers.append(nn.Linear(inputs, outputs))
        if layer_norm:
            layers.append(nn.LayerNorm(outputs))
        layers.append(activation())
    return nn.Sequential(*layers)


def descend(loss: Tensor, optimiser: torch.optim.Optimizer) -> None:
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
