"""Studies without runs: computed as a whole, with a frame and a status like those of the others."""

from importlib import import_module
from importlib.metadata import version
from typing import Protocol, cast

import pandas as pd

from unirl_repro.analysis.frames import (
    Status,
    StudyPlan,
    build_frame,
    build_metrics,
    load_published,
)
from unirl_repro.campaign.places import Places
from unirl_repro.config import Config
from unirl_repro.files import write_bytes, write_json

PACKAGES = ("numpy", "scipy")


class Experiment(Protocol):
    """What a module of a tabular study offers."""

    def run(self, seeds: int) -> pd.DataFrame:
        """Compute the study's frame."""


def compute(config: Config, study: str, places: Places) -> Status:
    """Run a tabular experiment; write its frame, an empty frame of metrics, and its status.

    Parameters
    ----------
    config : Config
        The experiment.
    study : str
        A tabular study of it: ``unirl_repro/tabular/<study>.py``.
    places : Places
        Where the frame goes.

    Returns
    -------
    dict
        The status, as in the file beside the frame: without runs, and with `seeds`.
    """
    seeds = config.tabular_seeds(study, places.scale)
    frame, status = experiment(study).run(seeds), tabular_status(study, places.scale, seeds)
    metrics = build_metrics(_plan(study, places.scale), [])
    places.frame(study).parent.mkdir(parents=True, exist_ok=True)
    write_bytes(places.frame(study), frame.to_parquet(index=False, compression="zstd"))
    write_bytes(places.metrics(study), metrics.to_parquet(index=False, compression="zstd"))
    write_json(places.status(study), status)
    return status


def experiment(study: str) -> Experiment:
    """The module of a tabular study."""
    return cast(Experiment, import_module(f"unirl_repro.tabular.{study}"))


def tabular_status(study: str, scale: str, seeds: int) -> Status:
    """What ran of a tabular study: no runs, so many seeds, with these versions."""
    _, status = build_frame(_plan(study, scale), [], load_published(study))
    return status | {"seeds": seeds, "versions": [{name: version(name) for name in PACKAGES}]}


def _plan(study: str, scale: str) -> StudyPlan:
    return StudyPlan(study, scale, budget={}, planned=())
