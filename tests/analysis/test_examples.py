"""The examples in the docstrings are true."""

import doctest

import pytest

from unirl_repro.analysis import curves, latex, statistics


@pytest.mark.parametrize("module", [curves, latex, statistics])
def test_examples_hold(module):
    result = doctest.testmod(module)
    assert result.attempted > 2
    assert result.failed == 0
