"""Which checkpoints nothing needs any more, and removing them without harm to any other."""

import json
import os
import re
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from unirl_repro.campaign.archive import ArchiveError, read_run
from unirl_repro.campaign.columns import mib, number, table
from unirl_repro.campaign.places import Places
from unirl_repro.campaign.state import name, run_state
from unirl_repro.checkpoint import BusyError, DamagedError, Store
from unirl_repro.config import Config, ConfigError, RunKey, RunSpec
from unirl_repro.fingerprint import fingerprint

FOLDER = re.compile(r"[0-9a-f]{24}")  # a run's checkpoints, named by its fingerprint
LONGEST_ROW = 2**16
LISTED = 40


@dataclass(frozen=True)
class Removal:
    """Something under checkpoints/ that can go.

    Attributes
    ----------
    path : Path
        The folder of one run's checkpoints.
    bytes : int
        That this frees.
    why : str
        Whose it is, and why nothing needs it.
    whole : bool
        All of it; else what the newest checkpoint in it does without.
    """

    path: Path
    bytes: int
    why: str
    whole: bool


def warn(text: str) -> None:
    """Say on stderr what stays, and why."""
    print(f"warning: {text}", file=sys.stderr, flush=True)


def removable(
    config: Config,
    places: Places,
    *,
    finished: bool = False,
    tell: Callable[[str], None] = warn,
) -> list[Removal]:
    """Checkpoints of stale runs, and of finished runs all but the newest.

    Parameters
    ----------
    config : Config
        The experiment: a run of none of its settings, or of other code, is stale.
    places : Places
        Where results lie, and at which scale.
    finished : bool, default False
        The newest of finished runs too, if their results are whole.
    tell : callable, optional
        Gets a line for what cannot be removed.
    """
    specs = {fingerprint(spec): spec for spec in config.runs(places.scale).values()}
    found: list[Removal] = []
    for folder in sorted(places.checkpoints.glob("*")):
        # A link could lead out of the results, and a folder of another name is not ours.
        if not FOLDER.fullmatch(folder.name) or folder.is_symlink() or not folder.is_dir():
            continue
        spec = specs.get(folder.name) or _begun_by_hand(folder, config, places.scale)
        try:
            found += _of_stale(folder) if spec is None else _of_run(spec, folder, places, finished)
        except (ArchiveError, DamagedError, OSError, ValueError, KeyError) as error:
            tell(f"{folder} stays as it is: {error}")
    return found


def remove(removals: Sequence[Removal], tell: Callable[[str], None] = warn) -> int:
    """Remove them; what a trainer holds stays. Stopped at any moment, what is left still loads.

    Parameters
    ----------
    removals : sequence of Removal
        From `removable`.
    tell : callable, optional
        Gets a line for what stays.

    Returns
    -------
    int
        Bytes freed.
    """
    freed = 0
    for removal in removals:
        try:
            for size in _remove(removal):
                freed += size
        except (BusyError, DamagedError, OSError, ValueError, KeyError) as error:
            tell(f"{removal.path} stays: {error}")
    return freed


def text(removals: Sequence[Removal], places: Places) -> str:
    """A line for each, and their sum."""
    if not removals:
        return f"Nothing to remove in {places.checkpoints}."
    rows = [(removal.path.name, mib(removal.bytes), removal.why) for removal in removals[:LISTED]]
    lines = [f"In {places.checkpoints} nothing needs:", table(("", "MiB", ""), rows)]
    if len(removals) > LISTED:
        lines.append(f"and {number(len(removals) - LISTED)} more, which --json lists")
    total = mib(sum(removal.bytes for removal in removals))
    return "\n".join([*lines, f"Together: {total} MiB of {number(len(removals))} runs."])


def _begun_by_hand(folder: Path, config: Config, scale: str) -> RunSpec | None:
    """The run of today's settings and code that this is, though no study asks for it."""
    key = _key(folder)
    try:
        spec = config.spec(*key, scale) if key else None
    except ConfigError:
        return None
    return spec if spec and fingerprint(spec) == folder.name else None


def _key(folder: Path) -> RunKey | None:
    """Which run it is, by the first row of its curve."""
    try:
        with (folder / "progress.jsonl").open("rb") as file:
            row = json.loads(file.readline(LONGEST_ROW))
        return str(row["task"]), str(row["variant"]), int(row["seed"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _of_stale(folder: Path) -> list[Removal]:
    key = _key(folder)
    run = "{}/{}/seed{}: ".format(*key) if key else ""
    why = f"{run}no run of today's settings and code"
    return [Removal(folder, _size(Store(folder).files()), why, whole=True)]


def _of_run(spec: RunSpec, folder: Path, places: Places, finished: bool) -> list[Removal]:
    if run_state(spec, places).kind != "finished":
        return []
    read_run(places.run(spec.key))
    if finished:
        why = f"{name(spec)}: finished, its results are whole"
        return [Removal(folder, _size(Store(folder).files()), why, whole=True)]
    spare = Store(folder).spare_files()
    why = f"{name(spec)}: finished, older than its newest checkpoint"
    return [Removal(folder, _size(spare), why, whole=False)] if spare else []


def _remove(removal: Removal) -> Iterator[int]:
    """Remove file by file; gives the size of each."""
    if not removal.path.is_dir():
        return
    store = Store(removal.path)
    store.lock(f"gc, process {os.getpid()} on {socket.gethostname()}")
    try:
        paths = store.files() if removal.whole else store.spare_files()
        if paths and not removal.whole:
            store.check_newest()
        for path in paths:
            size = path.stat().st_size
            path.unlink()
            yield size
        if removal.whole:
            (removal.path / "lock").unlink()
    finally:
        store.close()
    if removal.whole and not any(removal.path.iterdir()):
        removal.path.rmdir()


def _size(paths: Sequence[Path]) -> int:
    return sum(path.stat().st_size for path in paths)
