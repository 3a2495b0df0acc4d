"""mnm Figure 3: which risk each method takes, and on which side of the return its objective lies."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from unirl_repro.analysis.frames import Status
from unirl_repro.analysis.style import PALETTE, TEXT_WIDTH, dress, styled
from unirl_repro.figures._tabular import LOOKS, MNM, VMBPO, number, over_seeds, variants

LABELS = {
    "q_learning": "Q-lear-\nning",
    "mnm": "MnM",
    "vmbpo": "VMBPO",
    "mnm_no_log": "MnM\nno log",
}
# Objective: name, colour, dashes, marker. The notebook draws vmbpo, log_return and eq10.
OBJECTIVES = {
    "vmbpo_best": ("log VMBPO, best model", VMBPO, "--", "^"),
    "vmbpo": ("log VMBPO, MnM's model", VMBPO, "-", "s"),
    "log_return": ("log return", "0.2", "-", "o"),
    "eq10": ("MnM, tight bound (Eq. 10)", MNM, "-", "v"),
    "eq2_discounted": ("MnM, Eq. 2 with γ$^{t+1}$", PALETTE[4], ":", "x"),
    "eq2": ("MnM, Eq. 2", PALETTE[4], "-", "+"),
}


def data(frame: pd.DataFrame, status: Status) -> pd.DataFrame:
    """The numbers drawn, as `over_seeds` has them."""
    return over_seeds(frame)


def figure(frame: pd.DataFrame, status: Status) -> Figure:
    """Draw returns with their standard deviation, and the objectives around the log return."""
    with styled():
        fig = Figure(figsize=(TEXT_WIDTH, 2.5), layout="constrained")
        left, right = fig.subplots(1, 2, width_ratios=[1.15, 1.6])
        _draw_risk(left, frame)
        _draw_objectives(right, frame)
    return fig


def _draw_risk(ax: Axes, frame: pd.DataFrame) -> None:
    dress(ax)
    names = variants(frame, "risk", list(LABELS))
    returns = [number(frame, "risk", name, "return") for name in names]
    spread = [number(frame, "risk", name, "standard_deviation") for name in names]
    colours = [LOOKS[name][1] for name in names]
    ax.bar(range(len(names)), returns, yerr=spread, color=colours, capsize=3)
    ax.set_xticks(range(len(names)), [LABELS[name] for name in names])
    ax.set(ylabel="return", title="three states, wind in one")


def _draw_objectives(ax: Axes, frame: pd.DataFrame) -> None:
    dress(ax)
    rows = frame[frame["panel"] == "bounds"]
    for variant in variants(frame, "bounds", list(OBJECTIVES)):
        name, colour, dashes, marker = OBJECTIVES[variant]
        curve = rows[rows["variant"] == variant].sort_values("iteration")
        (line,) = ax.plot(curve["iteration"], curve["value"], marker=marker, label=name)
        line.set(color=colour, linestyle=dashes, linewidth=1, markersize=3)
    ax.set(xlabel="iterations", ylabel="logarithm of a return", title="objectives")
    if len(rows):
        ax.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
