"""unified_rl Figure 4, left: a misaligned model, by distractors in Ant's observation.

Sinusoids that no reward depends on are appended to the observation: the model learns them too.
"""

import pandas as pd
from matplotlib.figure import Figure

from unirl_repro.analysis.frames import Status
from unirl_repro.figures._robustness import half_data, half_figure

TASK, NAME = "ant_distractors-100", "Figure 4, left,"


def data(frame: pd.DataFrame, status: Status) -> pd.DataFrame:
    """Mean return of each algorithm, and who acted in Unified RL, at each point of a grid.

    Returns
    -------
    DataFrame
        As `return_curves` and `fractions` say.
    """
    return half_data(frame, status, TASK, NAME)


def figure(frame: pd.DataFrame, status: Status) -> Figure:
    """Draw Figure 4's left half.

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
