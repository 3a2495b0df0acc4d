"""Curves of usbpo's figures: evaluation returns, and where a run goes on beyond its panel."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from unirl_repro.analysis.curves import cut, evaluations
from unirl_repro.analysis.frames import Status
from unirl_repro.analysis.style import look, panels, styled
from unirl_repro.figures._curves import (
    Entry,
    check_tasks,
    draw_mean,
    dress_panel,
    joined,
    legend,
    mean_curve,
    of_curve,
    planned_variants,
)

STATISTIC = "evaluation_return"
ASYMPTOTE = "asymptote"
CELLS = 50  # of a panel's width, in which metrics are averaged
LAST = 0.1  # share of a longer run that its asymptote is the mean of: deviation D8
MEAN: Entry = ("-", "mean and 95% interval")
DASHED: Entry = ("--", "asymptote of SAC")


def evaluation_curves(
    frame: pd.DataFrame, status: Status, tasks: Sequence[str], name: str
) -> pd.DataFrame:
    """Mean evaluation return over seeds, and the asymptote of those that train for longer.

    Returns
    -------
    DataFrame
        Columns `COLUMNS`. Statistic `evaluation_return`: a row an evaluation, the mean over seeds of
        each seed's mean over its episodes; `asymptote`: one row, the mean over the last tenth of
        the run, if a run got there.
    """
    check_tasks(frame, tasks, name)
    return joined(
        part
        for task in tasks
        for variant in planned_variants(status, task)
        for part in (
            _curve(frame, status, task, variant),
            _asymptote(frame, status, task, variant),
        )
    )


def _curve(frame: pd.DataFrame, status: Status, task: str, variant: str) -> pd.DataFrame:
    rows = frame[(frame["task"] == task) & (frame["variant"] == variant)]
    points = evaluations(cut(rows, status["budget"][task]))
    return mean_curve(points, status, task, variant, STATISTIC)


def _asymptote(frame: pd.DataFrame, status: Status, task: str, variant: str) -> pd.DataFrame:
    steps = [
        longer["steps"]
        for longer in status["longer"]
        if (longer["task"], longer["variant"]) == (task, variant)
    ]
    if not steps:
        return pd.DataFrame()
    rows = frame[(frame["task"] == task) & (frame["variant"] == variant)]
    points = evaluations(rows[rows["env_step"] > (1 - LAST) * steps[0]])
    if points.empty:
        return pd.DataFrame()
    means = points.groupby("seed", as_index=False)["return"].mean()
    return mean_curve(means.assign(env_step=steps[0]), status, task, variant, ASYMPTOTE)


def evaluation_figure(
    frame: pd.DataFrame, status: Status, tasks: Sequence[str], name: str, columns: int
) -> Figure:
    """A panel a task."""
    drawn = evaluation_curves(frame, status, tasks, name)
    entries = [MEAN, *([DASHED] if (drawn["statistic"] == ASYMPTOTE).any() else [])]
    with styled():
        fig, axes = panels(len(tasks), columns=columns)
        for i, (ax, task) in enumerate(zip(axes, tasks, strict=True)):
            for variant in planned_variants(status, task):
                draw_mean(ax, variant, of_curve(drawn, task, variant, STATISTIC))
                for level in of_curve(drawn, task, variant, ASYMPTOTE)["mean"]:
                    ax.axhline(level, color=look(variant).colour, ls="--", lw=1)
            curves = drawn[(drawn["task"] == task) & (drawn["statistic"] == STATISTIC)]
            dress_panel(ax, task, curves, status)
            if i >= len(tasks) - columns:
                ax.set_xlabel("environment steps")
            if i % columns == 0:
                ax.set_ylabel("evaluation return")
        legend(fig, drawn, status, entries, columns=3)
    return fig


def magnitudes(
    frame: pd.DataFrame, status: Status, task: str, variant: str, names: Sequence[str]
) -> pd.DataFrame:
    """Mean over seeds of metrics, each as it was last recorded, in cells of the task's budget."""
    metrics = frame[(frame["kind"] == "metric") & (frame["task"] == task)]
    metrics = metrics[metrics["variant"] == variant]
    if metrics.empty:  # without any, a frame has no column of values
        return joined([])
    edges = np.linspace(0, status["budget"][task], CELLS + 1)
    cells = np.digitize(metrics["env_step"], edges[1:-1], right=True)
    metrics = metrics.assign(env_step=edges[1:][cells])
    metrics = metrics.assign(**{"return": metrics["value"]})
    points = metrics.groupby(["name", "seed", "env_step"], as_index=False)["return"].mean()
    return joined(
        mean_curve(points[points["name"] == name], status, task, variant, name)
        for name in names
        if (points["name"] == name).any()
    )
