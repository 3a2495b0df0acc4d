"""One file a figure, by its target's name, all of one shape.

``data(frame, status)`` is what is drawn, as a tidy frame, and ``figure(frame, status)`` draws it.
"""

import io
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

import pandas as pd
from matplotlib.figure import Figure

from unirl_repro.analysis.frames import Status
from unirl_repro.analysis.style import styled
from unirl_repro.files import write_bytes, write_text

SUFFIXES = (".pdf", ".svg", ".png", ".csv")
# No dates and no library versions in the files: the same frame gives the same bytes.
_METADATA = {
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "svg": {"Date": None, "Creator": None},
    "png": {"Software": None},
}


class FigureModule(Protocol):
    """What a file of this folder offers."""

    def data(self, frame: pd.DataFrame, status: Status) -> pd.DataFrame:
        """Return what is drawn."""

    def figure(self, frame: pd.DataFrame, status: Status) -> Figure:
        """Draw it."""


def names() -> list[str]:
    """Names of the studies that have a figure: the files of this folder."""
    return sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py"))


def module(study: str) -> FigureModule:
    """Import a study's figure.

    Raises
    ------
    ValueError
        If no file of this folder has that name.
    """
    if study not in names():
        raise ValueError(f"no figure is called {study!r}. Allowed: {', '.join(names())}")
    return cast(FigureModule, import_module(f"{__name__}.{study}"))


def write(study: str, frame: pd.DataFrame, status: Status, out_prefix: Path) -> list[Path]:
    """Draw a study's figure and save it.

    Parameters
    ----------
    study : str
        Name of the study.
    frame, status : DataFrame, dict
        Its tidy frame and what ran of it.
    out_prefix : Path
        Path of the files without their suffix.

    Returns
    -------
    list of Path
        The files: pdf and svg (vector), png, and csv with the numbers drawn.
    """
    drawn = module(study)
    out_prefix.parent.mkdir(parents=True, exist_ok=True)
    with styled():
        fig = drawn.figure(frame, status)
        for kind, metadata in _METADATA.items():
            buffer = io.BytesIO()
            fig.savefig(buffer, format=kind, metadata=metadata)
            write_bytes(_with_suffix(out_prefix, f".{kind}"), buffer.getvalue())
    csv = drawn.data(frame, status).to_csv(index=False, lineterminator="\n", float_format="%.6g")
    write_text(_with_suffix(out_prefix, ".csv"), csv)
    return [_with_suffix(out_prefix, suffix) for suffix in SUFFIXES]


def _with_suffix(prefix: Path, suffix: str) -> Path:
    return prefix.with_name(prefix.name + suffix)
