"""The examples in the docstrings are true."""

import doctest

import pytest

from unirl_repro.analysis import budgets, curves, latex, overhead, statistics, thresholds


@pytest.mark.parametrize("module", [budgets, curves, latex, overhead, statistics, thresholds])
def test_examples_hold(module):
    result = doctest.testmod(module)
    assert result.attempted > 2
    assert result.failed == 0
