"""mnm Figure 2: learning on a stochastic grid, the dynamics learnt there, and a coarse model."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from unirl_repro.analysis.frames import Status
from unirl_repro.analysis.style import PALETTE, TEXT_WIDTH, dress, styled
from unirl_repro.figures._tabular import (
    LOOKS,
    curve,
    draw_curve,
    draw_grid,
    number,
    over_seeds,
    variants,
)

ORDER = ("mnm", "mnm_learned", "q_learning", "q_learning_log", "vmbpo", "mnm_no_log")
MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1))  # up, right, down, left
ARROW = 0.42  # cells that a move of probability one is long
COARSE = {
    "mnm": ("exact model", PALETTE[0]),
    "mnm_coarse": ("3×3 model, exact classifier", PALETTE[2]),
    "mnm_coarse_no_classifier": ("3×3 model, no classifier", PALETTE[1]),
    "mnm_coarse_by_displacement": ("3×3 model, classifier of\nblocks and moves", PALETTE[4]),
    "mnm_coarse_by_next_cell": ("3×3 model, classifier of\nblocks and next cells", PALETTE[3]),
}
BLOCK = 3
GOALS = {"dynamics": (0, 9), "paths": (2, 12)}
WALLS = {"dynamics": (10, range(6), range(4, 6)), "paths": (15, range(8), range(7, 8))}
MAPS = {"real": "real dynamics", "mnm": "dynamics of MnM"}


def data(frame: pd.DataFrame, status: Status) -> pd.DataFrame:
    """All numbers over seeds, as `over_seeds` has them; the paths as they are drawn."""
    return over_seeds(frame)


def figure(frame: pd.DataFrame, status: Status) -> Figure:
    """Draw learning curves beside the real and the learnt dynamics, above the coarse model's map.

    Bands are standard deviations over seeds, as in the paper.
    """
    with styled():
        fig = Figure(figsize=(TEXT_WIDTH, 5.6), layout="constrained")
        above, below = np.asarray(fig.subfigures(2, 1, height_ratios=[1.1, 1]))
        returns, *maps = above.subplots(1, 3, width_ratios=[1.05, 1, 1])
        _draw_returns(returns, frame)
        for ax, (variant, title) in zip(maps, MAPS.items(), strict=True):
            _draw_dynamics(ax, frame, variant)
            ax.set_title(title)
        paths, reached = below.subplots(1, 2, width_ratios=[2.2, 1])
        _draw_paths(paths, frame)
        _draw_success(reached, frame)
    return fig


def _draw_returns(ax: Axes, frame: pd.DataFrame) -> None:
    dress(ax)
    drawn = over_seeds(frame[frame["panel"] == "returns"])
    for variant in variants(frame, "returns", ORDER):
        draw_curve(ax, curve(drawn, "returns", "return", variant), LOOKS[variant])
    ax.set(xlabel="iterations", ylabel="return", title="learning curves")
    if len(drawn):
        ax.axhline(number(frame, "speed", "optimal", "return"), color="0.35", ls=":", lw=0.8)
        ax.legend(fontsize=7, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.25))


def _draw_dynamics(ax: Axes, frame: pd.DataFrame, variant: str) -> None:
    """An arrow for each action, as long as its move is likely; the noise's drift in red."""
    _draw_map(ax, "dynamics")
    rows = frame[(frame["panel"] == "dynamics") & (frame["variant"] == variant)]
    moves = rows[rows["name"] == "probability"]
    at = moves[["column", "row"]].to_numpy(float) + 0.5
    by = np.array([MOVES[action] for action in moves["action"]]).reshape(-1, 2)[:, ::-1]
    long = ARROW * moves["value"].to_numpy(float)[:, None] * by
    _arrows(ax, at, long, PALETTE[0], 0.004)
    drift = rows[rows["name"].str.startswith("drift")].pivot_table(
        index=["row", "column"], columns="name", values="value"
    )
    if len(drift):
        at = np.array([(column, row) for row, column in drift.index], float) + 0.5
        by = drift[["drift_column", "drift_row"]].to_numpy(float)
        _arrows(ax, at, by, PALETTE[3], 0.007)


def _arrows(ax: Axes, at: np.ndarray, by: np.ndarray, colour: str, width: float) -> None:
    # As long as they say, in cells.
    arrows = ax.quiver(
        at[:, 0], at[:, 1], by[:, 0], by[:, 1], angles="xy", scale_units="xy", scale=1
    )
    arrows.set(color=colour)
    arrows.width, arrows.headwidth, arrows.headlength, arrows.headaxislength = width, 4, 4, 4


def _draw_map(ax: Axes, panel: str, block: int = 1) -> None:
    size, rows, columns = WALLS[panel]
    walls = {(row, column) for row in rows for column in columns}
    free = {(r, c) for r in range(size) for c in range(size)} - walls
    draw_grid(ax, size, free, block=block)
    row, column = GOALS[panel]
    ax.plot(column + 0.5, row + 0.5, "*", color=PALETTE[8], ms=9, zorder=3)


def _draw_paths(ax: Axes, frame: pd.DataFrame) -> None:
    _draw_map(ax, "paths", BLOCK)
    shift = np.linspace(-0.28, 0.28, len(COARSE))
    names = variants(frame, "paths", list(COARSE))
    for offset, variant in zip(shift, names, strict=False):
        rows = frame[(frame["panel"] == "paths") & (frame["variant"] == variant)]
        rows = rows.sort_values("iteration")
        x, y = rows["column"] + 0.5 + offset, rows["row"] + 0.5 + offset
        name, colour = COARSE[variant]
        ax.plot(x, y, color=colour, label=name, lw=1.6)
        ax.plot(x.iloc[-1], y.iloc[-1], "o", color=colour, ms=4)
    ax.text(1.2, 1.6, "start", fontsize=7)
    ax.set_title("paths with a coarse model")
    if names:
        ax.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))


def _draw_success(ax: Axes, frame: pd.DataFrame) -> None:
    names = variants(frame, "coarse", list(COARSE))
    values = [number(frame, "coarse", variant, "success") for variant in names]
    ax.barh(range(len(names)), values, color=[COARSE[variant][1] for variant in names])
    ax.set(yticks=[], xlim=(0, 1.05), ylim=(len(names) - 0.4, -0.6), title="goal reached")
    ax.set_xlabel("probability within 100 steps")
