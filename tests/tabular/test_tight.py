"""Eq. 10's bound at any horizon distribution and dynamics, and where it is tight."""

import math
from itertools import islice, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from tests.tabular import oracle
from tests.tabular.oracle import distributions, with_models, within_support, worlds
from tests.tabular.test_bounds import ROUNDING, choice, fork, parts
from unirl_repro.tabular.bounds import mnm_bound, optimal_model, with_log_rewards
from unirl_repro.tabular.mdp import MDPError, evaluate, expected_return, value_iteration
from unirl_repro.tabular.tight import (
    Stopping,
    at_horizons,
    best_dynamics,
    best_stopping,
    horizon_terms,
    improve_stopping_policy,
    num_horizons,
    reward_tilted_dynamics,
    stopping_bound,
    tight_bound,
    time_to_go_bound,
    time_to_go_terms,
)

HORIZONS = 4  # of the oracle's sums over all trajectories
many = settings(max_examples=150, deadline=None)
some = settings(max_examples=60, deadline=None)
log_weights = st.lists(st.floats(0.01, 1), min_size=HORIZONS, max_size=HORIZONS)


def log_return(mdp, policy):
    return math.log(expected_return(mdp, policy))


def probabilities(weights):
    return np.array(weights) / sum(weights)


# --- A Markov model


@many
@given(with_models(discounts=(0.3, 0.9)))
def test_the_terms_are_means_over_all_trajectories(case):
    world, model = case
    terms = horizon_terms(*(parts(*case)[i] for i in (0, 2, 1)))
    for horizon in range(HORIZONS - 1):
        dynamics = lambda past: model[past[-2]][past[-1]]  # noqa: E731
        expected = oracle.horizon_term(world, dynamics, horizon)
        assert terms[horizon] == pytest.approx(expected, rel=ROUNDING, abs=ROUNDING)


@many
@given(with_models())
def test_it_is_a_bound_and_above_the_simple_one(case):
    world, _ = case
    mdp, policy, q = parts(*case)
    tight = tight_bound(mdp, q, policy)
    assert tight <= oracle.log_return(world) + ROUNDING
    assert tight >= mnm_bound(mdp, q, policy, extra_discount=True) - ROUNDING
    assert math.isfinite(tight)  # H = 0 takes no transition


@many
@given(with_models(), st.lists(st.floats(0.01, 1), min_size=1, max_size=30))
def test_any_horizon_distribution_gives_a_bound_and_the_softmax_the_best(case, weights):
    mdp, policy, q = parts(*case)
    terms = horizon_terms(mdp, q, policy)
    ends = np.zeros(len(terms))
    ends[: len(weights)] = weights[: len(terms)]
    assert at_horizons(terms, ends / ends.sum()) <= tight_bound(mdp, q, policy) + ROUNDING
    best = at_horizons(terms, special.softmax(terms))
    assert best == pytest.approx(tight_bound(mdp, q, policy), rel=ROUNDING, abs=ROUNDING)


@many
@given(with_models(within=True))
def test_a_geometric_horizon_gives_the_bound_with_one_more_discount(case):
    """It comes after transition t with probability gamma^{t+1}: hence the weight."""
    mdp, policy, q = parts(*case)
    terms = horizon_terms(mdp, q, policy)
    geometric = (1 - mdp.discount) * mdp.discount ** np.arange(len(terms))
    simple = mnm_bound(mdp, q, policy, extra_discount=True)
    found = at_horizons(terms, geometric / geometric.sum())
    assert found == pytest.approx(simple, rel=1e-8, abs=1e-8)


@some
@given(worlds(discounts=(0.5, 0.9)))
def test_what_comes_after_the_last_horizon_is_as_small_as_promised(world):
    mdp, policy = parts(world)
    count = num_horizons(mdp, remainder=1e-3)
    states = mdp.initial @ np.linalg.matrix_power(mdp.chain(policy), count)
    after = mdp.discount**count * states @ evaluate(mdp, policy)
    assert after <= 1e-3 * expected_return(mdp, policy)


def test_no_markov_model_is_tight_in_a_world_that_pays_early_on_one_side_and_late_on_the_other():
    """One random step: q has one number, and H = 1 and H = 2 want different ones."""
    mdp, policy = parts(early_or_late())
    best = max(
        tight_bound(mdp, with_first_step(mdp, share), policy) for share in np.linspace(0, 1, 101)
    )
    assert best < log_return(mdp, policy) - 0.1
    assert time_to_go_bound(mdp, reward_tilted_dynamics(mdp, policy), policy) == pytest.approx(
        log_return(mdp, policy), abs=ROUNDING
    )


def early_or_late():
    """From 0 to 1 or 2 by the toss of a coin: 1 pays at once, 2 later."""
    rows = [[0, 0.5, 0.5, 0, 0], [0, 0, 0, 1.0, 0], [0, 0, 0, 0, 1.0]]
    rows += [[0, 0, 0, 1.0, 0], [0, 0, 0, 0, 1.0]]
    rewards = [[0.01], [10.0], [0.01], [0.01], [1.0]]
    return oracle.World([[row] for row in rows], rewards, [1.0, 0, 0, 0, 0], 0.9, [[1.0]] * 5)


def with_first_step(mdp, share):
    model = mdp.transitions.copy()
    model[0, 0, 1:3] = share, 1 - share
    return model


# --- A model for each number of steps left


@many
@given(
    worlds(discounts=(0.3, 0.9)), distributions(HORIZONS - 1, 3, 2, 3), st.booleans(), log_weights
)
def test_any_dynamics_that_know_the_steps_left_give_a_bound(world, free, inside, weights):
    mdp, policy = parts(world)
    models = [within_support(world, model) for model in free] if inside else free
    terms = time_to_go_terms(mdp, map(np.array, models), policy)
    assert special.logsumexp(terms) <= oracle.log_return(world) + ROUNDING
    assert at_horizons(terms, probabilities(weights)) <= special.logsumexp(terms) + ROUNDING
    for horizon in range(HORIZONS - 1):

        def dynamics(past, horizon=horizon):
            return models[horizon - len(past) // 2][past[-2]][past[-1]]

        expected = oracle.horizon_term(world, dynamics, horizon)
        assert terms[horizon] == pytest.approx(expected, rel=ROUNDING, abs=ROUNDING)


@many
@given(worlds())
def test_the_best_dynamics_beat_those_tilted_by_the_reward(world):
    mdp, policy = parts(world)
    best = time_to_go_bound(mdp, best_dynamics(mdp, policy), policy)
    tilted = time_to_go_bound(mdp, reward_tilted_dynamics(mdp, policy), policy)
    assert tilted <= best + ROUNDING
    assert best <= oracle.log_return(world) + ROUNDING


@many
@given(worlds(deterministic=True))
def test_they_are_tight_for_a_deterministic_policy_and_one_initial_state(world):
    mdp, policy = parts(world)
    expected = oracle.log_return(world)
    for dynamics in (best_dynamics, reward_tilted_dynamics):
        assert time_to_go_bound(mdp, dynamics(mdp, policy), policy) == pytest.approx(
            expected, abs=ROUNDING
        )


@many
@given(worlds(discounts=(0.5, 0.9)), distributions(9, 4, 3), st.integers(1, 2))
def test_dynamics_that_remember_everything_do_no_better(world, free, horizon):
    """The best that know only the steps left, each tilted by a whim of the whole past and of H."""
    mdp, policy = parts(world)
    best = list(islice(best_dynamics(mdp, policy), horizon))

    def dynamics(past):
        whim = free[3 * past[0] + past[-2]][2 * past[1] + past[-1]]
        model = best[horizon - len(past) // 2][past[-2], past[-1]]
        return oracle.tilted(model.tolist(), [1 + 0.1 * x for x in whim])

    value = time_to_go_terms(mdp, best, policy)[horizon]
    assert value == pytest.approx(oracle.best_horizon_term(world, horizon), abs=ROUNDING)
    assert oracle.horizon_term(world, dynamics, horizon) <= value + ROUNDING


# --- A model that decides on the way whether this is H


@many
@given(with_models(), st.lists(st.floats(0.05, 1), min_size=6, max_size=6))
def test_any_stopping_model_gives_a_bound_and_the_best_has_no_better_neighbour(case, stops):
    world, _ = case
    mdp, policy, q = parts(*case)
    best, stop = best_stopping(mdp, policy), np.reshape(stops, (3, 2))
    value = stopping_bound(mdp, best, policy)
    near = Stopping(0.9 * best.model + 0.1 * q, best.stop**stop)
    for other in (Stopping(q, stop), near, Stopping(best.model, near.stop)):
        assert stopping_bound(mdp, other, policy) <= value + ROUNDING
    assert value <= oracle.log_return(world) + ROUNDING


@some
@given(with_models(discounts=(0.5, 0.9)), st.lists(st.floats(0.6, 1), min_size=6, max_size=6))
def test_its_bound_is_a_mean_over_all_trajectories(case, stops):
    world, model = case
    mdp, policy, q = parts(*case)
    stop = np.reshape(stops, (3, 2))
    found = stopping_bound(mdp, Stopping(q, stop), policy)
    total, weight = 0.0, 0.0
    for length in (1, 2, 3, 4):
        for mass, path in oracle.paths(world, model, length):
            now = [stop[path[t], path[t + 1]] for t in range(0, 2 * length, 2)]
            ends = math.prod(1 - x for x in now[:-1]) * now[-1]
            if ends == 0:
                continue
            ratio = oracle.log_ratio(world, lambda past: model[past[-2]][past[-1]], path)
            earned = math.log(world.rewards[path[-2]][path[-1]] * world.discount ** (length - 1))
            total += mass * ends * (earned + ratio - math.log(ends))
            weight += mass * ends
    if math.isinf(total):
        assert found == total
    else:  # later ends, at most a share of 0.4^4, have terms of at most about 40
        assert abs(found - total) <= 60 * (1 - weight) + ROUNDING


@many
@given(worlds(deterministic=True))
def test_it_is_tight_without_a_clock_where_the_policy_is_deterministic(world):
    mdp, policy = parts(world)
    best = best_stopping(mdp, policy)
    assert stopping_bound(mdp, best, policy) == pytest.approx(oracle.log_return(world), abs=1e-9)
    values = evaluate(mdp, policy)
    assert best.model == pytest.approx(mdp.transitions * values / mdp.expect(values)[..., None])
    assert (policy * best.stop).sum(-1) == pytest.approx((policy * mdp.rewards).sum(-1) / values)


@many
@given(worlds())
def test_each_kind_of_dynamics_is_at_least_as_good_as_the_one_before(world):
    mdp, policy = parts(world)
    logs = with_log_rewards(mdp)
    simple = optimal_model(logs, policy, extra_discount=True)
    ladder = [
        mnm_bound(mdp, optimal_model(logs, policy), policy),
        mnm_bound(mdp, simple, policy, extra_discount=True),
        tight_bound(mdp, simple, policy),
        time_to_go_bound(mdp, best_dynamics(mdp, policy), policy),
        stopping_bound(mdp, best_stopping(mdp, policy), policy),
        oracle.log_return(world),
    ]
    assert all(low <= high + ROUNDING for low, high in pairwise(ladder))


@many
@given(worlds(deterministic=True))
def test_coordinate_ascent_on_it_is_policy_iteration(world):
    mdp, policy = parts(world)
    optimum = mdp.initial @ value_iteration(mdp).values
    for _ in range(len(world.states) * len(world.actions)):
        best = best_stopping(mdp, policy)
        better = improve_stopping_policy(mdp, best, policy)
        before = stopping_bound(mdp, best, policy)
        assert stopping_bound(mdp, best, better) >= before - ROUNDING
        gains = mdp.backup(evaluate(mdp, policy))
        assert (better * gains).sum(-1) == pytest.approx(gains.max(-1))
        policy = better
    assert expected_return(mdp, policy) == pytest.approx(optimum)


# --- What remains where there is something that q may not choose


@some
@given(worlds(deterministic=True, discounts=(0.5, 0.9)), distributions(3))
def test_random_initial_states_leave_the_gap_between_the_log_of_the_mean_and_the_mean_of_logs(
    world, initial
):
    mdp, policy = parts(world)
    mdp = type(mdp)(mdp.transitions, mdp.rewards, np.array(initial), mdp.discount)
    values = evaluate(mdp, policy)
    gap = math.log(mdp.initial @ values) - mdp.initial @ np.log(values)
    found = log_return(mdp, policy) - stopping_bound(mdp, best_stopping(mdp, policy), policy)
    assert found == pytest.approx(gap, abs=ROUNDING)


def test_random_actions_leave_a_gap_that_no_model_can_close():
    """Deterministic dynamics leave q nothing to do: the policy tosses for 1 or 100 for ever."""
    mdp = choice(safe=1.0, risky=(100.0,))
    coin = np.full((3, 2), 0.5)
    best = stopping_bound(mdp, best_stopping(mdp, coin), coin)
    # E log against log E of 1 + 9 r, the return from the start with gamma = 0.9.
    assert best == pytest.approx((math.log(10) + math.log(901)) / 2)
    assert log_return(mdp, coin) == pytest.approx(math.log(455.5))


def test_a_stop_of_zero_is_refused():
    mdp, policy = parts(fork())
    with pytest.raises(MDPError, match="stop must be above 0"):
        stopping_bound(mdp, Stopping(mdp.transitions, np.zeros((3, 1))), policy)


def test_a_horizon_distribution_must_be_one():
    with pytest.raises(MDPError, match="sums to 2"):
        at_horizons(np.zeros(2), np.ones(2))
