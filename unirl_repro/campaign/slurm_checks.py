"""Whether a cluster has what the site's settings and the runs of a scale ask of it."""

import math
import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any

from unirl_repro.campaign import plan, slurm
from unirl_repro.campaign.finding import Finding, error, ok, warning
from unirl_repro.campaign.site import SITE, Site
from unirl_repro.campaign.slurm import QOS, Partition, SlurmError
from unirl_repro.campaign.state import name
from unirl_repro.config import Config
from unirl_repro.explain import choices

PROFILE = "profiles/slurm/config.v8+.yaml"
SHOWN = 20  # of a cluster's partitions, which may be hundreds
# What AccountingStorageEnforce holds where SLURM refuses jobs of an unknown account, or QOS.
ENFORCES_ACCOUNT = {"associations", "limits", "qos", "safe"}
ENFORCES_QOS = {"limits", "qos", "safe"}
ENFORCES_LIMITS = {"limits", "safe"}
IDLE_STATES = {"down", "drained", "draining", "fail", "failing", "error", "inval", "unknown"}
IDLE_STATES |= {"maint", "future", "reboot", "n/a"}  # of nodes that take no job


@dataclass(frozen=True)
class Ask:
    """What one run asks of SLURM.

    Attributes
    ----------
    run : str
    gpu : bool
    minutes : int
        Time limit of a job.
    memory_mb : int
        Of a job: where several runs share a GPU, of all of them.
    """

    run: str
    gpu: bool
    minutes: int
    memory_mb: int


@dataclass(frozen=True)
class Cluster:
    """What SLURM says of itself and of this user.

    Attributes
    ----------
    partitions : mapping
    settings : mapping
        ``scontrol show config``.
    associations : set or None
        Accounts of this user, each with the QOS allowed there, in small letters; None where
        accounting is off or silent.
    qos : mapping
        What each QOS says of time limits, by name in small letters.
    silent : str
        What accounting said instead of answering.
    """

    partitions: Mapping[str, Partition]
    settings: Mapping[str, str]
    associations: set[tuple[str, str]] | None = None
    qos: Mapping[str, QOS] = field(default_factory=dict)
    silent: str = ""

    @property
    def accounting(self) -> bool:
        return slurm.has_accounting(self.settings)

    def enforces(self, words: set[str]) -> bool:
        """Whether SLURM refuses, or holds back, what breaks one of these kinds of rules."""
        enforced = self.settings.get("AccountingStorageEnforce", "").lower().split(",")
        return self.accounting and bool(words & set(enforced))


def read_cluster() -> Cluster:
    """Ask SLURM.

    Raises
    ------
    SlurmError
        If the controller does not answer, or not as it should.
    """
    cluster = Cluster(slurm.partitions(), slurm.settings())
    if not cluster.accounting:
        return cluster
    try:
        mine = slurm.associations(cluster.settings.get("ClusterName", ""))
        return replace(cluster, associations=mine, qos=slurm.all_qos())
    except SlurmError as silence:
        return replace(cluster, silent=str(silence))


def asks(config: Config, scale: str, site: Site) -> list[Ask]:
    """What each run of a scale asks of SLURM."""
    found = []
    for spec in config.runs(scale).values():
        device = plan.device(spec, site)
        gpu = device == "cuda"
        together = site.gpu.runs_per_gpu if site.gpu and gpu else 1
        minutes = plan.minutes(spec, device, site.longest_job)
        found.append(Ask(name(spec), gpu, minutes, together * plan.memory_mb(spec)))
    return found


def check_cluster(
    cluster: Cluster, site: Site, runs: Sequence[Ask], profile: Mapping[str, Any]
) -> list[Finding]:
    """All that can be known without submitting a job.

    Parameters
    ----------
    cluster : Cluster
    site : Site
    runs : sequence of Ask
    profile : mapping
        Content of Snakemake's profile for this cluster.
    """
    findings = [check_status(cluster, profile), *check_account(cluster, site)]
    for gpu in (False, True) if site.gpu else (False,):
        findings += check_partition(cluster, site, gpu=gpu)
        places = partitions_of(cluster, site, gpu=gpu)
        there = [run for run in runs if run.gpu == gpu]
        if places and gpu:
            findings.append(check_gpu(cluster, site, places))
        if places and there:
            findings.append(check_memory(places, there))
            findings.append(check_time(cluster, site, places, there))
    return list(dict.fromkeys(findings))  # jobs with and without a GPU may go to one partition


def check_status(cluster: Cluster, profile: Mapping[str, Any]) -> Finding:
    """Whether Snakemake will ever hear that a job has ended."""
    about = "end of jobs"
    if cluster.accounting:
        wrong, then = warning, "where a job that someone else cancels counts as running for ever"
    else:
        wrong, then = error, "which knows nothing without accounting: it would wait for ever"
    if profile.get("slurm-status-command") != "squeue":
        told = f"Snakemake would ask sacct about finished jobs, {then}"
        return wrong(about, told, f"add the line `slurm-status-command: squeue` to {PROFILE}")
    first = int(profile.get("slurm-init-seconds-before-status-checks", 40))
    age = re.match(r"\d+", cluster.settings.get("MinJobAge", ""))
    kept = int(age[0]) if age else 0
    if kept >= 3 * first:
        return ok(about, f"squeue knows finished jobs for {kept} s, which is enough")
    told = (
        f"SLURM forgets finished jobs after {kept} s (MinJobAge). Below three times the "
        f"{first} s after which Snakemake first asks squeue, it asks sacct instead, {then}"
    )
    shorter = f"set `slurm-init-seconds-before-status-checks: {kept // 3}` in {PROFILE}"
    longer = f"ask the administrators for a MinJobAge of {3 * first} s or more"
    return wrong(about, told, shorter if kept >= 3 else longer)


def check_account(cluster: Cluster, site: Site) -> list[Finding]:
    """Whether this user may use the site's account and QOS."""
    if cluster.silent:
        told = f"accounting is on, but does not answer: {cluster.silent}"
        mend = (
            "nothing, where it answers again soon: only account and QOS were not looked at. "
            "Snakemake submits no job with an account that it cannot look up"
        )
        return [warning("account", told, mend)]
    if not cluster.accounting and site.account:
        told = f"{SITE}: account is {site.account!r}, but this cluster has no accounts"
        return [error("account", told, f"leave `account` out of {SITE}")]
    if cluster.associations is None:
        return []
    enforced = cluster.enforces(ENFORCES_ACCOUNT)
    if not cluster.associations and enforced:
        told = "this user has none, and the cluster takes jobs only from those who have"
        return [error("account", told, "ask the administrators for an account")]
    accounts = {account for account, _ in cluster.associations}
    if site.account and site.account.lower() not in accounts:
        found = _unknown("account", "account", site.account, accounts, "this user's accounts")
        return [found if enforced else replace(found, kind="warning")]
    findings = [ok("account", site.account or "the cluster's default")]
    return findings + (_check_qos(cluster, site) if cluster.enforces(ENFORCES_QOS) else [])


def _check_qos(cluster: Cluster, site: Site) -> list[Finding]:
    mine = {
        qos
        for account, qos in cluster.associations or ()
        if site.account is None or account == site.account.lower()
    }
    findings = []
    for gpu in (False, True) if site.gpu else (False,):
        qos = site.requests(gpu=gpu).get("qos")
        if qos and qos.lower() not in mine:
            key = "gpu.qos" if gpu and site.gpu and site.gpu.qos else "qos"
            findings.append(_unknown("QOS", key, qos, mine, "this account's QOS"))
    return findings


def check_partition(cluster: Cluster, site: Site, *, gpu: bool) -> list[Finding]:
    """Whether the partitions exist and take jobs."""
    asked = site.requests(gpu=gpu)
    own = gpu and site.gpu is not None and site.gpu.partition is not None
    about, key = ("GPU partition", "gpu.partition") if own else ("partition", "partition")
    if "slurm_partition" not in asked:
        if default := _default(cluster):
            return [_state(about, cluster, default)]
        plugins = cluster.settings.get("JobSubmitPlugins", "(null)")
        if plugins not in ("(null)", "") or "SBATCH_PARTITION" in os.environ:
            return []  # one of them chooses
        told = f"{SITE} names none, and this cluster has no default one"
        return [error(about, told, f"set {key} in {SITE}. {_choices('', cluster.partitions)}")]
    names = asked["slurm_partition"].split(",")
    return [
        _state(about, cluster, cluster.partitions[name])
        if name in cluster.partitions
        else _unknown(about, key, name, cluster.partitions, "this cluster's partitions")
        for name in names
    ]


def partitions_of(cluster: Cluster, site: Site, *, gpu: bool) -> list[Partition]:
    """Those that exist of the partitions that jobs may go to."""
    asked = site.requests(gpu=gpu).get("slurm_partition")
    if asked is None:
        return [default] if (default := _default(cluster)) else []
    return [cluster.partitions[n] for n in asked.split(",") if n in cluster.partitions]


def _default(cluster: Cluster) -> Partition | None:
    return next((p for p in cluster.partitions.values() if p.default), None)


def _state(about: str, cluster: Cluster, partition: Partition) -> Finding:
    here, others = partition.name, [n for n in cluster.partitions if n != partition.name]
    another = f"name another one in {SITE} ({_some(others)})" if others else "wait"
    if not partition.up:
        told = f"{here} is not up, and takes no jobs or starts none"
        return error(about, told, f"{another}, or ask the administrators: sinfo -p {here}")
    if partition.states <= IDLE_STATES:
        told = f"none of the nodes of {here} takes jobs: {', '.join(sorted(partition.states))}"
        return warning(about, told, f"{another}; jobs wait until a node comes back: sinfo -R")
    return ok(about, f"{here} is up; nodes: {partition.nodes}")


def _unknown(about: str, key: str, value: str, allowed: Collection[str], what: str) -> Finding:
    return error(
        about,
        f"{SITE}: {key} is {value!r}, which is none of {what}",
        f"set {key} in {SITE}. {_choices(value, allowed)}",
    )


def _choices(value: str, allowed: Collection[str]) -> str:
    """What is allowed, and the nearest of it."""
    near = get_close_matches(value, allowed, n=1)
    shown = {*sorted(allowed)[:SHOWN], *near}
    rest = len(allowed) - len(shown)
    return choices(value, shown) + (f" There are {rest} more." if rest else "")


def _some(names: Collection[str]) -> str:
    rest = len(names) - SHOWN
    return ", ".join(sorted(names)[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def check_gpu(cluster: Cluster, site: Site, places: Sequence[Partition]) -> Finding:
    """Whether there are GPUs of the type asked for where they are asked for."""
    asked = site.gpu.type if site.gpu else None
    where = ", ".join(place.name for place in places)
    types = {kind for place in places for kind in _gpu_types(place)}
    if not types:
        others = [p.name for p in cluster.partitions.values() if _gpu_types(p)]
        hint = f"set gpu.partition in {SITE} to one that has: {_some(others)}"
        return error(
            "GPU",
            f"{SITE} has `gpu:`, but no node of {where} has a GPU",
            hint if others else f"remove `gpu:` from {SITE}: all runs then train on CPUs",
        )
    if asked and asked not in types:
        named = sorted(types - {""})
        hint = choices(asked, named) if named else "GPUs have no types there: leave it out."
        return error(
            "GPU", f"{SITE}: gpu.type is {asked!r}; {where} has none", f"set gpu.type. {hint}"
        )
    return ok("GPU", f"{asked or 'any'} in {where}")


def _gpu_types(place: Partition) -> set[str]:
    """Types of a partition's GPUs; an empty one where they have none."""
    entries = [entry.split(":") for entry in place.gres]
    return {parts[1] if len(parts) > 2 else "" for parts in entries if parts[0] == "gpu"}


def check_memory(places: Sequence[Partition], runs: Sequence[Ask]) -> Finding:
    """Whether a node is large enough for each job."""
    largest = max(places, key=lambda place: place.memory_mb)
    tall = [run for run in runs if run.memory_mb > largest.memory_mb]
    need = max(runs, key=lambda run: run.memory_mb)
    about = f"memory in {largest.name}"
    if not tall:
        return ok(about, f"jobs ask for up to {need.memory_mb} MB, nodes have {largest.memory_mb}")
    told = (
        f"{len(tall)} of {len(runs)} runs are in jobs that ask for more than its largest node has, "
        f"{largest.memory_mb} MB, and SLURM refuses them: {need.run} for {need.memory_mb} MB"
    )
    fewer = " or fewer runs_per_gpu" if need.gpu else ""
    mend = f"name a partition with larger nodes{fewer} in {SITE}"
    return (error if len(tall) == len(runs) else warning)(about, told, mend)


def check_time(
    cluster: Cluster, site: Site, places: Sequence[Partition], runs: Sequence[Ask]
) -> Finding:
    """Whether partition and QOS allow each job's time limit; else it would wait for ever.

    Parameters
    ----------
    cluster : Cluster
    site : Site
    places : sequence of Partition
        Where these runs may go.
    runs : sequence of Ask
        All with a GPU, or all without.
    """
    longest = max(runs, key=lambda run: run.minutes)
    limit, what = _limit(cluster, site, places, gpu=longest.gpu)
    about = "time limit of GPU jobs" if longest.gpu else "time limit"
    told = f"jobs ask for up to {longest.minutes} minutes, {what} allows"
    if limit is None or longest.minutes <= limit:
        return ok(about, f"{told} {'any' if limit is None else limit}")
    return error(
        about,
        f"{told} {limit}: they would never start",
        f"`longest_job: {limit}` or less in {SITE}; longer runs go on in their next job",
    )


def _limit(
    cluster: Cluster, site: Site, places: Sequence[Partition], *, gpu: bool
) -> tuple[int | None, str]:
    """The longest that a job may run [minutes], None if there is no limit, and who says so."""
    best = max(places, key=lambda place: math.inf if place.longest is None else place.longest)
    name = site.requests(gpu=gpu).get("qos", "")
    qos = cluster.qos.get(name.lower(), QOS(None, lifts_limit=False))
    of_partition = None if qos.lifts_limit else best.longest
    of_qos = qos.longest if cluster.enforces(ENFORCES_LIMITS) else None
    if of_qos is not None and (of_partition is None or of_qos < of_partition):
        return of_qos, f"QOS {name}"
    return of_partition, f"partition {best.name}"
