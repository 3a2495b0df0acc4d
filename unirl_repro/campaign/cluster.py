"""The first step on a cluster: nothing is submitted that cannot run, or that still runs."""

import fcntl
import os
import socket
from pathlib import Path
from typing import IO

from unirl_repro.campaign import slurm
from unirl_repro.campaign.places import claim
from unirl_repro.campaign.preflight import preflight, text
from unirl_repro.campaign.site import Site
from unirl_repro.campaign.slurm import Job, SlurmError
from unirl_repro.config import Config


class StartError(RuntimeError):
    """Something is wrong that would make jobs fail, with what to do about it."""


_held: list[IO[str]] = []  # locks of this process, until it ends


def begin(config: Config, scale: str, site: Site, root: Path) -> str:
    """Check the cluster, and cancel what a killed Snakemake left in its queue.

    From here on this process has the cluster to itself, as far as `root` goes: Snakemake's own lock
    lets two of them work on different targets. So whatever was submitted from there before has
    nobody who waits for it, and would train beside its successor.

    Returns
    -------
    str
        What was found and done.

    Raises
    ------
    StartError
        If the preflight finds an error, another Snakemake submits from `root`, or SLURM does not
        answer.
    """
    findings = preflight(config, scale, site, root)
    told = text(findings)
    if any(finding.kind == "error" for finding in findings):
        raise StartError(f"{told}\nNothing was submitted.")
    claim(root / "results")
    _hold(root / "results" / "cluster.lock")
    orphans = _cancel_orphans(root.resolve())
    if not orphans:
        return told
    return (
        f"{told}\ncancelled {len(orphans)} jobs that an earlier Snakemake left behind: "
        f"{', '.join(job.id for job in orphans)}. Their runs go on from their checkpoints."
    )


def _hold(path: Path) -> None:
    file = path.open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        raise StartError(
            f"Another Snakemake submits jobs from this folder already: {file.read().strip()}. "
            "Wait for it, or end it with Ctrl-C, which cancels its jobs; or give it all targets "
            f"at once. ({path} is locked.) Nothing was submitted."
        ) from None
    file.truncate(0)
    file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
    file.flush()
    _held.append(file)


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
