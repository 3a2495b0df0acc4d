"""usbpo Figure 3: model shift, model bias and Delta of Theorem 4 through training."""

import pandas as pd
from matplotlib.figure import Figure

from unirl_repro.analysis.frames import Status
from unirl_repro.analysis.style import PALETTE, panels, styled
from unirl_repro.figures._curves import (
    OPACITY,
    check_tasks,
    dress_panel,
    joined,
    of_curve,
    planned_variants,
)
from unirl_repro.figures._usbpo import magnitudes

TASKS, NAME = ("halfcheetah-1000", "walker2d-1000"), "usbpo's Figure 3"
METRICS = {  # with their names and colours
    "delta": ("Δ", PALETTE[0]),
    "model_shift": ("model shift", PALETTE[1]),
    "model_bias": ("model bias", PALETTE[2]),
}
LINES = {"usbpo": "-", "usbpo@wasserstein=repo": ":"}


def data(frame: pd.DataFrame, status: Status) -> pd.DataFrame:
    """Mean over seeds of each of the `METRICS`, in cells of the budget.

    Returns
    -------
    DataFrame
        Columns `COLUMNS` of `mean_curve`, `statistic` being a metric's name: distances by Eq. 11,
        whichever distance was minimised.
    """
    check_tasks(frame, TASKS, NAME)
    return joined(
        magnitudes(frame, status, task, variant, list(METRICS))
        for task in TASKS
        for variant in planned_variants(status, task)
    )


def figure(frame: pd.DataFrame, status: Status) -> Figure:
    """Draw a panel a task.

    Parameters
    ----------
    frame, status : DataFrame, dict
        The study's tidy frame, with its metrics, and what ran of it.

    Returns
    -------
    Figure
        Solid: the paper's distance of each state; dotted: as the published code computes it.
    """
    drawn = data(frame, status)
    with styled():
        fig, axes = panels(len(TASKS), columns=2)
        for ax, task in zip(axes, TASKS, strict=True):
            for variant in planned_variants(status, task):
                for metric, (name, colour) in METRICS.items():
                    curve = of_curve(drawn, task, variant, metric)
                    if curve.empty:
                        continue
                    label = f"{name}, published code" if variant != "usbpo" else name
                    ax.plot(
                        curve["env_step"],
                        curve["mean"],
                        color=colour,
                        ls=LINES[variant],
                        label=label,
                    )
                    ax.fill_between(
                        *(curve["env_step"], curve["low"], curve["high"]),
                        color=colour,
                        alpha=OPACITY,
                        lw=0,
                    )
            dress_panel(ax, task, drawn[drawn["task"] == task], status)
            ax.set_xlabel("environment steps")
        axes[0].set_ylabel("distance")
        handles, labels = axes[0].get_legend_handles_labels()
        fig.legend(handles, labels, loc="outside lower center", ncols=3)
    return fig
