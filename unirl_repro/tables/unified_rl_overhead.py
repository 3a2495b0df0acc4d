"""unified_rl, Section 6 and A.2.6: how much slower updates may be before saved data no longer pay.

Four columns of one calculation: the printed inputs as A.2.6 reads them (0.008 s of updates for each
episode), the same with 0.008 s for each update (deviation U15), our measured time with the printed
share of data, and ours alone.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from unirl_repro.analysis import latex
from unirl_repro.analysis.curves import grid, on_grid, training
from unirl_repro.analysis.frames import Status, marks, reached, seeds_of
from unirl_repro.analysis.overhead import break_even_rate, nearer, wall_seconds
from unirl_repro.analysis.statistics import Estimate, summarise
from unirl_repro.analysis.style import look
from unirl_repro.analysis.thresholds import (
    data_ratio,
    level,
    mean_curve,
    permissible_overhead,
    steps_to_reach,
)

STUDY = "unified_rl_overhead"
FAST, SLOW = "sac_rlpd", "unified"
READINGS = ("per_episode", "per_update")  # of the printed 0.008 s
CASES = (*READINGS, "our_time", "ours")
INPUTS = ("data_ratio", "level", "update_seconds", "interaction_rate", "horizon")
SHARES = {"our_time": "the printed share of data", "ours": "our own share of data"}
COLUMNS = [
    *("part", "case", "statistic", "variant", "value", "low", "high", "published", "difference"),
    *("num_seeds", "num_planned", "device", "source", "reached", "marks"),
]

Records = Mapping[tuple[str, str], Mapping[Any, Any]]


def rows(frame: pd.DataFrame, status: Status) -> pd.DataFrame:
    """Compute the table.

    Parameters
    ----------
    frame, status : DataFrame, dict
        The study's tidy frame, and what ran of it, how fast, and what is printed.

    Returns
    -------
    DataFrame
        Columns `COLUMNS`. Part `curves`: steps at which the mean curve of SAC and of Unified RL,
        and each seed's, is at the level (deviation U18). Part `times`: measured seconds for each
        episode. Part `cases`: for each of `CASES` the inputs and what follows from them, in
        environment steps, seconds, and steps per second. NaN where a number needs runs or a
        measured speed that are not there; infinite where a curve never reaches the level.

    Raises
    ------
    ValueError
        If a printed input is missing.
    """
    printed = _inputs(status)
    curves = _curve_rows(frame, status, printed)
    times = [_time_row(variant, status, printed) for variant in (FAST, SLOW)]
    _same_device(times, status, printed)
    ratio = next(row for row in curves if row["statistic"] == "data_ratio")
    cases = [row for case in CASES for row in _case_rows(case, printed, ratio, times, status)]
    return pd.DataFrame([*curves, *times, *cases]).reindex(columns=COLUMNS)


def _inputs(status: Status) -> dict[str, float]:
    printed = {row["statistic"]: float(row["value"]) for row in status["printed"]}
    lacking = [name for name in INPUTS if name not in printed]
    if lacking:
        raise ValueError(
            f"resources/reference/{STUDY}.csv has no row {lacking[0]!r}, which the calculation "
            f"needs. Needed are: {', '.join(INPUTS)}"
        )
    return printed


def _curve_rows(
    frame: pd.DataFrame, status: Status, printed: Mapping[str, float]
) -> list[dict[str, Any]]:
    curves = training(frame)
    task = next(iter(status["budget"]), "")
    edges = grid(curves, max(status["budget"].values(), default=1))
    points = {v: on_grid(curves[curves["variant"] == v], edges) for v in (FAST, SLOW)}
    target = level(mean_curve(points[FAST])[1], printed["level"])
    found = []
    for variant in (FAST, SLOW):
        common = {"part": "curves", "variant": variant} | _where_from(status, task, variant)
        by_seed = [
            steps_to_reach(*mean_curve(seed), target) for _, seed in points[variant].groupby("seed")
        ]
        mean = summarise(by_seed)
        found += [
            common
            | {"statistic": "steps_to_level"}
            | {"value": steps_to_reach(*mean_curve(points[variant]), target)},
            common
            | {"statistic": "steps_to_level_by_seed", "value": mean.mean}
            | {"low": mean.mean - mean.half_width, "high": mean.mean + mean.half_width}
            | {"num_seeds": mean.num_seeds},
        ]
    slow, fast = (curves[curves["variant"] == v] for v in (SLOW, FAST))
    ratio = data_ratio(slow, fast, edges, printed["level"])
    both = {"part": "curves", "variant": SLOW} | _where_from(status, task, SLOW)
    values = {"statistic": "data_ratio", **_limits(ratio), "published": printed["data_ratio"]}
    return [*found, both | values | {"difference": ratio.value - printed["data_ratio"]}]


def _where_from(status: Status, task: str, variant: str) -> dict[str, Any]:
    return {
        "num_seeds": len(seeds_of(status, "finished", task, variant)),
        "num_planned": len(seeds_of(status, "planned", task, variant)),
        "reached": reached(status, task, [variant]),
        "marks": marks(status, task, variant),
    }


def _limits(estimate: Estimate) -> dict[str, float]:
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high}


def _time_row(
    variant: str, status: Status, printed: Mapping[str, float], device: str = ""
) -> dict[str, Any]:
    """Seconds of an episode: all of a run's time, an upper bound of its updates' (deviation U16)."""
    speeds = [s for s in status["speeds"] if s["variant"] == variant and len(s["devices"]) == 1]
    speeds = [s for s in speeds if device in ("", s["devices"][0])]
    ran = [s for s in speeds if s["seed"] is not None]
    used = [s for s in ran or speeds if s["devices"] == (ran or speeds)[0]["devices"]]
    seconds = summarise([printed["horizon"] / s["steps_per_second"] for s in used])
    return {
        **{"part": "times", "statistic": "episode_seconds", "variant": variant},
        **{"value": seconds.mean, "num_seeds": seconds.num_seeds if ran else 0},
        **{"low": seconds.mean - seconds.half_width, "high": seconds.mean + seconds.half_width},
        "device": used[0]["devices"][0] if used else "",
        "source": ("runs" if ran else "beforehand") if used else "",
    }


def _same_device(times: list[dict[str, Any]], status: Status, printed: Mapping[str, float]) -> None:
    """SAC's time on the device of Unified RL's, where there is one: else they do not compare."""
    device = times[1]["device"]
    same = _time_row(FAST, status, printed, device)
    if device and device != times[0]["device"] and same["device"]:
        times[0] = same


def _case_rows(
    case: str,
    printed: Mapping[str, float],
    ratio: Mapping[str, Any],
    times: list[dict[str, Any]],
    status: Status,
) -> list[dict[str, Any]]:
    num_updates = _updates_per_episode(status, printed)
    match case:
        case "per_episode":
            fast = printed["update_seconds"]
        case "per_update":
            fast = printed["update_seconds"] * num_updates
        case _:
            fast = times[0]["value"]
    if case == "ours":
        share = Estimate(ratio["value"], ratio["low"], ratio["high"])
    else:
        share = Estimate(printed["data_ratio"], np.nan, np.nan)
    slow = times[1]["value"] if case in ("our_time", "ours") else np.nan
    numbers = _numbers(share, fast, slow, printed) | {
        "data_ratio": share,
        "episode_seconds_sac": Estimate(fast, np.nan, np.nan),
        "seconds_per_update": Estimate(fast / num_updates, np.nan, np.nan),
        "overhead": Estimate(slow / fast, np.nan, np.nan),
    }
    known = {"permissible_overhead": printed.get("permissible_overhead", np.nan)}
    return [
        {
            **{"part": "cases", "case": case, "statistic": name, **_limits(estimate)},
            "published": (expected := known.get(name, np.nan) if case == READINGS[0] else np.nan),
            "difference": estimate.value - expected,
        }
        for name, estimate in numbers.items()
    ]


def _numbers(
    share: Estimate, fast: float, slow: float, printed: Mapping[str, float]
) -> dict[str, Estimate]:
    """What follows; both fall as the share of data grows, so that limits change places."""
    rate, horizon = printed["interaction_rate"], int(printed["horizon"])

    def overhead(ratio: float) -> float:
        return permissible_overhead(ratio, fast, horizon / rate)

    def break_even(ratio: float) -> float:
        return break_even_rate(ratio, fast, slow, horizon=horizon)

    def speed_up(ratio: float) -> float:
        per_step = [wall_seconds(1, rate, seconds, horizon=horizon) for seconds in (fast, slow)]
        return per_step[0] / (ratio * per_step[1])

    return {
        "permissible_overhead": _falling(overhead, share),
        "break_even_rate": _falling(break_even, share),
        "speed_up": _falling(speed_up, share),
    }


def _falling(function: Any, share: Estimate) -> Estimate:
    return Estimate(function(share.value), function(share.high), function(share.low))


def _updates_per_episode(status: Status, printed: Mapping[str, float]) -> float:
    """SAC's, as it ran or would run: deviation A2; one a step where it is not planned."""
    ratios = [
        p["parameters"]["updates_per_step"] for p in status["parameters"] if p["variant"] == FAST
    ]
    return printed["horizon"] * (ratios[0] if ratios else 1)


LABELS = {
    "data_ratio": "Unified RL's steps over SAC's, to the level",
    "episode_seconds_sac": "SAC's updates in an episode [s]",
    "seconds_per_update": "of these for one update [ms]",
    "permissible_overhead": "factor $c$ up to which Unified RL's may take longer",
    "overhead": "factor by which they do",
    "speed_up": "SAC's wall-clock time over Unified RL's",
    "break_even_rate": "rate below which Unified RL takes less time [Hz]",
}


def tex(rows: pd.DataFrame, status: Status) -> str:
    r"""Set the table as macros: Cases, Curves and Notes, and numbers and a verdict for the prose.

    Parameters
    ----------
    rows : DataFrame
        From `rows`.
    status : dict
        What ran, and what is printed.

    Returns
    -------
    str
        ``\UnifiedRlOverheadCases`` and so on; ``\UnifiedRlOverhead<Case><Statistic>`` is a number.
    """
    cases, printed = _records(rows, "cases", "case"), _inputs(status)
    parts = {
        "cases": f"%\n{_cases_tex(cases, printed)}%\n",
        "curves": f"%\n{_measured_tex(rows, status)}%\n",
        "notes": _notes_tex(rows),
        **_conclusions(cases, printed, status["scale"]),
        **{f"input_{name}": f"{value:g}" for name, value in printed.items()},
        "level_percent": f"{printed['level']:.0%}".replace("%", r"\%"),
    }
    for (case, statistic), row in cases.items():
        parts[f"{case}_{statistic}"] = _plain(_in_unit(statistic, row["value"]))
    macros = [latex.newcommand(latex.macro_name(STUDY, k), v) for k, v in parts.items()]
    return "\n".join([f"% {STUDY}: generated", *macros]) + "\n"


def _records(rows: pd.DataFrame, part: str, key: str) -> Records:
    """A part's rows by a column and their statistic."""
    of = rows[rows["part"] == part].to_dict("records")
    return {(row[key], row["statistic"]): row for row in of}


def _in_unit(statistic: str, value: float) -> float:
    return 1000 * value if statistic == "seconds_per_update" else value


def _plain(value: float) -> str:
    """Four digits; nothing is longer than that."""
    if np.isnan(value):
        return latex.DASH
    return r"$\infty$" if np.isinf(value) else f"${value:.4g}$"


def _cases_tex(cases: Records, printed: Mapping[str, float]) -> str:
    head = [
        rf" & \multicolumn{{2}}{{c}}{{printed, {printed['update_seconds']:g}\,s for each}} & "
        r"\multicolumn{2}{c}{measured time of ours} \\",
        r"\cmidrule(lr){2-3}\cmidrule(l){4-5}",
        r" & episode & update & printed data & our data \\",
    ]
    body = [
        [label, *(_case_cell(cases[case, name], name) for case in CASES)]
        for name, label in LABELS.items()
    ]
    return latex.tabular("lrrrr", head, body)


def _case_cell(row: Mapping[Any, Any], statistic: str) -> str:
    low, high = (_plain(_in_unit(statistic, row[limit])) for limit in ("low", "high"))
    shown = _plain(_in_unit(statistic, row["value"]))
    return shown if latex.DASH in (low, high) else f"{shown} [{low}, {high}]"


def _measured_tex(rows: pd.DataFrame, status: Status) -> str:
    head = [
        r" & \multicolumn{2}{c}{steps to the level} & & \multicolumn{2}{c}{an episode} \\",
        r"\cmidrule(lr){2-3}\cmidrule(l){5-6}",
        r" & mean curve & by seed & seeds & seconds & measured \\",
    ]
    curves, times = _records(rows, "curves", "variant"), _records(rows, "times", "variant")
    body = [
        [
            latex.escape(look(variant).name),
            _plain(curves[variant, "steps_to_level"]["value"]),
            *_seed_cells(curves[variant, "steps_to_level_by_seed"], status, variant),
            *_time_cells(times[variant, "episode_seconds"]),
        ]
        for variant in (FAST, SLOW)
    ]
    return latex.tabular("lrrcrl", head, body)


def _seed_cells(row: Mapping[Any, Any], status: Status, variant: str) -> tuple[str, str]:
    """Mean over the seeds that got there, and how many of those that ran did."""
    num_runs = sum(run["variant"] == variant for run in status["finished"])
    there = f"{row['num_seeds']:.0f} of {num_runs}" if num_runs else latex.DASH
    return _plain(row["value"]) + _spread(row), there


def _time_cells(row: Mapping[Any, Any]) -> tuple[str, str]:
    if not row["source"]:
        return latex.DASH, latex.DASH
    measured = {"runs": "in its runs", "beforehand": "beforehand"}[row["source"]]
    return _plain(row["value"]) + _spread(row), f"{measured}, {row['device']}"


def _spread(row: Mapping[Any, Any]) -> str:
    if not np.isfinite([row["low"], row["high"]]).all():
        return ""
    return f" [{_plain(row['low'])}, {_plain(row['high'])}]"


def _notes_tex(rows: pd.DataFrame) -> str:
    curves = rows[rows["part"] == "curves"]
    used = "".join(curves["marks"].dropna())
    notes = ["† Holds archived runs."] if "†" in used else []
    notes += ["‡ Holds runs recorded with other code."] if "‡" in used else []
    short = curves[curves["reached"] < 1]
    if len(short):
        notes.append(f"The shortest run stops at {short['reached'].min():.0%} of its budget.")
    devices = set(rows["device"].dropna()) - {""}
    if len(devices) > 1:
        notes.append("The times of SAC and Unified RL are of different devices and do not compare.")
    return latex.escape(" ".join(notes))


def _conclusions(cases: Records, printed: Mapping[str, float], scale: str) -> dict[str, str]:
    """What the prose concludes from our times: nothing from those of small networks."""
    if scale == "paper":
        return {"verdict": _verdict_tex(cases, printed), "rates": _rates_tex(cases)}
    small = f"That is open at scale `{scale}`: times of small networks (R2) say nothing about it."
    return {"verdict": latex.escape(small), "rates": ""}


def _rates_tex(cases: Records) -> str:
    """End of a sentence: at which rates Unified RL pays with our times, where that is known."""
    told = [
        f"{_rates(value)} with {share}"
        for case, share in SHARES.items()
        if not np.isnan(value := cases[case, "break_even_rate"]["value"])
    ]
    return f": with our times {' and '.join(told)}" if told else ""


def _rates(break_even: float) -> str:
    if np.isinf(break_even):
        return "at any rate"
    return rf"below {_plain(break_even)}\,Hz" if break_even > 0 else "at no rate"


def _verdict_tex(cases: Records, printed: Mapping[str, float]) -> str:
    """Which reading our own time supports, and whether Unified RL pays with what we measured."""
    readings = {name: cases[name, "seconds_per_update"]["value"] for name in READINGS}
    ours = cases["ours", "seconds_per_update"]["value"]
    told = []
    if found := nearer(ours, readings):
        told.append(
            f"Our own time for an update of SAC, {1000 * ours:.3g} ms, is nearer to "
            f"{printed['update_seconds']:g} s for each {found.removeprefix('per_')}."
        )
    return latex.escape(" ".join([*told, _pays(cases, "our_time"), _pays(cases, "ours")]))


def _pays(cases: Records, case: str) -> str:
    share = SHARES[case]
    limit, actual = (cases[case, name]["value"] for name in ("permissible_overhead", "overhead"))
    if np.isnan(actual) or np.isnan(limit):
        return f"Whether it pays with {share} is open: a run or a measured time is missing."
    if limit <= 1:
        return f"With {share} Unified RL does not pay: its updates include SAC's."
    verb = "pays" if actual < limit else "does not pay"
    return (
        f"With {share} Unified RL {verb} at the paper's rate: its updates take {actual:.3g} times "
        f"as long as SAC's, where {limit:.3g} times is the most that may be."
    )
