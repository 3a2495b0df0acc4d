"""One colour and one marker an algorithm."""

import itertools
import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest

from unirl_repro.analysis.style import LOOKS, STYLE, look, panels, styled

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


def test_no_two_algorithms_share_a_colour_or_a_marker():
    assert len({style.colour for style in LOOKS.values()}) == len(LOOKS)
    assert len({style.marker for style in LOOKS.values()}) == len(LOOKS)


def test_overrides_keep_the_look_of_what_they_override():
    assert look("sac@discount=0.9") == look("sac")


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


def test_figures_tables_and_report_import_nothing_that_training_needs():
    code = (
        "import sys, unirl_repro.report, unirl_repro.figures.unified_rl_fig2 as f;"
        "import unirl_repro.tables.unified_rl_table1;"
        "print(sorted({'torch', 'mujoco', 'gymnasium'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
