"""The printed numbers that others are derived from, and the derived ones, as text.

No finite MDP: a study without runs, whose frame is what `resources/reference` holds. The table of
the same name derives each number again.
"""

from pathlib import Path

import pandas as pd

STUDY = "unified_rl_recomputed"
REFERENCE = Path(__file__).parents[2] / "resources" / "reference"
FILES = ("unified_rl_table1", "unified_rl_overhead", STUDY)


def run(seeds: int) -> pd.DataFrame:
    """The files' rows, one after another; nothing is drawn, so each number of seeds is the same.

    Returns
    -------
    DataFrame
        The columns of `resources/reference/README.md`, all text, empty where nothing is printed.
    """
    read = [
        pd.read_csv(REFERENCE / f"{name}.csv", dtype=str, keep_default_na=False) for name in FILES
    ]
    return pd.concat(read, ignore_index=True).assign(study=STUDY)
