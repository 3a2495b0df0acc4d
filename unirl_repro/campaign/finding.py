"""What a check found, and how it is told."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """Result of one check.

    Attributes
    ----------
    kind : {"ok", "warning", "error"}
        With an error no job could succeed, or some would wait for ever.
    about : str
        What was looked at, in a word or two.
    told : str
        What was found.
    mend : str
        What to do; empty where nothing is wrong, or `told` ends with it.
    """

    kind: Literal["ok", "warning", "error"]
    about: str
    told: str
    mend: str = ""


def ok(about: str, told: str) -> Finding:
    return Finding("ok", about, told)


def warning(about: str, told: str, mend: str) -> Finding:
    return Finding("warning", about, told, mend)


def error(about: str, told: str, mend: str = "") -> Finding:
    return Finding("error", about, told, mend)


def text(findings: Sequence[Finding]) -> str:
    """What is in order, in a line each; then what is wrong, the most important at the very end.

    Parameters
    ----------
    findings : sequence of Finding
        The most important first.
    """
    lines = [f"ok: {finding.about}: {finding.told}" for finding in findings if finding.kind == "ok"]
    wrong = [f for kind in ("warning", "error") for f in reversed(findings) if f.kind == kind]
    if not wrong:
        return "\n".join([*lines, "", f"{_count(len(lines), 'check')}, nothing is wrong."])
    errors = sum(finding.kind == "error" for finding in wrong)
    told = [
        f"{f.kind}: {f.about}: {' '.join(f.told.split())}"
        + (f"\n  To mend it: {f.mend}" if f.mend else "")
        for f in wrong
    ]
    return "\n".join(
        [*lines, "", f"{_count(errors, 'error')}, {_count(len(wrong) - errors, 'warning')}:", *told]
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
