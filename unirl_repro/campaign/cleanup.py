"""Which checkpoints nothing needs any more, and removing them without harm to any other."""

import base64
import json
import os
import re
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from unirl_repro.campaign import archive, state
from unirl_repro.campaign.archive import ArchiveError
from unirl_repro.campaign.columns import mib, number, table
from unirl_repro.campaign.places import Places
from unirl_repro.checkpoint import BusyError, DamagedError, Store
from unirl_repro.config import Config, ConfigError, RunKey, RunSpec
from unirl_repro.fingerprint import fingerprint

FOLDER = re.compile(r"[0-9a-f]{24}")  # a run's checkpoints, named by its fingerprint
LONGEST_ROW = 2**16
LISTED = 40


class InUseError(RuntimeError):
    """Snakemake may go back to the checkpoints of finished runs."""


class ChangedError(RuntimeError):
    """What was listed is no longer what it was."""


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


# What keeps one folder and not the others.
KEEPS = (ArchiveError, BusyError, ChangedError, DamagedError, OSError, ValueError, KeyError)


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

    Raises
    ------
    InUseError
        If finished runs are asked for, and Snakemake may go back to them.
    """
    if finished:
        check_settled(places)
    judge = _Judge(config, places, finished)
    found: list[Removal] = []
    for folder in sorted(places.checkpoints.glob("*")):
        # A link could lead out of the results, and a folder of another name is not ours.
        if not FOLDER.fullmatch(folder.name) or folder.is_symlink() or not folder.is_dir():
            continue
        try:
            removal = judge(folder)
        except KEEPS as error:
            tell(f"{folder} stays as it is: {error}")
        else:
            found += [removal] if removal else []
    return found


def remove(
    removals: Sequence[Removal],
    config: Config,
    places: Places,
    *,
    finished: bool = False,
    tell: Callable[[str], None] = warn,
) -> int:
    """Remove them; what a trainer holds stays. Stopped at any moment, what is left still loads.

    Time may have passed since they were listed. So each is judged again while no trainer can
    have it, and stays if it has become something else.

    Parameters
    ----------
    removals : sequence of Removal
        From `removable`.
    config, places, finished
        As for `removable`; the configuration as it is now.
    tell : callable, optional
        Gets a line for what stays.

    Returns
    -------
    int
        Bytes freed.

    Raises
    ------
    InUseError
        As `removable`.
    """
    if finished:
        check_settled(places)
    judge = _Judge(config, places, finished)
    freed = 0
    for removal in removals:
        try:
            for size in _remove(removal, judge):
                freed += size
        except KEEPS as error:
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


def check_settled(places: Places) -> None:
    """See that Snakemake does not go back to finished runs, which would have to start anew.

    It does while it runs: a job of several runs that is tried again rewrites the results of the
    finished ones from their last checkpoint. And it does where it was killed, by what it noted.

    Raises
    ------
    InUseError
        If it may.
    """
    home = places.root.parent / ".snakemake"
    again = "give the same snakemake command again and let it end. Nothing was removed."
    if any((home / "locks").glob("*")):
        raise InUseError(
            f"{home}/locks: a Snakemake runs here, and may need the last checkpoints of finished "
            f"runs. Wait until it ends; if it was killed: `snakemake --unlock`, then {again}"
        )
    if begun := sorted(_incomplete(home / "incomplete")):
        raise InUseError(
            f"{home}/incomplete: Snakemake was stopped while it made {begun[0]}"
            f"{f' and {len(begun) - 1} more' if len(begun) > 1 else ''}, and makes them again, "
            f"which may need the last checkpoints of finished runs. For that, {again} If no target "
            f"needs such a file any more: `snakemake --cleanup-metadata {begun[0]}`"
        )


def _incomplete(folder: Path) -> Iterator[str]:
    """Files that Snakemake began: its marks have their names in base 64, long ones in pieces."""
    for path in folder.rglob("*"):
        if path.is_file():
            pieces = (piece.removeprefix("@") for piece in path.relative_to(folder).parts)
            try:
                yield base64.urlsafe_b64decode("".join(pieces)).decode()
            except ValueError:  # of another version of Snakemake
                yield str(path)


@dataclass(frozen=True)
class _Judge:
    """Says of a run's folder what of it nothing needs, as things are at that moment."""

    config: Config
    places: Places
    finished: bool

    def __call__(self, folder: Path) -> Removal | None:
        wanted = self._specs.get(folder.name)
        spec = wanted or _begun_by_hand(folder, self.config, self.places.scale)
        return _of_run(spec, folder, self.places, self.finished) if spec else _of_stale(folder)

    @cached_property
    def _specs(self) -> dict[str, RunSpec]:
        return {fingerprint(spec): spec for spec in self.config.runs(self.places.scale).values()}


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


def _of_stale(folder: Path) -> Removal:
    key = _key(folder)
    run = "{}/{}/seed{}: ".format(*key) if key else ""
    why = f"{run}no run of today's settings and code"
    return Removal(folder, _size(Store(folder).files()), why, whole=True)


def _of_run(spec: RunSpec, folder: Path, places: Places, finished: bool) -> Removal | None:
    if state.run_state(spec, places).kind != "finished":
        return None
    archive.read_run(places.run(spec.key))
    if finished:
        why = f"{state.name(spec)}: finished, its results are whole"
        return Removal(folder, _size(Store(folder).files()), why, whole=True)
    spare = Store(folder).spare_files()
    why = f"{state.name(spec)}: finished, older than its newest checkpoint"
    return Removal(folder, _size(spare), why, whole=False) if spare else None


def _remove(removal: Removal, judge: _Judge) -> Iterator[int]:
    """Remove file by file; gives the size of each."""
    if not removal.path.is_dir():
        return
    store = Store(removal.path)
    store.lock(f"gc, process {os.getpid()} on {socket.gethostname()}")
    try:
        now = judge(removal.path)
        if now is None or (now.why, now.whole) != (removal.why, removal.whole):
            raise ChangedError(f"it was listed as '{removal.why}', which it no longer is")
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
