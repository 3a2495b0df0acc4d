"""A run's checkpoint directory: nothing in it is ever half-written, and damage never goes unseen.

================================  ==================================================================
``lock``                          held (flock) by the one trainer of this run; says who holds it
``status.json``                   running, stopped, finished, failed or fatal, and why
``refused.json``                  why the last attempt could not even begin; gone when one does
``progress.jsonl``                rows of the curve and the metrics, appended while the run goes on
``step-<n>.pt``, ``step-<n>.json``  small state, and what it belongs to, with checksums; newest two
``replay-<from>-<to>.pt``         transitions, written once, at most 16 MiB each
================================  ==================================================================

Tensors load with ``weights_only=True``; all else is JSON: nothing is unpickled.
"""

import fcntl
import io
import json
import os
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import torch

from unirl_repro.files import sha256, write_bytes, write_json
from unirl_repro.replay import Batch, Replay
from unirl_repro.stopping import REFUSED

SEGMENT_BYTES = 16 * 2**20
KEPT = 2
# All names that a run's files have, in an order to remove them in: records before what they name,
# so that what is left counts as whole or not at all; and the lock last.
NAMES = ("*.damaged", "step-*.json", "status.json", "step-*.pt", "replay-*.pt", "progress.jsonl")
TEMPORARY = re.compile(r"\..+\.\d+")  # names that `files.write_bytes` gives while writing


class DamagedError(RuntimeError):
    """A checkpoint whose content does not match its checksum."""


class BusyError(RuntimeError):
    """Another process trains this run."""


@dataclass
class Checkpoint:
    """One saved moment of a run.

    Attributes
    ----------
    step : int
        Environment steps done.
    state : dict
        The loop's and the agent's state: tensors, numbers and containers of them.
    manifest : dict
        Segments, versions, device: plain values, kept in the JSON file.
    replay : list of Batch
        The transitions, in order, from number `replay_start` on.
    """

    step: int
    state: dict[str, Any]
    manifest: dict[str, Any]
    replay: list[Batch] = field(default_factory=list)
    replay_start: int = 0


class Store:
    """The checkpoint directory of one run.

    Parameters
    ----------
    directory : path
        Made if it is not there.

    Raises
    ------
    OSError
        If the directory cannot be made or written.
    """

    def __init__(self, directory: Path):
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self._lock: IO[str] | None = None
        self._segments: list[dict[str, Any]] = []
        self._progress: IO[bytes] | None = None
        self._progress_crc = 0

    # Lock and status

    def lock(self, holder: str) -> None:
        """Take the run for this process; `holder` is what another one is told.

        Raises
        ------
        BusyError
            If another process has it.
        """
        self.directory.mkdir(parents=True, exist_ok=True)  # if it was removed since
        path = self.directory / "lock"
        file = path.open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            other = file.read().strip() or "an unnamed process"
            file.close()
            raise BusyError(
                f"{self.directory}: this run is being trained already, by {other}. "
                "Wait for it or stop it; nothing was changed."
            ) from None
        if not path.exists() or not os.path.samestat(os.fstat(file.fileno()), path.stat()):
            file.close()
            raise BusyError(f"{self.directory}: was removed in this moment. Start again.")
        file.truncate(0)
        file.write(holder + "\n")
        file.flush()
        self._lock = file
        (self.directory / REFUSED).unlink(missing_ok=True)
        self._sweep()

    @property
    def locked(self) -> bool:
        """Whether this process has the run."""
        return self._lock is not None

    def close(self) -> None:
        """Let go of the lock and of the open files."""
        for file in (self._progress, self._lock):
            if file is not None:
                file.close()
        self._progress = self._lock = None

    def status(self) -> dict[str, Any]:
        """The last status; an empty one if there is none, or none that can be read.

        It informs, and no result depends on it.
        """
        path = self.directory / "status.json"
        try:
            return json.loads(path.read_text())
        except FileNotFoundError:
            return {}
        except ValueError as error:
            print(f"warning: {path} cannot be read and counts for nothing: {error}", flush=True)
            return {}

    def write_status(self, state: str, **details: Any) -> None:
        write_json(self.directory / "status.json", {"state": state, **details})

    # Progress

    def append(self, rows: list[dict[str, Any]]) -> None:
        """Add rows to progress.jsonl; they reach the disk for good with the next checkpoint."""
        if self._progress is None:
            self._progress = (self.directory / "progress.jsonl").open("ab")
        content = "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows).encode()
        self._progress.write(content)
        self._progress.flush()
        self._progress_crc = zlib.crc32(content, self._progress_crc)

    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows of progress.jsonl, from the start; a last line cut by a crash is left out."""
        path = self.directory / "progress.jsonl"
        if path.exists():
            with path.open("rb") as file:
                for line in file:
                    if line.endswith(b"\n"):
                        yield json.loads(line)

    def start_over(self) -> None:
        """Forget the rows of an attempt that died before its first checkpoint."""
        self._cut_progress(0)

    # Checkpoints

    def save(self, checkpoint: Checkpoint, replay: Replay) -> None:
        """Write a checkpoint; the one before it stays until the next is whole.

        The JSON file comes last: what it does not name does not count.
        """
        segments = self._save_replay(replay)
        progress_bytes = self._sync_progress()
        buffer = io.BytesIO()
        torch.save(checkpoint.state, buffer)
        content = buffer.getvalue()
        name = f"step-{checkpoint.step:012d}"
        write_bytes(self.directory / f"{name}.pt", content)
        record = {
            "step": checkpoint.step,
            "state_sha256": sha256(content),
            "segments": segments,
            "progress_bytes": progress_bytes,
            "progress_crc": self._progress_crc,
            "manifest": checkpoint.manifest,
        }
        body = json.dumps(record, sort_keys=True, allow_nan=False)
        write_bytes(self.directory / f"{name}.json", f"{body}\n{sha256(body.encode())}\n".encode())
        self._segments = segments
        self._prune()

    def files(self) -> list[Path]:
        """All files but the lock, in an order in which they can be removed one by one."""
        return [path for pattern in NAMES for path in sorted(self.directory.glob(pattern))]

    def spare_files(self) -> list[Path]:
        """Files that the newest checkpoint does without, in the order of `files`.

        Raises
        ------
        DamagedError
            If its record does not match its checksum.
        """
        newest = next(iter(self._newest_first()), None)
        if newest is None:
            return []
        names = {newest.name, newest.with_suffix(".pt").name, "status.json", "progress.jsonl"}
        names |= {segment["file"] for segment in self._read_record(newest)["segments"]}
        return [path for path in self.files() if path.name not in names]

    def check_newest(self) -> None:
        """See that the newest checkpoint is whole, before older ones are given up.

        Raises
        ------
        DamagedError, FileNotFoundError
            If it is not.
        """
        newest = self._newest_first()[0]
        record = self._read_record(newest)
        checksums = {segment["file"]: segment["sha256"] for segment in record["segments"]}
        checksums[newest.with_suffix(".pt").name] = record["state_sha256"]
        for name, checksum in checksums.items():
            self._read_whole(name, checksum)
        self._check_progress(record)

    def load(self) -> tuple[Checkpoint | None, list[str]]:
        """The newest whole checkpoint, and what was wrong with newer ones.

        Damaged ones are set aside under ``*.damaged``; progress.jsonl is cut back to the moment
        of the checkpoint.

        Raises
        ------
        DamagedError
            If there are checkpoints and all of them are damaged: never a silent restart.
        """
        problems: list[str] = []
        for path in self._newest_first():
            try:
                return self._load_one(path), problems
            except (DamagedError, FileNotFoundError, ValueError, KeyError) as error:
                problems.append(f"checkpoint {path.stem} is damaged and set aside: {error}")
                self._set_aside(path)
        if problems or any(self.directory.glob("*.damaged")):
            raise DamagedError(
                f"{self.directory}: every checkpoint is damaged. "
                + "; ".join(problems)
                + ". To train this run from the start, remove that directory."
            )
        self.start_over()
        return None, problems

    def _load_one(self, path: Path) -> Checkpoint:
        record = self._read_record(path)
        state = self._read_tensors(path.with_suffix(".pt").name, record["state_sha256"])
        replay = [Batch(*self._read_tensors(s["file"], s["sha256"])) for s in record["segments"]]
        self._check_progress(record)
        self._cut_progress(record["progress_bytes"])
        self._progress_crc = record["progress_crc"]
        self._segments = record["segments"]
        start = self._segments[0]["start"] if self._segments else 0
        return Checkpoint(record["step"], state, record["manifest"], replay, start)

    def _read_record(self, path: Path) -> dict[str, Any]:
        body, _, checksum = path.read_text().rstrip("\n").rpartition("\n")
        if sha256(body.encode()) != checksum:
            raise DamagedError(f"{path.name} does not match its checksum")
        return json.loads(body)

    def _read_tensors(self, name: str, checksum: str) -> Any:
        content = self._read_whole(name, checksum)
        return torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")

    def _read_whole(self, name: str, checksum: str) -> bytes:
        content = (self.directory / name).read_bytes()
        if sha256(content) != checksum:
            raise DamagedError(f"{name} does not match its checksum")
        return content

    def _save_replay(self, replay: Replay) -> list[dict[str, Any]]:
        """Write what is new since the last checkpoint; drop what the ring has overwritten."""
        oldest = max(0, replay.added - replay.capacity)
        segments = [s for s in self._segments if s["stop"] > oldest]
        saved = self._segments[-1]["stop"] if self._segments else 0
        for start, stop in _chunks(max(saved, oldest), replay):
            buffer = io.BytesIO()
            torch.save([t.cpu().clone() for t in replay.rows(start, stop)], buffer)
            content = buffer.getvalue()
            name = f"replay-{start:012d}-{stop:012d}.pt"
            write_bytes(self.directory / name, content)
            segments.append({"start": start, "stop": stop, "file": name, "sha256": sha256(content)})
        return segments

    def _sync_progress(self) -> int:
        if self._progress is None:
            self.append([])
        assert self._progress is not None
        os.fsync(self._progress.fileno())
        return self._progress.tell()

    def _check_progress(self, record: dict[str, Any]) -> None:
        with (self.directory / "progress.jsonl").open("rb") as file:
            content = file.read(record["progress_bytes"])
        if len(content) < record["progress_bytes"] or zlib.crc32(content) != record["progress_crc"]:
            raise DamagedError("progress.jsonl does not match its checksum")

    def _cut_progress(self, size: int) -> None:
        if self._progress is not None:
            self._progress.close()
            self._progress = None
        path = self.directory / "progress.jsonl"
        if path.exists():
            os.truncate(path, size)
        self._progress_crc = 0

    def _newest_first(self) -> list[Path]:
        return sorted(self.directory.glob("step-*.json"), reverse=True)

    def _set_aside(self, path: Path) -> None:
        for part in (path, path.with_suffix(".pt")):
            if part.exists():
                part.replace(part.with_name(part.name + ".damaged"))

    def _prune(self) -> None:
        """Remove all but the newest checkpoints, and the files that none of them names.

        Nothing is removed beside a record that does not match its checksum: what it named is lost.
        """
        paths = self._newest_first()
        for path in paths[KEPT:]:
            path.unlink()
        try:
            records = [self._read_record(path) for path in paths[:KEPT]]
        except (DamagedError, UnicodeDecodeError) as error:
            print(f"warning: {error}; older files stay until it is replaced", flush=True)
            return
        named = {s["file"] for record in records for s in record["segments"]}
        named |= {path.with_suffix(".pt").name for path in paths[:KEPT]}
        for path in [*self.directory.glob("replay-*.pt"), *self.directory.glob("step-*.pt")]:
            if path.name not in named:
                path.unlink()

    def _sweep(self) -> None:
        """Remove what a killed process was writing: it has no name yet, so nothing counts on it."""
        for path in self.directory.glob(".*"):
            if TEMPORARY.fullmatch(path.name):
                path.unlink()


def _chunks(start: int, replay: Replay) -> Iterator[tuple[int, int]]:
    """[start, replay.added) in pieces of at most `SEGMENT_BYTES`."""
    row_bytes = 4 * (2 * replay.obs.shape[1] + replay.action.shape[1] + 2)
    rows = max(1, SEGMENT_BYTES // row_bytes)
    for first in range(start, replay.added, rows):
        yield first, min(first + rows, replay.added)
