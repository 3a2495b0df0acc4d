r"""mnm's bound on the logarithm of the return (Eq. 2 and 3), VMBPO's objective, and their models.

Both are one thing: the return under a model q of a reward from which the model pays the log-ratio,

.. math:: \mathrm{E}_q \sum_t \gamma^t \left[ r(s_t, a_t) + w \log \frac{p(s_{t+1}|s_t, a_t)}
    {q(s_{t+1}|s_t, a_t)} \right],

with :math:`(1 - \gamma) \log (r / (1 - \gamma))` for r in mnm's bound, and r itself in VMBPO's. The
weight w is 1 as printed. It may be :math:`\gamma`: a transition that follows step t comes before a
geometric horizon with probability :math:`\gamma^{t+1}`, and only those need to be paid for.
Transitions are dense here. Sizes in comments: S states, A actions.
"""

import numpy as np
from scipy import sparse, special

from unirl_repro.tabular.mdp import (
    EPSILON,
    MDP,
    MDPError,
    check_distribution,
    check_positive,
    check_transitions,
    evaluate,
    expected_return,
    greedy,
    value_iteration,
)

TOLERANCE = 1e-12  # of a fixed point, relative to its largest value
MOST_STEPS = 1000  # of Newton's method, which needs about ten


def with_log_rewards(mdp: MDP) -> MDP:
    """The MDP of mnm's bound: rewards (1 - gamma) log(r / (1 - gamma)), Eq. 3 without its ratio.

    Raises
    ------
    MDPError
        If a reward is not positive; the text names it.
    """
    check_positive(mdp.rewards)
    left = 1 - mdp.discount
    return mdp.with_rewards(left * np.log(mdp.rewards / left))


def log_ratio_cost(mdp: MDP, model: np.ndarray) -> np.ndarray:
    """KL(q || p) of each state and action, in nats: [S, A]; infinite where q leaves p's support."""
    _check_dense(mdp)
    check_transitions("model", model, mdp.num_states, mdp.num_actions)
    return special.rel_entr(model, mdp.transitions).sum(-1)


def augmented_rewards(mdp: MDP, model: np.ndarray, extra_discount: bool = False) -> np.ndarray:
    """Eq. 3's reward, its expectation under the model: [S, A].

    The return of these rewards under the model is `mnm_bound`, where all are finite.

    Parameters
    ----------
    mdp : MDP
        True dynamics p, and rewards above 0.
    model : (S, A, S) array
        q(s' | s, a).
    extra_discount : bool
        Whether the log-ratio has weight gamma.

    Returns
    -------
    (S, A) array
        Minus infinity where the model leaves the support of p.
    """
    return _penalised_rewards(with_log_rewards(mdp), model, extra_discount)


def mnm_bound(
    mdp: MDP, model: np.ndarray, policy: np.ndarray, extra_discount: bool = False
) -> float:
    """Eq. 2 with Eq. 3: a lower bound on the logarithm of the expected return (Theorem 3.1).

    Parameters
    ----------
    mdp : MDP
        True dynamics p, and rewards above 0.
    model : (S, A, S) array
        q(s' | s, a), any.
    policy : (S, A) array
        pi(a | s), any.
    extra_discount : bool
        Whether the log-ratio has weight gamma; the bound is then at least as large.

    Returns
    -------
    float
        Minus infinity where policy and model visit a transition that p excludes.
    """
    return penalised_return(with_log_rewards(mdp), model, policy, extra_discount)


def vmbpo_objective(mdp: MDP, model: np.ndarray, policy: np.ndarray) -> float:
    """What VMBPO maximises: as `mnm_bound`, with the reward itself and not its logarithm.

    Its largest value over models is at least the expected return; that at one model need not be.
    """
    return penalised_return(mdp, model, policy)


def penalised_return(
    mdp: MDP, model: np.ndarray, policy: np.ndarray, extra_discount: bool = False
) -> float:
    """Return under a model that pays for its log-ratio, by a linear solve."""
    rewards = _penalised_rewards(mdp, model, extra_discount)
    imagined = mdp.with_transitions(model)
    check_distribution("policy", policy, mdp.rewards.shape)
    visited = reachable(imagined, policy)[:, None] & (policy > 0)
    if np.isneginf(rewards[visited]).any():
        return -np.inf
    return expected_return(imagined.with_rewards(np.where(visited, rewards, 0)), policy)


def reachable(mdp: MDP, policy: np.ndarray) -> np.ndarray:
    """Whether a policy can come to a state at all: [S], by exact zeros of the probabilities."""
    steps = np.asarray(mdp.chain(policy)) > 0
    seen = mdp.initial > 0
    while True:
        more = seen | steps[seen].any(0)
        if (more == seen).all():
            return seen
        seen = more


def tilted_model(mdp: MDP, values: np.ndarray, discount_on_values: float) -> np.ndarray:
    """The model q ∝ p e^{c V}, c being `discount_on_values`: the maximiser of Eq. 9 at any c.

    Eq. 9 prints c = 1, which is the exact model step of the bound with `extra_discount`. That of
    Eq. 2 has c = gamma: deviation M20.
    """
    weights, _ = _exponentials(mdp, values, discount_on_values)
    return weights / weights.sum(-1, keepdims=True)


def single_transition_objective(
    mdp: MDP, model: np.ndarray, values: np.ndarray, discount_on_values: float
) -> np.ndarray:
    """Eq. 9 with a Bayes-optimal classifier: E_q[c V(s') + log p / q], [S, A]."""
    return discount_on_values * (model @ values) - log_ratio_cost(mdp, model)


def log_partition(mdp: MDP, values: np.ndarray, discount_on_values: float) -> np.ndarray:
    """log E_p e^{c V(s')}: the largest value of Eq. 9, that of `tilted_model`: [S, A]."""
    weights, top = _exponentials(mdp, values, discount_on_values)
    return np.log(weights.sum(-1)) + top


def improve_model(
    mdp: MDP, model: np.ndarray, policy: np.ndarray, extra_discount: bool = False
) -> tuple[np.ndarray, float]:
    """One exact model step of `penalised_return`, which never falls by it.

    Returns
    -------
    model : (S, A, S) array
        The best one for the values of the old one.
    error : float
        Largest distance of the old one's values from the best model's, relative to the largest.
    """
    rewards = _penalised_rewards(mdp, model, extra_discount)
    values = evaluate(mdp.with_transitions(model).with_rewards(rewards), policy)
    exponent, weight = _exponent_and_weight(mdp, extra_discount)
    best = mdp.rewards + weight * log_partition(mdp, values, exponent)
    error = np.abs((policy * best).sum(-1) - values).max() / (1 - mdp.discount)
    return tilted_model(mdp, values, exponent), float(error / max(1, np.abs(values).max()))


def optimal_model(mdp: MDP, policy: np.ndarray, extra_discount: bool = False) -> np.ndarray:
    """The model that maximises `penalised_return` for a policy: [S, A, S].

    It is Markov and stationary, and no model that remembers more does better: the maximum over q of
    each transition is a Bellman equation with log E_p e^V for E_p V. Alternating `improve_model`
    with evaluation is Newton's method for it.
    """
    model = mdp.transitions
    for _ in range(MOST_STEPS):
        model, error = improve_model(mdp, model, policy, extra_discount)
        if error <= TOLERANCE / (1 - mdp.discount):
            return model
    raise MDPError(f"the best model is still {error} away after {MOST_STEPS} steps")


def improve_policy(mdp: MDP, model: np.ndarray, extra_discount: bool = False) -> np.ndarray:
    """The exact policy step: the best policy [S, A] in a model that stays in p's support."""
    rewards = _penalised_rewards(mdp, model, extra_discount)
    return value_iteration(mdp.with_transitions(model).with_rewards(rewards)).policy


def joint_optimum(mdp: MDP, extra_discount: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Policy and model that maximise `penalised_return` together, within `EPSILON` of the values.

    Action and model are one choice of a larger MDP: value iteration with log E_p e^V for E_p V.
    """
    exponent, weight = _exponent_and_weight(mdp, extra_discount)
    values, change = np.zeros(mdp.num_states), np.inf
    while change > EPSILON * (1 - mdp.discount) * max(1, values.max()):
        action_values = mdp.rewards + weight * log_partition(mdp, values, exponent)
        better = action_values.max(-1)
        change, values = np.ptp(better - values), better - better.min()  # a constant tilts nothing
    return greedy(action_values), tilted_model(mdp, values, exponent)


def bayes_classifier(mdp: MDP, model: np.ndarray) -> np.ndarray:
    """C(s, a, s') = p / (p + q), the optimum of Eq. 4: [S, A, S]; 1/2 where neither goes."""
    _check_dense(mdp)
    both = mdp.transitions + model
    return np.divide(mdp.transitions, both, out=np.full(both.shape, 0.5), where=both > 0)


def classifier_rewards(mdp: MDP, model: np.ndarray) -> np.ndarray:
    """Eq. 5's reward, its expectation under the model, with the Bayes-optimal classifier: [S, A].

    It drops Eq. 3's factor (1 - gamma) and its constant, so its return is no bound: deviation M21.
    """
    check_positive(mdp.rewards)
    with np.errstate(divide="ignore"):  # a classifier that is sure has infinite logits
        logits = special.logit(bayes_classifier(mdp, model))
    terms = np.where(model > 0, model * np.where(model > 0, logits, 0), 0)
    return np.log(mdp.rewards) + terms.sum(-1)


def _penalised_rewards(mdp: MDP, model: np.ndarray, extra_discount: bool) -> np.ndarray:
    cost = log_ratio_cost(mdp, model)
    _, weight = _exponent_and_weight(mdp, extra_discount)
    return mdp.rewards - (weight * cost if weight else 0)  # 0 times infinity is nothing paid


def _exponentials(mdp: MDP, values: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """p(s') e^{c V(s') - top} [S, A, S] and the largest c V(s') in p's support, top [S, A]."""
    _check_dense(mdp)
    exponents = np.where(mdp.transitions > 0, scale * values, -np.inf)
    top = exponents.max(-1)
    return mdp.transitions * np.exp(exponents - top[..., None]), top


def _exponent_and_weight(mdp: MDP, extra_discount: bool) -> tuple[float, float]:
    """c of q ∝ p e^{c V}, and w of the log-ratio: their product is gamma."""
    return (1.0, mdp.discount) if extra_discount else (mdp.discount, 1.0)


def _check_dense(mdp: MDP) -> None:
    if sparse.issparse(mdp.transitions):
        raise MDPError("transitions are sparse; allowed here: a dense (S, A, S) array")
