"""Whether a cluster has what the site's settings and the runs of a scale ask of it."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from unirl_repro.campaign import plan, slurm
from unirl_repro.campaign.finding import Finding, error, ok, warning
from unirl_repro.campaign.site import SITE, Site
from unirl_repro.campaign.slurm import Partition, SlurmError
from unirl_repro.campaign.state import name
from unirl_repro.config import Config
from unirl_repro.explain import choices

PROFILE = "profiles/slurm/config.v8+.yaml"
ATTEMPTS = 21  # the training rule's retries, and the first one
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
    jobs : int
        How many it takes, one after another, on a machine half as fast as was measured.
    """

    run: str
    gpu: bool
    minutes: int
    memory_mb: int
    jobs: int


@dataclass(frozen=True)
class Cluster:
    """What SLURM says of itself and of this user.

    Attributes
    ----------
    partitions : mapping
    rules : mapping
        Of each partition, as scontrol shows it: AllowAccounts and so on.
    settings : mapping
        ``scontrol show config``.
    associations : set or None
        Accounts of this user, each with the QOS allowed there; None without accounting.
    longest : mapping
        Time limit of each QOS that has one [minutes].
    silent : str
        What accounting said instead of answering.
    """

    partitions: Mapping[str, Partition]
    rules: Mapping[str, Mapping[str, str]]
    settings: Mapping[str, str]
    associations: set[tuple[str, str]] | None = None
    longest: Mapping[str, int] | None = None
    silent: str = ""

    @property
    def accounting(self) -> bool:
        return "none" not in self.settings.get("AccountingStorageType", "none")


def read_cluster() -> Cluster:
    """Ask SLURM.

    Raises
    ------
    SlurmError
        If the controller does not answer.
    """
    shown = slurm.ask("scontrol", "show", "config").splitlines()
    settings = {k.strip(): v.strip() for k, _, v in (line.partition("=") for line in shown)}
    rows = slurm.ask("scontrol", "--oneliner", "show", "partition").splitlines()
    fields = [dict(w.split("=", 1) for w in row.split() if "=" in w) for row in rows]
    rules = {row["PartitionName"]: row for row in fields if "PartitionName" in row}
    cluster = Cluster(slurm.partitions(), rules, settings)
    if not cluster.accounting:
        return cluster
    try:
        return replace(cluster, associations=slurm.associations(), longest=_longest_of_each_qos())
    except SlurmError as silence:
        return replace(cluster, silent=str(silence))


def _longest_of_each_qos() -> dict[str, int]:
    told = slurm.ask("sacctmgr", "-nP", "show", "qos", "format=name,maxwall")
    limits = [line.partition("|") for line in told.splitlines()]
    return {qos: found for qos, _, limit in limits if limit and (found := slurm.minutes(limit))}


def asks(config: Config, scale: str, site: Site) -> list[Ask]:
    """What each run of a scale asks of SLURM."""
    found = []
    for spec in config.runs(scale).values():
        device = plan.device(spec, site)
        gpu = device == "cuda"
        together = site.gpu.runs_per_gpu if site.gpu and gpu else 1
        minutes = plan.minutes(spec, device, site.longest_job)
        seconds = plan.MARGIN * spec.budget / plan.steps_per_second(spec, device)
        # Starting takes that long at worst; of a short job, half.
        training = max(minutes - plan.START_MINUTES, minutes / 2) * 60
        memory = together * plan.memory_mb(spec)
        found.append(Ask(name(spec), gpu, minutes, memory, math.ceil(seconds / training)))
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
    places: dict[bool, list[Partition]] = {}
    for gpu in (False, True) if site.gpu else (False,):
        findings += check_partition(cluster, site, gpu=gpu)
        places[gpu] = partitions_of(cluster, site, gpu=gpu)
    if places.get(True):
        findings.append(check_gpu(cluster, site, places[True]))
    for gpu, places_there in places.items():
        there = [run for run in runs if run.gpu == gpu]
        if there and places_there:
            findings.append(check_memory(places_there, there))
    findings += [*check_times(cluster, site, places, runs), *check_attempts(site, runs)]
    return list(dict.fromkeys(findings))  # jobs with and without a GPU may go to one partition


def check_status(cluster: Cluster, profile: Mapping[str, Any]) -> Finding:
    """Whether Snakemake will ever hear that a job has ended."""
    add = f"add the line `slurm-status-command: squeue` to {PROFILE}"
    if cluster.silent:
        return error(
            "accounting",
            f"it is on, but does not answer: {cluster.silent}",
            "wait until `sacctmgr show cluster` answers, or ask the administrators; Snakemake "
            "learns from it which jobs have ended",
        )
    if cluster.accounting:
        return ok("accounting", "on; finished jobs are looked up with sacct")
    if profile.get("slurm-status-command") != "squeue":
        return error(
            "accounting",
            "it is off on this cluster; Snakemake would look for finished jobs with sacct, hear "
            "nothing, and wait for ever",
            add,
        )
    first = int(profile.get("slurm-init-seconds-before-status-checks", 40))
    age = int(cluster.settings.get("MinJobAge", "300").split()[0])
    if age < 3 * first:
        return error(
            "accounting",
            f"it is off, and SLURM forgets finished jobs after {age} s (MinJobAge), before "
            f"Snakemake surely asks (3 x {first} s); it would wait for ever",
            f"set `slurm-init-seconds-before-status-checks: {max(1, age // 3)}` in {PROFILE}",
        )
    return ok("accounting", f"off; squeue knows finished jobs for {age} s, which is enough")


def check_account(cluster: Cluster, site: Site) -> list[Finding]:
    """Whether this user may use the site's account and QOS."""
    allowed = cluster.associations
    if not cluster.accounting and site.account:
        return [
            error(
                "account",
                f"{SITE}: account is {site.account!r}, but this cluster has no accounts",
                f"leave `account` out of {SITE}",
            )
        ]
    if allowed is None:
        return []
    accounts = {account for account, _ in allowed}
    if not allowed and "associations" in cluster.settings.get("AccountingStorageEnforce", ""):
        return [
            error(
                "account",
                "this user has none, and the cluster takes jobs only from those who have",
                "ask the administrators for an account",
            )
        ]
    if site.account and site.account.lower() not in accounts:
        return [_unknown("account", "account", site.account, accounts, "this user's accounts")]
    mine = {qos for account, qos in allowed if account == (site.account or account).lower()}
    findings = [ok("account", site.account or "the cluster's default")]
    for gpu in (False, True) if site.gpu else (False,):
        qos = site.requests(gpu=gpu).get("qos")
        if qos and qos not in mine:
            key = "gpu.qos" if gpu and site.gpu and site.gpu.qos else "qos"
            findings.append(_unknown("QOS", key, qos, mine, "this account's QOS"))
    return findings


def check_partition(cluster: Cluster, site: Site, *, gpu: bool) -> list[Finding]:
    """Whether the partitions exist, take jobs, and take them from this account and QOS."""
    asked = site.requests(gpu=gpu)
    own = gpu and site.gpu is not None and site.gpu.partition is not None
    about, key = ("GPU partition", "gpu.partition") if own else ("partition", "partition")
    if "slurm_partition" not in asked:
        if default := _default(cluster):
            return [_state(about, cluster, default, asked)]
        told = f"{SITE} names none, and this cluster has no default one"
        mend = f"set {key} in {SITE}. {choices('', cluster.partitions)}"
        return [error(about, told, mend)]
    names = asked["slurm_partition"].split(",")
    return [
        _state(about, cluster, cluster.partitions[name], asked)
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


def _state(about: str, cluster: Cluster, partition: Partition, asked: Mapping[str, str]) -> Finding:
    here, others = partition.name, [n for n in cluster.partitions if n != partition.name]
    another = f"name another one in {SITE} ({', '.join(others)})" if others else "wait"
    if not partition.up:
        told = f"{here} is not up, and takes no jobs or starts none"
        return error(about, told, f"{another}, or ask the administrators: sinfo -p {here}")
    for kind, resource in (("Accounts", "slurm_account"), ("Qos", "qos")):
        rules, value = cluster.rules.get(here, {}), asked.get(resource)
        if value and not _allows(rules, kind, value):
            word = resource.removeprefix("slurm_")
            allowed = rules.get(f"Allow{kind}", "ALL")
            told = f"{here} takes no jobs of {word} {value!r}"
            return error(
                about, told, f"name another partition or {word} in {SITE}; {here} takes: {allowed}"
            )
    if partition.states <= IDLE_STATES:
        told = f"none of the nodes of {here} takes jobs: {', '.join(sorted(partition.states))}"
        return warning(about, told, f"{another}; jobs wait until a node comes back: sinfo -R")
    return ok(about, f"{here} is up; nodes: {partition.nodes}")


def _allows(rules: Mapping[str, str], kind: str, value: str) -> bool:
    allowed = rules.get(f"Allow{kind}", "ALL").split(",")
    denied = rules.get(f"Deny{kind}", "").split(",")
    return allowed in (["ALL"], [""]) or value in allowed if value not in denied else False


def _unknown(about: str, key: str, value: str, allowed: Collection[str], what: str) -> Finding:
    return error(
        about,
        f"{SITE}: {key} is {value!r}, which is none of {what}",
        f"set {key} in {SITE}. {choices(value, allowed)}",
    )


def check_gpu(cluster: Cluster, site: Site, places: Sequence[Partition]) -> Finding:
    """Whether there are GPUs of the type asked for where they are asked for."""
    asked = site.gpu.type if site.gpu else None
    where = ", ".join(place.name for place in places)
    types = {kind for place in places for kind in _gpu_types(place)}
    if not types:
        others = [p.name for p in cluster.partitions.values() if _gpu_types(p)]
        hint = f"set gpu.partition in {SITE} to one that has: {', '.join(others)}"
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


def check_times(
    cluster: Cluster, site: Site, places: Mapping[bool, Sequence[Partition]], runs: Sequence[Ask]
) -> list[Finding]:
    """Whether partition and QOS allow each job's time limit; else it would wait for ever."""
    findings = []
    limits: list[int] = []
    wrong: list[tuple[str, str]] = []
    for gpu, there in places.items():
        need = max((run.minutes for run in runs if run.gpu == gpu), default=None)
        if need is None or not there:
            continue
        limit, what = _limit(cluster, site, there, gpu=gpu)
        about = "time limit of GPU jobs" if gpu else "time limit"
        if limit is None or need <= limit:
            shown = "none" if limit is None else f"{limit} minutes"
            findings.append(
                ok(about, f"jobs ask for up to {need} minutes; limit of {what}: {shown}")
            )
            continue
        limits.append(limit)
        told = f"jobs ask for up to {need} minutes, {what} allows {limit}: they would never start"
        wrong.append((about, told))
    mend = f"`longest_job: {min(limits, default=0)}` in {SITE}; longer runs go on in their next job"
    return findings + [error(about, told, mend) for about, told in wrong]


def _limit(
    cluster: Cluster, site: Site, there: Sequence[Partition], *, gpu: bool
) -> tuple[int | None, str]:
    """The longest that a job may run [minutes], None if there is no limit, and who says so."""
    best = max(there, key=lambda place: math.inf if place.longest is None else place.longest)
    qos = site.requests(gpu=gpu).get("qos", "")
    wall = (cluster.longest or {}).get(qos)
    if wall is not None and (best.longest is None or wall < best.longest):
        return wall, f"QOS {qos}"
    return best.longest, f"partition {best.name}"


def check_attempts(site: Site, runs: Sequence[Ask]) -> list[Finding]:
    """Whether each run can finish within the jobs that it gets."""
    if not runs:
        return []
    long = [run for run in runs if run.jobs > ATTEMPTS]
    worst = max(runs, key=lambda run: run.jobs)
    if not long:
        return [ok("jobs of a run", f"{worst.jobs} at most, one after another")]
    return [
        warning(
            "jobs of a run",
            f"{len(long)} of {len(runs)} runs need more than {ATTEMPTS} jobs of {worst.minutes} "
            f"minutes ({worst.run}: {worst.jobs}), after which they count as failed",
            f"raise longest_job in {SITE} (now {site.longest_job}), where the partition allows it; "
            "or give the same command again: they go on where they stopped",
        )
    ]
