"""Whether a folder can hold results: its file system, locks, space and quota."""

import getpass
import os
import re
import shutil
import subprocess
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path

from unirl_repro.campaign.finding import Finding, error, ok, warning
from unirl_repro.files import write_text

ABOUT = "results folder"
# File systems that one machine has for itself.
LOCAL = {"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "tmpfs", "ramfs", "overlay"}
# Options with which locks do not reach other machines.
LONELY_LOCKS = {"nolock", "local_lock=all", "local_lock=flock", "localflock"}
LEAST_FREE = 2**28  # bytes; with less, hardly a run can save
PATIENCE = 10  # seconds for a quota command
GIB = 2**30
# Says whether it could take a lock; alone, without the site's packages, it starts in 20 ms. On NFS
# only a file that is open for writing can be locked for one process alone.
TRY_LOCK = """
import fcntl, sys
try:
    fcntl.flock(open(sys.argv[1], "r+"), fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    sys.exit(3)
"""
HELD = 3


@dataclass(frozen=True)
class Mount:
    """Where a file system is mounted, and how."""

    source: str
    point: Path
    kind: str
    options: frozenset[str]


@dataclass(frozen=True)
class Room:
    """What a user may still put on a file system; None where there is no limit.

    Attributes
    ----------
    bytes, files : int or None
        Left to the first limit, which may be a quota's soft one.
    hard : int or None
        Bytes left to the limit where nothing more is written.
    """

    bytes: int | None
    files: int | None
    hard: int | None


@dataclass(frozen=True)
class Need:
    """What runs will put there."""

    bytes: int
    files: int


def mount_of(path: Path, table: str) -> Mount | None:
    """The mount that a path lies on.

    Parameters
    ----------
    path : Path
        Absolute, without links.
    table : str
        Content of /proc/mounts.
    """
    found = None
    for line in table.splitlines():
        source, point, kind, options = (_unescape(field) for field in line.split()[:4])
        deeper = found is None or len(Path(point).parts) >= len(found.point.parts)
        if path.is_relative_to(point) and deeper:  # of two at one place, the later covers
            found = Mount(source, Path(point), kind, frozenset(options.split(",")))
    return found


def _unescape(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)


def check_mount(folder: Path, mount: Mount, nodes: int) -> Finding:
    """Whether a cluster's other machines see this file system, and each other's locks on it."""
    told = f"{folder} is on {mount.point} ({mount.kind})"
    if lonely := mount.options & LONELY_LOCKS:
        wrong = error if nodes > 1 else warning
        return wrong(
            "file system",
            f"{told}, mounted with {', '.join(sorted(lonely))}: locks do not reach other nodes, "
            "and two jobs could train the same run",
            "move the checkout to a file system with locks (or make results/ a link to one), or "
            "ask the administrators to mount it without this option",
        )
    if mount.kind in LOCAL and nodes > 1:
        return warning(
            "file system",
            f"{told}, which is of a kind that one machine has for itself; the cluster has {nodes} "
            "nodes",
            "move the checkout to a file system that all nodes share, or see whether they do see "
            "it: unirl-repro preflight --probe",
        )
    return ok("file system", told)


def check_use(folder: Path) -> list[Finding]:
    """Whether files can be written and locked there; both are tried.

    Parameters
    ----------
    folder : Path
        Made if it is not there.
    """
    trial = folder / f".preflight-{uuid.uuid4().hex}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_text(trial, "trial")
        return [ok(ABOUT, "files are written and synchronised"), check_locks(trial)]
    except OSError as problem:
        return [
            error(
                ABOUT,
                f"{problem.filename or folder}: {problem.strerror}",
                f"make {folder} a folder that this user can write, with space left: "
                f"ls -ld {folder}; df -h {folder}",
            )
        ]
    finally:
        _remove(trial)


def _remove(file: Path) -> None:
    if os.access(file, os.F_OK):
        file.unlink()


def check_locks(file: Path) -> Finding:
    """Whether a lock that one process holds is seen by another."""
    import fcntl

    mend = "move the checkout to a file system with flock (Lustre: mounted with the option flock)"
    with file.open("r+") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as problem:
            return error("locks", f"flock does not work there: {problem.strerror}", mend)
        seen = _try_lock(file) == HELD
    if not seen:
        return error("locks", "a second process got a lock that is held by the first", mend)
    return ok("locks", "one process at a time holds a lock there")


def _try_lock(file: Path) -> int:
    command = [sys.executable, "-I", "-S", "-c", TRY_LOCK, str(file)]
    return subprocess.run(command, capture_output=True, check=False).returncode


def check_space(folder: Path, what: str, room: Room, need: Need) -> list[Finding]:
    """Whether what the runs will write fits.

    Parameters
    ----------
    folder : Path
    what : str
        Who sets the limit: "space" of the file system, or "quota".
    room : Room
        What is left there.
    need : Need
        Of the runs that are not finished.
    """
    mend = (
        f"make room there, or make {folder} a link to a larger file system; `unirl-repro gc` "
        "removes checkpoints that no run needs"
    )
    findings = []
    if room.bytes is not None:
        left, asked = f"{room.bytes / GIB:.1f} GiB", f"{need.bytes / GIB:.1f} GiB"
        told = f"{left} left, unfinished runs need {asked}"
        if room.bytes >= need.bytes:
            findings.append(ok(what, told))
        else:  # jobs that find no space fail, and go on once there is some
            full = room.hard is not None and room.hard < LEAST_FREE
            findings.append((error if full else warning)(what, told, mend))
    if room.files is not None and room.files < need.files:
        told = f"{room.files} more files may be made, unfinished runs need {need.files}"
        findings.append(warning(what, told, mend))
    return findings


def free(folder: Path) -> Room:
    """What this user can still put there, if there were no quota."""
    found = os.statvfs(folder)
    # File systems that make room for files as they go say that they have none at all.
    left = found.f_bavail * found.f_frsize
    return Room(left, found.f_favail if found.f_files else None, left)


def read_quota(mount: Mount) -> Room | None:
    """This user's quota on a file system; None where there is none, or none that can be read."""
    if mount.kind == "lustre":
        told = _told("lfs", "quota", "-q", "-u", getpass.getuser(), str(mount.point))
    else:
        told = _told("quota", "-w", "-p")  # raw grace times, so that no column is blank
    return parse_quota(told, mount)


def _told(*command: str) -> str:
    if shutil.which(command[0]) is None:
        return ""
    try:  # a user over quota is told so by the exit code, too
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        return ""
    return done.stdout


def parse_quota(told: str, mount: Mount) -> Room | None:
    """A file system's row: used, soft limit, hard limit and grace of blocks, then of files.

    Parameters
    ----------
    told : str
        Output of ``quota -w -p`` or ``lfs quota -q``; a long name may stand in a line of its own.
    mount : Mount
        Rows name its source or its mount point.
    """
    names = {mount.source, str(mount.point)}
    words = told.split()
    for at, word in enumerate(words):
        row = [_number(field) for field in words[at + 1 : at + 8]]
        if word in names and len(row) == 7 and None not in row[:3] + row[4:]:
            used, soft, hard, _, *files = (count or 0 for count in row)
            return Room(
                _left(1024 * used, 1024 * soft, 1024 * hard),
                _left(*files),
                _left(1024 * used, 1024 * hard),
            )
    return None


def _left(used: int, *limits: int) -> int | None:
    found = [limit for limit in limits if limit]  # 0 means none
    return max(0, min(found) - used) if found else None


def _number(field: str) -> int | None:
    """Without the mark of one over quota (``*``), or of one that is not certain (``[ ]``)."""
    digits = field.strip("*[]")
    return int(digits) if digits.isdigit() else None
