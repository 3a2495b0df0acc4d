"""mnm's bound, its models and VMBPO's objective, against sums written out in plain Python."""

import math
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse, special

from tests.tabular import oracle
from tests.tabular.oracle import World, distributions, with_models, worlds
from unirl_repro.tabular.bounds import (
    augmented_rewards,
    bayes_classifier,
    classifier_rewards,
    improve_model,
    improve_policy,
    joint_optimum,
    log_partition,
    log_ratio_cost,
    mnm_bound,
    optimal_model,
    penalised_return,
    single_transition_objective,
    tilted_model,
    vmbpo_objective,
    with_log_rewards,
)
from unirl_repro.tabular.mdp import MDP, MDPError, evaluate, expected_return, uniform

ROUNDING = 1e-9
WEIGHTS = [False, True]  # of the log-ratio: 1 as printed, or gamma
many = settings(max_examples=150, deadline=None)
some = settings(max_examples=60, deadline=None)


def parts(world, model=None):
    """Arrays of an oracle's world: MDP, policy, and a model if there is one."""
    arrays = (MDP(*world.arrays), np.array(world.policy))
    return arrays if model is None else (*arrays, np.array(model))


def fork(first=1.0, rewards=(0.1, 10.0), probabilities=(0.5, 0.5), discount=0.5):
    """One random step, into states that last for ever and pay differently."""
    count = len(rewards)
    stay = [[float(i == s) for i in range(count + 1)] for s in range(count + 1)]
    transitions = [[[0.0, *probabilities]], *([row] for row in stay[1:])]
    pay = [[first], *([reward] for reward in rewards)]
    return World(transitions, pay, [1.0] + [0.0] * count, discount, [[1.0]] * (count + 1))


def choice(safe, risky, discount=0.9):
    """Action 0 leads to a state that pays `safe` for ever, action 1 to one of `risky`."""
    states = 2 + len(risky)
    transitions = np.repeat(np.eye(states)[:, None], 2, axis=1)
    transitions[0, 0], transitions[0, 1] = np.eye(states)[1], 0
    transitions[0, 1, 2:] = 1 / len(risky)
    rewards = np.repeat(np.array([1.0, safe, *risky])[:, None], 2, axis=1)
    return MDP(transitions, rewards, np.eye(states)[0], discount)


# --- Theorem 3.1


@many
@given(with_models(), st.sampled_from(WEIGHTS))
def test_the_bound_is_below_the_log_return_for_any_model_and_policy(case, extra_discount):
    world, model = case
    mdp, policy, q = parts(*case)
    bound = mnm_bound(mdp, q, policy, extra_discount)
    weight = world.discount if extra_discount else 1
    assert bound == pytest.approx(oracle.bound(world, model, weight), rel=ROUNDING, abs=ROUNDING)
    assert bound <= oracle.log_return(world) + ROUNDING


@settings(max_examples=20, deadline=None)
@given(with_models(discounts=(0.99,)))
def test_the_bound_holds_at_a_long_horizon_too(case):
    mdp, policy, q = parts(*case)
    bound = mnm_bound(mdp, q, policy)
    assert bound == pytest.approx(oracle.bound(*case), rel=1e-8, abs=1e-8)
    assert bound <= np.log(expected_return(mdp, policy)) + ROUNDING


@many
@given(with_models(within=True))
def test_one_more_discount_gains_a_share_of_the_ratio(case):
    world, _ = case
    mdp, policy, q = parts(*case)
    cost = log_ratio_cost(mdp, q)
    paid = oracle.discounted_sum(world, q.tolist(), cost.tolist())
    gained = mnm_bound(mdp, q, policy, extra_discount=True) - mnm_bound(mdp, q, policy)
    assert gained == pytest.approx((1 - world.discount) * paid, rel=1e-7, abs=1e-8)
    assert gained >= -ROUNDING


@some
@given(with_models(within=True))
def test_the_bound_is_the_return_of_the_augmented_rewards(case):
    mdp, policy, q = parts(*case)
    imagined = mdp.with_transitions(q).with_rewards(augmented_rewards(mdp, q))
    assert expected_return(imagined, policy) == pytest.approx(mnm_bound(mdp, q, policy))


@some
@given(with_models(within=False))
def test_the_bound_is_infinite_exactly_where_an_impossible_transition_can_happen(case):
    world, model = case
    mdp, policy, q = parts(*case)
    impossible = any(
        model[s][a][after] > 0 and world.transitions[s][a][after] == 0
        for s, a in oracle.possible(world, model)
        for after in world.states
    )
    assert (mnm_bound(mdp, q, policy) == -math.inf) == impossible


def test_a_reward_of_zero_is_named():
    world = fork(rewards=(0.0, 1.0))
    mdp, policy = parts(world)
    with pytest.raises(MDPError, match=r"rewards\[1, 0\] is 0.0"):
        mnm_bound(mdp, mdp.transitions, policy)


def test_sparse_transitions_are_refused():
    mdp, _ = parts(fork())
    flat = mdp.with_transitions(sparse.csr_array(mdp.transitions.reshape(3, 3)))
    with pytest.raises(MDPError, match="sparse"):
        log_ratio_cost(flat, mdp.transitions)


# --- Eq. 9, and the model step of each bound


@many
@given(with_models(), st.lists(st.floats(-5, 5), min_size=3, max_size=3), st.sampled_from([0.5, 1]))
def test_the_tilted_model_maximises_eq_9(case, values, scale):
    mdp, _, q = parts(*case)
    values = np.array(values)
    best = single_transition_objective(mdp, tilted_model(mdp, values, scale), values, scale)
    assert best == pytest.approx(log_partition(mdp, values, scale), rel=ROUNDING, abs=ROUNDING)
    assert (single_transition_objective(mdp, q, values, scale) <= best + ROUNDING).all()


def soft_value(world, extra_discount):
    """The largest value of the bound: V = E_pi[...] with log E_p e^V for E_p V, in plain Python."""
    left, discount = 1 - world.discount, world.discount
    exponent, weight = (1, discount) if extra_discount else (discount, 1)
    values = [0.0] * len(world.states)
    for _ in range(oracle.times(100 / left, discount)):
        values = [
            sum(
                world.policy[s][a]
                * (
                    left * math.log(world.rewards[s][a] / left)
                    + weight
                    * math.log(
                        sum(
                            p * math.exp(exponent * values[after])
                            for after, p in enumerate(world.transitions[s][a])
                        )
                    )
                )
                for a in world.actions
            )
            for s in world.states
        ]
    return sum(p * v for p, v in zip(world.initial, values, strict=True))


@many
@given(with_models(), st.sampled_from(WEIGHTS))
def test_the_optimal_model_maximises_the_bound(case, extra_discount):
    world, _ = case
    mdp, policy, q = parts(*case)
    best = optimal_model(with_log_rewards(mdp), policy, extra_discount)
    value = mnm_bound(mdp, best, policy, extra_discount)
    assert value == pytest.approx(soft_value(world, extra_discount), rel=1e-8, abs=1e-8)
    assert mnm_bound(mdp, q, policy, extra_discount) <= value + ROUNDING
    assert value <= oracle.log_return(world) + ROUNDING


@some
@given(with_models(within=True), st.sampled_from(WEIGHTS))
def test_a_model_step_never_lowers_the_bound(case, extra_discount):
    mdp, policy, q = parts(*case)
    better, _ = improve_model(with_log_rewards(mdp), q, policy, extra_discount)
    before = mnm_bound(mdp, q, policy, extra_discount)
    assert mnm_bound(mdp, better, policy, extra_discount) >= before - ROUNDING


@some
@given(worlds(discounts=(0.5, 0.9)), distributions(3, 2, 3), distributions(9, 4, 3))
def test_a_model_that_remembers_does_no_better(world, first, second):
    """Two transitions that may depend on all that came before, then the best model."""
    mdp, policy = parts(world)
    best = optimal_model(with_log_rewards(mdp), policy)
    rewards = augmented_rewards(mdp, best)
    later = evaluate(mdp.with_transitions(best).with_rewards(rewards), policy)

    def dynamics(past):
        s, a = past[-2:]
        p = world.transitions[s][a]
        seen = first[s][a] if len(past) == 2 else second[3 * past[0] + s][2 * past[1] + a]
        return oracle.tilted(p, [0.1 + x for x in seen])

    left, total = 1 - world.discount, 0.0
    for mass, path in oracle.history_paths(world, dynamics, 3):
        earned = sum(
            world.discount**t * left * math.log(world.rewards[path[2 * t]][path[2 * t + 1]] / left)
            for t in (0, 1)
        )
        ratios = [
            oracle.log_ratio(world, dynamics, path[: 2 * t + 2])
            - oracle.log_ratio(world, dynamics, path[: 2 * t])
            for t in (1, 2)
        ]
        paid = ratios[0] + world.discount * ratios[1]
        total += mass * (earned + paid + world.discount**2 * later[path[4]])
    assert total <= mnm_bound(mdp, best, policy) + ROUNDING


@many
@given(worlds())
def test_eq_9_as_printed_is_the_step_of_the_variant_not_of_eq_2(world):
    mdp, policy = parts(world)
    logs = with_log_rewards(mdp)
    printed = optimal_model(logs, policy, extra_discount=True)  # q ∝ p e^V
    own = optimal_model(logs, policy)  # q ∝ p e^{gamma V}
    assert mnm_bound(mdp, printed, policy) <= mnm_bound(mdp, own, policy) + ROUNDING
    assert (
        mnm_bound(mdp, own, policy, extra_discount=True)
        <= mnm_bound(mdp, printed, policy, extra_discount=True) + ROUNDING
    )


def test_what_the_missing_discount_of_eq_9_costs():
    """One random step into states of V = log(r / (1 - gamma)); gamma = 1/2, r = 0.1 and 10."""
    mdp, policy = parts(fork())
    logs = with_log_rewards(mdp)
    own, printed = optimal_model(logs, policy), optimal_model(logs, policy, extra_discount=True)
    # Odds of the good state: (10 / 0.1)^gamma, or 10 / 0.1.
    assert own[0, 0, 2] == pytest.approx(10 / 11)
    assert printed[0, 0, 2] == pytest.approx(100 / 101)
    lost = mnm_bound(mdp, own, policy) - mnm_bound(mdp, printed, policy)
    # The maximum is log E_p e^{gamma V}; at q it falls short by KL(q || q*).
    kl = 100 / 101 * math.log(100 / 101 / (10 / 11)) + 1 / 101 * math.log(1 / 101 / (1 / 11))
    assert lost == pytest.approx(kl)
    assert lost == pytest.approx(0.0626, abs=1e-4)


def test_a_mixed_step_can_lower_the_bound():
    """V of Eq. 2, tilted as Eq. 9 prints it: from the optimum of Eq. 2 it goes down."""
    mdp, policy = parts(fork())
    logs = with_log_rewards(mdp)
    best = optimal_model(logs, policy)
    rewards = augmented_rewards(mdp, best)
    values = evaluate(mdp.with_transitions(best).with_rewards(rewards), policy)
    as_printed = tilted_model(mdp, values, 1.0)
    assert mnm_bound(mdp, as_printed, policy) < mnm_bound(mdp, best, policy) - 0.05


@some
@given(worlds(), st.sampled_from(WEIGHTS))
def test_the_joint_optimum_is_where_alternating_steps_end(world, extra_discount):
    mdp, _ = parts(world)
    logs = with_log_rewards(mdp)
    policy, model = joint_optimum(logs, extra_discount)
    best = penalised_return(logs, model, policy, extra_discount)
    policy, model, value = uniform(mdp), mdp.transitions, -np.inf
    for _ in range(20):
        policy = improve_policy(logs, model, extra_discount)
        model, _ = improve_model(logs, model, policy, extra_discount)
        before, value = value, penalised_return(logs, model, policy, extra_discount)
        assert value >= before - ROUNDING
    assert value == pytest.approx(best, rel=1e-7, abs=1e-7)


@many
@given(worlds(deterministic=True))
def test_without_noise_it_is_tight_exactly_if_the_reward_is_always_the_same(world):
    """The logarithm is inside the mean over time, so Eq. 2 is not tight even in these worlds."""
    sure = np.eye(3)[world.arrays[0].argmax(-1)].tolist()
    world = replace(world, transitions=sure)
    mdp, policy = parts(world)
    gap = oracle.log_return(world) - mnm_bound(mdp, mdp.transitions, policy)
    met = {world.rewards[s][a] for s, a in oracle.possible(world, sure)}
    if len(met) == 1 or world.discount == 0:
        assert gap == pytest.approx(0, abs=ROUNDING)
    else:
        assert gap > 0


# --- VMBPO


@many
@given(with_models())
def test_vmbpos_objective_is_an_upper_bound_at_its_best_model(case):
    world, model = case
    mdp, policy, q = parts(*case)
    reached = oracle.discounted_sum(world, world.transitions, world.rewards)
    objective = vmbpo_objective(mdp, q, policy)
    assert objective == pytest.approx(oracle.vmbpo(world, model), rel=1e-8, abs=1e-8)
    best = vmbpo_objective(mdp, optimal_model(mdp, policy), policy)
    assert best >= max(reached, objective) - 1e-8
    assert vmbpo_objective(mdp, mdp.transitions, policy) == pytest.approx(reached)


def test_vmbpos_objective_is_no_bound_at_a_fixed_model():
    """A model that is sure of the bad outcome promises less than there is."""
    mdp, policy = parts(fork())
    q = mdp.transitions.copy()
    q[0, 0] = [0, 1, 0]
    reached = expected_return(mdp, policy)
    # 1 + log(1/2) + 0.5 * 0.1 / 0.5, against 1 + 0.5 * 5.05 / 0.5.
    assert vmbpo_objective(mdp, q, policy) == pytest.approx(1 - math.log(2) + 0.1)
    assert reached == pytest.approx(6.05)


@some
@given(worlds(discounts=(0.5, 0.9), states=2))
def test_the_best_trajectories_of_vmbpo_add_half_the_variance(world):
    """log E exp(eta R) / eta = E R + eta / 2 Var R + O(eta^2), on trajectories of three steps."""
    found = list(oracle.paths(world, world.transitions, 3))
    returns = [(mass, oracle.path_return(world, path)) for mass, path in found]
    mean = sum(mass * r for mass, r in returns)
    variance = sum(mass * (r - mean) ** 2 for mass, r in returns)
    widest = max(abs(r - mean) for _, r in returns)

    def rest(eta):
        risky = math.log(sum(mass * math.exp(eta * (r - mean)) for mass, r in returns)) / eta
        return risky - eta / 2 * variance

    # The third cumulant, below 8 times the cubed range, times eta^2 / 6.
    for eta in (0.1 / (1 + widest), 0.01 / (1 + widest)):
        assert abs(rest(eta)) <= 2 * eta**2 * widest**3 + ROUNDING / eta


@some
@given(worlds(discounts=(0.5, 0.9)))
def test_vmbpos_best_objective_adds_half_the_one_step_variances(world):
    """Discounted, each step's variance counts with gamma^t, not gamma^{2t}; actions' not at all."""
    mdp, policy = parts(world)
    values = evaluate(mdp, policy)
    spread = mdp.discount**2 * (mdp.expect(values**2) - mdp.expect(values) ** 2)
    half = oracle.discounted_sum(world, world.transitions, spread.tolist()) / 2

    def risky(eta):
        scaled = mdp.with_rewards(eta * mdp.rewards)
        return vmbpo_objective(scaled, optimal_model(scaled, policy), policy) / eta

    eta = 1e-3 / mdp.rewards.max()
    slope = (risky(eta) - risky(0.1 * eta)) / (0.9 * eta)
    assert slope == pytest.approx(half, rel=0.05, abs=0.01 * mdp.rewards.max() ** 2)


# --- Sec. 3 and Appendix B.4: q*(tau) ∝ p(tau) R(tau)


def tilted_by_return(world, length):
    """log E_p R, and q*(tau) of each trajectory of some steps."""
    weights = {
        path: mass * oracle.path_return(world, path)
        for mass, path in oracle.paths(world, world.transitions, length)
    }
    total = sum(weights.values())
    return math.log(total), {path: weight / total for path, weight in weights.items()}


def trajectory_objective(world, q, length):
    """E_q[log R + log p / q] of any distribution of trajectories."""
    true = {path: mass for mass, path in oracle.paths(world, world.transitions, length)}
    return sum(
        mass * (math.log(oracle.path_return(world, path)) + math.log(true[path] / mass))
        for path, mass in q.items()
        if mass > 0
    )


@some
@given(worlds(states=2), st.randoms(use_true_random=False))
def test_trajectories_tilted_by_their_return_make_the_first_step_of_the_proof_tight(world, random):
    log_mean, q = tilted_by_return(world, 3)
    assert trajectory_objective(world, q, 3) == pytest.approx(log_mean, abs=ROUNDING)
    other = {path: mass * random.choice([0.5, 1, 2]) for path, mass in q.items()}
    other = {path: mass / sum(other.values()) for path, mass in other.items()}
    assert trajectory_objective(world, other, 3) <= log_mean + ROUNDING


def test_they_do_not_maximise_eq_2():
    """The return of a fork is one of two numbers, so q* is a model; that of Eq. 2 is another."""
    mdp, policy = parts(fork(first=2.0))
    own = optimal_model(with_log_rewards(mdp), policy)
    returns = 2 + np.array([0.1, 10.0])  # r_0 + gamma r / (1 - gamma), with gamma = 1/2
    star = mdp.transitions.copy()
    star[0, 0, 1:] = returns / returns.sum()
    assert star[0, 0, 2] == pytest.approx(12 / 14.1)
    assert own[0, 0, 2] == pytest.approx(10 / 11)  # p e^{gamma V} has odds of (10 / 0.1)^gamma
    assert mnm_bound(mdp, star, policy) < mnm_bound(mdp, own, policy) - 0.01


def test_they_are_not_markov():
    """After the same state, what was earned before it changes the odds of what comes next."""
    half = [0.0, 0.5, 0.5, 0, 0, 0]
    transitions = [half, *[[0, 0, 0, 1.0, 0, 0]] * 2, [0, 0, 0, 0, 0.5, 0.5]]
    transitions += [[0, 0, 0, 0, 1.0, 0], [0, 0, 0, 0, 0, 1.0]]
    rewards = [1.0, 1.0, 100.0, 1.0, 1.0, 9.0]
    world = World(
        [[row] for row in transitions], [[r] for r in rewards], [1.0] + [0] * 5, 0.9, [[1.0]] * 6
    )
    _, q = tilted_by_return(world, 4)
    odds = {
        first: q[0, 0, first, 0, 3, 0, 5, 0] / q[0, 0, first, 0, 3, 0, 4, 0] for first in (1, 2)
    }
    assert odds[1] > 2
    assert odds[2] < 1.1


@some
@given(worlds(states=2, discounts=(0.5, 0.9)))
def test_they_choose_initial_states_and_actions_too(world):
    """So no q that has p's initial states and policy is q*, unless there is nothing to choose."""
    log_mean, q = tilted_by_return(world, 2)
    chosen = {s: sum(m for path, m in q.items() if path[0] == s) for s in world.states}
    true = oracle.discounted_sum_of(world, 2)
    for s in world.states:
        assert chosen[s] == pytest.approx(world.initial[s] * true[s] / math.exp(log_mean))


# --- Eq. 4 and 5: the classifier


@many
@given(with_models())
def test_the_log_odds_of_the_bayes_classifier_are_the_log_ratio(case):
    mdp, _, q = parts(*case)
    c = bayes_classifier(mdp, q)
    for s, a, after in product(range(3), range(2), range(3)):
        p, model = mdp.transitions[s, a, after], q[s, a, after]
        if p > 0 and model > 0:
            odds = math.log(c[s, a, after] / (1 - c[s, a, after]))
            assert odds == pytest.approx(math.log(p / model))
    expected = np.log(mdp.rewards) - log_ratio_cost(mdp, q)
    assert classifier_rewards(mdp, q) == pytest.approx(expected, rel=ROUNDING, abs=ROUNDING)


@some
@given(with_models(), distributions(3, 2, 3))
def test_the_bayes_classifier_maximises_the_cross_entropy(case, other):
    mdp, _, q = parts(*case)

    def eq_4(c):  # xlogy has 0 log 0 = 0
        return (special.xlogy(mdp.transitions, c) + special.xlogy(q, 1 - c)).sum(-1)

    best = eq_4(bayes_classifier(mdp, q))
    assert (eq_4(np.clip(other, 0.01, 0.99)) <= best + ROUNDING).all()


def test_eq_5_is_no_bound():
    """A reward of e at every step: the log of the return is 1 + log 10, and Eq. 5's sum is 10."""
    one = World([[[1.0]]], [[math.e]], [1.0], 0.9, [[1.0]])
    mdp, policy = parts(one)
    assert np.log(expected_return(mdp, policy)) == pytest.approx(1 + math.log(10))
    eq_5 = expected_return(mdp.with_rewards(classifier_rewards(mdp, mdp.transitions)), policy)
    assert eq_5 == pytest.approx(10)


@many
@given(with_models())
def test_eq_5_bounds_the_return_of_rewards_raised_to_a_power(case):
    """It is Eq. 2's bound for r^{1 / (1 - gamma)}, but for a constant: a risk-seeking reward."""
    world, _ = case
    mdp, policy, q = parts(*case)
    left = 1 - world.discount
    powers = [[r ** (1 / left) for r in row] for row in world.rewards]
    eq_5 = penalised_return(mdp.with_rewards(np.log(mdp.rewards)), q, policy)
    raised = mdp.with_rewards(np.array(powers))
    assert eq_5 == pytest.approx(mnm_bound(raised, q, policy) + math.log(left), rel=1e-8, abs=1e-8)


def test_eq_5_prefers_another_policy():
    """Safe 70 for ever against 100 or 1 by the toss of a coin; gamma = 0.9."""
    mdp = choice(safe=70.0, risky=(100.0, 1.0))
    safe, risky = np.eye(2)[[0] * 4], np.eye(2)[[1] * 4]
    assert expected_return(mdp, safe) > expected_return(mdp, risky) + 100
    printed, _ = joint_optimum(mdp.with_rewards(np.log(mdp.rewards)))
    exact, _ = joint_optimum(with_log_rewards(mdp))
    assert printed[0] == pytest.approx([0, 1])
    assert exact[0] == pytest.approx([1, 0])


def test_eq_3_can_prefer_a_policy_of_lower_return():
    """Its maximum is cautious: 48 for ever, where the coin is worth 50.5 a step."""
    mdp = choice(safe=48.0, risky=(100.0, 1.0))
    cautious, _ = joint_optimum(with_log_rewards(mdp))
    assert cautious[0] == pytest.approx([1, 0])
    assert expected_return(mdp, np.eye(2)[[1] * 4]) > expected_return(mdp, cautious) + 20


@some
@given(with_models(within=True), st.floats(0.1, 10))
def test_the_constant_of_eq_3_moves_no_maximiser(case, scale):
    """Rewards times c add log c to the bound of every policy and model; so does any constant."""
    mdp, policy, q = parts(*case)
    scaled = mdp.with_rewards(scale * mdp.rewards)
    moved = mnm_bound(scaled, q, policy) - mnm_bound(mdp, q, policy)
    assert moved == pytest.approx(math.log(scale), abs=1e-7)
    assert optimal_model(with_log_rewards(scaled), policy) == pytest.approx(
        optimal_model(with_log_rewards(mdp), policy), abs=1e-7
    )
