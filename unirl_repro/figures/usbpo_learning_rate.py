"""usbpo Section 5, question 4: USB-PO under other learning rates of its fine-tuning.

The copy of the paper ends before its own figure; tasks and rates are ours: deviation D7.
"""

import pandas as pd
from matplotlib.figure import Figure

from unirl_repro.analysis.frames import Status
from unirl_repro.figures._usbpo import evaluation_curves, evaluation_figure

TASKS, NAME = ("halfcheetah-1000", "walker2d-1000"), "the figure of learning rates"


def data(frame: pd.DataFrame, status: Status) -> pd.DataFrame:
    """Mean evaluation return over seeds at each rate.

    Returns
    -------
    DataFrame
        As `evaluation_curves` says.
    """
    return evaluation_curves(frame, status, TASKS, NAME)


def figure(frame: pd.DataFrame, status: Status) -> Figure:
    """Draw a panel a task.

    Parameters
    ----------
    frame, status : DataFrame, dict
        The study's tidy frame and what ran of it.

    Returns
    -------
    Figure
        Returns of evaluations without exploration noise.
    """
    return evaluation_figure(frame, status, TASKS, NAME, columns=2)
