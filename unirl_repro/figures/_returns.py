"""Curves of episode returns, one panel a task: Figure 2 of unified_rl, and those made like it."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from unirl_repro.analysis.curves import grid, on_grid, training
from unirl_repro.analysis.frames import Status
from unirl_repro.analysis.style import look
from unirl_repro.figures._curves import (
    draw_mean,
    dress_panel,
    joined,
    mean_curve,
    of_curve,
    planned_variants,
)

STATISTIC = "return"
FEW = 3  # curves whose published averages may cross a panel


def return_curves(frame: pd.DataFrame, status: Status, tasks: Sequence[str]) -> pd.DataFrame:
    """Each planned curve's mean return over seeds, and the printed average over training."""
    return joined(
        _curve(frame, status, task, variant)
        for task in tasks
        for variant in planned_variants(status, task)
    )


def _curve(frame: pd.DataFrame, status: Status, task: str, variant: str) -> pd.DataFrame:
    on_task = training(frame[frame["task"] == task])
    edges = grid(on_task, status["budget"][task])  # one grid for all variants of a task
    points = on_grid(on_task[on_task["variant"] == variant], edges)
    curve = mean_curve(points, status, task, variant, STATISTIC)
    return curve.assign(published=_published(frame, task, variant))


def _published(frame: pd.DataFrame, task: str, variant: str) -> float:
    printed = frame[frame["kind"] == "published"]
    rows = printed[(printed["task"] == task) & (printed["variant"] == variant)]
    return float(rows["return"].iloc[0]) if len(rows) else np.nan


def draw_returns(
    ax: Axes, task: str, drawn: pd.DataFrame, frame: pd.DataFrame, status: Status
) -> None:
    """Draw a task's panel: its curves, their published averages, names and seeds."""
    variants = planned_variants(status, task)
    for variant in variants:
        draw_mean(ax, variant, of_curve(drawn, task, variant, STATISTIC))
        published = _published(frame, task, variant)
        if np.isfinite(published):
            start = 0.93 if len(variants) > FEW else 0.0
            ax.axhline(published, start, 1.0, color=look(variant).colour, ls=":", lw=1)
    dress_panel(ax, task, drawn[drawn["task"] == task], status)
