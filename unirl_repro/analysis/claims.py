"""From runs to verdicts: each claim of the register, with the numbers behind its verdict.

A verdict is computed from the findings of the claim's test (`analysis.claims_tests`), and from
which runs are there. Nothing here reads files.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from unirl_repro.analysis.claims_evidence import (
    Finding,
    Printed,
    Runs,
    published_lowest,
    published_ranges,
)
from unirl_repro.analysis.claims_names import called, run_name
from unirl_repro.analysis.claims_register import (
    Claim,
    Given,
    Rule,
    Selection,
    listed,
    parameters,
    sentence,
)
from unirl_repro.analysis.claims_tabular import TESTS as TABULAR_TESTS
from unirl_repro.analysis.claims_tabular import Computed
from unirl_repro.analysis.claims_tests import TESTS as RUN_TESTS
from unirl_repro.analysis.frames import Status
from unirl_repro.analysis.statistics import SIGNIFICANCE, holm
from unirl_repro.analysis.style import look, task_name
from unirl_repro.analysis.thresholds import MIN_SEEDS

SUPPORTED = "supported"
NOT_SUPPORTED = "not supported"
INCONCLUSIVE = "inconclusive"
NOT_DECIDABLE = "not decidable at this scale"
NOT_TESTED = "not tested"  # no runs that are planned at any scale would decide it
VERDICTS = (SUPPORTED, NOT_SUPPORTED, INCONCLUSIVE, NOT_DECIDABLE, NOT_TESTED)
PRINTED = {
    SUPPORTED: "the printed numbers support it",
    NOT_SUPPORTED: "the printed numbers do not support it",
    INCONCLUSIVE: "the printed numbers leave it open",
}
DECIDING = "paper"  # the scale whose sizes and budgets are the papers'
MAJORITY = ("better_mostly",)  # tests whose findings decide by majority; else by all
TO_THE_END = ("on_par",)  # tests of runs beyond their task's budget; else up to there
RUN = ("task", "variant", "seed")
ROW = ("kind", "episode", "env_step", "name")  # of a run; metrics alone have names

TESTS = RUN_TESTS | TABULAR_TESTS
Frames = Mapping[str, pd.DataFrame]
Statuses = Mapping[str, Status]


@dataclass(frozen=True)
class Verdict:
    """What findings amount to.

    Attributes
    ----------
    verdict : str
        One of `VERDICTS`.
    why : str
        What it rests on, or what keeps the claim from being decided.
    numbers : list of dict
        The findings, each with its own verdict and Holm-corrected p-values.
    """

    verdict: str
    why: str
    numbers: list[dict[str, Any]]


def evaluate(
    name: str,
    claim: Claim,
    frames: Frames,
    statuses: Statuses,
    published: pd.DataFrame,
    scale: str,
) -> dict[str, Any]:
    """Decide a claim.

    Parameters
    ----------
    name : str
        Its id.
    claim : Claim
        From the register.
    frames, statuses : mapping of str to DataFrame, dict
        By study: the tidy frames and what ran of them.
    published : DataFrame
        What gives each task its range, from `analysis.frames.load_published`: Table 1 as printed,
        and the tops of tasks that are not in it.
    scale : str
        Name of the scale of these runs.

    Returns
    -------
    dict
        id, document, where, claim, test (the rule in a sentence; empty without one), verdict, scale and runs (planned,
        there, missing, short, archive, other_code); also why, numbers, rule (the test's name and
        parameters), printed_verdict and printed_numbers (None where nothing that is printed
        decides). Plain values without NaN.
    """
    there = _runs(claim, statuses)
    found = _decide(claim, frames, statuses, published, scale, there)
    printed = _printed(claim, published)
    rule = claim.test
    return {
        "id": name,
        **claim.model_dump(include={"document", "where", "claim", "absent", "computed"}),
        "test": sentence(rule, CONSTANTS, called) if rule else "",
        "rule": {"name": rule.name, "parameters": rule.parameters} if rule else None,
        "verdict": found.verdict,
        "why": found.why,
        "scale": scale,
        "runs": there | {"needed": [s.model_dump() for s in claim.runs]},
        "numbers": _plain(found.numbers),
        "printed_verdict": PRINTED[printed.verdict] if printed else None,
        "printed_numbers": _plain(printed.numbers) if printed else [],
    }


CONSTANTS = {"significance": SIGNIFICANCE}


def conclude(findings: Sequence[Finding], *, majority: bool = False) -> Verdict:
    """What findings say of the claim that they are parts of.

    Parameters
    ----------
    findings : sequence of Finding
        From a test.
    majority : bool, default False
        Whether more than half of the findings decide; else all must be for the claim, and one
        against it is enough.

    Returns
    -------
    Verdict
        By p-values that are Holm-corrected over the findings, those for and those against the
        claim each as a family of their own (deviation U17). A finding with both below
        `SIGNIFICANCE` is against; one with fewer than `MIN_SEEDS` seeds is open, unless it is
        exact and has none.
    """
    certain = [finding.exact and finding.num_seeds == 0 for finding in findings]
    enough = [c or f.num_seeds >= MIN_SEEDS for c, f in zip(certain, findings, strict=True)]
    p_for = holm(np.where(enough, [finding.p_for for finding in findings], np.nan))
    p_against = holm(np.where(enough, [finding.p_against for finding in findings], np.nan))
    numbers = [
        asdict(finding) | {"p_for_holm": f, "p_against_holm": a, "verdict": _single(f, a)}
        for finding, f, a in zip(findings, p_for, p_against, strict=True)
    ]
    counts = {v: sum(n["verdict"] == v for n in numbers) for v in VERDICTS}
    small = enough.count(False)
    needed = len(numbers) / 2
    if counts[NOT_SUPPORTED] > (needed if majority else 0):
        verdict = NOT_SUPPORTED
    elif counts[SUPPORTED] > needed if majority else counts[SUPPORTED] == len(numbers):
        verdict = SUPPORTED
    else:
        verdict = INCONCLUSIVE
    return Verdict(verdict, _told(counts, small), numbers)


def _told(counts: Mapping[str, int], small: int) -> str:
    """How many comparisons came out how."""
    told = [f"{count} {verdict}" for verdict, count in counts.items() if count]
    text = f"comparisons: {', '.join(told)}"
    return f"{text}, {small} for lack of {MIN_SEEDS} seeds" if small else text


def _single(p_for: float, p_against: float) -> str:
    if p_against < SIGNIFICANCE:
        return NOT_SUPPORTED
    return SUPPORTED if p_for < SIGNIFICANCE else INCONCLUSIVE


def _decide(
    claim: Claim,
    frames: Frames,
    statuses: Statuses,
    published: pd.DataFrame,
    scale: str,
    there: Mapping[str, Any],
) -> Verdict:
    untested = _untested(claim)
    if claim.test is None:
        return Verdict(NOT_TESTED, untested, [])
    found = _test(claim, _evidence(claim, frames, statuses, published))
    if untested:
        return Verdict(NOT_TESTED, untested, found.numbers)
    if reason := _undecidable(claim, statuses, scale):
        return Verdict(NOT_DECIDABLE, reason, found.numbers)
    lacking = _missing(there)
    if reason := _too_short(claim, there):
        told = "; ".join(filter(None, [reason, lacking]))
        return Verdict(INCONCLUSIVE, told, found.numbers)
    return Verdict(found.verdict, "; ".join(filter(None, [found.why, lacking])), found.numbers)


def _untested(claim: Claim) -> str:
    """Why no runs that are planned at any scale would decide it; nothing if some would."""
    if claim.untestable:
        return f"it would take {claim.untestable}"
    if claim.absent:
        names = listed([look(variant).name for variant in claim.absent])
        return f"needs runs of {names}, which are not planned at any scale"
    if any(selection.study is None for selection in claim.runs):
        return "no study plans the runs that it needs"
    return ""


def _undecidable(claim: Claim, statuses: Statuses, scale: str) -> str:
    """Why no runs of this scale can decide it; nothing if they can, or if it needs none."""
    if claim.computed:
        small = [s for s in claim.computed if not statuses.get(s, {}).get("full_size", True)]
        return f"sizes at scale {scale} are far below those of scale {DECIDING}" if small else ""
    if scale != DECIDING:
        return f"sizes and budgets of scale {scale} are far below the paper's"
    for selection in claim.runs:
        for task, variant in _cells(selection):
            planned = statuses[str(selection.study)]["planned"]
            if not any(run["task"] == task and run["variant"] == variant for run in planned):
                names = f"{look(variant).name} on {task_name(task)}"
                return f"runs of {names} are not planned at scale {scale}"
    return ""


def _too_short(claim: Claim, there: Mapping[str, Any]) -> str:
    """Whether runs end before the part of training that the claim is about; nothing if they do not."""
    assert claim.test is not None
    if claim.computed:
        return ""
    tests: list[Rule | Given] = [test for test in (claim.test, claim.given) if test is not None]
    end = max(_end(parameters(test).model_dump()) for test in tests)
    shares = [run["reached"] for run in there["short"] if run["reached"] < end]
    if not shares:
        return ""
    span = " to ".join(dict.fromkeys(f"{share:.0%}" for share in (min(shares), max(shares))))
    return (
        f"{len(shares)} of {there['there']} runs stop before the part of training that it is "
        f"about: they reach {span} of the budget, needed is {end:.0%}"
    )


def _end(values: Mapping[str, Any]) -> float:
    """The last share of the budget that a test looks at."""
    windows = [value for key, value in values.items() if key.endswith("window")]
    windows += [condition["window"] for condition in values.get("conditions", [])]
    return max((high for _, high in windows), default=1.0)


def _missing(there: Mapping[str, Any]) -> str:
    """Which runs are not there; nothing if all are."""
    if not there["missing"]:
        return ""
    names = [run_name(r["task"], r["variant"], r["seed"]) for r in there["missing"]]
    told = "; ".join([*names[:3], *(["and others"] if len(names) > 3 else [])])
    return f"{len(names)} of {there['planned']} runs missing ({told})"


def _test(claim: Claim, evidence: Runs | Printed | Computed) -> Verdict:
    """The findings' verdict, if what the claim takes for granted is so; else it is open."""
    assert claim.test is not None
    found = _concluded(claim.test, claim.tasks, evidence)
    if claim.given is None:
        return found
    given = _concluded(claim.given, claim.tasks, evidence)
    numbers = found.numbers + [n | {"given": True} for n in given.numbers]
    if given.verdict == SUPPORTED:
        return Verdict(found.verdict, found.why, numbers)
    whose = " and ".join(n["what"] for n in given.numbers if n["verdict"] != SUPPORTED)
    why = f"what it takes for granted is {given.verdict} ({claim.given.name}: {whose})"
    return Verdict(INCONCLUSIVE, f"{why}; {found.why}", numbers)


def _concluded(
    test: Rule | Given, tasks: Sequence[str], evidence: Runs | Printed | Computed
) -> Verdict:
    findings = TESTS[test.name](evidence, tasks, parameters(test))
    return conclude(findings, majority=test.name in MAJORITY)


def _evidence(
    claim: Claim, frames: Frames, statuses: Statuses, published: pd.DataFrame
) -> Runs | Computed:
    """The claim's runs, each once, though several studies may hold it; or what was computed."""
    if claim.computed:
        return Computed({study: frames[study] for study in claim.computed})
    parts: list[pd.DataFrame] = []
    budget: dict[str, int] = {}
    longer: dict[tuple[str, str], int] = {}
    for selection in claim.runs:
        if selection.study is None or selection.study not in frames:
            continue
        frame = frames[selection.study]
        kept = frame["task"].isin(selection.tasks) & frame["variant"].isin(selection.variants)
        parts.append(frame[kept])
        status = statuses[selection.study]
        budget |= status["budget"]
        longer |= {(run["task"], run["variant"]): run["steps"] for run in status["longer"]}
    parts = [part for part in parts if not part.empty]
    if parts:
        rows = pd.concat(parts)
        rows = rows.drop_duplicates([*RUN, *(key for key in ROW if key in rows)])
    else:
        rows = published.iloc[:0]
    ranges, lowests = published_ranges(published), published_lowest(published)
    return Runs(rows, budget, ranges, lowests, longer)


def _printed(claim: Claim, published: pd.DataFrame) -> Verdict | None:
    """What the printed numbers say; None where they do not hold what the test needs."""
    if claim.test is None or claim.computed:
        return None
    found = _test(claim, Printed(published))
    return None if any(n["num_seeds"] == 0 for n in found.numbers) else found


def _runs(claim: Claim, statuses: Statuses) -> dict[str, Any]:
    """Which of the runs that a claim needs were planned, are there, or stop early."""
    lists = ("planned", "finished", "missing", "short", "archive", "other_code")
    found: dict[str, dict[tuple[Any, ...], dict[str, Any]]] = {name: {} for name in lists}
    for selection in claim.runs:
        cells = set(_cells(selection))
        status = statuses.get(selection.study or "", {})
        for name in lists:
            for run in _short(claim, status) if name == "short" else status.get(name, []):
                if (run["task"], run["variant"]) in cells:
                    found[name][tuple(run[key] for key in RUN)] = run
    return {
        "planned": len(found["planned"]),
        "there": len(found["finished"]),
        "missing": list(found["missing"].values()),
        "short": list(found["short"].values()),
        "archive": len(found["archive"]),
        "other_code": len(found["other_code"]),
    }


def _short(claim: Claim, status: Status) -> list[dict[str, Any]]:
    """Runs that stop early: before their task's budget, even if they were to go on beyond that."""
    short = status.get("short", [])
    if claim.test is not None and claim.test.name in TO_THE_END:
        return list(short)
    steps = {(run["task"], run["variant"]): run["steps"] for run in status.get("longer", [])}
    found = []
    for run in short:
        budget = status["budget"][run["task"]]
        reached = run["reached"] * steps.get((run["task"], run["variant"]), budget) / budget
        if reached < 1:
            found.append(run | {"reached": reached})
    return found


def _cells(selection: Selection) -> list[tuple[str, str]]:
    return [(task, variant) for task in selection.tasks for variant in selection.variants]


def _plain(value: Any) -> Any:
    """Without NaN and infinities, which JSON has not."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None if np.isnan(value) else ("inf" if value > 0 else "-inf")
    return value
