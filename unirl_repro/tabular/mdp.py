"""Finite Markov decision processes, solved exactly.

Sizes in comments: S states, A actions. Rows of `transitions` are distributions over next states;
for many states they are a sparse matrix, a row a state and action.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple, TypeAlias

import numpy as np
from scipy import sparse
from scipy.sparse import linalg

Transitions: TypeAlias = np.ndarray | sparse.csr_array
ROW_TOLERANCE = 1e-9  # by which a row's sum may differ from one
EPSILON = 1e-10  # largest error of `value_iteration`, in the unit of rewards
ROUNDING = 4 * np.finfo(float).eps  # of a backup, relative to the largest value


class MDPError(ValueError):
    """An MDP, a policy or a model is not one; the text says where and what is allowed."""


@dataclass(frozen=True)
class MDP:
    """A finite MDP with rewards of states and actions.

    Parameters
    ----------
    transitions : (S, A, S) array, or (S A, S) sparse array
        p(s' | s, a).
    rewards : (S, A) array
        r(s, a).
    initial : (S,) array
        p_0(s).
    discount : float
        gamma, in [0, 1).

    Raises
    ------
    MDPError
        If shapes do not fit, a probability is negative, rows do not sum to one, a number is not
        finite, or the discount is out of range.
    """

    transitions: Transitions
    rewards: np.ndarray
    initial: np.ndarray
    discount: float

    def __post_init__(self) -> None:
        if self.rewards.ndim != 2 or not self.rewards.size:
            raise MDPError(f"rewards have shape {self.rewards.shape}; expected (states, actions)")
        if not 0 <= self.discount < 1:
            raise MDPError(f"discount is {self.discount}; allowed: at least 0, and below 1")
        _check_finite("rewards", self.rewards)
        check_transitions("transitions", self.transitions, self.num_states, self.num_actions)
        check_distribution("initial", self.initial, (self.num_states,))

    @property
    def num_states(self) -> int:
        return self.rewards.shape[0]

    @property
    def num_actions(self) -> int:
        return self.rewards.shape[1]

    def with_rewards(self, rewards: np.ndarray) -> "MDP":
        """The same dynamics with other rewards [S, A]."""
        return replace(self, rewards=rewards)

    def with_transitions(self, transitions: Transitions) -> "MDP":
        """The same rewards under other dynamics: those of a model."""
        return replace(self, transitions=transitions)

    def expect(self, values: np.ndarray) -> np.ndarray:
        """Expected value of the next state: [S] -> [S, A]."""
        return (self._rows() @ values).reshape(self.rewards.shape)

    def backup(self, values: np.ndarray) -> np.ndarray:
        """Q(s, a) = r(s, a) + gamma E[V(s')]: [S] -> [S, A]."""
        return self.rewards + self.discount * self.expect(values)

    def chain(self, policy: np.ndarray) -> Transitions:
        """Transition matrix of the Markov chain that a policy [S, A] makes: [S, S]."""
        if not sparse.issparse(self.transitions):
            return np.matmul(policy[:, None, :], self.transitions)[:, 0]
        row = np.repeat(np.arange(self.num_states), self.num_actions)
        column = np.arange(self.num_states * self.num_actions)
        shape = (self.num_states, len(column))
        return sparse.csr_array((policy.ravel(), (row, column)), shape=shape) @ self.transitions

    def _rows(self) -> Transitions:
        """[S A, S]."""
        if sparse.issparse(self.transitions):
            return self.transitions
        return self.transitions.reshape(-1, self.num_states)


class Solution(NamedTuple):
    """Of `value_iteration`."""

    values: np.ndarray  # [S]
    policy: np.ndarray  # [S, A], deterministic
    num_iterations: int


def evaluate(mdp: MDP, policy: np.ndarray) -> np.ndarray:
    """Expected discounted return of a policy from each state, by a linear solve.

    Parameters
    ----------
    mdp : MDP
        The MDP.
    policy : (S, A) array
        pi(a | s).

    Returns
    -------
    (S,) array
        V, which solves V = r_pi + gamma P_pi V.

    Raises
    ------
    MDPError
        If the policy is not one for this MDP.
    """
    check_distribution("policy", policy, mdp.rewards.shape)
    rewards = (policy * mdp.rewards).sum(-1)
    return _solve(mdp.chain(policy), mdp.discount, rewards)


def occupancy(mdp: MDP, policy: np.ndarray) -> np.ndarray:
    """Discounted share of time that a policy [S, A] spends in each state and action: [S, A].

    (1 - gamma) sum_t gamma^t P(s_t = s, a_t = a); it sums to one, and its product with the rewards
    is (1 - gamma) times the expected discounted return.
    """
    check_distribution("policy", policy, mdp.rewards.shape)
    states = _solve(mdp.chain(policy).T, mdp.discount, (1 - mdp.discount) * mdp.initial)
    return states[:, None] * policy


def expected_return(mdp: MDP, policy: np.ndarray) -> float:
    """Expected discounted return of a policy [S, A] from the initial states."""
    return float(mdp.initial @ evaluate(mdp, policy))


def value_iteration(mdp: MDP, epsilon: float = EPSILON) -> Solution:
    """Optimal values, each within `epsilon` of the exact ones or as near as rounding allows.

    After each backup the exact values lie between V + gamma / (1 - gamma) times the smallest and
    times the largest change of a state (MacQueen 1966). Iteration ends when these bounds are at
    most 2 `epsilon` apart, and their middle is returned. Once a backup cannot improve the policy of
    the one before, a linear solve gives that policy's own values, instead of the many backups that
    would lead there (a step of Howard's policy iteration); the bounds still say when to end. With
    sparse transitions there are backups alone, as a solve can fill the matrix.

    Parameters
    ----------
    mdp : MDP
        The MDP.
    epsilon : float
        Largest error of a value, above 0.

    Returns
    -------
    Solution
        Values, a policy that is greedy in the last backup, and how many backups there were.
    """
    if not epsilon > 0:
        raise MDPError(f"epsilon is {epsilon}; allowed: above 0")
    reach = mdp.discount / (1 - mdp.discount)
    apart = max(2 * epsilon, reach * ROUNDING * _largest_value(mdp))
    most, iteration = _most_iterations(mdp, apart), 0
    dense, states = not sparse.issparse(mdp.transitions), np.arange(mdp.num_states)
    values, policy, solved = np.zeros(mdp.num_states), np.zeros(mdp.num_states, int), False
    while True:
        iteration += 1
        action_values = mdp.backup(values)
        best = action_values.argmax(-1)
        backed_up = action_values[states, best]
        change = backed_up - values
        low, high = reach * change.min(), reach * change.max()
        settled = dense and reach * (backed_up - action_values[states, policy]).max() <= apart
        if high - low <= apart or (settled and solved) or iteration == most:
            return Solution(backed_up + (low + high) / 2, greedy(action_values), iteration)
        solved = settled
        if solved:
            chain, rewards = mdp.transitions[states, policy], mdp.rewards[states, policy]
            values = _solve(chain, mdp.discount, rewards)
        else:
            values, policy = backed_up, best


def greedy(action_values: np.ndarray) -> np.ndarray:
    """The policy that takes the best action in each state, the first of equals: [.., S, A]."""
    return np.eye(action_values.shape[-1])[action_values.argmax(-1)]


def uniform(mdp: MDP) -> np.ndarray:
    """The policy [S, A] that takes each action with the same probability."""
    return np.full(mdp.rewards.shape, 1 / mdp.num_actions)


def check_positive(rewards: np.ndarray) -> None:
    """Raise `MDPError` unless all rewards are positive, as a logarithm of them needs."""
    wrong = ~(rewards > 0)
    if wrong.any():
        raise MDPError(
            f"{_first('rewards', wrong)} is {rewards[wrong][0]}; allowed: above 0, since the bound is "
            "on the logarithm of the return. Add a constant to all rewards."
        )


def check_transitions(name: str, transitions: Transitions, states: int, actions: int) -> None:
    """Raise `MDPError` unless each row is a distribution over next states."""
    if sparse.issparse(transitions):
        _check_sparse(name, transitions, states, actions)
    else:
        check_distribution(name, transitions, (states, actions, states))


def check_distribution(name: str, values: np.ndarray, shape: tuple[int, ...]) -> None:
    """Raise `MDPError` unless the last axis holds distributions."""
    if values.shape != shape:
        raise MDPError(f"{name} has shape {values.shape}; expected {shape}")
    _check_finite(name, values)
    wrong = values < 0
    if wrong.any():
        raise MDPError(f"{_first(name, wrong)} is {values[wrong][0]}; allowed: a probability")
    sums = values.sum(-1)
    wrong = np.abs(sums - 1) > ROW_TOLERANCE
    if wrong.any():
        raise MDPError(f"{_first(name, wrong)} sums to {sums[wrong][0]}; expected 1")


def _check_sparse(name: str, transitions: sparse.csr_array, states: int, actions: int) -> None:
    if transitions.shape != (states * actions, states):
        raise MDPError(
            f"{name} have shape {transitions.shape}; expected {(states * actions, states)}: "
            f"a row for each of {states} states and {actions} actions"
        )
    wrong = ~(transitions.data >= 0) | ~np.isfinite(transitions.data)
    if wrong.any():
        row, state = (int(at[wrong.argmax()]) for at in transitions.tocoo().coords)
        place = [*divmod(row, actions), state]
        value = transitions.data[wrong.argmax()]
        raise MDPError(f"{name}{place} is {value}; allowed: a probability")
    sums = transitions.sum(axis=1)
    wrong = np.abs(sums - 1) > ROW_TOLERANCE
    if wrong.any():
        place = [*divmod(int(wrong.argmax()), actions)]
        raise MDPError(f"{name}{place} sums to {sums[wrong.argmax()]}; expected 1")


def _check_finite(name: str, values: np.ndarray) -> None:
    wrong = ~np.isfinite(values)
    if wrong.any():
        raise MDPError(f"{_first(name, wrong)} is {values[wrong][0]}; allowed: a finite number")


def _first(name: str, wrong: np.ndarray) -> str:
    """`name[index]` of the first that is wrong; `name` alone where there is but one."""
    index = [int(at) for at in np.unravel_index(wrong.argmax(), wrong.shape)]
    return f"{name}{index}" if index else name


def _solve(chain: Transitions, discount: float, right: np.ndarray) -> np.ndarray:
    """x of (I - gamma P) x = right, for a chain P [S, S] or its transpose."""
    if sparse.issparse(chain):
        system = sparse.eye_array(len(right), format="csc") - discount * sparse.csc_array(chain)
        return linalg.spsolve(system, right)
    return np.linalg.solve(np.eye(len(right)) - discount * chain, right)


def _largest_value(mdp: MDP) -> float:
    """No value of any policy is larger."""
    return float(np.abs(mdp.rewards).max()) / (1 - mdp.discount)


def _most_iterations(mdp: MDP, apart: float) -> int:
    """Backups that bring the bounds of `value_iteration` so close, whatever the dynamics.

    Twice what they need from any values: the first linear solve may begin them anew; later ones
    only help, since no policy's own values go down in a backup. Rounding may end it.
    """
    widest = 4 * mdp.discount / (1 - mdp.discount) * _largest_value(mdp)
    if widest <= apart:
        return 1
    return 2 + 2 * int(np.ceil(np.log(apart / widest) / np.log(mdp.discount)))
