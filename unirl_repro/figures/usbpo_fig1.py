"""usbpo Figure 1: CMLO under three thresholds, on Walker2d."""

import pandas as pd
from matplotlib.figure import Figure

from unirl_repro.analysis.frames import Status
from unirl_repro.figures._usbpo import evaluation_curves, evaluation_figure

TASKS, NAME = ("walker2d-1000",), "usbpo's Figure 1"


def data(frame: pd.DataFrame, status: Status) -> pd.DataFrame:
    """Mean evaluation return over seeds under each threshold.

    Returns
    -------
    DataFrame
        As `evaluation_curves` says.
    """
    return evaluation_curves(frame, status, TASKS, NAME)


def figure(frame: pd.DataFrame, status: Status) -> Figure:
    """Draw the panel.

    Parameters
    ----------
    frame, status : DataFrame, dict
        The study's tidy frame and what ran of it.

    Returns
    -------
    Figure
        Returns of evaluations without exploration noise.
    """
    return evaluation_figure(frame, status, TASKS, NAME, columns=1)
