"""Table 1 of unified_rl as printed, and what the text says of it: the evidence and the statements.

A statement's test takes the printed rows and Table 1 and finds whether it is so, or the number, with
the range that rounding allows. How words are read: deviation S8.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from unirl_repro.analysis.rounding import (
    Derived,
    Printed,
    Sample,
    above,
    better,
    count,
    derive,
    every,
    fails,
    no_worse,
    p_value,
    read_column,
    scores,
)
from unirl_repro.analysis.statistics import SIGNIFICANCE, holm
from unirl_repro.analysis.style import task_name

OURS, PARTS, BETTER_PART = "unified", ("sac_rlpd", "mbrl"), "max(mbrl,sac_rlpd)"
MIDDLE = 0.5  # of the printed rows' range: to perform well on a task (deviation U19)
Rows = list[dict[str, Any]]


def printed_rows(frame: pd.DataFrame, statistic: str) -> Rows:
    """All printed rows of a statistic; `ValueError` if there is none."""
    found = frame[frame["statistic"] == statistic].to_dict("records")
    if not found:
        raise ValueError(
            f"resources/reference has no row {statistic!r}, which is recomputed or recomputed from. "
            "It belongs into one of the files that unirl_repro/tabular/unified_rl_recomputed.py reads"
        )
    return [{str(name): value for name, value in row.items()} for row in found]


def one_printed(frame: pd.DataFrame, statistic: str) -> Printed:
    """The number of a statistic that is printed once."""
    return read_column([printed_rows(frame, statistic)[0]["value"]])[0]


def place(frame: pd.DataFrame, statistic: str) -> dict[str, str]:
    """Where a statistic is printed, and of what."""
    row = printed_rows(frame, statistic)[0]
    return {name: row[name] for name in ("document", "location", "task", "variant")}


@dataclass(frozen=True)
class Table:
    """Table 1 as printed: cells and asterisks by task and variant, averages by variant."""

    cells: dict[tuple[str, str], Sample]
    asterisks: dict[tuple[str, str], int]
    averages: dict[str, Printed]

    @property
    def tasks(self) -> list[str]:
        return list(dict.fromkeys(task for task, _ in self.cells))

    @property
    def variants(self) -> list[str]:
        return list(dict.fromkeys(variant for _, variant in self.cells))

    @property
    def others(self) -> list[str]:
        """Algorithms beside Unified RL; max(MBRL,SAC) is a choice between two of them."""
        return [v for v in self.variants if v not in (OURS, BETTER_PART)]

    def best(self, task: str, variants: Sequence[str]) -> Sample:
        """The cell with the highest mean."""
        return max((self.cells[task, v] for v in variants), key=lambda cell: cell.mean.value)

    def better_part(self, task: str) -> Sample:
        """The better of SAC and MBRL, by their means (deviation S6)."""
        return self.best(task, PARTS)

    def returns(self) -> pd.DataFrame:
        """Means; a row an algorithm, a column a task."""
        means = {
            task: {v: self.cells[task, v].mean.value for v in self.variants} for task in self.tasks
        }
        return pd.DataFrame(means)

    def scores(self) -> dict[str, list[Derived]]:
        """Normalised returns of each algorithm, in the order of the tasks."""
        ends = scores(self.returns(), next(iter(self.cells.values())).mean.slack)
        found = {end: table.to_dict("index") for end, table in ends.items()}
        return {
            v: [Derived(*(float(found[end][v][task]) for end in found)) for task in self.tasks]
            for v in self.variants
        }

    def average_scores(self) -> dict[str, Derived]:
        """The last column, derived again."""
        by_variant = {v: [(s.value, s.low, s.high) for s in of] for v, of in self.scores().items()}
        return {v: Derived(*map(float, np.mean(ends, axis=0))) for v, ends in by_variant.items()}

    def bold(self, task: str, variant: str) -> Derived:
        """Whether a cell is the best of its task or not significantly worse."""
        return no_worse(self.cells[task, variant], self.best(task, self.variants))


def read_table(frame: pd.DataFrame) -> Table:
    """Table 1 from the printed rows."""
    returns, averages = (
        printed_rows(frame, "training_average"),
        printed_rows(frame, "average_normalised"),
    )
    means = read_column([row["value"] for row in returns])
    halves = read_column([row["interval"] for row in returns])
    keys = [(row["task"], row["variant"]) for row in returns]
    seeds = [int(row["num_seeds"]) for row in returns]
    return Table(
        dict(zip(keys, map(Sample, means, halves, seeds), strict=True)),
        {key: int(row["asterisk"]) for key, row in zip(keys, returns, strict=True)},
        dict(
            zip(
                (row["variant"] for row in averages),
                read_column([row["value"] for row in averages]),
                strict=True,
            )
        ),
    )


Found = tuple[Derived, str]  # whether it is so, or the number; and what is found, in words


def _number_of_tasks(frame: pd.DataFrame, table: Table) -> Found:
    return _exactly(len(table.tasks))


def _number_of_parts(frame: pd.DataFrame, table: Table) -> Found:
    return _exactly(len(PARTS))


def _span(number: Derived) -> str:
    """Limits of a count in brackets; nothing where rounding leaves no choice."""
    low, high = (f"{end:.0f}" for end in (number.low, number.high))
    return f" [{low}, {high}]" if low != high else ""


def _exactly(number: int) -> Found:
    return Derived(number, number, number), str(number)


def _tasks_above_both(frame: pd.DataFrame, table: Table) -> Found:
    above_both = [
        every([better(table.cells[task, OURS], table.cells[task, part]) for part in PARTS])
        for task in table.tasks
    ]
    number = count(above_both)
    return number, f"{number.value:.0f}{_span(number)}"


def _rank(frame: pd.DataFrame, table: Table) -> Found:
    found = table.average_scores()
    ours, others = found[OURS], [found[v] for v in table.variants if v != OURS]
    rank = Derived(
        1 + sum(other.value > ours.value for other in others),
        1 + sum(other.low > ours.high for other in others),
        1 + sum(other.high > ours.low for other in others),
    )
    return rank, f"{rank.value:.0f}{_span(rank)}"


def _mbrl_above_sac(frame: pd.DataFrame, table: Table) -> Found:
    task = place(frame, "above_sac")["task"]
    mbrl, sac = table.cells[task, "mbrl"], table.cells[task, "sac_rlpd"]
    return better(mbrl, sac), f"{mbrl.mean.value:g} against {sac.mean.value:g}"


def _often(frame: pd.DataFrame, table: Table) -> Found:
    """In more than half of the pairs of a task and an algorithm, by Student's test."""
    others = [v for v in table.others if v not in PARTS]
    pairs = [(task, other) for task in table.tasks for other in others]
    number = count([better(table.cells[t, OURS], table.cells[t, v]) for t, v in pairs])
    half = len(pairs) / 2
    so = Derived(*(float(end > half) for end in (number.value, number.low, number.high)))
    return so, f"significantly in {number.value:.0f} of {len(pairs)} pairs{_span(number)}"


def _crossing(frame: pd.DataFrame) -> list[str]:
    return [row["task"] for row in printed_rows(frame, "parts_cross")]


def _above_crossing(frame: pd.DataFrame, table: Table) -> Found:
    """Above both parts, by the means of Table 1 (deviation S8)."""
    tasks = _crossing(frame)
    so = {t: above(table.cells[t, OURS].mean, table.better_part(t).mean) for t in tasks}
    return every(list(so.values())), _on(so)


def _matches_dominating(frame: pd.DataFrame, table: Table) -> Found:
    """Not significantly below the better part, where that is significantly above the other."""
    sac, mbrl = ({t: table.cells[t, part] for t in table.tasks} for part in PARTS)
    so = {
        t: no_worse(table.cells[t, OURS], table.better_part(t))
        for t in table.tasks
        if t not in _crossing(frame) and p_value(sac[t], mbrl[t]).value < SIGNIFICANCE
    }
    return every(list(so.values())), _on(so)


def _only_above_middle(frame: pd.DataFrame, table: Table) -> Found:
    good = {
        v: [Derived(*(float(end > MIDDLE) for end in (s.value, s.low, s.high))) for s in of]
        for v, of in table.scores().items()
    }
    so = every([every(good[OURS]), *(fails(every(good[v])) for v in table.others)])
    most = max(count(good[v]).value for v in table.others)
    told = f"on {count(good[OURS]).value:.0f} of {len(table.tasks)} tasks"
    return so, f"{told}, others on at most {most:.0f}"


def _among_the_best(frame: pd.DataFrame, table: Table) -> Found:
    so = {task: table.bold(task, OURS) for task in table.tasks}
    return every(list(so.values())), _on(so)


def _consistently(frame: pd.DataFrame, table: Table) -> Found:
    """All of the printed p-values are below the level."""
    printed = read_column([row["value"] for row in printed_rows(frame, "one_sided_p")])
    so = [derive(lambda p: float(p < SIGNIFICANCE), p) for p in printed]
    values = np.array([p.value for p in printed])
    corrected, doubled = ((p < SIGNIFICANCE).sum() for p in (holm(values), 2 * values))
    told = f"{count(so).value:.0f} of {len(so)}; after Holm's correction {corrected}"
    return every(so), f"{told}, two-sided {doubled}"


def _on(so: Mapping[str, Derived]) -> str:
    """On how many tasks it is so, and on which not."""
    number = count(list(so.values()))
    lacking = [task_name(task) for task, part in so.items() if not part.value]
    told = f"on {number.value:.0f} of {len(so)} tasks{_span(number)}"
    return f"{told}, not on {' and '.join(lacking)}" if lacking else told


@dataclass(frozen=True)
class Statement:
    """What the text says, its printed row, and what finds out whether it is so."""

    words: str
    statistic: str
    test: Callable[[pd.DataFrame, Table], Found]
    is_number: bool = False  # else it is so, or is not


STATEMENTS = {
    "num_tasks": Statement("tasks that were tested", "num_tasks", _number_of_tasks, True),
    "tasks_above_both": Statement(
        "tasks on which Unified RL is significantly above SAC and MBRL",
        "tasks_above_both",
        _tasks_above_both,
        True,
    ),
    "rank_of_average": Statement(
        "rank of Unified RL's average normalised return", "rank_of_average", _rank, True
    ),
    "interaction_factor": Statement(
        "interactions for SAC and MBRL side by side, in those of one",
        "interaction_factor",
        _number_of_parts,
        True,
    ),
    "above_sac": Statement("MBRL outperforms SAC on Walker", "above_sac", _mbrl_above_sac),
    "often_better": Statement(
        "Unified RL often outperforms the six others", "often_better", _often
    ),
    "matches_dominating_part": Statement(
        "where SAC or MBRL dominates the other, Unified RL at least matches it",
        "matches_dominating_part",
        _matches_dominating,
    ),
    "above_crossing_parts": Statement(
        "where SAC overtakes MBRL (Ant, Half-Cheetah, Cartpole), Unified RL is above both",
        "above_crossing_parts",
        _above_crossing,
    ),
    "only_good_by_middle": Statement(
        "Unified RL alone performs well on all tasks: above the middle of the range",
        "only_good_everywhere",
        _only_above_middle,
    ),
    "only_good_by_best": Statement(
        "the same, read as not significantly below the best",
        "only_good_everywhere",
        _among_the_best,
    ),
    "consistently_better": Statement(
        "MnM-approx consistently outperforms VMBPO: significantly on each task",
        "consistently_better",
        _consistently,
    ),
}


# Numbers that are derived from what no table or text prints: what they are, and where that is.
OPEN = {
    "data_percent": ("percent of SAC's data that Unified RL needs", "curves of Figure 2"),
    "one_sided_p": ("p-values, MnM-approx against VMBPO", "curves of Figure 4"),
    "largest_p": ("largest p-value of four, against MBPO", "curves of Figure 4"),
    "largest_p_of_two": ("largest p-value of two, against SAC", "curves of Figure 4"),
    "tasks_struggled": ("tasks of four that MBPO struggles to learn", "curves of Figure 4"),
    "share_of_data": ("MBPO's data, as a share of model-free algorithms'", "its figure"),
}
