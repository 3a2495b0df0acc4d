"""usbpo, Section 5.2: processor time of USB-PO and of MBPO by part, and what a training takes.

The document's own numbers are in an appendix that our copy lacks: nothing stands beside these.
"""

import numpy as np
import pandas as pd

from unirl_repro.analysis import latex
from unirl_repro.analysis.frames import Status
from unirl_repro.analysis.statistics import Estimate, ratio_of_pairs, summarise
from unirl_repro.analysis.style import look

STUDY = "usbpo_cost"
MBPO, USBPO = "mbpo", "usbpo"
RATIO = "ratio"
SECONDS = {
    "training": "phase 1, maximum likelihood",
    "tuning": "phase 2, fine-tuning",
    "rollouts": "rollouts in the model",
    "policy": "updates of the policy",
    "rest": "environment and the rest",
    "whole": "whole",
    "model": "both phases",
}
COUNTS = {
    "epochs": "epochs of phase 1",
    "updates": "updates of phase 1",
    "tuning_updates": "updates of phase 2",
}
ROWS = [*(("seconds", name) for name in SECONDS), *(("training", name) for name in COUNTS)]
# What the prose asks of ratios, in its words.
ASKED = {
    "training": "the time of phase 1",
    "model": "the time of both phases together",
    "whole": "the time of everything",
}
COLUMNS = ["panel", "name", "variant", "value", "low", "high", "num_seeds"]


def rows(frame: pd.DataFrame, status: Status) -> pd.DataFrame:
    """Compute the table.

    Parameters
    ----------
    frame, status : DataFrame, dict
        The study's frame (`learned.usbpo_cost`), and the status, which is not read.

    Returns
    -------
    DataFrame
        Columns `COLUMNS`. Of each of `ROWS`, in processor seconds for 1,000 environment steps or in
        the mean over trainings: MBPO's, USB-PO's, and the ratio of the two, with 95% intervals over
        seeds. NaN where an algorithm has none of it. Panel `measured`: environment steps that are
        measured, and those before.
    """
    found = []
    for panel, name in ROWS:
        mbpo, usbpo = (_of_seeds(frame, panel, variant, name) for variant in (MBPO, USBPO))
        pairs = mbpo.to_frame(MBPO).join(usbpo.rename(USBPO), how="inner")
        ratio = ratio_of_pairs(pairs[USBPO], pairs[MBPO])
        found += [
            (panel, name, MBPO, *_limits(_mean(mbpo)), len(mbpo)),
            (panel, name, USBPO, *_limits(_mean(usbpo)), len(usbpo)),
            (panel, name, RATIO, *_limits(ratio), len(pairs)),
        ]
    for name in ("before", "steps"):
        values = _of_seeds(frame, "measured", "both", name)
        found.append(("measured", name, "both", *_limits(_mean(values)), len(values)))
    return pd.DataFrame(found, columns=COLUMNS)


def _of_seeds(frame: pd.DataFrame, panel: str, variant: str, name: str) -> pd.Series:
    """Mean of each seed."""
    of = frame[(frame["panel"] == panel) & (frame["variant"] == variant) & (frame["name"] == name)]
    return of.groupby("seed")["value"].mean().astype(float)


def _mean(values: pd.Series) -> Estimate:
    of = summarise(values)
    return Estimate(of.mean, of.mean - of.half_width, of.mean + of.half_width)


def _limits(estimate: Estimate) -> tuple[float, float, float]:
    return estimate.value, estimate.low, estimate.high


def tex(rows: pd.DataFrame, status: Status) -> str:
    r"""Set the table.

    Parameters
    ----------
    rows, status : DataFrame, dict
        From `rows`, and what ran, of which scale and seeds are read.

    Returns
    -------
    str
        Macros: ``\UsbpoCostTable``; ``Steps`` measured, and those ``Before``; ``Seeds``, as 2 of 3;
        ``Verdict``, sentences on what the ratios say.
    """
    cells = {(r["panel"], r["name"], r["variant"]): r for r in rows.to_dict("records")}
    estimates = {k: Estimate(r["value"], r["low"], r["high"]) for k, r in cells.items()}
    parts = {
        "table": f"%\n{_table_tex(estimates)}%\n",
        "steps": _steps_tex(estimates["measured", "steps", "both"]),
        "before": _steps_tex(estimates["measured", "before", "both"]),
        "seeds": f"{status['seeds']} of {status['planned_seeds']}",
        "verdict": _verdict_tex(estimates, status),
    }
    macros = [latex.newcommand(latex.macro_name(STUDY, k), v) for k, v in parts.items()]
    return "\n".join([f"% {STUDY}: generated", *macros]) + "\n"


Estimates = dict[tuple[str, str, str], Estimate]


def _table_tex(estimates: Estimates) -> str:
    names = [latex.escape(look(variant).name) for variant in (MBPO, USBPO)]
    head = [rf" & {names[0]} & {names[1]} & ratio & interval \\"]
    of_seconds = [_line(estimates, "seconds", name, title) for name, title in SECONDS.items()]
    of_counts = [_line(estimates, "training", name, title) for name, title in COUNTS.items()]
    of_counts[0][0] = rf"\midrule {of_counts[0][0]}"
    return latex.tabular("lrrrr", head, [*of_seconds, *of_counts])


def _line(estimates: Estimates, panel: str, name: str, title: str) -> list[str]:
    ratio = estimates[panel, name, RATIO]
    return [
        title,
        *(_short(estimates[panel, name, variant].value) for variant in (MBPO, USBPO)),
        latex.share(ratio.value, decimals=2),
        latex.interval(ratio.low, ratio.high, decimals=2),
    ]


def _short(value: float) -> str:
    """Three digits, or all before the point."""
    if not np.isfinite(value):
        return latex.DASH
    decimals = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"${value:.{decimals}f}$"


def _steps_tex(steps: Estimate) -> str:
    return latex.DASH if np.isnan(steps.value) else latex.thousands(round(steps.value))


def _verdict_tex(estimates: Estimates, status: Status) -> str:
    """Nothing from small networks, whose times are others (deviation R2)."""
    if not status["full_size"]:
        return latex.escape(
            f"What that says of networks of full size is open at scale `{status['scale']}` (R2)."
        )
    told = [_told(estimates["seconds", name, RATIO], words) for name, words in ASKED.items()]
    return latex.escape(" ".join(told))


def _told(ratio: Estimate, words: str) -> str:
    if not np.isfinite([ratio.low, ratio.high]).all():
        return f"Whether USB-PO lowers {words} is open: fewer than two seeds are there."
    shown = f"{ratio.value:.2f} times MBPO's ({ratio.low:.2f} to {ratio.high:.2f})"
    if ratio.low <= 1 <= ratio.high:
        return f"USB-PO neither lowers nor raises {words} by these seeds: {shown}."
    return f"USB-PO {'lowers' if ratio.high < 1 else 'raises'} {words}: {shown}."
