"""The figures of the post on MBPO, on frames that are small enough to check."""

import numpy as np
import pandas as pd
import pytest

from tests.tabular_frames import frame_of
from unirl_repro.figures import mbpo_blog_fig1, mbpo_blog_fig2, module, write
from unirl_repro.tabular.frame import COLUMNS, frame, numbers

STUDIES = ("mbpo_blog_fig1", "mbpo_blog_fig2")


def errors(seeds=(0, 1)):
    """A decade less for ten times the data, two tenths more for each policy."""
    rows = []
    for seed in seeds:
        for j, policy in enumerate(mbpo_blog_fig1.POLICIES):
            shift = {"divergence": 0.1 * j, "steps": 50.0 * j}
            rows += numbers("mbpo_blog_fig1", "shift", policy, shift, seed=seed)
            for i, count in enumerate((100, 1000)):
                value = {"decades": 0.2 * j - i + (0.1 if seed else -0.1)}
                where = {"seed": seed, "iteration": count}
                rows += numbers("mbpo_blog_fig1", "error", policy, value, **where)
    return frame(rows)


def heights(line):
    return np.asarray(line.get_ydata(), float)


def test_a_line_a_policy_by_size_and_a_line_a_size_by_shift():
    left, right = mbpo_blog_fig1.figure(errors(), {}).axes
    assert len(left.lines) == 5
    for j, line in enumerate(left.lines):
        assert heights(line) == pytest.approx([10 ** (0.2 * j), 10 ** (0.2 * j - 1)])
    assert [str(line.get_label()) for line in left.lines[:2]] == ["collecting", "50 steps later"]
    assert [str(line.get_label()) for line in right.lines] == ["100", "1,000"]
    assert np.asarray(right.lines[0].get_xdata()) == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])
    assert heights(right.lines[1]) == pytest.approx(heights(right.lines[0]) / 10)


def test_only_one_seed_draws_its_motion_and_all_draw_the_growth():
    whole = frame_of("mbpo_blog_fig2")
    cart, pole, growth = mbpo_blog_fig2.figure(whole, {}).axes
    rows = whole.query("seed == 0 and iteration >= 0")
    for ax, part in ((cart, "cart"), (pole, "pole")):
        for line, name in zip(ax.lines, ("real", "mean"), strict=True):
            of_part = rows[(rows["panel"] == part) & (rows["name"] == name)]
            assert heights(line) == pytest.approx(of_part.sort_values("iteration")["value"])
    decades = whole.query("panel == 'growth' and name == 'decades_spread'")
    expected = 10 ** decades.groupby("iteration")["value"].mean()
    assert heights(growth.lines[1]) == pytest.approx(expected)


@pytest.mark.parametrize("study", STUDIES)
def test_all_quoted_numbers_are_computed(study):
    drawn = module(study).data(frame_of(study), {})
    quoted = import_quoted(study)
    rows = drawn[(drawn["iteration"] < 0)]
    there = set(zip(rows["panel"], rows["name"], rows["variant"], strict=True))
    assert quoted <= there
    assert (drawn["num_seeds"] > 0).all()


@pytest.mark.parametrize("study", STUDIES)
def test_one_seed_has_no_interval_and_is_drawn(study, tmp_path):
    whole = frame_of(study)
    assert all(
        p.stat().st_size for p in write(study, whole[whole["seed"] == 0], {}, tmp_path / "x")
    )


@pytest.mark.parametrize("study", STUDIES)
def test_without_numbers_it_is_drawn_empty_and_quotes_nothing(study, tmp_path):
    drawn = module(study).data(frame([]), {})
    found = set(zip(drawn["panel"], drawn["name"], drawn["variant"], strict=True))
    assert found == import_quoted(study)
    assert drawn["mean"].isna().all()
    assert (drawn["num_seeds"] == 0).all()
    assert all(path.stat().st_size for path in write(study, frame([]), {}, tmp_path / study))


def import_quoted(study):
    quoted = {"mbpo_blog_fig1": mbpo_blog_fig1.QUOTED, "mbpo_blog_fig2": mbpo_blog_fig2.QUOTED}
    return {(*place, variant) for place, variants in quoted[study].items() for variant in variants}


def test_columns_are_those_of_the_others():
    assert list(pd.DataFrame(columns=COLUMNS)) == list(frame([]).columns)
