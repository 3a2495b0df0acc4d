"""Learning from sampled trajectories: against plain loops, closed forms and frequencies."""

import numpy as np
import pytest

from unirl_repro.rng import Keys
from unirl_repro.tabular.bounds import log_ratio_cost, tilted_model
from unirl_repro.tabular.learning import (
    Adversarial,
    Exact,
    Fixed,
    Settings,
    SideBySide,
    Successors,
    exact_model,
    learn,
    sample,
)
from unirl_repro.tabular.mdp import expected_return, greedy, value_iteration
from unirl_repro.tabular.mnm import METHODS
from unirl_repro.tabular.worlds import stochastic_grid

MDP = stochastic_grid((10.0, 0.001)).mdp
SUCCESSORS = Successors.of(MDP.transitions)
SHORT = Settings(iterations=7, steps=30, evaluate_every=3)


def rngs(count=1):
    return [Keys(seed, "test")("trajectories") for seed in range(count)]


def test_successors_hold_the_dynamics():
    assert np.allclose(SUCCESSORS.dense(SUCCESSORS.probability), MDP.transitions)
    assert np.allclose(SUCCESSORS.of_model(MDP.transitions), SUCCESSORS.probability)


def test_the_exact_answer_is_the_tilted_model_and_its_cost():
    values = 3 * np.random.default_rng(0).random((2, *MDP.rewards.shape))
    task = np.broadcast_to(METHODS["mnm"].rewards(MDP), (2, *MDP.rewards.shape))
    models, rewards = Exact(SUCCESSORS, task, classifier=True).respond(values)
    for value, model, reward in zip(values, models, rewards, strict=True):
        expected = tilted_model(MDP, value.max(-1), 1.0)
        assert np.allclose(SUCCESSORS.dense(model), expected)
        assert np.allclose(reward, task[0] - log_ratio_cost(MDP, expected))
    without, rewards = Exact(SUCCESSORS, task, classifier=False).respond(values)
    assert np.array_equal(without, models)
    assert np.array_equal(rewards, task)


def test_updates_are_those_of_a_loop_over_all_samples():
    """As the paper's description has it: each sample so far, its reward as it was, one by one."""
    model = exact_model(MDP, METHODS["mnm"], SUCCESSORS, 1)
    found = [values[0] for _, values in learn(MDP, SUCCESSORS, model, rngs(), SHORT)]

    draws, samples, values, kept = rngs(), [], np.zeros(MDP.rewards.shape), []
    for iteration in range(SHORT.iterations):
        dynamics, reward = model.respond(values[None])
        best = values.argmax(-1)[None]
        path = sample(dynamics, SUCCESSORS, 0, best, SHORT, draws)
        for s, a, n in zip(path.state[0], path.action[0], path.successor[0], strict=True):
            samples.append((s, a, SUCCESSORS.state[s, a, n], reward[0, s, a]))
        change = np.zeros_like(values)
        for s, a, following, paid in samples:
            target = paid + MDP.discount * values[following].max()
            change[s, a] += SHORT.learning_rate * (target - values[s, a])
        values = values + change
        if iteration % SHORT.evaluate_every == 0:
            kept.append(values)
    assert len(found) == len(kept) == 3
    for ours, theirs in zip(found, kept, strict=True):
        assert np.allclose(ours, theirs, rtol=0, atol=1e-12)


def test_much_visited_pairs_do_not_overshoot():
    fast = Settings(iterations=60, steps=100, learning_rate=0.5, evaluate_every=59)
    model = exact_model(MDP, METHODS["q_learning_log"], SUCCESSORS, 1)
    *_, (_, values) = learn(MDP, SUCCESSORS, model, rngs(), fast)
    assert np.abs(values).max() <= np.abs(METHODS["mnm"].rewards(MDP)).max() / (1 - MDP.discount)


def test_samples_come_as_often_as_the_model_and_the_policy_say():
    settings = Settings(steps=20_000, epsilon=0.4)
    dynamics = SUCCESSORS.probability[None]
    best = np.ones((1, MDP.num_states), int)
    path = sample(dynamics, SUCCESSORS, 0, best, settings, rngs())
    # 0.6 greedy, and a quarter of the random rest.
    assert (path.action == 1).mean() == pytest.approx(0.7, abs=0.015)
    open_cells = np.flatnonzero(np.isclose(SUCCESSORS.probability[:, 1, 3], 0.125))
    chosen = np.isin(path.state, open_cells) & (path.action == 1)
    shares = np.bincount(path.successor[chosen], minlength=4) / chosen.sum()
    assert chosen.sum() > 4000
    assert shares == pytest.approx([0.625, 0.125, 0.125, 0.125], abs=0.025)
    reached = SUCCESSORS.state[path.state, path.action, path.successor]
    assert (reached[:, :-1] == path.state[:, 1:]).all()


def test_learnt_model_and_classifier_come_to_the_exact_ones():
    """With all the data there could be, at fixed values: q = p e^V / Z, and log C/(1-C) = log p/q."""
    values = np.random.default_rng(1).random(MDP.rewards.shape)
    task = np.zeros((1, *MDP.rewards.shape))
    learnt = Adversarial(SUCCESSORS, task, 0, SHORT, rngs())
    learnt.real_every = 10**9
    learnt.respond(values[None])
    learnt.counts = 1e9 * SUCCESSORS.probability[None]
    for _ in range(400):
        model, rewards = learnt.respond(values[None])
    exact = tilted_model(MDP, values.max(-1), 1.0)
    assert np.allclose(SUCCESSORS.dense(model[0]), exact, atol=2e-3)
    assert np.allclose(rewards[0], -log_ratio_cost(MDP, exact), atol=5e-3)


def test_without_real_data_nothing_is_learnt():
    learnt = Adversarial(SUCCESSORS, np.zeros((1, *MDP.rewards.shape)), 0, SHORT, rngs())
    model, rewards = learnt.respond(np.ones((1, *MDP.rewards.shape)))
    unseen = learnt.counts[0].sum(-1) == 0
    assert unseen.any()
    assert (~unseen).any()
    assert not rewards[0][unseen].any()
    possible = SUCCESSORS.probability > 0
    even = possible / possible.sum(-1, keepdims=True)
    assert np.allclose(model[0][unseen], even[unseen])


def test_runs_side_by_side_are_those_alone():
    methods = ("mnm", "q_learning_log")
    models = [exact_model(MDP, METHODS[name], SUCCESSORS, 2) for name in methods]
    together = list(learn(MDP, SUCCESSORS, SideBySide(models, 2), rngs(4), SHORT))
    for k, model in enumerate(models):
        alone = learn(MDP, SUCCESSORS, model, rngs(4)[2 * k : 2 * k + 2], SHORT)
        for (_, of_both), (_, own) in zip(together, alone, strict=True):
            assert np.array_equal(of_both[2 * k : 2 * k + 2], own)


def test_q_learning_in_the_real_dynamics_finds_a_near_goal():
    mdp = stochastic_grid((10.0, 0.001), goal=(2, 1)).mdp
    settings = Settings(iterations=401, evaluate_every=400, learning_rate=1e-3)
    rewards = METHODS["q_learning_log"].rewards(mdp)
    model = Fixed(SUCCESSORS.probability[None], rewards[None])
    *_, (_, values) = learn(mdp, SUCCESSORS, model, rngs(), settings)
    best = expected_return(mdp, value_iteration(mdp).policy)
    assert expected_return(mdp, greedy(values[0])) > 0.9 * best
