"""unified_rl Figure 3: fraction of model-free episodes against environment steps."""

import pandas as pd
from matplotlib.figure import Figure

from unirl_repro.analysis.frames import Status
from unirl_repro.analysis.style import panels, styled
from unirl_repro.figures._curves import BENCHMARK as TASKS
from unirl_repro.figures._curves import check_tasks, dress_panel, legend
from unirl_repro.figures._fractions import ENTRIES, draw_fractions, fractions


def data(frame: pd.DataFrame, status: Status) -> pd.DataFrame:
    """Mean fraction over seeds at each point of each task's grid.

    Returns
    -------
    DataFrame
        As `fractions` says: all model-free episodes, and those that the test chose.
    """
    check_tasks(frame, TASKS, "Figure 3")
    return fractions(frame, status, TASKS)


def figure(frame: pd.DataFrame, status: Status) -> Figure:
    """Draw six panels in the paper's order; a task without runs is drawn empty.

    Parameters
    ----------
    frame, status : DataFrame, dict
        The study's tidy frame and what ran of it.

    Returns
    -------
    Figure
        Solid: all model-free episodes, mean over seeds; band: 95% interval; dotted: those that the
        test chose, of the episodes with a test, which the paper does not tell apart.
    """
    drawn = data(frame, status)
    with styled():
        fig, axes = panels(len(TASKS))
        for ax, task in zip(axes, TASKS, strict=True):
            draw_fractions(ax, task, drawn, status)
            dress_panel(ax, task, drawn[drawn["task"] == task], status)
        for ax in axes[-3:]:
            ax.set_xlabel("environment steps")
        for ax in axes[::3]:
            ax.set_ylabel("fraction model-free")
        legend(fig, drawn, status, ENTRIES, columns=2)
    return fig
