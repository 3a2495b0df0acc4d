"""The tidy frame of a study, and its status: which runs were planned and which are there.

Figures and tables read these two and nothing else.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from unirl_repro.analysis.curves import cut, training
from unirl_repro.analysis.settings import (
    REFERENCE,
    RETURNS,
    PlannedSettings,
    RunSettings,
    settings_status,
)
from unirl_repro.analysis.statistics import Summary

CURVE_COLUMNS = [
    *("task", "variant", "algorithm", "seed", "kind", "episode", "env_step", "return", "length"),
    "policy",
]
FRAME_COLUMNS = [*CURVE_COLUMNS, "study", "source", "interval", "num_seeds"]
RECORDED_METRICS = ["env_step", "name", "value"]
METRIC_COLUMNS = [
    *("task", "variant", "algorithm", "seed", "env_step", "name", "value", "study", "source")
]
AVERAGE = "average"  # stands for a task in numbers over all tasks of a table
# Studies that compare themselves with another study's published numbers.
PUBLISHED_BY = {
    "unified_rl_fig2": "unified_rl_table1",
    "unified_rl_budget": "unified_rl_table1",
    "alm_windows": "unified_rl_table1",
}

Status = dict[str, Any]


@dataclass(frozen=True)
class StudyPlan:
    """What a study wants at a scale.

    Attributes
    ----------
    study, scale : str
        Their names.
    budget : dict of str to int
        Environment steps of each task.
    planned : tuple of (task, variant, seed)
        Its runs.
    metrics : tuple of str
        Names of the metrics that it wants beside the curves.
    settings : PlannedSettings
        What the project's files say of its runs.
    longer : dict of (str, str) to int
        Environment steps by task and variant, of those that train for longer than their task's
        others.
    """

    study: str
    scale: str
    budget: dict[str, int]
    planned: tuple[tuple[str, str, int], ...]
    metrics: tuple[str, ...] = ()
    settings: PlannedSettings = field(default_factory=PlannedSettings)
    longer: dict[tuple[str, str], int] = field(default_factory=dict)

    def steps(self, task: str, variant: str) -> int:
        """Where a variant's curves are cut."""
        return self.longer.get((task, variant), self.budget[task])


@dataclass(frozen=True)
class RecordedRun:
    """The curve of one run and where it comes from.

    Attributes
    ----------
    curve : DataFrame
        Its curve.parquet.
    source : {"trained", "archive"}
        Trained here, or taken from the archive of recorded runs.
    same_code : bool
        Whether the code of its recording means the same as today's.
    versions : dict of str to str
        Versions of the packages that it ran with.
    containers : tuple of str or None
        Digests of the images that it ran in, one attempt after another; None: in no image.
    metrics : DataFrame
        Its metrics.parquet, or the part of it that its study names.
    settings : RunSettings
        Its hyper-parameters, and how fast it was.
    """

    curve: pd.DataFrame
    source: str = "trained"
    same_code: bool = True
    versions: dict[str, str] = field(default_factory=dict)
    containers: tuple[str | None, ...] = (None,)
    metrics: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=RECORDED_METRICS))
    settings: RunSettings = field(default_factory=RunSettings)

    @property
    def key(self) -> tuple[str, str, int]:
        """Task, variant and seed."""
        first = self.curve.iloc[0]
        return str(first["task"]), str(first["variant"]), int(first["seed"])


def load_published(study: str, reference: Path = REFERENCE) -> pd.DataFrame:
    """Read a study's published numbers as rows of a frame.

    Parameters
    ----------
    study : str
        Name of the study.
    reference : Path
        Folder of the published numbers.

    Returns
    -------
    DataFrame
        Rows of kind and source `published`: `return` is the printed mean, `interval` the half-width
        of its interval, `num_seeds` the seeds behind it; numbers over all tasks have `AVERAGE` as
        their task, points of a curve their `env_step`. Empty where the document prints no return.
    """
    path = reference / f"{PUBLISHED_BY.get(study, study)}.csv"
    printed = pd.read_csv(path) if path.exists() else pd.DataFrame({"statistic": []})
    printed = printed[printed["statistic"].isin(RETURNS)]
    if printed.empty:
        return pd.DataFrame(columns=FRAME_COLUMNS)
    rows = pd.DataFrame(
        {
            "task": printed["task"],
            "variant": printed["variant"],
            "algorithm": printed["algorithm_as_printed"],
            "return": printed["value"],
            "interval": _half_widths(printed),
            "num_seeds": printed["num_seeds"].astype(float),
            "env_step": printed.get("env_step", 0),
        }
    )
    rows = rows.assign(kind="published", source="published", study=study, policy="")
    rows = rows.assign(seed=-1, episode=-1, length=0)
    return rows[FRAME_COLUMNS]


def _half_widths(printed: pd.DataFrame) -> pd.Series:
    """Of the intervals: printed, or from the standard deviation over seeds where that is given."""
    if "spread" not in printed:
        return printed["interval"]
    cells = zip(printed["value"], printed["spread"], printed["num_seeds"], strict=True)
    halves = [Summary(value, spread, int(seeds)).half_width for value, spread, seeds in cells]
    return pd.Series(halves, index=printed.index)


def build_frame(
    plan: StudyPlan, runs: Sequence[RecordedRun], published: pd.DataFrame
) -> tuple[pd.DataFrame, Status]:
    """Put a study's curves together, cut at its budget, with the published rows.

    Parameters
    ----------
    plan : StudyPlan
        What the study wants.
    runs : sequence of RecordedRun
        What there is of it; a run without a row counts as missing.
    published : DataFrame
        From `load_published`.

    Returns
    -------
    frame : DataFrame
        Columns `FRAME_COLUMNS`, in the order of the plan.
    status : dict
        study, scale, budget; longer, a list of {task, variant, steps}; planned, finished, missing, archive, other_code and short (runs that
        stop before the budget; also `reached`, their share of it), each a list of {task, variant,
        seed}; versions, the sets of package versions among the runs, as many as contradict one
        another (suites need packages of their own); containers, the distinct digests of their
        images, with None for runs in no image; and what `settings_status` adds.

    Raises
    ------
    ValueError
        If a run was not planned, or is there twice.
    """
    runs = [run for run in runs if not run.curve.empty]
    by_key = {run.key: run for run in runs}
    if len(by_key) < len(runs):
        twice = sorted({run.key for run in runs if by_key[run.key] is not run})
        raise ValueError(f"{plan.study}: run {_name(twice[0])} was given twice; give each run once")
    unplanned = sorted(set(by_key) - set(plan.planned))
    if unplanned:
        raise ValueError(
            f"{plan.study}: run {_name(unplanned[0])} is not planned at scale {plan.scale}; "
            f"planned are {len(plan.planned)} runs"
        )
    ordered = [by_key[key] for key in plan.planned if key in by_key]
    parts = [_rows(plan, run) for run in ordered] + [published]
    parts = [part for part in parts if not part.empty]
    if not parts:
        return pd.DataFrame(columns=FRAME_COLUMNS), _status(plan, by_key)
    return pd.concat(parts, ignore_index=True)[FRAME_COLUMNS], _status(plan, by_key)


def build_metrics(plan: StudyPlan, runs: Sequence[RecordedRun]) -> pd.DataFrame:
    """Put together the metrics that a study names, cut at its budget.

    Parameters
    ----------
    plan : StudyPlan
        What the study wants.
    runs : sequence of RecordedRun
        As `build_frame` takes them.

    Returns
    -------
    DataFrame
        Columns `METRIC_COLUMNS`, a row a name and episode, in the order of the plan; empty where
        the study names no metric. An episode in which a run had nothing to record has no row.
    """
    by_key = {run.key: run for run in runs if not run.curve.empty}
    parts = [_metric_rows(plan, by_key[key]) for key in plan.planned if key in by_key]
    parts = [part for part in parts if not part.empty]
    if not parts:
        return pd.DataFrame(columns=METRIC_COLUMNS)
    return pd.concat(parts, ignore_index=True)[METRIC_COLUMNS]


def _metric_rows(plan: StudyPlan, run: RecordedRun) -> pd.DataFrame:
    named = run.metrics[run.metrics["name"].isin(plan.metrics)]
    task, variant, seed = run.key
    algorithm = str(run.curve["algorithm"].iloc[0])
    kept = cut(named, plan.steps(task, variant)).assign(
        task=task, variant=variant, algorithm=algorithm
    )
    return kept.assign(seed=seed, study=plan.study, source=run.source)


def with_metrics(frame: pd.DataFrame, metrics: pd.DataFrame) -> pd.DataFrame:
    """A study's frame with its metrics as rows of kind `metric`, which have a name and a value."""
    if metrics.empty:
        return frame
    return pd.concat([frame, metrics.assign(kind="metric")], ignore_index=True)


def _rows(plan: StudyPlan, run: RecordedRun) -> pd.DataFrame:
    curve = cut(run.curve[CURVE_COLUMNS], plan.steps(*run.key[:2]))
    unprinted = float("nan")
    return curve.assign(
        study=plan.study, source=run.source, interval=unprinted, num_seeds=unprinted
    )


def _name(key: tuple[str, str, int]) -> str:
    return f"{key[0]}/{key[1]}/seed{key[2]}"


def _status(plan: StudyPlan, runs: dict[tuple[str, str, int], RecordedRun]) -> Status:
    def listed(keep: Any) -> list[dict[str, Any]]:
        return [
            {"task": key[0], "variant": key[1], "seed": key[2]} for key in plan.planned if keep(key)
        ]

    there = [runs[key] for key in plan.planned if key in runs]
    versions: list[dict[str, str]] = []
    for run in there:
        _add_versions(versions, run.versions)
    return {
        "study": plan.study,
        "scale": plan.scale,
        "budget": dict(plan.budget),
        "longer": [{"task": t, "variant": v, "steps": n} for (t, v), n in plan.longer.items()],
        "planned": listed(lambda key: True),
        "finished": listed(lambda key: key in runs),
        "missing": listed(lambda key: key not in runs),
        "archive": listed(lambda key: key in runs and runs[key].source == "archive"),
        "other_code": listed(lambda key: key in runs and not runs[key].same_code),
        "short": _short(plan, runs),
        "versions": versions,
        "containers": list(dict.fromkeys(image for run in there for image in run.containers)),
        **settings_status(
            plan.planned, plan.settings, {key: run.settings for key, run in runs.items()}
        ),
    }


def _add_versions(sets: list[dict[str, str]], more: dict[str, str]) -> None:
    """Into the first set that says nothing else of a package; into a new one if there is none."""
    for known in sets:
        if all(known.get(name, version) == version for name, version in more.items()):
            known.update(more)
            return
    sets.append(dict(more))


def _short(plan: StudyPlan, runs: dict[tuple[str, str, int], RecordedRun]) -> list[dict[str, Any]]:
    """Runs that stop where an episode as long as their task's longest would still fit."""
    curves = {key: cut(training(run.curve), plan.steps(*key[:2])) for key, run in runs.items()}
    longest: dict[str, int] = {}
    for (task, *_), curve in curves.items():
        longest[task] = max(longest.get(task, 1), 0 if curve.empty else int(curve["length"].max()))
    listed = []
    for task, variant, seed in (key for key in plan.planned if key in curves):
        curve, budget = curves[task, variant, seed], plan.steps(task, variant)
        last = 0 if curve.empty else int(curve["env_step"].max())
        if budget - last >= longest[task]:
            run = {"task": task, "variant": variant, "seed": seed}
            listed.append(run | {"reached": last / budget})
    return listed


def reached(status: Status, task: str, variants: Sequence[str]) -> float:
    """Share of the budget that the shortest run of these variants reached; NaN without a run."""
    if not any(seeds_of(status, "finished", task, variant) for variant in variants):
        return float("nan")
    shares = [
        float(run["reached"])
        for run in status["short"]
        if run["task"] == task and run["variant"] in variants
    ]
    return min(shares, default=1.0)


def seeds_of(status: Status, listed: str, task: str, variant: str) -> list[int]:
    """Seeds that a list of the status holds for a task and a variant."""
    return [
        int(run["seed"])
        for run in status[listed]
        if run["task"] == task and run["variant"] == variant
    ]


def marks(status: Status, task: str, variant: str) -> str:
    """Daggers of a curve or cell: † holds archived runs, ‡ holds runs recorded with other code."""
    archived = "†" if seeds_of(status, "archive", task, variant) else ""
    other = "‡" if seeds_of(status, "other_code", task, variant) else ""
    return archived + other
