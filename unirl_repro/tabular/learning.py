"""Mismatched no More and its peers from sampled trajectories (mnm, Alg. 1 and Fig. 2a).

Many runs advance side by side. Each iteration samples a trajectory in the model and updates action
values from all that was sampled so far. Dynamics are kept as the N successors that a state and
action can have. Sizes in comments: B runs, S states, A actions, N successors, T steps.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.random import Generator

from unirl_repro.tabular.mdp import MDP
from unirl_repro.tabular.mnm import Method


@dataclass(frozen=True)
class Settings:
    """Of the learning curves: defaults are those of mnm's published notebook."""

    iterations: int = 1501
    steps: int = 200  # of each trajectory, from the initial state
    learning_rate: float = 1e-2 / 200  # of each step sampled so far, in each iteration
    epsilon: float = 0.5  # share of actions drawn uniformly
    evaluate_every: int = 20  # iterations


class Successors(NamedTuple):
    """The next states that each state and action can have, and their real probabilities."""

    state: np.ndarray  # [S, A, N] of int
    probability: np.ndarray  # [S, A, N], 0 where there are fewer than N

    @classmethod
    def of(cls, transitions: np.ndarray) -> "Successors":
        """From p(s' | s, a) [S, A, S]."""
        count = int((transitions > 0).sum(-1).max())
        state = np.argsort(-transitions, axis=-1, kind="stable")[..., :count]
        return cls(state, np.take_along_axis(transitions, state, axis=-1))

    def of_model(self, model: np.ndarray) -> np.ndarray:
        """A model's probabilities of these successors: [S, A, S] -> [S, A, N]."""
        return np.take_along_axis(model, self.state, axis=-1)

    def dense(self, model: np.ndarray) -> np.ndarray:
        """Probabilities of these successors as a model of all states: [S, A, N] -> [S, A, S]."""
        dense = np.zeros((*model.shape[:-1], len(self.state)))
        np.put_along_axis(dense, self.state, model, axis=-1)
        return dense


class Model(Protocol):
    """Dynamics and rewards to train in, as they answer the action values [B, S, A] so far."""

    def respond(self, action_values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities of successors [B, S, A, N], and rewards [B, S, A]."""


@dataclass(frozen=True)
class Fixed:
    """The same dynamics for ever, and the task's rewards."""

    model: np.ndarray  # [B, S, A, N]
    rewards: np.ndarray  # [B, S, A]

    def respond(self, action_values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.model, self.rewards


@dataclass(frozen=True)
class Exact:
    """The model that Eq. 9 is greatest for, p e^V, and the classifier that is Bayes-optimal."""

    successors: Successors
    rewards: np.ndarray  # [B, S, A], of the task
    classifier: bool

    def respond(self, action_values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values = action_values.max(-1)[:, self.successors.state]  # [B, S, A, N]
        top = values.max(-1, keepdims=True)
        weights = self.successors.probability * np.exp(values - top)
        total = weights.sum(-1, keepdims=True)
        model = weights / total
        if not self.classifier:
            return model, self.rewards
        cost = (model * values).sum(-1) - (top + np.log(total))[..., 0]  # KL(q || p)
        return model, self.rewards - cost


class Adversarial:
    """Model and classifier learnt from real transitions, by gradients of Eq. 4 and Eq. 9.

    Both are tables of logits. For each state and action that was really visited, the classifier
    tells real successors from the model's, and the model climbs V(s') + log C / (1 - C). Which
    successors are possible is known: deviation M3.

    Parameters
    ----------
    successors : Successors
        What can follow what; the probabilities serve to sample real transitions, nothing else.
    rewards : (B, S, A) array
        Of the task.
    start : int
        The state in which real trajectories begin.
    settings : Settings
        Length of real trajectories, and how they explore.
    rngs : sequence of Generator
        For real trajectories, one a run.
    """

    real_every = 10  # iterations: line 6 of Alg. 1 is infrequent
    num_updates = 10  # of classifier and model, before each iteration
    classifier_rate = 2.0
    model_rate = 1.0

    def __init__(
        self,
        successors: Successors,
        rewards: np.ndarray,
        start: int,
        settings: Settings,
        rngs: Sequence[Generator],
    ):
        self.successors, self.rewards, self.start = successors, rewards, start
        self.settings, self.rngs = settings, rngs
        shape = (len(rngs), *successors.state.shape)
        self.real = np.broadcast_to(successors.probability, shape)
        self.model_logits = np.where(self.real > 0, 0.0, -np.inf)
        self.classifier_logits = np.zeros(shape)  # log C / (1 - C)
        self.counts = np.zeros(shape)  # of real transitions
        self.iteration = 0

    def respond(self, action_values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if self.iteration % self.real_every == 0:
            where = (self.start, action_values.argmax(-1), self.settings)
            count(self.counts, sample(self.real, self.successors, *where, self.rngs))
        self.iteration += 1
        values = action_values.max(-1)[:, self.successors.state]
        visits = self.counts.sum(-1, keepdims=True)
        frequency = self.counts / np.maximum(visits, 1)
        for _ in range(self.num_updates):
            self._update(frequency, visits > 0, values)
        model = _softmax(self.model_logits)
        return model, self.rewards + (model * self.classifier_logits).sum(-1)  # Eq. 5

    def _update(self, frequency: np.ndarray, visited: np.ndarray, values: np.ndarray) -> None:
        model = _softmax(self.model_logits)
        belief = 1 / (1 + np.exp(-self.classifier_logits))  # C
        slope = frequency * (1 - belief) - model * belief  # of Eq. 4
        self.classifier_logits += self.classifier_rate * visited * slope
        gain = values + self.classifier_logits  # inside Eq. 9's expectation
        slope = model * (gain - (model * gain).sum(-1, keepdims=True))
        self.model_logits = self.model_logits + self.model_rate * visited * slope


@dataclass(frozen=True)
class SideBySide:
    """Several models for equal parts of a batch, in their order, `runs` for each."""

    models: Sequence[Model]
    runs: int

    def respond(self, action_values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        parts = np.split(action_values, len(self.models))
        answers = [model.respond(part) for model, part in zip(self.models, parts, strict=True)]
        dynamics, rewards = zip(*answers, strict=True)
        return np.concatenate(dynamics), np.concatenate(rewards)


class Trajectories(NamedTuple):
    """Of B runs, T steps each."""

    state: np.ndarray  # [B, T] of int
    action: np.ndarray
    successor: np.ndarray  # which of the N


def learn(
    mdp: MDP, successors: Successors, model: Model, rngs: Sequence[Generator], settings: Settings
) -> Iterator[tuple[int, np.ndarray]]:
    """Action values from trajectories sampled in a model: lines 2 to 5 of Alg. 1.

    Every step sampled so far moves the value of its state and action towards its target,
    r + gamma max Q(s'), with the reward it was sampled with, by `settings.learning_rate`: in sum.

    Parameters
    ----------
    mdp : MDP
        Its discount, and its initial state, which must be one.
    successors : Successors
        What can follow what.
    model : Model
        What is sampled from.
    rngs : sequence of Generator
        For trajectories, one a run.
    settings : Settings
        How long, how fast, how curious.

    Yields
    ------
    iteration, action_values : int, (B, S, A) array
        Every `settings.evaluate_every` iterations, after the update.
    """
    start, shape = int(mdp.initial.argmax()), (len(rngs), *mdp.rewards.shape)
    counts = np.zeros((*shape, successors.state.shape[-1]))
    rewards, values = np.zeros(shape), np.zeros(shape)  # rewards: sums over sampled steps
    for iteration in range(settings.iterations):
        dynamics, reward = model.respond(values)
        best = values.argmax(-1)
        trajectories = sample(dynamics, successors, start, best, settings, rngs)
        before = counts.sum(-1)
        count(counts, trajectories)
        visits = counts.sum(-1)
        rewards += (visits - before) * reward
        following = values.max(-1)[:, successors.state]  # [B, S, A, N]
        targets = rewards + mdp.discount * (counts * following).sum(-1)
        # Once often visited pairs would overshoot, they go all the way: deviation M4.
        step = np.minimum(settings.learning_rate, 1 / np.maximum(visits, 1))
        values = values + step * (targets - visits * values)
        if iteration % settings.evaluate_every == 0:
            yield iteration, values


def sample(
    model: np.ndarray,
    successors: Successors,
    start: int,
    best: np.ndarray,
    settings: Settings,
    rngs: Sequence[Generator],
) -> Trajectories:
    """One trajectory a run in a model [B, S, A, N], by the best actions [B, S] and random ones."""
    draws = np.stack([rng.random((settings.steps, 3)) for rng in rngs])  # [B, T, 3]
    num_actions = model.shape[2]
    explores = draws[..., 0] < settings.epsilon
    at_random = (draws[..., 1] * num_actions).astype(int)
    cumulative = model.cumsum(-1)
    runs, state = np.arange(len(rngs)), np.full(len(rngs), start)
    found = np.empty((3, settings.steps, len(rngs)), int)
    for t in range(settings.steps):
        action = np.where(explores[:, t], at_random[:, t], best[runs, state])
        heights = cumulative[runs, state, action]
        # Relative to the last height, which rounding may leave below one.
        successor = (draws[:, t, 2, None] * heights[:, -1:] >= heights).sum(-1)
        found[:, t] = state, action, successor
        state = successors.state[state, action, successor]
    return Trajectories(*found.transpose(0, 2, 1))


def count(counts: np.ndarray, trajectories: Trajectories) -> None:
    """Count each run's transitions in: [B, S, A, N]."""
    runs = np.arange(len(counts))[:, None]
    np.add.at(counts, (runs, *trajectories), 1.0)


def _softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def exact_model(mdp: MDP, method: Method, successors: Successors, num_runs: int) -> Model:
    """What a method trains in, without errors of a learnt model or classifier."""
    rewards = np.broadcast_to(method.rewards(mdp), (num_runs, *mdp.rewards.shape))
    if method.learned_model:
        return Exact(successors, rewards, method.classifier)
    real = np.broadcast_to(successors.probability, (num_runs, *successors.state.shape))
    return Fixed(real, rewards)
