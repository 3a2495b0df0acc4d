"""One half of unified_rl's Figure 4: returns of one task, and below them who acted."""

import pandas as pd
from matplotlib.figure import Figure

from unirl_repro.analysis.frames import Status
from unirl_repro.analysis.style import TEXT_WIDTH, panels_with_strips, styled
from unirl_repro.figures._curves import Entry, check_tasks, joined, legend
from unirl_repro.figures._fractions import draw_fractions, fractions
from unirl_repro.figures._returns import draw_returns, return_curves

WIDTH, HEIGHT = 0.49 * TEXT_WIDTH, 2.9  # inches; two halves stand side by side
ENTRIES: list[Entry] = [("-", "mean, 95% interval"), (":", "chosen by the test")]


def half_data(frame: pd.DataFrame, status: Status, task: str, name: str) -> pd.DataFrame:
    """Returns of the task's variants, and Unified RL's fraction of model-free episodes."""
    check_tasks(frame, (task,), name)
    return joined([return_curves(frame, status, (task,)), fractions(frame, status, (task,))])


def half_figure(frame: pd.DataFrame, status: Status, task: str, name: str) -> Figure:
    """Draw the panel of returns and the strip of fractions."""
    drawn = half_data(frame, status, task, name)
    with styled():
        fig, [(panel, strip)] = panels_with_strips(1, columns=1, width=WIDTH, row_height=HEIGHT)
        draw_returns(panel, task, drawn, frame, status)
        draw_fractions(strip, task, drawn, status)
        panel.set_ylabel("episode return")
        strip.set(ylabel="model-free", xlabel="environment steps")
        fig.align_ylabels()
        legend(fig, drawn, status, ENTRIES, columns=2)
    return fig
