"""What the theory of Dyna-style agents speaks of, for finite MDPs: models, distances, branches.

Returns and visitation are those of `unirl_repro.tabular.mdp`, whose tests hold them against sums.
Sizes in comments: S states, A actions.
"""

from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st
from scipy import optimize

from tests.tabular.oracle import distributions
from unirl_repro.tabular.mdp import MDP, occupancy

DISCOUNTS = (0.01, 0.5, 0.95)
SHARES = (0.0, 0.01, 0.3, 1.0)  # of chance in the second of a pair: 0 makes the two the same
NEGLIGIBLE = 1e-12  # a discount so small ends the search for the largest error over time


class Dyna(NamedTuple):
    """A real MDP, two models of it that have its rewards, and a policy for each model."""

    real: MDP  # M*
    models: tuple[MDP, MDP]  # M_1, M_2
    policies: tuple[np.ndarray, np.ndarray]  # pi_1, pi_2: [S, A]


@st.composite
def dynas(draw, most_states: int = 5, least_reward: float = -1.0):
    """Up to five states and three actions; many probabilities are 0, many rewards extreme."""
    states, actions = draw(st.integers(1, most_states)), draw(st.integers(1, 3))
    pays = np.array(list(draw(st.binary(min_size=states * actions, max_size=states * actions))))

    def near(centre: np.ndarray) -> np.ndarray:
        share = draw(st.sampled_from(SHARES))
        return (1 - share) * centre + share * np.array(draw(distributions(*centre.shape)))

    real = MDP(
        np.array(draw(distributions(states, actions, states))),
        draw(st.sampled_from((1.0, 3.0)))
        * (least_reward + (1 - least_reward) * (pays % 5).reshape(states, actions) / 4),
        np.array(draw(distributions(states))),
        draw(st.sampled_from(DISCOUNTS)),
    )
    first = near(real.transitions)
    policy = np.array(draw(distributions(states, actions)))
    models = real.with_transitions(first), real.with_transitions(near(first))
    return Dyna(real, models, (policy, near(policy)))


def slippery(chance: float, discount: float, reward: float = 1.0) -> MDP:
    """Action 0 keeps state 0 but for a chance; action 1 leaves it, for good and for less.

    State 0 pays `reward` unless it is left by choice; all else pays the opposite.
    """
    transitions = np.array([[[1 - chance, chance], [0, 1]], [[0, 1], [0, 1]]])
    rewards = reward * np.array([[1.0, -1], [-1, -1]])
    return MDP(transitions, rewards, np.array([1.0, 0]), discount)


def mostly_staying(chance: float) -> np.ndarray:
    """The policy that leaves state 0 of `slippery` by choice with a chance: [S, A]."""
    return np.array([[1 - chance, chance], [1.0, 0]])


def total_variation(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Half the L1 distance of the distributions in the last axis."""
    return np.abs(p - q).sum(-1) / 2


def wasserstein(p: np.ndarray, q: np.ndarray, distances: np.ndarray, order: float = 1.0) -> float:
    """W of some order between two distributions on the same points, the best of all couplings.

    Parameters
    ----------
    p, q : (S,) arrays
        The distributions.
    distances : (S, S) array
        Between the points.
    order : float
        At least 1.
    """
    size = len(p)
    rows, columns = np.kron(np.eye(size), np.ones(size)), np.kron(np.ones(size), np.eye(size))
    found = optimize.linprog(
        (distances**order).ravel(), A_eq=np.vstack([rows, columns]), b_eq=np.concatenate([p, q])
    )
    assert found.success, found.message
    return max(found.fun, 0.0) ** (1 / order)


def lipschitz(values: np.ndarray, distances: np.ndarray) -> float:
    """The least Lipschitz constant of values [S] of points that are all apart."""
    apart = distances > 0
    return float((np.abs(values[:, None] - values)[apart] / distances[apart]).max(initial=0))


def largest_mean(mdp: MDP, policy: np.ndarray, errors: np.ndarray) -> float:
    """max_t E[x(s_t, a_t)] on the way of a policy, over the times that matter; x and pi: [S, A]."""
    chain, states = mdp.chain(policy), [mdp.initial]
    for _ in range(int(np.log(NEGLIGIBLE) / np.log(mdp.discount)) + 1):
        states.append(states[-1] @ chain)
    return float((np.array(states) @ (policy * errors).sum(-1)).max())


def branched_return(
    real: MDP,
    behaviour: np.ndarray,
    model: MDP,
    policy: np.ndarray,
    length: int,
    keeps_action: bool = False,
) -> float:
    """Return of rollouts that leave reality k steps ago, at every time: eta^branch (mbpo, App. B).

    At time t the state is where k steps of the policy in the model lead from a state that the
    behaviour reached in t - k real steps, and from an initial state in t steps while t < k.

    Parameters
    ----------
    real, model : MDP
        Dynamics before and after the branch; rewards and discount are the real ones.
    behaviour, policy : (S, A) arrays
        pi_D, and pi.
    length : int
        k, at least 0.
    keeps_action : bool
        Whether a branch has the behaviour's action in its first state, as recorded transitions do.
    """
    chain = model.chain(policy)
    ahead = [(policy * real.rewards).sum(-1)]  # of a state: the reward expected t steps on
    for _ in range(length):
        ahead.append(chain @ ahead[-1])
    early = sum(real.discount**t * real.initial @ ahead[t] for t in range(length))
    late = ahead[length]
    if keeps_action:
        after = model.expect(ahead[length - 1]) if length else real.rewards
        late = (behaviour * after).sum(-1)
    starts = occupancy(real, behaviour).sum(-1) / (1 - real.discount)
    return float(early + real.discount**length * (starts @ late))
