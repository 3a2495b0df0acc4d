"""The sums of mnm's theory written out in plain Python, sharing no code with unirl_repro.tabular.

A world is nested lists. Infinite sums are cut where a bound on the rest is below `REST`, and
finite ones are over all trajectories.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from hypothesis import strategies as st

REST = 1e-11  # largest sum of the terms left out, whatever they are
DISCOUNTS = (0.0, 0.3, 0.5, 0.7, 0.9)


@dataclass(frozen=True)
class World:
    transitions: list  # p[s][a][s']
    rewards: list  # r[s][a]
    initial: list  # p_0[s]
    discount: float
    policy: list  # pi[s][a]

    @property
    def arrays(self):
        """What an MDP is made of."""
        return (*map(np.array, (self.transitions, self.rewards, self.initial)), self.discount)

    @property
    def states(self):
        return range(len(self.rewards))

    @property
    def actions(self):
        return range(len(self.rewards[0]))


def distribution(numbers: Iterator[int], size: int) -> list:
    """Small whole weights, many of them 0, often a single one; bytes are quick to draw."""
    found = list(itertools.islice(numbers, size))
    weights = [number % 4 for number in found]
    if not sum(weights):
        weights[sum(found) // 4 % size] = 1
    return [weight / sum(weights) for weight in weights]


@st.composite
def distributions(draw, *shape: int):
    """Nested lists, the innermost of them distributions."""
    numbers = iter(draw(st.binary(min_size=math.prod(shape), max_size=math.prod(shape))))

    def nested(size: int, *sizes: int) -> list:
        return [nested(*sizes) for _ in range(size)] if sizes else distribution(numbers, size)

    return nested(*shape)


@st.composite
def worlds(draw, discounts=DISCOUNTS, states: int = 3, deterministic: bool = False):
    """Worlds of few states and two actions, with rewards from 0.1 to 10.

    A deterministic one has one initial state and a deterministic policy; its dynamics are any.
    """
    pay = draw(st.binary(min_size=2 * states, max_size=2 * states))
    initial, policy = draw(distributions(states)), draw(distributions(states, 2))
    if deterministic:
        initial = [1.0] + [0.0] * (states - 1)
        policy = [[float(row[0] < 0.5), float(row[0] >= 0.5)] for row in policy]
    return World(
        transitions=draw(distributions(states, 2, states)),
        rewards=[[0.1 * 100 ** (pay[2 * s + a] / 255) for a in (0, 1)] for s in range(states)],
        initial=initial,
        discount=draw(st.sampled_from(discounts)),
        policy=policy,
    )


@st.composite
def with_models(draw, within: bool | None = None, **how):
    """A world and a model; half of the models leave p's support, unless `within` says whether."""
    world = draw(worlds(**how))
    inside = draw(st.booleans()) if within is None else within
    free = draw(distributions(len(world.states), 2, len(world.states)))
    return world, within_support(world, free) if inside else free


def within_support(world: World, free: list) -> list:
    """A model that gives each transition of p between a sixth and six times its share."""
    return [
        [tilted(p, [1 + 5 * x for x in row]) for p, row in zip(*pair, strict=True)]
        for pair in zip(world.transitions, free, strict=True)
    ]


def tilted(distribution: list, weights: list) -> list:
    """The distribution that is proportional to p times the weights."""
    products = [p * weight for p, weight in zip(distribution, weights, strict=True)]
    return [product / sum(products) for product in products]


def times(bound_on_terms: float, discount: float) -> int:
    """How many terms of sum gamma^t x_t to add, where no |x_t| is above the bound."""
    t, left = 1, bound_on_terms * discount / (1 - discount)
    while left > REST:
        t, left = t + 1, left * discount
    return t


def occupancies(world: World, dynamics: list) -> Iterator[dict]:
    """P(s_t = s, a_t = a) for t = 0, 1, ...; only what can happen."""
    states = {s: p for s, p in enumerate(world.initial) if p > 0}
    while True:
        pairs = {
            (s, a): mass * world.policy[s][a]
            for s, mass in states.items()
            for a in world.actions
            if world.policy[s][a] > 0
        }
        yield pairs
        states = {}
        for (s, a), mass in pairs.items():
            for after, p in enumerate(dynamics[s][a]):
                if p > 0:
                    states[after] = states.get(after, 0.0) + mass * p


def discounted_sum(world: World, dynamics: list, terms: list) -> float:
    """E sum gamma^t x(s_t, a_t), by adding up powers of the transition matrix."""
    if any(math.isinf(terms[s][a]) for s, a in possible(world, dynamics)):
        return -math.inf
    largest = max(abs(x) for row in terms for x in row if not math.isinf(x))
    total = 0.0
    num = times(largest, world.discount)
    for t, pairs in zip(range(num), occupancies(world, dynamics), strict=False):
        total += world.discount**t * sum(m * terms[s][a] for (s, a), m in pairs.items())
    return total


def possible(world: World, dynamics: list) -> set:
    """Pairs of a state and an action that come with a probability above 0."""
    found: set = set()
    for _, pairs in zip(world.states, occupancies(world, dynamics), strict=False):
        found |= set(pairs)
    return found


def kl(q: list, p: list) -> float:
    total = 0.0
    for model, true in zip(q, p, strict=True):
        if model > 0:
            total += math.inf if true == 0 else model * math.log(model / true)
    return total


def log_return(world: World) -> float:
    return math.log(discounted_sum(world, world.transitions, world.rewards))


def bound(world: World, model: list, ratio_weight: float = 1.0) -> float:
    """Eq. 2 with Eq. 3."""
    left = 1 - world.discount
    terms = [
        [
            left * math.log(world.rewards[s][a])
            - left * math.log(left)
            - (ratio_weight and ratio_weight * kl(model[s][a], world.transitions[s][a]))
            for a in world.actions
        ]
        for s in world.states
    ]
    return discounted_sum(world, model, terms)


def vmbpo(world: World, model: list) -> float:
    terms = [
        [world.rewards[s][a] - kl(model[s][a], world.transitions[s][a]) for a in world.actions]
        for s in world.states
    ]
    return discounted_sum(world, model, terms)


def paths(world: World, dynamics: list, length: int) -> Iterator[tuple[float, tuple]]:
    """All (probability, (s_0, a_0, s_1, ..., s_length-1, a_length-1)) of a Markov model."""
    yield from history_paths(world, lambda past: dynamics[past[-2]][past[-1]], length)


def history_paths(world: World, dynamics, length: int) -> Iterator[tuple[float, tuple]]:
    """As `paths`, for a model q(s' | past) that is a function of the whole past."""

    def longer(mass, past, s):
        for a in world.actions:
            weight = mass * world.policy[s][a]
            if weight == 0:
                continue
            now = (*past, s, a)
            if len(now) == 2 * length:
                yield weight, now
                continue
            for after, p in enumerate(dynamics(now)):
                if p > 0:
                    yield from longer(weight * p, now, after)

    for start, mass in enumerate(world.initial):
        if mass > 0:
            yield from longer(mass, (), start)


def log_ratio(world: World, dynamics, path: tuple) -> float:
    """Sum of log p / q over a path's transitions, q(s' | past) being a function of the past."""
    total = 0.0
    for t in range(2, len(path), 2):
        s, a, after = path[t - 2], path[t - 1], path[t]
        true = world.transitions[s][a][after]
        model = dynamics(path[:t])[after]
        total += -math.inf if true == 0 else math.log(true / model)
    return total


def path_return(world: World, path: tuple) -> float:
    return sum(
        world.discount ** (t // 2) * world.rewards[path[t]][path[t + 1]]
        for t in range(0, len(path), 2)
    )


def horizon_term(world: World, dynamics, horizon: int) -> float:
    """E_q[log r_H + H log gamma + sum_{t<H} log p / q] over all trajectories, H given."""
    return sum(
        mass
        * (
            math.log(world.rewards[path[-2]][path[-1]])
            + (horizon and horizon * math.log(world.discount))
            + log_ratio(world, dynamics, path)
        )
        for mass, path in history_paths(world, dynamics, horizon + 1)
    )


def log_sum_exp(values: list) -> float:
    top = max(values)
    return top + math.log(sum(math.exp(v - top) for v in values))


def discounted_sum_of(world: World, length: int) -> list:
    """Expected return of some steps from each state, by all its trajectories."""
    found = [0.0] * len(world.states)
    for start in world.states:
        here = replace(world, initial=[float(s == start) for s in world.states])
        for mass, path in paths(here, world.transitions, length):
            found[start] += mass * path_return(world, path)
    return found


def best_horizon_term(world: World, horizon: int) -> float:
    """The largest `horizon_term`: for each transition the maximum over q is log E_p e^W."""
    means = [
        sum(world.policy[s][a] * math.log(world.rewards[s][a]) for a in world.actions)
        for s in world.states
    ]
    for _ in range(horizon):
        weights = [math.exp(mean) for mean in means]
        means = [
            sum(
                world.policy[s][a] * math.log(sum(p * w for p, w in zip(row, weights, strict=True)))
                for a, row in enumerate(world.transitions[s])
            )
            for s in world.states
        ]
    earned = sum(p * mean for p, mean in zip(world.initial, means, strict=True))
    return earned + horizon * math.log(world.discount)
