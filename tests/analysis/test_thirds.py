"""Curves in numbers."""

import pandas as pd
import pytest

from unirl_repro.analysis.thirds import thirds, thirds_tex


def points(means, statistic="model_free", variant="unified", task="hopper-200", seeds=4):
    steps = [100 * (index + 1) for index in range(len(means))]
    curve = {"task": task, "variant": variant, "statistic": statistic}
    drawn = pd.DataFrame({"env_step": steps, "mean": means})
    return drawn.assign(**curve, num_seeds=seeds, num_planned=5)


@pytest.mark.parametrize(
    ("means", "expected"),
    [
        ([1.0, 3.0, 9.0, 9.0, 5.0, 7.0], (2.0, 6.0)),
        ([1.0, 3.0, 5.0, 7.0], (2.0, 6.0)),
        ([1.0, 3.0], (1.0, 3.0)),
        ([4.0], (4.0, 4.0)),
    ],
)
def test_first_and_last_third_of_the_points(means, expected):
    [row] = thirds(points(means)).to_dict("records")
    assert (row["first"], row["last"]) == expected


def test_points_count_in_the_order_of_their_steps():
    [row] = thirds(points([1.0, 2.0, 3.0]).iloc[::-1]).to_dict("records")
    assert (row["first"], row["last"]) == (1.0, 3.0)


def test_seeds_are_those_that_ever_ran():
    drawn = points([1.0, 2.0]).assign(num_seeds=[4, 2])
    [row] = thirds(drawn).to_dict("records")
    assert (row["num_seeds"], row["num_planned"]) == (4, 5)


def test_table_has_a_row_a_curve_and_dashes_where_a_statistic_is_not_of_it():
    other = points([650.04, 700.0, 712.345], "return", "sac_rlpd")
    table = thirds_tex(pd.concat([points([0.25, 0.5, 1.0]), other]))
    assert r"Task & Algorithm & seeds & return & model-free \\" in table
    assert r"Hopper & Unified RL & 4/5 & -- & $0.25$ $\rightarrow$ $1.00$ \\" in table
    assert r"Hopper & SAC & 4/5 & $650.0$ $\rightarrow$ $712.3$ & -- \\" in table


def test_single_variant_is_not_named():
    table = thirds_tex(points([0.25, 0.5, 1.0]))
    assert r"Task & seeds & model-free \\" in table
    assert r"Hopper & 4/5 & $0.25$ $\rightarrow$ $1.00$ \\" in table


def test_quartiles_have_no_column():
    drawn = pd.concat([points([1.0], "gap_q25"), points([2.0], "gap_median")])
    assert r"seeds & median \\" in thirds_tex(drawn)
    assert "1.0" not in thirds_tex(drawn)


def test_figure_without_runs_says_so():
    assert thirds_tex(points([1.0]).iloc[:0]) == r"\emph{No run has finished.}"
