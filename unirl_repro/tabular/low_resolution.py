"""Models and classifiers that see blocks of cells, not cells (mnm, Fig. 2b).

A block's prediction is by how far the agent moves, the same in each of its cells: the mean over
them. What would leave the grid stays at its edge; what would enter a wall does.
"""

import numpy as np

from unirl_repro.tabular.worlds import Grid

BLOCK = 3  # cells of its side


class Blocks:
    """A grid cut into blocks of `BLOCK` x `BLOCK` cells.

    Parameters
    ----------
    grid : Grid
        Its side must be a multiple of a block's.
    """

    def __init__(self, grid: Grid):
        if grid.size % BLOCK:
            raise ValueError(f"a grid of {grid.size} cells; allowed: a multiple of {BLOCK}")
        self.size = grid.size
        cells = np.arange(grid.size**2)
        row, column = cells // grid.size, cells % grid.size
        self.block = (row // BLOCK) * (grid.size // BLOCK) + column // BLOCK  # [S]
        by = np.array([(r, c) for r in (-1, 0, 1) for c in (-1, 0, 1)])
        rows = np.clip(row[:, None] + by[:, 0], 0, grid.size - 1)
        columns = np.clip(column[:, None] + by[:, 1], 0, grid.size - 1)
        self.reached = rows * grid.size + columns  # [S, M], by each of the M displacements
        inside = (rows == row[:, None] + by[:, 0]) & (columns == column[:, None] + by[:, 1])
        self.inside = inside
        self.free = grid.free()

    def predict(self, transitions: np.ndarray) -> np.ndarray:
        """The prediction of a model that is the same within blocks: [S, A, S] -> [S, A, S].

        The paper does not say how its model is made coarse; deviation M5.
        """
        return self._spread(self.displacements(transitions)[self.block])

    def displacements(self, transitions: np.ndarray) -> np.ndarray:
        """Mean probability of each displacement, over a block's cells: [G, A, M]."""
        state = np.arange(len(self.block))[:, None]
        moved = transitions[state, :, self.reached] * self.inside[..., None]  # [S, M, A]
        total = np.zeros((self.block.max() + 1, *moved.shape[1:]))
        np.add.at(total, self.block, moved)
        return total.transpose(0, 2, 1) / BLOCK**2

    def cost_by_next_cell(self, transitions: np.ndarray, model: np.ndarray) -> np.ndarray:
        """E_q log q / p as a classifier sees it that knows block, action and next cell: [S, A]."""
        blocks = self.block.max() + 1
        means = np.zeros((2, blocks, *transitions.shape[1:]))
        for mean, full in zip(means, (transitions, model), strict=True):
            np.add.at(mean, self.block[self.free], full[self.free])
        real, learned = means[:, self.block]
        return _mean_log_ratio(model, learned, real)

    def cost_by_displacement(self, transitions: np.ndarray, model: np.ndarray) -> np.ndarray:
        """KL(q || p) as a classifier of blocks sees it: of displacements' means; [S, A].

        That classifier is Bayes-optimal among those that know block, action and displacement.
        """
        real, learned = self.displacements(transitions), self.displacements(model)
        return _mean_log_ratio(learned, learned, real)[self.block]

    def _spread(self, displacements: np.ndarray) -> np.ndarray:
        """Probabilities of displacements as those of next states: [S, A, M] -> [S, A, S]."""
        states, actions, _ = displacements.shape
        model = np.zeros((states, states, actions))
        state = np.arange(states)[:, None]
        np.add.at(model, (state, self.reached), displacements.transpose(0, 2, 1))
        return model.transpose(0, 2, 1)


def _mean_log_ratio(weights: np.ndarray, learned: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Mean of log q / p over the last axis; what has no weight counts for nothing."""
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = weights * np.log(learned / real)
    return np.where((weights > 0) & (learned > 0), terms, 0.0).sum(-1)
