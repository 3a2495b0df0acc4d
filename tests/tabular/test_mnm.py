"""Exact best responses, and the variance of a return."""

import numpy as np
import pytest

from unirl_repro.tabular.bounds import log_ratio_cost
from unirl_repro.tabular.low_resolution import Blocks
from unirl_repro.tabular.mdp import MDP, MDPError, expected_return, uniform, value_iteration
from unirl_repro.tabular.mnm import METHODS, last, return_variance, solve
from unirl_repro.tabular.worlds import gridworld, obstacle_grid, stochastic_grid, windy_line


@pytest.mark.parametrize("name", METHODS)
def test_without_noise_every_method_finds_the_best_policy(name):
    """Then no model that stays in the support differs from the real dynamics."""
    mdp = gridworld(np.zeros((4, 4), bool), (0, 0), (3, 2), rewards=(9.0, 0.5), noise=0.0).mdp
    found = last(solve(mdp, METHODS[name]))
    assert expected_return(mdp, found.best) == pytest.approx(
        expected_return(mdp, value_iteration(mdp).policy)
    )
    assert np.allclose(found.model, mdp.transitions)


def test_iterations_end_where_policy_and_model_answer_one_another():
    mdp = stochastic_grid((10.0, 1.0)).mdp
    steps = list(solve(mdp, METHODS["mnm"]))
    assert steps[-1].change < 1e-6 < steps[-2].change
    assert len(steps) < 100
    # The answer to the model's values is the model: p e^V, from the definition.
    tilted = mdp.transitions * np.exp(steps[-1].values)
    assert np.allclose(tilted / tilted.sum(-1, keepdims=True), steps[-1].model, atol=1e-5)


def test_q_learning_alone_lives_in_the_real_dynamics():
    mdp = windy_line()
    first = next(solve(mdp, METHODS["q_learning"]))
    real = mdp.backup(np.linalg.solve(np.eye(3) - 0.9 * mdp.chain(uniform(mdp)), [50.0, 1.0, 51.0]))
    assert first.values == pytest.approx(real.max(-1))


def test_a_reward_without_logarithm_is_refused_where_one_is_needed():
    mdp = windy_line()
    poor = mdp.with_rewards(mdp.rewards - 1)
    next(solve(poor, METHODS["vmbpo"]))
    with pytest.raises(MDPError, match=r"rewards\[1, 0\] is 0.0; allowed: above 0"):
        next(solve(poor, METHODS["mnm"]))


def test_variance_of_a_return_is_that_of_simulated_ones():
    mdp, policy, rng = windy_line(), np.eye(2)[[1, 1, 1]], np.random.default_rng(0)
    state, total = np.ones(20_000, int), np.zeros(20_000)
    for step in range(150):
        total += 0.9**step * mdp.rewards[state, 1]
        blown = (state == 2) & (rng.random(len(state)) < 0.5)
        state = np.where(blown, 1, np.minimum(state + 1, 2))
    assert return_variance(mdp, policy) == pytest.approx(total.var(), rel=0.05)
    assert return_variance(mdp, np.eye(2)[[0, 0, 0]]) == pytest.approx(0, abs=1e-6)


def test_a_coarse_model_is_the_mean_of_its_block_and_walks_into_walls():
    grid = obstacle_grid()
    model = Blocks(grid).predict(grid.mdp.transitions)
    assert np.allclose(model.sum(-1), 1)
    right, beside, wall = 1, grid.state((1, 6)), grid.state((1, 7))
    # Of the block's nine cells the three beside the wall stay; the wall's own cells can leave.
    assert model[beside, right, wall] == pytest.approx(6 / 9)
    assert model[beside, right, beside] == pytest.approx(3 / 9)
    # Far from walls and edges nothing changes.
    inner = [grid.state((r, c)) for r in range(9, 12) for c in range(3, 6)]
    assert np.allclose(model[inner], grid.mdp.transitions[inner])


def test_a_coarse_classifier_sees_nothing_where_displacements_agree():
    grid = obstacle_grid()
    blocks, real = Blocks(grid), grid.mdp.transitions
    assert np.allclose(blocks.cost_by_displacement(real, real), 0)
    assert np.allclose(blocks.cost_by_next_cell(real, real), 0)
    coarse = blocks.predict(real)
    beside, right = grid.state((4, 6)), 1
    assert blocks.cost_by_displacement(real, coarse)[beside, right] == pytest.approx(0)
    assert np.isinf(log_ratio_cost(grid.mdp, coarse)[beside, right])
    assert np.isinf(blocks.cost_by_next_cell(real, coarse)[beside, right])


def test_blocks_must_fit_the_grid():
    with pytest.raises(ValueError, match="a grid of 10 cells; allowed: a multiple of 3"):
        Blocks(stochastic_grid((10.0, 1.0)))


def test_a_model_that_never_moves_is_its_own_answer():
    mdp = MDP(np.eye(2)[:, None], np.array([[1.0], [2.0]]), np.array([1.0, 0.0]), 0.5)
    assert len(list(solve(mdp, METHODS["mnm"]))) == 1
