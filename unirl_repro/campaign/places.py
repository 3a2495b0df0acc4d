"""Where results lie: the one page of names that rules, commands and tests share."""

from dataclasses import dataclass
from pathlib import Path

from unirl_repro.config import RunKey


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
    root: Path = Path("results")

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

    def frame(self, study: str) -> Path:
        return self.built / "frames" / f"{study}.parquet"

    def status(self, study: str) -> Path:
        """The frame's sidecar: which runs were planned and which are there."""
        return self.built / "frames" / f"{study}.json"
