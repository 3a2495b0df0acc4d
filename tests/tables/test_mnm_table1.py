"""MnM's Table 1 on a frame made by hand."""

import pytest

from unirl_repro.tables.mnm_table1 import BOUNDS, EVIDENCE, REASONS, rows, tex
from unirl_repro.tabular.frame import frame, numbers

DIFFERS = ("unified_objective", "luo")


@pytest.fixture(scope="module")
def table():
    """All cells are printed as true and computed so, but for one; evidence grows with the seed."""
    found = []
    for row, (name, _) in EVIDENCE.items():
        for bound in BOUNDS:
            computed = (row, bound) != DIFFERS
            for panel, value in (("printed", 1), ("computed", computed), ("agrees", computed)):
                found += numbers("mnm_table1", panel, bound, {row: value})
            for seed in range(3):
                number = {name: 0.25 * seed}
                found += numbers("mnm_table1", "evidence", bound, number, seed=seed)
    return rows(frame(found), {})


def test_each_cell_has_its_verdict_its_number_and_its_reason(table):
    assert list(zip(table["row"], table["bound"], strict=True)) == list(REASONS)
    assert table["value"].tolist() == [0.5] * 16
    wrong = table[~table["agrees"]]
    assert list(zip(wrong["row"], wrong["bound"], strict=True)) == [DIFFERS]


def test_a_cell_that_differs_shows_what_is_printed(table):
    text = tex(table, {})
    assert text.count(r"$\times$, printed \checkmark (0.5)") == 1
    assert text.count(r"\checkmark (0.5)") == 16
    assert r"\newcommand{\MnmTableOneAgreeing}{15}" in text
    assert text.count(r"\item[") == 4
