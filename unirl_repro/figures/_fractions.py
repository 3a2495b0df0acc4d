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
# Before the model is first trained SAC acts, and no test was made.
UNTESTED = "sac_untested"
POLICIES = (RANDOM, UNTESTED, "sac", "sac_forced", "mbrl")
# Statistics, and the policies of the curve that each counts; of the others, those count as 0 that
# are not left out.
MODEL_FREE, CHOSEN = "model_free", "model_free_chosen"
COUNTED = {MODEL_FREE: ("sac", "sac_forced", UNTESTED), CHOSEN: ("sac",)}
LEFT_OUT = {MODEL_FREE: (), CHOSEN: (UNTESTED,)}
# An episode in ten is forced, so that no shorter window has a fraction that means anything.
WINDOW_EPISODES = 10
ROUNDING = 1e-6  # a smaller part of a window is an edge that rounding moved, not an episode
ENTRIES: list[Entry] = [
    ("-", "all model-free episodes: mean and 95% interval"),
    (":", "what the test chose, of the episodes with a test"),
]


def decided_episodes(frame: pd.DataFrame, task: str, variant: str) -> pd.DataFrame:
    """The training episodes in which one of Unified RL's parts acts: all but the random ones.

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
        Columns `COLUMNS` of `mean_curve`, `statistic` being `MODEL_FREE`: of all but the random
        episodes, or `CHOSEN`: of those with a test alone, a forced one counting as what the test
        chose, model-based. A point's fraction is of the episodes of its cell, or of the ten
        episodes before it where a cell holds fewer; there is none where none of them counts.
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
    counted = counted.mask(episodes["policy"].isin(LEFT_OUT[statistic]))
    points = mean_of_known(episodes, counted, edges, window)
    return mean_curve(points, status, task, variant, statistic)


def mean_of_known(
    episodes: pd.DataFrame, values: pd.Series, edges: np.ndarray, window: float
) -> pd.DataFrame:
    """Put a quantity of episodes on the grid: its mean over those that have one (not NaN)."""
    total = on_grid(episodes.assign(**{"return": values.fillna(0.0)}), edges, window)
    known = on_grid(episodes.assign(**{"return": values.notna().astype(float)}), edges, window)
    share = known["return"].where(known["return"] > ROUNDING)
    return total.assign(**{"return": total["return"] / share}).dropna()


def draw_fractions(ax: Axes, task: str, drawn: pd.DataFrame, status: Status) -> None:
    """Solid: all model-free episodes; dotted: what the test chose, of the episodes with a test."""
    for variant in planned_variants(status, task):
        draw_mean(ax, variant, of_curve(drawn, task, variant, MODEL_FREE))
        chosen = of_curve(drawn, task, variant, CHOSEN)
        ax.plot(chosen["env_step"], chosen["mean"], color=look(variant).colour, ls=":")
    ax.set(ylim=(-0.04, 1.04), yticks=[0, 0.5, 1])
