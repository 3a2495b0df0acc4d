"""With which settings the runs of a study ran, how fast, and on what its budgets rest.

The part of a study's status that tables about hyper-parameters, overhead and budgets read. Plain
values in and out; imports no pandas, since the DAG is built with it.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

REFERENCE = Path(__file__).parents[2] / "resources" / "reference"
# Statistics that are rows of a frame.
RETURNS = ("training_average", "average_normalised", "evaluation_return")

Cell = tuple[str, str]  # task, variant
RunKey = tuple[str, str, int]


@dataclass(frozen=True)
class PlannedSettings:
    """What stands in the project's files for the runs of a study.

    Attributes
    ----------
    parameters : dict of (task, variant) to dict
        Hyper-parameters; those of an algorithm that is made of others are nested.
    speeds : dict of (task, variant) to dict of str to float
        Steps per second that were measured beforehand, by device; none at a small scale.
    entries : dict of str to dict
        Each task's entry of config.yaml's budgets.
    printed : list of dict
        What the document prints beside returns, from `load_printed`.
    """

    parameters: dict[Cell, dict[str, Any]] = field(default_factory=dict)
    speeds: dict[Cell, dict[str, float]] = field(default_factory=dict)
    entries: dict[str, dict[str, Any]] = field(default_factory=dict)
    printed: list[dict[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class RunSettings:
    """What a run's manifest says of how it ran.

    Attributes
    ----------
    parameters : dict
        Its hyper-parameters.
    devices : tuple of str
        Those that it ran on, one attempt after another.
    steps_per_second : float or None
        Environment steps over the time of all attempts, evaluation included.
    """

    parameters: dict[str, Any] = field(default_factory=dict)
    devices: tuple[str, ...] = ()
    steps_per_second: float | None = None


def load_printed(study: str, reference: Path = REFERENCE) -> list[dict[str, str]]:
    """Read what a study's document prints beside returns, cell by cell, as text.

    Parameters
    ----------
    study : str
        Name of the study.
    reference : Path
        Folder of the published numbers.

    Returns
    -------
    list of dict
        Rows of the study's file, but for those of a statistic of `RETURNS`; none without a file.
    """
    path = reference / f"{study}.csv"
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["statistic"] not in RETURNS]


def settings_status(
    planned: Sequence[RunKey], settings: PlannedSettings, runs: Mapping[RunKey, RunSettings]
) -> dict[str, Any]:
    """What a study's status says of settings.

    Parameters
    ----------
    planned : sequence of (task, variant, seed)
        The study's runs.
    settings : PlannedSettings
        What stands in the project's files for them.
    runs : mapping of (task, variant, seed) to RunSettings
        Those that are there.

    Returns
    -------
    dict
        parameters: for each task and variant, the hyper-parameters that ran, once for each
        different set, with the number of runs behind it; where none ran, the planned ones with
        num_runs 0. speeds: steps_per_second of each run with its devices, and beside them those
        that were measured beforehand, whose seed is None. entries and printed: as planned.
    """
    cells = list(dict.fromkeys((task, variant) for task, variant, _ in planned))
    there = {key: runs[key] for key in planned if key in runs}
    return {
        "parameters": [entry for cell in cells for entry in _parameters(cell, settings, there)],
        "speeds": [
            {**_named(key[:2]), "seed": key[2], "devices": list(run.devices)}
            | {"steps_per_second": run.steps_per_second}
            for key, run in there.items()
            if run.steps_per_second
        ]
        + [
            {**_named(cell), "seed": None, "devices": [device], "steps_per_second": speed}
            for cell in cells
            for device, speed in settings.speeds.get(cell, {}).items()
        ],
        "entries": settings.entries,
        "printed": settings.printed,
    }


def _named(cell: Cell) -> dict[str, str]:
    return dict(zip(("task", "variant"), cell, strict=True))


def _parameters(
    cell: Cell, settings: PlannedSettings, runs: Mapping[RunKey, RunSettings]
) -> list[dict[str, Any]]:
    ran = [run.parameters for key, run in runs.items() if key[:2] == cell]
    if not ran:
        found = settings.parameters.get(cell)
        return [] if found is None else [{**_named(cell), "num_runs": 0, "parameters": found}]
    sets = [values for i, values in enumerate(ran) if values not in ran[:i]]
    return [
        {**_named(cell), "num_runs": ran.count(values), "parameters": values} for values in sets
    ]


def is_calibrated(status: Mapping[str, Any], task: str, variant: str) -> bool:
    """Whether a task's budget was inferred from a variant's published row.

    Such a row agrees with the published one by construction, and counts for no claim of agreement.
    """
    entry = status["entries"].get(task, {})
    own = entry.get("variants", {}).get(variant, entry)
    return variant in own.get("calibrated_on", [])
