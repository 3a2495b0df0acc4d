"""unified_rl Table 1: return averaged over all of training, ours beside the published.

Parts: `returns` (each algorithm on each task, by the paper's rule), `averages` (normalised, over
tasks) and `robust` (interquartile mean, probability of improvement).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from unirl_repro.analysis import latex
from unirl_repro.analysis.curves import training_averages
from unirl_repro.analysis.frames import AVERAGE, Status, marks, reached, seeds_of
from unirl_repro.analysis.settings import is_calibrated
from unirl_repro.analysis.statistics import (
    SIGNIFICANCE,
    Estimate,
    Summary,
    compare_to_best,
    holm,
    improvement_interval,
    interquartile_mean_interval,
    normalise,
    significantly_better,
    summarise,
    summary_of_interval,
    t_test,
)
from unirl_repro.analysis.style import look, task_name

STUDY = "unified_rl_table1"
TASKS = (
    *("ant-100", "hopper-200", "walker2d-100"),
    *("halfcheetah-100", "cartpole-200", "dclaw_turn_fixed-40"),
)
OURS, PARTS = "unified", ("mbrl", "sac_rlpd")
BETTER_PART = "max(mbrl,sac_rlpd)"
VARIANTS = (OURS, "sac_rlpd", "mbrl", BETTER_PART, "alm", "ddpg", "svg", "td3", "hl", "ppo")
COLUMNS = [
    *("part", "statistic", "task", "variant", "against", "value", "low", "high"),
    *("num_seeds", "num_planned", "num_tasks", "reached", "marks"),
    *("published", "published_interval", "difference", "calibrated", "comparable"),
    *("p_published", "p_published_holm"),
    *("bold", "asterisk", "published_bold", "published_asterisk"),
    *("p_student", "p_welch", "p_holm"),
]

Cells = dict[tuple[str, str], Summary]  # (task, variant)


def rows(frame: pd.DataFrame, status: Status) -> pd.DataFrame:
    """Compute the table.

    Parameters
    ----------
    frame, status : DataFrame, dict
        The study's tidy frame and what ran of it.

    Returns
    -------
    DataFrame
        Columns `COLUMNS`, empty where one does not apply: in part `returns` each of the ten
        published rows on each task, in `averages` and `robust` one row a statistic. A cell of ours
        is `comparable` with the published one, and tested against it, if its runs have the length
        of scale paper: the average is over all of training, and so another one for shorter runs;
        and if that length is not `calibrated` on the published one itself.

    Raises
    ------
    ValueError
        If the frame holds a task or a variant that the table has no place for.
    """
    averages = training_averages(frame)
    _check(averages)
    ours, published = _our_cells(averages), _published_cells(frame)
    returns = _returns(ours, published, status)
    parts = [returns, _averages(returns, frame), _robust(averages, returns)]
    parts = [part for part in parts if not part.empty]
    return pd.concat(parts, ignore_index=True).reindex(columns=COLUMNS)


def _check(averages: pd.DataFrame) -> None:
    for column, allowed in (("task", TASKS), ("variant", VARIANTS)):
        unknown = sorted(set(averages[column]) - set(allowed))
        if unknown:
            raise ValueError(
                f"Table 1 has no place for {column} {unknown[0]!r}. Allowed: {', '.join(allowed)}"
            )


def _our_cells(averages: pd.DataFrame) -> Cells:
    cells = {
        (str(task), str(variant)): summarise(group["value"].to_numpy())
        for (task, variant), group in averages.groupby(["task", "variant"], sort=False)
    }
    for task in TASKS:  # run both, keep the better: deviation S6
        parts = [cells[task, part] for part in PARTS if (task, part) in cells]
        if len(parts) == len(PARTS):
            cells[task, BETTER_PART] = max(parts, key=lambda cell: cell.mean)
    return cells


def _published_cells(frame: pd.DataFrame) -> Cells:
    printed = frame[(frame["kind"] == "published") & (frame["task"] != AVERAGE)]
    return {
        (row["task"], row["variant"]): summary_of_interval(
            row["return"], row["interval"], int(row["num_seeds"])
        )
        for row in printed.to_dict("records")
    }


def _returns(ours: Cells, published: Cells, status: Status) -> pd.DataFrame:
    parts = []
    for task in TASKS:
        mine = {v: ours[task, v] for v in VARIANTS if (task, v) in ours}
        printed = {v: published[task, v] for v in VARIANTS if (task, v) in published}
        verdicts = compare_to_best(mine, repeated={BETTER_PART})
        printed_verdicts = compare_to_best(printed, repeated={BETTER_PART})
        # Among our runs "the best" needs a second algorithm to be better than: deviation S4.
        contest = len(set(mine) - {BETTER_PART}) > 1
        for variant in VARIANTS:
            row = _row(task, variant, mine.get(variant), printed.get(variant), status)
            row |= {"asterisk": _starred(variant, mine)}
            row |= {"published_asterisk": _starred(variant, printed)}
            row |= {"published_bold": bool(variant in printed and printed_verdicts.bold[variant])}
            row |= {"bold": bool(contest and variant in mine and verdicts.bold[variant])}
            if contest and variant in mine:
                row |= {p: verdicts[p][variant] for p in ("p_student", "p_welch", "p_holm")}
            parts.append(row)
    table = pd.DataFrame(parts)
    # The row max(MBRL, SAC) repeats another row's test, which would count twice.
    once = table["p_published"].where(table["variant"] != BETTER_PART)
    table["p_published_holm"] = holm(once.to_numpy(float))
    return table


def _starred(variant: str, cells: Mapping[str, Summary]) -> bool:
    """Whether Unified RL is significantly better than the better of its parts."""
    if variant != OURS or not {OURS, BETTER_PART} <= set(cells):
        return False
    return significantly_better(cells[OURS], cells[BETTER_PART])


def _row(
    task: str, variant: str, mine: Summary | None, printed: Summary | None, status: Status
) -> dict[str, Any]:
    missing = Summary(np.nan, np.nan, 0)
    mine, printed = mine or missing, printed or missing
    parts = PARTS if variant == BETTER_PART else (variant,)
    share = reached(status, task, parts) if mine.num_seeds else np.nan
    calibrated = any(is_calibrated(status, task, part) for part in parts)
    comparable = status["scale"] == "paper" and share == 1 and not calibrated
    against = t_test(mine, printed, equal_variance=False) if comparable else np.nan
    return {
        "part": "returns",
        "statistic": "training_average",
        "task": task,
        "variant": variant,
        "value": mine.mean,
        "low": mine.mean - mine.half_width,
        "high": mine.mean + mine.half_width,
        "num_seeds": mine.num_seeds,
        "num_planned": min(len(seeds_of(status, "planned", task, part)) for part in parts),
        "marks": "".join(sorted({mark for p in parts for mark in marks(status, task, p)})),
        "published": printed.mean,
        "published_interval": printed.half_width,
        "reached": share,
        "difference": mine.mean - printed.mean,
        "calibrated": calibrated,
        "comparable": comparable,
        "p_published": against,
    }


def _matrix(returns: pd.DataFrame, column: str) -> pd.DataFrame:
    table = returns.pivot_table(index="variant", columns="task", values=column, dropna=False)
    return table.reindex(index=list(VARIANTS), columns=list(TASKS))


def _averages(returns: pd.DataFrame, frame: pd.DataFrame) -> pd.DataFrame:
    """Normalised returns averaged over tasks: by our rows (the paper's rule) and by published."""
    ours, published = _matrix(returns, "value"), _matrix(returns, "published")
    on_published, printed = normalise(ours, published).T, normalise(published).T
    by_own, ran = normalise(ours).T, ours.T.notna()
    whole = ran.all()
    tested = _matrix(returns, "p_published_holm").T
    rows = []
    for variant in VARIANTS:
        all_tasks = _printed_average(frame, variant)
        same_tasks = printed[variant].where(ran[variant]).mean()
        rows += [
            _average("published_range", variant, on_published[variant], same_tasks),
            # The printed average is over all six tasks: no match for one over fewer.
            _average(
                "own_range", variant, by_own[variant], all_tasks if whole[variant] else np.nan
            ),
            _average("recomputed", variant, printed[variant], all_tasks),
            _differ(variant, tested[variant].dropna()),
        ]
    return pd.DataFrame(rows)


def _average(name: str, variant: str, scores: pd.Series, published: float) -> dict[str, Any]:
    return {
        **{"part": "averages", "statistic": f"average_normalised_{name}"},
        **{"task": AVERAGE, "variant": variant, "value": scores.mean()},
        **{"num_tasks": int(scores.notna().sum()), "published": published},
        "difference": scores.mean() - published,
    }


def _differ(variant: str, p_values: pd.Series) -> dict[str, Any]:
    """Of the tasks that can be compared, on how many the mean differs; none can be: no number."""
    return {
        **{"part": "averages", "statistic": "tasks_that_differ_from_published"},
        **{"task": AVERAGE, "variant": variant, "num_tasks": len(p_values)},
        "value": (p_values < SIGNIFICANCE).sum() if len(p_values) else np.nan,
    }


def _printed_average(frame: pd.DataFrame, variant: str) -> float:
    row = frame[
        (frame["kind"] == "published") & (frame["task"] == AVERAGE) & (frame["variant"] == variant)
    ]
    return float(row["return"].iloc[0]) if len(row) else np.nan


def _robust(averages: pd.DataFrame, returns: pd.DataFrame) -> pd.DataFrame:
    """Interquartile means on the published range, and P(the first improves on each other)."""
    published = _matrix(returns, "published")
    low, high = published.min(), published.max()
    runs = {
        variant: [_runs(averages, task, variant, low[task], high[task]) for task in TASKS]
        for variant in VARIANTS
        if (averages["variant"] == variant).any()
    }
    first, *others = list(runs) or [""]
    common = {"part": "robust", "task": AVERAGE}
    rows = [
        common
        | {"statistic": "interquartile_mean", "variant": variant}
        | {"num_tasks": sum(len(task) > 0 for task in tasks)}
        | _estimate(interquartile_mean_interval(tasks))
        for variant, tasks in runs.items()
    ]
    rows += [
        common
        | {"statistic": "probability_of_improvement", "variant": first, "against": second}
        | _estimate(improvement_interval(runs[first], runs[second]))
        for second in others
    ]
    return pd.DataFrame(rows)


def _runs(averages: pd.DataFrame, task: str, variant: str, low: float, high: float) -> np.ndarray:
    cell = averages[(averages["task"] == task) & (averages["variant"] == variant)]
    return (cell["value"].to_numpy(float) - low) / (high - low)


def _estimate(estimate: Estimate) -> dict[str, float]:
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high}


def tex(rows: pd.DataFrame, status: Status) -> str:
    r"""Set the table as four macros: Returns, Averages, Robust and Notes.

    Parameters
    ----------
    rows : DataFrame
        From `rows`.
    status : dict
        What ran.

    Returns
    -------
    str
        ``\UnifiedRlTableOneReturns`` and so on. A block a task (deviation P2): ten algorithms by
        six tasks, ours and published, do not fit a portrait page in a legible size.
    """
    parts = {
        "returns": _returns_tex(rows, status),
        "averages": _averages_tex(rows),
        "robust": _robust_tex(rows),
        "notes": _notes_tex(rows),
    }
    header = f"% {STUDY}: generated; each macro is one part of the table"
    macros = [latex.newcommand(latex.macro_name(STUDY, k), f"%\n{v}%\n") for k, v in parts.items()]
    return "\n".join([header, *macros]) + "\n"


def _returns_tex(rows: pd.DataFrame, status: Status) -> str:
    blocks = [_block_tex(task, rows, status) for task in TASKS]
    lines = [f"{a}\\hfill\n{b}" for a, b in zip(blocks[::2], blocks[1::2], strict=True)]
    return "\\noindent\\setlength{\\tabcolsep}{2pt}%\n" + "\\par\\smallskip\\noindent\n".join(lines)


def _block_tex(task: str, rows: pd.DataFrame, status: Status) -> str:
    block = rows[(rows["part"] == "returns") & (rows["task"] == task)]
    budget = status["budget"].get(task)
    steps = f"{latex.thousands(budget)} steps" if budget else "not planned at this scale"
    head = [
        rf"\multicolumn{{5}}{{@{{}}l@{{}}}}{{\textbf{{{latex.escape(task_name(task))}}}, {steps}}} \\",
        r"Algorithm & ours & seeds & published & diff. \\",
    ]
    return latex.tabular(
        "lrlrr", head, [_cells(row) for row in block.to_dict("records")], r"0.485\linewidth"
    )


def _cells(row: Mapping[Any, Any]) -> list[str]:
    ran = np.isfinite(row["value"])
    marked = row["marks"] + ("§" if row["reached"] < 1 else "")
    marked += "¶" if ran and row["calibrated"] else ""
    seeds = f"{row['num_seeds']:.0f}/{row['num_planned']:.0f}{latex.escape(marked)}"
    half = row["high"] - row["value"]
    published = (row["published"], row["published_interval"])
    return [
        latex.escape(look(row["variant"]).name),
        latex.mean_cell(row["value"], half, bold=row["bold"], asterisk=row["asterisk"]),
        seeds if ran or row["num_planned"] else latex.DASH,
        latex.mean_cell(*published, bold=row["published_bold"], asterisk=row["published_asterisk"]),
        latex.number(row["difference"], sign=True),
    ]


def _pick(rows: pd.DataFrame, statistic: str, key: str = "variant") -> dict[str, dict[str, Any]]:
    """Rows of one statistic by their variant, or by another column."""
    picked = rows[rows["statistic"] == statistic]
    return dict(zip(picked[key], picked.to_dict("records"), strict=True))


def _averages_tex(rows: pd.DataFrame) -> str:
    ranged = _pick(rows, "average_normalised_published_range")
    own = _pick(rows, "average_normalised_own_range")
    recomputed = _pick(rows, "average_normalised_recomputed")
    differ = _pick(rows, "tasks_that_differ_from_published")
    body = []
    for variant in VARIANTS:
        row, all_tasks = ranged[variant], recomputed[variant]
        num_tasks, num_tested = row["num_tasks"], differ[variant]["num_tasks"]
        body.append(
            [
                *(latex.escape(look(variant).name), f"{num_tasks:.0f}/{len(TASKS)}"),
                *(latex.share(row["value"]), latex.share(row["published"])),
                latex.share(row["difference"], sign=True),
                f"{differ[variant]['value']:.0f}/{num_tested:.0f}" if num_tested else latex.DASH,
                latex.share(own[variant]["value"]),
                *(latex.share(all_tasks["published"]), latex.share(all_tasks["value"])),
            ]
        )
    head = [
        r" & & \multicolumn{4}{c}{published range, tasks that ran} & own range & "
        r"\multicolumn{2}{c}{published, all tasks} \\",
        r"\cmidrule(lr){3-6}\cmidrule(lr){7-7}\cmidrule(l){8-9}",
        r"Algorithm & tasks & ours & published & diff. & differ & ours & printed & recomputed \\",
    ]
    return latex.tabular("lcrrrcrrr", head, body)


def _robust_tex(rows: pd.DataFrame) -> str:
    means = _pick(rows, "interquartile_mean")
    ran = [variant for variant in VARIANTS if variant in means]
    if not ran:
        return r"\emph{No run has finished.}"
    of_first = rows[rows["variant"] == ran[0]]
    pairs = _pick(of_first, "probability_of_improvement", "against")
    none = {"value": np.nan, "low": np.nan, "high": np.nan}
    body = [
        [
            *(latex.escape(look(v).name), f"{means[v]['num_tasks']:.0f}/{len(TASKS)}"),
            *_estimate_cells(means[v]),
            *_estimate_cells(pairs.get(v, none)),
        ]
        for v in ran
    ]
    first = latex.escape(look(ran[0]).name)
    head = [
        r" & & \multicolumn{2}{c}{interquartile mean} & "
        rf"\multicolumn{{2}}{{c}}{{P({first} improves on the row)}} \\",
        r"\cmidrule(lr){3-4}\cmidrule(l){5-6}",
        r"Algorithm & tasks & value & 95\% interval & value & 95\% interval \\",
    ]
    return latex.tabular("lcrlrl", head, body)


def _estimate_cells(row: Mapping[str, Any]) -> tuple[str, str]:
    return latex.share(row["value"], decimals=3), latex.interval(row["low"], row["high"])


def _notes_tex(rows: pd.DataFrame) -> str:
    """What the marks behind the seeds mean, only those that occur."""
    returns = rows[(rows["part"] == "returns") & rows["value"].notna()]
    used = "".join(returns["marks"])
    notes = ["† Holds archived runs."] if "†" in used else []
    notes += ["‡ Holds runs recorded with other code."] if "‡" in used else []
    short = returns[returns["reached"] < 1]
    notes += [_short_note(short)] if len(short) else []
    if returns["calibrated"].any():
        notes.append("¶ Calibrated: its budget was inferred from the published row; not tested.")
    return latex.escape(" ".join(notes))


def _short_note(short: pd.DataFrame) -> str:
    shares = [f"{share:.0%}" for share in short["reached"]]
    if len(shares) > 1 and len(set(shares)) == 1:
        return f"§ The shortest run stops before the budget, at {shares[0]} of it."
    cells = zip(short["variant"], short["task"], shares, strict=True)
    listed = ", ".join(f"{look(v).name} on {task_name(task)} {share}" for v, task, share in cells)
    return f"§ The shortest run stops before the budget: {listed}."
