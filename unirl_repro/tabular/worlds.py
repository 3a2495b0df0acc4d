"""The tabular worlds of mnm, Sec. 5.1: two gridworlds, tasks on them, and three states in a row.

The paper shows them as images; sizes, walls and rewards are those of its published notebook.
"""

from dataclasses import dataclass

import numpy as np

from unirl_repro.tabular.mdp import MDP

Cell = tuple[int, int]  # row, column
UP, RIGHT, DOWN, LEFT, STAY = (-1, 0), (0, 1), (1, 0), (0, -1), (0, 0)
MOVES = (UP, RIGHT, DOWN, LEFT)  # what the actions 0 to 3 do
DISCOUNT = 0.9


@dataclass(frozen=True)
class Grid:
    """A square gridworld and the MDP on its cells, row after row; walls are cells that nobody enters.

    Attributes
    ----------
    mdp : MDP
        Rewards are paid in the cell that an action is taken in.
    walls : (N, N) array of bool
        Where no move leads.
    start, goal : (row, column)
        Where episodes begin, and where the reward is.
    moves : tuple of (row, column)
        What each action does, if the noise does not.
    """

    mdp: MDP
    walls: np.ndarray
    start: Cell
    goal: Cell
    moves: tuple[Cell, ...]

    @property
    def size(self) -> int:
        return len(self.walls)

    def state(self, cell: Cell) -> int:
        """The number of a cell's state."""
        return cell[0] * self.size + cell[1]

    def cell(self, state: int) -> Cell:
        """The cell of a state."""
        return state // self.size, state % self.size

    def free(self) -> np.ndarray:
        """States that are no walls: [F]."""
        return np.flatnonzero(~self.walls.ravel())

    def after(self, cell: Cell, move: Cell) -> Cell:
        """Where a move leads: nowhere, if a wall or the edge is in the way."""
        low, high = 0, self.size - 1
        row, column = (min(max(at + by, low), high) for at, by in zip(cell, move, strict=True))
        return cell if self.walls[row, column] else (row, column)


def gridworld(
    walls: np.ndarray,
    start: Cell,
    goal: Cell,
    *,
    rewards: tuple[float, float],
    noise: float,
    moves: tuple[Cell, ...] = MOVES,
) -> Grid:
    """A gridworld in which an action does what it says, or with probability `noise` any action.

    Parameters
    ----------
    walls : (N, N) array of bool
        Cells that cannot be entered.
    start, goal : (row, column)
        Cells.
    rewards : (float, float)
        In the goal, and in every other cell.
    noise : float
        Probability of a move drawn uniformly from all moves.
    moves : tuple of (row, column)
        The actions.

    Raises
    ------
    ValueError
        If the start or the goal is a wall or outside.
    """
    for name, cell in (("start", start), ("goal", goal)):
        inside = all(0 <= at < len(walls) for at in cell)
        if not inside or walls[cell]:
            raise ValueError(
                f"{name} is {cell}; allowed: a cell of the {len(walls)} x {len(walls)} grid that "
                "is no wall"
            )
    size, count = len(walls), len(moves)
    reward = np.full((size * size, count), rewards[1])
    reward[goal[0] * size + goal[1]] = rewards[0]
    initial = np.zeros(size * size)
    initial[start[0] * size + start[1]] = 1.0
    stays = np.broadcast_to(np.eye(size * size)[:, None], (size * size, count, size * size))
    grid = Grid(MDP(stays, reward, initial, DISCOUNT), walls, start, goal, moves)
    transitions = np.zeros((size * size, count, size * size))
    for state in range(size * size):
        reached = [grid.state(grid.after(grid.cell(state), move)) for move in moves]
        for action, chosen in enumerate(reached):
            transitions[state, action, chosen] += 1 - noise
            np.add.at(transitions[state, action], reached, noise / count)
    return Grid(grid.mdp.with_transitions(transitions), walls, start, goal, moves)


def stochastic_grid(rewards: tuple[float, float], goal: Cell = (0, 9)) -> Grid:
    """Figure 2a: a wall between start and goal, and half of all moves at random: [10 x 10]."""
    walls = np.zeros((10, 10), bool)
    walls[:6, 4:6] = True
    return gridworld(walls, (0, 0), goal, rewards=rewards, noise=0.5)


def obstacle_grid() -> Grid:
    """Figure 2b: a thin wall, no noise, and an action that stays: [15 x 15]."""
    walls = np.zeros((15, 15), bool)
    walls[:8, 7] = True
    moves = (*MOVES, STAY)
    return gridworld(walls, (0, 0), (2, 12), rewards=(100.0, 1.0), noise=0.0, moves=moves)


def windy_line() -> MDP:
    """Figure 3a: three states in a row; half the time, wind blows the agent out of the right one.

    Rewards 50, 1 and 51 from left to right; the start is in the middle. Actions 0 and 1 go left and
    right; two more that stay, as up and down do in the notebook, change nothing.
    """
    left, right = 0, 1
    transitions = np.zeros((3, 2, 3))
    for state in (0, 1):
        transitions[state, left, max(state - 1, 0)] = 1.0
        transitions[state, right, state + 1] = 1.0
    transitions[2, left, 1] = 1.0
    transitions[2, right, [1, 2]] = 0.5
    rewards = np.repeat([[50.0], [1.0], [51.0]], 2, axis=1)
    return MDP(transitions, rewards, np.array([0.0, 1.0, 0.0]), DISCOUNT)
