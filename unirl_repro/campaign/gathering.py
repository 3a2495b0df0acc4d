"""Puts the seeds of a study that trains models together, as a frame with its status."""

import json
from collections.abc import Mapping

import pandas as pd

from unirl_repro.analysis.frames import (
    Status,
    StudyPlan,
    build_frame,
    build_metrics,
    load_published,
)
from unirl_repro.campaign.collect import UnfinishedError
from unirl_repro.campaign.learned import finished_seeds
from unirl_repro.campaign.places import Places
from unirl_repro.config import Config
from unirl_repro.files import write_bytes, write_json
from unirl_repro.tabular.frame import frame

DECIDING = "paper"  # the scale whose sizes decide claims


def gather(config: Config, study: str, places: Places) -> Status:
    """Put a study's parts into its frame; write it, an empty frame of metrics, and its status.

    Parameters
    ----------
    config : Config
        The experiment.
    study : str
        A study of it that is `learned`.
    places : Places
        Where parts lie and the frame goes; `places.partial` takes whatever is finished.

    Returns
    -------
    dict
        The status, as in the file beside the frame: as `learned_status` has it.

    Raises
    ------
    UnfinishedError
        If a part is missing or stale, and `places` is not partial.
    """
    planned, there = (
        config.learned_seeds(study, places.scale),
        finished_seeds(config, study, places),
    )
    lacking = [seed for seed in planned if seed not in there]
    if lacking and not places.partial:
        raise UnfinishedError(
            f"{study}: seeds {lacking} are missing or stale. Compute them, and the frame too: "
            f"snakemake -c2 {study} --config scale={places.scale}"
        )
    parts = [pd.read_parquet(places.part(study, seed)) for seed in there]
    rows = pd.concat(parts, ignore_index=True) if parts else frame([])
    manifests = [json.loads(places.part_manifest(study, seed).read_text()) for seed in there]
    versions = [manifest["versions"] for manifest in manifests]
    status = learned_status(study, places.scale, len(there), len(planned), versions)
    metrics = build_metrics(_plan(study, places.scale), [])
    places.frame(study).parent.mkdir(parents=True, exist_ok=True)
    write_bytes(places.frame(study), rows.to_parquet(index=False, compression="zstd"))
    write_bytes(places.metrics(study), metrics.to_parquet(index=False, compression="zstd"))
    write_json(places.status(study), status)
    return status


def learned_status(
    study: str, scale: str, seeds: int, planned: int, versions: list[Mapping[str, str]]
) -> Status:
    """What ran of a study: no runs, so many of the planned seeds, with these versions.

    `full_size` says whether its numbers are those of the scale that decides claims.
    """
    _, status = build_frame(_plan(study, scale), [], load_published(study))
    distinct = [dict(kinds) for kinds in dict.fromkeys(tuple(v.items()) for v in versions)]
    return status | {
        "seeds": seeds,
        "planned_seeds": planned,
        "versions": distinct,
        "full_size": scale == DECIDING,
    }


def _plan(study: str, scale: str) -> StudyPlan:
    return StudyPlan(study, scale, budget={}, planned=())
