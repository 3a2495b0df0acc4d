"""Exact and optimal values of finite MDPs, one thread, beside two libraries.

Each side runs what it calls value iteration; ours takes short cuts by linear solves. Errors are
measured against exact values and must be the same, but for one row: pymdptoolbox ends when all
values change alike, where the policy is good and the values are not yet, whatever its epsilon. So
it is timed twice, with the backups that its values need, and with those that it makes. Neither
library's time has the building of its model in it.
"""

from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass
from functools import cached_property, partial

import mdpsolver  # type: ignore[import-untyped]
import numpy as np
import torch
from mdptoolbox.mdp import ValueIteration  # type: ignore[import-untyped]
from scipy import sparse

from benchmarks.measure import REPEATS, Entry, seconds
from unirl_repro.tabular.mdp import MDP, evaluate, uniform, value_iteration
from unirl_repro.tabular.worlds import DISCOUNT

TOLERANCE = 1e-10  # largest error of a value
CALLS = 10  # of a work that takes less than a millisecond, timed together
MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1), (0, 0))
SIDES = (10, 32, 100)  # of gridworlds; the last is too large for a dense matrix


def measurements() -> list[Entry]:
    """Policies evaluated, optimal values found, and how both grow with the states."""
    torch.set_num_threads(1)
    grid = dense(gridworld(10))
    return [
        evaluation(grid),
        *optimal_values("random MDP", Rivals(scattered(100))),
        *optimal_values("gridworld", Rivals(grid)),
        *growth("exact evaluation", evaluate_uniform),
        *growth("optimal values", partial(value_iteration, epsilon=TOLERANCE)),
    ]


def evaluation(mdp: MDP) -> Entry:
    """The uniform policy's values by a linear solve, the policy's check included."""
    [ours] = milliseconds(partial(evaluate_uniform, mdp))
    name = "exact evaluation, 100 states, 5 actions"
    return Entry(name, ours, 1.0, "our limit", 1 / ours, "ms", 1.0)


def optimal_values(name: str, rivals: "Rivals") -> list[Entry]:
    """Beside both libraries; the error of each one's values is in its name."""
    works = (rivals.ours, rivals.toolbox_to_tolerance, rivals.toolbox_to_its_end, rivals.solver)
    ours, *theirs = milliseconds(*works)
    errors = [rivals.error(work()) for work in works]
    assert max(errors[0], errors[1], errors[3]) <= TOLERANCE
    peers = ("pymdptoolbox", "pymdptoolbox, to its own end", "mdpsolver (C++)")
    return [
        Entry(
            f"optimal values within {TOLERANCE:.0e}, {name}, 100 states",
            ours,
            peer,
            f"{told}: error {error:.0e}",
            peer / ours,
            "ms",
            5.0 if told == "pymdptoolbox" else 0.0,
        )
        for peer, told, error in zip(theirs, peers, errors[1:], strict=True)
    ]


def growth(name: str, work: Callable[[MDP], object]) -> list[Entry]:
    """Sparse beside dense and, where that is too large, a time that grows as the states do."""
    entries: list[Entry] = []
    for side in SIDES:
        mdp, calls = gridworld(side), CALLS if side == SIDES[0] else 1
        if side < SIDES[-1]:
            told, forms = "dense", (partial(work, mdp), partial(work, dense(mdp)))
            ours, peer = milliseconds(*forms, calls=calls)
        else:
            told, [ours] = "grown as the states", milliseconds(partial(work, mdp), calls=calls)
            peer = entries[0].ours * (side / SIDES[0]) ** 2
        title = f"{name}, gridworld, {side**2:,} states, sparse"
        entries.append(Entry(title, ours, peer, told, peer / ours, "ms", 0.0))
    return entries


@dataclass(frozen=True)
class Rivals:
    """An MDP's optimal values, as each finds them."""

    mdp: MDP

    def ours(self) -> np.ndarray:
        return value_iteration(self.mdp, TOLERANCE).values

    def toolbox_to_tolerance(self) -> np.ndarray:
        return _run(self.patient_toolbox)

    def toolbox_to_its_end(self) -> np.ndarray:
        return _run(self.toolbox)

    def solver(self) -> np.ndarray:
        """A new model each time: a model goes on from the values that it has found."""
        model = next(self.solvers)
        model.solve(algorithm="vi", tolerance=TOLERANCE, parallel=False)
        return np.array(model.getValueVector())

    def error(self, values: np.ndarray) -> float:
        return float(np.abs(values - self.exact).max())

    @cached_property
    def exact(self) -> np.ndarray:
        return evaluate(self.mdp, value_iteration(self.mdp).policy)

    @cached_property
    def backups(self) -> int:
        """That values from zero need until their error is small enough."""
        values, count = np.zeros(self.mdp.num_states), 0
        while self.error(values) > TOLERANCE:
            values, count = self.mdp.backup(values).max(-1), count + 1
        return count

    @cached_property
    def toolbox(self) -> ValueIteration:
        by_action = np.ascontiguousarray(self.mdp.transitions.swapaxes(0, 1))
        return ValueIteration(by_action, self.mdp.rewards, self.mdp.discount, epsilon=TOLERANCE)

    @cached_property
    def patient_toolbox(self) -> ValueIteration:
        """Ends after as many backups as its values need, whatever it thinks of them."""
        made = copy(self.toolbox)
        made.thresh, made.max_iter = -1.0, self.backups
        return made

    @cached_property
    def solvers(self) -> Iterator[mdpsolver.model]:
        rows, rewards = self.mdp.transitions.tolist(), self.mdp.rewards.tolist()
        made = [mdpsolver.model() for _ in range(CALLS * (REPEATS + 1) + 1)]
        for model in made:
            model.mdp(discount=self.mdp.discount, rewards=rewards, tranMatWithZeros=rows)
        return iter(made)


def _run(toolbox: ValueIteration) -> np.ndarray:
    """From zero: without that, it would go on from the values that it has found."""
    toolbox.V, toolbox.iter = np.zeros(toolbox.S), 0
    toolbox.run()
    return np.array(toolbox.V)


def evaluate_uniform(mdp: MDP) -> np.ndarray:
    return evaluate(mdp, uniform(mdp))


def milliseconds(*works: Callable[[], object], calls: int = CALLS) -> list[float]:
    """Of one call of each, timed in turn, several together."""

    def repeated(work: Callable[[], object]) -> Callable[[], object]:
        return lambda: [work() for _ in range(calls)]

    return [1e3 / calls * each for each in seconds(*map(repeated, works))]


def scattered(states: int) -> MDP:
    """Every action may lead anywhere, and pays anything."""
    rng = np.random.default_rng(0)
    transitions = rng.dirichlet(np.ones(states), (states, len(MOVES)))
    rewards = rng.random((states, len(MOVES)))
    return MDP(transitions, rewards, np.full(states, 1 / states), DISCOUNT)


def gridworld(side: int) -> MDP:
    """Half of all moves are drawn at random; one corner pays. At most five successors: sparse."""
    cells, count = np.arange(side**2), len(MOVES)
    row, column = np.divmod(cells, side)
    reached = np.stack(
        [
            np.clip(row + down, 0, side - 1) * side + np.clip(column + right, 0, side - 1)
            for down, right in MOVES
        ],
        axis=-1,
    )  # [S, A]
    chances = np.full((count, count), 0.5 / count) + 0.5 * np.eye(count)  # of a move, by action
    rows = np.repeat(np.arange(side**2 * count), count)
    shape = (side**2 * count, side**2)
    columns, data = np.repeat(reached, count, axis=0).ravel(), np.tile(chances.ravel(), side**2)
    rewards = np.full((side**2, count), 1e-3)
    rewards[-1] = 10.0
    transitions = sparse.csr_array((data, (rows, columns)), shape=shape)
    return MDP(transitions, rewards, np.full(side**2, side**-2.0), DISCOUNT)


def dense(mdp: MDP) -> MDP:
    """The same with a dense matrix."""
    rows = sparse.csr_array(mdp.transitions).toarray()
    return mdp.with_transitions(rows.reshape(*mdp.rewards.shape, mdp.num_states))
