"""unified_rl Figure 2: episode return against environment steps, one panel a task."""

from textwrap import wrap

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from unirl_repro.analysis.curves import grid, mean_interval, on_grid, training
from unirl_repro.analysis.frames import Status, marks, seeds_of
from unirl_repro.analysis.style import look, panels, styled, task_name

TASKS = (
    *("ant-100", "hopper-200", "walker2d-100"),
    *("halfcheetah-100", "cartpole-200", "dclaw_turn_fixed-40"),
)  # in the order of the paper's Table 1
FEW = 3  # curves whose names fit into a panel
COLUMNS = [
    *("task", "variant", "env_step", "mean", "low", "high", "num_seeds", "num_planned"),
    *("marks", "published"),
]


def data(frame: pd.DataFrame, status: Status) -> pd.DataFrame:
    """Mean and 95% interval over seeds at each point of each task's grid.

    Returns
    -------
    DataFrame
        Columns `COLUMNS`: `num_seeds` is the number of seeds that reached the point, `num_planned`
        the study's, `marks` the daggers of archived runs and of runs of other code, and `published`
        the printed average over all of training [reward].
    """
    _check_tasks(frame)
    parts = [
        _curve(frame, status, task, variant)
        for task in TASKS
        for variant in _planned_variants(status, task)
    ]
    parts = [part for part in parts if not part.empty]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=COLUMNS)


def _check_tasks(frame: pd.DataFrame) -> None:
    unknown = sorted(set(training(frame)["task"]) - set(TASKS))
    if unknown:
        raise ValueError(f"Figure 2 has no panel for {unknown[0]!r}. Allowed: {', '.join(TASKS)}")


def _planned_variants(status: Status, task: str) -> list[str]:
    return list(dict.fromkeys(r["variant"] for r in status["planned"] if r["task"] == task))


def _published(frame: pd.DataFrame, task: str, variant: str) -> float:
    printed = frame[frame["kind"] == "published"]
    rows = printed[(printed["task"] == task) & (printed["variant"] == variant.split("@")[0])]
    return float(rows["return"].iloc[0]) if len(rows) else np.nan


def _curve(frame: pd.DataFrame, status: Status, task: str, variant: str) -> pd.DataFrame:
    on_task = training(frame[frame["task"] == task])
    edges = grid(on_task, status["budget"][task])  # one grid for all variants of a task
    long = on_grid(on_task[on_task["variant"] == variant], edges)
    table = long.pivot_table(index="seed", columns="env_step", values="return")  # [S, P]
    mean, low, high = mean_interval(table.to_numpy())
    return pd.DataFrame(
        {
            "task": task,
            "variant": variant,
            "env_step": table.columns.to_numpy(float),
            "mean": mean,
            "low": low,
            "high": high,
            "num_seeds": table.notna().sum().to_numpy(),
            "num_planned": len(seeds_of(status, "planned", task, variant)),
            "marks": marks(status, task, variant),
            "published": _published(frame, task, variant),
        }
    )


def figure(frame: pd.DataFrame, status: Status) -> Figure:
    """Draw six panels in the paper's order; a task without runs is drawn empty.

    Parameters
    ----------
    frame, status : DataFrame, dict
        The study's tidy frame and what ran of it.

    Returns
    -------
    Figure
        Solid: mean over seeds; band: 95% interval; dashed: holds archived runs; dotted: the
        published average over training, since the paper prints no curve: deviation P1.
    """
    drawn = data(frame, status)
    with styled():
        fig, axes = panels(len(TASKS))
        for ax, task in zip(axes, TASKS, strict=True):
            _panel(ax, task, drawn[drawn["task"] == task], frame, status)
        for ax in axes[-3:]:
            ax.set_xlabel("environment steps")
        for ax in axes[::3]:
            ax.set_ylabel("episode return")
        _legend(fig, drawn, status)
    return fig


def _panel(ax: Axes, task: str, curves: pd.DataFrame, frame: pd.DataFrame, status: Status) -> None:
    variants = _planned_variants(status, task)
    crowded = len(variants) > FEW
    for variant in variants:
        _draw(ax, variant, curves[curves["variant"] == variant])
        published = _published(frame, task, variant)
        if np.isfinite(published):
            start = 0.93 if crowded else 0.0
            ax.axhline(published, start, 1.0, color=look(variant).colour, ls=":", lw=1)
    if curves.empty:
        ax.text(0.5, 0.3, "n = 0", transform=ax.transAxes, ha="center", color="0.35")
        ax.margins(y=0.5)
    if variants:
        ax.set_xlim(0, status["budget"][task])
    else:
        ax.set(xticks=[], yticks=[])
    if crowded:
        line = _seeds_line(status, task, variants)
        ax.set_title(task_name(task), pad=4 + 10 * (1 + line.count("\n")))
        ax.annotate(line, (0.5, 1.02), xycoords="axes fraction", ha="center", va="bottom")
    else:
        ax.set_title(task_name(task))
        handles = [_handle(v, f", {_seeds(status, task, v)} seeds", status, task) for v in variants]
        ax.legend(handles=handles, loc="best", handlelength=2.4) if handles else None


def _draw(ax: Axes, variant: str, curve: pd.DataFrame) -> None:
    if curve.empty:
        return
    every = max(1, len(curve) // 6)
    ax.plot(
        *(curve["env_step"], curve["mean"]),
        color=look(variant).colour,
        ls=_linestyle(curve["marks"].iloc[0]),
        marker=look(variant).marker,
        markevery=(every // 2, every),
    )
    ax.fill_between(
        *(curve["env_step"], curve["low"], curve["high"]),
        color=look(variant).colour,
        alpha=0.2,
        lw=0,
    )


def _seeds(status: Status, task: str, variant: str) -> str:
    finished = seeds_of(status, "finished", task, variant)
    return f"{len(finished)}/{len(seeds_of(status, 'planned', task, variant))}"


def _seeds_line(status: Status, task: str, variants: list[str]) -> str:
    """Seeds of a panel with many curves: what most have, and who differs; wrapped to its width."""
    counts = {v: f"{_seeds(status, task, v)}{marks(status, task, v)}" for v in variants}
    usual = max(counts.values(), key=list(counts.values()).count)
    others = [f"{look(v).name} {count}" for v, count in counts.items() if count != usual]
    return "\n".join(wrap("; ".join([f"{usual} seeds", ", ".join(others)]).strip("; "), 28))


def _linestyle(daggers: str) -> str:
    return "--" if "†" in daggers else "-"


def _handle(variant: str, suffix: str, status: Status, task: str = "") -> Line2D:
    style, daggers = look(variant), marks(status, task, variant)
    label, ls = f"{style.name}{daggers}{suffix}", _linestyle(daggers)
    return Line2D([], [], color=style.colour, marker=style.marker, ls=ls, label=label)


def _legend(fig: Figure, drawn: pd.DataFrame, status: Status) -> None:
    """Under the panels: what lines mean, and names where panels have no room for them."""
    variants = list(dict.fromkeys(run["variant"] for run in status["planned"]))
    handles = [_handle(v, "", status) for v in variants] if len(variants) > FEW else []
    daggers = "".join(drawn["marks"].unique())
    entries = [("-", "mean and 95% interval"), (":", "published average over training")]
    entries += [("--", "† with archived runs")] if "†" in daggers else []
    entries += [("", "‡ with runs of other code")] if "‡" in daggers else []
    handles += [Line2D([], [], color="0.35", ls=style, label=label) for style, label in entries]
    columns = 5 if len(variants) > FEW else 2
    fig.legend(
        handles=handles,
        loc="outside lower center",
        ncols=columns,
        columnspacing=1.2,
        handlelength=1.8,
        handletextpad=0.5,
    )
