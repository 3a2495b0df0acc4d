"""unified_rl Figure 4, right: a failing SAC, by an entropy bonus far too high.

The paper says that Unified RL then relies on MBRL alone; the strip shows how far it does.
"""

import pandas as pd
from matplotlib.figure import Figure

from unirl_repro.analysis.frames import Status
from unirl_repro.figures._robustness import half_data, half_figure

TASK, NAME = "ant-100", "Figure 4, right,"


def data(frame: pd.DataFrame, status: Status) -> pd.DataFrame:
    """Mean return of each algorithm, and who acted in Unified RL, at each point of a grid.

    Returns
    -------
    DataFrame
        As `return_curves` and `fractions` say.
    """
    return half_data(frame, status, TASK, NAME)


def figure(frame: pd.DataFrame, status: Status) -> Figure:
    """Draw Figure 4's right half.

    Parameters
    ----------
    frame, status : DataFrame, dict
        The study's tidy frame and what ran of it.

    Returns
    -------
    Figure
        Above: returns, as in Figure 2; below: fraction of model-free episodes, as in Figure 3.
    """
    return half_figure(frame, status, TASK, NAME)
