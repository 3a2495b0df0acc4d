"""unified_rl Figure 5: ALM on episodes of full length, beside what its authors report."""

import pandas as pd
from matplotlib.figure import Figure

from unirl_repro.analysis.frames import Status
from unirl_repro.analysis.style import panels, styled
from unirl_repro.figures._curves import (
    BAR,
    Entry,
    check_tasks,
    draw_mean,
    dress_panel,
    legend,
    of_curve,
)
from unirl_repro.figures._evaluations import (
    REPORTED,
    STATISTIC,
    draw_reported,
    evaluation_curves,
)

TASKS, VARIANT = ("halfcheetah-1000", "ant-1000"), "alm"
ENTRIES: list[Entry] = [("-", "ours: mean and 95% interval"), (BAR, "reported by ALM's authors")]


def data(frame: pd.DataFrame, status: Status) -> pd.DataFrame:
    """Mean evaluation return over seeds, and the reported points.

    Returns
    -------
    DataFrame
        As `evaluation_curves` says.
    """
    check_tasks(frame, TASKS, "Figure 5")
    return evaluation_curves(frame, status, TASKS)


def figure(frame: pd.DataFrame, status: Status) -> Figure:
    """Draw both panels.

    Parameters
    ----------
    frame, status : DataFrame, dict
        The study's tidy frame and what ran of it.

    Returns
    -------
    Figure
        Returns of evaluations without exploration noise, as ALM's authors report them; unified_rl
        does not say whose returns its curves are: deviation P3.
    """
    drawn = data(frame, status)
    with styled():
        fig, axes = panels(len(TASKS), columns=2)
        for ax, task in zip(axes, TASKS, strict=True):
            ours = of_curve(drawn, task, VARIANT, STATISTIC)
            draw_mean(ax, VARIANT, ours)
            draw_reported(ax, VARIANT, of_curve(drawn, task, VARIANT, REPORTED))
            dress_panel(ax, task, ours, status)
            ax.set_xlabel("environment steps")
        axes[0].set_ylabel("evaluation return")
        legend(fig, drawn, status, ENTRIES, columns=2)
    return fig
