"""How much data an algorithm needs to reach a level, and what overhead that pays for.

A curve here is the mean over seeds on the common grid (`analysis.curves.on_grid`), as Figure 2 of
unified_rl draws it; a level is a share of its highest point.
"""

import numpy as np
import pandas as pd

from unirl_repro.analysis.curves import CONFIDENCE, on_grid
from unirl_repro.analysis.statistics import NUM_RESAMPLES, Estimate

# A verdict and a bootstrap interval need so many seeds of each sample: of three, one resample in
# nine is a single seed's curve, and a spread of so few values may be none by chance.
MIN_SEEDS = 4

Curve = tuple[np.ndarray, np.ndarray]


def mean_curve(points: pd.DataFrame) -> Curve:
    """Mean over seeds at each point that every seed reached.

    Parameters
    ----------
    points : DataFrame
        From `on_grid`, one variant on one task: seed, env_step, return.

    Returns
    -------
    steps, returns : (P,) arrays of float
        Environment steps, increasing, and mean episode return [reward]. Points that a seed did not
        reach are left out: there the mean would jump, and with it the highest point.

    Examples
    --------
    >>> points = pd.DataFrame(
    ...     {"seed": [0, 0, 1], "env_step": [10.0, 20.0, 10.0], "return": [1.0, 5.0, 3.0]}
    ... )
    >>> mean_curve(points)
    (array([10.]), array([2.]))
    """
    table = points.pivot_table("return", "env_step", "seed")
    table = table.dropna().sort_index()
    return table.index.to_numpy(float), table.mean(axis=1).to_numpy(float)


def level(returns: np.ndarray, share: float) -> float:
    """Share of a curve's highest point.

    Parameters
    ----------
    returns : (P,) array of float
        Of `mean_curve` [reward].
    share : float
        Inside (0, 1].

    Returns
    -------
    float
        NaN for a curve without points, or whose highest return is not above zero: a share of that
        would be no lower level.
    """
    highest = float(np.max(returns, initial=-np.inf))
    return share * highest if highest > 0 else float("nan")


def steps_to_reach(steps: np.ndarray, returns: np.ndarray, target: float) -> float:
    """Environment step at which a curve first reaches a level.

    Parameters
    ----------
    steps, returns : (P,) arrays of float
        Increasing environment steps, and the return at each [reward].
    target : float
        The level [reward].

    Returns
    -------
    float
        Linear between points; the first point's step if that is there already; infinite if the
        curve never gets there, NaN if it has no points or there is no level.

    Examples
    --------
    >>> steps_to_reach(np.array([10.0, 20.0, 30.0]), np.array([0.0, 4.0, 2.0]), 3.0)
    17.5
    """
    if len(steps) == 0 or np.isnan(target):
        return float("nan")
    there = np.flatnonzero(returns >= target)
    if len(there) == 0:
        return float("inf")
    first = int(there[0])
    if first == 0:
        return float(steps[0])
    around = slice(first - 1, first + 1)
    return float(np.interp(target, returns[around], steps[around]))


def data_ratios(
    first: pd.DataFrame, second: pd.DataFrame, edges: np.ndarray, share: float, seed: int = 0
) -> tuple[float, np.ndarray]:
    """Data that one algorithm needs for a share of another's maximum, over what that one needs.

    Parameters
    ----------
    first, second : DataFrame
        Training episodes on one task: seed, env_step, return, length. The level is a share of the
        highest point of `second`.
    edges : (P + 1,) array of float
        Of the grid, from `analysis.curves.grid`.
    share : float
        0.8 in unified_rl (Sec. 6).
    seed : int, default 0
        Of the resampling.

    Returns
    -------
    ratio : float
        Of environment steps; infinite if `first` never gets there, NaN where there is no level.
    resampled : (R,) array of float
        The ratio in `NUM_RESAMPLES` resamples of the seeds of both, each with a level of its own
        (deviation U18); NaN where a resample has no level; empty below `MIN_SEEDS`.
    """
    tables = [
        on_grid(curves, edges).pivot_table("return", "env_step", "seed").dropna().sort_index()
        for curves in (first, second)
    ]
    if any(table.empty for table in tables):
        return float("nan"), np.array([])
    steps = [table.index.to_numpy(float) for table in tables]
    returns = [table.to_numpy(float) for table in tables]  # [P, S]
    value = _ratio(steps, [r.mean(axis=1) for r in returns], share)
    if np.isnan(value) or min(r.shape[1] for r in returns) < MIN_SEEDS:
        return value, np.array([])
    rng = np.random.default_rng(seed)
    drawn = [
        _ratio(steps, [_resampled(r, rng).mean(axis=1) for r in returns], share)
        for _ in range(NUM_RESAMPLES)
    ]
    return value, np.array(drawn)


def data_ratio(
    first: pd.DataFrame, second: pd.DataFrame, edges: np.ndarray, share: float, seed: int = 0
) -> Estimate:
    """`data_ratios` as an estimate with its percentile interval; NaN limits below `MIN_SEEDS`."""
    value, drawn = data_ratios(first, second, edges, share, seed)
    return Estimate(value, *percentiles(drawn))


def percentiles(drawn: np.ndarray) -> tuple[float, float]:
    """Limits of the interval that resamples span; NaN without any."""
    if len(drawn) == 0:
        return float("nan"), float("nan")
    tail = (1 - CONFIDENCE) / 2
    # Between two infinite ratios linear interpolation would give NaN.
    low, high = np.quantile(drawn, [tail, 1 - tail], method="inverted_cdf")
    return float(low), float(high)


def _ratio(steps: list[np.ndarray], returns: list[np.ndarray], share: float) -> float:
    target = level(returns[1], share)
    first, second = (steps_to_reach(s, r, target) for s, r in zip(steps, returns, strict=True))
    return first / second


def _resampled(returns: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    num_seeds = returns.shape[1]
    return returns[:, rng.integers(num_seeds, size=num_seeds)]


def permissible_overhead(
    ratio: float, update_seconds: float, episode_seconds: float = 10.0
) -> float:
    r"""Factor by which updates may be slower before saved data no longer pay (unified_rl, A.2.6).

    Parameters
    ----------
    ratio : float
        Data of the slower algorithm over data of the faster one, to the same level.
    update_seconds : float
        Updates of the faster algorithm in one episode.
    episode_seconds : float, default 10.0
        Interaction: 100 steps at 10 Hz.

    Returns
    -------
    float
        :math:`c` in :math:`(t + u) e = (t + c u) \rho e`.

    Examples
    --------
    >>> round(permissible_overhead(0.57, 0.008), 1)  # as printed
    944.7
    """
    return ((episode_seconds + update_seconds) / ratio - episode_seconds) / update_seconds
