"""mnm Figure 3: which risk each method takes, and on which side of the return its objective lies.

Panels of the frame: `risk` (a: three states in a row) and `bounds` (b: objectives through the
iterations of MnM on the grid of Figure 2a).
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from unirl_repro.tabular.bounds import mnm_bound, optimal_model, vmbpo_objective
from unirl_repro.tabular.frame import frame, numbers
from unirl_repro.tabular.mdp import MDP, evaluate, expected_return, occupancy, value_iteration
from unirl_repro.tabular.mnm import METHODS, last, return_variance, solve
from unirl_repro.tabular.tight import tight_bound
from unirl_repro.tabular.worlds import stochastic_grid, windy_line

STUDY = "mnm_fig3"
COMPARED = ("q_learning", "mnm", "vmbpo", "mnm_no_log")
REWARDS = (10.0, 1.0)  # in the goal and elsewhere: the notebook's, at which all logarithms exist
RIGHT = 2  # the windy state


def run(seeds: int) -> pd.DataFrame:
    """Compute the figure's frame: see `tabular.frame`. Nothing in it is random, so `seeds` is not used."""
    return frame([*_risk(), *_bounds()])


def _risk() -> Iterator[dict[str, Any]]:
    """Return of the policies that each method ends with, its spread, and where they stay."""
    mdp = windy_line()
    policies = {name: last(solve(mdp, METHODS[name])).best for name in COMPARED}
    for variant, policy in {"optimal": value_iteration(mdp).policy, **policies}.items():
        found = {
            "return": expected_return(mdp, policy),
            "standard_deviation": np.sqrt(max(0.0, return_variance(mdp, policy))),
            "share_right": occupancy(mdp, policy)[RIGHT].sum(),
        }
        yield from numbers(STUDY, "risk", variant, found)


def _bounds() -> Iterator[dict[str, Any]]:
    mdp = stochastic_grid(REWARDS).mdp
    for iteration, step in enumerate(solve(mdp, METHODS["mnm"])):
        for variant, value in objectives(mdp, step.model, step.policy).items():
            found = {"objective": value}
            yield from numbers(STUDY, "bounds", variant, found, iteration=iteration)


def objectives(mdp: MDP, model: np.ndarray, policy: np.ndarray) -> dict[str, float]:
    """What each method maximises, at one model and policy, as logarithms of a return.

    Returns
    -------
    dict of str to float
        log_return: of the real expected return. eq2: Eq. 2 as printed. eq2_discounted: with the
        log-ratio discounted once more, so that Eq. 9 is its model step (deviation M20). eq10: the
        tight bound for this model, which the notebook draws as the MnM objective. vmbpo: VMBPO's at
        this model, as the notebook has it; vmbpo_best: at the best model for this policy, where it
        is an upper bound. model_return: the return that the model promises.
    """
    promised = mdp.initial @ evaluate(mdp.with_transitions(model), policy)
    best = vmbpo_objective(mdp, optimal_model(mdp, policy), policy)
    return {
        "log_return": np.log(expected_return(mdp, policy)),
        "eq2": mnm_bound(mdp, model, policy),
        "eq2_discounted": mnm_bound(mdp, model, policy, extra_discount=True),
        "eq10": tight_bound(mdp, model, policy),
        "vmbpo": np.log(vmbpo_objective(mdp, model, policy)),
        "vmbpo_best": np.log(best),
        "model_return": np.log(promised),
    }
