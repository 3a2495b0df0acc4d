"""A figure's curves in numbers: the mean over the first third of their points, and over the last.

Reads what a figure draws (its csv), so that text beside a figure says what the figure shows.
"""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from unirl_repro.analysis import latex
from unirl_repro.analysis.style import look, task_name

CURVE = ["task", "variant", "statistic"]
# What a table can show, in order: heads, and whether it is a fraction or counted in reward.
HEADS = {
    "return": ("return", False),
    "model_free": ("model-free", True),
    "model_free_chosen": ("chosen", True),
    "gap_min": ("smallest", False),
    "gap_median": ("median", False),
    "gap_max": ("largest", False),
    "gap_diverged": ("diverged", False),
    "proven": ("proven", True),
}


def thirds(drawn: pd.DataFrame) -> pd.DataFrame:
    """Average each curve of a figure over the first and the last third of its points.

    Parameters
    ----------
    drawn : DataFrame
        What the figure draws: task, variant, statistic, env_step, mean, num_seeds, num_planned.

    Returns
    -------
    DataFrame
        A row a curve: `CURVE`, first, last, num_seeds (the most at any point) and num_planned.
        Points that three do not divide count in both thirds.

    Examples
    --------
    >>> curve = {"task": "t", "variant": "v", "statistic": "s", "num_seeds": 1, "num_planned": 5}
    >>> points = pd.DataFrame({"env_step": [1, 2, 3], "mean": [1.0, 5.0, 3.0]}).assign(**curve)
    >>> thirds(points)[["first", "last"]].to_numpy().tolist()
    [[1.0, 3.0]]
    """
    rows = []
    for key, points in drawn.groupby(CURVE, sort=False):
        means = points.sort_values("env_step")["mean"]
        size = math.ceil(len(means) / 3)
        row = dict(zip(CURVE, key, strict=True))
        row |= {"first": means.head(size).mean(), "last": means.tail(size).mean()}
        row |= {count: int(points[count].max()) for count in ("num_seeds", "num_planned")}
        rows.append(row)
    return pd.DataFrame(rows, columns=[*CURVE, "first", "last", "num_seeds", "num_planned"])


def thirds_tex(drawn: pd.DataFrame) -> str:
    """Set a table of them: a row a task and variant, a column a statistic of `HEADS`.

    A single variant is not named.
    """
    found = thirds(drawn)
    shown = [name for name in HEADS if name in set(found["statistic"])]
    if not shown:
        return r"\emph{No run has finished.}"
    several, body = len(set(found["variant"])) > 1, []
    for (task, variant), rows in found.groupby(["task", "variant"], sort=False):
        cells = {row["statistic"]: row for row in rows.to_dict("records")}
        seeds = f"{rows['num_seeds'].max()}/{rows['num_planned'].max()}"
        names = [task_name(str(task)), *([look(str(variant)).name] if several else []), seeds]
        numbers = [_cell(cells.get(name), HEADS[name][1]) for name in shown]
        body.append([*map(latex.escape, names), *numbers])
    heads = ["Task", *(["Algorithm"] if several else []), "seeds"]
    columns = "l" * len(heads) + "r" * len(shown)
    heads += [HEADS[name][0] for name in shown]
    return latex.tabular(columns, [" & ".join(heads) + r" \\"], body)


def _cell(row: Mapping[Any, Any] | None, fraction: bool) -> str:
    if row is None:
        return latex.DASH
    first, last = (
        latex.share(row[third], decimals=2) if fraction else latex.number(row[third])
        for third in ("first", "last")
    )
    return rf"{first} $\rightarrow$ {last}"
