r"""mnm Table 1: what four lower bounds have and lack, as printed and as a computation has it."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from unirl_repro.analysis import latex
from unirl_repro.analysis.frames import Status

STUDY = "mnm_table1"
BOUNDS = {
    "luo": "Luo et al.",
    "kearns_singh": "Kearns and Singh",
    "mnm_eq_2": "MnM (Eq. 2)",
    "mnm_eq_10": "MnM (Eq. 10)",
}
ROWS = {
    "holds_globally": "holds globally",
    "efficient_to_compute": "efficient to compute",
    "unified_objective": "unified objective",
    "tight_at_optimality": "tight at optimality",
}
# The numbers behind a row: the largest over seeds decides, but for what is the same for all.
EVIDENCE = {
    "holds_globally": ("largest_violation", "largest violation"),
    "efficient_to_compute": ("growth_exponent", "growth of samples"),
    "unified_objective": ("share_of_steps_down", "steps that lower it"),
    "tight_at_optimality": ("gap_at_optimum", "gap at the optimum"),
}
# Why a cell is as the computation has it, by row and bound.
REASONS = {
    (
        "holds_globally",
        "luo",
    ): "It fails for a policy that goes where the reference policy does not; "
    "with a radius that holds all policies it is valid, and vacuous.",
    ("holds_globally", "kearns_singh"): "The largest error of any state and action covers every "
    "policy.",
    (
        "holds_globally",
        "mnm_eq_2",
    ): "Theorem 3.1; minus infinity where the model leaves the support.",
    (
        "holds_globally",
        "mnm_eq_10",
    ): "Jensen's inequality, at any horizon distribution and dynamics.",
    ("efficient_to_compute", "luo"): "Two means over trajectories, given the Lipschitz constant.",
    (
        "efficient_to_compute",
        "kearns_singh",
    ): "One wrong state and action spoils it, so all have to be tried.",
    (
        "efficient_to_compute",
        "mnm_eq_2",
    ): "One mean over the model's trajectories, given the ratio p/q, "
    "which a classifier has to learn.",
    (
        "efficient_to_compute",
        "mnm_eq_10",
    ): "As Eq. 2 at a given q(H) and dynamics; the dynamics that "
    "make it tight need a clock, or to know when to stop.",
    (
        "unified_objective",
        "luo",
    ): "Their meta-algorithm maximises the bound jointly over policy and "
    "model, as its abstract says.",
    (
        "unified_objective",
        "kearns_singh",
    ): "The model is counted, and more counts can lower the bound; "
    "maximised itself it would be one objective, with the true model as its maximum.",
    (
        "unified_objective",
        "mnm_eq_2",
    ): "Each step has a closed form that raises it; Eq. 9 is that step only with a discount on V.",
    ("unified_objective", "mnm_eq_10"): "Coordinate ascent raises it, and is policy iteration.",
    ("tight_at_optimality", "luo"): "Model and true next state differ wherever p is random; a "
    "discrepancy that knows p would be 0.",
    ("tight_at_optimality", "kearns_singh"): "The error of the true model is 0.",
    (
        "tight_at_optimality",
        "mnm_eq_2",
    ): "The logarithm is inside the mean over time and, with random "
    "dynamics, the model is one for all horizons.",
    (
        "tight_at_optimality",
        "mnm_eq_10",
    ): "For one initial state, a deterministic policy, and dynamics "
    "that know the steps left or when to stop; not with a Markov model apart from H.",
}
COLUMNS = ["bound", "row", "printed", "computed", "agrees", "evidence", "value", "reason"]
MARK = {True: r"\checkmark", False: r"$\times$"}


def rows(frame: pd.DataFrame, status: Status) -> pd.DataFrame:
    """A row a cell: columns `COLUMNS`, with the number that decides it."""
    found = []
    for row, (name, _) in EVIDENCE.items():
        for bound in BOUNDS:
            cell = {panel: _cell(frame, panel, bound, row) for panel in COLUMNS[2:5]}
            evidence = frame[(frame["panel"] == "evidence") & (frame["variant"] == bound)]
            value = evidence.loc[evidence["name"] == name, "value"].max()
            why = {"evidence": name, "value": value, "reason": REASONS[row, bound]}
            found.append({"bound": bound, "row": row, **cell, **why})
    return pd.DataFrame(found, columns=COLUMNS)


def _cell(frame: pd.DataFrame, panel: str, bound: str, row: str) -> bool:
    rows = frame[(frame["panel"] == panel) & (frame["variant"] == bound)]
    return bool(rows.loc[rows["name"] == row, "value"].item())


def tex(rows: pd.DataFrame, status: Status) -> str:
    r"""Set the table.

    Returns
    -------
    str
        Macros: ``\MnmTableOneCells`` is the table and ``\MnmTableOneReasons`` says why cells are as
        they are; ``\MnmTableOneAgreeing`` of ``\MnmTableOneTotal`` are as printed.
    """
    body = [_line(rows[rows["row"] == row], title) for row, title in ROWS.items()]
    head = " & ".join(["", *BOUNDS.values()]) + r" \\"
    table = latex.tabular("l" + "l" * len(BOUNDS), [head], body)
    macros = {
        "cells": f"%\n{table}%\n",
        "reasons": f"%\n{_reasons(rows)}%\n",
        "agreeing": str(int(rows["agrees"].sum())),
        "total": str(len(rows)),
    }
    lines = [latex.newcommand(latex.macro_name(STUDY, k), v) for k, v in macros.items()]
    return "\n".join(["% Table 1 of mnm: generated from its frame", *lines]) + "\n"


def _line(cells: pd.DataFrame, title: str) -> list[str]:
    name = EVIDENCE[cells["row"].iloc[0]][1]
    by_bound = {cell["bound"]: cell for cell in cells.to_dict("records")}
    return [rf"{title} (\emph{{{name}}})", *(_set(by_bound[bound]) for bound in BOUNDS)]


def _reasons(rows: pd.DataFrame) -> str:
    lines = []
    for row, title in ROWS.items():
        cells = rows[rows["row"] == row]
        told = zip(cells["bound"], cells["reason"], strict=True)
        text = " ".join(rf"\emph{{{BOUNDS[bound]}:}} {latex.escape(why)}" for bound, why in told)
        lines.append(rf"\item[{title}] {text}")
    return "\n".join([r"\begin{description}", *lines, r"\end{description}"])


def _set(cell: Mapping[Any, Any]) -> str:
    printed = "" if cell["agrees"] else rf", printed {MARK[bool(cell['printed'])]}"
    return rf"{MARK[bool(cell['computed'])]}{printed} ({_short(float(cell['value']))})"


def _short(value: float) -> str:
    return "0" if abs(value) < 1e-9 else f"{value:.2g}".replace("-", "$-$")
