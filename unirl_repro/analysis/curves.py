"""Curves on a common grid, their average over training, and intervals over seeds.

A curve is read as a step function: each environment step has the return of the episode it belongs
to. Everything here is an area under that function, so means over a grid and over all of training
agree exactly, however long the episodes are.
"""

import numpy as np
import pandas as pd
from scipy import stats

RUN = ["task", "variant", "algorithm", "seed"]
NUM_POINTS = 100
CONFIDENCE = 0.95


def cut(curves: pd.DataFrame, budget: int) -> pd.DataFrame:
    """Keep the rows that end within the budget.

    Parameters
    ----------
    curves : DataFrame
        Curve rows; `env_step` is the step at which an episode ended.
    budget : int
        Environment steps.

    Returns
    -------
    DataFrame
        The curves as runs with that budget would have recorded them.
    """
    return curves[curves["env_step"] <= budget]


def training(frame: pd.DataFrame) -> pd.DataFrame:
    """The training episodes of a frame, without evaluations and published values."""
    return frame[frame["kind"] == "train"]


def evaluations(frame: pd.DataFrame) -> pd.DataFrame:
    """Mean return of each evaluation: one row a seed and step.

    Parameters
    ----------
    frame : DataFrame
        Rows of one variant on one task.

    Returns
    -------
    DataFrame
        Columns seed, env_step, return.
    """
    rows = frame[frame["kind"] == "eval"]
    return rows.groupby(["seed", "env_step"])["return"].mean().reset_index()


def running_area(run: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Area under a run's curve up to the end of each episode.

    Parameters
    ----------
    run : DataFrame
        Training episodes of one run: env_step, return, length.

    Returns
    -------
    ends, areas : (E + 1,) arrays of float
        Step at the end of each episode, and the area up to there [reward steps]; first the start.
    """
    run = run.sort_values("env_step")
    ends = run["env_step"].to_numpy(float)
    lengths = run["length"].to_numpy(float)
    start = ends[:1] - lengths[:1]
    areas = np.cumsum(run["return"].to_numpy(float) * lengths)
    return np.concatenate([start, ends]), np.concatenate([[0.0], areas])


def training_average(run: pd.DataFrame) -> float:
    r"""Mean episode return over all of a run's training (Table 1 of unified_rl).

    Parameters
    ----------
    run : DataFrame
        Training episodes of one run: env_step, return, length.

    Returns
    -------
    float
        Area under the curve divided by its steps [reward]; NaN without an episode or where an
        episode's return is NaN.

    Notes
    -----
    :math:`\sum_i R_i T_i / \sum_i T_i` over episodes i of length T and return R. Where all
    episodes have one length this is their plain mean. A run that stopped early is averaged over
    the steps it has: deviation S3.

    Examples
    --------
    >>> run = pd.DataFrame({"env_step": [10, 40], "return": [1.0, 5.0], "length": [10, 30]})
    >>> training_average(run)
    4.0
    """
    if run.empty:
        return float("nan")
    lengths = run["length"].to_numpy(float)
    return float((run["return"].to_numpy(float) * lengths).sum() / lengths.sum())


def training_averages(frame: pd.DataFrame) -> pd.DataFrame:
    """Average each run of a frame over its training.

    Parameters
    ----------
    frame : DataFrame
        A study's tidy frame.

    Returns
    -------
    DataFrame
        A row a run: task, variant, algorithm, seed, source, value [reward] and num_steps, the last
        environment step of the curve.
    """
    rows = [
        {
            **dict(zip(RUN, key, strict=True)),
            "source": run["source"].iloc[0],
            "value": training_average(run),
            "num_steps": int(run["env_step"].max()),
        }
        for key, run in training(frame).groupby(RUN, sort=False)
    ]
    return pd.DataFrame(rows, columns=[*RUN, "source", "value", "num_steps"])


def grid(curves: pd.DataFrame, end: int, num_points: int = NUM_POINTS) -> np.ndarray:
    """Edges of the cells that `on_grid` averages over, no cell shorter than an episode.

    Parameters
    ----------
    curves : DataFrame
        Training episodes of any number of runs.
    end : int
        Last environment step, the study's budget.
    num_points : int, default 100
        Cells, unless episodes are too long for so many.

    Returns
    -------
    (P + 1,) array of float
        From 0 to `end`.
    """
    longest = curves["length"].max() if len(curves) else 1
    cells = int(np.clip(end // longest, 1, num_points))
    return np.linspace(0.0, end, cells + 1)


def on_grid(curves: pd.DataFrame, edges: np.ndarray, window: float = 0.0) -> pd.DataFrame:
    """Put the curves of several seeds on one grid; episodes end at different steps.

    Parameters
    ----------
    curves : DataFrame
        Training episodes of one variant on one task: seed, env_step, return, length.
    edges : (P + 1,) array of float
        Edges of the cells, from `grid`.
    window : float, default 0
        Environment steps that a mean reaches back over where its cell is shorter than that.

    Returns
    -------
    DataFrame
        seed, env_step (a cell's right edge, but no step that none of the curves reached) and
        return: the mean of the curve over the part of the cell that the run covered. Cells that a
        run never reached have no row: a run that stopped early is a shorter curve. unified_rl
        names no smoothing: deviation S2.

    Examples
    --------
    >>> curve = pd.DataFrame({"seed": 0, "env_step": [10, 20], "return": [1.0, 3.0], "length": 10})
    >>> on_grid(curve, np.array([0.0, 20.0]))
       seed  env_step  return
    0     0      20.0     2.0
    """
    parts = [_run_on_grid(run, edges, window) for _, run in curves.groupby("seed")]
    if not parts:
        return pd.DataFrame({"seed": [], "env_step": [], "return": []})
    points = pd.concat(parts, ignore_index=True)
    # Seeds that end in one cell share its point, at the end of the longest of them.
    return points.assign(env_step=points["env_step"].clip(upper=float(curves["env_step"].max())))


def _run_on_grid(run: pd.DataFrame, edges: np.ndarray, window: float) -> pd.DataFrame:
    ends, areas = running_area(run)
    covered = np.clip(edges, ends[0], ends[-1])
    reached = np.diff(covered) > 0
    right = covered[1:]
    left = np.maximum(np.minimum(covered[:-1], right - window), ends[0])
    width = right - left
    area = np.interp(right, ends, areas) - np.interp(left, ends, areas)
    return pd.DataFrame(
        {
            "seed": run["seed"].iloc[0],
            "env_step": edges[1:][reached],
            "return": area[reached] / width[reached],
        }
    )


def mean_interval(
    returns: np.ndarray, confidence: float = CONFIDENCE
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    r"""Mean over seeds with Student's t interval, at each point of a curve.

    Parameters
    ----------
    returns : (S, P) array of float
        Episode return [reward]; a row a seed, a column a point; NaN where a seed is missing.
    confidence : float, default 0.95
        Coverage, inside (0, 1).

    Returns
    -------
    mean, low, high : (P,) arrays of float
        In the unit of `returns`; the interval is NaN below two seeds, the mean below one.

    Raises
    ------
    ValueError
        If `returns` is not two-dimensional or `confidence` is outside (0, 1).

    Notes
    -----
    Half-width :math:`t_{n-1} s / \sqrt{n}`. unified_rl says 95%, not how: deviation S1.

    Examples
    --------
    >>> mean_interval(np.array([[1.0], [2.0], [3.0]]))[1].round(3)
    array([-0.484])
    """
    if returns.ndim != 2:
        raise ValueError(f"returns has shape {returns.shape}; expected (seeds, points)")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}; allowed: above 0 and below 1")
    n = np.isfinite(returns).sum(axis=0)
    returns = np.where(np.isfinite(returns), returns, np.nan)
    mean = np.nansum(returns, axis=0) / np.where(n > 0, n, np.nan)
    spread = np.sqrt(np.nansum((returns - mean) ** 2, axis=0) / np.where(n > 1, n - 1, np.nan))
    half = stats.t.ppf((1 + confidence) / 2, n - 1) * spread / np.sqrt(np.maximum(n, 1))
    return mean, mean - half, mean + half
