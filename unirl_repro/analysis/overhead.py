r"""Does saved data pay for slower updates? The wall-clock time of unified_rl, A.2.6.

An episode takes :math:`T / f` seconds of interaction (T steps at f steps per second) and u seconds
of updates; an algorithm that needs e episodes takes :math:`(T / f + u) e`. The factor that A.2.6
solves for is `analysis.thresholds.permissible_overhead`.
"""

import numpy as np


def wall_seconds(steps: float, rate: float, update_seconds: float, *, horizon: int) -> float:
    """Time to make so many environment steps, updates and all, one after the other.

    Parameters
    ----------
    steps : float
        Environment steps to the level.
    rate : float
        Interaction [steps per second].
    update_seconds : float
        Of all updates that go with one episode.
    horizon : int
        Steps of an episode.

    Returns
    -------
    float
        Seconds.

    Examples
    --------
    >>> wall_seconds(1_000, 10.0, 0.5, horizon=100)
    105.0
    """
    return steps / horizon * (horizon / rate + update_seconds)


def break_even_rate(
    ratio: float, fast_seconds: float, slow_seconds: float, *, horizon: int
) -> float:
    r"""Interaction rate below which an algorithm with less data and slower updates takes less time.

    Parameters
    ----------
    ratio : float
        Its data over the other's, to the same level.
    fast_seconds, slow_seconds : float
        Updates of the other, and its own, in one episode.
    horizon : int
        Steps of an episode.

    Returns
    -------
    float
        Steps per second: the f at which :math:`T / f + u = (T / f + u') \rho`. Infinite where less
        data comes with no dearer updates: it pays at any rate. Zero where it pays at none, since it
        saves no data. NaN where an input is, or where more data comes with cheaper updates: then
        only rates above some value pay, which is no question of saving data.

    Examples
    --------
    >>> break_even_rate(0.5, 1.0, 12.0, horizon=100)
    10.0
    """
    dearer = ratio * slow_seconds - fast_seconds  # of updates, for each episode of the other
    if np.isnan(ratio) or np.isnan(dearer):
        return float("nan")
    if ratio >= 1:
        return 0.0 if dearer >= 0 else float("nan")
    return horizon * (1 - ratio) / dearer if dearer > 0 else float("inf")


def nearer(value: float, candidates: dict[str, float]) -> str:
    """Name of the candidate that is the fewest times larger or smaller; none for NaN.

    Examples
    --------
    >>> nearer(0.009, {"episode": 0.00008, "update": 0.008})
    'update'
    """
    if not np.isfinite(value) or value <= 0:
        return ""
    return min(candidates, key=lambda name: abs(np.log(value / candidates[name])))
