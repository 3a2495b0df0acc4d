"""What the figures of studies that train models share: numbers that the report's text quotes."""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from unirl_repro.figures._tabular import COLUMNS, PLACE, over_seeds

# Panel, name and variants of numbers without a place.
Quoted = Mapping[tuple[str, str], Iterable[str]]


def with_quoted(frame: pd.DataFrame, quoted: Quoted) -> pd.DataFrame:
    """`over_seeds`, and for each quoted number that no seed has computed yet a row of NaN."""
    drawn = over_seeds(frame)
    there = set(zip(drawn["panel"], drawn["name"], drawn["variant"], strict=True))
    lacking = [
        dict.fromkeys(COLUMNS, np.nan)
        | dict.fromkeys(PLACE, -1)
        | {"panel": panel, "name": name, "variant": variant, "num_seeds": 0}
        for (panel, name), variants in quoted.items()
        for variant in variants
        if (panel, name, variant) not in there
    ]
    parts = [part for part in (drawn, pd.DataFrame(lacking, columns=COLUMNS)) if len(part)]
    return pd.concat(parts, ignore_index=True)
