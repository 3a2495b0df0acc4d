r"""The claims as LaTeX: counts for the prose, a table of verdicts, and the rules behind them."""

from collections.abc import Mapping, Sequence
from typing import Any

from unirl_repro.analysis import latex
from unirl_repro.analysis.claims import (
    INCONCLUSIVE,
    NOT_DECIDABLE,
    NOT_SUPPORTED,
    NOT_TESTED,
    PRINTED,
    SUPPORTED,
)
from unirl_repro.analysis.claims_tests import PER_UPDATE

SHOWN = 2  # findings of a claim that the table shows; claims.json has all
COUNTED = {
    "supported": SUPPORTED,
    "not_supported": NOT_SUPPORTED,
    "inconclusive": INCONCLUSIVE,
    "not_decidable": NOT_DECIDABLE,
    "not_tested": NOT_TESTED,
}
SHORT_VERDICT = {NOT_DECIDABLE: "not decidable"}
SHORT_PRINTED = {
    PRINTED[SUPPORTED]: "support",
    PRINTED[NOT_SUPPORTED]: "do not support",
    PRINTED[INCONCLUSIVE]: "leave open",
}
CAPTION = r"Claims, verdicts and what they rest on. \regenerate{claims}"
# Decimals of each unit.
UNITS = {"normalised return": 2, "share of tested episodes": 2, "ratio of data": 2, "factor": 1}
UNITS |= {"share of the reported return": 2, "ratio of magnitudes": 3}
UNITS |= {"return": 1, "nats": 4, "share": 3, "iterations": 0, "number": 4}  # of tabular worlds
ALSO = {PER_UPDATE: "by the other reading"}  # numbers that decide nothing and are shown
FIRST_TO_SHOW = (NOT_SUPPORTED, INCONCLUSIVE, SUPPORTED)
WIDTHS = (6.2, 2.2, 0.9, 5.3, 1.3)  # of the columns [cm]; the page has 17

Claims = Sequence[Mapping[str, Any]]


def tex(found: Claims) -> str:
    r"""Set all claims.

    Parameters
    ----------
    found : sequence of dict
        As in claims.json.

    Returns
    -------
    str
        Macros: ``\ClaimsTotal``, ``\ClaimsSupported`` and the other counts, ``\ClaimsPrinted`` and
        ``\ClaimsPrintedAgainst`` (claims that printed numbers decide, and those that they speak
        against), ``\ClaimsProvisional`` (claims on tasks whose training lengths are provisional),
        ``\ClaimsTable`` and ``\ClaimsRules``.
    """
    counts = {"total": len(found)}
    counts |= {k: sum(claim["verdict"] == v for claim in found) for k, v in COUNTED.items()}
    printed = [claim["printed_verdict"] for claim in found]
    counts["provisional"] = sum(bool(claim["provisional"]) for claim in found)
    counts["printed"] = sum(verdict is not None for verdict in printed)
    counts["printed_against"] = printed.count(PRINTED[NOT_SUPPORTED])
    macros = {name: str(count) for name, count in counts.items()}
    macros |= {"table": f"%\n{_table(found)}%\n", "rules": f"%\n{_rules(found)}%\n"}
    lines = [latex.newcommand(latex.macro_name("claims", k), v) for k, v in macros.items()]
    return "\n".join(["% claims: generated from the register and the runs", *lines]) + "\n"


def _table(found: Claims) -> str:
    columns = "".join(rf">{{\raggedright\arraybackslash}}p{{{width}cm}}" for width in WIDTHS)
    head = r"Claim & verdict & seeds & key numbers & core-hours \\"
    rows = [" & ".join(_cells(claim)) + r" \\" for claim in found]
    return "\n".join(
        [
            rf"\begin{{longtable}}{{@{{}}{columns}@{{}}}}",
            rf"\caption{{{CAPTION}}}\label{{tab:claims}}\\",
            *(r"\toprule", head, r"\midrule", r"\endfirsthead"),
            *(r"\toprule", head, r"\midrule", r"\endhead", r"\bottomrule", r"\endfoot"),
            "\\addlinespace[2pt]\n".join(row + "\n" for row in rows) + r"\end{longtable}",
        ]
    )


def _cells(claim: Mapping[str, Any]) -> list[str]:
    name, where = latex.escape(f"`{_short_id(claim)}`"), latex.escape(claim["where"])
    printed = claim["printed_verdict"]
    beside = rf"\newline\emph{{printed: {SHORT_PRINTED[printed]}}}" if printed else ""
    verdict = SHORT_VERDICT.get(claim["verdict"], claim["verdict"])
    return [
        rf"{name}, {where}: {latex.escape(claim['claim'])}",
        rf"{latex.escape(verdict)}{beside}",
        _seeds(claim),
        _numbers(claim),
        _cost(claim["cost"]),
    ]


def _short_id(claim: Mapping[str, Any]) -> str:
    return claim["id"].removeprefix(claim["document"] + "_")


def _seeds(claim: Mapping[str, Any]) -> str:
    """Seeds of the smallest and the largest sample, and marks as in the other tables."""
    runs = claim["runs"]
    numbers = claim["numbers"]
    if claim["computed"] and all(n["exact"] and not n["num_seeds"] for n in numbers):
        return "exact"
    if not runs["planned"] and not claim["computed"]:
        return latex.DASH
    counts = sorted({number["num_seeds"] for number in claim["numbers"]})
    shown = (
        latex.DASH if not counts else "--".join(map(str, dict.fromkeys(counts[:1] + counts[-1:])))
    )
    marks = ("†" if runs["archive"] else "") + ("‡" if runs["other_code"] else "")
    return shown + latex.escape(marks + ("§" if runs["short"] else ""))


def _numbers(claim: Mapping[str, Any]) -> str:
    """The findings that decide, those against the claim first."""
    known = [n for n in claim["numbers"] if n["effect"] is not None]
    known.sort(key=lambda number: FIRST_TO_SHOW.index(number["verdict"]))
    lines = [_number(number) for number in known[:SHOWN]]
    if len(known) > SHOWN:
        lines.append(f"and {len(known) - SHOWN} more")
    return r"\newline ".join(lines) or latex.DASH


def _number(number: Mapping[str, Any]) -> str:
    decimals = UNITS[number["unit"]]
    if number["exact"]:
        return f"{latex.escape(number['what'])}: {_value(number['effect'], decimals)}"
    interval = latex.interval(_float(number["low"]), _float(number["high"]), decimals)
    p_values = [number[key] for key in ("p_for_holm", "p_against_holm") if number[key] is not None]
    shown = f"{_value(number['effect'], decimals)} {interval}"
    p_value = f", {_p_value(min(p_values))}" if p_values else ""
    also = "".join(
        f"; {text} {_value(number['also'][key], decimals)}"
        for key, text in ALSO.items()
        if number.get("also", {}).get(key) is not None
    )
    return f"{latex.escape(number['what'])}: {shown}{p_value}{also}"


def _float(value: float | str | None) -> float:
    return float("nan") if value is None else float(value)


def _value(value: float | str, decimals: int) -> str:
    if value == "inf":
        return r"$\infty$"
    return f"${round(float(value), decimals) + 0.0:.{decimals}f}$"  # never -0.00


def _p_value(value: float) -> str:
    return "$p<0.001$" if value < 0.001 else f"$p={value:.3f}$"


def _cost(cost: Mapping[str, Any]) -> str:
    if not cost["runs"]:
        return latex.DASH
    more = "+" if cost["without"] else ""
    rough = latex.escape("≈") if cost["speed"] != "measured" else ""
    return f"{rough}{latex.thousands(round(cost['core_hours']))}{more}"


def _rule(claim: Mapping[str, Any]) -> str:
    why = latex.escape(claim["why"])
    if not claim["test"]:
        return f"No test: {why}."
    return rf"{latex.escape(claim['test'])} \emph{{Here:}} {why}."


def _rules(found: Claims) -> str:
    lines = [
        rf"\item[{latex.escape('`' + _short_id(claim) + '`')}] {_rule(claim)}" for claim in found
    ]
    tight = r"\setlength{\itemsep}{1pt}\setlength{\parsep}{1pt}"
    return "\n".join([r"\begin{description}" + tight, *lines, r"\end{description}"])
