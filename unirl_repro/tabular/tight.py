r"""mnm's tight bound (Appendix A, Eq. 10): the horizon H is a latent variable too.

With :math:`\sum_t \gamma^t r_t` read as a sum over horizons, any q(H) and any dynamics that have
p's initial states and policy give

.. math:: \log \mathrm{E}_p \sum_t \gamma^t r_t \ge \mathrm{E}_{q(H)} \mathrm{E}_{q(\tau|H)} \Big[
    \log r(s_H, a_H) + H \log \gamma + \sum_{t<H} \log \frac{p}{q}(s_{t+1}|s_t, a_t)
    - \log q(H) \Big].

Our copy lacks the appendix; the published notebook computes this for a Markov model: deviation M22.
Three kinds of q, each at least as large as the one before at its optimum:

- a Markov model and a q(H) apart from it (`tight_bound`), as the notebook has it;
- a model for each number of steps k = H - t that are left (`time_to_go_bound`);
- a model that decides at each step, knowing state and action, whether this is H (`stopping_bound`):
  the most general one, which needs neither a clock nor memory.

The last two are equal to the logarithm of the return where the policy is deterministic and there is
one initial state. Otherwise a gap remains, since q may not choose actions or initial states.

Finitely many horizons are summed, which leaves a bound: q(H) is zero beyond. Sizes in comments:
S states, A actions, N horizons.
"""

import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from scipy import special

from unirl_repro.tabular.bounds import log_partition, log_ratio_cost, reachable, tilted_model
from unirl_repro.tabular.mdp import MDP, MDPError, check_distribution, check_positive, greedy

REMAINDER = 1e-12  # largest share of the return that comes after the last horizon
TOLERANCE = 1e-13  # of the optimal stopping model's values
MOST_STEPS = 1000


def num_horizons(mdp: MDP, remainder: float = REMAINDER) -> int:
    """How many horizons hold all of the return but a share of `remainder`, for every policy.

    What comes after N is at most gamma^N r_max / (1 - gamma); all is at least r_min / (1 - gamma).
    """
    check_positive(mdp.rewards)
    if mdp.discount == 0:
        return 1
    spread = mdp.rewards.max() / mdp.rewards.min()
    return 1 + int(np.ceil(np.log(remainder / spread) / np.log(mdp.discount)))


def tight_bound(mdp: MDP, model: np.ndarray, policy: np.ndarray) -> float:
    """Eq. 10 with a Markov model, at the best q(H) for it.

    It is at least `bounds.mnm_bound`, with or without its extra discount: those are the value at
    the geometric q(H), and less. Finite for every model, since H may be 0.
    """
    return float(special.logsumexp(horizon_terms(mdp, model, policy)))


def horizon_terms(mdp: MDP, model: np.ndarray, policy: np.ndarray) -> np.ndarray:
    """What Eq. 10 takes the mean of over q(H), without - log q(H): [N].

    The best q(H) is proportional to its exponential.
    """
    check_distribution("policy", policy, mdp.rewards.shape)
    check_positive(mdp.rewards)
    cost, chain = log_ratio_cost(mdp, model), mdp.with_transitions(model).chain(policy)
    states, paid, terms = mdp.initial, 0.0, []
    for horizon in range(num_horizons(mdp)):
        visits = states[:, None] * policy  # [S, A]
        earned = _mean(visits, np.log(mdp.rewards)).sum()
        terms.append(special.xlogy(horizon, mdp.discount) + earned - paid)
        paid += _mean(visits, cost).sum()
        states = states @ chain
    return np.array(terms)


def at_horizons(terms: np.ndarray, probabilities: np.ndarray) -> float:
    """Eq. 10 at any q(H) [N], from `horizon_terms` or `time_to_go_terms`."""
    check_distribution("probabilities", probabilities, terms.shape)
    return float(_mean(probabilities, terms) + special.entr(probabilities).sum())


def time_to_go_bound(mdp: MDP, models: Iterable[np.ndarray], policy: np.ndarray) -> float:
    """Eq. 10 with a model for each number of steps left, at the best q(H).

    Parameters
    ----------
    mdp : MDP
        True dynamics p, and rewards above 0.
    models : iterable of (S, A, S) arrays
        The model of a transition after which k steps are left, for k = 0, 1, ...; with fewer than
        `num_horizons` of them, H ends with them.
    policy : (S, A) array
        pi(a | s).
    """
    return float(special.logsumexp(time_to_go_terms(mdp, models, policy)))


def time_to_go_terms(mdp: MDP, models: Iterable[np.ndarray], policy: np.ndarray) -> np.ndarray:
    """As `horizon_terms`: [N], or shorter where there are fewer models."""
    check_distribution("policy", policy, mdp.rewards.shape)
    check_positive(mdp.rewards)
    values = _mean(policy, np.log(mdp.rewards))  # [S]: of log r_H minus the log-ratios to come
    terms = [_mean(mdp.initial, values)]
    for model in itertools.islice(models, num_horizons(mdp) - 1):
        values = _mean(policy, _mean(model, values) - log_ratio_cost(mdp, model))
        earned = _mean(mdp.initial, values)
        terms.append(special.xlogy(len(terms), mdp.discount) + earned)
    return np.array(terms)


def reward_tilted_dynamics(mdp: MDP, policy: np.ndarray) -> Iterator[np.ndarray]:
    """q ∝ p m_k for k steps left, with m_k(s) = E_p[r_k | s_0 = s]: p given that H pays.

    For a deterministic policy these are the best dynamics; for others, see `best_dynamics`.
    """
    chain, rewards = mdp.chain(policy), _mean(policy, mdp.rewards)
    while True:
        yield tilted_model(mdp, np.log(rewards), 1)
        rewards = chain @ rewards


def best_dynamics(mdp: MDP, policy: np.ndarray) -> Iterator[np.ndarray]:
    """The dynamics that maximise Eq. 10 at every q(H), among all that may know H and the past.

    q ∝ p e^{W_k} with W_0 = E_pi[log r] and W_k = E_pi[log E_p e^{W_{k-1}}]: the logarithm stands
    inside the mean over actions, as q does not choose them.
    """
    values = _mean(policy, np.log(mdp.rewards))
    while True:
        yield tilted_model(mdp, values, 1)
        values = _mean(policy, log_partition(mdp, values, 1))


class Stopping(NamedTuple):
    """A model that also decides when H is."""

    model: np.ndarray  # [S, A, S]: q(s' | s, a, H is later)
    stop: np.ndarray  # [S, A]: q(H is now | s, a, H is not before), above 0


def stopping_bound(mdp: MDP, stopping: Stopping, policy: np.ndarray) -> float:
    """Eq. 10 with an H that is decided on the way, by a linear solve; exact, with all horizons."""
    check_distribution("policy", policy, mdp.rewards.shape)
    imagined = mdp.with_transitions(stopping.model)
    goes_on = policy * (1 - stopping.stop)
    visited = reachable(imagined, goes_on)[:, None] & (policy > 0)
    rewards = _stopping_rewards(mdp, stopping)
    if np.isneginf(rewards[visited]).any():
        return -np.inf
    rewards = _mean(policy, np.where(visited, rewards, 0))
    return float(mdp.initial @ _until_stopped(imagined, goes_on, rewards))


def best_stopping(mdp: MDP, policy: np.ndarray) -> Stopping:
    """The maximiser of `stopping_bound`: no q with p's policy and initial states does better.

    Its values solve U = E_pi[log(r + gamma E_p e^U)]. For a deterministic policy e^U is the return
    V, so q(s') ∝ p V(s') and H is now with probability r / V. Newton's method.
    """
    stopping = Stopping(mdp.transitions, np.full(mdp.rewards.shape, 1 - mdp.discount))
    for _ in range(MOST_STEPS):
        values = _stopping_values(mdp, stopping, policy)
        total = mdp.rewards + mdp.discount * np.exp(log_partition(mdp, values, 1))
        stopping = Stopping(tilted_model(mdp, values, 1), mdp.rewards / total)
        error = np.abs(_mean(policy, np.log(total)) - values).max()
        if error <= TOLERANCE * max(1, np.abs(values).max()) / (1 - mdp.discount):
            return stopping
    raise MDPError(f"the best stopping model is still {error} away after {MOST_STEPS} steps")


def improve_stopping_policy(mdp: MDP, stopping: Stopping, policy: np.ndarray) -> np.ndarray:
    """A deterministic policy of at least the same `stopping_bound`; the model stays in p's support.

    After `best_stopping` for a deterministic policy this is policy iteration on the true MDP: the
    value of each action is log(r + gamma E_p V). So coordinate ascent finds an optimal policy.
    """
    values = _stopping_values(mdp, stopping, policy)
    later = (1 - stopping.stop) * mdp.with_transitions(stopping.model).expect(values)
    return greedy(_stopping_rewards(mdp, stopping) + later)


def _stopping_values(mdp: MDP, stopping: Stopping, policy: np.ndarray) -> np.ndarray:
    """Eq. 10 from each state: [S]."""
    rewards = _mean(policy, _stopping_rewards(mdp, stopping))
    goes_on = policy * (1 - stopping.stop)
    return _until_stopped(mdp.with_transitions(stopping.model), goes_on, rewards)


def _stopping_rewards(mdp: MDP, stopping: Stopping) -> np.ndarray:
    """What a step adds to Eq. 10, its mean over stopping and over the next state: [S, A]."""
    check_positive(mdp.rewards)
    stop, later = stopping.stop, 1 - stopping.stop
    if not ((stop > 0) & (stop <= 1)).all():
        raise MDPError("stop must be above 0 and at most 1 for every state and action")
    cost = np.where(later > 0, log_ratio_cost(mdp, stopping.model), 0)  # none without a next step
    earned = stop * np.log(mdp.rewards) + special.xlogy(later, mdp.discount) - later * cost
    return earned + special.entr(stop) + special.entr(later)


def _until_stopped(imagined: MDP, goes_on: np.ndarray, rewards: np.ndarray) -> np.ndarray:
    """Sum of rewards [S] up to H, where an action is taken and H is later with `goes_on`: [S]."""
    return np.linalg.solve(np.eye(imagined.num_states) - imagined.chain(goes_on), rewards)


def _mean(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Mean over the last axis; an infinite value without weight counts for nothing."""
    return (weights * np.where(weights > 0, values, 0)).sum(-1)
