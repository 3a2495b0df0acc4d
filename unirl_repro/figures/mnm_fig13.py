"""mnm Figure 13: dynamics learnt on one task, used to learn others."""

import pandas as pd
from matplotlib.figure import Figure

from unirl_repro.analysis.frames import Status
from unirl_repro.analysis.style import panels, styled
from unirl_repro.figures._tabular import MNM, Q_LEARNING, curve, draw_curve, over_seeds

TARGETS = {
    "similar": "similar goal (3, 9)",
    "halfway": "halfway goal (9, 9)",
    "opposite": "opposite goal (9, 0)",
}
ARMS = {
    "real_raw": ("real dynamics", Q_LEARNING, "-"),
    "transferred_raw": ("transferred dynamics", MNM, "-"),
    "real_log": ("real dynamics, log reward", Q_LEARNING, "--"),
    "transferred_log": ("transferred dynamics, log reward", MNM, "--"),
    "mnm": ("MnM from the start", "0.35", ":"),
}


def data(frame: pd.DataFrame, status: Status) -> pd.DataFrame:
    """Curves and what they come to, as `over_seeds` has them; a variant is `<target>/<arm>`."""
    return over_seeds(frame)


def figure(frame: pd.DataFrame, status: Status) -> Figure:
    """Draw a panel a target: return of the greedy policy as a share of the optimum.

    Bands are standard deviations over seeds, as in the paper's other figures.
    """
    drawn = data(frame, status)
    with styled():
        fig, axes = panels(len(TARGETS), panel_height=2.0)
        for ax, (target, title) in zip(axes, TARGETS.items(), strict=True):
            for arm, look in ARMS.items():
                draw_curve(ax, curve(drawn, "returns", "return", f"{target}/{arm}"), look)
            ax.set(xlabel="iterations", title=title, ylim=(-0.05, 1.05))
        axes[0].set_ylabel("share of the optimal return")
        handles, labels = axes[0].get_legend_handles_labels()
        fig.legend(handles, labels, loc="outside lower center", ncols=3)
    return fig
