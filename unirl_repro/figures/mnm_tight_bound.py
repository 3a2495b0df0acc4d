"""mnm Appendix A: how far each bound is below the logarithm of the return."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from unirl_repro.analysis.frames import Status
from unirl_repro.analysis.style import PALETTE, TEXT_WIDTH, dress, styled
from unirl_repro.figures._tabular import MNM, over_seeds, per_seed, variants

# Bound: name, colour, marker; from the loosest to the tightest.
BOUNDS = {
    "eq_2": ("Eq. 2", PALETTE[4], "+"),
    "extra_discount": ("Eq. 2 with γ$^{t+1}$", PALETTE[3], "x"),
    "tight_markov": ("Eq. 10, Markov model", MNM, "v"),
    "tight_time_to_go": ("Eq. 10, model of steps left", PALETTE[0], "s"),
    "tight_stopping": ("Eq. 10, model that stops", PALETTE[1], "D"),
}
RETURN = ("log return", "0.2", "o")
CASES = {
    "gap_deterministic": "deterministic policy,\none start",
    "gap_initial": "several\nstarts",
    "gap_policy": "random\npolicy",
}
FLOOR = 1e-12  # gaps below are rounding: drawn there


def data(frame: pd.DataFrame, status: Status) -> pd.DataFrame:
    """All numbers of the study over its random worlds, as `over_seeds` has them."""
    return over_seeds(frame)


def figure(frame: pd.DataFrame, status: Status) -> Figure:
    """Draw the bounds through exact ascent on the grid, and the gaps left in random worlds."""
    with styled():
        fig = Figure(figsize=(TEXT_WIDTH, 2.9), layout="constrained")
        left, right = fig.subplots(1, 2)
        _draw_course(left, frame)
        _draw_gaps(right, frame)
        handles, labels = left.get_legend_handles_labels()
        fig.legend(handles, labels, loc="outside lower center", ncols=3)
    return fig


def _draw_course(ax: Axes, frame: pd.DataFrame) -> None:
    dress(ax)
    rows = frame[(frame["panel"] == "grid") & (frame["name"] == "value")]
    looks = {"log_return": RETURN, **BOUNDS}
    for variant in variants(frame, "grid", list(looks)):
        name, colour, marker = looks[variant]
        curve = rows[rows["variant"] == variant].sort_values("iteration")
        (line,) = ax.plot(curve["iteration"], curve["value"], marker=marker, label=name)
        line.set(color=colour, linewidth=1, markersize=4, markerfacecolor="none")
    ax.set(xlabel="exact steps of policy and model", ylabel="logarithm of a return")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_title("grid of Figure 2a")


def _draw_gaps(ax: Axes, frame: pd.DataFrame) -> None:
    dress(ax)
    shift = np.linspace(-0.3, 0.3, len(BOUNDS))
    names = variants(frame, "random", list(BOUNDS))
    for at, case in enumerate(CASES):
        for by, variant in zip(shift, names, strict=False):
            gaps = np.maximum(per_seed(frame, "random", variant, case), FLOOR)
            _, colour, marker = BOUNDS[variant]
            ax.plot(np.full(len(gaps), at + by), gaps, marker, color=colour, ms=4, mfc="none")
    ax.set_yscale("log")
    ax.set_xticks(range(len(CASES)), list(CASES.values()))
    ax.set(ylabel="log return less bound", title="random worlds, best models")
