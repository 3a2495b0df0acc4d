"""usbpo Figure 2: USB-PO against its baselines, on six tasks."""

import pandas as pd
from matplotlib.figure import Figure

from unirl_repro.analysis.frames import Status
from unirl_repro.figures._usbpo import evaluation_curves, evaluation_figure

TASKS = (
    *("halfcheetah-1000", "walker2d-1000", "humanoid-1000"),
    *("ant-1000", "inverted_pendulum-1000", "hopper-1000"),
)
NAME = "usbpo's Figure 2"


def data(frame: pd.DataFrame, status: Status) -> pd.DataFrame:
    """Mean evaluation return over seeds, and SAC's asymptote.

    Returns
    -------
    DataFrame
        As `evaluation_curves` says.
    """
    return evaluation_curves(frame, status, TASKS, NAME)


def figure(frame: pd.DataFrame, status: Status) -> Figure:
    """Draw the six panels.

    Parameters
    ----------
    frame, status : DataFrame, dict
        The study's tidy frame and what ran of it.

    Returns
    -------
    Figure
        Returns of evaluations without exploration noise; dashed, SAC's at the end of a longer run.
        Bands are 95% intervals, where the paper has standard deviations.
    """
    return evaluation_figure(frame, status, TASKS, NAME, columns=3)
