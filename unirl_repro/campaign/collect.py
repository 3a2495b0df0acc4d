"""A study's runs, from their folders and from the archive, as a frame with its status."""

from pathlib import Path

import pandas as pd

from unirl_repro.analysis.frames import (
    RecordedRun,
    Status,
    StudyPlan,
    build_frame,
    build_metrics,
    load_published,
)
from unirl_repro.analysis.settings import RunSettings
from unirl_repro.campaign.places import Places
from unirl_repro.campaign.planned import planned_settings
from unirl_repro.campaign.sources import ARCHIVE, read_manifest, source, specs
from unirl_repro.campaign.state import name, run_state
from unirl_repro.config import Config, RunSpec
from unirl_repro.files import write_bytes, write_json
from unirl_repro.fingerprint import code_hash


class UnfinishedError(RuntimeError):
    """A study lacks runs that it was asked to be complete with."""


def aggregate(config: Config, study: str, places: Places, archive: Path = ARCHIVE) -> Status:
    """Write a study's frame, the metrics that it names, and its status.

    Parameters
    ----------
    config : Config
        The experiment.
    study : str
        One of its studies.
    places : Places
        Where runs lie and the frame goes; `places.partial` takes whatever is finished and, where
        nothing is, a recorded run of the same settings.
    archive : Path
        Folder of recorded runs.

    Returns
    -------
    dict
        The status, as in the file beside the frame.

    Raises
    ------
    UnfinishedError
        If a run is missing or stale, and `places` is not partial.
    """
    wanted = specs(config, study, places)
    if not places.partial:
        _check_finished(study, wanted, places)
    sources = {spec: source(spec, places, archive) for spec in wanted}
    plan = _plan(config, study, places.scale)
    runs = [_read(spec, folder, places) for spec, folder in sources.items() if folder]
    frame, status = build_frame(plan, runs, load_published(study))
    places.frame(study).parent.mkdir(parents=True, exist_ok=True)
    write_bytes(places.frame(study), frame.to_parquet(index=False, compression="zstd"))
    metrics = build_metrics(plan, runs)
    write_bytes(places.metrics(study), metrics.to_parquet(index=False, compression="zstd"))
    write_json(places.status(study), status)
    return status


def _plan(config: Config, study: str, scale: str) -> StudyPlan:
    """Budgets are the study's own: a run that another study trains for longer is cut there."""
    selection = config.selection(study, scale)
    budget: dict[str, int] = {}
    for spec in selection:
        budget[spec.task.id] = min(spec.budget, budget.get(spec.task.id, spec.budget))
    longer = {
        (spec.task.id, spec.variant): spec.budget
        for spec in selection
        if spec.budget > budget[spec.task.id]
    }
    planned, metrics = tuple(spec.key for spec in selection), tuple(config.studies[study].metrics)
    settings = planned_settings(config, study, scale)
    return StudyPlan(study, scale, budget, planned, metrics, settings, longer)


def _check_finished(study: str, wanted: list[RunSpec], places: Places) -> None:
    states = {name(spec): run_state(spec, places) for spec in wanted}
    lacking = [f"{run}: {s.why}" for run, s in states.items() if s.kind != "finished"]
    if lacking:
        raise UnfinishedError(
            f"{study} lacks {len(lacking)} of {len(wanted)} runs ({'; '.join(lacking)}). "
            f"Train them: snakemake -c2 {study} --config scale={places.scale}; or build the report "
            f"of what is there: snakemake -c2 paper_partial --config scale={places.scale}"
        )


def _read(spec: RunSpec, folder: Path, places: Places) -> RecordedRun:
    manifest = read_manifest(folder)
    return RecordedRun(
        curve=pd.read_parquet(folder / "curve.parquet"),
        metrics=pd.read_parquet(folder / "metrics.parquet"),
        source="trained" if folder == places.run(spec.key) else "archive",
        same_code=manifest["code_hash"] == code_hash(spec),
        versions=manifest["segments"][-1]["versions"],
        containers=tuple(segment.get("container") for segment in manifest["segments"]),
        settings=RunSettings(
            parameters=manifest["spec"]["parameters"],
            devices=tuple(dict.fromkeys(segment["device"] for segment in manifest["segments"])),
            steps_per_second=manifest["steps_per_second"],
        ),
    )
