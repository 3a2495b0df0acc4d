"""mnm Appendix A: how far below the log of the return the bounds are, and that Eq. 10 reaches it.

Panels: `grid` follows exact steps that raise Eq. 2 on the world of Figure 2a, and `grid_eq_9` steps
that raise the variant which Eq. 9 as printed belongs to; `optimum` compares the policies at the
maxima with the best; `model_step` and `trajectories` hold what Eq. 9's missing discount and the
q*(tau) of Sec. 3 amount to; `random` shows gaps at the best models of random MDPs, a world a seed.
"""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from unirl_repro.rng import Keys
from unirl_repro.tabular.bounds import (
    improve_model,
    improve_policy,
    joint_optimum,
    mnm_bound,
    optimal_model,
    tilted_model,
    with_log_rewards,
)
from unirl_repro.tabular.frame import frame, numbers
from unirl_repro.tabular.mdp import MDP, expected_return, greedy, uniform, value_iteration
from unirl_repro.tabular.tight import (
    best_dynamics,
    best_stopping,
    reward_tilted_dynamics,
    stopping_bound,
    tight_bound,
    time_to_go_bound,
)
from unirl_repro.tabular.worlds import stochastic_grid

STUDY = "mnm_tight_bound"
REWARDS = (10.0, 1.0)  # in the goal and elsewhere: those of Figure 3b in the published notebook
ITERATIONS = 5  # by then neither step gains
STATES, ACTIONS, DISCOUNT = 6, 3, 0.9  # of a random MDP: deviation M24
Rows = list[dict[str, Any]]


def run(seeds: int) -> pd.DataFrame:
    """All panels; `seeds` is the number of random MDPs.

    Returns
    -------
    DataFrame
        Columns of `tabular.frame`. Values are in nats but for `probability`. In the panels of the
        grid iteration 0 is the uniform policy and the true model.
    """
    grid = stochastic_grid(REWARDS).mdp
    rows = [
        *_course(grid, "grid", extra_discount=False),
        *_course(grid, "grid_eq_9", extra_discount=True),
        *_optima(grid),
        *_model_step(grid),
        *_trajectories(),
    ]
    for seed in range(seeds):
        rows += _random_gaps(seed)
    return frame(rows)


def alternate(mdp: MDP, *, extra_discount: bool) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Policies and models, each pair one exact step of either after the one before.

    From the uniform policy and the true model. The bound never falls and nothing needs damping,
    as it does in the notebook, whose values are of Eq. 2 and whose model step is not.
    """
    policy, model, logs = uniform(mdp), mdp.transitions, with_log_rewards(mdp)
    while True:
        yield policy, model
        policy = improve_policy(logs, model, extra_discount)
        model, _ = improve_model(logs, model, policy, extra_discount)


def random_mdp(seed: int) -> MDP:
    """A random MDP with one initial state and rewards over two orders of magnitude."""
    rng = Keys(seed, phase=STUDY)("mdp")
    transitions = rng.dirichlet(np.full(STATES, 0.5), (STATES, ACTIONS))
    rewards = 0.1 * 100 ** rng.random((STATES, ACTIONS))
    return MDP(transitions, rewards, np.eye(STATES)[0], DISCOUNT)


def _course(mdp: MDP, panel: str, *, extra_discount: bool) -> Rows:
    rows: Rows = []
    pairs = itertools.islice(alternate(mdp, extra_discount=extra_discount), ITERATIONS + 1)
    for iteration, (policy, model) in enumerate(pairs):
        values = {"log_return": _log_return(mdp, policy)} | _bounds(mdp, policy, model)
        for variant, value in values.items():
            rows += numbers(STUDY, panel, variant, {"value": value}, iteration=iteration)
    return rows


def _bounds(mdp: MDP, policy: np.ndarray, model: np.ndarray) -> dict[str, float]:
    """Every bound for a policy; those of a Markov model at this one, the others at their best."""
    dynamics = best_dynamics(mdp, policy)
    return {
        "eq_2": mnm_bound(mdp, model, policy),
        "extra_discount": mnm_bound(mdp, model, policy, extra_discount=True),
        "tight_markov": tight_bound(mdp, model, policy),
        "tight_time_to_go": time_to_go_bound(mdp, dynamics, policy),
        "tight_stopping": stopping_bound(mdp, best_stopping(mdp, policy), policy),
    }


def _optima(mdp: MDP) -> Rows:
    """The largest value of each bound, and what the policy there earns.

    That of Eq. 10 is at the best policy, as it is tight at each deterministic one.
    """
    best = value_iteration(mdp).policy
    rows: Rows = []
    for variant, extra_discount in (("eq_2", False), ("extra_discount", True)):
        policy, model = joint_optimum(with_log_rewards(mdp), extra_discount)
        bound = mnm_bound(mdp, model, policy, extra_discount)
        rows += _optimum(mdp, variant, policy, bound, best)
    bound = stopping_bound(mdp, best_stopping(mdp, best), best)
    return rows + _optimum(mdp, "tight_stopping", best, bound, best)


def _optimum(mdp: MDP, variant: str, policy: np.ndarray, bound: float, best: np.ndarray) -> Rows:
    reached = _log_return(mdp, policy)
    values = {
        "bound": bound,
        "log_return": reached,
        "gap": reached - bound,
        "regret": _log_return(mdp, best) - reached,
    }
    return numbers(STUDY, "optimum", variant, values)


def _model_step(mdp: MDP) -> Rows:
    """Each bound at the best model of either, for the best policy: what Eq. 9's discount is for."""
    policy, logs = value_iteration(mdp).policy, with_log_rewards(mdp)
    tilts = {"gamma_v": optimal_model(logs, policy), "v": optimal_model(logs, policy, True)}
    rows: Rows = []
    for variant, model in tilts.items():
        values = {
            "eq_2": mnm_bound(mdp, model, policy),
            "extra_discount": mnm_bound(mdp, model, policy, extra_discount=True),
        }
        rows += numbers(STUDY, "model_step", variant, values)
    return rows


def _trajectories() -> Rows:
    """q*(tau) ∝ p R on a world where it is a Markov model, and Eq. 2's own best model there.

    One random step into states that last for ever: a trajectory has one of two returns.
    """
    mdp, policy = _fork(first=2.0, rewards=(0.1, 10.0), discount=0.5)
    left = 1 - mdp.discount
    log_returns = np.log(mdp.rewards[0, 0] + mdp.discount * mdp.rewards[:, 0] / left)
    models = {
        "q_star": tilted_model(mdp, log_returns, 1),
        "eq_2": optimal_model(with_log_rewards(mdp), policy),
        "extra_discount": optimal_model(with_log_rewards(mdp), policy, True),
    }
    rows: Rows = []
    for variant, model in models.items():
        values = {
            "probability": model[0, 0, 2],
            "bound": mnm_bound(mdp, model, policy),
            "log_return": _log_return(mdp, policy),
        }
        rows += numbers(STUDY, "trajectories", variant, values)
    return rows


def _fork(first: float, rewards: tuple[float, float], discount: float) -> tuple[MDP, np.ndarray]:
    """State 0 pays `first` and leads to one of two others, which last; and the only policy."""
    transitions = np.eye(3)[:, None].copy()
    transitions[0, 0] = 0, 0.5, 0.5
    pay = np.array([[first], [rewards[0]], [rewards[1]]])
    return MDP(transitions, pay, np.eye(3)[0], discount), np.ones((3, 1))


def _random_gaps(seed: int) -> Rows:
    """Log of the return less each bound at its best model, for two policies and two starts."""
    mdp = random_mdp(seed)
    rng = Keys(seed, phase=STUDY)("policy")
    spread = MDP(mdp.transitions, mdp.rewards, np.full(STATES, 1 / STATES), DISCOUNT)
    fixed, loose = greedy(rng.random((STATES, ACTIONS))), uniform(mdp)
    cases = {"deterministic": (mdp, fixed), "policy": (mdp, loose), "initial": (spread, fixed)}
    rows: Rows = []
    for case, (world, policy) in cases.items():
        logs = with_log_rewards(world)
        bounds = _bounds(world, policy, optimal_model(logs, policy, extra_discount=True))
        bounds["eq_2"] = mnm_bound(world, optimal_model(logs, policy), policy)
        tilted = reward_tilted_dynamics(world, policy)
        bounds["tight_reward_tilted"] = time_to_go_bound(world, tilted, policy)
        for variant, bound in bounds.items():
            gap = {f"gap_{case}": _log_return(world, policy) - bound}
            rows += numbers(STUDY, "random", variant, gap, seed=seed)
    return rows


def _log_return(mdp: MDP, policy: np.ndarray) -> float:
    return float(np.log(expected_return(mdp, policy)))
