"""ALM's training windows, across the ends of episodes or inside them, at two episode lengths.

A study of our own: whether short episodes harm ALM (unified_rl, A.2.7) through the windows that its
published code draws across time-outs, of which a short episode has more.
"""

import pandas as pd
from matplotlib.figure import Figure

from unirl_repro.analysis.frames import Status
from unirl_repro.analysis.style import panels, styled, task_name
from unirl_repro.envs.tasks import TASKS as TABLE
from unirl_repro.figures._curves import Entry, check_tasks, legend
from unirl_repro.figures._returns import draw_returns, return_curves

TASKS = ("halfcheetah-100", "ant-100", "halfcheetah-1000", "ant-1000")
ENTRIES: list[Entry] = [
    ("-", "mean and 95% interval"),
    (":", "published average over training"),
]


def data(frame: pd.DataFrame, status: Status) -> pd.DataFrame:
    """Mean return over seeds with each sampler.

    Returns
    -------
    DataFrame
        As `return_curves` says.
    """
    check_tasks(frame, TASKS, "alm_windows")
    return return_curves(frame, status, TASKS)


def figure(frame: pd.DataFrame, status: Status) -> Figure:
    """Draw a panel a task: short episodes above, full length below.

    Parameters
    ----------
    frame, status : DataFrame, dict
        The study's tidy frame and what ran of it.

    Returns
    -------
    Figure
        Returns of training episodes.
    """
    drawn = data(frame, status)
    with styled():
        fig, axes = panels(len(TASKS), columns=2)
        for ax, task in zip(axes, TASKS, strict=True):
            draw_returns(ax, task, drawn, frame, status)
            ax.title.set_text(f"{task_name(task)}, episodes of {TABLE[task].horizon} steps")
        for ax in axes[-2:]:
            ax.set_xlabel("environment steps")
        for ax in axes[::2]:
            ax.set_ylabel("episode return")
        legend(fig, drawn, status, ENTRIES, columns=2)
    return fig
