"""Where results lie: the one page of names that rules, commands and tests share."""

import json
from dataclasses import dataclass
from pathlib import Path

from unirl_repro.config import ConfigError, RunKey
from unirl_repro.files import write_json

RESULTS = Path("results")
FORMAT = 1  # of everything under results/; raised when older checkouts could not read it any more


@dataclass(frozen=True)
class Places:
    """Paths of one scale's results.

    Attributes
    ----------
    scale : str
        smoke, quick or paper.
    partial : bool
        Whether frames, figures, tables and report are those of whatever is finished.
    root : Path
        Folder of all results.
    """

    scale: str
    partial: bool = False
    root: Path = RESULTS

    @property
    def home(self) -> Path:
        return self.root / self.scale

    @property
    def built(self) -> Path:
        """Folder of all that is made from runs."""
        return self.home / "partial" if self.partial else self.home

    @property
    def checkpoints(self) -> Path:
        return self.home / "checkpoints"

    @property
    def pdf(self) -> Path:
        return self.home / ("paper_partial.pdf" if self.partial else "paper.pdf")

    def run(self, key: RunKey) -> Path:
        task, variant, seed = key
        return self.home / "runs" / task / variant / f"seed{seed}"

    def part(self, study: str, seed: int) -> Path:
        """What one seed gives to a study that trains models of its own."""
        return self.home / "learned" / study / f"seed{seed}.parquet"

    def part_manifest(self, study: str, seed: int) -> Path:
        return self.part(study, seed).with_suffix(".json")

    def frame(self, study: str) -> Path:
        return self.built / "frames" / f"{study}.parquet"

    def metrics(self, study: str) -> Path:
        """The frame's other sidecar: the metrics of its runs that the study names."""
        return self.built / "frames" / f"{study}_metrics.parquet"

    def status(self, study: str) -> Path:
        """The frame's sidecar: which runs were planned and which are there."""
        return self.built / "frames" / f"{study}.json"


def check_format(root: Path = RESULTS) -> None:
    """Refuse a folder of results that a version with another layout has written.

    Raises
    ------
    ConfigError
        If it is of another format.
    """
    path = root / "format.json"
    if not path.exists():
        return
    try:
        found = json.loads(path.read_text())["format"]
    except (ValueError, KeyError, TypeError):
        raise ConfigError(
            f"{path}: cannot be read. It says in which format {root}/ is written; if that is "
            f'today\'s, put {{"format": {FORMAT}}} there, else move {root}/ aside.'
        ) from None
    if found != FORMAT:
        raise ConfigError(
            f"{path}: {root}/ was written in format {found!r}, by another version of this project; "
            f"allowed here: {FORMAT}. Check out that version, or keep these results elsewhere: "
            f"mv {root} {root}-of-format-{found}"
        )


def claim(root: Path = RESULTS) -> None:
    """Say in which format results are written there, if nothing says so yet."""
    check_format(root)
    path = root / "format.json"
    if not path.exists():
        root.mkdir(parents=True, exist_ok=True)
        write_json(path, {"format": FORMAT})
