"""Hyper-parameters of the other rows of unified_rl's Table 1, which the paper tuned and does not print.

Recommended values stand in for them (deviations A8 to A29); those that ran are listed here.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from unirl_repro.analysis import latex
from unirl_repro.analysis.frames import Status
from unirl_repro.analysis.style import look, task_name
from unirl_repro.tables.unified_rl_table2 import EVERYWHERE, TASKS, text

STUDY = "unified_rl_baselines"
COLUMNS = ["task", "variant", "name", "value", "num_runs"]
COLUMNS_OF_BLOCKS = 3
NOTHING = r"\emph{Nothing is planned at this scale.}"

Texts = dict[str, dict[str, list[str]]]  # name, task, and the values that ran there


def rows(frame: pd.DataFrame, status: Status) -> pd.DataFrame:
    """Compute the table.

    Parameters
    ----------
    frame, status : DataFrame, dict
        The study's tidy frame, which is not read, and what ran of it.

    Returns
    -------
    DataFrame
        Columns `COLUMNS`: a row for each hyper-parameter of each algorithm, of task `all` where
        every task has the same value. Those of a part are named ``part.name``. `num_runs` counts the
        algorithm's runs on these tasks; 0: the values are the planned ones.
    """
    variants = dict.fromkeys(entry["variant"] for entry in status["parameters"])
    found = [row for variant in variants for row in _of_variant(variant, status)]
    return pd.DataFrame(found, columns=COLUMNS)


def _of_variant(variant: str, status: Status) -> Iterator[dict[str, Any]]:
    entries = [entry for entry in status["parameters"] if entry["variant"] == variant]
    texts: Texts = {}
    num_runs: dict[str, int] = {}
    for entry in entries:
        num_runs[entry["task"]] = num_runs.get(entry["task"], 0) + entry["num_runs"]
        for name, value in _flat(entry["parameters"]):
            texts.setdefault(name, {}).setdefault(entry["task"], []).append(text(value))
    for name, by_task in texts.items():
        values = {task: " / ".join(dict.fromkeys(shown)) for task, shown in by_task.items()}
        same = len(set(values.values())) == 1 and len(values) == len(num_runs)
        shown = {EVERYWHERE: next(iter(values.values()))} if same else values
        for task, value in shown.items():
            count = sum(num_runs.values()) if task == EVERYWHERE else num_runs[task]
            yield dict(zip(COLUMNS, (task, variant, name, value, count), strict=True))


def _flat(parameters: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in parameters.items():
        if isinstance(value, Mapping):
            yield from ((f"{name}.{inner}", entry) for inner, entry in _flat(value))
        else:
            yield name, value


def tex(rows: pd.DataFrame, status: Status) -> str:
    r"""Set the table as macros: Shared, PerTask and Notes.

    Parameters
    ----------
    rows : DataFrame
        From `rows`.
    status : dict
        What ran.

    Returns
    -------
    str
        ``\UnifiedRlBaselinesShared``: a block an algorithm with what its tasks share; ``PerTask``: what
        is a task's own; ``Notes``: which values are planned and have not run.
    """
    parts = {
        "shared": f"%\n{_shared_tex(rows)}%\n",
        "per_task": f"%\n{_per_task_tex(rows)}%\n",
        "notes": _notes_tex(rows),
    }
    macros = [latex.newcommand(latex.macro_name(STUDY, k), v) for k, v in parts.items()]
    return "\n".join([f"% {STUDY}: generated", *macros]) + "\n"


def _shared_tex(rows: pd.DataFrame) -> str:
    shared = rows[rows["task"] == EVERYWHERE]
    blocks = [
        latex.tabular(
            "ll",
            [rf"\multicolumn{{2}}{{@{{}}l@{{}}}}{{{latex.escape(look(str(variant)).name)}}} \\"],
            [
                [latex.escape(f"`{row['name']}`"), latex.escape(row["value"])]
                for row in block.to_dict("records")
            ],
        )
        for variant, block in shared.groupby("variant", sort=False)
    ]
    lines = [
        "\\hfill\n".join(blocks[start : start + COLUMNS_OF_BLOCKS])
        for start in range(0, len(blocks), COLUMNS_OF_BLOCKS)
    ]
    return "\\par\\medskip\\noindent\n".join(lines) or NOTHING


def _per_task_tex(rows: pd.DataFrame) -> str:
    single = rows[rows["task"] != EVERYWHERE]
    if single.empty:
        return r"\emph{No value differs between the tasks of this scale.}" if len(rows) else NOTHING
    tasks = [task for task in TASKS if task in set(single["task"])]
    keys = dict.fromkeys(zip(single["variant"], single["name"], strict=True))
    values = single.set_index(["variant", "name", "task"])["value"]
    body = [
        [
            *(latex.escape(look(variant).name), latex.escape(f"`{name}`")),
            *(latex.escape(values.get((variant, name, task), "–")) for task in tasks),
        ]
        for variant, name in keys
    ]
    head = [" & ".join(["Of", "", *(latex.escape(task_name(task)) for task in tasks)]) + r" \\"]
    return latex.tabular("ll" + "l" * len(tasks), head, body)


def _notes_tex(rows: pd.DataFrame) -> str:
    planned = rows[rows["num_runs"] == 0]
    names = [look(str(variant)).name for variant in dict.fromkeys(planned["variant"])]
    if not names:
        return ""
    return latex.escape(f"Planned values, of which not all have run yet: {', '.join(names)}.")
