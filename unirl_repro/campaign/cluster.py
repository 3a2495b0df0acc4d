"""The first step on a cluster: nothing is submitted that cannot run, or that still runs."""

from pathlib import Path

from unirl_repro.campaign import slurm
from unirl_repro.campaign.places import claim
from unirl_repro.campaign.preflight import preflight, text
from unirl_repro.campaign.site import Site
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
        If the preflight finds an error.
    """
    findings = preflight(config, scale, site, root)
    told = text(findings)
    if any(finding.kind == "error" for finding in findings):
        raise StartError(f"{told}\nNothing was submitted.")
    claim(root / "results")
    orphans = slurm.jobs_of(root.resolve())
    slurm.cancel(orphans)
    if not orphans:
        return told
    return (
        f"{told}\ncancelled {len(orphans)} jobs that an earlier Snakemake left behind: "
        f"{', '.join(job.id for job in orphans)}. Their runs go on from their checkpoints."
    )
