"""The worlds of mnm's Section 5.1, against what can be said of them by hand."""

import numpy as np
import pytest

from unirl_repro.tabular.mdp import expected_return, value_iteration
from unirl_repro.tabular.worlds import (
    MOVES,
    gridworld,
    obstacle_grid,
    stochastic_grid,
    windy_line,
)


def to(grid, cell, action):
    """Probabilities of the next cells."""
    row = grid.mdp.transitions[grid.state(cell), action]
    return {grid.cell(int(state)): row[state] for state in np.flatnonzero(row)}


def test_a_move_on_the_stochastic_grid_is_half_random():
    grid = stochastic_grid((10.0, 0.001))
    right = MOVES.index((0, 1))
    assert to(grid, (8, 4), right) == pytest.approx(
        {(8, 5): 0.625, (7, 4): 0.125, (9, 4): 0.125, (8, 3): 0.125}
    )
    # Next to the wall, and in a corner, what is blocked stays.
    assert to(grid, (2, 3), right) == pytest.approx(
        {(2, 3): 0.625, (1, 3): 0.125, (3, 3): 0.125, (2, 2): 0.125}
    )
    assert to(grid, (0, 0), right) == pytest.approx({(0, 1): 0.625, (0, 0): 0.25, (1, 0): 0.125})


def test_no_move_enters_a_wall():
    for grid in (stochastic_grid((10.0, 1.0)), obstacle_grid()):
        walls = np.flatnonzero(grid.walls.ravel())
        assert grid.mdp.transitions[grid.free()][..., walls].sum() == 0
        assert grid.mdp.initial[grid.state(grid.start)] == 1
        assert grid.mdp.rewards[grid.state(grid.goal)].min() == grid.mdp.rewards.max()


def test_the_best_way_on_the_obstacle_grid_leads_around_the_wall():
    """8 steps down, 12 to the right and 6 up, each paid 1; then 100 for ever."""
    mdp, steps = obstacle_grid().mdp, 26
    best = (1 - 0.9**steps) / 0.1 + 0.9**steps * 100 / 0.1
    assert expected_return(mdp, value_iteration(mdp).policy) == pytest.approx(best)


def test_on_the_windy_line_left_is_better_than_right():
    mdp = windy_line()
    left, right = (np.eye(2)[[action] * 3] for action in (0, 1))
    assert expected_return(mdp, left) == pytest.approx(1 + 0.9 * 50 / 0.1)
    assert expected_return(mdp, right) < expected_return(mdp, left)
    assert mdp.transitions[2, 1].tolist() == [0, 0.5, 0.5]


@pytest.mark.parametrize("cell", [(0, 4), (10, 0), (-1, 0)])
def test_a_goal_in_a_wall_or_outside_is_refused(cell):
    walls = stochastic_grid((10.0, 1.0)).walls
    with pytest.raises(ValueError, match=r"goal is \(.*\); allowed: a cell of the 10 x 10 grid"):
        gridworld(walls, (0, 0), cell, rewards=(1.0, 0.1), noise=0.0)
