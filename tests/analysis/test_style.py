"""One colour and one marker an algorithm."""

import itertools
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest

from unirl_repro.analysis.style import LOOKS, STYLE, look, panels, panels_with_strips, styled
from unirl_repro.config import load_config

ROOT = Path(__file__).parents[2]

# Red and green blindness of Machado et al. (2009), on linear RGB.
PROTANOPIA = [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]]
DEUTERANOPIA = [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]]


def linear(colour):
    rgb = np.array(mpl.colors.to_rgb(colour))
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = np.array(to_xyz) @ np.clip(rgb, 0, 1) / [0.9505, 1.0, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("blindness", [np.eye(3), PROTANOPIA, DEUTERANOPIA])
def test_the_papers_own_three_algorithms_differ_for_everyone(blindness):
    colours = [LOOKS[name].colour for name in ("unified", "sac_rlpd", "mbrl")]
    seen = [lab(np.array(blindness) @ linear(colour)) for colour in colours]
    # 2.3 is the smallest difference that a trained eye sees.
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) > 40


def test_no_two_curves_of_a_figure_share_a_colour_or_a_marker():
    config = load_config(ROOT / "config.yaml")
    drawn = [study.variants for study in config.studies.values() if study.kind == "figure"]
    for variants in drawn:
        looks = [look(variant) for variant in variants]
        assert len({style.colour for style in looks}) == len(looks)
        assert len({style.marker for style in looks}) == len(looks)


def test_overrides_keep_the_look_of_what_they_override_and_are_named():
    overridden = look("sac_rlpd@entropy_coefficient=5.0,batch_size=8")
    assert overridden == replace(look("sac_rlpd"), name="SAC (α = 5.0, batch size = 8)")


def test_variant_that_only_differs_in_settings_looks_like_the_other():
    assert look("unified_high_entropy") == replace(look("unified"), name="Unified RL (high α)")


def test_every_variant_of_every_figure_has_a_look():
    config = load_config(ROOT / "config.yaml")
    figures = [study for study in config.studies.values() if study.kind == "figure"]
    for study in figures:
        names = [look(variant).name for variant in study.variants]
        assert len(set(names)) == len(names)


def test_unknown_variant_says_where_to_add_it():
    with pytest.raises(ValueError, match=r"'nosuch' has no name and colour.*style\.py"):
        look("nosuch")


def test_text_in_figures_is_at_least_eight_points():
    assert min(size for key, size in STYLE.items() if key.endswith("size") and "font" in key) >= 8
    assert STYLE["pdf.fonttype"] == 42


def test_style_ends_with_its_block():
    before = dict(mpl.rcParams)
    with styled():
        fig, axes = panels(4)
        assert mpl.rcParams["font.size"] == 8
    assert dict(mpl.rcParams) == before
    assert len(axes) == len(fig.axes) == 4


def test_strips_lie_below_their_panels_and_share_their_steps():
    with styled():
        fig, pairs = panels_with_strips(4)
    assert len(pairs) == 4
    assert len(fig.axes) == 8
    fig.draw_without_rendering()
    for panel, strip in pairs:
        panel.set_xlim(3, 7)
        assert strip.get_xlim() == (3, 7)
        above, below = panel.get_position(), strip.get_position()
        assert below.y1 < above.y0
        assert (below.x0, below.width) == pytest.approx((above.x0, above.width))
        assert below.height < above.height / 2


def test_figures_tables_and_report_import_nothing_that_training_needs():
    code = (
        "import sys, unirl_repro.report, unirl_repro.figures.unified_rl_fig2 as f;"
        "import unirl_repro.tables.unified_rl_table1;"
        "print(sorted({'torch', 'mujoco', 'gymnasium'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
