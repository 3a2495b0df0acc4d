"""usbpo Eq. 10 and the step from total variation to W_2: what is true of it on finite state sets.

Eq. 10 has one supremum equal R_max / (1 - gamma) D_TV and L_v W_1. Each equality is true of a set
of functions of its own, those from 0 to R_max / (1 - gamma) and the Lipschitz ones (the first is
twice as large if values may be negative), so both at once only where the distances are
proportional. W_1 <= W_2 is true; but no multiple of W_2 is above D_TV, so a small Eq. 3 leaves the
terms of Eq. 8 as large as they can be. It is the return bound that can have W_2 for D_TV, with the
Lipschitz constant of the second model's values.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from tests.tabular.dyna_oracle import (
    dynas,
    lipschitz,
    slippery,
    total_variation,
    wasserstein,
)
from tests.tabular.oracle import distributions
from unirl_repro.tabular.mdp import evaluate, expected_return, occupancy

SOLVED = 1e-6  # accuracy of a linear programme, and of roots of its optimum
some = settings(max_examples=30, deadline=None)
few = settings(max_examples=15, deadline=None)


def euclidean(points) -> np.ndarray:
    points = np.array(points, float)
    return np.linalg.norm(points[:, None] - points, axis=-1)


@st.composite
def pairs(draw, dimension: int = 2):
    """Two distributions on up to five points of a grid: points, p, q."""
    grid = st.tuples(*[st.integers(0, 9)] * dimension)
    points = draw(st.lists(grid, min_size=2, max_size=5, unique=True))
    p, q = (np.array(draw(distributions(len(points)))) for _ in range(2))
    return points, p, q


def largest_difference(p, q, limits, differences) -> float:
    """sup of |E_p f - E_q f| over f with |f_i - f_j| <= `differences` and 0 <= f <= `limits`."""
    size = len(p)
    steps = [np.eye(size)[i] - np.eye(size)[j] for i in range(size) for j in range(size)]
    found = optimize.linprog(q - p, steps, np.ravel(differences), bounds=(0, limits))
    assert found.success, found.message
    return -found.fun


# --- the oracle's distance


@some
@given(pairs(dimension=1))
def test_on_a_line_it_couples_quantiles(case):
    points, p, q = case
    order, at = np.argsort(np.ravel(points)), np.ravel(points)
    assert wasserstein(p, q, euclidean(points)) == pytest.approx(
        stats.wasserstein_distance(at, at, p, q), abs=SOLVED
    )
    ends = [np.cumsum(weights[order]) for weights in (p, q)]
    levels = np.sort(np.concatenate([[0.0], *ends]))
    middles, widths = (levels[1:] + levels[:-1]) / 2, np.diff(levels)
    gaps = np.subtract(*(at[order][np.searchsorted(e, middles).clip(0, len(p) - 1)] for e in ends))
    expected = np.sqrt(widths @ gaps**2)
    assert wasserstein(p, q, euclidean(points), 2) == pytest.approx(expected, abs=SOLVED)


@some
@given(pairs(), st.sampled_from([1, 2]))
def test_if_all_points_are_equally_far_apart_it_is_total_variation(case, order):
    _, p, q = case
    apart = 1 - np.eye(len(p))
    tv = total_variation(p, q)
    assert wasserstein(p, q, apart, order) ** order == pytest.approx(tv, abs=SOLVED)


# --- W_p <= W_q


@some
@given(pairs(), st.sampled_from([(1, 1.5), (1, 2), (1.5, 2), (2, 4)]))
def test_distances_of_higher_order_are_larger(case, orders):
    points, p, q = case
    low, high = (wasserstein(p, q, euclidean(points), order) for order in orders)
    assert low <= high + SOLVED


def test_they_are_larger_by_any_factor():
    """A tenth of a thousandth, moved by one: W_1 = 1e-4 and W_2 = 1e-2."""
    p, q, distances = np.array([1, 0]), np.array([1 - 1e-4, 1e-4]), euclidean([[0], [1]])
    assert wasserstein(p, q, distances) == pytest.approx(1e-4)
    assert wasserstein(p, q, distances, 2) == pytest.approx(1e-2)


# --- Eq. 10


@few
@given(pairs(), st.sampled_from([0.5, 2.0]))
def test_each_equality_of_eq_10_has_a_set_of_functions_of_its_own(case, constant):
    points, p, q = case
    distances = euclidean(points)
    bounded = largest_difference(p, q, constant, np.full_like(distances, constant))
    assert bounded == pytest.approx(constant * total_variation(p, q), abs=SOLVED)
    smooth = largest_difference(p, q, None, constant * distances)
    assert smooth == pytest.approx(constant * wasserstein(p, q, distances), abs=SOLVED)


@some
@given(pairs(), st.lists(st.integers(-9, 9), min_size=5, max_size=5))
def test_any_values_differ_by_at_most_either(case, values):
    points, p, q = case
    distances, values = euclidean(points), np.array(values[: len(p)])
    first, second = (wasserstein(p, q, distances, order) for order in (1, 2))
    difference, constant = abs((p - q) @ values), lipschitz(values, distances)
    assert difference <= np.ptp(values) * total_variation(p, q) + SOLVED
    assert difference <= constant * first + SOLVED
    assert constant * first <= constant * second + 10 * SOLVED


@some
@given(pairs())
def test_total_variation_and_w_1_differ_by_no_more_than_the_distances_of_points(case):
    points, p, q = case
    distances = euclidean(points)
    tv, first = total_variation(p, q), wasserstein(p, q, distances)
    nearest = distances[distances > 0].min()
    assert nearest * tv - SOLVED <= first <= distances.max() * tv + SOLVED


def test_both_equalities_of_eq_10_fail_together():
    """Values 0, 1, 5 on a line: R_max / (1 - gamma) is 5 and L_v is 1.

    From the first to the second point, total variation says 5 and W_1 says 1, which is true of
    these values; from the first to the third both say 5. No L_v makes them equal in both.
    """
    values = np.array([0.0, 1, 5])
    distances, points = euclidean(values[:, None]), np.eye(3)
    assert lipschitz(values, distances) == 1
    for to, difference in ((1, 1), (2, 5)):
        assert abs((points[0] - points[to]) @ values) == difference
        assert 5 * total_variation(points[0], points[to]) == 5
        assert wasserstein(points[0], points[to], distances) == pytest.approx(difference)


@pytest.mark.parametrize("distance", [1.0, 1e-3])
def test_no_multiple_of_w_2_is_above_total_variation(distance):
    """Sure predictions of two points: D_TV, which Eq. 8 has, is 1 however near they are."""
    p, q = np.eye(2)
    assert total_variation(p, q) == 1
    assert wasserstein(p, q, euclidean([[0], [distance]]), 2) == pytest.approx(distance)


# --- the return bound with W_2


def mean_distance(case, distances) -> float:
    """E W_2 of the models' next states, on the way of the first model and policy."""
    rows = [mdp.transitions.reshape(-1, mdp.num_states) for mdp in case.models]
    each = [wasserstein(p, q, distances, 2) for p, q in zip(*rows, strict=True)]
    return float(occupancy(case.models[0], case.policies[0]).ravel() @ each)


def allowed(case, distances) -> float:
    """Eq. 6 with L_v W_2 for R_max / (1 - gamma) times twice D_TV."""
    (_, second), discount = case.models, case.real.discount
    shift = total_variation(*case.policies).max()
    steepest = lipschitz(evaluate(second, case.policies[1]), distances)
    by_policies = 2 * np.abs(case.real.rewards).max() / (1 - discount) * shift
    by_models = discount * steepest * mean_distance(case, distances)
    return (by_policies + by_models) / (1 - discount)


def gap(case) -> float:
    first, second = map(expected_return, case.models, case.policies)
    return second - first


@few
@given(dynas(most_states=3), st.permutations([0, 1, 3]))
def test_the_return_bound_holds_with_w_2_and_the_slope_of_the_values(case, places):
    distances = euclidean(np.array(places)[: case.real.num_states, None])
    most = allowed(case, distances)
    assert abs(gap(case)) <= most * (1 + SOLVED) + SOLVED / (1 - case.real.discount) ** 2


def test_it_is_attained_with_w_1_and_needs_the_slope():
    """A state whose value is 20 less, at a distance of 0.1: W_1 falls with it, the gap does not."""
    sure, unsure = slippery(0, 0.9), slippery(1e-4, 0.9)
    stay = np.array([[1.0, 0], [1.0, 0]])
    lost = expected_return(sure, stay) - expected_return(unsure, stay)
    for distance in (1.0, 0.1):
        distances = euclidean([[0], [distance]])
        steepest = lipschitz(evaluate(unsure, stay), distances)
        moved = wasserstein(sure.transitions[0, 0], unsure.transitions[0, 0], distances)
        assert moved == pytest.approx(1e-4 * distance)
        assert lost == pytest.approx(0.9 / (1 - 0.9) * steepest * moved)
