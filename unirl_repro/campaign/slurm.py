"""What is asked of SLURM, as typed answers; nothing here decides anything."""

import getpass
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

COMMANDS = ("sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo")
# profiles/slurm: slurm-jobname-prefix, to which Snakemake adds the id (uuid4) of its own run.
JOB_NAME = re.compile(r"unirl_[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
PATIENCE = 60  # seconds that a busy controller gets to answer

_T = TypeVar("_T")


class SlurmError(RuntimeError):
    """A SLURM command failed; the text has what it said."""


@dataclass(frozen=True)
class Partition:
    """A partition, over all kinds of nodes in it.

    Attributes
    ----------
    name : str
    default, up : bool
    longest : int or None
        Time limit [minutes]; None if there is none.
    gres : frozenset of str
        Generic resources of its nodes, such as ``gpu:h200:2``.
    states : frozenset of str
        States that its nodes are in.
    memory_mb, cpus : int
        Of its largest node.
    nodes : int
    """

    name: str
    default: bool
    up: bool
    longest: int | None
    gres: frozenset[str]
    states: frozenset[str]
    memory_mb: int
    cpus: int
    nodes: int


@dataclass(frozen=True)
class QOS:
    """A quality of service.

    Attributes
    ----------
    longest : int or None
        Time limit of its jobs [minutes]; None if there is none.
    lifts_limit : bool
        Whether the time limit of a partition does not hold for its jobs.
    """

    longest: int | None
    lifts_limit: bool


@dataclass(frozen=True)
class Job:
    """A job in the queue."""

    id: str
    name: str
    state: str


def missing() -> list[str]:
    """Commands of SLURM that are not on this machine."""
    return [command for command in COMMANDS if shutil.which(command) is None]


def responds() -> str:
    """Empty if the controller answers; else what was said."""
    try:
        told = ask("scontrol", "ping")
    except SlurmError as error:
        return str(error)
    return "" if " UP" in told else told.strip()


def settings() -> dict[str, str]:
    """The controller's settings: ``scontrol show config``."""
    rows = (line.partition("=") for line in ask("scontrol", "show", "config").splitlines())
    return {key.strip(): value.strip() for key, _, value in rows}


def has_accounting(settings: Mapping[str, str]) -> bool:
    """Whether a database keeps accounts, QOS and finished jobs."""
    kind = settings.get("AccountingStorageType", "")
    return kind not in ("(null)", "accounting_storage/none", "")


def partitions() -> dict[str, Partition]:
    """All partitions by name, hidden ones too."""
    # Without --exact, nodes of different sizes are one line, with the least of them.
    told = ask("sinfo", "--noheader", "--all", "--exact", "--format=%P|%a|%l|%G|%T|%D|%m|%c")
    found: dict[str, Partition] = {}
    for part in _parsed(told, _partition):
        before = found.get(part.name)
        found[part.name] = part if before is None else _together(before, part)
    return found


def _partition(line: str) -> Partition:
    """Of one kind of nodes."""
    name, up, longest, gres, state, nodes, memory, cpus = line.split("|")
    return Partition(
        name=name.rstrip("*"),
        default=name.endswith("*"),
        up=up == "up",
        longest=minutes(longest),
        gres=frozenset(entry.partition("(")[0] for entry in _gres(gres)),
        states=frozenset({state.rstrip("*~#!%$@^-")}),
        memory_mb=int(memory),
        cpus=int(cpus),
        nodes=int(nodes),
    )


def _together(one: Partition, other: Partition) -> Partition:
    return replace(
        one,
        gres=one.gres | other.gres,
        states=one.states | other.states,
        memory_mb=max(one.memory_mb, other.memory_mb),
        cpus=max(one.cpus, other.cpus),
        nodes=one.nodes + other.nodes,
    )


def _gres(text: str) -> list[str]:
    """``gpu:a100:4(S:0-1),shard:8`` without its sockets, which may hold commas themselves."""
    found, depth = [""], 0
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            found.append("")
        else:
            found[-1] += letter
    return [entry for entry in found if entry != "(null)"]


def minutes(limit: str) -> int | None:
    """SLURM's ``days-hours:minutes:seconds`` in minutes; None where there is no limit.

    Examples
    --------
    >>> minutes("1-02:30:00"), minutes("30:00"), minutes("infinite")
    (1590, 30, None)

    Raises
    ------
    ValueError
        If it is none of this.
    """
    if limit in ("infinite", "UNLIMITED", "NONE", "n/a", ""):
        return None
    match = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", limit)
    if match is None:
        raise ValueError(f"{limit!r} is no time limit")
    days, hours, mins, _ = (int(part or 0) for part in match.groups())
    return days * 24 * 60 + hours * 60 + mins


def associations(cluster: str) -> set[tuple[str, str]]:
    """Accounts that this user may use on a cluster, each with the QOS allowed there."""
    who = (f"user={getpass.getuser()}", f"cluster={cluster}")
    told = ask("sacctmgr", "-nP", "show", "associations", *who, "format=account,qos")
    rows = [line.lower().partition("|") for line in told.splitlines()]  # case means nothing
    return {(account, qos) for account, _, names in rows for qos in names.split(",")}


def all_qos() -> dict[str, QOS]:
    """All qualities of service by name, in small letters."""
    told = ask("sacctmgr", "-nP", "show", "qos", "format=name,maxwall,flags")
    return dict(_parsed(told, _qos))


def _qos(line: str) -> tuple[str, QOS]:
    name, longest, flags = line.split("|")
    return name.lower(), QOS(minutes(longest), "PartitionTimeLimit" in flags.split(","))


def job_states(job: str, patience: float | None = None) -> frozenset[str]:
    """States of a job and of its steps; empty where SLURM does not know it any more, or is silent.

    Parameters
    ----------
    job : str
        Its id.
    patience : float, optional
        Seconds that accounting, and then the controller, get to answer.
    """
    try:
        told = ask("sacct", "-nP", "-j", job, "--format=State", patience=patience)
    except SlurmError:
        told = ""
    states = frozenset(line.split()[0] for line in told.splitlines() if line.strip())
    return states or _controllers_states(job, patience)


def _controllers_states(job: str, patience: float | None) -> frozenset[str]:
    """Without accounting, the controller remembers a finished job for minutes."""
    try:
        told = ask("scontrol", "--oneliner", "show", "job", job, patience=patience)
    except SlurmError:
        return frozenset()
    return frozenset(re.findall(r"(?<!\S)JobState=(\S+)", told))


def jobs_of(folder: Path) -> list[Job]:
    """Jobs in the queue that this user's Snakemake submitted from `folder`."""
    user = f"--user={getpass.getuser()}"
    told = ask("squeue", "--noheader", user, "--array", "--format=%i|%j|%T|%Z")
    rows = _parsed(told, _job)
    return [job for job, place in rows if JOB_NAME.fullmatch(job.name) and place == folder]


def _job(line: str) -> tuple[Job, Path]:
    job, name, state, place = line.split("|", 3)
    return Job(job, name, state), Path(place)


def cancel(jobs: Collection[Job]) -> None:
    """Cancel jobs; those that train get SIGTERM first, and save."""
    if jobs:
        ask("scancel", *(job.id for job in jobs))


def ask(*command: str, patience: float | None = None) -> str:
    """Output of a SLURM command.

    Parameters
    ----------
    command : str
        Program and arguments.
    patience : float, optional
        Seconds that it gets; `PATIENCE` by default.

    Raises
    ------
    SlurmError
        If there is no such command, it fails, or it does not answer in time.
    """
    patience = PATIENCE if patience is None else patience
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("SQUEUE_", "SINFO_"))}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=patience, check=False, env=plain
        )
    except FileNotFoundError:
        raise SlurmError(f"there is no {command[0]} on this machine") from None
    except subprocess.TimeoutExpired:
        raise SlurmError(f"{command[0]} did not answer in {patience:g} s") from None
    if done.returncode != 0:
        raise SlurmError(f"{command[0]} says: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def _parsed(told: str, parse: Callable[[str], _T]) -> list[_T]:
    """Each line of an answer, taken apart.

    Raises
    ------
    SlurmError
        Naming a line that is not as it should be.
    """
    found = []
    for line in filter(str.strip, told.splitlines()):
        try:
            found.append(parse(line))
        except ValueError as problem:
            raise SlurmError(f"its answer {line!r} is not understood: {problem}") from None
    return found
