"""mnm Figure 2: learning on a stochastic grid, the dynamics learnt there, and a coarse model.

Panels of the frame: `returns` (a: learning curves), `speed` (what they come to), `dynamics` (a: real
and learnt moves), `coarse` (b: whether the goal is reached) and `paths` (b: an
episode each).
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from unirl_repro.rng import Keys
from unirl_repro.tabular.bounds import log_ratio_cost
from unirl_repro.tabular.frame import frame, numbers
from unirl_repro.tabular.learning import (
    Adversarial,
    Model,
    Settings,
    SideBySide,
    Successors,
    exact_model,
    learn,
)
from unirl_repro.tabular.low_resolution import Blocks
from unirl_repro.tabular.mdp import MDP, expected_return, greedy, value_iteration
from unirl_repro.tabular.mnm import METHODS, last, solve
from unirl_repro.tabular.worlds import Grid, obstacle_grid, stochastic_grid

STUDY = "mnm_fig2"
LEARNING = (10.0, 0.001)  # rewards in the goal and elsewhere: of the learning curves
SHOWN = (1e9, 1e-5)  # of the dynamics that are drawn: the notebook's, for arrows that can be seen
EXACT = ("mnm", "q_learning", "vmbpo", "q_learning_log", "mnm_no_log")
LEARNT = "mnm_learned"
SOLVED = 0.9  # share of the optimal return that counts as solved: deviation M7
COARSE_ITERATIONS = 20
MOST_COST = 5.0  # of the classifier term: the notebook's
STEPS = 100  # of an episode on the grid with obstacles

Rows = Iterator[dict[str, Any]]


def run(seeds: int) -> pd.DataFrame:
    """Compute the figure's frame: see `tabular.frame`.

    Parameters
    ----------
    seeds : int
        Runs of each algorithm; what is not learnt from samples is exact.
    """
    rows = [*_learning(seeds), *_dynamics(), *_coarse()]
    return frame(rows)


def _learning(seeds: int) -> Rows:
    mdp, settings = stochastic_grid(LEARNING).mdp, Settings()
    best = expected_return(mdp, value_iteration(mdp).policy)
    yield from numbers(STUDY, "speed", "optimal", {"return": best})
    curves = learning_curves(mdp, seeds, settings)
    for variant, curve in curves.items():  # [P, B]
        for seed, returns in enumerate(curve.T):
            for point, value in enumerate(returns):
                where = {"seed": seed, "iteration": point * settings.evaluate_every}
                yield from numbers(STUDY, "returns", variant, {"return": value}, **where)
            solved = np.flatnonzero(returns >= SOLVED * best)
            # A run that never gets there counts as the whole of training.
            first = solved[0] * settings.evaluate_every if len(solved) else settings.iterations
            found = {
                "average": returns.mean() / best,
                "final": returns[-1] / best,
                "solved": bool(len(solved)),
                "iterations": first,
            }
            yield from numbers(STUDY, "speed", variant, found, seed=seed)


def learning_curves(mdp: MDP, seeds: int, settings: Settings) -> dict[str, np.ndarray]:
    """Exact return of the greedy policy in the real dynamics, through training: [P, B] each."""
    successors, start = Successors.of(mdp.transitions), int(mdp.initial.argmax())
    models: list[Model] = [exact_model(mdp, METHODS[n], successors, seeds) for n in EXACT]
    task = np.broadcast_to(METHODS["mnm"].rewards(mdp), (seeds, *mdp.rewards.shape))
    real = [Keys(seed, STUDY)("real") for seed in range(seeds)]
    models.append(Adversarial(successors, task, start, settings, real))
    variants = (*EXACT, LEARNT)
    rngs = [Keys(seed, STUDY)(variant) for variant in variants for seed in range(seeds)]
    points = [
        [expected_return(mdp, policy) for policy in greedy(values)]
        for _, values in learn(mdp, successors, SideBySide(models, seeds), rngs, settings)
    ]
    curves = np.array(points).reshape(len(points), len(variants), seeds)
    return dict(zip(variants, curves.swapaxes(0, 1), strict=True))


def _dynamics() -> Rows:
    """Where moves lead from each cell, really and in the model; and whether towards the goal."""
    grid = stochastic_grid(SHOWN)
    learnt = last(solve(grid.mdp, METHODS["mnm"])).model
    distance = _distances(grid)
    for variant, model in (("real", grid.mdp.transitions), ("mnm", learnt)):
        for state in grid.free():
            row, column = grid.cell(state)
            for action, move in enumerate(grid.moves):
                reached = grid.state(grid.after((row, column), move))
                found = {"probability": model[state, action, reached] if reached != state else 0.0}
                where = {"row": row, "column": column, "action": action}
                yield from numbers(STUDY, "dynamics", variant, found, **where)
            drift = _drift(grid, model, state)
            yield from numbers(STUDY, "dynamics", variant, drift, row=row, column=column)
    nearer = (learnt @ distance).mean(-1) < (grid.mdp.transitions @ distance).mean(-1) - 1e-12
    free = [state for state in grid.free() if grid.cell(state) != grid.goal]
    share = {"share_towards_goal": float(nearer[free].mean())}
    yield from numbers(STUDY, "dynamics", "mnm", share)


def _drift(grid: Grid, model: np.ndarray, state: int) -> dict[str, float]:
    """Mean move from a cell under actions drawn uniformly: no move at all, where noise is even."""
    cells = np.array([grid.cell(other) for other in range(grid.size**2)])
    by = model[state].mean(0) @ (cells - cells[state])
    return {"drift_row": by[0], "drift_column": by[1]}


def _distances(grid: Grid) -> np.ndarray:
    """Moves from each cell to the goal: [S]; from walls, as many as there are states."""
    distance = np.full(grid.size**2, float(grid.size**2))
    waiting = [grid.goal]
    distance[grid.state(grid.goal)] = 0
    for cell in waiting:
        for move in grid.moves:
            back = grid.after(cell, (-move[0], -move[1]))
            if distance[grid.state(back)] > distance[grid.state(cell)] + 1:
                distance[grid.state(back)] = distance[grid.state(cell)] + 1
                waiting.append(back)
    return distance


def _coarse() -> Rows:
    """Nothing here is random: world, models and policies are all deterministic."""
    grid = obstacle_grid()
    for variant, policy in coarse_policies(grid).items():
        found = {"success": success(grid, policy), "return": expected_return(grid.mdp, policy)}
        yield from numbers(STUDY, "coarse", variant, found)
        cell = grid.start
        for step in range(STEPS + 1):
            where = {"iteration": step, "row": cell[0], "column": cell[1]}
            yield from numbers(STUDY, "paths", variant, {"visited": 1.0}, **where)
            cell = grid.after(cell, grid.moves[policy[grid.state(cell)].argmax()])


def coarse_policies(grid: Grid) -> dict[str, np.ndarray]:
    """Policies trained in exact and coarse models, with and without a classifier: [S, A] each."""
    blocks, real = Blocks(grid), grid.mdp.transitions
    mnm, without = METHODS["mnm"], METHODS["mnm_no_classifier"]
    costs: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
        "exact": lambda model: log_ratio_cost(grid.mdp, model),
        "by_displacement": lambda model: blocks.cost_by_displacement(real, model),
        "by_next_cell": lambda model: blocks.cost_by_next_cell(real, model),
    }

    def trained(method: Any, kind: str = "exact", *, coarse: bool = True) -> np.ndarray:
        found = solve(
            grid.mdp,
            method,
            iterations=COARSE_ITERATIONS,
            prediction=blocks.predict if coarse else None,
            cost=lambda model: np.minimum(costs[kind](model), MOST_COST),
        )
        return last(found).best

    return {
        "mnm": trained(mnm, coarse=False),
        "mnm_coarse": trained(mnm),
        "mnm_coarse_no_classifier": trained(without),
        # The text says that the classifier is limited too; the notebook's is exact: deviation M6.
        "mnm_coarse_by_displacement": trained(mnm, "by_displacement"),
        "mnm_coarse_by_next_cell": trained(mnm, "by_next_cell"),
    }


def success(grid: Grid, policy: np.ndarray, steps: int = STEPS) -> float:
    """Probability that a policy [S, A] is in the goal within so many steps, in the real dynamics."""
    chain: np.ndarray = np.array(grid.mdp.chain(policy))
    goal = grid.state(grid.goal)
    chain[goal] = np.eye(len(chain))[goal]
    return float((grid.mdp.initial @ np.linalg.matrix_power(chain, steps))[goal])
