"""Does a printed number follow from the printed numbers that it was derived from?

An input stands for all values that round to it, so what is derived from it is a range; a printed
result follows if that range meets the values that round to the result (deviation S8).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd
from scipy import stats

from unirl_repro.analysis.curves import CONFIDENCE
from unirl_repro.analysis.statistics import (
    SIGNIFICANCE,
    Summary,
    normalise,
    summary_of_interval,
    t_test,
)

FOLLOWS, TO_ROUNDING, DOES_NOT = "follows", "follows to rounding", "does not follow"
EXACT = 1e-9  # by which limits may miss one another, relative to the last printed digit


@dataclass(frozen=True)
class Printed:
    """A number as printed, with its decimals."""

    value: float
    decimals: int

    @property
    def slack(self) -> float:
        """Half a unit of the last digit."""
        return 0.5 * 10.0**-self.decimals


@dataclass(frozen=True)
class Derived:
    """What follows from inputs as they stand, and the least and the most that their rounding allows."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Sample:
    """A printed mean with the half-width of its interval, and the seeds behind it."""

    mean: Printed
    half: Printed
    num_seeds: int


def read_column(texts: Sequence[str]) -> list[Printed]:
    """Numbers of one column, which all have the decimals of its longest: files lose trailing zeros.

    Examples
    --------
    >>> read_column(["0.75", "0.9211"])[0]
    Printed(value=0.75, decimals=4)
    """
    decimals = max((len(text.partition(".")[2]) for text in texts), default=0)
    return [Printed(float(text), decimals) for text in texts]


def verdict(printed: Printed, derived: Derived) -> str:
    """Whether a printed number follows, `TO_ROUNDING` where the inputs as they stand give another.

    Examples
    --------
    >>> verdict(Printed(0.33, 2), Derived(0.3333, 0.32, 0.34))
    'follows'
    >>> verdict(Printed(0.34, 2), Derived(0.3333, 0.32, 0.34))
    'follows to rounding'
    >>> verdict(Printed(0.35, 2), Derived(0.3333, 0.32, 0.34))
    'does not follow'
    """
    if f"{derived.value:.{printed.decimals}f}" == f"{printed.value:.{printed.decimals}f}":
        return FOLLOWS
    reach = printed.slack * (1 + EXACT)
    near = derived.low - reach <= printed.value <= derived.high + reach
    return TO_ROUNDING if near else DOES_NOT


def derive(function: Callable[..., float], *inputs: Printed) -> Derived:
    """A function of printed inputs, with its range if it is monotone in each of them.

    Examples
    --------
    >>> derive(lambda a, b: a / b, Printed(1.0, 0), Printed(2.0, 0))
    Derived(value=0.5, low=0.2, high=1.0)
    """
    ends = [(number.value - number.slack, number.value + number.slack) for number in inputs]
    corners = [function(*corner) for corner in product(*ends)]
    return Derived(function(*(number.value for number in inputs)), min(corners), max(corners))


def count(parts: Sequence[Derived]) -> Derived:
    """How many of some statements hold, each 0 or 1."""
    return _each_end(sum, parts)


def every(parts: Sequence[Derived]) -> Derived:
    """Whether all of some statements hold, each 0 or 1; of none, all do."""
    return _each_end(lambda ends: min(ends, default=1.0), parts)


def fails(part: Derived) -> Derived:
    """Whether a statement does not hold."""
    return Derived(1 - part.value, 1 - part.high, 1 - part.low)


def _each_end(function: Callable[[list[float]], float], parts: Sequence[Derived]) -> Derived:
    return Derived(
        function([part.value for part in parts]),
        function([part.low for part in parts]),
        function([part.high for part in parts]),
    )


def scores(returns: pd.DataFrame, slack: float) -> dict[str, pd.DataFrame]:
    """Normalised returns (`statistics.normalise`), with their range.

    Parameters
    ----------
    returns : DataFrame
        A row an algorithm, a column a task, all printed [reward].
    slack : float
        Half a unit of their last digit.

    Returns
    -------
    dict of str to DataFrame
        value, low and high. The rows that are lowest and highest stay so: their scores are exact.
    """
    lowest, highest = returns.min(), returns.max()
    spread = highest - lowest
    # Worst where the cell is as low and both ends as high as they may be: their spread stays.
    low = ((returns - lowest - 2 * slack) / spread).clip(lower=0)
    high = ((returns - lowest + 2 * slack) / spread).clip(upper=1)
    extreme = (returns == lowest) | (returns == highest)
    value = normalise(returns)
    return {"value": value, "low": value.where(extreme, low), "high": value.where(extreme, high)}


def p_value(first: Sample, second: Sample) -> Derived:
    """Student's test between two printed samples, and its range: more apart and tighter is less."""
    apart = abs(first.mean.value - second.mean.value)
    slack = first.mean.slack + second.mean.slack
    return Derived(
        _student(apart, 0, first, second),
        _student(apart + slack, -1, first, second),
        _student(max(0.0, apart - slack), 1, first, second),
    )


def _student(apart: float, ends: int, first: Sample, second: Sample) -> float:
    """P-value with both half-widths as printed, or at one end of their rounding."""
    one, other = (
        summary_of_interval(0.0, max(0.0, s.half.value + ends * s.half.slack), s.num_seeds)
        for s in (first, second)
    )
    return t_test(Summary(apart, one.spread, one.num_seeds), other)


def p_other_readings(first: Sample, second: Sample) -> dict[str, float]:
    """The p-value as other tests have it that the words allow: S1 and S4 chose among them."""
    pair = [summary_of_interval(s.mean.value, s.half.value, s.num_seeds) for s in (first, second)]
    normal = [_of_normal_interval(sample) for sample in (first, second)]
    return {
        "welch": t_test(*pair, equal_variance=False),
        "one_sided": t_test(*pair) / 2,
        "normal_intervals": t_test(*normal),
    }


def _of_normal_interval(sample: Sample) -> Summary:
    quantile = float(stats.norm.ppf((1 + CONFIDENCE) / 2))
    spread = sample.half.value * np.sqrt(sample.num_seeds) / quantile
    return Summary(sample.mean.value, spread, sample.num_seeds)


def better(first: Sample, second: Sample) -> Derived:
    """Whether the first is significantly better (1) or not (0): as printed, surely, and possibly."""
    ahead, slack = first.mean.value - second.mean.value, first.mean.slack + second.mean.slack

    def so(ahead: float, ends: int) -> float:
        return float(ahead > 0 and _student(ahead, ends, first, second) < SIGNIFICANCE)

    return Derived(so(ahead, 0), so(ahead - slack, 1), so(ahead + slack, -1))


def no_worse(first: Sample, second: Sample) -> Derived:
    """Whether the second is not significantly better: as printed, surely, and possibly."""
    return fails(better(second, first))


def above(first: Printed, second: Printed) -> Derived:
    """Whether the first number is the larger one: as printed, surely, and possibly."""
    ahead, slack = first.value - second.value, first.slack + second.slack
    return Derived(float(ahead > 0), float(ahead > slack), float(ahead > -slack))


def single_changes(returns: pd.DataFrame, row: str, average: float) -> dict[str, float]:
    """What one cell of a row would have to be for the row's average to follow, all others as printed.

    Parameters
    ----------
    returns : DataFrame
        A row an algorithm, a column a task [reward].
    row : str
        Its average does not follow.
    average : float
        As printed.

    Returns
    -------
    dict of str to float
        By task; without those where the cell would be below the lowest or above the highest of its
        task, or is one of them: it would change the scores of the others.
    """
    scored = normalise(returns).loc[row].to_numpy(float)
    found = dict(zip(map(str, returns.columns), scored.tolist(), strict=True))
    shift = (average - sum(found.values()) / len(found)) * len(found)
    needed = {}
    for task, score in found.items():
        if 0 < score < 1 and 0 <= score + shift <= 1:
            lowest, highest = float(returns[task].min()), float(returns[task].max())
            needed[task] = lowest + (score + shift) * (highest - lowest)
    return needed
