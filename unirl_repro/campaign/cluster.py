"""The first step on a cluster: nothing is submitted that cannot run, or that still runs."""

import os
from pathlib import Path

from unirl_repro.campaign import slurm
from unirl_repro.campaign.places import claim
from unirl_repro.campaign.preflight import preflight, text
from unirl_repro.campaign.site import Site
from unirl_repro.campaign.slurm import Job, SlurmError
from unirl_repro.config import Config


class StartError(RuntimeError):
    """Something is wrong that would make jobs fail, with what to do about it."""


def begin(config: Config, scale: str, site: Site, root: Path) -> str:
    """Check the cluster, and cancel what a killed Snakemake left in its queue.

    Called while Snakemake holds its lock on `root`: whatever was submitted from there before has
    nobody who waits for it, and would train beside its successor.

    Returns
    -------
    str
        What was found and done.

    Raises
    ------
    StartError
        If the preflight finds an error, or SLURM does not answer.
    """
    findings = preflight(config, scale, site, root)
    told = text(findings)
    if any(finding.kind == "error" for finding in findings):
        raise StartError(f"{told}\nNothing was submitted.")
    claim(root / "results")
    orphans = _cancel_orphans(root.resolve())
    if not orphans:
        return told
    return (
        f"{told}\ncancelled {len(orphans)} jobs that an earlier Snakemake left behind: "
        f"{', '.join(job.id for job in orphans)}. Their runs go on from their checkpoints."
    )


def _cancel_orphans(root: Path) -> list[Job]:
    own = os.environ.get("SLURM_JOB_ID")  # where Snakemake itself runs in a job
    try:
        orphans = [job for job in slurm.jobs_of(root) if job.id != own]
        slurm.cancel(orphans)
    except SlurmError as problem:
        raise StartError(
            f"{problem}\nWhether jobs of an earlier Snakemake still run cannot be told: SLURM is "
            "busy or away; start again. Nothing was submitted."
        ) from problem
    return orphans
