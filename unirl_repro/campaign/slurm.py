"""What is asked of SLURM, as typed answers; nothing here decides anything."""

import getpass
import os
import shutil
import subprocess
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

COMMANDS = ("sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo")
JOB_NAMES = "unirl"  # profiles/slurm: slurm-jobname-prefix; Snakemake adds the id of its own run
PATIENCE = 60  # seconds that a busy controller gets to answer


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


def partitions() -> dict[str, Partition]:
    """All partitions by name."""
    lines = ask("sinfo", "--noheader", "--format=%P|%a|%l|%G|%T|%D|%m|%c").splitlines()
    found: dict[str, list[list[str]]] = {}
    for line in lines:
        fields = line.split("|")
        found.setdefault(fields[0].rstrip("*"), []).append(fields)
    return {name: _partition(name, rows) for name, rows in found.items()}


def _partition(name: str, rows: list[list[str]]) -> Partition:
    gres = {entry.partition("(")[0] for row in rows for entry in _gres(row[3])}
    return Partition(
        name=name,
        default=rows[0][0].endswith("*"),
        up=rows[0][1] == "up",
        longest=minutes(rows[0][2]),
        gres=frozenset(gres),
        states=frozenset(row[4].rstrip("*~#!%$@^-") for row in rows),
        memory_mb=max(int(row[6].rstrip("+")) for row in rows),
        cpus=max(int(row[7].rstrip("+")) for row in rows),
        nodes=sum(int(row[5]) for row in rows),
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
    """
    if limit in ("infinite", "UNLIMITED", "n/a"):
        return None
    days, _, clock = limit.rpartition("-")
    parts = [int(part) for part in clock.split(":")]
    hours, mins, _ = [0] * (3 - len(parts)) + parts
    return int(days or 0) * 24 * 60 + hours * 60 + mins


def associations() -> set[tuple[str, str]] | None:
    """Accounts that this user may use, each with the QOS allowed there; None without accounting."""
    if shutil.which("sacctmgr") is None or not has_accounting():
        return None
    user = f"user={getpass.getuser()}"
    told = ask("sacctmgr", "-nP", "show", "associations", user, "format=account,qos")
    found = set()
    for line in told.splitlines():
        account, _, names = line.partition("|")
        found |= {(account, qos) for qos in names.split(",")}
    return found


def has_accounting() -> bool:
    """Whether finished jobs can be looked up with sacct."""
    told = ask("scontrol", "show", "config")
    kinds = [line for line in told.splitlines() if line.startswith("AccountingStorageType")]
    return not any("none" in kind for kind in kinds)


def job_states(job: str) -> set[str]:
    """States of a job and of its steps; empty where SLURM does not know it any more."""
    try:
        told = ask("sacct", "-nP", "-j", job, "--format=State")
    except SlurmError:
        told = ""
    states = {line.split()[0] for line in told.splitlines() if line.strip()}
    return states or _controllers_states(job)


def _controllers_states(job: str) -> set[str]:
    """Without accounting, the controller remembers a finished job for minutes."""
    try:
        told = ask("scontrol", "--oneliner", "show", "job", job)
    except SlurmError:
        return set()
    return {word.removeprefix("JobState=") for word in told.split() if word.startswith("JobState=")}


def jobs_of(folder: Path, prefix: str = JOB_NAMES) -> list[Job]:
    """This user's jobs in the queue that were submitted from `folder` under such a name."""
    user = f"--user={getpass.getuser()}"
    told = ask("squeue", "--noheader", user, "--array", "--format=%i|%j|%T|%Z")
    rows = [line.split("|", 3) for line in told.splitlines()]
    return [
        Job(job, name, state)
        for job, name, state, place in rows
        if name.startswith(f"{prefix}_") and Path(place) == folder
    ]


def cancel(jobs: Collection[Job]) -> None:
    """Cancel jobs; those that train get SIGTERM first, and save."""
    if jobs:
        ask("scancel", *(job.id for job in jobs))


def ask(*command: str) -> str:
    """Output of a SLURM command.

    Raises
    ------
    SlurmError
        If there is no such command, it fails, or it does not answer in a minute.
    """
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("SQUEUE_", "SINFO_"))}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=PATIENCE, check=False, env=plain
        )
    except FileNotFoundError:
        raise SlurmError(f"there is no {command[0]} on this machine") from None
    except subprocess.TimeoutExpired:
        raise SlurmError(f"{command[0]} did not answer in {PATIENCE} s") from None
    if done.returncode != 0:
        raise SlurmError(f"{command[0]} says: {(done.stderr or done.stdout).strip()}")
    return done.stdout
