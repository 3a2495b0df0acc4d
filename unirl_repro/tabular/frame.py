"""The tidy frame of a tabular experiment: one number a row."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

COLUMNS = [
    *("study", "panel", "variant", "seed", "iteration", "row", "column", "action", "name", "value")
]
NOWHERE: dict[str, Any] = {"seed": -1, "iteration": -1, "row": -1, "column": -1, "action": -1}


def numbers(
    study: str, panel: str, variant: str, values: Mapping[str, float], **where: int
) -> list[dict[str, Any]]:
    """Rows of a frame: numbers by name, of one variant at one place.

    Parameters
    ----------
    study, panel, variant : str
        What they belong to.
    values : mapping of str to float
        The numbers.
    **where : int
        Of seed, iteration, row, column and action those that apply; the others are -1.
    """
    common = {"study": study, "panel": panel, "variant": variant, **NOWHERE, **where}
    return [common | {"name": name, "value": float(value)} for name, value in values.items()]


def frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """The rows as a frame with columns `COLUMNS`."""
    return pd.DataFrame(rows, columns=COLUMNS)
