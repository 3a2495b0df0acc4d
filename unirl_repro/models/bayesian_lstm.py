"""The dynamics model of unified_rl (A.2.1): an LSTM whose weights are uncertain by dropout.

A set of dropout masks is a sample of weights, w ~ q(w; theta) (Gal and Ghahramani 2016). One is
drawn for a trajectory and held over its steps, in training and in rollouts alike.
"""

from collections.abc import Callable, Iterator, Sequence
from math import log, pi
from typing import NamedTuple

import torch
import torch.nn.functional as F
from numpy.random import Generator
from torch import Tensor, nn

from unirl_repro.models.normaliser import Normaliser
from unirl_repro.nn.lstm import LSTMState, MaskedLSTM
from unirl_repro.nn.mlp import Linear
from unirl_repro.nn.repeated import Repeated
from unirl_repro.replay import Batch
from unirl_repro.rng import normal

BLOCK = 2**19  # numbers in one layer's units: 2 MiB
ROWS = 2500  # trajectories whose step still fits into a processor's cache
MIN_STD = 0.01  # of a normalised output: deviation U1
Policy = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]  # obs, noise -> action, log-probability


class Masks(NamedTuple):
    """One dropout mask a row for each layer but the input one: [B, H], 0 or 1 / (1 - dropout)."""

    lstm_input: Tensor
    lstm_output: Tensor  # on the recurrent input
    first: Tensor
    second: Tensor
    heads: Tensor

    def repeat(self, count: int) -> "Masks":
        """Each row `count` times in a row: [B count, H]."""
        return Masks(*(mask.repeat_interleave(count, 0) for mask in self))


class Layers(NamedTuple):
    """The layers with their weights as they are now, for many calls: [B, I] -> [B, O] each."""

    embed: Repeated
    gates: Repeated  # of the LSTM
    first: Repeated
    second: Repeated
    heads: Repeated


class Trajectories(NamedTuple):
    """Rollouts of a policy in the model."""

    obs: Tensor  # [T + 1, B, O]
    reward: Tensor  # [T, B]
    log_prob: Tensor  # [T, B]


class BayesianLSTM(nn.Module):
    """Gaussian over the next observation and the reward, given all observations and actions so far.

    Parameters
    ----------
    obs_dim, action_dim : int
        Sizes of one observation and one action.
    hidden : int
        Units of every layer.
    dropout : float
        Probability that a unit is off.
    rng : Generator
        Where the initial weights come from.
    """

    def __init__(self, obs_dim: int, action_dim: int, hidden: int, dropout: float, rng: Generator):
        super().__init__()
        self.obs_dim, self.hidden, self.dropout = obs_dim, hidden, dropout
        self.inputs = Normaliser(obs_dim + action_dim)
        self.outputs = Normaliser(obs_dim + 1)  # change of the observation, reward
        self.input_layer = Linear(obs_dim + action_dim, hidden, rng)
        self.lstm = MaskedLSTM(hidden, hidden, rng)
        self.first = Linear(hidden, hidden, rng)
        self.second = Linear(hidden, hidden, rng)
        self.heads = Linear(hidden, 2 * (obs_dim + 1), rng)  # the four heads side by side

    def observe(self, episode: Batch) -> None:
        """Count transitions [T, ·] in for the normalisation of inputs and outputs."""
        self.inputs.add(torch.cat([episode.obs, episode.action], -1))
        self.outputs.add(_outputs(episode))

    def normalise(self) -> None:
        """Normalise from now on by all that was observed: before each training period (A.2.1)."""
        self.inputs.update()
        self.outputs.update()

    def sample_masks(self, count: int, rng: Generator) -> Masks:
        """`count` samples of the weights."""
        kept = torch.from_numpy(rng.random((count, 5 * self.hidden)) >= self.dropout)
        # Inverted dropout: what a layer receives keeps its expectation.
        scaled = kept.to(self.lstm.from_output) / (1 - self.dropout)
        return Masks(*scaled.chunk(5, dim=-1))

    def loss(self, episodes: Batch, masks: Masks, num_episodes: int, prior: float) -> Tensor:
        """Negative log-likelihood of trajectories [T, B, ·], plus the prior's term.

        `prior` is eta and `num_episodes` N; A.2.1 prints the likelihood's sign the other way round.
        """
        fit = -self.log_likelihood(episodes, masks).mean()
        return fit + prior / num_episodes * self.squared_norm()

    def layers(self) -> Layers:
        """For many calls, until the weights change."""
        return Layers(
            Repeated.of(self.input_layer, "relu"),
            self.lstm.gates(),
            Repeated.of(self.first, "relu"),
            Repeated.of(self.second, "relu"),
            Repeated.of(self.heads),
        )

    def log_likelihood(self, episodes: Batch, masks: Masks) -> Tensor:
        """log p(s', r | s, a, w) of normalised outputs, summed over steps: [T, B, ·] -> [B]."""
        targets, layers = self.outputs(_outputs(episodes)), self.layers()  # [T, B, O + 1]
        states = self.states(episodes.obs, episodes.action, masks).output
        # A few steps at a time: what a processor's cache holds is faster than one large batch.
        length = max(1, BLOCK // states[0].numel())
        parts = zip(states.split(length), targets.split(length), strict=True)
        return torch.stack([_log_density(layers, *part, masks) for part in parts]).sum(0)

    def squared_norm(self) -> Tensor:
        """Sum of the squares of all learnable parameters."""
        return torch.stack([p.square().sum() for p in self.parameters()]).sum()

    def predict(self, obs: Tensor, action: Tensor, masks: Masks) -> tuple[Tensor, Tensor]:
        """Mean and std of normalised outputs along real trajectories: [T, B, ·] -> [T, B, O + 1]."""
        return _heads(self.layers(), self.states(obs, action, masks).output, masks)

    def states(self, obs: Tensor, action: Tensor, masks: Masks) -> LSTMState:
        """The LSTM's states after each step of real trajectories: [T, B, H]."""
        x = self.inputs(torch.cat([obs, action], -1))
        x = _rowwise(Repeated.of(self.input_layer, "relu"), x)
        return self.lstm(x, masks.lstm_input, masks.lstm_output)

    def step(
        self,
        obs: Tensor,
        action: Tensor,
        state: LSTMState,
        masks: Masks,
        noise: Tensor,
        layers: Layers | None = None,
    ) -> tuple[Tensor, Tensor, LSTMState]:
        """Sample next observations [B, O] and rewards [B] with noise [B, O + 1].

        `layers` from before the first step make many steps faster.
        """
        layers = self.layers() if layers is None else layers
        x = layers.embed(self.inputs(torch.cat([obs, action], -1)))
        state = self.lstm.step(x, state, masks.lstm_input, masks.lstm_output, layers.gates)
        mean, std = _heads(layers, state.output, masks)
        sampled = self.outputs.mean + self.outputs.std * torch.addcmul(mean, std, noise)
        return obs + sampled[:, :-1], sampled[:, -1], state

    def rollout(
        self,
        policy: Policy,
        obs: Tensor,
        masks: Masks,
        steps: int,
        rng: Generator,
        state: LSTMState | None = None,
    ) -> Trajectories:
        """Trajectories of `steps` steps from observations [B, O], each under its own mask."""
        noise = self._noise(obs, steps, rng)
        simulated = self._simulate(policy, obs, masks, noise, self.layers(), state)
        following, rewards, log_probs = zip(*simulated, strict=True)
        return Trajectories(*map(torch.stack, ((obs, *following), rewards, log_probs)))

    def returns(
        self, policies: Sequence[Policy], obs: Tensor, masks: Masks, steps: int, rng: Generator
    ) -> Tensor:
        """Sums of rewards [P, B] of P policies' trajectories, all in one batch.

        From observations [P, B, O]; row i of each policy is under mask i. Nothing else is kept.
        """
        count, rows, obs_dim = obs.shape
        noise, layers = self._noise(obs.flatten(0, 1), steps, rng), self.layers()
        noise = tuple(part.unflatten(1, (count, rows)) for part in noise)
        act, returns = side_by_side(policies), torch.zeros_like(obs[..., 0])
        # On a CPU as many at once as its cache holds.
        size = max(1, ROWS // count) if obs.device.type == "cpu" else rows
        for some in (slice(start, start + size) for start in range(0, rows, size)):
            under = Masks(*(mask[some].repeat(count, 1) for mask in masks))
            drawn = tuple(part[:, :, some].flatten(1, 2) for part in noise)
            start = obs[:, some].reshape(-1, obs_dim)
            for _, reward, _ in self._simulate(act, start, under, drawn, layers):
                returns[:, some] += reward.view(count, -1)
        return returns

    def _noise(self, obs: Tensor, steps: int, rng: Generator) -> tuple[Tensor, Tensor]:
        """For the model [T, B, O + 1] and the policy [T, B, A]."""
        # Drawn at once, so that a GPU waits for the host only here.
        action_dim = self.input_layer.weight.shape[0] - self.obs_dim
        sizes = (self.obs_dim + 1, action_dim)
        model, policy = (normal(rng, steps, len(obs), size, like=obs) for size in sizes)
        return model, policy

    def _simulate(
        self,
        policy: Policy,
        obs: Tensor,
        masks: Masks,
        noise: tuple[Tensor, ...],
        layers: Layers,
        state: LSTMState | None = None,
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Next observations, rewards and the actions' log-probabilities, step by step."""
        state = self.lstm.initial(len(obs), obs) if state is None else state
        for of_model, of_policy in zip(*noise, strict=True):
            action, log_prob = policy(obs, of_policy)
            obs, reward, state = self.step(obs, action, state, masks, of_model, layers)
            yield obs, reward, log_prob


def side_by_side(policies: Sequence[Policy]) -> Policy:
    """One policy that acts on equal parts of a batch as these do, in their order."""

    def act(obs: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        parts = zip(obs.chunk(len(policies)), noise.chunk(len(policies)), strict=True)
        acted = [policy(*part) for policy, part in zip(policies, parts, strict=True)]
        actions, log_probs = zip(*acted, strict=True)
        return torch.cat(actions), torch.cat(log_probs)

    return act


def _log_density(layers: Layers, states: Tensor, targets: Tensor, masks: Masks) -> Tensor:
    """Of normalised outputs [T, B, O + 1], summed over steps: [B]."""
    mean, std = _heads(layers, states, masks)
    density = -0.5 * ((targets - mean) / std).square() - std.log() - 0.5 * log(2 * pi)
    return density.sum((0, 2))


def _heads(layers: Layers, x: Tensor, masks: Masks) -> tuple[Tensor, Tensor]:
    """Linear layers and heads: [.., B, H] -> mean and std of normalised outputs, [.., B, O + 1]."""
    x = _rowwise(layers.first, x * masks.first)
    x = _rowwise(layers.second, x * masks.second)
    mean, raw = _rowwise(layers.heads, x * masks.heads).chunk(2, dim=-1)
    return mean, F.softplus(raw) + MIN_STD


def _rowwise(layer: Repeated, x: Tensor) -> Tensor:
    """A layer on [.., I]."""
    return layer(x.flatten(0, -2)).view(*x.shape[:-1], -1)


def _outputs(batch: Batch) -> Tensor:
    """What the model predicts: the change of the observation, and the reward: [.., O + 1]."""
    return torch.cat([batch.next_obs - batch.obs, batch.reward[..., None]], -1)
