"""mbpo_blog Figure 2: 450 actions in the environment and in a model of it."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from unirl_repro.analysis.frames import Status
from unirl_repro.analysis.style import PALETTE, TEXT_WIDTH, dress, styled
from unirl_repro.figures._learned import Quoted, with_quoted
from unirl_repro.figures._tabular import curve

REAL, MODEL = "0.15", PALETTE[3]
PARTS = {"cart": "position of the cart [m]", "pole": "angle of the pole [rad]"}
CURVES = {"error": ("error of the mean", REAL, "-"), "spread": ("standard deviation", MODEL, "--")}
SEED = 0  # whose trajectories are drawn
ENDS = [f"{name}_{end}" for name in (*CURVES, "correlation") for end in ("first", "last")]
GROWN = ("decades_error", "decades_spread", "correlation_lost")
QUOTED: Quoted = {("ends", name): ("motion",) for name in (*ENDS, *GROWN)}
ROOM = 0.4  # of the real motion's range, beside it


def data(frame: pd.DataFrame, status: Status) -> pd.DataFrame:
    """All numbers over seeds, as `with_quoted` has them; motions of the seed that is drawn alone."""
    shown = ~frame["panel"].isin(PARTS) | (frame["seed"] == SEED)
    return with_quoted(frame[shown], QUOTED)


def figure(frame: pd.DataFrame, status: Status) -> Figure:
    """Draw the motion of cart and pole above, and how error and spread grow below.

    The bands above are one standard deviation of the sampled trajectories; those below 95%
    intervals over seeds.
    """
    drawn = data(frame, status)
    with styled():
        fig = Figure(figsize=(TEXT_WIDTH, 4.6), layout="constrained")
        axes = fig.subplots(3, 1, sharex=True, height_ratios=[1, 1, 0.8])
        for ax, (part, label) in zip(axes, PARTS.items(), strict=False):
            _draw_motion(ax, drawn, part)
            ax.set_ylabel(label)
        _draw_growth(axes[-1], drawn)
        axes[-1].set_xlabel("steps after the last look at the environment")
    return fig


def _draw_motion(ax: Axes, drawn: pd.DataFrame, part: str) -> None:
    dress(ax)
    real, mean, std = (curve(drawn, part, n, "motion") for n in ("real", "mean", "std"))
    if real.empty:
        return
    steps, middle, half = (
        column.to_numpy() for column in (mean["iteration"], mean["mean"], std["mean"])
    )
    ax.plot(steps, real["mean"], color=REAL, label="environment")
    ax.plot(steps, middle, "--", color=MODEL, label="model: mean ± standard deviation")
    ax.fill_between(steps, middle - half, middle + half, color=MODEL, alpha=0.25, lw=0)
    room = ROOM * np.ptp(real["mean"])
    ax.set_ylim(real["mean"].min() - room, real["mean"].max() + room)
    if part == next(iter(PARTS)):
        ax.legend(ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0))


def _draw_growth(ax: Axes, drawn: pd.DataFrame) -> None:
    dress(ax)
    ax.set_ylabel("of the motion's\nstandard deviation")
    for name, (label, colour, dashes) in CURVES.items():
        rows = curve(drawn, "growth", f"decades_{name}", name)
        if len(rows):
            ax.plot(rows["iteration"], 10 ** rows["mean"], dashes, color=colour, label=label)
            low, high = 10 ** rows["low"], 10 ** rows["high"]
            ax.fill_between(rows["iteration"], low, high, color=colour, alpha=0.15, lw=0)
            ax.set_yscale("log")
            ax.legend(ncols=2, loc="lower right")
