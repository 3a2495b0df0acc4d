"""What figures of training share: means over seeds on a grid of steps, their lines and their names.

A quantity that each episode has is a *statistic*: its return, or whether SAC acted.
"""

from collections.abc import Iterable, Sequence
from textwrap import wrap

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from unirl_repro.analysis.curves import mean_interval, training
from unirl_repro.analysis.frames import Status, marks, seeds_of
from unirl_repro.analysis.style import look, task_name

BENCHMARK = (
    *("ant-100", "hopper-200", "walker2d-100"),
    *("halfcheetah-100", "cartpole-200", "dclaw_turn_fixed-40"),
)  # in the order of the paper's Table 1
COLUMNS = [
    *("task", "variant", "statistic", "env_step", "mean", "low", "high"),
    *("num_seeds", "num_planned", "marks", "published"),
]

Entry = tuple[str, str]  # of a legend: a line's style, or a band's, and what it means
BAND, DARK_BAND = "band", "dark band"
BAR = "bar"  # a hollow marker with an interval
OPACITY = 0.2  # of a band
OPACITIES = {BAND: OPACITY, DARK_BAND: 1 - (1 - OPACITY) ** 2}  # dark: one above another
FRONT = ("unified", "usbpo")  # a document's own algorithm stays visible where it equals another


def check_tasks(frame: pd.DataFrame, tasks: Sequence[str], name: str) -> None:
    """Refuse a frame with a task that the figure has no panel for."""
    unknown = sorted(set(training(frame)["task"]) - set(tasks))
    if unknown:
        raise ValueError(f"{name} has no panel for {unknown[0]!r}. Allowed: {', '.join(tasks)}")


def planned_variants(status: Status, task: str) -> list[str]:
    """Variants that a study wants on a task, in its order."""
    return list(dict.fromkeys(r["variant"] for r in status["planned"] if r["task"] == task))


def mean_curve(
    points: pd.DataFrame, status: Status, task: str, variant: str, statistic: str
) -> pd.DataFrame:
    """Mean and 95% interval over seeds at each point of a grid.

    Parameters
    ----------
    points : DataFrame
        From `on_grid`: seed, env_step, return (the statistic's value).
    status : dict
        What ran.
    task, variant, statistic : str
        What the points are of.

    Returns
    -------
    DataFrame
        Columns `COLUMNS`: `num_seeds` is the number of seeds that reached the point, `num_planned`
        the study's, `marks` the daggers of archived runs and of runs of other code.
    """
    table = points.pivot_table(index="seed", columns="env_step", values="return")  # [S, P]
    mean, low, high = mean_interval(table.to_numpy())
    return pd.DataFrame(
        {
            "task": task,
            "variant": variant,
            "statistic": statistic,
            "env_step": table.columns.to_numpy(float),
            "mean": mean,
            "low": low,
            "high": high,
            "num_seeds": table.notna().sum().to_numpy(),
            "num_planned": len(seeds_of(status, "planned", task, variant)),
            "marks": marks(status, task, variant),
            "published": np.nan,
        }
    )


def joined(parts: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Curves one below the other; without any, a table with the columns of one."""
    there = [part for part in parts if not part.empty]
    return pd.concat(there, ignore_index=True) if there else pd.DataFrame(columns=COLUMNS)


def of_curve(drawn: pd.DataFrame, task: str, variant: str, statistic: str) -> pd.DataFrame:
    """The points of one curve."""
    of_task = drawn[(drawn["task"] == task) & (drawn["variant"] == variant)]
    return of_task[of_task["statistic"] == statistic]


def draw_mean(ax: Axes, variant: str, curve: pd.DataFrame) -> None:
    """A mean as a line with the variant's markers, its interval as a band."""
    if curve.empty:
        return
    draw_line(ax, variant, curve)
    draw_band(ax, variant, curve["env_step"], curve["low"], curve["high"])


def draw_line(ax: Axes, variant: str, curve: pd.DataFrame) -> None:
    """`FRONT`'s is above all others, its markers between theirs: equal curves show both."""
    in_front = variant.startswith(FRONT)
    every = max(1, len(curve) // 6)
    ax.plot(
        *(curve["env_step"], curve["mean"]),
        color=look(variant).colour,
        ls=_linestyle(curve["marks"].iloc[0]),
        marker=look(variant).marker,
        markevery=(0 if in_front else every // 2, every),
        clip_on=False,  # a marker at the end of the axis is whole
        zorder=2.5 if in_front else 2.2,
    )


def draw_band(ax: Axes, variant: str, steps: pd.Series, low: pd.Series, high: pd.Series) -> None:
    """A band of the variant's colour; one above another is darker."""
    ax.fill_between(steps, low, high, color=look(variant).colour, alpha=OPACITY, lw=0)


def dress_panel(ax: Axes, task: str, curves: pd.DataFrame, status: Status) -> None:
    """Head a panel with its task and seeds, and say so where nothing ran."""
    line = "\n".join(wrap(_seeds_line(status, task), _characters(ax)))
    ax.set_title(task_name(task), pad=4 + 10 * (1 + line.count("\n")))
    ax.annotate(line, (0.5, 1.02), xycoords="axes fraction", ha="center", va="bottom")
    if curves.empty:
        ax.text(0.5, 0.3, "n = 0", transform=ax.transAxes, ha="center", color="0.35")
        ax.margins(y=0.5)
    if planned_variants(status, task):
        ax.set_xlim(0, status["budget"][task])
    else:
        ax.set(xticks=[], yticks=[])


def _seeds_line(status: Status, task: str) -> str:
    """Seeds of a panel: what most curves have, and who differs."""
    counts = {
        variant: f"{_seeds(status, task, variant)}{marks(status, task, variant)}"
        for variant in planned_variants(status, task)
    }
    if not counts:
        return "not at this scale"
    usual = max(counts.values(), key=list(counts.values()).count)
    others = [f"{look(v).name} {count}" for v, count in counts.items() if count != usual]
    return "; ".join([f"{usual} seeds", ", ".join(others)]).strip("; ")


def _characters(ax: Axes) -> int:
    """About as many as fit above a panel."""
    grid, fig = ax.get_gridspec(), ax.get_figure(root=True)
    assert grid is not None
    assert fig is not None
    return int(12.5 * fig.get_figwidth() / grid.ncols)


def _seeds(status: Status, task: str, variant: str) -> str:
    finished = seeds_of(status, "finished", task, variant)
    return f"{len(finished)}/{len(seeds_of(status, 'planned', task, variant))}"


def _linestyle(daggers: str) -> str:
    return "--" if "†" in daggers else "-"


def legend(
    fig: Figure, drawn: pd.DataFrame, status: Status, entries: Sequence[Entry], columns: int = 3
) -> None:
    """Under the panels: names of the variants, if there are several; then what lines mean."""
    variants = list(dict.fromkeys(run["variant"] for run in status["planned"]))
    names = [_named(variant) for variant in variants] if len(variants) > 1 else []
    daggers = "".join(drawn["marks"].unique())
    used = list(entries)
    used += [("--", "† with archived runs")] if "†" in daggers else []
    used += [("", "‡ with runs of other code")] if "‡" in daggers else []
    meanings = [_meaning(style, text) for style, text in used]
    rows = [*_whole_rows(names, columns), *_whole_rows(meanings, columns)]
    by_column = [rows[i] for first in range(columns) for i in range(first, len(rows), columns)]
    fig.legend(
        handles=by_column,  # as legends are filled
        loc="outside lower center",
        ncols=columns,
        columnspacing=1.2,
        handlelength=1.8,
        handletextpad=0.5,
    )


def _named(variant: str) -> Line2D:
    style = look(variant)
    return Line2D([], [], color=style.colour, marker=style.marker, label=style.name)


def _meaning(style: str, text: str) -> Artist:
    if style in OPACITIES:
        return Patch(facecolor=look(FRONT[0]).colour, alpha=OPACITIES[style], lw=0, label=text)
    if style == BAR:
        return Line2D([], [], color="0.35", ls="", marker="D", mfc="none", label=text)
    return Line2D([], [], color="0.35", ls=style, label=text)


def _whole_rows(handles: Sequence[Artist], columns: int) -> list[Artist]:
    blank: Artist = Line2D([], [], ls="", label=" ")
    return [*handles, *[blank] * (-len(handles) % columns)]
