"""How long unified_rl trained, and with how many updates, inferred from its Table 1.

PPO's and TD3's rows give the length, since their recipes fix how they use data; at that length SAC's
row gives its updates per step. What the evidence does not suffice for stays provisional, with the
reason; a proposal is printed as config.yaml has it, for a person to enter (deviation U14).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from unirl_repro.analysis import latex
from unirl_repro.analysis.budgets import (
    UNKNOWN,
    Crossing,
    RunningAverage,
    combine,
    running_average,
    training_length,
    updates_per_step,
)
from unirl_repro.analysis.curves import training
from unirl_repro.analysis.frames import AVERAGE, Status, marks, seeds_of
from unirl_repro.analysis.statistics import Summary, summary_of_interval
from unirl_repro.analysis.style import look, task_name

STUDY = "unified_rl_budget"
LENGTH_ROWS = ("ppo", "td3")
SAC = "sac_rlpd"
WIDEST = 4.0  # an interval whose ends are further apart, as a ratio, decides nothing
COLUMNS = [
    *("part", "task", "variant", "updates_per_step", "value", "low", "high"),
    *("num_seeds", "num_planned", "num_steps", "average", "published", "published_interval"),
    *("marks", "status", "reason", "entry"),
]
Published = Mapping[tuple[str, str], Summary]


def rows(frame: pd.DataFrame, status: Status) -> pd.DataFrame:
    """Compute the table.

    Parameters
    ----------
    frame, status : DataFrame, dict
        The study's tidy frame, with the published rows, and what ran of it.

    Returns
    -------
    DataFrame
        Columns `COLUMNS`. Part `lengths`: for each task and row the steps at which our running
        average reaches the published one, with the interval; `num_steps` is how far our runs go,
        `average` where they are by then. A `high` that is infinite, or a `value` that is NaN beside
        a finite `low`, lies beyond the data. Part `updates`: SAC's updates per step at the inferred
        length, or, where there is none, at the present budget. Part `proposal`: a row a task, with
        the status that the evidence suffices for, the reason, and the entry for config.yaml.
    """
    published = _published(frame)
    averages = {
        (str(task), str(variant)): running_average(curves)
        for (task, variant), curves in training(frame).groupby(["task", "variant"], sort=False)
    }
    tasks = dict.fromkeys(run["task"] for run in status["planned"])
    found = [row for task in tasks for row in _task_rows(task, averages, published, status)]
    table = pd.DataFrame(found, columns=COLUMNS)
    parts = [table[table["part"] == part] for part in ("lengths", "updates", "proposal")]
    return pd.concat(parts, ignore_index=True)


def _published(frame: pd.DataFrame) -> dict[tuple[str, str], Summary]:
    printed = frame[(frame["kind"] == "published") & (frame["task"] != AVERAGE)]
    return {
        (row["task"], row["variant"]): summary_of_interval(
            row["return"], row["interval"], int(row["num_seeds"])
        )
        for row in printed.to_dict("records")
    }


def _task_rows(
    task: str,
    averages: Mapping[tuple[str, str], RunningAverage],
    published: Published,
    status: Status,
) -> list[dict[str, Any]]:
    ratios = _ratios(task, status)
    lengths: dict[str, Crossing] = {}
    found = []
    for variant in (*LENGTH_ROWS, *ratios):
        row = published.get((task, variant.partition("@")[0]))
        average = averages.get((task, variant))
        if row is not None and average is not None:
            lengths[variant] = training_length(average, row)
        length = lengths.get(variant, UNKNOWN)
        found.append(_length_row(task, variant, length, average, row, status))
        found[-1]["updates_per_step"] = ratios.get(variant, np.nan)
    length = combine({v: lengths[v] for v in LENGTH_ROWS if v in lengths})
    why = _why_no_length({v: c for v, c in lengths.items() if v in LENGTH_ROWS}, length, status)
    used = _present(task, status) if why else length
    by_ratio = {ratios[v]: averages[task, v] for v in ratios if (task, v) in averages}
    row = published.get((task, SAC))
    ratio = UNKNOWN if row is None else updates_per_step(by_ratio, used, row)
    found.append(_row("updates", task, SAC, ratio) | {"status": "present" if why else "inferred"})
    return [*found, _proposal(task, length, why, ratio, status)]


def _present(task: str, status: Status) -> Crossing:
    """The budget that config.yaml has: another one, of a small scale, is no training length."""
    steps = status["entries"].get(task, {}).get("steps", np.nan)
    return Crossing(steps, steps, steps) if status["scale"] == "paper" else UNKNOWN


def _ratios(task: str, status: Status) -> dict[str, float]:
    """SAC's variants on a task, with their updates per step."""
    found = {
        entry["variant"]: float(entry["parameters"]["updates_per_step"])
        for entry in status["parameters"]
        if entry["task"] == task and entry["variant"].partition("@")[0] == SAC
    }
    return dict(sorted(found.items(), key=lambda item: item[1]))


def _row(part: str, task: str, variant: str, found: Crossing) -> dict[str, Any]:
    limits = {"value": found.value, "low": found.low, "high": found.high}
    return {"part": part, "task": task, "variant": variant, **limits}


def _length_row(
    task: str,
    variant: str,
    length: Crossing,
    average: RunningAverage | None,
    row: Summary | None,
    status: Status,
) -> dict[str, Any]:
    there = average if average is not None and average.end else None
    return _row("lengths", task, variant, length) | {
        "num_seeds": len(there.averages) if there else 0,
        "num_planned": len(seeds_of(status, "planned", task, variant)),
        "num_steps": there.end if there else 0.0,
        "average": float(there.at(there.end).mean()) if there else np.nan,
        "published": row.mean if row else np.nan,
        "published_interval": row.half_width if row else np.nan,
        "marks": marks(status, task, variant),
    }


def _why_no_length(rows: Mapping[str, Crossing], length: Crossing, status: Status) -> str:
    """Why the length is not inferred; nothing if it is."""
    names = " and ".join(look(variant).name for variant in LENGTH_ROWS)
    if status["scale"] != "paper":
        return "not decidable at this scale"
    if not rows:
        return f"no run of {names}: the length cannot be fixed"
    if np.isnan([length.low, length.high]).any():
        return "fewer than two seeds: no interval"
    if length.low > length.high:
        return f"the rows of {names} contradict each other"
    return _why_not(length, "the curves end", "the curves begin above")


def _why_not(found: Crossing, beyond: str, before: str) -> str:
    if not np.isfinite(found.high):
        return f"{beyond} before the interval does"
    if not np.isfinite(found.low) or found.low <= 0:
        return f"{before} the published average"
    if not np.isfinite(found.value):
        return f"{beyond} before the published average"
    if found.high > WIDEST * found.low:
        return f"the interval spans more than a factor of {WIDEST:g}"
    return ""


def _why_no_ratio(ratio: Crossing) -> str:
    if np.isnan([ratio.low, ratio.value, ratio.high]).all():
        return "no runs of SAC reach that length"
    if np.isnan([ratio.low, ratio.high]).any():
        return "the interval of SAC's updates needs runs as long as that of the length"
    why = _why_not(ratio, "the ratios that ran end", "the least that ran is at or above")
    if why:
        return why
    return (
        "" if ratio.low <= max(1, round(ratio.value)) <= ratio.high else "no whole number is inside"
    )


def _proposal(
    task: str, length: Crossing, why: str, ratio: Crossing, status: Status
) -> dict[str, Any]:
    entry = status["entries"].get(task, {})
    if why:
        proposed = _row("proposal", task, SAC, UNKNOWN) | {"status": entry.get("status", "")}
        steps, source = entry.get("steps"), entry.get("source", "")
        text = f'{task}: {{steps: {steps}, status: {entry.get("status")}, source: "{source}"}}'
        return proposed | {"reason": why, "entry": text if entry else ""}
    steps = _rounded(length, int(task.rpartition("-")[2]))
    no_ratio = _why_no_ratio(ratio)
    calibrated = [*LENGTH_ROWS, *([] if no_ratio else [SAC])]
    calibrated = [v for v in calibrated if v == SAC or seeds_of(status, "finished", task, v)]
    source = (
        f"where our runs average what Table 1 prints: {steps}, "
        f"95% interval {length.low:.0f} to {length.high:.0f}"
    )
    text = (
        f'{task}: {{steps: {steps}, status: inferred, source: "{source}", '
        f"calibrated_on: [{', '.join(calibrated)}]}}"
    )
    updates = max(1, round(ratio.value)) if not no_ratio else 0
    more = f"\nvariants.{SAC}.tasks.{task}: {{updates_per_step: {updates}}}" if updates else ""
    reason = f"updates per step stay: {no_ratio}" if no_ratio else ""
    proposed = _row("proposal", task, SAC, length) | {"status": "inferred"}
    return proposed | {"reason": reason, "entry": text + more}


def _rounded(length: Crossing, horizon: int) -> int:
    """Whole episodes, and few digits where these lie inside the interval."""
    for digits in (1, 2, 3):
        unit = 10.0 ** (np.floor(np.log10(length.value)) - digits + 1)
        steps = int(round(length.value / unit) * unit) // horizon * horizon
        if length.low <= steps <= length.high:
            return steps
    return max(1, int(length.value) // horizon) * horizon


def tex(rows: pd.DataFrame, status: Status) -> str:
    r"""Set the table as macros: Lengths, Proposal, Entries and Notes, and numbers for the prose.

    Parameters
    ----------
    rows : DataFrame
        From `rows`.
    status : dict
        What ran.

    Returns
    -------
    str
        ``\UnifiedRlBudgetLengths`` and so on; ``NumInferred`` counts tasks whose length is
        inferred, ``NumBeyond`` the rows whose published average our runs did not reach.
    """
    lengths, proposal = rows[rows["part"] == "lengths"], rows[rows["part"] == "proposal"]
    ran = lengths[lengths["num_seeds"] > 0]
    parts = {
        "lengths": f"%\n{_lengths_tex(lengths)}%\n",
        "proposal": f"%\n{_proposal_tex(rows, status)}%\n",
        "entries": _entries_tex(proposal),
        "notes": _notes_tex(lengths),
        "num_inferred": str(proposal["value"].notna().sum()),
        "num_tasks": str(len(proposal)),
        "num_curves": str(len(ran)),
        "num_beyond": str((ran["value"].isna() & (ran["average"] < ran["published"])).sum()),
        "widest": f"{WIDEST:g}",
    }
    macros = [latex.newcommand(latex.macro_name(STUDY, k), v) for k, v in parts.items()]
    return "\n".join([f"% {STUDY}: generated", *macros]) + "\n"


NOTHING = r"\emph{No run of this study is planned at this scale.}"


def _lengths_tex(lengths: pd.DataFrame) -> str:
    """Rows that have runs or are planned; those of later algorithms are named in the text."""
    shown = lengths[(lengths["num_planned"] > 0) | (lengths["num_seeds"] > 0)]
    if shown.empty:
        return NOTHING
    body = []
    for row in shown.to_dict("records"):
        ran = row["num_seeds"] > 0
        body.append(
            [
                *(latex.escape(task_name(row["task"])), latex.escape(look(row["variant"]).name)),
                f"{row['num_seeds']:.0f}/{row['num_planned']:.0f}{latex.escape(row['marks'])}",
                latex.thousands(int(row["num_steps"])) if ran else latex.DASH,
                latex.number(row["average"]),
                latex.mean_cell(row["published"], row["published_interval"]),
                _steps_cell(row) if ran else latex.DASH,
            ]
        )
    head = [
        r" & & & \multicolumn{2}{c}{ours} & & \\",
        r"\cmidrule(lr){4-5}",
        r"Task & row & seeds & steps & average & published & steps to the published average \\",
    ]
    return latex.tabular("lllrrrl", head, body)


def _steps_cell(row: Mapping[Any, Any]) -> str:
    """Value and interval; what lies beyond the data is said to, never guessed."""
    if np.isfinite(row["value"]):
        return latex.thousands(round(row["value"])) + _limits(row)
    if row["low"] >= row["num_steps"]:
        return f"more than {latex.thousands(int(row['num_steps']))}"
    if row["average"] >= row["published"]:
        return "from the first on"
    return f"not by {latex.thousands(int(row['num_steps']))}" + _limits(row)


def _limits(row: Mapping[Any, Any]) -> str:
    if np.isnan(row["low"]) or np.isnan(row["high"]):
        return ""
    low = latex.thousands(max(0, round(max(row["low"], 0.0))))
    high = latex.thousands(round(row["high"])) if np.isfinite(row["high"]) else "beyond the data"
    return f" [{low}, {high}]"


def _proposal_tex(rows: pd.DataFrame, status: Status) -> str:
    ratios = rows[rows["part"] == "updates"].set_index("task")
    body = []
    for row in rows[rows["part"] == "proposal"].to_dict("records"):
        task, ratio = row["task"], ratios.loc[row["task"]].to_dict()
        inferred, entry = np.isfinite(row["value"]), status["entries"].get(task, {})
        body.append(
            [
                latex.escape(task_name(task)),
                latex.thousands(entry.get("steps", status["budget"][task])),
                latex.thousands(round(row["value"])) + _limits(row) if inferred else latex.DASH,
                _ratio_cell(ratio),
                f"{row['status']}" + (latex.escape(f": {row['reason']}") if row["reason"] else ""),
            ]
        )
    if not body:
        return NOTHING
    head = [
        r" & present & length & updates per step & \\",
        r"Task & budget & inferred & at that length & status \\",
    ]
    return latex.tabular(r"lrll>{\raggedright\arraybackslash}p{5.2cm}", head, body)


def _ratio_cell(row: Mapping[Any, Any]) -> str:
    """At the inferred length, or, in italics, at the present budget."""
    if np.isnan([row["value"], row["low"], row["high"]]).all():
        return latex.DASH
    if np.isfinite(row["value"]):
        shown = f"{row['value']:.2g}"
    else:
        shown = "more than ran" if row["low"] > 0 else "fewer than ran"
    limits = [row["low"], row["high"]]
    if np.isfinite(limits).all():
        shown += f" [{limits[0]:.2g}, {limits[1]:.2g}]"
    return shown if row["status"] == "inferred" else rf"\emph{{{shown}}}"


def _entries_tex(proposal: pd.DataFrame) -> str:
    """Entries to be made in config.yaml; what stays as it is needs none."""
    lines = [
        latex.escape(f"`{line}`")
        for entry in proposal[proposal["value"].notna()]["entry"]
        for line in entry.splitlines()
    ]
    return r"\\ ".join(lines) or r"\emph{none: the present entries stand.}"


def _notes_tex(lengths: pd.DataFrame) -> str:
    used = "".join(lengths["marks"])
    notes = ["† Holds archived runs."] if "†" in used else []
    notes += ["‡ Holds runs recorded with other code."] if "‡" in used else []
    return latex.escape(" ".join(notes))
