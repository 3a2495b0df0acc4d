"""Curves of evaluation returns, beside the points that a document or its code gives."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes

from unirl_repro.analysis.curves import evaluations
from unirl_repro.analysis.frames import Status
from unirl_repro.analysis.style import look
from unirl_repro.figures._curves import joined, mean_curve, planned_variants

STATISTIC = "evaluation_return"
REPORTED = "reported_return"


def evaluation_curves(frame: pd.DataFrame, status: Status, tasks: Sequence[str]) -> pd.DataFrame:
    """Each planned curve's mean evaluation return over seeds, and the reported points.

    Parameters
    ----------
    frame, status : DataFrame, dict
        A study's tidy frame, with published rows that have an `env_step`, and what ran of it.
    tasks : sequence of str
        In the order of the panels.

    Returns
    -------
    DataFrame
        Columns `COLUMNS`. Statistic `evaluation_return`: a row an evaluation of ours, the mean over
        seeds of each seed's mean over its episodes; `reported_return`: a row a published point,
        with its interval.
    """
    return joined(
        part
        for task in tasks
        for variant in planned_variants(status, task)
        for part in (_ours(frame, status, task, variant), _reported(frame, task, variant))
    )


def _ours(frame: pd.DataFrame, status: Status, task: str, variant: str) -> pd.DataFrame:
    points = evaluations(frame[(frame["task"] == task) & (frame["variant"] == variant)])
    return mean_curve(points, status, task, variant, STATISTIC)


def _reported(frame: pd.DataFrame, task: str, variant: str) -> pd.DataFrame:
    rows = frame[(frame["kind"] == "published") & (frame["task"] == task)]
    rows = rows[rows["variant"] == variant]
    return pd.DataFrame(
        {
            "task": task,
            "variant": variant,
            "statistic": REPORTED,
            "env_step": rows["env_step"].to_numpy(float),
            "mean": rows["return"].to_numpy(float),
            "low": (rows["return"] - rows["interval"]).to_numpy(float),
            "high": (rows["return"] + rows["interval"]).to_numpy(float),
            "num_seeds": rows["num_seeds"].to_numpy(int),
            "num_planned": 0,
            "marks": "",
            "published": rows["return"].to_numpy(float),
        }
    )


def draw_reported(ax: Axes, variant: str, points: pd.DataFrame) -> None:
    """Published points in a lighter tone, with their intervals as bars."""
    if points.empty:
        return
    half = points["high"] - points["mean"]
    ax.errorbar(
        *(points["env_step"], points["mean"], half),
        fmt=look(variant).marker,
        color="0.35",
        mfc="none",
        capsize=2,
        lw=0.8,
    )
