"""ALM against a slow reference: float64, 1e-9, three updates.

The reference follows the published algorithm with torch's own layers, distributions, optimiser and
clipping, a step at a time. Each term of each loss carries a weight of 1. A test sets one to -1 or 0
and must see a difference.
"""

import copy
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal, kl_divergence

from unirl_repro.agents.alm import ALM, Noise
from unirl_repro.hyperparameters import ALMParameters
from unirl_repro.models.latent import Network
from unirl_repro.replay import Batch
from unirl_repro.rng import Keys
from unirl_repro.windows import Windows

OBS, ACTION, BATCH, UPDATES, TOLERANCE = 5, 3, 32, 3, 1e-9
SMALL: dict[str, Any] = {
    "latent": 4,
    "hidden": 16,
    "model_hidden": 12,
    "batch_size": BATCH,
    "learning_rate": 1e-2,
    "polyak": 0.1,
}
VARIANTS: dict[str, dict[str, Any]] = {
    "published": SMALL,
    "clipped gradients": SMALL | {"clip_norm": 0.05},
    "one step": SMALL | {"model_steps": 1},
    "five steps, heavy classifier": SMALL | {"model_steps": 5, "classifier_weight": 2.0},
    "wide noise": SMALL | {"noise_clip": 2.0, "trace_decay": 0.5, "discount": 0.8},
}
TERMS = (
    *("model.divergence", "model.reward", "model.value"),
    *("reward.target", "classifier.real", "classifier.imagined"),
    *("target.reward", "target.value", "target.terminated", "critic.first", "critic.second"),
    *("actor.reward", "actor.classifier", "actor.value"),
)
ONE_STD = 0.4


class SlowALM:
    """As published (RajGhugare19/alm, agents/alm.py); `weights` changes a term, for the mutants."""

    def __init__(self, parameters: ALMParameters):
        self.p, self.weights = parameters, dict.fromkeys(TERMS, 1.0)
        z, h = parameters.latent, parameters.hidden
        self.encoder = plain(OBS, h, 2 * z)
        self.model = plain(z + ACTION, parameters.model_hidden, 2 * z)
        self.reward, self.classifier = (
            normalised(z + ACTION, h, 1),
            normalised(2 * z + ACTION, h, 2),
        )
        self.critics = [normalised(z + ACTION, h, 1) for _ in range(2)]
        self.actor = plain(z, h, ACTION)

    def start_training(self) -> None:
        """Targets and optimisers, once the weights are those to start from."""
        self.target_encoder = copy.deepcopy(self.encoder)
        self.target_critics = copy.deepcopy(self.critics)
        self.groups = {
            "model": [self.model, self.encoder],
            "reward": [self.reward, self.classifier],
            "critic": self.critics,
            "actor": [self.actor],
        }
        self.optimisers = {
            name: torch.optim.Adam(parameters_of(group), self.p.learning_rate)
            for name, group in self.groups.items()
        }

    def update(self, windows: Windows, batch: Batch, noise: Noise, std: float) -> dict[str, float]:
        actions = iter(noise.actions)
        model_loss = self.model_loss(windows, noise.windows, next(actions), std)
        self.descend("model", model_loss)
        with torch.no_grad():
            now = self.distribution(self.target_encoder, batch.obs)
            following = self.distribution(self.target_encoder, batch.next_obs)
            before_model = at(now, noise.states[0])
            imagined = at(
                self.distribution(self.model, before_model, batch.action), noise.states[1]
            )
        z, next_z = at(now, noise.states[2]), at(following, noise.states[3])
        reward_loss = self.reward_loss(z, batch)
        classifier_loss = self.classifier_loss(z, batch.action, next_z, imagined)
        self.descend("reward", reward_loss + classifier_loss)
        z, next_z = at(now, noise.states[4]), at(following, noise.states[5])
        critic_loss = self.critic_loss(z, next_z, batch, next(actions), std)
        self.descend("critic", critic_loss)
        z = at(now, noise.states[6])
        actor_loss = self.actor_loss(z.detach(), noise.rollouts, list(actions), std)
        self.descend("actor", actor_loss)
        self.move_targets()
        losses = {
            "model_loss": model_loss,
            "reward_loss": reward_loss,
            "classifier_loss": classifier_loss,
            "critic_loss": critic_loss,
            "actor_loss": actor_loss,
        }
        return {name: loss.item() for name, loss in losses.items()}

    def model_loss(self, windows: Windows, noise: Tensor, draws: Tensor, std: float) -> Tensor:
        w, total = self.weights, torch.zeros(BATCH)
        z = at(self.distribution(self.encoder, windows.obs), noise[0])
        for t in range(self.p.model_steps):
            prediction = self.distribution(self.model, z, windows.action[t])
            with torch.no_grad():
                target = self.distribution(self.target_encoder, windows.next_obs[t])
            total = total + w["model.divergence"] * self.divergence(prediction, target)
            total = total - w["model.reward"] * run(self.reward, z, windows.action[t])[:, 0]
            z = at(prediction, noise[t + 1])
        with torch.no_grad():
            action = self.act(z, draws, std)
        return (total - w["model.value"] * self.smaller(self.critics, z, action)).mean()

    def divergence(self, prediction: Independent, target: Independent) -> Tensor:
        return kl_divergence(prediction, target)

    def reward_loss(self, z: Tensor, batch: Batch) -> Tensor:
        predicted = run(self.reward, z, batch.action)[:, 0]
        return ((predicted - self.weights["reward.target"] * batch.reward) ** 2).mean()

    def classifier_loss(self, z: Tensor, action: Tensor, real: Tensor, imagined: Tensor) -> Tensor:
        total = torch.zeros(())
        for row in range(BATCH):
            label, name = (0, "imagined") if row < BATCH // 2 else (1, "real")
            next_z = real[row] if label else imagined[row]
            logits = run(self.classifier, z[row : row + 1], action[row : row + 1], next_z[None])[0]
            log_probability = logits[label] - torch.logsumexp(logits, 0)
            total = total - self.weights[f"classifier.{name}"] * log_probability
        return total / BATCH

    def critic_loss(
        self, z: Tensor, next_z: Tensor, batch: Batch, draws: Tensor, std: float
    ) -> Tensor:
        w = self.weights
        with torch.no_grad():
            action = self.act(next_z, draws, std)
            value = w["target.value"] * self.smaller(self.target_critics, next_z, action)
            going_on = 1 - w["target.terminated"] * batch.terminated
            y = w["target.reward"] * batch.reward + self.p.discount * going_on * value
        first, second = (((run(q, z, batch.action)[:, 0] - y) ** 2).mean() for q in self.critics)
        return (w["critic.first"] * first + w["critic.second"] * second) / 2

    def actor_loss(self, z: Tensor, noise: Tensor, draws: list[Tensor], std: float) -> Tensor:
        w, steps = self.weights, self.p.model_steps
        rewards, values = [], []
        action = self.act(self.seen(z), draws[0], std)
        for t in range(steps):
            next_z = at(self.distribution(self.model, z, action), noise[t])
            logits = run(self.classifier, z, action, self.judged(next_z))
            log_ratio = w["actor.classifier"] * (logits[:, 1] - logits[:, 0])
            reward = w["actor.reward"] * run(self.reward, z, action)[:, 0]
            rewards.append(reward + self.p.classifier_weight * log_ratio)
            z, action = next_z, self.act(self.seen(next_z), draws[t + 1], std)
            values.append(w["actor.value"] * self.smaller(self.critics, z, self.valued(action)))
        returns = [self.trace_return(rewards[t:], values[t:]) for t in range(steps)]
        weighted = [self.p.discount**t * value.mean() for t, value in enumerate(returns)]
        return -sum(weighted[1:], weighted[0]) / steps

    def trace_return(self, rewards: list[Tensor], values: list[Tensor]) -> Tensor:
        """The weighted mean of n-step returns, each summed on its own."""
        g, decay, steps = self.p.discount, self.p.trace_decay, len(rewards)
        total = torch.zeros_like(rewards[0])
        for n in range(1, steps + 1):
            n_step = sum(g**i * rewards[i] for i in range(n)) + g**n * values[n - 1]
            share = decay ** (n - 1) * (1 - decay if n < steps else 1)
            total = total + share * n_step
        return total

    def seen(self, z: Tensor) -> Tensor:
        """What the policy sees of a latent state in a rollout, and gradients do not pass."""
        return z.detach()

    def judged(self, next_z: Tensor) -> Tensor:
        return next_z.detach()

    def valued(self, action: Tensor) -> Tensor:
        return action.detach()

    def act(self, z: Tensor, draws: Tensor, std: float) -> Tensor:
        noise = torch.clamp(std * draws, -self.p.noise_clip, self.p.noise_clip)
        return self.clipped(torch.tanh(self.actor(z)) + noise)

    def clipped(self, action: Tensor) -> Tensor:
        inside = torch.minimum(
            torch.maximum(action, torch.tensor(-1 + 1e-6)), torch.tensor(1 - 1e-6)
        )
        return action + (inside - action).detach()

    def distribution(self, network: nn.Module, *inputs: Tensor) -> Independent:
        mean, std = run(network, *inputs).chunk(2, dim=1)
        std = 10 - nn.functional.softplus(10 - std)
        std = 0.1 + nn.functional.softplus(std - 0.1)
        return Independent(Normal(30 * torch.tanh(mean / 30), std), 1)

    def smaller(self, critics: list[nn.Sequential], z: Tensor, action: Tensor) -> Tensor:
        first, second = (run(critic, z, action)[:, 0] for critic in critics)
        return torch.minimum(first, second)

    def descend(self, name: str, loss: Tensor) -> None:
        parameters = parameters_of(self.groups[name])
        for parameter, gradient in zip(
            parameters, torch.autograd.grad(loss, parameters), strict=True
        ):
            parameter.grad = gradient
        nn.utils.clip_grad_norm_(parameters, self.p.clip_norm)
        self.optimisers[name].step()

    @torch.no_grad()
    def move_targets(self) -> None:
        pairs = [(self.target_encoder, self.encoder)]
        pairs += zip(self.target_critics, self.critics, strict=True)
        for target, source in pairs:
            for mine, new in zip(target.parameters(), source.parameters(), strict=True):
                mine.copy_((1 - self.p.polyak) * mine + self.p.polyak * new)

    def networks(self) -> list[nn.Module]:
        return [
            *(self.encoder, self.model, self.reward, self.classifier, *self.critics, self.actor),
            *(self.target_encoder, *self.target_critics),
        ]


def plain(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    first, second = nn.Linear(inputs, hidden), nn.Linear(hidden, hidden)
    return nn.Sequential(first, nn.ELU(), second, nn.ELU(), nn.Linear(hidden, outputs))


def normalised(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    first = [nn.Linear(inputs, hidden), nn.LayerNorm(hidden), nn.Tanh()]
    return nn.Sequential(*first, nn.Linear(hidden, hidden), nn.ELU(), nn.Linear(hidden, outputs))


def run(network: nn.Module, *inputs: Tensor) -> Tensor:
    return network(torch.cat(inputs, dim=1))


def at(distribution: Independent, noise: Tensor) -> Tensor:
    return distribution.mean + distribution.stddev * noise


def parameters_of(modules: Iterable[nn.Module]) -> list[nn.Parameter]:
    return [parameter for module in modules for parameter in module.parameters()]


@pytest.fixture(autouse=True)
def _double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("name", VARIANTS)
def test_three_updates_equal_the_slow_reference(name: str) -> None:
    parameters = ALMParameters(**VARIANTS[name])
    assert disagreement(parameters, reference(parameters)) < TOLERANCE


@pytest.mark.parametrize("weight", [-1.0, 0.0], ids=["flipped", "dropped"])
@pytest.mark.parametrize("term", TERMS)
def test_a_reference_with_another_loss_disagrees(term: str, weight: float) -> None:
    parameters = ALMParameters(**SMALL)
    mutant = reference(parameters)
    mutant.weights[term] = weight
    assert disagreement(parameters, mutant) > 1e3 * TOLERANCE


@pytest.mark.parametrize(
    "change",
    [
        {"classifier_weight": 0.11},
        {"learning_rate": 1.1e-2},
        {"clip_norm": 0.1},
        {"discount": 0.98},
        {"trace_decay": 0.9},
        {"polyak": 0.09},
        {"noise_clip": 0.25},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_reference_with_another_number_disagrees(change: dict[str, Any]) -> None:
    parameters = ALMParameters(**SMALL)
    other = ALMParameters(**(SMALL | change))
    assert disagreement(parameters, reference(other)) > 1e3 * TOLERANCE


class ReversedDivergence(SlowALM):
    def divergence(self, prediction: Independent, target: Independent) -> Tensor:
        return kl_divergence(target, prediction)


class LargerValue(SlowALM):
    def smaller(self, critics: list[nn.Sequential], z: Tensor, action: Tensor) -> Tensor:
        first, second = (run(critic, z, action)[:, 0] for critic in critics)
        return torch.maximum(first, second)


class OnlineTargets(SlowALM):
    def move_targets(self) -> None:
        self.target_encoder = copy.deepcopy(self.encoder)
        self.target_critics = copy.deepcopy(self.critics)


class FrozenTargets(SlowALM):
    def move_targets(self) -> None:
        pass


class PolicyBehindTheModel(SlowALM):
    def seen(self, z: Tensor) -> Tensor:
        return z


class ClassifierBehindTheModel(SlowALM):
    def judged(self, next_z: Tensor) -> Tensor:
        return next_z


class ValuesOfActions(SlowALM):
    def valued(self, action: Tensor) -> Tensor:
        return action


class NoGradientAtTheBounds(SlowALM):
    def clipped(self, action: Tensor) -> Tensor:
        return torch.clamp(action, -1 + 1e-6, 1 - 1e-6)


class UnboundedActions(SlowALM):
    def clipped(self, action: Tensor) -> Tensor:
        return action


MUTANTS = [
    *(ReversedDivergence, LargerValue, OnlineTargets, FrozenTargets, PolicyBehindTheModel),
    *(ClassifierBehindTheModel, ValuesOfActions, NoGradientAtTheBounds, UnboundedActions),
]


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_reference_with_other_paths_of_gradients_or_targets_disagrees(
    mutant: type[SlowALM],
) -> None:
    parameters = ALMParameters(**SMALL)
    assert disagreement(parameters, reference(parameters, mutant)) > 1e3 * TOLERANCE


@pytest.mark.parametrize("field", Noise._fields)
def test_each_draw_has_a_use_of_its_own(field: str) -> None:
    """Two draws that changed places would be two latent states that share one."""
    parameters = ALMParameters(**SMALL)
    for row in range(getattr(draws(parameters)[0][2], field).shape[0]):
        agent, other = build(parameters), build(parameters)
        windows, batch, noise = draws(parameters)[0]
        changed = getattr(noise, field).clone()
        changed[row] += 0.5
        std = torch.tensor(ONE_STD)
        agent.update(windows, batch, noise, std)
        other.update(windows, batch, noise._replace(**{field: changed}), std)
        gaps = [distance([a], [b]) for a, b in zip(learnt(agent), learnt(other), strict=True)]
        assert max(gaps) > 1e-6, f"{field}[{row}] has no effect"


def disagreement(parameters: ALMParameters, slow: SlowALM) -> float:
    """Largest difference of weights and losses after three updates."""
    agent, losses = build(parameters), []
    for windows, batch, noise in draws(parameters):
        ours = agent.update(windows, batch, noise, torch.tensor(ONE_STD))
        theirs = slow.update(windows, batch, noise, ONE_STD)
        losses += [abs(float(ours[name]) - theirs[name]) for name in theirs]
    expected = [torch.cat([p.detach().flatten() for p in n.parameters()]) for n in slow.networks()]
    return max(*losses, distance(learnt(agent), expected))


def reference(parameters: ALMParameters, kind: type[SlowALM] = SlowALM) -> SlowALM:
    """The slow reference with the weights that the agent starts from."""
    agent, slow = build(parameters), kind(parameters)
    slow.start_training()
    for ours, theirs in zip(of_agent(agent), slow.networks(), strict=True):
        for mine, copied in zip(ours, theirs.parameters(), strict=True):
            copied.data.copy_(mine)
    return slow


def build(parameters: ALMParameters) -> ALM:
    sizes: dict[str, Any] = {"horizon": 10, "device": torch.device("cpu"), "compiled": False}
    return ALM(parameters, OBS, ACTION, keys=Keys(7, "init"), **sizes)


def draws(parameters: ALMParameters) -> list[tuple[Windows, Batch, Noise]]:
    """Windows, transitions (a quarter of them terminated) and noise for each of three updates."""
    generator, made = torch.Generator().manual_seed(5), []

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    steps, z = parameters.model_steps, parameters.latent
    for _ in range(UPDATES):
        actions = draw(steps, BATCH, ACTION).tanh()
        windows = Windows(draw(BATCH, OBS), actions, draw(steps, BATCH, OBS))
        terminated = (torch.arange(BATCH) % 4 == 0).to(actions.dtype)
        obs, action, reward = draw(BATCH, OBS), draw(BATCH, ACTION).tanh(), draw(BATCH)
        batch = Batch(obs, action, reward, draw(BATCH, OBS), terminated)
        latents = [draw(count, BATCH, z) for count in (steps + 1, 7, steps)]
        noise = Noise(latents[0], latents[1], latents[2], draw(steps + 3, BATCH, ACTION))
        made.append((windows, batch, noise))
    return made


def moved(
    made: tuple[Windows, Batch, Noise], move: Callable[[Tensor], Tensor]
) -> tuple[Windows, Batch, Noise]:
    """The same on another device or in another precision."""
    windows, batch, noise = made
    return Windows(*map(move, windows)), Batch(*map(move, batch)), Noise(*map(move, noise))


def of_agent(agent: ALM) -> list[list[Tensor]]:
    """Weights of each network, in torch's layout and order: as `SlowALM.networks`."""
    networks = [
        *(agent.encoder.network, agent.model.network, agent.reward, agent.classifier),
        *(agent.critic, agent.actor, agent.encoder_target.network, agent.critic_target),
    ]
    return [weights for network in networks for weights in of_network(network)]


def of_network(network: Network) -> list[list[Tensor]]:
    parameters = [p.detach() for p in network.parameters()]
    if parameters[0].dim() == 2:
        return [[p.mT if p.dim() == 2 else p for p in parameters]]
    members = [[p[member] for p in parameters] for member in range(2)]
    return [[p.mT if len(p) > 1 else p[0] for p in member] for member in members]


def learnt(agent: ALM) -> list[Tensor]:
    """All that the updates changed: one flat vector a network."""
    return [torch.cat([p.flatten() for p in weights]) for weights in of_agent(agent)]


def distance(first: list[Tensor], second: list[Tensor]) -> float:
    return max((a - b).abs().max().item() for a, b in zip(first, second, strict=True))
