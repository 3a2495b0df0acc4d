r"""Two earlier lower bounds on a policy's return, as far as they can be stated for finite MDPs.

Both add up, over the policy's own way through the true MDP, what the model's next states are wrong
about its values V_q:

.. math:: V_p = V_q + \frac{\gamma}{1 - \gamma} \mathrm{E}_{\rho_p^\pi} [(p - q) V_q],

with :math:`\rho` the discounted share of time. They bound the mean differently: deviation M23.

- Kearns and Singh (2002), "Near-optimal reinforcement learning in polynomial time": by the
  largest error of any state and action. Theirs is for T steps and entries of p; this is the
  discounted form, the "simulation lemma" (see Lobel and Parr, arXiv 2406.16249).
- Luo et al. (2019), arXiv 1807.03858: by the model's mean distance from sampled next states on the
  way of a *reference* policy, which is a bound for policies near it. States are points of which any
  two are at distance 1, so a Lipschitz constant of V_q is its range.

Both are in the unit of the return; mnm's are on its logarithm.
"""

from typing import NamedTuple

import numpy as np

from unirl_repro.tabular.mdp import (
    MDP,
    check_distribution,
    check_transitions,
    evaluate,
    expected_return,
    occupancy,
)


class Neighbourhood(NamedTuple):
    """The policies that Luo's bound is for."""

    reference: np.ndarray  # [S, A]: whose trajectories of the true MDP are at hand
    radius: float  # largest total variation from it in any state


def largest_error(mdp: MDP, model: np.ndarray) -> float:
    """Largest L1 distance of the model from p, over states and actions."""
    check_transitions("model", model, mdp.num_states, mdp.num_actions)
    return float(np.abs(model - mdp.transitions).sum(-1).max())


def simulation_lemma_bound(mdp: MDP, model: np.ndarray, policy: np.ndarray) -> float:
    """Kearns and Singh's: the model's return less gamma eps range(r) / (2 (1 - gamma)^2), for all.

    (p - q) V is at most half the L1 distance times the range of V, and that at most range(r) /
    (1 - gamma).
    """
    value_range = np.ptp(mdp.rewards) / (1 - mdp.discount)
    error = mdp.discount / (1 - mdp.discount) * largest_error(mdp, model) / 2 * value_range
    return expected_return(mdp.with_transitions(model), policy) - float(error)


def sampled_distance(mdp: MDP, model: np.ndarray) -> np.ndarray:
    """Luo's discrepancy: mean distance of the model's next state from a true one: [S, A].

    Both are drawn, so trajectories suffice to estimate it, and it is above 0 wherever p is random,
    even for the true model.
    """
    return 1 - (mdp.transitions * model).sum(-1)


def coupled_distance(mdp: MDP, model: np.ndarray) -> np.ndarray:
    """The least mean distance that two next states can have, total variation: [S, A].

    0 for the true model, but to know it takes p itself and not samples.
    """
    return np.abs(mdp.transitions - model).sum(-1) / 2


def luo_bound(
    mdp: MDP, model: np.ndarray, policy: np.ndarray, near: Neighbourhood, distance: np.ndarray
) -> float:
    """Luo et al.'s: the model's return less a discrepancy on the reference policy's trajectories.

    Parameters
    ----------
    mdp : MDP
        True dynamics p.
    model : (S, A, S) array
        q(s' | s, a).
    policy : (S, A) array
        pi(a | s); the value is a bound on its return where it is inside the neighbourhood.
    near : Neighbourhood
        Reference policy and radius.
    distance : (S, A) array
        `sampled_distance` or `coupled_distance` of the model.
    """
    check_distribution("reference", near.reference, mdp.rewards.shape)
    imagined = mdp.with_transitions(model)
    values = evaluate(imagined, policy)
    states = occupancy(mdp, near.reference).sum(-1)
    scale = mdp.discount / (1 - mdp.discount) * np.ptp(values)
    # Time spent elsewhere than the reference: at most this share, at distances of at most 1.
    elsewhere = mdp.discount / (1 - mdp.discount) * near.radius
    discrepancy = scale * (states @ (policy * distance).sum(-1) + elsewhere)
    return float(mdp.initial @ values - discrepancy)


def policy_distance(policy: np.ndarray, other: np.ndarray) -> float:
    """Largest total variation between two policies [S, A] in any state."""
    return float(np.abs(policy - other).sum(-1).max() / 2)
