"""Every figure: found by its study's name, written whole, the same bytes each time."""

from pathlib import Path

import pandas as pd
import pytest
from matplotlib._pylab_helpers import Gcf
from PIL import Image

from tests.analysis.frame_maker import make_study
from tests.figures.unified_runs import learning_study
from tests.tabular_frames import study_of
from unirl_repro import figures
from unirl_repro.config import load_config

STUDY = "unified_rl_fig2"
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def study():
    return make_study(STUDY, tasks=("hopper-200",), num_seeds=2)


def write(study, prefix):
    frame, status = study
    return figures.write(STUDY, frame, status, prefix)


def test_figures_are_the_files_of_their_folder():
    assert STUDY in figures.names()
    for name in figures.names():
        assert callable(figures.module(name).figure)
        assert callable(figures.module(name).data)


def test_every_study_that_is_a_figure_has_one_and_can_be_drawn_whole(tmp_path):
    studies = load_config(ROOT / "config.yaml").studies
    wanted = {name: study for name, study in studies.items() if study.kind == "figure"}
    assert set(wanted) <= set(figures.names())
    for name in (name for name, study in wanted.items() if not study.has_runs):
        csv = pd.read_csv(figures.write(name, *study_of(name), tmp_path / name)[-1])
        assert {"panel", "variant", "name", "mean", "low", "high", "num_seeds"} < set(csv)
    for name, study in ((n, s) for n, s in wanted.items() if s.has_runs):
        tasks, variants = tuple(study.tasks), tuple(study.variants)
        frame, status = learning_study(name, tasks, variants, num_seeds=2)
        csv = pd.read_csv(figures.write(name, frame, status, tmp_path / name)[-1])
        assert set(csv["task"]) == set(tasks)
        assert set(csv["variant"]) == set(variants)
        assert {"statistic", "env_step", "mean", "low", "high", "num_seeds"} < set(csv)


def test_unknown_figure_names_what_there_is():
    with pytest.raises(ValueError, match=f"no figure is called 'nosuch'. Allowed: .*{STUDY}"):
        figures.module("nosuch")


def test_all_four_files_are_written_and_nothing_else(study, tmp_path):
    paths = write(study, tmp_path / "new" / STUDY)
    assert sorted(paths) == sorted((tmp_path / "new").iterdir())
    assert [path.suffix for path in paths] == [".pdf", ".svg", ".png", ".csv"]
    assert Image.open(paths[2]).size[0] == pytest.approx(6.69 * 200, abs=2)
    assert len(pd.read_csv(paths[3])) > 10


def test_same_frame_gives_the_same_bytes(study, tmp_path):
    first, second = (write(study, tmp_path / name) for name in ("a", "b"))
    for a, b in zip(first, second, strict=True):
        assert a.read_bytes() == b.read_bytes(), a.suffix


def test_files_hold_no_date(study, tmp_path):
    pdf, svg, *_ = write(study, tmp_path / STUDY)
    assert b"CreationDate" not in pdf.read_bytes()
    assert "dc:date" not in svg.read_text()


def test_fonts_in_the_pdf_are_embedded_truetype(study, tmp_path):
    pdf, *_ = write(study, tmp_path / STUDY)
    content = pdf.read_bytes()
    assert b"/FontFile2" in content
    assert b"/Type3" not in content


def test_figures_leave_pyplot_alone(study):
    assert figures.module(STUDY).figure(*study).axes
    assert not Gcf.figs
