"""One file a table, by its target's name, all of one shape.

``rows(frame, status)`` is the table as a tidy frame, one number a row, and ``tex(rows, status)``
sets it: macros, since a table may have several parts that the report places.
"""

from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

import pandas as pd

from unirl_repro.analysis.frames import Status
from unirl_repro.files import write_text

SUFFIXES = (".tex", ".csv")


class TableModule(Protocol):
    """What a file of this folder offers."""

    def rows(self, frame: pd.DataFrame, status: Status) -> pd.DataFrame:
        """Return the table's numbers."""

    def tex(self, rows: pd.DataFrame, status: Status) -> str:
        """Set them."""


def names() -> list[str]:
    """Names of the studies that have a table: the files of this folder."""
    return sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py"))


def module(study: str) -> TableModule:
    """Import a study's table.

    Raises
    ------
    ValueError
        If no file of this folder has that name.
    """
    if study not in names():
        raise ValueError(f"no table is called {study!r}. Allowed: {', '.join(names())}")
    return cast(TableModule, import_module(f"{__name__}.{study}"))


def write(study: str, frame: pd.DataFrame, status: Status, out_prefix: Path) -> list[Path]:
    """Compute a study's table and save it.

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
        The files: tex (macros) and csv.
    """
    table = module(study)
    rows = table.rows(frame, status)
    paths = [out_prefix.with_name(out_prefix.name + suffix) for suffix in SUFFIXES]
    out_prefix.parent.mkdir(parents=True, exist_ok=True)
    write_text(paths[0], table.tex(rows, status))
    write_text(paths[1], rows.to_csv(index=False, lineterminator="\n", float_format="%.10g"))
    return paths
