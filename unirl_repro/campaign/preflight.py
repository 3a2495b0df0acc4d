"""Before anything is submitted: is there all that the runs of a scale will need?

Each check is a function of facts elsewhere; here facts are gathered, the most important first.
"""

from pathlib import Path
from typing import Any

from unirl_repro.campaign import filesystem, slurm, slurm_checks
from unirl_repro.campaign import probe as node
from unirl_repro.campaign.finding import Finding, error, ok, text
from unirl_repro.campaign.lockfile import check_lock
from unirl_repro.campaign.places import RESULTS, check_format
from unirl_repro.campaign.site import Site
from unirl_repro.campaign.slurm import SlurmError
from unirl_repro.config import Config, ConfigError
from unirl_repro.yamlfile import read_yaml

__all__ = ["Finding", "preflight", "text"]

MOUNTS = Path("/proc/mounts")


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
    results = _results(config, scale, root, nodes)
    findings = [*cluster, *results, check_lock(root)]
    if probe and not any(f.kind == "error" for f in [*cluster, *results]):
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
        return [error("SLURM", str(problem), "ask the administrators what this means")], 1
    profile: dict[str, Any] = read_yaml(root / slurm_checks.PROFILE)
    runs = slurm_checks.asks(config, scale, site)
    found = slurm_checks.check_cluster(cluster, site, runs, profile)
    nodes = max((place.nodes for place in cluster.partitions.values()), default=1)
    return [ok("SLURM", "commands and controller answer"), *found], nodes


def _results(config: Config, scale: str, root: Path, nodes: int) -> list[Finding]:
    folder = root / RESULTS
    try:
        check_format(folder)
    except ConfigError as problem:
        told, _, mend = str(problem).partition(". ")
        return [error(filesystem.ABOUT, told, mend)]
    findings = filesystem.check_use(folder)
    if findings[0].kind == "error":
        return findings
    mount = filesystem.mount_of(folder.resolve(), MOUNTS.read_text())
    return [*findings, filesystem.check_mount(folder, mount, nodes)]
