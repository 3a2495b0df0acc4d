"""Numbers that follow from printed ones, that do so only to rounding, and that do not."""

import doctest
from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from unirl_repro.analysis import rounding
from unirl_repro.analysis.rounding import (
    DOES_NOT,
    FOLLOWS,
    TO_ROUNDING,
    Derived,
    Printed,
    Sample,
    above,
    better,
    count,
    derive,
    every,
    fails,
    no_worse,
    p_other_readings,
    p_value,
    read_column,
    scores,
    single_changes,
    verdict,
)

SO, NOT, OPEN = Derived(1, 1, 1), Derived(0, 0, 0), Derived(1, 0, 1)


def sample(mean, half, num_seeds=5):
    return Sample(Printed(mean, 1), Printed(half, 1), num_seeds)


def test_examples_hold():
    result = doctest.testmod(rounding)
    assert result.attempted > 2
    assert result.failed == 0


@pytest.mark.parametrize(
    ("printed", "expected"),
    [(0.67, FOLLOWS), (0.69, TO_ROUNDING), (0.66, TO_ROUNDING), (0.73, DOES_NOT), (0.6, DOES_NOT)],
)
def test_two_thirds_of_rounded_inputs(printed, expected):
    found = derive(lambda a, b: a / b, Printed(2.0, 1), Printed(3.0, 1))
    assert (found.low, found.high) == pytest.approx((1.95 / 3.05, 2.05 / 2.95))
    assert verdict(Printed(printed, 2), found) == expected


def test_a_result_that_only_touches_the_range_follows_to_rounding():
    # 0.1 + 0.2 is 0.30000000000000004: the limits meet, though not to the last bit.
    assert verdict(Printed(0.35, 1), Derived(0.25, 0.2, 0.1 + 0.2)) == TO_ROUNDING
    assert verdict(Printed(0.4, 1), Derived(0.1, 0.0, 0.3)) == DOES_NOT


@given(
    values=st.lists(st.floats(-50, 50), min_size=4, max_size=4, unique=True),
    average=st.booleans(),
)
def test_rounding_the_inputs_never_refutes_the_true_result(values, average):
    """Whatever the true values are, what was computed from them follows from their rounded ones."""
    true = pd.DataFrame({"task": values}, index=list("abcd"))
    rounded = true.round(1)
    if rounded["task"].nunique() < len(values):
        return
    found = scores(rounded, slack=0.05)
    exact = (true - true.min()) / (true.max() - true.min())
    for row in true.index:
        derived = Derived(*(float(found[end].loc[row, "task"]) for end in found))
        assert verdict(Printed(round(exact.loc[row, "task"], 4), 4), derived) != DOES_NOT


def test_scores_of_the_extremes_are_exact_and_the_others_have_a_range():
    found = scores(pd.DataFrame({"task": [0.0, 5.0, 10.0]}), slack=0.5)
    assert found["value"]["task"].tolist() == [0.0, 0.5, 1.0]
    assert found["low"]["task"].tolist() == pytest.approx([0.0, (4.5 - 0.5) / 10, 1.0])
    assert found["high"]["task"].tolist() == pytest.approx([0.0, (5.5 + 0.5) / 10, 1.0])


def test_p_value_is_students_and_its_range_is_that_of_all_roundings():
    first, second = sample(66.7, 0.3), sample(67.5, 0.9)
    found = p_value(first, second)
    slack = (-0.05, 0.0, 0.05)
    grid = [
        _from_intervals(66.7 + a, 0.3 + b, 67.5 + c, 0.9 + d)
        for a, b, c, d in product(slack, repeat=4)
    ]
    assert found.value == pytest.approx(_from_intervals(66.7, 0.3, 67.5, 0.9))
    assert (found.low, found.high) == pytest.approx((min(grid), max(grid)))
    assert found == p_value(second, first)


def _from_intervals(mean, half, other, other_half, quantile=None, **how):
    quantile = quantile or stats.t.ppf(0.975, 4)
    spreads = [h * np.sqrt(5) / quantile for h in (half, other_half)]
    return stats.ttest_ind_from_stats(mean, spreads[0], 5, other, spreads[1], 5, **how).pvalue


def test_means_that_may_be_equal_may_have_a_p_value_of_one():
    found = p_value(sample(1.0, 0.3), sample(1.1, 0.3))
    assert found.value < 1.0
    assert found.high == pytest.approx(1.0)


def test_other_readings_of_the_test():
    found = p_other_readings(sample(914.3, 40.4), sample(949.2, 10.7))
    numbers = (914.3, 40.4, 949.2, 10.7)
    assert found["welch"] == pytest.approx(_from_intervals(*numbers, equal_var=False))
    assert found["one_sided"] == pytest.approx(_from_intervals(*numbers) / 2)
    assert found["normal_intervals"] == pytest.approx(
        _from_intervals(*numbers, stats.norm.ppf(0.975))
    )


def test_better_is_higher_and_significantly_so():
    assert better(sample(10.0, 1.0), sample(5.0, 1.0)) == SO
    assert better(sample(5.0, 1.0), sample(10.0, 1.0)) == NOT
    assert better(sample(10.0, 1.0), sample(9.9, 1.0)) == NOT
    assert no_worse(sample(9.9, 1.0), sample(10.0, 1.0)) == SO
    assert no_worse(sample(5.0, 1.0), sample(10.0, 1.0)) == NOT


def test_a_p_value_near_the_level_is_open_to_rounding():
    assert better(sample(67.5, 0.9), sample(66.7, 0.3)) == OPEN
    assert no_worse(sample(66.7, 0.3), sample(67.5, 0.9)) == Derived(0, 0, 1)


def test_larger_is_open_where_both_may_be_the_same():
    assert above(Printed(1.2, 1), Printed(1.0, 1)) == SO
    assert above(Printed(1.0, 1), Printed(1.0, 1)) == Derived(0, 0, 1)
    assert above(Printed(1.04, 2), Printed(1.0, 1)) == OPEN
    assert above(Printed(1.0, 1), Printed(1.2, 1)) == NOT


def test_statements_are_counted_joined_and_denied():
    assert count([SO, NOT, OPEN]) == Derived(2, 1, 2)
    assert every([SO, OPEN]) == OPEN
    assert every([SO, NOT, OPEN]) == NOT
    assert every([]) == SO
    assert fails(Derived(0, 0, 1)) == OPEN


def test_a_column_has_the_decimals_of_its_longest_number():
    assert read_column(["944", "-0.5"]) == [Printed(944.0, 1), Printed(-0.5, 1)]
    assert read_column(["1"])[0].slack == 0.5


def test_one_changed_cell_makes_an_average_follow():
    returns = pd.DataFrame({"a": [0.0, 10.0, 5.0], "b": [0.0, 100.0, 30.0]}, index=["x", "y", "z"])
    # z has 0.5 and 0.3, on average 0.4; 0.45 takes 0.1 more on either task.
    assert single_changes(returns, "z", 0.45) == pytest.approx({"a": 6.0, "b": 40.0})
    assert single_changes(returns, "z", 0.70) == pytest.approx(
        {"b": 90.0}
    )  # 11 would be the best of a
    assert single_changes(returns, "y", 0.9) == {}  # its cells are the best
