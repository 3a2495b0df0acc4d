"""Who acted in Unified RL: the fraction of model-free episodes, with and without forced ones.

unified_rl draws such a fraction in Figure 3 and does not say over how many episodes: deviation U11.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from unirl_repro.analysis.curves import grid, on_grid, training
from unirl_repro.analysis.frames import Status
from unirl_repro.analysis.style import look
from unirl_repro.figures._curves import (
    Entry,
    draw_mean,
    joined,
    mean_curve,
    of_curve,
    planned_variants,
)

RANDOM, OURS = "random", "unified"
# Statistics, and the policies of the curve that each counts; the others count as 0.
MODEL_FREE, CHOSEN = "model_free", "model_free_chosen"
COUNTED = {MODEL_FREE: ("sac", "sac_forced"), CHOSEN: ("sac",)}
POLICIES = (RANDOM, "sac", "sac_forced", "mbrl")
# An episode in ten is forced, so that no shorter window has a fraction that means anything.
WINDOW_EPISODES = 10
ENTRIES: list[Entry] = [
    ("-", "all model-free episodes: mean and 95% interval"),
    (":", "those that the test chose, without forced ones"),
]


def decided_episodes(frame: pd.DataFrame, task: str, variant: str) -> pd.DataFrame:
    """The training episodes in which Unified RL chose who acts: all but the first, random ones.

    Raises
    ------
    ValueError
        If somebody acted who is no part of Unified RL.
    """
    rows = training(frame[(frame["task"] == task) & (frame["variant"] == variant)])
    unknown = sorted(set(rows["policy"]) - set(POLICIES))
    if unknown:
        raise ValueError(
            f"{variant} on {task} has episodes of policy {unknown[0]!r}. "
            f"Allowed in Unified RL's curve: {', '.join(POLICIES)}"
        )
    return rows[rows["policy"] != RANDOM]


def windows(frame: pd.DataFrame, status: Status, task: str) -> tuple[np.ndarray, float]:
    """Edges of a task's cells and the window of a mean, in environment steps."""
    on_task = training(frame[frame["task"] == task])
    longest = float(on_task["length"].max()) if len(on_task) else 0.0
    return grid(on_task, status["budget"][task]), WINDOW_EPISODES * longest


def fractions(frame: pd.DataFrame, status: Status, tasks: Sequence[str]) -> pd.DataFrame:
    """Mean over seeds of the fraction of model-free episodes, of each of Unified RL's curves.

    Parameters
    ----------
    frame, status : DataFrame, dict
        A study's tidy frame and what ran of it.
    tasks : sequence of str
        Those that the figure has a panel for.

    Returns
    -------
    DataFrame
        Columns `COLUMNS` of `mean_curve`, `statistic` being `MODEL_FREE` or `CHOSEN`: without the
        forced episodes, which count as what the test chose, model-based. A point's fraction is of
        the episodes of its cell, or of the ten episodes before it where a cell holds fewer.
    """
    return joined(
        _curve(frame, status, task, variant, statistic)
        for task in tasks
        for variant in planned_variants(status, task)
        if variant.startswith(OURS)
        for statistic in COUNTED
    )


def _curve(
    frame: pd.DataFrame, status: Status, task: str, variant: str, statistic: str
) -> pd.DataFrame:
    edges, window = windows(frame, status, task)
    episodes = decided_episodes(frame, task, variant)
    counted = episodes["policy"].isin(COUNTED[statistic]).astype(float)
    points = on_grid(episodes.assign(**{"return": counted}), edges, window)
    return mean_curve(points, status, task, variant, statistic)


def draw_fractions(ax: Axes, task: str, drawn: pd.DataFrame, status: Status) -> None:
    """Solid: all model-free episodes; dotted: those that the test chose."""
    for variant in planned_variants(status, task):
        draw_mean(ax, variant, of_curve(drawn, task, variant, MODEL_FREE))
        chosen = of_curve(drawn, task, variant, CHOSEN)
        ax.plot(chosen["env_step"], chosen["mean"], color=look(variant).colour, ls=":")
    ax.set(ylim=(-0.04, 1.04), yticks=[0, 0.5, 1])
