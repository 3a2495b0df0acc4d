"""mnm Figure 13 (Appendix C): dynamics learnt on one task, used to learn others.

The appendix is missing from our copy: tasks, arms and lengths are ours, deviation M8. The source is
the task of Figure 2a; the model that MnM ends with there serves, as it is, to train for other goals.
Panels of the frame: `returns` and `speed`, a variant being `<target>/<arm>`.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from unirl_repro.rng import Keys
from unirl_repro.tabular.frame import frame, numbers
from unirl_repro.tabular.learning import (
    Exact,
    Fixed,
    Model,
    Settings,
    SideBySide,
    Successors,
    learn,
)
from unirl_repro.tabular.mdp import expected_return, greedy, value_iteration
from unirl_repro.tabular.mnm import METHODS, last, solve
from unirl_repro.tabular.worlds import stochastic_grid

STUDY = "mnm_fig13"
REWARDS = (10.0, 0.001)  # those of the learning curves of Figure 2a
TARGETS = {
    "similar": (3, 9),  # behind the wall as the source's goal (0, 9) is, three cells from it
    "halfway": (9, 9),  # on the source's side, but around the wall nobody needs to go
    "opposite": (9, 0),  # straight down from the start, away from the source's goal
}
ARMS = ("real_raw", "transferred_raw", "real_log", "transferred_log", "mnm")


def run(seeds: int) -> pd.DataFrame:
    """Compute the figure's frame: see `tabular.frame`.

    Parameters
    ----------
    seeds : int
        Runs of each arm on each target.
    """
    settings = Settings()
    curves, optima = _curves(seeds, settings)
    return frame(list(_rows(curves, optima, settings)))


def _curves(
    seeds: int, settings: Settings
) -> tuple[dict[tuple[str, str], np.ndarray], dict[str, float]]:
    """Exact return of the greedy policy through training [P, B], and of the best policy."""
    source = stochastic_grid(REWARDS).mdp
    successors = Successors.of(source.transitions)
    learnt = successors.of_model(last(solve(source, METHODS["mnm"])).model)
    targets = {name: stochastic_grid(REWARDS, goal).mdp for name, goal in TARGETS.items()}
    cells = [(target, arm) for target in targets for arm in ARMS]
    models = [
        _model(successors, learnt, METHODS[_method(arm)].rewards(targets[target]), arm, seeds)
        for target, arm in cells
    ]
    rngs = [Keys(seed, STUDY)("/".join(cell)) for cell in cells for seed in range(seeds)]
    points = []
    for _, values in learn(source, successors, SideBySide(models, seeds), rngs, settings):
        policies = greedy(values).reshape(len(cells), seeds, *values.shape[1:])
        points.append(
            [
                [expected_return(targets[target], policy) for policy in of_cell]
                for (target, _), of_cell in zip(cells, policies, strict=True)
            ]
        )
    curves = dict(zip(cells, np.array(points).swapaxes(0, 1), strict=True))
    optima = {name: expected_return(m, value_iteration(m).policy) for name, m in targets.items()}
    return curves, optima


def _method(arm: str) -> str:
    return "q_learning" if arm.endswith("raw") else "mnm"


def _model(
    successors: Successors, learnt: np.ndarray, rewards: np.ndarray, arm: str, seeds: int
) -> Model:
    """Real dynamics, the source's optimistic ones, or MnM from the start; no classifier for fixed ones."""
    task = np.broadcast_to(rewards, (seeds, *rewards.shape))
    if arm == "mnm":
        return Exact(successors, task, classifier=True)
    dynamics = learnt if arm.startswith("transferred") else successors.probability
    return Fixed(np.broadcast_to(dynamics, (seeds, *dynamics.shape)), task)


def _rows(
    curves: dict[tuple[str, str], np.ndarray], optima: dict[str, float], settings: Settings
) -> Iterator[dict[str, Any]]:
    for (target, arm), curve in curves.items():
        for seed, returns in enumerate(curve.T / optima[target]):
            for point, value in enumerate(returns):
                where = {"seed": seed, "iteration": point * settings.evaluate_every}
                yield from numbers(STUDY, "returns", f"{target}/{arm}", {"return": value}, **where)
            found = {"average": returns.mean(), "final": returns[-1]}
            yield from numbers(STUDY, "speed", f"{target}/{arm}", found, seed=seed)
