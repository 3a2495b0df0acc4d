"""unified_rl Figure 2: episode return against environment steps, one panel a task."""

import pandas as pd
from matplotlib.figure import Figure

from unirl_repro.analysis.frames import Status
from unirl_repro.analysis.style import panels, styled
from unirl_repro.figures._curves import BENCHMARK as TASKS
from unirl_repro.figures._curves import Entry, check_tasks, legend
from unirl_repro.figures._returns import draw_returns, return_curves

ENTRIES: list[Entry] = [
    ("-", "mean and 95% interval"),
    (":", "published average over training"),
]


def data(frame: pd.DataFrame, status: Status) -> pd.DataFrame:
    """Mean and 95% interval over seeds at each point of each task's grid.

    Returns
    -------
    DataFrame
        Columns `COLUMNS` of `mean_curve`; `published` is the printed average over all of training
        [reward].
    """
    check_tasks(frame, TASKS, "Figure 2")
    return return_curves(frame, status, TASKS)


def figure(frame: pd.DataFrame, status: Status) -> Figure:
    """Draw six panels in the paper's order; a task without runs is drawn empty.

    Parameters
    ----------
    frame, status : DataFrame, dict
        The study's tidy frame and what ran of it.

    Returns
    -------
    Figure
        Solid: mean over seeds; band: 95% interval; dashed: holds archived runs; dotted: the
        published average over training, since the paper prints no curve: deviation P1.
    """
    drawn = data(frame, status)
    with styled():
        fig, axes = panels(len(TASKS))
        for ax, task in zip(axes, TASKS, strict=True):
            draw_returns(ax, task, drawn, frame, status)
        for ax in axes[-3:]:
            ax.set_xlabel("environment steps")
        for ax in axes[::3]:
            ax.set_ylabel("episode return")
        legend(fig, drawn, status, ENTRIES)
    return fig
