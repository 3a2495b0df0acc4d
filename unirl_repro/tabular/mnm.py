"""Mismatched no More on finite MDPs, and what mnm (Sec. 5.1) compares it with.

All of them alternate between a policy, a model and the rewards that follow from the model; they
differ in the reward that they take (`Method`). Here each part answers the others exactly; in
`tabular.learning` it is learnt from sampled trajectories.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from unirl_repro.tabular.bounds import log_ratio_cost, tilted_model
from unirl_repro.tabular.mdp import MDP, check_positive, evaluate, greedy, uniform

DAMPING = 0.5  # share of the old policy and model that each iteration keeps: deviation M2
ITERATIONS = 100
TOLERANCE = 1e-6


@dataclass(frozen=True)
class Method:
    """Which terms of the objective an algorithm has.

    Attributes
    ----------
    reward : {"log", "raw", "scaled"}
        (1 - gamma) log r as in Eq. 3; r; or (1 - gamma) r, which leaves out the logarithm alone.
    classifier : bool
        Whether the reward has the log ratio of real and model probabilities.
    learned_model : bool
        Whether the policy is trained in the optimistic model, or in the real dynamics.
    """

    reward: Literal["log", "raw", "scaled"] = "log"
    classifier: bool = True
    learned_model: bool = True

    def rewards(self, mdp: MDP) -> np.ndarray:
        """The task's part of the reward [S, A], without Eq. 3's constant, which no policy feels."""
        if self.reward == "raw":
            return mdp.rewards
        if self.reward == "scaled":
            return (1 - mdp.discount) * mdp.rewards
        check_positive(mdp.rewards)
        return (1 - mdp.discount) * np.log(mdp.rewards)


METHODS = {
    "q_learning": Method(reward="raw", classifier=False, learned_model=False),
    "q_learning_log": Method(classifier=False, learned_model=False),
    "mnm": Method(),
    "mnm_no_classifier": Method(classifier=False),
    "mnm_no_log": Method(reward="scaled"),
    "vmbpo": Method(reward="raw"),  # as mnm has it; deviation M1
}


class Iterate(NamedTuple):
    """One iteration of `solve`: what it began with, and the answer to that."""

    policy: np.ndarray  # [S, A], a mixture of the answers so far
    model: np.ndarray  # [S, A, S], likewise
    values: np.ndarray  # [S], of the best actions against policy and model
    best: np.ndarray  # [S, A], the policy that takes them
    change: float  # largest change of a probability, if changes were not damped


def solve(
    mdp: MDP,
    method: Method,
    *,
    iterations: int = ITERATIONS,
    prediction: Callable[[np.ndarray], np.ndarray] | None = None,
    cost: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Iterator[Iterate]:
    """Exact best responses of policy and model to one another, damped.

    In each iteration the policy is evaluated in the model, with the method's rewards; the policy
    moves towards the greedy one, the model towards p e^V, which Eq. 9 is greatest for.

    Parameters
    ----------
    mdp : MDP
        The real dynamics and rewards.
    method : Method
        What is optimised.
    iterations : int
        At most so many; fewer if nothing would move by more than `TOLERANCE`.
    prediction : callable, optional
        What a model of limited capacity makes of transitions [S, A, S].
    cost : callable, optional
        What the classifier term costs in a model [S, A, S], for each state and action [S, A], in
        place of KL(q || p), which a classifier without limits has it cost.

    Yields
    ------
    Iterate
        One for each iteration.
    """
    policy, model = uniform(mdp), mdp.transitions
    task = method.rewards(mdp)
    base = mdp.with_transitions(prediction(model)) if prediction else mdp
    for _ in range(iterations):
        rewards = task
        if method.classifier:
            rewards = task - (cost(model) if cost else log_ratio_cost(mdp, model))
        inside = (mdp.with_transitions(model) if method.learned_model else mdp).with_rewards(
            rewards
        )
        action_values = inside.backup(evaluate(inside, policy))
        best, values = greedy(action_values), action_values.max(-1)
        answer = tilted_model(base, values, 1.0)
        change = max(float(np.abs(answer - model).max()), float(np.abs(best - policy).max()))
        yield Iterate(policy, model, values, best, change)
        if change < TOLERANCE:
            return
        policy = (1 - DAMPING) * best + DAMPING * policy
        model = (1 - DAMPING) * answer + DAMPING * model
        model = prediction(model) if prediction else model


def last(iterates: Iterator[Iterate]) -> Iterate:
    """Where the iterations end."""
    return deque(iterates, maxlen=1)[0]


def return_variance(mdp: MDP, policy: np.ndarray) -> float:
    """Variance of the discounted return of a policy [S, A] from the initial states.

    From the second moment, which solves M = r_pi^2 + 2 gamma r P V + gamma^2 P_pi M (Sobel 1982).
    """
    values = evaluate(mdp, policy)
    squares = mdp.rewards**2 + 2 * mdp.discount * mdp.rewards * mdp.expect(values)
    moments = evaluate(MDP(mdp.transitions, squares, mdp.initial, mdp.discount**2), policy)
    return float(mdp.initial @ moments - (mdp.initial @ values) ** 2)
