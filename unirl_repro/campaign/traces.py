"""What runs leave on disk, read while they may be running: nothing is locked, nothing written.

What cannot be read counts as not there, and is named.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unirl_repro.campaign import state
from unirl_repro.campaign.places import Places
from unirl_repro.campaign.state import State
from unirl_repro.config import RunSpec
from unirl_repro.fingerprint import fingerprint

TAIL_BYTES = 2**13  # of a live curve; ten episodes with five metrics each take two thirds of it


@dataclass(frozen=True)
class Trace:
    """What one run has left; empty where there is nothing that can be read.

    Attributes
    ----------
    results : State
        What its folder of results amounts to.
    manifest : dict
        run.json, if it is of today's settings and code.
    status : dict
        The last word of the last attempt.
    segments : list of dict
        All attempts, as far as they are known.
    rows : list of dict
        The last ones of the live curve of a run that is not finished.
    touched : float or None
        When the last row came, in seconds since the epoch.
    saved : int
        Step of the newest checkpoint.
    """

    results: State
    manifest: dict[str, Any]
    status: dict[str, Any]
    segments: list[dict[str, Any]]
    rows: list[dict[str, Any]]
    touched: float | None
    saved: int


def read(spec: RunSpec, places: Places, problems: list[str]) -> Trace:
    """Read what a run has left; what is damaged is added to `problems`.

    Parameters
    ----------
    spec : RunSpec
        The run.
    places : Places
        Where results lie.
    problems : list of str
        Gets a line for each file that cannot be read.
    """
    folder = places.checkpoints / fingerprint(spec)
    path = places.run(spec.key) / "run.json"
    manifest, status = _read_json(path, problems), _read_json(folder / "status.json", problems)
    if manifest:
        results = state.run_state(spec, places)
    else:
        results = State("stale", "run.json cannot be read") if path.exists() else State("missing")
    if manifest.get("fingerprint") != fingerprint(spec):
        manifest = {}
    newest = newest_checkpoint(folder)
    record = _read_json(newest, problems) if newest else {}
    rows: list[dict[str, Any]] = []
    touched: float | None = None
    if results.kind != "finished":
        rows, touched = _read_live(folder / "progress.jsonl", problems)
    return Trace(
        results=results,
        manifest=manifest,
        status=status,
        segments=_segments(manifest, status, record),
        rows=rows,
        touched=touched,
        saved=step_of(newest) if newest else 0,
    )


def newest_checkpoint(folder: Path) -> Path | None:
    """The record of a run's newest checkpoint."""
    return max(folder.glob(f"step-{'[0-9]' * 12}.json"), default=None)


def step_of(record: Path) -> int:
    """The step in a checkpoint's name."""
    return int(record.stem.removeprefix("step-"))


def last_rows(path: Path) -> list[dict[str, Any]]:
    """The last rows of a live curve, as many as its last `TAIL_BYTES` have.

    The last line may be cut, since it is being written; a line that is no row counts for nothing.
    """
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - TAIL_BYTES))
        lines = file.read(TAIL_BYTES).split(b"\n")
    rows = map(_row, lines)  # a piece of a row, at either end, is no JSON
    return [row for row in rows if row is not None]


def number_in(values: dict[str, Any], key: str) -> float:
    """A number in what was read; 0 where there is none."""
    value = values.get(key)
    return value if isinstance(value, int | float) else 0


def _row(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None


def _read_live(path: Path, problems: list[str]) -> tuple[list[dict[str, Any]], float | None]:
    try:
        return last_rows(path), path.stat().st_mtime
    except FileNotFoundError:
        return [], None
    except OSError as error:
        problems.append(f"{path} cannot be read and counts for nothing: {error.strerror}")
        return [], None


def _read_json(path: Path, problems: list[str]) -> dict[str, Any]:
    """The object in the first line of a checkpoint's record, or in all of any other file."""
    try:
        text = path.read_text()
        found = json.loads(text.partition("\n")[0] if path.name.startswith("step-") else text)
    except (FileNotFoundError, NotADirectoryError):  # a newer checkpoint may be in its place
        return {}
    except (OSError, ValueError) as error:
        problems.append(f"{path} cannot be read and counts for nothing: {error}")
        return {}
    if not isinstance(found, dict):
        problems.append(f"{path} is no JSON object and counts for nothing")
        return {}
    return found


def _segments(
    manifest: dict[str, Any], status: dict[str, Any], record: dict[str, Any]
) -> list[dict[str, Any]]:
    """Every attempt at a run: of the manifest if no other was begun since, else what is known."""
    begun = status.get("segment")
    if manifest and status.get("state") in (None, "finished"):
        return _dictionaries(manifest.get("segments"))
    saved = record.get("manifest")
    known = _dictionaries(saved.get("segments")) if isinstance(saved, dict) else []
    if not isinstance(begun, dict):
        return known
    same = [s for s in known[-1:] if s.get("started") == begun.get("started")]
    # Those before it were accounted for when it began; its own last word is in the checkpoint.
    return _dictionaries(status.get("earlier")) + (same or [begun])


def _dictionaries(value: Any) -> list[dict[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []
