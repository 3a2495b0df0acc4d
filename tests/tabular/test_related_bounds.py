"""The bounds of Kearns and Singh and of Luo et al.: where they hold and where they do not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tabular import oracle
from tests.tabular.oracle import distributions, with_models, worlds
from tests.tabular.test_bounds import ROUNDING, parts
from unirl_repro.tabular.mdp import MDP, evaluate, expected_return, occupancy
from unirl_repro.tabular.related_bounds import (
    Neighbourhood,
    coupled_distance,
    largest_error,
    luo_bound,
    policy_distance,
    sampled_distance,
    simulation_lemma_bound,
)

many = settings(max_examples=300, deadline=None)
some = settings(max_examples=100, deadline=None)


def true_return(world):
    return oracle.discounted_sum(world, world.transitions, world.rewards)


@some
@given(with_models())
def test_both_bound_a_sum_that_is_exact(case):
    world, model = case
    mdp, policy, q = parts(*case)
    wrong = (mdp.transitions - q) @ evaluate(mdp.with_transitions(q), policy)
    mean = (occupancy(mdp, policy) * wrong).sum() * mdp.discount / (1 - mdp.discount)
    imagined = oracle.discounted_sum(world, model, world.rewards)
    assert imagined + mean == pytest.approx(true_return(world))


# --- Kearns and Singh


@many
@given(with_models())
def test_the_simulation_lemma_holds_for_every_model_and_policy(case):
    world, _ = case
    mdp, policy, q = parts(*case)
    assert simulation_lemma_bound(mdp, q, policy) <= true_return(world) + ROUNDING


@some
@given(worlds())
def test_it_is_tight_at_the_true_model(world):
    mdp, policy = parts(world)
    found = simulation_lemma_bound(mdp, mdp.transitions, policy)
    assert found == pytest.approx(true_return(world))


def two_states(slip):
    """Dynamics of a state that pays and of one that does not: how probably each is left."""
    return np.array([[[1 - slip[0], slip[0]]], [[slip[1], 1 - slip[1]]]])


def test_it_is_close_to_its_worst_case():
    """The model never leaves the state that pays, and returns to it."""
    policy, pay = np.ones((2, 1)), np.array([[1.0], [0.0]])
    mdp = MDP(two_states((0.01, 0)), pay, np.array([1.0, 0.0]), 0.9)
    model = two_states((0, 0.01))
    allowed = 0.9 * 0.01 / (1 - 0.9) ** 2
    assert largest_error(mdp, model) == pytest.approx(2 * 0.01)
    promised = simulation_lemma_bound(mdp, model, policy)
    assert promised == pytest.approx(expected_return(mdp.with_transitions(model), policy) - allowed)
    assert 0 < expected_return(mdp, policy) - promised < 0.1 * allowed


# --- Luo et al.


@many
@given(with_models(discounts=(0.0, 0.3, 0.5, 0.7)), distributions(3, 2), st.floats(0, 1))
def test_luos_bound_holds_for_every_model_and_the_policies_nearby(case, other, share):
    mdp, reference, q = parts(*case)
    policy = (1 - share) * reference + share * np.array(other)
    near = Neighbourhood(reference, policy_distance(policy, reference))
    for distance in (sampled_distance(mdp, q), coupled_distance(mdp, q)):
        assert luo_bound(mdp, q, policy, near, distance) <= expected_return(mdp, policy) + ROUNDING


@some
@given(with_models())
def test_no_coupling_of_the_next_states_beats_total_variation(case):
    mdp, _, q = parts(*case)
    assert (coupled_distance(mdp, q) <= sampled_distance(mdp, q) + ROUNDING).all()


def test_the_discrepancy_is_met_along_the_way_of_the_reference_policy():
    """With two values, and a model that is wrong for the better only in one state, it is exact."""
    policy, pay = np.ones((2, 1)), np.array([[1.0], [0.0]])
    mdp = MDP(two_states((0.2, 0)), pay, np.array([1.0, 0.0]), 0.9)
    model = two_states((0.1, 0))
    here = Neighbourhood(policy, radius=0.0)
    promised = luo_bound(mdp, model, policy, here, coupled_distance(mdp, model))
    assert promised == pytest.approx(expected_return(mdp, policy))


def room_that_the_reference_never_enters():
    """Action 1 leads from 0 to room 2, of which the model is wrong: it leads to 1, not to 10."""
    transitions = np.repeat(np.eye(5)[:, None], 2, axis=1)
    transitions[0] = np.eye(5)[[1, 2]]
    transitions[2] = np.eye(5)[3]
    rewards = np.repeat(np.array([1.0, 2, 1, 1, 10])[:, None], 2, axis=1)
    mdp = MDP(transitions, rewards, np.eye(5)[0], 0.5)
    model = transitions.copy()
    model[2] = np.eye(5)[4]
    return mdp, model


def test_it_fails_far_from_the_reference_policy():
    mdp, model = room_that_the_reference_never_enters()
    stays, enters = np.eye(2)[[0] * 5], np.eye(2)[[1] * 5]
    near = Neighbourhood(stays, radius=0.05)
    distance = sampled_distance(mdp, model)
    promised = luo_bound(mdp, model, enters, near, distance)
    # The model sees 1 + 0.5 + 0.25 * 10 / 0.5 = 6.5; its values range over 18, times the radius.
    assert promised == pytest.approx(6.5 - 0.9)
    assert expected_return(mdp, enters) == pytest.approx(2.0)
    assert simulation_lemma_bound(mdp, model, enters) < 2.0
    wide = Neighbourhood(stays, policy_distance(stays, enters))
    assert luo_bound(mdp, model, enters, wide, distance) < 2.0


def test_the_discrepancy_is_met_with_the_policys_own_actions():
    """The reference passes state 0, where only the other action is modelled wrongly."""
    mdp, model = room_that_the_reference_never_enters()
    model[:] = mdp.transitions
    model[0, 1] = np.eye(5)[4]
    stays, enters = np.eye(2)[[0] * 5], np.eye(2)[[1] * 5]
    near = Neighbourhood(stays, radius=0.0)
    promised = luo_bound(mdp, model, enters, near, sampled_distance(mdp, model))
    # 1 + 0.5 * 20, less the range of 18 for the half of the time that the reference is in state 0.
    assert promised == pytest.approx(11 - 18 * 0.5)


@some
@given(worlds(discounts=(0.3, 0.9)))
def test_its_discrepancy_is_not_zero_for_the_true_model_of_a_random_world(world):
    mdp, policy = parts(world)
    sampled = sampled_distance(mdp, mdp.transitions)
    assert ((sampled > ROUNDING) == (mdp.transitions.max(-1) < 1)).all()
    assert coupled_distance(mdp, mdp.transitions) == pytest.approx(0)
    here = Neighbourhood(policy, radius=0.0)
    tight = luo_bound(mdp, mdp.transitions, policy, here, coupled_distance(mdp, mdp.transitions))
    assert tight == pytest.approx(true_return(world))


def test_it_is_tight_for_the_true_model_of_a_deterministic_world():
    mdp, _ = room_that_the_reference_never_enters()
    policy = np.eye(2)[[1] * 5]
    here = Neighbourhood(policy, radius=0.0)
    distance = sampled_distance(mdp, mdp.transitions)
    found = luo_bound(mdp, mdp.transitions, policy, here, distance)
    assert found == pytest.approx(expected_return(mdp, policy))
