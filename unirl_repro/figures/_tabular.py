"""What the figures of tabular studies share: looks, curves with their spread, maps of grids."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from unirl_repro.analysis.statistics import summarise
from unirl_repro.analysis.style import PALETTE

# A look for each variant: name, colour, dashes.
Look = tuple[str, str, str]
MNM, Q_LEARNING, VMBPO = PALETTE[2], PALETTE[0], PALETTE[1]
LOOKS: Mapping[str, Look] = {
    "mnm": ("MnM", MNM, "-"),
    "mnm_learned": ("MnM, learnt classifier", MNM, "--"),
    "mnm_no_log": ("MnM without log", PALETTE[3], "-"),
    "q_learning": ("Q-learning", Q_LEARNING, "-"),
    "q_learning_log": ("Q-learning, log reward", Q_LEARNING, "--"),
    "vmbpo": ("VMBPO", VMBPO, "-"),
    "optimal": ("optimal", "0.35", ":"),
}
PLACE = ["panel", "variant", "name", "iteration", "row", "column", "action"]
COLUMNS = [*PLACE, "mean", "std", "low", "high", "smallest", "largest", "num_seeds"]


def over_seeds(frame: pd.DataFrame) -> pd.DataFrame:
    """Each number of a tabular frame over its seeds, at each place.

    Returns
    -------
    DataFrame
        Columns `COLUMNS`: mean, standard deviation as the paper shows it, Student's interval, and
        extremes; places are -1 where they do not apply.
    """
    found = []
    for place, group in frame.groupby(PLACE, sort=False):
        values = group["value"].to_numpy()
        sample = summarise(values)
        low, high = sample.mean - sample.half_width, sample.mean + sample.half_width
        numbers = (sample.mean, sample.spread, low, high, values.min(), values.max())
        found.append((*place, *numbers, sample.num_seeds))
    return pd.DataFrame(found, columns=COLUMNS)


def curve(drawn: pd.DataFrame, panel: str, name: str, variant: str) -> pd.DataFrame:
    """A variant's numbers through the iterations."""
    rows = drawn[(drawn["panel"] == panel) & (drawn["name"] == name)]
    return rows[rows["variant"] == variant].sort_values("iteration")


def draw_curve(ax: Axes, rows: pd.DataFrame, look: Look) -> None:
    """Line: mean; band: standard deviation over seeds, where there are several."""
    if rows.empty:
        return
    name, colour, dashes = look
    ax.plot(rows["iteration"], rows["mean"], dashes, color=colour, label=name)
    low, high = rows["mean"] - rows["std"], rows["mean"] + rows["std"]
    ax.fill_between(rows["iteration"], low, high, color=colour, alpha=0.2, lw=0)


def draw_grid(ax: Axes, size: int, free: set[tuple[int, int]], *, block: int = 1) -> None:
    """Cells, walls in grey, row 0 on top; thicker lines around blocks of cells."""
    for row in range(size):
        for column in range(size):
            if (row, column) not in free:
                ax.add_patch(Rectangle((column, row), 1, 1, color="0.75", lw=0))
    for edge in range(size + 1):
        width = 0.8 if block > 1 and edge % block == 0 else 0.2
        ax.axhline(edge, color="0.6", lw=width, zorder=0.5)
        ax.axvline(edge, color="0.6", lw=width, zorder=0.5)
    ax.set(xlim=(0, size), ylim=(size, 0), xticks=[], yticks=[], aspect="equal")


def number(frame: pd.DataFrame, panel: str, variant: str, name: str) -> float:
    """The one number of that name."""
    rows = frame[(frame["panel"] == panel) & (frame["variant"] == variant)]
    return float(rows.loc[rows["name"] == name, "value"].item())


def per_seed(frame: pd.DataFrame, panel: str, variant: str, name: str) -> np.ndarray:
    """A number of each seed: [S]."""
    rows = frame[(frame["panel"] == panel) & (frame["variant"] == variant)]
    return rows[rows["name"] == name].sort_values("seed")["value"].to_numpy(float)


def variants(frame: pd.DataFrame, panel: str, known: Sequence[str]) -> list[str]:
    """Those of `known` that a panel has, in that order."""
    present = set(frame.loc[frame["panel"] == panel, "variant"])
    return [variant for variant in known if variant in present]
