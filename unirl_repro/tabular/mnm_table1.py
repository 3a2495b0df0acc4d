"""mnm Table 1: what four lower bounds have and lack, each cell decided by a computation.

What a row means here (deviation M25), of a bound as a function of model and policy:

- holds globally: no violation in any random or adversarial MDP, model and policy;
- efficient to compute: the samples for a given error grow by less than the root of the number of
  states;
- unified objective: its authors' updates of the model and of the policy never lower it;
- tight at optimality: at its best model and policy it equals what it bounds.

Bounds on the return are compared relative to it, those on its logarithm in nats. Panels: `printed`,
`computed` and `agrees` hold a cell as 1 or 0; `evidence` the numbers behind it, `iteration` being a
number of states where there is one.
"""

import itertools
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
    with_log_rewards,
)
from unirl_repro.tabular.frame import frame, numbers
from unirl_repro.tabular.mdp import MDP, expected_return, greedy, uniform, value_iteration
from unirl_repro.tabular.related_bounds import (
    Neighbourhood,
    coupled_distance,
    luo_bound,
    sampled_distance,
    simulation_lemma_bound,
)
from unirl_repro.tabular.tight import (
    Stopping,
    best_dynamics,
    best_stopping,
    improve_stopping_policy,
    stopping_bound,
    tight_bound,
    time_to_go_bound,
)

STUDY = "mnm_table1"
BOUNDS = ("luo", "kearns_singh", "mnm_eq_2", "mnm_eq_10")
PRINTED = {
    "holds_globally": (False, True, True, True),
    "efficient_to_compute": (True, False, True, True),
    "unified_objective": (False, False, True, True),
    "tight_at_optimality": (False, True, False, True),
}
STATES, ACTIONS, DISCOUNT = 4, 2, 0.9
TRIALS = 60  # random MDPs, models and policies a seed
RADIUS = 0.02  # of Luo's neighbourhood, total variation
SIZES = (8, 16, 32, 64, 128)  # numbers of states
WORLDS = 5  # of each number of states
SUCCESSORS = 3  # of a state and action, at every size
STEPS = 12  # of each algorithm
BATCH = 40  # transitions that are counted between two models
NATS, RELATIVE, NORMAL = 0.1, 0.1, 1.96  # half-width of a 95% interval, of a log and of a return
ROUNDING = 1e-9
Rows = list[dict[str, Any]]
Cells = dict[str, dict[str, float]]  # by bound and by name


def run(seeds: int) -> pd.DataFrame:
    """The table: evidence of each seed, and verdicts from all of it.

    Returns
    -------
    DataFrame
        Columns of `tabular.frame`; `variant` is the bound, and in the panels of verdicts `name` the
        table's row. Why each cell is as it is, says `tables.mnm_table1`.
    """
    rows: Rows = []
    for seed in range(seeds):
        keys = Keys(seed, phase=STUDY)
        for part in (_violations(keys), _descents(keys), _gaps(keys)):
            for bound, values in part.items():
                rows += numbers(STUDY, "evidence", bound, values, seed=seed)
        for size in SIZES:
            for bound, needed in _samples_needed(keys(f"size {size}"), size).items():
                where = {"seed": seed, "iteration": size}
                rows += numbers(STUDY, "evidence", bound, {"samples_needed": needed}, **where)
    return frame(rows + _verdicts(frame(rows)))


def _verdicts(evidence: pd.DataFrame) -> Rows:
    rows: Rows = []
    for column, bound in enumerate(BOUNDS):
        found = evidence[evidence["variant"] == bound]
        largest = found.groupby("name")["value"].max()
        growth = _growth(found[found["name"] == "samples_needed"])
        rows += numbers(STUDY, "evidence", bound, {"growth_exponent": growth})
        computed = {
            "holds_globally": largest["largest_violation"] <= ROUNDING,
            "efficient_to_compute": growth < 0.5,
            "unified_objective": largest["share_of_steps_down"] == 0,
            "tight_at_optimality": largest["gap_at_optimum"] <= ROUNDING,
        }
        printed = {name: cells[column] for name, cells in PRINTED.items()}
        agrees = {name: computed[name] == printed[name] for name in PRINTED}
        for panel, cells in (("printed", printed), ("computed", computed), ("agrees", agrees)):
            rows += numbers(STUDY, panel, bound, cells)
    return rows


def _growth(samples: pd.DataFrame) -> float:
    """Slope of the logarithm of the samples over that of the states."""
    return float(np.polyfit(np.log(samples["iteration"]), np.log(samples["value"]), 1)[0])


# --- Does it hold globally?


def _violations(keys: Keys) -> Cells:
    """Bound less what it bounds, the largest of many."""
    rng = keys("violations")
    worst = dict.fromkeys(BOUNDS, -np.inf)
    nearby = -np.inf
    for _ in range(TRIALS):
        mdp, model, reference, policy = _random_case(rng)
        for bound, value in _excesses(mdp, model, policy).items():
            worst[bound] = max(worst[bound], value)
        close = (1 - RADIUS) * reference + RADIUS * policy
        nearby = max(nearby, _luo_excess(mdp, model, close, reference))
    mdp, model, stays, enters = _unvisited_room(rng)
    worst["luo"] = _luo_excess(mdp, model, enters, stays)
    violations = {bound: {"largest_violation": value} for bound, value in worst.items()}
    violations["luo"]["largest_violation_nearby"] = nearby
    return violations


def _excesses(mdp: MDP, model: np.ndarray, policy: np.ndarray) -> dict[str, float]:
    """Each global bound less what it bounds; mnm's at their maxima over all models."""
    reached = expected_return(mdp, policy)
    simple = optimal_model(with_log_rewards(mdp), policy, extra_discount=True)
    lemma = max(simulation_lemma_bound(mdp, q, policy) for q in (model, mdp.transitions))
    tight = stopping_bound(mdp, best_stopping(mdp, policy), policy)
    return {
        "kearns_singh": lemma / reached - 1,
        "mnm_eq_2": mnm_bound(mdp, simple, policy, extra_discount=True) - np.log(reached),
        "mnm_eq_10": tight - np.log(reached),
    }


def _luo_excess(mdp: MDP, model: np.ndarray, policy: np.ndarray, reference: np.ndarray) -> float:
    near = Neighbourhood(reference, RADIUS)
    promised = luo_bound(mdp, model, policy, near, sampled_distance(mdp, model))
    return promised / expected_return(mdp, policy) - 1


def _unvisited_room(rng: np.random.Generator) -> tuple[MDP, np.ndarray, np.ndarray, np.ndarray]:
    """MDP, a model that is wrong in one room, a reference that never enters it, and one that does.

    Action 1 leads from state 0 to room 2, from where the model sees a treasure.
    """
    transitions = np.repeat(np.eye(5)[:, None], ACTIONS, axis=1)
    transitions[0] = np.eye(5)[[1, 2]]
    transitions[2] = np.eye(5)[3]
    model = transitions.copy()
    model[2] = np.eye(5)[4]
    pay = np.array([1.0, 1.0, 1.0, 1.0, rng.uniform(5, 50)])
    mdp = MDP(transitions, np.repeat(pay[:, None], ACTIONS, axis=1), np.eye(5)[0], 0.5)
    return mdp, model, np.eye(ACTIONS)[[0] * 5], np.eye(ACTIONS)[[1] * 5]


# --- Is it efficient to compute?


def _samples_needed(rng: np.random.Generator, size: int) -> dict[str, float]:
    """Trajectories for the half-width; of Kearns and Singh's, transitions to notice one wrong pair.

    The latter are of the most favourable kind, drawn evenly from all states and actions, and 95%
    sure. Variances are exact, and their means over some worlds.
    """
    found = [_samples_of(*_sparse_mdp(rng, size)) for _ in range(WORLDS)]
    needed = {bound: float(np.mean([one[bound] for one in found])) for bound in found[0]}
    return needed | {"kearns_singh": float(np.log(0.05) / np.log1p(-1 / (size * ACTIONS)))}


def _samples_of(mdp: MDP, model: np.ndarray) -> dict[str, float]:
    policy = uniform(mdp)
    ratio = np.log(np.where(model > 0, mdp.transitions, 1) / np.where(model > 0, model, 1))
    terms = with_log_rewards(mdp).rewards[..., None] + ratio
    weights = policy[..., None] * model
    eq_2 = _variance(mdp.initial, weights, terms, terms**2, mdp.discount)
    scale = (NORMAL / NATS) ** 2
    return {
        "luo": _luo_samples(mdp, model, policy),
        "mnm_eq_2": scale * eq_2,
        "mnm_eq_10": scale * _eq_10_variance(mdp, weights, ratio),
    }


def _luo_samples(mdp: MDP, model: np.ndarray, policy: np.ndarray) -> float:
    """For the model's return and for the discrepancy, from as many trajectories of each."""
    pay = np.broadcast_to(mdp.rewards[..., None], model.shape)
    imagined = _variance(mdp.initial, policy[..., None] * model, pay, pay**2, mdp.discount)
    cost = mdp.discount * np.ptp(mdp.rewards) / (1 - mdp.discount)  # of a wrong next state
    missed = 1 - model  # the probability that the model's next state is not the true one, s'
    weights = policy[..., None] * mdp.transitions
    distance = _variance(mdp.initial, weights, cost * missed, cost**2 * missed, mdp.discount)
    allowed = RELATIVE * expected_return(mdp, policy)
    return float(NORMAL**2 * (imagined + distance) / allowed**2)


def _eq_10_variance(mdp: MDP, weights: np.ndarray, ratio: np.ndarray) -> float:
    """Of one sample of Eq. 10 with a geometric horizon: one more state is where H has been."""
    size, stop = mdp.num_states, 1 - mdp.discount
    steps = np.zeros((size + 1, mdp.num_actions, size + 1))
    steps[:size, :, :size] = mdp.discount * weights
    steps[:size, :, size] = stop * weights.sum(-1)
    terms = np.zeros_like(steps)
    terms[:size, :, :size], terms[:size, :, size] = ratio, np.log(mdp.rewards / stop)
    return _variance(np.append(mdp.initial, 0), steps, terms, terms**2, 1.0)


def _variance(
    initial: np.ndarray,
    weights: np.ndarray,
    means: np.ndarray,
    squares: np.ndarray,
    discount: float,
) -> float:
    """Variance of sum gamma^t x_t, from its second moment (Sobel 1982).

    `weights` [S, A, S] are pi(a | s) q(s' | s, a), and may sum to less than 1; `means` and
    `squares` are of x_t, given s, a and s'.
    """
    chain, eye = weights.sum(1), np.eye(len(weights))
    mean = np.linalg.solve(eye - discount * chain, (weights * means).sum((1, 2)))
    moments = (weights * (squares + 2 * discount * means * mean)).sum((1, 2))
    second = np.linalg.solve(eye - discount**2 * chain, moments)
    return float(initial @ second - (initial @ mean) ** 2)


# --- Is it one objective for both updates?


def _descents(keys: Keys) -> Cells:
    """Share of its authors' updates, of the model or the policy, that lower the bound."""
    mdp = _random_mdp(keys("descents"))
    courses = {
        "luo": _luo_course(mdp, keys("luo")),
        "kearns_singh": _counting_course(mdp, keys("counts")),
        "mnm_eq_2": _eq_2_course(mdp),
        "mnm_eq_10": _eq_10_course(mdp),
    }
    return {
        bound: {"share_of_steps_down": float(np.mean(np.diff(course) < -ROUNDING))}
        for bound, course in courses.items()
    }


def _luo_course(mdp: MDP, rng: np.random.Generator) -> list[float]:
    """The meta-algorithm's joint maximum, near one reference policy, taken argument by argument."""
    near = Neighbourhood(uniform(mdp), RADIUS)

    def value(model: np.ndarray, policy: np.ndarray) -> float:
        return luo_bound(mdp, model, policy, near, sampled_distance(mdp, model))

    model, policy = _random_transitions(rng), near.reference
    course = [value(model, policy)]
    for _ in range(STEPS):
        others = [(1 - RADIUS) * near.reference + RADIUS * _random_policy(rng) for _ in range(20)]
        policy = max([policy, *others], key=lambda one: value(model, one))
        course.append(value(model, policy))
        mixed = [0.8 * model + 0.2 * _random_transitions(rng) for _ in range(20)]
        model = max([model, *mixed], key=lambda one: value(one, policy))
        course.append(value(model, policy))
    return course


def _counting_course(mdp: MDP, rng: np.random.Generator) -> list[float]:
    """Kearns and Singh's model is the frequencies of what has been seen; the policy its best."""
    counts = np.full((STATES, ACTIONS, STATES), 1 / STATES)
    model, policy = counts / counts.sum(-1, keepdims=True), uniform(mdp)
    course = [simulation_lemma_bound(mdp, model, policy)]
    for _ in range(STEPS):
        policy = value_iteration(mdp.with_transitions(model)).policy
        course.append(simulation_lemma_bound(mdp, model, policy))
        counts = counts + rng.multinomial(BATCH // mdp.rewards.size, mdp.transitions)
        model = counts / counts.sum(-1, keepdims=True)
        course.append(simulation_lemma_bound(mdp, model, policy))
    return course


def _eq_2_course(mdp: MDP) -> list[float]:
    logs, model, policy = with_log_rewards(mdp), mdp.transitions, uniform(mdp)
    course = [mnm_bound(mdp, model, policy)]
    for _ in range(STEPS):
        policy = improve_policy(logs, model)
        course.append(mnm_bound(mdp, model, policy))
        model, _ = improve_model(logs, model, policy)
        course.append(mnm_bound(mdp, model, policy))
    return course


def _eq_10_course(mdp: MDP) -> list[float]:
    policy = uniform(mdp)
    stopping = Stopping(mdp.transitions, np.full(mdp.rewards.shape, 1 - mdp.discount))
    course = [stopping_bound(mdp, stopping, policy)]
    for _ in range(STEPS):
        policy = improve_stopping_policy(mdp, stopping, policy)
        course.append(stopping_bound(mdp, stopping, policy))
        stopping = best_stopping(mdp, policy)
        course.append(stopping_bound(mdp, stopping, policy))
    return course


# --- Is it tight at optimality?


def _gaps(keys: Keys) -> Cells:
    """What each bound lacks at its maximum over models and policies, in a random world."""
    mdp = _random_mdp(keys("gaps"))
    best = value_iteration(mdp).policy
    policy, model = joint_optimum(with_log_rewards(mdp))
    log_best, reached = (np.log(expected_return(mdp, one)) for one in (best, policy))
    simple = reached - mnm_bound(mdp, model, policy)
    clocked = time_to_go_bound(mdp, best_dynamics(mdp, best), best)
    return {
        "luo": _luo_gaps(mdp, best),
        "kearns_singh": {"gap_at_optimum": -_simulation_excess(mdp, best)},
        "mnm_eq_2": {"gap_at_optimum": simple, "regret": log_best - reached},
        "mnm_eq_10": {
            "gap_at_optimum": log_best - stopping_bound(mdp, best_stopping(mdp, best), best),
            "gap_with_a_clock": log_best - clocked,
            "gap_of_a_markov_model": log_best - tight_bound(mdp, model, best),
        },
    }


def _simulation_excess(mdp: MDP, policy: np.ndarray) -> float:
    reached = expected_return(mdp, policy)
    return simulation_lemma_bound(mdp, mdp.transitions, policy) / reached - 1


def _luo_gaps(mdp: MDP, policy: np.ndarray) -> dict[str, float]:
    """With the policy as its own reference: at the true model and, if better, a deterministic one.

    No model closes the gap where p has three successors. It would have to have (p - q) V at its
    extreme and no chance of two different next states but by q, so all of p's mass would be at the
    lowest and the highest V.
    """
    here, reached = Neighbourhood(policy, 0.0), expected_return(mdp, policy)

    def gap(model: np.ndarray, distance: np.ndarray) -> float:
        return 1 - luo_bound(mdp, model, policy, here, distance) / reached

    true = mdp.transitions
    sure = (
        np.repeat(np.eye(STATES)[list(after), None], ACTIONS, axis=1)
        for after in itertools.product(range(STATES), repeat=STATES)
    )
    smallest = min(gap(model, sampled_distance(mdp, model)) for model in (true, *sure))
    return {
        "gap_at_optimum": smallest,
        "gap_at_true_model": gap(true, sampled_distance(mdp, true)),
        "gap_with_coupling": gap(true, coupled_distance(mdp, true)),
    }


# --- Random worlds


def _random_mdp(rng: np.random.Generator) -> MDP:
    """One initial state, and rewards over two orders of magnitude: deviation M24."""
    rewards = 0.1 * 100 ** rng.random((STATES, ACTIONS))
    return MDP(_random_transitions(rng), rewards, np.eye(STATES)[0], DISCOUNT)


def _random_case(rng: np.random.Generator) -> tuple[MDP, np.ndarray, np.ndarray, np.ndarray]:
    """An MDP, a model, and two policies."""
    return _random_mdp(rng), _random_transitions(rng), _random_policy(rng), _random_policy(rng)


def _random_transitions(rng: np.random.Generator) -> np.ndarray:
    return rng.dirichlet(np.full(STATES, 0.5), (STATES, ACTIONS))


def _random_policy(rng: np.random.Generator) -> np.ndarray:
    return greedy(rng.random((STATES, ACTIONS)))


def _sparse_mdp(rng: np.random.Generator, size: int) -> tuple[MDP, np.ndarray]:
    """An MDP with as many successors at every size, and a model half as wrong as a random one."""
    after = np.argsort(rng.random((size, ACTIONS, size)), axis=-1)[..., :SUCCESSORS]
    true, model = np.zeros((2, size, ACTIONS, size))
    shares, other = rng.dirichlet(np.ones(SUCCESSORS), (2, size, ACTIONS))
    np.put_along_axis(true, after, shares, axis=-1)
    np.put_along_axis(model, after, (shares + other) / 2, axis=-1)
    rewards = rng.uniform(0.5, 1.5, (size, ACTIONS))
    return MDP(true, rewards, np.full(size, 1 / size), DISCOUNT), model
