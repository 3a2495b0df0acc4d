"""Before anything is submitted: is there all that the runs of a scale will need?

Each check is a function of facts elsewhere; here facts are gathered, the most important first.
"""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from unirl_repro.campaign import filesystem, slurm, slurm_checks
from unirl_repro.campaign import probe as node
from unirl_repro.campaign.finding import Finding, error, ok, text, warning
from unirl_repro.campaign.forecast import Forecast, forecast
from unirl_repro.campaign.image_checks import check_image, check_torch
from unirl_repro.campaign.lockfile import check_lock
from unirl_repro.campaign.places import RESULTS, Places, check_format
from unirl_repro.campaign.site import Site
from unirl_repro.campaign.slurm import SlurmError
from unirl_repro.config import Config, ConfigError
from unirl_repro.yamlfile import read_yaml

__all__ = ["Finding", "preflight", "text"]

MOUNTS = Path("/proc/mounts")
FILES = 20  # of a run: results, states, logs, Snakemake's records
SEGMENT_BYTES = 16 * 2**20  # of a replay; checkpoint.SEGMENT_BYTES, without importing torch


def preflight(
    config: Config,
    scale: str,
    site: Site,
    root: Path = Path(),
    *,
    probe: bool = False,
    patience: float = node.PATIENCE,
) -> list[Finding]:
    """Check this machine and its cluster for the runs of a scale.

    Parameters
    ----------
    config : Config
    scale : str
    site : Site
    root : Path
        The checkout.
    probe : bool
        Also look from a compute node, by a job of a minute in each partition that is used.
    patience : float
        Seconds until such a job must be done.

    Returns
    -------
    list of Finding
        The most important first.
    """
    cluster, nodes = _cluster(config, scale, site, root)
    results = _results(config, scale, site, root, nodes)
    image = check_image(site, root)
    if slurm.missing():  # where nothing is submitted, nothing runs in it
        image = replace(image, kind="warning" if image.kind == "error" else image.kind)
    findings = [*cluster, *results, image, check_lock(root)]
    if probe and not any(f.kind == "error" for f in findings):
        for gpu in (False, True) if site.gpu else (False,):
            findings += node.probe(site, root, root / RESULTS, gpu=gpu, patience=patience)
    return findings


def _cluster(config: Config, scale: str, site: Site, root: Path) -> tuple[list[Finding], int]:
    """Findings about SLURM, and its number of nodes."""
    if lacking := slurm.missing():
        told = f"this machine lacks {', '.join(lacking)}"
        mend = "log in where sbatch works; without a cluster: snakemake -c2, here"
        return [error("SLURM", told, mend)], 1
    if silence := slurm.responds():
        mend = "wait until `scontrol ping` says UP, or ask the administrators; is SLURM_CONF right?"
        return [error("SLURM", f"its controller does not answer: {silence}", mend)], 1
    try:
        cluster = slurm_checks.read_cluster()
    except SlurmError as problem:
        # The controller answered above: it may be busy, or newer than what is understood here.
        mend = "nothing, if jobs run as they should; else ask the administrators what this means"
        return [warning("SLURM", f"was not looked at: {problem}", mend)], 1
    profile: dict[str, Any] = read_yaml(root / slurm_checks.PROFILE)
    runs = slurm_checks.asks(config, scale, site)
    found = slurm_checks.check_cluster(cluster, site, runs, profile)
    if any(run.gpu for run in runs):
        found.append(check_torch(site))
    nodes = max((place.nodes for place in cluster.partitions.values()), default=1)
    return [ok("SLURM", "commands and controller answer"), *found], nodes


def _results(config: Config, scale: str, site: Site, root: Path, nodes: int) -> list[Finding]:
    folder = root / RESULTS
    try:
        check_format(folder)
    except ConfigError as problem:
        return [error(filesystem.ABOUT, str(problem))]  # which says what to do
    findings = filesystem.check_use(folder)
    if findings[0].kind == "error":
        return findings
    table = MOUNTS.read_text() if MOUNTS.exists() else ""
    need = _need(forecast(config, scale, site, places=Places(scale, root=folder)))
    findings += filesystem.check_space(folder, "space", filesystem.free(folder), need)
    mounts = {filesystem.mount_of(path.resolve(), table): path for path in (root, folder)}
    for mount, path in mounts.items():
        if mount is None:
            continue
        quota = filesystem.read_quota(mount) if path == folder else None
        findings += filesystem.check_space(folder, "quota", quota, need) if quota else []
        findings.append(filesystem.check_mount(path.resolve(), mount, nodes))
    return findings


def _need(coming: Forecast) -> filesystem.Need:
    """Of the runs that are not finished; what those under way have written already counts twice."""
    size = files = 0.0
    for row in coming.rows:
        share = 1 - row.finished / row.runs
        size += share * (row.results_bytes + row.checkpoint_bytes)
        files += share * (FILES * row.runs + row.checkpoint_bytes / SEGMENT_BYTES)
    return filesystem.Need(math.ceil(size), math.ceil(files))
