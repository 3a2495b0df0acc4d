"""What config.yaml and the measured speeds say of the runs of a study, for its status.

Read while the DAG is built, so this imports no pandas.
"""

import hashlib
from dataclasses import asdict

from unirl_repro.analysis.settings import PlannedSettings, load_printed
from unirl_repro.campaign import plan
from unirl_repro.config import Config, RunSpec


def planned_settings(config: Config, study: str, scale: str) -> PlannedSettings:
    """Settings of a study's runs at a scale, as planned.

    Parameters
    ----------
    config : Config
        The experiment.
    study, scale : str
        One of its studies, and the scale.

    Returns
    -------
    PlannedSettings
        Speeds at scale paper alone: those measured are of the paper's sizes.
    """
    selection = config.selection(study, scale)
    cells = {(spec.task.id, spec.variant): spec for spec in selection}
    budgets = config.budgets.get(config.studies[study].document, {})
    return PlannedSettings(
        parameters={cell: asdict(spec.parameters) for cell, spec in cells.items()},
        speeds={cell: _measured(spec) for cell, spec in cells.items() if scale == "paper"},
        entries={task: budgets[task].model_dump() for task, _ in cells if task in budgets},
        printed=load_printed(study),
    )


def settings_hash(config: Config, study: str, scale: str) -> str:
    """Hash of `planned_settings`: a frame whose settings have changed is made again."""
    return hashlib.sha256(repr(planned_settings(config, study, scale)).encode()).hexdigest()[:24]


def _measured(spec: RunSpec) -> dict[str, float]:
    found = {device: plan.speed(spec, device) for device in ("cpu", "cuda")}
    return {d: s.steps_per_second for d, s in found.items() if s.source == "measured"}
