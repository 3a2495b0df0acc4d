r"""How long a document trained, and with how many updates, read off its averages over training.

A published row is an average over all of training, :math:`P \pm h`. Our runs of the same algorithm
have a running average :math:`A_s(n)` over their first n steps; the n at which its mean over seeds
reaches P is how long the document trained, if its algorithm learns as ours does. The interval
inverts Welch's test: all n around it at which our seeds and the published row do not differ.
Nothing is extrapolated: where the data end first, a limit is infinite (deviation U14).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import stats

from unirl_repro.analysis.curves import CONFIDENCE, running_area
from unirl_repro.analysis.statistics import Summary


@dataclass(frozen=True)
class Crossing:
    """Where a curve reaches a level for good, and where it may do so.

    Attributes
    ----------
    value : float
        NaN where the curve's mean does not reach the level inside the data.
    low, high : float
        Interval at `CONFIDENCE`. Infinite where the data end first (`high`) or begin too late
        (`low`, minus infinity); NaN where there are not two seeds.
    """

    value: float
    low: float
    high: float


UNKNOWN = Crossing(np.nan, np.nan, np.nan)


@dataclass(frozen=True)
class RunningAverage:
    """Average return over the first steps of training, of several seeds.

    Attributes
    ----------
    steps : (P,) array of float
        Ends of episodes, as far as the shortest seed goes.
    averages : (S, P) array of float
        Mean episode return over the first so many steps [reward].
    """

    steps: np.ndarray
    averages: np.ndarray

    @property
    def end(self) -> float:
        """Last step; 0 without data."""
        return float(self.steps[-1]) if len(self.steps) else 0.0

    def at(self, step: float) -> np.ndarray:
        """Each seed's average over its first `step` steps; none where the data do not reach it."""
        if not 0 < step <= self.end:
            return np.array([])
        return np.array([np.interp(step, self.steps, seed) for seed in self.averages])


def running_average(curves: pd.DataFrame) -> RunningAverage:
    """Average each seed's training episodes over its first steps.

    Parameters
    ----------
    curves : DataFrame
        Training episodes of one variant on one task: seed, env_step, return, length. Seeds with a
        return that is not finite are left out: they have no average.

    Returns
    -------
    RunningAverage
        At each end of an episode that every seed has reached.

    Examples
    --------
    >>> curve = pd.DataFrame({"seed": 0, "env_step": [10, 20], "return": [1.0, 3.0], "length": 10})
    >>> running_average(curve).averages
    array([[1., 2.]])
    """
    areas = [running_area(run) for _, run in curves.groupby("seed")]
    areas = [(ends, area) for ends, area in areas if np.isfinite(area).all()]
    if not areas:
        return RunningAverage(np.array([]), np.empty((0, 0)))
    end = min(ends[-1] for ends, _ in areas)
    steps = np.unique(np.concatenate([ends[1:] for ends, _ in areas]))
    steps = steps[steps <= end]
    averages = [np.interp(steps, ends, area) / (steps - ends[0]) for ends, area in areas]
    return RunningAverage(steps, np.array(averages))


def margin(averages: np.ndarray, published: Summary) -> np.ndarray:
    """By how much means may differ before Welch's test tells them apart.

    Parameters
    ----------
    averages : (S, P) array of float
        Ours, a row a seed [reward].
    published : Summary
        The document's.

    Returns
    -------
    (P,) array of float
        Half-width of the interval of the difference at `CONFIDENCE`; NaN below two seeds of either.
    """
    num_seeds, num_points = averages.shape
    if min(num_seeds, published.num_seeds) < 2:
        return np.full(num_points, np.nan)
    ours = averages.var(axis=0, ddof=1) / num_seeds
    theirs = published.spread**2 / published.num_seeds
    if theirs == 0:  # 0 / 0 where our seeds agree, too
        ours = np.maximum(ours, 1e-100)
    freedom = (ours + theirs) ** 2 / (
        ours**2 / (num_seeds - 1) + theirs**2 / (published.num_seeds - 1)
    )
    return stats.t.ppf((1 + CONFIDENCE) / 2, freedom) * np.sqrt(ours + theirs)


def crossing(x: np.ndarray, mean: np.ndarray, margin: np.ndarray, target: float) -> Crossing:
    """Find where a rising curve reaches a level for good, with the interval around it.

    Parameters
    ----------
    x : (P,) array of float
        Increasing.
    mean, margin : (P,) arrays of float
        The curve, and by how much it may be wrong [reward].
    target : float
        The level [reward].

    Returns
    -------
    Crossing
        Linear between points; the interval is the unbroken stretch around the value, or next to the
        end of the data, where the level is within the margin.

    Examples
    --------
    >>> x = np.array([1.0, 2.0, 3.0, 4.0])
    >>> crossing(x, x, np.full(4, 0.5), 2.5)
    Crossing(value=2.5, low=2.0, high=3.0)
    >>> crossing(x, x, np.full(4, 0.5), 9.0)
    Crossing(value=nan, low=4.0, high=inf)
    """
    if len(x) == 0:
        return UNKNOWN
    below = np.flatnonzero(mean < target)
    after = int(below[-1]) + 1 if len(below) else 0  # from here on it stays there
    inside = 0 < after < len(x)
    value = _between(x, mean - target, after) if inside else np.nan
    if np.isnan(margin).any():
        return Crossing(value, np.nan, np.nan)
    excluded_below = np.flatnonzero((mean + margin < target)[:after])
    excluded_above = np.flatnonzero((mean - margin > target)[after:])
    low, high = -np.inf, np.inf
    if len(excluded_below):
        low = _between(x, mean + margin - target, int(excluded_below[-1]) + 1)
    if len(excluded_above):
        high = _between(x, mean - margin - target, after + int(excluded_above[0]))
    return Crossing(value, low, high)


def _between(x: np.ndarray, excess: np.ndarray, after: int) -> float:
    """Where a curve that is negative before index `after`, and not at it, is zero."""
    if after == 0 or after == len(x):
        return float(x[min(after, len(x) - 1)])
    around = slice(after - 1, after + 1)
    return float(np.interp(0.0, excess[around], x[around]))


def training_length(average: RunningAverage, published: Summary) -> Crossing:
    """Environment steps at which our running average reaches a published one.

    Parameters
    ----------
    average : RunningAverage
        Of the algorithm of the row.
    published : Summary
        The row.

    Returns
    -------
    Crossing
        In environment steps.
    """
    if average.end == 0 or not np.isfinite(published.mean):
        return UNKNOWN
    mean, around = average.averages.mean(axis=0), margin(average.averages, published)
    return crossing(average.steps, mean, around, published.mean)


def combine(lengths: Mapping[str, Crossing]) -> Crossing:
    """One length from those of several rows.

    Parameters
    ----------
    lengths : mapping of str to Crossing
        By row; a row whose interval is not known says nothing.

    Returns
    -------
    Crossing
        The intersection of the intervals, and the geometric mean of the values, kept inside it;
        `UNKNOWN` if no row says anything. Where rows contradict each other `low` is above `high`.

    Examples
    --------
    >>> combine({"ppo": Crossing(100.0, 50.0, 200.0), "td3": Crossing(400.0, 90.0, np.inf)})
    Crossing(value=200.0, low=90.0, high=200.0)
    """
    known = [length for length in lengths.values() if not np.isnan([length.low, length.high]).any()]
    if not known:
        return UNKNOWN
    low, high = max(c.low for c in known), min(c.high for c in known)
    values = [c.value for c in known if np.isfinite(c.value)]
    middle = float(np.exp(np.mean(np.log(values)))) if values else np.nan
    return Crossing(middle if low > high else float(np.clip(middle, low, high)), low, high)


def updates_per_step(
    averages: Mapping[float, RunningAverage], length: Crossing, published: Summary
) -> Crossing:
    """Updates per environment step at which a row's average over training comes out.

    Parameters
    ----------
    averages : mapping of float to RunningAverage
        Runs with so many updates per step.
    length : Crossing
        How long the document trained.
    published : Summary
        The row.

    Returns
    -------
    Crossing
        Linear between the logarithms of the ratios that ran, at the length. Its interval counts the
        length's in: longer training needs fewer updates. What the data do not reach is unknown.
    """
    middle = _ratio_at(averages, length.value, published)
    fewest = _ratio_at(averages, length.high, published)
    most = _ratio_at(averages, length.low, published)
    return replace(middle, low=fewest.low, high=most.high)


def _ratio_at(
    averages: Mapping[float, RunningAverage], steps: float, published: Summary
) -> Crossing:
    seeds = {ratio: averages[ratio].at(steps) for ratio in sorted(averages)}
    there = {ratio: values for ratio, values in seeds.items() if len(values)}
    if not there:
        return UNKNOWN
    found = crossing(
        np.log2(list(there)),
        np.array([values.mean() for values in there.values()]),
        np.array([margin(values[:, None], published)[0] for values in there.values()]),
        published.mean,
    )
    return Crossing(*(float(np.exp2(limit)) for limit in (found.value, found.low, found.high)))
