"""The gap that decides who acts in unified_rl, through training: an extra figure, not the paper's.

For each sample of the model (dropout mask) the gap is the return that it promises the model-based
policy, minus SAC's; model-based episodes need all of them above zero (Eq. 3). Deviation U12.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FixedLocator, NullLocator

from unirl_repro.analysis.curves import on_grid
from unirl_repro.analysis.frames import Status
from unirl_repro.analysis.style import look, panels_with_strips, styled
from unirl_repro.figures._curves import BENCHMARK as TASKS
from unirl_repro.figures._curves import (
    Entry,
    check_tasks,
    draw_band,
    draw_mean,
    dress_panel,
    joined,
    legend,
    mean_curve,
    of_curve,
    planned_variants,
)
from unirl_repro.figures._fractions import decided_episodes, windows

BANDS = (("gap_min", "gap_max"), ("gap_q25", "gap_q75"))
METRICS = ("gap_min", "gap_q25", "gap_median", "gap_q75", "gap_max", "gap_diverged", "proven")
ENTRIES: list[Entry] = [
    ("-", "median over masks; below, share of episodes proven"),
    ("", "bands: quartiles, and smallest to largest"),
]
TICKS = [0.0, *(sign * 10.0**power for power in range(1, 10) for sign in (-1, 1))]
LINEAR = 10.0  # [reward] the axis is about linear up to here, and logarithmic far beyond


def data(frame: pd.DataFrame, status: Status) -> pd.DataFrame:
    """Mean over seeds of each of the `METRICS` at each point of each task's grid.

    Returns
    -------
    DataFrame
        Columns `COLUMNS` of `mean_curve`, `statistic` being a metric's name: gaps [reward] over the
        masks whose rollouts are finite, `gap_diverged` the number of the others, `proven` the
        fraction of episodes with all gaps above zero. Windows are those of Figure 3.
    """
    check_tasks(frame, TASKS, "the figure of gaps")
    return joined(
        mean_curve(points, status, task, variant, metric)
        for task in TASKS
        for variant in planned_variants(status, task)
        for metric, points in _points(frame, status, task, variant).items()
    )


def _points(
    frame: pd.DataFrame, status: Status, task: str, variant: str
) -> dict[str, pd.DataFrame]:
    """Each metric on the task's grid; nothing, where no metric was recorded."""
    metrics = frame[(frame["kind"] == "metric") & (frame["task"] == task)]
    metrics = metrics[metrics["variant"] == variant]
    if metrics.empty:
        return {}
    wide = metrics.pivot_table(index=["seed", "env_step"], columns="name", values="value")
    wide = wide.reindex(columns=list(METRICS))
    episodes = decided_episodes(frame, task, variant).join(wide, on=["seed", "env_step"])
    edges, window = windows(frame, status, task)
    return {metric: _mean_of_known(episodes, metric, edges, window) for metric in METRICS}


def _mean_of_known(
    episodes: pd.DataFrame, metric: str, edges: np.ndarray, window: float
) -> pd.DataFrame:
    """A metric's mean over the episodes that recorded it: without a finite gap there is none."""
    values = episodes[metric]
    total = on_grid(episodes.assign(**{"return": values.fillna(0.0)}), edges, window)
    known = on_grid(episodes.assign(**{"return": values.notna().astype(float)}), edges, window)
    share = known["return"].where(known["return"] > 0)
    return total.assign(**{"return": total["return"] / share}).dropna()


def figure(frame: pd.DataFrame, status: Status) -> Figure:
    """Draw six panels in the order of Figure 2, each above the fraction of episodes proven.

    Parameters
    ----------
    frame, status : DataFrame, dict
        The study's tidy frame with its metrics, and what ran of it.

    Returns
    -------
    Figure
        Line: median over masks; bands: quartiles, and smallest to largest; all mean over seeds.
        The axis is about linear up to `LINEAR` and logarithmic far beyond, to either side.
    """
    drawn = data(frame, status)
    with styled():
        fig, pairs = panels_with_strips(len(TASKS))
        for (panel, strip), task in zip(pairs, TASKS, strict=True):
            variants = planned_variants(status, task)
            for variant in variants:
                _draw_gap(panel, task, variant, drawn)
                draw_mean(strip, variant, of_curve(drawn, task, variant, "proven"))
            dress_panel(panel, task, drawn[drawn["task"] == task], status)
            strip.set(ylim=(-0.08, 1.08), yticks=[0, 1] if variants else [])
        for _, strip in pairs[-3:]:
            strip.set_xlabel("environment steps")
        for panel, strip in pairs[::3]:
            panel.set_ylabel("gap in return")
            strip.set_ylabel("proven")
        fig.align_ylabels()
        legend(fig, drawn, status, ENTRIES, columns=2)
    return fig


def _draw_gap(ax: Axes, task: str, variant: str, drawn: pd.DataFrame) -> None:
    ax.axhline(0, color="0.35", lw=0.6)
    curves = {metric: of_curve(drawn, task, variant, metric) for metric in METRICS}
    if curves["gap_median"].empty:
        ax.set_yticks([0])
        return
    for low, high in BANDS:
        steps = curves[low]["env_step"]
        draw_band(ax, variant, steps, curves[low]["mean"], curves[high]["mean"])
    median = curves["gap_median"]
    ax.plot(median["env_step"], median["mean"], color=look(variant).colour)
    ax.set_yscale("asinh", linear_width=LINEAR)
    ax.yaxis.set_major_locator(FixedLocator(TICKS))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter(EngFormatter(sep=""))
