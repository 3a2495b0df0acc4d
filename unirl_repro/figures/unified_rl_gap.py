"""The gap that decides who acts in unified_rl, through training: an extra figure, not the paper's.

For each sample of the model (dropout mask) the gap is the return that it promises the model-based
policy, minus SAC's; model-based episodes need all of them above zero (Eq. 3). Deviation U12.
"""

from collections.abc import Iterable

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FixedLocator, FuncFormatter, NullLocator

from unirl_repro.analysis.frames import Status
from unirl_repro.analysis.style import panels_with_strips, styled
from unirl_repro.figures._curves import (
    BAND,
    DARK_BAND,
    Entry,
    check_tasks,
    draw_band,
    draw_line,
    draw_mean,
    dress_panel,
    joined,
    legend,
    mean_curve,
    of_curve,
    planned_variants,
)
from unirl_repro.figures._curves import BENCHMARK as TASKS
from unirl_repro.figures._fractions import decided_episodes, mean_of_known, windows

BANDS = (("gap_min", "gap_max"), ("gap_q25", "gap_q75"))
METRICS = ("gap_min", "gap_q25", "gap_median", "gap_q75", "gap_max", "gap_diverged", "proven")
ENTRIES: list[Entry] = [
    ("-", "median over masks; below, share proven"),
    (DARK_BAND, "quartiles"),
    (BAND, "smallest to largest"),
]
# Ticks of an axis, from many to few: 0, and to either side these multiples of every so many powers
# of ten of the width that is linear, from that on; or, for few powers, from its half on.
DENSITIES = [((0.5, 1, 2), 1), ((1, 3), 1), ((1,), 1), ((1,), 2), ((1,), 3), ((1,), 6)]
FEWEST, MOST = 3, 7  # ticks
POWERS = 30


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
    return {m: mean_of_known(episodes, episodes[m], edges, window) for m in METRICS}


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
        Each axis is about linear up to the power of ten below the largest median, and logarithmic
        far beyond, to either side.
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
        legend(fig, drawn, status, ENTRIES)
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
    draw_line(ax, variant, curves["gap_median"])
    width = linear_width(curves[metric]["mean"] for metric in ("gap_median", "gap_min", "gap_max"))
    ax.set_yscale("asinh", linear_width=width)
    ax.yaxis.set_major_locator(FixedLocator(ticks(*ax.get_ylim(), width)))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter(FuncFormatter(_label))


def linear_width(curves: Iterable[pd.Series]) -> float:
    """The power of ten below the largest magnitude of the first curve that is not all zero.

    Examples
    --------
    >>> linear_width([pd.Series([-70.0, 3.0])])
    10.0
    """
    largest = (float(curve.abs().max()) for curve in curves)
    return next((float(10 ** np.floor(np.log10(found))) for found in largest if found > 0), 1.0)


def ticks(low: float, high: float, width: float) -> list[float]:
    """Ticks of an axis from `low` to `high` that is linear about zero to `width`; 0 is one.

    Examples
    --------
    >>> ticks(-20, 90_000, 10)
    [-10.0, 0.0, 10.0, 100.0, 1000.0, 10000.0]
    """
    found: list[float] = []
    for multiples, stride in DENSITIES:
        powers = 10.0 ** np.arange(0, POWERS, stride)
        positive = np.unique(np.outer(powers, multiples)) * width
        every = np.concatenate([-positive[::-1], [0.0], positive])
        thinner = every[(low <= every) & (every <= high)].tolist()
        if found and len(thinner) < FEWEST:
            break
        found = thinner
        if len(found) <= MOST:
            break
    return found


def _label(value: float, _: int) -> str:
    """Thousands and millions by their prefix; small numbers as they are, not in milli."""
    large = abs(value) >= 1000
    return EngFormatter(sep="")(value) if large else f"{value:g}".replace("-", "\N{MINUS SIGN}")
