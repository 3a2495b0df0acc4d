"""What a claim's test goes by: means over seeds, of our runs or of the printed table, and contrasts.

The tests ask `Runs` and `Printed` the same questions, so that one function decides on our runs and
says what the printed numbers alone say.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import pandas as pd
from scipy import stats

from unirl_repro.analysis.curves import CONFIDENCE, evaluations, grid, on_grid, training
from unirl_repro.analysis.frames import AVERAGE
from unirl_repro.analysis.statistics import Summary, summarise, summary_of_interval
from unirl_repro.analysis.thresholds import data_ratios

WHOLE = (0.0, 1.0)
NOTHING = Summary(np.nan, np.nan, 0)
RANDOM = "random"
# What Unified RL's test chose, by who acted: one forced to be model-free would have been MBRL's.
# Random episodes, and those before there is a model to test, are no choices.
CHOSEN = {"sac": "sac", "mbrl": "mbrl", "sac_forced": "mbrl"}
Window = tuple[float, float]


@dataclass(frozen=True)
class Finding:
    """One comparison that a claim rests on.

    Attributes
    ----------
    what : str
        What is compared: a task, and more where that is not enough.
    effect, low, high : float
        The estimate and its interval, in `unit`.
    unit : str
        "normalised return" (a share of the range of the task's published rows), "share of
        tested episodes", "ratio of data", "factor" or "ratio of magnitudes"; in tabular worlds
        "return", "nats", "share", "iterations" or "number".
    p_for, p_against : float
        Two-sided p-values against the hypotheses that the claim fails here, and that it holds
        here; NaN with fewer than two seeds, or where no spread is known.
    num_seeds : int
        Of the smallest sample in it.
    exact : bool
        Whether it holds or does not, without a p-value: for all seeds, or, where it is not random
        and `num_seeds` is 0, once and for all.
    also : dict of str to float
        Numbers that decide nothing.
    """

    what: str
    effect: float
    low: float
    high: float
    unit: str
    p_for: float
    p_against: float
    num_seeds: int
    exact: bool = False
    also: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Contrast:
    """A weighted sum of means.

    Attributes
    ----------
    effect, error : float
        Its value and standard error; the error is NaN where a sample has fewer than two values.
    freedom : float
        Degrees of freedom of its t distribution.
    num_seeds : int
        Of the smallest sample.
    """

    effect: float
    error: float
    freedom: float
    num_seeds: int

    def above(self, bound: float) -> float:
        """Two-sided p-value of the bound if the effect lies above it, else 1."""
        return self._p(self.effect - bound)

    def below(self, bound: float) -> float:
        """Two-sided p-value of the bound if the effect lies below it, else 1."""
        return self._p(bound - self.effect)

    def _p(self, distance: float) -> float:
        # Seeds that are all alike tell nothing of how far others would be.
        if not self.error > 0 or np.isnan(distance):
            return float("nan")
        return min(1.0, 2 * float(stats.t.sf(distance / self.error, self.freedom)))

    @property
    def interval(self) -> tuple[float, float]:
        """Interval of the effect at `CONFIDENCE`."""
        quantile = float(stats.t.ppf((1 + CONFIDENCE) / 2, self.freedom)) if self.error else 0.0
        return self.effect - quantile * self.error, self.effect + quantile * self.error


def contrast(terms: Sequence[tuple[float, Summary]], *, equal_variance: bool = False) -> Contrast:
    r"""Weighted sum of independent means.

    Parameters
    ----------
    terms : sequence of (float, Summary)
        Weights and samples.
    equal_variance : bool, default False
        Pool the variances, as Student's test does; else Welch's approximation.

    Returns
    -------
    Contrast
        With :math:`\sqrt{\sum_i w_i^2 s_i^2 / n_i}` as its error, and Satterthwaite's degrees of
        freedom; for two samples with weights 1 and -1 these are Welch's test, for one sample
        Student's.

    Examples
    --------
    >>> found = contrast([(1.0, Summary(3.0, 1.0, 5)), (-1.0, Summary(1.0, 1.0, 5))])
    >>> round(found.above(0.0), 4), found.below(0.0)
    (0.0133, 1.0)
    """
    weights = np.array([weight for weight, _ in terms])
    numbers = np.array([sample.num_seeds for _, sample in terms])
    effect = float(sum(weight * sample.mean for weight, sample in terms))
    if numbers.min() < 2:
        return Contrast(effect, float("nan"), float("nan"), int(numbers.min()))
    variances = np.array([sample.spread for _, sample in terms]) ** 2
    if equal_variance:
        freedom = float((numbers - 1).sum())
        pooled = float(((numbers - 1) * variances).sum()) / freedom
        variances = np.full(len(terms), pooled)
    parts = weights**2 * variances / numbers
    total = float(parts.sum())
    if not equal_variance:
        freedom = total**2 / float((parts**2 / (numbers - 1)).sum()) if total else np.inf
    return Contrast(effect, float(np.sqrt(total)), freedom, int(numbers.min()))


class Evidence(Protocol):
    """Answers the tests' questions; a sample without values where it cannot."""

    def returns(self, task: str, variant: str, window: Window) -> Summary:
        """Mean episode return over a window of training, over seeds."""

    def gain(
        self, task: str, variant: str, window: Window, policies: Collection[str] | None
    ) -> Summary:
        """Return in a window less that of the run's own random episodes, over seeds."""

    def choices(self, task: str, variant: str, policy: str, window: Window) -> Summary:
        """Share of a window's tested episodes in which the test chose a policy, over seeds.

        With `share_spread`, since shares at 0 or 1 may be alike in all seeds.
        """

    def data_ratios(
        self, task: str, first: str, second: str, share: float
    ) -> tuple[float, np.ndarray, int]:
        """Ratio of data to a level, its resamples, and the seeds of the smaller sample."""

    def evaluations(self, task: str, variant: str, step: int) -> Summary:
        """Evaluation return at a step, over seeds."""

    def reported(self, task: str, variant: str, step: int) -> Summary:
        """What a document or its code gives for that."""

    def evaluated(
        self, task: str, variant: str, window: Window, *, longer: bool = False
    ) -> Summary:
        """Mean evaluation return over a window of training, over seeds.

        With `longer`, over a window of a run that goes on beyond its task's budget.
        """

    def magnitude(
        self, task: str, variant: str, metric: str, beside: str, window: Window, *, signed: bool
    ) -> Summary:
        """Mean of a metric over a window, or of its size, over the mean size of another; over seeds."""

    def range(self, task: str) -> float:
        """Highest less lowest published row of a task [reward]."""

    def lowest(self, task: str) -> float:
        """Lowest published row of a task [reward]."""


def published_ranges(published: pd.DataFrame) -> dict[str, float]:
    """Highest less lowest published row of each task: the unit of a margin.

    Parameters
    ----------
    published : DataFrame
        Rows of kind `published`, from `analysis.frames.load_published`: Table 1, and the tops of
        tasks that are not in it.
    """
    lowest = published_lowest(published)
    rows = published[published["task"] != AVERAGE].groupby("task")["return"]
    return {str(task): float(highest) - lowest[str(task)] for task, highest in rows.max().items()}


def published_lowest(published: pd.DataFrame) -> dict[str, float]:
    """Lowest published row of each task, the zero of a normalised return; 0 below a lone top."""
    rows = published[published["task"] != AVERAGE].groupby("task")["return"]
    # A task that Table 1 does not have is given by one row, its top: deviation D21.
    return {str(task): float(group.min()) if len(group) > 1 else 0.0 for task, group in rows}


def share_spread(counts: np.ndarray, numbers: np.ndarray) -> float:
    r"""Standard deviation over seeds that shares have at least: that of the episodes they count.

    Parameters
    ----------
    counts, numbers : (S,) arrays of int
        Episodes of a kind, and all episodes, of each seed.

    Returns
    -------
    float
        With which the mean of shares has the binomial standard error of all :math:`N` episodes, of
        which one more is taken to be of the kind and one more not (Laplace). Where all are of the
        kind that error is about one episode's worth, :math:`1 / N`.

    Examples
    --------
    >>> spread = share_spread(np.array([10, 10, 10, 10]), np.array([10, 10, 10, 10]))
    >>> round(float(40 * spread / np.sqrt(4)), 2)  # in episodes
    0.96
    """
    total = numbers.sum()
    share = (counts.sum() + 1) / (total + 2)
    return float(np.sqrt(share * (1 - share) / total * len(numbers)))


@dataclass(frozen=True)
class Runs:
    """Our runs.

    Attributes
    ----------
    frame : DataFrame
        Rows of the claim's runs, each run once, and what is published of them.
    budget : dict of str to int
        Environment steps of each task, which windows are shares of.
    ranges, lowests : dict of str to float
        From `published_ranges` and `published_lowest`.
    longer : dict of (str, str) to int
        Environment steps by task and variant, of those that train beyond their task's budget.
    """

    frame: pd.DataFrame
    budget: Mapping[str, int]
    ranges: Mapping[str, float]
    lowests: Mapping[str, float] = field(default_factory=dict)
    longer: Mapping[tuple[str, str], int] = field(default_factory=dict)

    def returns(self, task: str, variant: str, window: Window) -> Summary:
        return summarise(self._averages(self._rows(task, variant), task, window).to_numpy())

    def gain(
        self, task: str, variant: str, window: Window, policies: Collection[str] | None
    ) -> Summary:
        rows = self._rows(task, variant)
        start = rows[rows["policy"] == RANDOM].groupby("seed")["return"].mean()
        if policies is not None:
            acted = _within(rows[rows["policy"].isin(policies)], window, self.budget.get(task, 0))
            return summarise((acted.groupby("seed")["return"].mean() - start).to_numpy())
        return summarise((self._averages(rows, task, window) - start).to_numpy())

    def choices(self, task: str, variant: str, policy: str, window: Window) -> Summary:
        rows = self._rows(task, variant)
        tested = _within(rows[rows["policy"].isin(CHOSEN)], window, self.budget.get(task, 0))
        chosen = tested["policy"].map(CHOSEN) == policy
        seeds = chosen.groupby(tested["seed"])
        found = summarise(seeds.mean().to_numpy(float))
        if found.num_seeds < 2:
            return found
        least = share_spread(seeds.sum().to_numpy(), seeds.size().to_numpy())
        return replace(found, spread=max(found.spread, least))

    def data_ratios(
        self, task: str, first: str, second: str, share: float
    ) -> tuple[float, np.ndarray, int]:
        both = [self._rows(task, variant) for variant in (first, second)]
        if task not in self.budget or any(rows.empty for rows in both):
            return float("nan"), np.array([]), 0
        edges = grid(pd.concat(both), self.budget[task])
        value, drawn = data_ratios(both[0], both[1], edges, share)
        return value, drawn, min(rows["seed"].nunique() for rows in both)

    def evaluations(self, task: str, variant: str, step: int) -> Summary:
        rows = evaluations(self._recorded(task, variant))
        return summarise(rows[rows["env_step"] == step]["return"].to_numpy(float))

    def reported(self, task: str, variant: str, step: int) -> Summary:
        rows = self.frame[self.frame["kind"] == "published"]
        found = rows[(rows["task"] == task) & (rows["variant"] == variant)]
        return _printed(found[found["env_step"] == step])

    def evaluated(
        self, task: str, variant: str, window: Window, *, longer: bool = False
    ) -> Summary:
        steps = self.longer.get((task, variant), 0) if longer else self.budget.get(task, 0)
        points = evaluations(_within(self._recorded(task, variant), window, steps))
        return summarise(points.groupby("seed")["return"].mean().to_numpy(float))

    def magnitude(
        self, task: str, variant: str, metric: str, beside: str, window: Window, *, signed: bool
    ) -> Summary:
        rows = self._recorded(task, variant)
        rows = _within(rows[rows["kind"] == "metric"], window, self.budget.get(task, 0))
        if rows.empty:  # without any, a frame has no column of values
            return NOTHING
        rows = rows.assign(size=rows["value"].abs())
        ours, other = (rows[rows["name"] == name].groupby("seed") for name in (metric, beside))
        ratio = ours["value" if signed else "size"].mean() / other["size"].mean()
        return summarise(ratio.to_numpy(float))

    def range(self, task: str) -> float:
        return self.ranges.get(task, float("nan"))

    def lowest(self, task: str) -> float:
        return self.lowests.get(task, float("nan"))

    def _rows(self, task: str, variant: str) -> pd.DataFrame:
        return training(self._recorded(task, variant))

    def _recorded(self, task: str, variant: str) -> pd.DataFrame:
        """Rows of any kind."""
        frame = self.frame
        return frame[(frame["task"] == task) & (frame["variant"] == variant)]

    def _averages(self, rows: pd.DataFrame, task: str, window: Window) -> pd.Series:
        """Mean of each seed's curve over a window, each environment step counting once."""
        if task not in self.budget or rows.empty:
            return pd.Series(dtype=float)
        edges = self.budget[task] * np.array(window)
        return on_grid(rows, edges).set_index("seed")["return"]


@dataclass(frozen=True)
class Printed:
    """The numbers of Table 1, which are averages over all of training.

    Attributes
    ----------
    published : DataFrame
        Rows of kind `published`.
    """

    published: pd.DataFrame

    def returns(self, task: str, variant: str, window: Window) -> Summary:
        rows = self.published
        found = rows[(rows["task"] == task) & (rows["variant"] == variant)]
        return _printed(found[found["env_step"] == 0]) if window == WHOLE else NOTHING

    def gain(
        self, task: str, variant: str, window: Window, policies: Collection[str] | None
    ) -> Summary:
        return NOTHING

    def choices(self, task: str, variant: str, policy: str, window: Window) -> Summary:
        return NOTHING

    def data_ratios(
        self, task: str, first: str, second: str, share: float
    ) -> tuple[float, np.ndarray, int]:
        return float("nan"), np.array([]), 0

    def evaluations(self, task: str, variant: str, step: int) -> Summary:
        return NOTHING

    def reported(self, task: str, variant: str, step: int) -> Summary:
        return NOTHING

    def evaluated(
        self, task: str, variant: str, window: Window, *, longer: bool = False
    ) -> Summary:
        return NOTHING

    def magnitude(
        self, task: str, variant: str, metric: str, beside: str, window: Window, *, signed: bool
    ) -> Summary:
        return NOTHING

    def range(self, task: str) -> float:
        return published_ranges(self.published).get(task, float("nan"))

    def lowest(self, task: str) -> float:
        return published_lowest(self.published).get(task, float("nan"))


def _within(rows: pd.DataFrame, window: Window, steps: int) -> pd.DataFrame:
    """Rows inside a window of so many steps, by where they end."""
    low, high = (steps * edge for edge in window)
    return rows[(rows["env_step"] > low) & (rows["env_step"] <= high)]


def _printed(rows: pd.DataFrame) -> Summary:
    """The first of some published rows."""
    if rows.empty:
        return NOTHING
    row = rows.iloc[0]
    return summary_of_interval(row["return"], row["interval"], int(row["num_seeds"]))
