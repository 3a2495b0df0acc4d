"""mbpo_blog Figure 1: model error on the states of later policies, by training-set size and shift."""

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from unirl_repro.analysis.frames import Status
from unirl_repro.analysis.style import TEXT_WIDTH, dress, styled
from unirl_repro.figures._learned import Quoted, with_quoted

POLICIES = tuple(f"policy_{j}" for j in range(5))  # the collecting one, and four later ones
MARKERS = ("o", "s", "^", "D", "v")
SETS = ("smallest", "largest")
OF_SETS = ("transitions", "unexplained_collecting", "unexplained_future")
QUOTED: Quoted = {
    **{("size", name): SETS for name in OF_SETS},
    ("size", "gain"): ("collecting", "nearby", "future"),
    **{("shift", name): POLICIES for name in ("divergence", "steps")},
}


def data(frame: pd.DataFrame, status: Status) -> pd.DataFrame:
    """All numbers over seeds, as `with_quoted` has them; errors in decades, as they are averaged."""
    return with_quoted(frame, QUOTED)


def figure(frame: pd.DataFrame, status: Status) -> Figure:
    """Draw error against training-set size, a line a policy, and against shift, a line a size.

    Errors are geometric means over seeds, with their 95% intervals.
    """
    drawn = data(frame, status)
    errors = drawn[(drawn["panel"] == "error") & (drawn["name"] == "decades")]
    with styled():
        fig = Figure(figsize=(TEXT_WIDTH, 3.1), layout="constrained")
        left, right = fig.subplots(1, 2, sharey=True)
        _draw_by_size(left, errors, _of_policies(drawn, "steps"))
        _draw_by_shift(right, errors, _of_policies(drawn, "divergence"))
        left.set_ylabel("squared error of one step\n(variance of changes = 1)")
    return fig


def _of_policies(drawn: pd.DataFrame, name: str) -> pd.Series:
    rows = drawn[(drawn["panel"] == "shift") & (drawn["name"] == name)]
    return rows.set_index("variant")["mean"]


def _draw_by_size(ax: Axes, errors: pd.DataFrame, steps: pd.Series) -> None:
    dress(ax)
    colours = mpl.colormaps["viridis"](np.linspace(0, 0.85, len(POLICIES)))
    for policy, marker, colour in zip(POLICIES, MARKERS, colours, strict=True):
        rows = errors[errors["variant"] == policy].sort_values("iteration")
        if len(rows):
            after = f"{steps[policy]:,.0f} steps later" if policy != POLICIES[0] else "collecting"
            _draw(ax, rows["iteration"], rows, after, marker, colour)
    counts = sorted(set(errors["iteration"]))
    ax.set(xlabel="training-set size (transitions)", title="more data")
    _logarithmic(ax, counts)
    if counts:
        ax.set_xscale("log")
        ax.set_xticks(counts, [f"{count:,}" for count in counts], minor=False)
        ax.set_xticks([], minor=True)
        ax.legend(title="policy", ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.2))


def _draw_by_shift(ax: Axes, errors: pd.DataFrame, divergence: pd.Series) -> None:
    dress(ax)
    counts = sorted(set(errors["iteration"]))
    colours = mpl.colormaps["cividis"](np.linspace(0.85, 0, max(len(counts), 1)))
    for count, marker, colour in zip(counts, MARKERS, colours, strict=False):
        rows = errors[errors["iteration"] == count].set_index("variant")
        known = [policy for policy in POLICIES if policy in rows.index]
        at = divergence[known].sort_values()
        _draw(ax, at, rows.loc[at.index], f"{count:,}", marker, colour)
    ax.set(xlabel="KL divergence from the collecting policy", title="further policies")
    ax.xaxis.set_major_formatter(ScalarFormatter())
    _logarithmic(ax, counts)
    if counts:
        ax.legend(title="transitions", ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.2))


def _draw(
    ax: Axes, x: pd.Series, rows: pd.DataFrame, label: str, marker: str, colour: np.ndarray
) -> None:
    """Line: 10 to the mean of decades; band: to the ends of its interval, where there is one."""
    ax.plot(x, 10 ** rows["mean"], marker=marker, ms=4, color=colour, label=label)
    ax.fill_between(x, 10 ** rows["low"], 10 ** rows["high"], color=colour, alpha=0.15, lw=0)


def _logarithmic(ax: Axes, drawn: list[int]) -> None:
    if drawn:
        ax.set_yscale("log")
