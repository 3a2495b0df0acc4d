"""Finite MDPs against sums of powers, and against all of their policies solved in fractions."""

import itertools
import re
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from tests.tabular.oracle import distributions
from unirl_repro.tabular.mdp import (
    EPSILON,
    MDP,
    MDPError,
    check_positive,
    check_transitions,
    evaluate,
    expected_return,
    greedy,
    occupancy,
    uniform,
    value_iteration,
)

PROPERTY = settings(max_examples=100, deadline=None)
FORMS = ("dense", "sparse")
DISCOUNTS = (0.0, 0.3, 0.9, 0.99)


@st.composite
def mdps(draw, discounts=DISCOUNTS, largest=(10.0,)):
    """MDPs of one to three states and actions; many probabilities are 0, many rewards equal."""
    states, actions = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    scale, count = draw(st.sampled_from(largest)), states * actions
    pays = draw(st.lists(st.integers(-4, 4), min_size=count, max_size=count))
    return MDP(
        np.array(draw(distributions(states, actions, states))),
        scale * np.array(pays).reshape(states, actions) / 4,
        np.array(draw(distributions(states))),
        draw(st.sampled_from(discounts)),
    )


@st.composite
def mdps_with_policy(draw, discounts=(0.0, 0.3, 0.9)):
    mdp = draw(mdps(discounts))
    return mdp, np.array(draw(distributions(mdp.num_states, mdp.num_actions)))


def in_form(mdp: MDP, form: str) -> MDP:
    """The same MDP with a dense or a sparse matrix."""
    if form == "dense":
        return mdp
    rows = mdp.transitions.reshape(-1, mdp.num_states)
    return mdp.with_transitions(sparse.csr_array(rows))


def walk(side: int, discount: float, reward: float = 10.0) -> MDP:
    """A square with a reward in one corner; half of all moves are drawn at random."""
    cells, moves = np.arange(side**2), [(0, 1), (0, -1), (1, 0), (-1, 0)]
    row, column = np.divmod(cells, side)
    chosen = np.zeros((side**2, len(moves), side**2))
    for action, (down, right) in enumerate(moves):
        reached = np.clip(row + down, 0, side - 1) * side + np.clip(column + right, 0, side - 1)
        chosen[cells, action, reached] = 1.0
    transitions = 0.5 * chosen + 0.5 * chosen.mean(1, keepdims=True)
    rewards = np.full((side**2, len(moves)), 1e-3)
    rewards[-1] = reward
    return MDP(transitions, rewards, np.full(side**2, side**-2.0), discount)


def scattered(states: int, discount: float, reward: float) -> MDP:
    """Every action may lead anywhere."""
    rng = np.random.default_rng(1)
    transitions = rng.dirichlet(np.full(states, 0.3), (states, 4))
    rewards = reward * rng.random((states, 4))
    return MDP(transitions, rewards, np.full(states, 1 / states), discount)


# What an expected discounted return is, and an optimal one


def steps_that_count(mdp: MDP) -> int:
    """Later ones change no sum by more than 1e-13 of the largest."""
    return 1 if mdp.discount == 0 else 1 + int(np.log(1e-13) / np.log(mdp.discount))


def next_states(mdp: MDP, policy: np.ndarray, now: list[float]) -> list[float]:
    """p(s') from p(s), in plain sums."""
    states, actions = range(mdp.num_states), range(mdp.num_actions)
    return [
        sum(now[s] * policy[s, a] * mdp.transitions[s, a, then] for s in states for a in actions)
        for then in states
    ]


def summed_occupancy(mdp: MDP, policy: np.ndarray, start: list[float]) -> np.ndarray:
    """sum_t gamma^t P(s_t, a_t), term by term: [S, A]."""
    total, now, weight = np.zeros(mdp.rewards.shape), start, 1.0
    for _ in range(steps_that_count(mdp)):
        total += weight * np.array(now)[:, None] * policy
        now, weight = next_states(mdp, policy, now), weight * mdp.discount
    return total


def summed_values(mdp: MDP, policy: np.ndarray) -> np.ndarray:
    """Expected discounted return from each state, term by term."""
    starts = np.eye(mdp.num_states).tolist()
    return np.array([(summed_occupancy(mdp, policy, s) * mdp.rewards).sum() for s in starts])


def exact_values(mdp: MDP, actions: tuple[int, ...]) -> list[Fraction]:
    """Values of a deterministic policy, by elimination in fractions."""
    size, discount = len(actions), Fraction(mdp.discount)
    rows = [
        [int(s == then) - discount * Fraction(mdp.transitions[s, a, then]) for then in range(size)]
        + [Fraction(mdp.rewards[s, a])]
        for s, a in enumerate(actions)
    ]
    for pivot in range(size):
        rows[pivot] = [number / rows[pivot][pivot] for number in rows[pivot]]
        for other in set(range(size)) - {pivot}:
            factor = rows[other][pivot]
            rows[other] = [a - factor * b for a, b in zip(rows[other], rows[pivot], strict=True)]
    return [row[-1] for row in rows]


def optimal_values(mdp: MDP) -> list[Fraction]:
    """The largest of every state over all deterministic policies."""
    policies = itertools.product(range(mdp.num_actions), repeat=mdp.num_states)
    return [max(each) for each in zip(*(exact_values(mdp, p) for p in policies), strict=True)]


def rounding(mdp: MDP) -> float:
    """By which values may be off, whatever epsilon: doubles hold no more of the largest."""
    return 2e-15 * float(np.abs(mdp.rewards).max()) / (1 - mdp.discount) ** 2


# Evaluation


@PROPERTY
@given(case=mdps_with_policy(), form=st.sampled_from(FORMS))
def test_values_are_summed_rewards(case, form):
    mdp, policy = case
    expected = summed_values(mdp, policy)
    found = evaluate(in_form(mdp, form), policy)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)
    total = expected_return(in_form(mdp, form), policy)
    assert total == pytest.approx(mdp.initial @ expected, abs=1e-10)


@PROPERTY
@given(case=mdps_with_policy(), form=st.sampled_from(FORMS))
def test_occupancy_is_summed_probabilities(case, form):
    mdp, policy = case
    found = occupancy(in_form(mdp, form), policy)
    expected = (1 - mdp.discount) * summed_occupancy(mdp, policy, mdp.initial.tolist())
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


@PROPERTY
@given(case=mdps_with_policy(DISCOUNTS), form=st.sampled_from(FORMS))
def test_occupancy_sums_to_one_and_weighs_rewards(case, form):
    mdp, policy = case
    mdp = in_form(mdp, form)
    share = occupancy(mdp, policy)
    assert share.sum() == pytest.approx(1, abs=1e-12)
    assert (share > -1e-15).all()
    paid = (share * mdp.rewards).sum()
    assert paid == pytest.approx((1 - mdp.discount) * expected_return(mdp, policy), abs=1e-11)


@PROPERTY
@given(case=mdps_with_policy(DISCOUNTS))
def test_sparse_equals_dense(case):
    dense, policy = case
    other = in_form(dense, "sparse")
    values = np.linspace(-1, 2, dense.num_states)
    pairs = [
        (dense.expect(values), other.expect(values)),
        (dense.backup(values), other.backup(values)),
        (dense.chain(policy), np.eye(dense.num_states) @ other.chain(policy)),
        (occupancy(dense, policy), occupancy(other, policy)),
        (
            (1 - dense.discount) * evaluate(dense, policy),
            (1 - dense.discount) * evaluate(other, policy),
        ),
    ]
    for ours, theirs in pairs:
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12)


def test_sparse_equals_dense_at_a_hundred_states():
    dense = walk(10, 0.99)
    other, policy = in_form(dense, "sparse"), uniform(dense)
    np.testing.assert_allclose(evaluate(dense, policy), evaluate(other, policy), rtol=1e-12)
    np.testing.assert_allclose(occupancy(dense, policy), occupancy(other, policy), rtol=1e-12)


@PROPERTY
@given(case=mdps_with_policy(), form=st.sampled_from(FORMS))
def test_a_chain_moves_states_as_the_policy_does(case, form):
    mdp, policy = case
    chain = in_form(mdp, form).chain(policy)
    assert chain.shape == (mdp.num_states, mdp.num_states)
    for start in np.eye(mdp.num_states):
        np.testing.assert_allclose(
            start @ chain, next_states(mdp, policy, start.tolist()), rtol=0, atol=1e-15
        )


# Value iteration


@PROPERTY
@given(
    mdp=mdps(largest=(1e-3, 10.0, 1e9)),
    form=st.sampled_from(FORMS),
    epsilon=st.sampled_from((EPSILON, 1e-4, 1.0)),
)
def test_value_iteration_finds_the_best_of_all_policies(mdp, form, epsilon):
    best = optimal_values(mdp)
    solution = value_iteration(in_form(mdp, form), epsilon)
    off = [abs(Fraction(v) - b) for v, b in zip(solution.values, best, strict=True)]
    assert max(off) <= epsilon + rounding(mdp)

    assert set(solution.policy.ravel()) <= {0.0, 1.0}
    assert (solution.policy.sum(-1) == 1).all()
    reached = exact_values(mdp, tuple(solution.policy.argmax(-1).tolist()))
    lost = [b - v for v, b in zip(reached, best, strict=True)]
    assert max(lost) <= 2 * epsilon + rounding(mdp)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("discount", [0.5, 0.9, 0.99, 0.999])
@pytest.mark.parametrize("reward", [1e-6, 10.0, 1e9])
def test_values_of_many_states_solve_the_optimality_equation(form, discount, reward):
    """Their largest residual bounds their error, whatever led to them."""
    mdp = in_form(walk(10, discount, reward), form)
    values = value_iteration(mdp).values
    residual = np.abs(mdp.backup(values).max(-1) - values).max()
    largest = mdp.rewards.max() / (1 - discount)
    assert residual <= max((1 + discount) * EPSILON, 1e-14 * largest / (1 - discount))


@pytest.mark.parametrize("epsilon", [1e-10, 1e-3, 10.0])
def test_backups_end_with_the_first_whose_bounds_are_close(epsilon):
    mdp = in_form(walk(6, 0.9), "sparse")
    values, change, count = np.zeros(36), np.array([0.0, np.inf]), 0
    while 0.9 / 0.1 * np.ptp(change) > 2 * epsilon:
        better = mdp.backup(values).max(-1)
        values, change, count = better, better - values, count + 1
    assert value_iteration(mdp, epsilon).num_iterations == count


@pytest.mark.parametrize("form", FORMS)
@PROPERTY
@given(mdp=mdps(discounts=(0.0,)))
def test_without_a_future_one_backup_is_exact(form, mdp):
    solution = value_iteration(in_form(mdp, form))
    assert solution.num_iterations == 1
    assert (solution.values == mdp.rewards.max(-1)).all()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("reward", [0.0, -3.0, 1e9])
def test_a_constant_reward_takes_one_backup(form, reward):
    mdp = in_form(walk(4, 0.99), form)
    solution = value_iteration(mdp.with_rewards(np.full(mdp.rewards.shape, reward)))
    assert solution.num_iterations == 1
    np.testing.assert_allclose(solution.values, reward / (1 - 0.99), rtol=1e-12)
    assert (solution.policy == np.eye(4)[0]).all()


def test_rewards_too_large_for_epsilon_end_where_rounding_does():
    """Doubles near 1e10 are 2e-6 apart: no backup brings them within 1e-10."""
    small, large = (in_form(scattered(5, 0.9, reward), "sparse") for reward in (1.0, 1e9))
    few, many = (value_iteration(mdp).num_iterations for mdp in (small, large))
    assert many < 2 * few


def test_a_solve_that_rounding_spoils_is_not_repeated():
    assert value_iteration(scattered(300, 0.99, 1e9)).num_iterations < 10


def test_backups_end_even_if_rounding_keeps_the_bounds_apart():
    mdp = in_form(scattered(300, 0.9, 1e9), "sparse")
    solution = value_iteration(mdp)
    assert solution.num_iterations < 1000
    np.testing.assert_allclose(solution.values, evaluate(mdp, solution.policy), rtol=1e-13)


def test_a_solve_spares_the_backups_of_a_distant_horizon():
    """Backups alone shrink the bounds by the discount: thousands of them, where few choose."""
    dense = walk(10, 0.999)
    dense = dense.with_rewards(np.random.default_rng(0).random(dense.rewards.shape))
    solved, backed_up = value_iteration(dense), value_iteration(in_form(dense, "sparse"))
    assert 20 * solved.num_iterations < backed_up.num_iterations
    np.testing.assert_allclose(solved.values, backed_up.values, rtol=0, atol=1e-8)
    assert (solved.policy == backed_up.policy).all()


@pytest.mark.parametrize("epsilon", [0.0, -1e-3, np.nan])
def test_epsilon_must_be_positive(epsilon):
    with pytest.raises(MDPError, match=rf"epsilon is {epsilon}; allowed: above 0"):
        value_iteration(walk(2, 0.9), epsilon)


# Policies, and other rewards and dynamics


def test_greedy_takes_the_first_of_equals():
    values = np.array([[1.0, 1.0, 0.0], [0.0, 2.0, 2.0], [3.0, 3.0, 3.0], [-1.0, -2.0, -1.0]])
    assert greedy(values).argmax(-1).tolist() == [0, 1, 0, 0]
    assert greedy(values).sum(-1).tolist() == [1, 1, 1, 1]


def test_the_uniform_policy_prefers_nothing():
    policy = uniform(walk(2, 0.9))
    assert policy.shape == (4, 4)
    assert (policy == 0.25).all()


@pytest.mark.parametrize("form", FORMS)
def test_other_rewards_or_dynamics_keep_the_rest(form):
    mdp = in_form(walk(3, 0.9), form)
    paid = mdp.with_rewards(2 * mdp.rewards)
    assert paid.transitions is mdp.transitions
    assert (paid.initial is mdp.initial, paid.discount) == (True, 0.9)
    policy = uniform(mdp)
    np.testing.assert_allclose(evaluate(paid, policy), 2 * evaluate(mdp, policy), rtol=1e-14)

    stuck = np.repeat(np.eye(9)[:, None], 4, axis=1)
    moved = mdp.with_transitions(stuck)
    assert moved.rewards is mdp.rewards
    assert (moved.initial is mdp.initial, moved.discount) == (True, 0.9)
    np.testing.assert_allclose(evaluate(moved, policy), mdp.rewards[:, 0] / (1 - 0.9))


# Errors


def change(array: np.ndarray, at: tuple[int, ...], value: float) -> np.ndarray:
    changed = array.copy()
    changed[at] = value
    return changed


GOOD = MDP(
    np.array([[[0.5, 0.5], [1.0, 0.0], [0.0, 1.0]], [[0.25, 0.75], [0.5, 0.5], [1.0, 0.0]]]),
    np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]),
    np.array([0.5, 0.5]),
    0.9,
)
P, R = GOOD.transitions, GOOD.rewards
BAD = [
    ("transitions", change(P, (1, 0, 1), 0.5), r"transitions[1, 0] sums to 0.75; expected 1"),
    ("transitions", change(P, (0, 2, 1), 1 + 2e-9), "transitions[0, 2] sums to 1.000000002; exp"),
    ("transitions", change(P, (1, 1, 0), -0.5), "transitions[1, 1, 0] is -0.5; allowed: a proba"),
    ("transitions", change(P, (0, 1, 1), np.nan), "transitions[0, 1, 1] is nan; allowed: a fini"),
    ("transitions", change(P, (1, 2, 0), np.inf), "transitions[1, 2, 0] is inf; allowed: a fini"),
    ("transitions", P[:, :2], "transitions has shape (2, 2, 2); expected (2, 3, 2)"),
    ("transitions", P.reshape(6, 2), "transitions has shape (6, 2); expected (2, 3, 2)"),
    ("rewards", R[0], "rewards have shape (3,); expected (states, actions)"),
    ("rewards", R[:, :0], "rewards have shape (2, 0); expected (states, actions)"),
    ("rewards", R[:1], "transitions has shape (2, 3, 2); expected (1, 3, 1)"),
    ("rewards", change(R, (1, 2), np.nan), "rewards[1, 2] is nan; allowed: a finite number"),
    ("rewards", change(R, (0, 1), -np.inf), "rewards[0, 1] is -inf; allowed: a finite number"),
    ("initial", np.array([0.5, 0.25]), "initial sums to 0.75; expected 1"),
    ("initial", np.array([1.5, -0.5]), "initial[1] is -0.5; allowed: a probability"),
    ("initial", np.array([np.nan, 1.0]), "initial[0] is nan; allowed: a finite number"),
    ("initial", np.array([[0.5, 0.5]]), "initial has shape (1, 2); expected (2,)"),
    ("discount", 1.0, "discount is 1.0; allowed: at least 0, and below 1"),
    ("discount", -0.1, "discount is -0.1; allowed: at least 0, and below 1"),
    ("discount", np.nan, "discount is nan; allowed: at least 0, and below 1"),
]


@pytest.mark.parametrize(("field", "value", "message"), BAD)
def test_an_error_names_the_place_the_value_and_what_is_allowed(field, value, message):
    with pytest.raises(MDPError, match="^" + re.escape(message)):
        replace(GOOD, **{field: value})


SPARSE_BAD = [
    (change(P, (1, 0, 1), 0.5), "transitions[1, 0] sums to 0.75; expected 1"),
    (change(P, (1, 1, 0), -0.5), "transitions[1, 1, 0] is -0.5; allowed: a probability"),
    (change(P, (0, 1, 1), np.nan), "transitions[0, 1, 1] is nan; allowed: a probability"),
    (change(P, (1, 2, 0), np.inf), "transitions[1, 2, 0] is inf; allowed: a probability"),
    (P[:, :2], "transitions have shape (4, 2); expected (6, 2): a row for each of 2 states and 3"),
]


@pytest.mark.parametrize(("transitions", "message"), SPARSE_BAD)
def test_errors_of_sparse_transitions_name_state_action_and_next_state(transitions, message):
    matrix = sparse.csr_array(transitions.reshape(-1, 2))
    with pytest.raises(MDPError, match="^" + re.escape(message)):
        GOOD.with_transitions(matrix)
    with pytest.raises(MDPError, match="^" + re.escape(message.replace("transitions", "model"))):
        check_transitions("model", matrix, 2, 3)


BAD_POLICIES = [
    (np.array([[0.5, 0.5, 0.0], [0.5, 0.25, 0.0]]), "policy[1] sums to 0.75; expected 1"),
    (np.array([[1.5, -0.5, 0.0], [1, 0, 0]]), "policy[0, 1] is -0.5; allowed: a probability"),
    (np.array([[1, 0, 0], [0, np.nan, 1]]), "policy[1, 1] is nan; allowed: a finite number"),
    (np.array([0, 1]), "policy has shape (2,); expected (2, 3)"),
    (np.full((3, 2), 0.5), "policy has shape (3, 2); expected (2, 3)"),
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("function", [evaluate, occupancy, expected_return])
@pytest.mark.parametrize(("policy", "message"), BAD_POLICIES)
def test_a_wrong_policy_is_refused(form, function, policy, message):
    with pytest.raises(MDPError, match="^" + re.escape(message)):
        function(in_form(GOOD, form), policy)


@pytest.mark.parametrize("value", [0.0, -2.5, np.nan])
def test_rewards_under_a_logarithm_must_be_positive(value):
    check_positive(R)
    message = rf"^rewards\[1, 0\] is {value}; allowed: above 0.*Add a constant to all rewards"
    with pytest.raises(MDPError, match=message):
        check_positive(change(R, (1, 0), value))
