"""Published numbers, recomputed: does each derived number follow from the printed ones?

Parts: `averages`, `better_part`, `bold` and `asterisks` (what unified_rl's Table 1 derives from its
own cells), `overhead` (A.2.6), `statements` (numbers and comparisons in the text, against the
tables), `open` (numbers whose inputs are not printed, of mnm and mbpo_blog too) and `changes` (which
single cell would make an average follow that does not). What follows means: deviation S8.
"""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from unirl_repro.analysis import latex
from unirl_repro.analysis.frames import AVERAGE, Status
from unirl_repro.analysis.rounding import (
    DOES_NOT,
    FOLLOWS,
    TO_ROUNDING,
    Derived,
    Printed,
    Sample,
    better,
    derive,
    p_other_readings,
    p_value,
    single_changes,
    verdict,
)
from unirl_repro.analysis.statistics import SIGNIFICANCE
from unirl_repro.analysis.style import look, task_name
from unirl_repro.analysis.thresholds import permissible_overhead
from unirl_repro.tables._printed import (
    BETTER_PART,
    OPEN,
    OURS,
    STATEMENTS,
    Rows,
    Table,
    one_printed,
    place,
    printed_rows,
    read_table,
)

STUDY = "unified_rl_recomputed"
NO_TYPE, NO_INPUTS = "printed type not in our copy", "inputs not printed"
READINGS = {
    "welch": "Welch's test",
    "one_sided": "a one-sided test",
    "normal_intervals": "normal intervals",
}
COLUMNS = [
    *("part", "document", "location", "item", "task", "variant", "says", "found"),
    *("printed", "value", "low", "high", "verdict"),
    *("p_student", "p_low", "p_high", *(f"p_{reading}" for reading in READINGS)),
]


def rows(frame: pd.DataFrame, status: Status) -> pd.DataFrame:
    """Compute the table.

    Parameters
    ----------
    frame, status : DataFrame, dict
        The printed rows, as text (`tabular.unified_rl_recomputed`), and the status, which is not
        read.

    Returns
    -------
    DataFrame
        Columns `COLUMNS`: the printed number, the recomputed one with the range that the rounding of
        its inputs allows, and the verdict. What is so or is not is 1 or 0. In `bold` and
        `asterisks` also p-values, Student's with its range; in `statements` and `open` what the
        text says and what is found, in words.

    Raises
    ------
    ValueError
        If a printed row is missing.
    """
    table = read_table(frame)
    parts = [
        *_averages(table),
        *_changes(table),
        *_better_part(table),
        *_bold(table),
        *_asterisks(table),
        *_overhead(frame),
        *_statements(frame, table),
        *_open(frame),
    ]
    return pd.DataFrame(parts, columns=COLUMNS)


def _row(
    part: str, item: str, printed: Printed | None, derived: Derived, **more: Any
) -> dict[str, Any]:
    """A number with its verdict, of unified_rl's Table 1 where `more` says nothing else."""
    known: dict[str, Any] = {"document": "unified_rl", "location": "Table 1"}
    if printed is not None:
        known |= {"printed": printed.value, "verdict": verdict(printed, derived)}
    numbers = {"value": derived.value, "low": derived.low, "high": derived.high}
    return {"part": part, "item": item, **known, **numbers, **more}


# --- Table 1


def _averages(table: Table) -> Rows:
    found = table.average_scores()
    return [
        _row("averages", "average_normalised", printed, found[v], task=AVERAGE, variant=v)
        for v, printed in table.averages.items()
    ]


def _changes(table: Table) -> Rows:
    """For each average that does not follow, the cells that alone could be the cause."""
    returns, found = table.returns(), []
    for row in _averages(table):
        if row["verdict"] != DOES_NOT:
            continue
        variant = row["variant"]
        for task, needed in single_changes(returns, variant, row["printed"]).items():
            cell = {"printed": returns.loc[variant, task], "value": needed}
            where = {"document": "unified_rl", "location": "Table 1", "item": "training_average"}
            found.append({"part": "changes", **where, "task": task, "variant": variant, **cell})
    return found


def _better_part(table: Table) -> Rows:
    """The row max(MBRL,SAC), mean and interval: the better mean brings its interval (deviation S6)."""
    found = []
    for task in table.tasks:
        printed, part = table.cells[task, BETTER_PART], table.better_part(task)
        for item in ("mean", "half"):
            value = getattr(part, item).value
            exact = Derived(value, value, value)
            where = {"task": task, "variant": BETTER_PART}
            found.append(_row("better_part", item, getattr(printed, item), exact, **where))
    return found


def _bold(table: Table) -> Rows:
    found = []
    for task in table.tasks:
        best = table.best(task, table.variants)
        for variant in table.variants:
            where = {"task": task, "variant": variant, "verdict": NO_TYPE}
            p_values = _p_values(table.cells[task, variant], best)
            found.append(_row("bold", "bold", None, table.bold(task, variant), **where, **p_values))
    return found


def _asterisks(table: Table) -> Rows:
    found = []
    for task in table.tasks:
        ours, part = table.cells[task, OURS], table.cells[task, BETTER_PART]
        printed = Printed(table.asterisks[task, OURS], 0)
        more = {"task": task, "variant": OURS, **_p_values(ours, part)}
        ahead = f"{ours.mean.value - part.mean.value:+.{ours.mean.decimals}f}"
        found.append(
            _row("asterisks", "asterisk", printed, better(ours, part), found=ahead, **more)
        )
    return found


def _p_values(cell: Sample, other: Sample) -> dict[str, float]:
    if cell is other:
        return {}
    student = p_value(cell, other)
    known = {"p_student": student.value, "p_low": student.low, "p_high": student.high}
    return known | {f"p_{name}": p for name, p in p_other_readings(cell, other).items()}


# --- Overhead


def _overhead(frame: pd.DataFrame) -> Rows:
    """A.2.6 from its printed inputs, and what Section 6 repeats of it."""
    share, seconds = one_printed(frame, "data_ratio"), one_printed(frame, "update_seconds")
    episode = one_printed(frame, "horizon").value / one_printed(frame, "interaction_rate").value

    def factor(ratio: float, update_seconds: float) -> float:
        return permissible_overhead(ratio, update_seconds, episode)

    found = {
        "episode_seconds": Derived(episode, episode, episode),
        "data_percent": derive(lambda ratio: 100 * ratio, share),
        "permissible_overhead": derive(factor, share, seconds),
        "overhead_factor": derive(
            lambda printed: printed, one_printed(frame, "permissible_overhead")
        ),
    }
    return [
        _row("overhead", name, one_printed(frame, name), derived, **place(frame, name))
        for name, derived in found.items()
    ]


# --- The text


def _statements(frame: pd.DataFrame, table: Table) -> Rows:
    found = []
    for item, statement in STATEMENTS.items():
        printed = one_printed(frame, statement.statistic)
        derived, told = statement.test(frame, table)
        says = f"{printed.value:g}" if statement.is_number else "yes"
        more = {"says": says, "found": told, **place(frame, statement.statistic)}
        found.append(_row("statements", item, printed, derived, **more))
    return found


def _open(frame: pd.DataFrame) -> Rows:
    found = []
    for item, (_, inputs) in OPEN.items():
        says = ", ".join(row["value"] for row in printed_rows(frame, item))
        more = {"says": says, "found": inputs, "verdict": NO_INPUTS}
        found.append({"part": "open", "item": item, **place(frame, item), **more})
    return found


# --- LaTeX


def tex(rows: pd.DataFrame, status: Status) -> str:
    r"""Set the table as macros: Numbers, Tests, Statements and Open, and numbers for the prose.

    Parameters
    ----------
    rows : DataFrame
        From `rows`.
    status : dict
        Not read.

    Returns
    -------
    str
        ``\UnifiedRlRecomputedNumbers`` and so on; ``NumFollows``, ``NumToRounding``, ``NumDoesNot``
        and ``NumOpen`` count verdicts, ``NumBold`` the cells that are to be bold of ``NumCells``;
        ``Changes``, ``Readings`` and ``Below`` are sentences, ``OverheadLow`` and ``OverheadHigh``
        the limits of the factor of overhead.
    """
    verdicts = rows["verdict"].value_counts()
    bold, factor = _part(rows, "bold"), rows[rows["item"] == "permissible_overhead"].iloc[0]
    parts = {
        "numbers": f"%\n{_numbers_tex(rows)}%\n",
        "tests": f"%\n{_tests_tex(rows)}%\n",
        "statements": f"%\n{_statements_tex(rows)}%\n",
        "open": f"%\n{_open_tex(rows)}%\n",
        "changes": _changes_tex(rows),
        "readings": _readings_tex(bold),
        "below": _below_tex(rows),
        "num_follows": str(verdicts.get(FOLLOWS, 0)),
        "num_to_rounding": str(verdicts.get(TO_ROUNDING, 0)),
        "num_does_not": str(verdicts.get(DOES_NOT, 0)),
        "num_open": str(verdicts.get(NO_INPUTS, 0)),
        "num_bold": f"{bold['value'].sum():.0f}",
        "num_cells": str(len(bold)),
        "overhead_low": f"{factor['low']:.0f}",
        "overhead_high": f"{factor['high']:.0f}",
    }
    macros = [latex.newcommand(latex.macro_name(STUDY, k), v) for k, v in parts.items()]
    return "\n".join([f"% {STUDY}: generated", *macros]) + "\n"


def _part(rows: pd.DataFrame, part: str) -> pd.DataFrame:
    return rows[rows["part"] == part]


def _records(rows: pd.DataFrame, part: str) -> Rows:
    return [
        {str(name): value for name, value in row.items()}
        for row in _part(rows, part).to_dict("records")
    ]


def _verdict_tex(row: Mapping[str, Any]) -> str:
    shown = latex.escape(row["verdict"])
    return rf"\textbf{{{shown}}}" if row["verdict"] == DOES_NOT else shown


LABELS = {  # with decimals, as printed and of the range
    "episode_seconds": ("seconds of an episode", 0, 0),
    "data_percent": ("share of data in percent", 0, 1),
    "permissible_overhead": ("factor of overhead", 1, 1),
    "overhead_factor": ("the same, rounded", 0, 2),
}


def _numbers_tex(rows: pd.DataFrame) -> str:
    head = [r"Number & place & printed & recomputed & rounding allows & verdict \\"]
    body = [
        [
            f"average score, {latex.escape(look(row['variant']).name)}",
            *_cells(row, 4, 4),
        ]
        for row in _records(rows, "averages")
    ]
    body += [_better_part_line(*pair) for pair in _pairs(_records(rows, "better_part"))]
    for row in _records(rows, "overhead"):
        label, *decimals = LABELS[row["item"]]
        body.append([label, *_cells(row, *decimals)])
    return latex.tabular("llrrrl", head, body)


def _cells(row: Mapping[str, Any], decimals: int, of_range: int) -> list[str]:
    limits = latex.interval(row["low"], row["high"], of_range)
    return [
        latex.escape(row["location"]),
        *(f"{row[name]:.{decimals}f}" for name in ("printed", "value")),
        latex.DASH if row["low"] == row["high"] else limits,
        _verdict_tex(row),
    ]


def _pairs(rows: Rows) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    return list(zip(rows[::2], rows[1::2], strict=True))


def _better_part_line(mean: Mapping[str, Any], half: Mapping[str, Any]) -> list[str]:
    worse = mean if mean["verdict"] != FOLLOWS else half
    return [
        f"{latex.escape(look(BETTER_PART).name)}, {latex.escape(task_name(mean['task']))}",
        latex.escape(mean["location"]),
        *(latex.mean_cell(mean[name], half[name]) for name in ("printed", "value")),
        latex.DASH,
        _verdict_tex(worse),
    ]


def _tests_tex(rows: pd.DataFrame) -> str:
    """A line a task: the asterisk, and which cells are to be bold."""
    bold = _part(rows, "bold")
    body = []
    for row in _records(rows, "asterisks"):
        cells = bold[(bold["task"] == row["task"]) & (bold["value"] == 1)]
        names = [look(variant).name for variant in cells["variant"]]
        body.append(
            [
                *(latex.escape(task_name(row["task"])), f"${row['found']}$"),
                f"{_p(row['p_student'])} [{_p(row['p_low'])}, {_p(row['p_high'])}]",
                *("$*$" if row[name] else "" for name in ("printed", "value")),
                *(_verdict_tex(row), latex.escape(", ".join(names))),
            ]
        )
    head = [
        r" & \multicolumn{2}{c}{Unified RL, max(MBRL,SAC)} & \multicolumn{2}{c}{asterisk} & & \\",
        r"\cmidrule(lr){2-3}\cmidrule(lr){4-5}",
        r"Task & difference & $p$ & printed & computed & verdict & bold, as computed \\",
    ]
    return latex.tabular(f"lrlccl{_ragged(4)}", head, body)


def _p(value: float) -> str:
    return f"{value:.3f}" if value >= 0.0005 else r"$<$0.0005"


def _statements_tex(rows: pd.DataFrame) -> str:
    body = [
        [
            *(latex.escape(STATEMENTS[row["item"]].words), _place_tex(row)),
            *(row["says"], latex.escape(row["found"]), _verdict_tex(row)),
        ]
        for row in _records(rows, "statements")
    ]
    head = [r"The text says & place & & found & verdict \\"]
    return latex.tabular(f"{_ragged(5.6)}{_ragged(2.4)}l{_ragged(3.8)}{_ragged(1.8)}", head, body)


def _open_tex(rows: pd.DataFrame) -> str:
    body = [
        [latex.escape(OPEN[row["item"]][0]), _place_tex(row), row["says"], row["found"]]
        for row in _records(rows, "open")
    ]
    return latex.tabular(f"{_ragged(6)}lll", [r"Number & place & printed & derived from \\"], body)


def _ragged(width: float) -> str:
    return rf">{{\raggedright\arraybackslash}}p{{{width:g}cm}}"


SHORT = {"unified_rl": "", "mnm": "MnM, ", "mbpo_blog": "MBPO's post, "}


def _place_tex(row: Mapping[str, Any]) -> str:
    return latex.escape(SHORT[row["document"]] + row["location"])


def _changes_tex(rows: pd.DataFrame) -> str:
    """Which cell alone could be the cause where an average does not follow."""
    cells: dict[str, list[str]] = {}
    for row in _records(rows, "changes"):
        needed, printed = latex.number(row["value"]), latex.number(row["printed"])
        told = f"{needed} and not {printed} on {latex.escape(task_name(row['task']))}"
        cells.setdefault(latex.escape(look(row["variant"]).name), []).append(told)
    return " ".join(
        f"{name}'s average would follow if it had {', or if it had '.join(told)}."
        for name, told in cells.items()
    )


def _readings_tex(bold: pd.DataFrame) -> str:
    """Cells whose type depends on which test the words mean."""
    told = []
    tested = bold[bold["p_student"].notna() & (bold["variant"] != BETTER_PART)]
    for row in tested.to_dict("records"):
        is_bold = row["value"] == 1
        other = [w for n, w in READINGS.items() if (row[f"p_{n}"] >= SIGNIFICANCE) != is_bold]
        if other:
            state, differs = ("bold", "not so") if is_bold else ("not bold", "bold")
            told.append(
                f"{look(row['variant']).name} on {task_name(row['task'])} is {state} "
                f"(p = {row['p_student']:.3f}), but {differs} by {' and by '.join(other)}"
            )
    return latex.escape(f"{'; '.join(told)}." if told else "No cell depends on the kind of test.")


def _below_tex(rows: pd.DataFrame) -> str:
    """Where Unified RL is not above but significantly below the better of its parts."""
    told = [
        f"On {task_name(row['task'])} Unified RL is significantly below the better of its parts "
        f"(p = {row['p_student']:.3f}; rounding allows {row['p_low']:.3f} to {row['p_high']:.3f}; "
        f"by Welch's test {row['p_welch']:.3f})."
        for row in _records(rows, "asterisks")
        if row["found"].startswith("-") and row["p_student"] < SIGNIFICANCE
    ]
    return latex.escape(" ".join(told))
