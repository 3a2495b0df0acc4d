"""Statistics of Table 1: the paper's own tests, and robust ones beside them.

Tests work on a mean, a standard deviation and a number of seeds, so that our runs and published
rows, of which only these are known, go through the same code.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from unirl_repro.analysis.curves import CONFIDENCE

SIGNIFICANCE = 0.05
NUM_RESAMPLES = 2000
TRIMMED = 0.25  # at each end: what is left is the interquartile mean


@dataclass(frozen=True)
class Summary:
    """What a t-test needs to know of a sample.

    Attributes
    ----------
    mean : float
        NaN without a value.
    spread : float
        Sample standard deviation (n - 1 in the denominator); NaN below two values.
    num_seeds : int
        Number of finite values.
    """

    mean: float
    spread: float
    num_seeds: int

    @property
    def half_width(self) -> float:
        """Half-width of Student's t interval at `CONFIDENCE`; NaN below two seeds."""
        return float(_quantile(self.num_seeds) * self.spread / np.sqrt(max(self.num_seeds, 1)))


@dataclass(frozen=True)
class Estimate:
    """A number with a bootstrap interval."""

    value: float
    low: float
    high: float


def _quantile(num_seeds: int) -> float:
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, num_seeds - 1)) if num_seeds > 1 else np.nan


def summarise(values: ArrayLike) -> Summary:
    """Summarise the finite values of a sample.

    Examples
    --------
    >>> summarise(np.array([1.0, 3.0, np.nan]))
    Summary(mean=2.0, spread=1.4142135623730951, num_seeds=2)
    """
    finite = _finite(values)
    mean = float(finite.mean()) if len(finite) else np.nan
    spread = float(finite.std(ddof=1)) if len(finite) > 1 else np.nan
    return Summary(mean, spread, len(finite))


def ratio_of_pairs(first: ArrayLike, second: ArrayLike) -> Estimate:
    """Geometric mean of first / second over pairs, with Student's interval of the logarithms.

    Parameters
    ----------
    first, second : (S,) arrays of float
        Two positive numbers of each seed; NaN is a missing one.

    Returns
    -------
    Estimate
        The other way round it is the reciprocal; NaN limits below two pairs.

    Examples
    --------
    >>> round(ratio_of_pairs([2.0, 8.0], [1.0, 1.0]).value, 6)
    4.0
    """
    of = summarise(np.log(np.asarray(first, float)) - np.log(np.asarray(second, float)))
    limits = (of.mean, of.mean - of.half_width, of.mean + of.half_width)
    return Estimate(*(float(np.exp(limit)) for limit in limits))


def summary_of_interval(mean: float, half_width: float, num_seeds: int) -> Summary:
    """Recover a sample's summary from a published interval.

    Parameters
    ----------
    mean, half_width : float
        As printed: mean ± half-width at `CONFIDENCE`.
    num_seeds : int
        Seeds behind the interval.

    Returns
    -------
    Summary
        With the spread that makes Student's t interval as wide as the printed one; the paper does
        not say how its intervals were made: deviation S1.
    """
    return Summary(mean, half_width * np.sqrt(num_seeds) / _quantile(num_seeds), num_seeds)


def t_test(first: Summary, second: Summary, *, equal_variance: bool = True) -> float:
    """Two-sided p-value of an unpaired t-test.

    Parameters
    ----------
    first, second : Summary
        Two independent samples.
    equal_variance : bool, default True
        Student's test, which unified_rl names without its kind (deviation S4); else Welch's.

    Returns
    -------
    float
        NaN where a sample has fewer than two values. Between two samples without any spread, 1 if
        they are equal and 0 if not.

    Examples
    --------
    >>> round(t_test(Summary(1.0, 1.0, 5), Summary(3.0, 1.0, 5)), 4)
    0.0133
    """
    if min(first.num_seeds, second.num_seeds) < 2:
        return np.nan
    if first.spread == 0 and second.spread == 0:
        return float(first.mean == second.mean)
    test = stats.ttest_ind_from_stats(
        *(first.mean, first.spread, first.num_seeds),
        *(second.mean, second.spread, second.num_seeds),
        equal_var=equal_variance,
    )
    return float(test.pvalue)


def compare_to_best(samples: Mapping[str, Summary], repeated: Collection[str] = ()) -> pd.DataFrame:
    """Test each algorithm against the one with the highest mean (the rule of Table 1).

    Parameters
    ----------
    samples : mapping of str to Summary
        One task's algorithms.
    repeated : collection of str, default ()
        Those that repeat another's runs: no comparison of their own, so Holm counts them not.

    Returns
    -------
    DataFrame
        Index: the algorithms. `p_student`, `p_welch`: against the best, NaN for the best itself
        and where a side has one seed; `p_holm`: Welch's, corrected for the number of comparisons,
        NaN for what is repeated; `bold`: has a value, and is not significantly worse than the best by Student's test. An
        algorithm of one seed cannot be tested: bold only if it is the best. Where means tie, each
        of the best is bold.
    """
    best = max(
        (sample for sample in samples.values() if np.isfinite(sample.mean)),
        key=lambda sample: sample.mean,
        default=Summary(np.nan, np.nan, 0),
    )
    student = [_against(best, sample, equal_variance=True) for sample in samples.values()]
    welch = [_against(best, sample, equal_variance=False) for sample in samples.values()]
    family = [np.nan if n in repeated else p for n, p in zip(samples, welch, strict=True)]
    return pd.DataFrame(
        {
            "p_student": student,
            "p_welch": welch,
            "p_holm": holm(np.array(family, float)),
            "bold": [
                sample.mean == best.mean or p >= SIGNIFICANCE
                for sample, p in zip(samples.values(), student, strict=True)
            ],
        },
        index=list(samples),
    )


def _against(best: Summary, sample: Summary, *, equal_variance: bool) -> float:
    return np.nan if sample is best else t_test(sample, best, equal_variance=equal_variance)


def significantly_better(first: Summary, second: Summary) -> bool:
    """Whether the first mean is higher and Student's test tells the two apart."""
    return first.mean > second.mean and t_test(first, second) < SIGNIFICANCE


def holm(p_values: np.ndarray) -> np.ndarray:
    """Holm's correction over the p-values that exist; NaN stays NaN and is not counted.

    Examples
    --------
    >>> holm(np.array([0.01, np.nan, 0.04]))
    array([0.02,  nan, 0.04])
    """
    corrected = np.full(len(p_values), np.nan)
    # Written out, since statsmodels collects garbage at each call: half the time of all claims.
    order = np.argsort(p_values)[: np.isfinite(p_values).sum()]  # NaN comes last
    factors = np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(factors * p_values[order]), 1.0)
    return corrected


def normalise(returns: pd.DataFrame, anchors: pd.DataFrame | None = None) -> pd.DataFrame:
    """Bring each task's returns to [0, 1] by the lowest and the highest row.

    Parameters
    ----------
    returns : DataFrame
        A row an algorithm, a column a task [reward]; NaN where an algorithm has no value.
    anchors : DataFrame, optional
        Rows that give the lowest and highest return; default `returns` itself, the paper's rule.
        With published rows as anchors a single algorithm of ours has a value, and values may lie
        outside [0, 1]: deviation S5.

    Returns
    -------
    DataFrame
        As `returns`; NaN where all anchors of a task are equal.

    Examples
    --------
    >>> normalise(pd.DataFrame({"hopper-200": [1.0, 2.0, 3.0]}))["hopper-200"].tolist()
    [0.0, 0.5, 1.0]
    """
    anchors = returns if anchors is None else anchors[returns.columns]
    low, high = anchors.min(), anchors.max()
    return (returns - low) / (high - low).where(high > low)


@contextmanager
def seeded_numpy(seed: int) -> Iterator[None]:
    """Seed NumPy's global generator for a block and restore it afterwards.

    rliable draws from that generator and ignores the `random_state` it is given.
    """
    before = np.random.get_state()  # noqa: NPY002 (rliable has no other way)
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(before)  # noqa: NPY002


def interquartile_mean(*tasks: np.ndarray) -> np.ndarray:
    """Mean of the middle half of all runs of all tasks, as rliable wants it: an array of one."""
    runs = np.concatenate([np.ravel(task) for task in tasks])
    return np.array([stats.trim_mean(runs, TRIMMED)])


def improvement(*tasks: np.ndarray) -> np.ndarray:
    """Mean over tasks of P(first > second), ties counting one half; first half of `tasks` first.

    rliable's own function makes a whole rank test for each resample, forty times slower.
    """
    half = len(tasks) // 2
    chances = [
        (np.sign(np.subtract.outer(np.ravel(first), np.ravel(second))) + 1).mean() / 2
        for first, second in zip(tasks[:half], tasks[half:], strict=True)
    ]
    return np.array([np.mean(chances)])


def interquartile_mean_interval(tasks: Sequence[np.ndarray], seed: int = 0) -> Estimate:
    """Interquartile mean over runs and tasks, with a stratified bootstrap interval.

    Parameters
    ----------
    tasks : sequence of (n,) arrays of float
        Normalised scores of the runs of each task; tasks may have different numbers of seeds, and
        NaN is a missing seed.
    seed : int, default 0
        Of the resampling: the same seed gives the same interval.

    Returns
    -------
    Estimate
        Percentile interval over `NUM_RESAMPLES` resamples, seeds drawn anew within each task
        (deviation S7); NaN limits where no task has two seeds.
    """
    return _bootstrap([_finite(task) for task in tasks], interquartile_mean, seed)


def improvement_interval(
    first: Sequence[np.ndarray], second: Sequence[np.ndarray], seed: int = 0
) -> Estimate:
    """Probability that a run of `first` beats one of `second` on a task both have.

    Parameters
    ----------
    first, second : sequence of (n,) arrays of float
        Scores of the runs of each task, the same tasks in the same order; NaN is a missing seed.
    seed : int, default 0
        Of the resampling.

    Returns
    -------
    Estimate
        Averaged over the tasks where both have a run, with a stratified bootstrap interval.
    """
    if len(first) != len(second):
        raise ValueError(f"{len(first)} tasks against {len(second)}; give both the same tasks")
    pairs = [(_finite(a), _finite(b)) for a, b in zip(first, second, strict=True)]
    shared = [(a, b) for a, b in pairs if len(a) and len(b)]
    return _bootstrap([a for a, _ in shared] + [b for _, b in shared], improvement, seed)


def _finite(values: ArrayLike) -> np.ndarray:
    array = np.asarray(values, float)
    return array[np.isfinite(array)]


def _bootstrap(
    tasks: list[np.ndarray], statistic: Callable[..., np.ndarray], seed: int
) -> Estimate:
    """Resample within each task apart (rliable takes strata of different sizes as arguments)."""
    from rliable import library  # seconds to import, and few figures and tables want it

    tasks = [task for task in tasks if len(task)]
    if not tasks:
        return Estimate(np.nan, np.nan, np.nan)
    if max(len(task) for task in tasks) < 2:
        return Estimate(float(statistic(*tasks)[0]), np.nan, np.nan)
    with seeded_numpy(seed):
        points, intervals = library.get_interval_estimates(
            {"": [task[:, None] for task in tasks]},
            statistic,
            reps=NUM_RESAMPLES,
            confidence_interval_size=CONFIDENCE,
        )
    low, high = intervals[""][:, 0]
    return Estimate(float(points[""][0]), float(low), float(high))
