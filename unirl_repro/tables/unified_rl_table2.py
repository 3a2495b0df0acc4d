"""unified_rl Table 2: the hyper-parameters that ran beside the printed ones, and all the others.

Parts: `printed` (the cells of the document's table) and `all` (every hyper-parameter of every
algorithm). Where nothing has run, the planned values stand, and the table says so.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from unirl_repro.analysis import latex
from unirl_repro.analysis.frames import Status, seeds_of
from unirl_repro.analysis.style import look, task_name
from unirl_repro.envs.tasks import TASKS as ALL_TASKS  # a page of names: imports no environment

STUDY = "unified_rl_table2"
TASKS = (
    *("ant-100", "hopper-200", "walker2d-100"),
    *("halfcheetah-100", "cartpole-200", "dclaw_turn_fixed-40"),
)
OURS = "unified"
ALONE = {"sac": "sac_rlpd", "mbrl": "mbrl"}  # Unified RL's parts, and what runs them alone
GROUPS = (OURS, *ALONE)
EVERYWHERE = "all"  # stands for a task where all tasks have one value
COLUMNS = [
    *("part", "task", "variant", "group", "name", "value", "printed"),
    *("verdict", "deviation", "num_runs"),
]
SAME, DIFFERS, AMBIGUOUS = "same", "differs", "ambiguous"
DEFAULT_ROLLOUTS = "10"  # what 'default' is read as: deviation U9
OF_SCALE = {"smoke": "R2", "quick": "R3"}  # why a cell of a small scale differs
AS_PRINTED = {"full_trajectory": "Full trajectory", "dreamer": "Dreamer"}


@dataclass(frozen=True)
class Shown:
    """One algorithm's hyper-parameters on a task: each a text, and how many runs had them."""

    texts: dict[str, str]
    num_runs: int


Settings = dict[tuple[str, str, str], Shown]  # (task, variant, group)


def rows(frame: pd.DataFrame, status: Status) -> pd.DataFrame:
    """Compute the table.

    Parameters
    ----------
    frame, status : DataFrame, dict
        The study's tidy frame, which is not read, and what ran of it.

    Returns
    -------
    DataFrame
        Columns `COLUMNS`. Part `printed`: a row a cell of the document's table, with our value and
        a verdict: same, differs (at a small scale by the deviation named), or ambiguous, where the
        printed cell needs a reading, which is the deviation named. Part `all`: a row for each hyper-parameter, of task `all` where every task
        has the same value; SAC and MBRL alone have rows where they differ from the same algorithm
        inside Unified RL. `num_runs` counts the runs that had the value; 0 means planned.
    """
    settings = _settings(status)
    parts = [*_printed(status, settings), *(_with_runs(row, settings) for row in _all(settings))]
    return pd.DataFrame(parts, columns=COLUMNS)


def _settings(status: Status) -> Settings:
    """By algorithm: what Unified RL is made of stands beside the same algorithms alone."""
    found: dict[tuple[str, str, str], list[Shown]] = {}
    for entry in status["parameters"]:
        for group, values in _groups(entry["variant"], entry["parameters"]):
            shown = {name: text(value) for name, value in values.items()}
            key = (entry["task"], entry["variant"], group)
            found.setdefault(key, []).append(Shown(shown, entry["num_runs"]))
    return {key: _merged(sets) for key, sets in found.items()}


def _groups(variant: str, parameters: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if variant != OURS:
        names = {alone: group for group, alone in ALONE.items()}
        if variant not in names:
            allowed = ", ".join([OURS, *names])
            raise ValueError(f"Table 2 has no place for variant {variant!r}. Allowed: {allowed}")
        yield names[variant], parameters
        return
    yield OURS, {name: value for name, value in parameters.items() if name not in ALONE}
    for group in ALONE:
        yield group, parameters[group]


def _merged(sets: Sequence[Shown]) -> Shown:
    """Runs of one cell have one set; were there several, all of them would have to be shown."""
    names = dict.fromkeys(name for found in sets for name in found.texts)
    values = {
        name: " / ".join(dict.fromkeys(found.texts.get(name, "-") for found in sets))
        for name in names
    }
    return Shown(values, sum(found.num_runs for found in sets))


def text(value: Any) -> str:
    """A hyper-parameter as the table shows it.

    Examples
    --------
    >>> text((256, 256)), text(3e-4), text(None), text(1_000_000)
    ('256, 256', '0.0003', 'None', '1,000,000')
    """
    if isinstance(value, (list, tuple)):
        return ", ".join(text(entry) for entry in value)
    if isinstance(value, bool) or value is None:
        return str(value)
    if isinstance(value, int):
        return f"{value:,}" if value >= 10_000 else str(value)
    return f"{value:g}" if isinstance(value, float) else str(value).replace("_", " ")


def _of_part(settings: Settings, task: str, group: str) -> Shown | None:
    """A part's values: inside Unified RL if that ran, else alone if that ran, else as planned."""
    inside, alone = settings.get((task, OURS, group)), settings.get((task, ALONE[group], group))
    if inside is not None and (inside.num_runs or alone is None or not alone.num_runs):
        return inside
    return alone


def _printed(status: Status, settings: Settings) -> Iterator[dict[str, Any]]:
    for cell in status["printed"]:
        task, name, printed = cell["task"], cell["statistic"], cell["value"]
        ours = settings.get((task, OURS, OURS))
        parts = {group: _of_part(settings, task, group) for group in ALONE}
        value, num_runs = "", 0
        if ours is not None and parts["sac"] is not None and parts["mbrl"] is not None:
            value = _cell(name, task, ours.texts, parts["sac"].texts, parts["mbrl"].texts)
            num_runs = _source(name, ours, parts["sac"], parts["mbrl"]).num_runs
        verdict, deviation = _verdict(name, value, printed, status["scale"])
        yield {
            **{"part": "printed", "task": task, "variant": OURS, "name": name, "value": value},
            **{"printed": printed, "deviation": deviation, "num_runs": num_runs},
            "verdict": verdict,
        }


def _cell(
    name: str, task: str, own: dict[str, str], sac: dict[str, str], mbrl: dict[str, str]
) -> str:
    """Our value of a column of the document's table, written as it writes them."""
    automatic = sac["entropy_coefficient"] == "auto"
    match name:
        case "num_masks" | "num_rollouts":
            return own[name]
        case "policy_training":
            return AS_PRINTED.get(mbrl[name].replace(" ", "_"), mbrl[name])
        case "sigma_max":  # of both policies: deviation U13
            both = dict.fromkeys((mbrl[name], sac[name]))
            return " / ".join(both)
        case "entropy_coefficient_mbrl":
            return mbrl["entropy_coefficient"]
        case "entropy_coefficient_sac":
            return "-" if automatic else sac["entropy_coefficient"]
        case "automatic_entropy_mbrl":
            return str(mbrl["entropy_coefficient"] == "auto")
        case "automatic_entropy_sac":
            return str(automatic)
        case "horizon":
            return str(ALL_TASKS[task].horizon)
        case "prior_strength":
            return mbrl[name]
    raise ValueError(
        f"resources/reference/{STUDY}.csv: statistic is {name!r}. Allowed: {', '.join(HEADS)}"
    )


def _source(name: str, own: Shown, sac: Shown, mbrl: Shown) -> Shown:
    if name in ("num_masks", "num_rollouts"):
        return own
    return sac if name.endswith("_sac") else mbrl


def _verdict(name: str, value: str, printed: str, scale: str) -> tuple[str, str]:
    """What a cell of ours is to the printed one, and by which deviation."""
    if not value:
        return "", ""
    reading, deviation = _reading(name, printed)
    if value.lower() != reading.lower():
        return DIFFERS, OF_SCALE.get(scale, "")
    return (AMBIGUOUS if deviation else SAME), deviation


def _reading(name: str, printed: str) -> tuple[str, str]:
    """The value that we read in a printed cell, and the deviation if it takes one."""
    if name == "num_rollouts" and not printed.isdigit():
        return DEFAULT_ROLLOUTS, "U9"
    return printed, "U13" if name == "sigma_max" and printed != "None" else ""


def _all(settings: Settings) -> Iterator[dict[str, Any]]:
    for group in GROUPS:
        inside = {task: settings.get((task, OURS, group)) for task in TASKS}
        yield from _listed(OURS, group, {t: v for t, v in inside.items() if v is not None})
        if group not in ALONE:
            continue
        alone = {task: settings.get((task, ALONE[group], group)) for task in TASKS}
        other = {t: _differing(v, inside[t]) for t, v in alone.items() if v is not None}
        yield from _listed(ALONE[group], group, other)


def _differing(alone: Shown, inside: Shown | None) -> Shown:
    known = {} if inside is None else inside.texts
    texts = {name: value for name, value in alone.texts.items() if value != known.get(name)}
    return Shown(texts, alone.num_runs)


def _listed(variant: str, group: str, by_task: Mapping[str, Shown]) -> Iterator[dict[str, Any]]:
    """A value once for all tasks, or once for each."""
    common = {"part": "all", "variant": variant, "group": group}
    for name in dict.fromkeys(name for found in by_task.values() for name in found.texts):
        texts = {task: found.texts[name] for task, found in by_task.items() if name in found.texts}
        distinct = set(texts.values())
        if len(distinct) == 1 and len(texts) == len(by_task):
            texts = {EVERYWHERE: distinct.pop()}
        for task, value in texts.items():
            yield common | {"task": task, "name": name, "value": value}


def _with_runs(row: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """Runs of Unified RL and of its part alone that had this value."""
    having = [
        shown.num_runs
        for (task, _, group), shown in settings.items()
        if group == row["group"]
        and row["task"] in (task, EVERYWHERE)
        and shown.texts.get(row["name"]) == row["value"]
    ]
    return row | {"num_runs": sum(having)}


HEADS = {
    "num_masks": "$K$",
    "num_rollouts": "$M$",
    "policy_training": "policy training",
    "sigma_max": r"$\sigma_{\max}$",
    "entropy_coefficient_mbrl": r"$\alpha_{\mathrm{MB}}$",
    "entropy_coefficient_sac": r"$\alpha_{\mathrm{MF}}$",
    "automatic_entropy_mbrl": "auto MB",
    "automatic_entropy_sac": "auto MF",
    "horizon": "$T$",
    "prior_strength": r"$\eta$",
}


def tex(rows: pd.DataFrame, status: Status) -> str:
    r"""Set the table as macros: Printed, Shared, PerTask and Notes, and numbers for the prose.

    Parameters
    ----------
    rows : DataFrame
        From `rows`.
    status : dict
        What ran.

    Returns
    -------
    str
        ``\UnifiedRlTableTwoPrinted`` and so on; ``NumSame``, ``NumDiffers`` and ``NumAmbiguous``
        count cells, ``NumCells`` those that are planned at this scale.
    """
    printed = rows[rows["part"] == "printed"]
    verdicts = printed["verdict"].value_counts()
    parts = {
        "printed": f"%\n{_printed_tex(printed, status)}%\n",
        "shared": f"%\n{_shared_tex(rows)}%\n",
        "per_task": f"%\n{_per_task_tex(rows)}%\n",
        "notes": _notes_tex(rows),
        **{f"num_{v}": str(verdicts.get(v, 0)) for v in (SAME, DIFFERS, AMBIGUOUS)},
        "num_cells": str((printed["value"] != "").sum()),
    }
    macros = [latex.newcommand(latex.macro_name(STUDY, k), v) for k, v in parts.items()]
    return "\n".join([f"% {STUDY}: generated", *macros]) + "\n"


def _printed_tex(printed: pd.DataFrame, status: Status) -> str:
    head = [" & ".join(["Task", "", *HEADS.values(), "runs"]) + r" \\"]
    body = []
    for task in dict.fromkeys(printed["task"]):
        cells = printed[printed["task"] == task].set_index("name")
        ran = [len(seeds_of(status, "finished", task, v)) for v in (OURS, *ALONE.values())]
        planned = max(len(seeds_of(status, "planned", task, v)) for v in (OURS, *ALONE.values()))
        runs = f"{', '.join(map(str, ran))} of {planned}" if planned else latex.DASH
        ours = [_marked(cells.loc[name]) for name in HEADS]
        theirs = [latex.escape(cells.loc[name, "printed"]) for name in HEADS]
        body.append([latex.escape(task_name(task)), "ours", *ours, runs])
        body.append(["", "printed", *theirs, ""])
    return latex.tabular("ll" + "r" * 2 + "l" + "r" * 7 + "l", head, body)


def _marked(cell: pd.Series) -> str:
    if not cell["value"]:
        return latex.DASH
    shown = latex.escape(cell["value"])
    if cell["verdict"] == DIFFERS:
        shown = rf"\textbf{{{shown}}}"
    return rf"{shown}$^{{\mathrm{{{cell['deviation']}}}}}$" if cell["deviation"] else shown


def _shared_tex(rows: pd.DataFrame) -> str:
    everywhere = rows[(rows["part"] == "all") & (rows["task"] == EVERYWHERE)]
    blocks = [
        _block_tex(_title(str(variant), str(group)), block)
        for (variant, group), block in everywhere.groupby(["variant", "group"], sort=False)
    ]
    return "\\hfill\n".join(blocks) if blocks else r"\emph{Nothing is planned at this scale.}"


def _title(variant: str, group: str) -> str:
    name = look(ALONE.get(group, group)).name
    return name if variant == OURS else f"{name} alone"


def _block_tex(title: str, block: pd.DataFrame) -> str:
    body = [
        [latex.escape(f"`{row['name']}`"), latex.escape(row["value"])]
        for row in block.to_dict("records")
    ]
    return latex.tabular("ll", [rf"\multicolumn{{2}}{{@{{}}l@{{}}}}{{{title}}} \\"], body)


def _per_task_tex(rows: pd.DataFrame) -> str:
    single = rows[(rows["part"] == "all") & (rows["task"] != EVERYWHERE)]
    if single.empty:
        return r"\emph{No value differs between the tasks of this scale.}"
    tasks = [task for task in TASKS if task in set(single["task"])]
    keys = list(dict.fromkeys(zip(single["variant"], single["group"], single["name"], strict=True)))
    values = single.set_index(["variant", "group", "name", "task"])["value"]
    body = [
        [
            *(latex.escape(_title(variant, group)), latex.escape(f"`{name}`")),
            *(latex.escape(values.get((variant, group, name, task), "–")) for task in tasks),
        ]
        for variant, group, name in keys
    ]
    head = [" & ".join(["Of", "", *(latex.escape(task_name(task)) for task in tasks)]) + r" \\"]
    return latex.tabular("ll" + "l" * len(tasks), head, body)


def _notes_tex(rows: pd.DataFrame) -> str:
    """Whether the parts ran alone as inside, and for which tasks nothing has run."""
    listed = rows[rows["part"] == "all"]
    other = listed[listed["variant"] != OURS]
    notes = []
    if set(listed["group"]) >= set(GROUPS):
        same = "SAC and MBRL alone have the same values as inside Unified RL."
        names = ", ".join(f"`{name}`" for name in dict.fromkeys(other["name"]))
        notes.append(
            f"Alone, SAC or MBRL differ from what Unified RL holds in: {names}." if names else same
        )
    printed = rows[(rows["part"] == "printed") & (rows["value"] != "")]
    planned = [t for t in TASKS if (printed[printed["task"] == t]["num_runs"] == 0).any()]
    if planned:
        names = ", ".join(task_name(task) for task in planned)
        notes.append(
            f"Not all values have run yet; those that have not are the planned ones: {names}."
        )
    return latex.escape(" ".join(notes))
