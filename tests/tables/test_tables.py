"""Every table: found by its study's name, written whole, the same bytes each time."""

import pandas as pd
import pytest

from tests.analysis.frame_maker import make_study
from unirl_repro import tables

STUDY = "unified_rl_table1"


def test_tables_are_the_files_of_their_folder():
    assert STUDY in tables.names()
    for name in tables.names():
        assert callable(tables.module(name).rows)
        assert callable(tables.module(name).tex)


def test_unknown_table_names_what_there_is():
    with pytest.raises(ValueError, match=f"no table is called 'nosuch'. Allowed: .*{STUDY}"):
        tables.module("nosuch")


def test_both_files_are_written_the_same_each_time(tmp_path):
    frame, status = make_study(STUDY, tasks=("hopper-200",))
    first = tables.write(STUDY, frame, status, tmp_path / "new" / "a")
    second = tables.write(STUDY, frame, status, tmp_path / "new" / "b")
    assert len(list((tmp_path / "new").iterdir())) == 4
    for a, b in zip(first, second, strict=True):
        assert a.read_bytes() == b.read_bytes()
    assert len(pd.read_csv(first[1])) > 60
