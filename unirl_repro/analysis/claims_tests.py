"""The tests of the register: from evidence to findings, one function a rule.

Each finding has two p-values, one for the claim and one against it, both two-sided: below the
level of significance the interval excludes that the claim fails, or that it holds. Where neither
is, it is open. Words are read as deviations U17 and U19 say.
"""

from collections.abc import Callable, Sequence

import numpy as np

from unirl_repro.analysis.claims_evidence import (
    NOTHING,
    Contrast,
    Evidence,
    Finding,
    Window,
    contrast,
)
from unirl_repro.analysis.claims_register import (
    AverageComparison,
    Comparison,
    Crossing,
    DataToLevel,
    Drop,
    Gain,
    Overhead,
    Shares,
)
from unirl_repro.analysis.statistics import SIGNIFICANCE, Summary
from unirl_repro.analysis.thresholds import percentiles, permissible_overhead

NORMALISED = "normalised return"
WHOLE = (0.0, 1.0)
Tasks = Sequence[str]


def better(evidence: Evidence, tasks: Tasks, how: Comparison) -> list[Finding]:
    """On each task, is `ours` above the better of `than`? Student's test, as Table 1 has it.

    For: higher and significantly so. Against: the advantage is significantly below the margin,
    and is none that is significant.
    """
    return [_better(evidence, task, how, how.than) for task in tasks]


def better_mostly(evidence: Evidence, tasks: Tasks, how: Comparison) -> list[Finding]:
    """`better` against each of `than` on each task; more than half of them decide."""
    return [_better(evidence, task, how, [other]) for task in tasks for other in how.than]


def _better(evidence: Evidence, task: str, how: Comparison, than: Sequence[str]) -> Finding:
    what = task if len(than) > 1 or len(how.than) == 1 else f"{task}, {than[0]}"
    pair = _pair(evidence, task, how, than)
    span = evidence.range(how.range_of or task)
    student, welch = contrast(pair, equal_variance=True), contrast(pair)
    return _superior(what, student, how.margin, span, {"p_welch": welch.above(0)})


def _superior(
    what: str, found: Contrast, margin: float, span: float, also: dict[str, float] | None = None
) -> Finding:
    p_for = found.above(0)
    # An advantage that is significant is one, even if it is small.
    p_against = 1.0 if p_for < SIGNIFICANCE else found.below(margin * span)
    return _finding(what, found, span, p_for, p_against, also)


def no_worse(evidence: Evidence, tasks: Tasks, how: Comparison) -> list[Finding]:
    """On each task, is `ours` not below the better of `than` by more than the margin?

    Non-inferiority by Welch's test: for or against, as the interval of the difference lies above
    or below minus the margin.
    """
    findings = []
    for task in tasks:
        found = contrast(_pair(evidence, task, how, how.than))
        span = evidence.range(how.range_of or task)
        bound = -how.margin * span
        findings.append(_finding(task, found, span, found.above(bound), found.below(bound)))
    return findings


def equal(evidence: Evidence, tasks: Tasks, how: Comparison) -> list[Finding]:
    """On each task, do `ours` and the better of `than` differ by less than the margin?

    Two one-sided tests: for, if the interval of the difference lies between minus and plus the
    margin; against, if it lies beyond one of them.
    """
    findings = []
    for task in tasks:
        found = contrast(_pair(evidence, task, how, how.than))
        span = evidence.range(how.range_of or task)
        bound = how.margin * span
        inside = max(found.above(-bound), found.below(bound))
        outside = min(found.below(-bound), found.above(bound))
        findings.append(_finding(task, found, span, inside, outside))
    return findings


def good_everywhere(evidence: Evidence, tasks: Tasks, how: Comparison) -> list[Finding]:
    """Is `ours` near the best on each task, and each of `than` far from it on some task?

    `ours` by `no_worse` against the best of the others. Another algorithm is far from the best if
    on some task it lies below it by more than the margin (Bonferroni over tasks), near it
    everywhere if on none.
    """
    findings = no_worse(evidence, tasks, how)
    for other in how.than:
        rest = [how.ours, *(v for v in how.than if v != other)]
        gaps = []
        for task in tasks:
            span = evidence.range(task)
            pair = [(1 / span, evidence.returns(task, other, how.window))]
            pair.append((-1 / span, _best(evidence, task, rest, how.window)))
            gaps.append(contrast(pair))
        worst = min(gaps, key=lambda gap: gap.effect)
        below = len(gaps) * float(np.min([gap.below(-how.margin) for gap in gaps]))
        near = float(np.max([gap.above(-how.margin) for gap in gaps]))
        findings.append(_finding(f"{other}, its worst task", worst, 1.0, min(1.0, below), near))
    return findings


def better_average(evidence: Evidence, tasks: Tasks, how: AverageComparison) -> list[Finding]:
    """Is the normalised return of `ours`, averaged over tasks, higher?

    Against each of `than`, or against the better of them on each task. Welch's test of the mean
    over tasks, each divided by its range; for and against as in `better`.
    """
    if how.against == "each":
        rivals = [(f"against {other}", [other]) for other in how.than]
    else:
        rivals = [("against the better part of each task", how.than)]
    findings = []
    for what, than in rivals:
        terms: list[tuple[float, Summary]] = []
        for task in tasks:
            weight = 1 / (evidence.range(task) * len(tasks))
            terms.append((weight, evidence.returns(task, how.ours, WHOLE)))
            terms.append((-weight, _best(evidence, task, than, WHOLE)))
        findings.append(_superior(what, contrast(terms), how.margin, 1.0))
    return findings


def overtaken(evidence: Evidence, tasks: Tasks, how: Crossing) -> list[Finding]:
    """On each task, is `early` ahead in the first window, and `late` in the second?

    Two findings a task, Welch's test; for and against as in `better`.
    """
    findings = []
    for task in tasks:
        span = evidence.range(task)
        for name, window, sign in (
            ("early", how.early_window, 1.0),
            ("late", how.late_window, -1.0),
        ):
            first = evidence.returns(task, how.early, window)
            second = evidence.returns(task, how.late, window)
            found = contrast([(sign, first), (-sign, second)])
            findings.append(_superior(f"{task}, {name}", found, how.margin, span))
    return findings


def learns(evidence: Evidence, tasks: Tasks, how: Gain) -> list[Finding]:
    """On each task, is the return above that of the run's random episodes by more than the margin?

    A paired t-test over seeds.
    """
    findings = []
    for task in tasks:
        found, span = _gain(evidence, task, how)
        bound = how.margin * span
        findings.append(_finding(task, found, span, found.above(bound), found.below(bound)))
    return findings


def fails(evidence: Evidence, tasks: Tasks, how: Gain) -> list[Finding]:
    """On each task, does the return exceed that of the run's random episodes by less than the margin?

    A paired t-test over seeds: the contrary of `learns`.
    """
    findings = []
    for task in tasks:
        found, span = _gain(evidence, task, how)
        bound = how.margin * span
        findings.append(_finding(task, found, span, found.below(bound), found.above(bound)))
    return findings


def _gain(evidence: Evidence, task: str, how: Gain) -> tuple[Contrast, float]:
    gained = evidence.gain(task, how.variant, how.window, how.policies)
    return contrast([(1.0, gained)]), evidence.range(how.range_of or task)


def loses_less(evidence: Evidence, tasks: Tasks, how: Drop) -> list[Finding]:
    """Does `ours` lose less than `than` from the plain task to the changed one?

    Welch's test of the difference of differences; for and against as in `better`.
    """
    signs = {(how.ours, how.changed): 1.0, (how.ours, how.plain): -1.0}
    signs |= {(how.than, how.changed): -1.0, (how.than, how.plain): 1.0}
    terms = [
        (sign, evidence.returns(task, variant, WHOLE)) for (variant, task), sign in signs.items()
    ]
    what = f"{how.plain} to {how.changed}"
    return [_superior(what, contrast(terms), how.margin, evidence.range(how.plain))]


def shares(evidence: Evidence, tasks: Tasks, how: Shares) -> list[Finding]:
    """On each task, does each condition on the share of free choices hold?

    Student's test of the share over seeds against the bound. Episodes that were random or forced
    are no choices.
    """
    findings = []
    for task in tasks:
        for condition in how.conditions:
            window = condition.window
            chosen = evidence.choices(task, how.variant, condition.policy, window)
            found = contrast([(1.0, chosen)])
            what = f"{task}, {condition.policy} at {100 * window[0]:.0f}-{window[1]:.0%}"
            if condition.at_least is not None:
                for_, against = found.above(condition.at_least), found.below(condition.at_least)
            else:
                bound = float(condition.at_most or 0.0)
                for_, against = found.below(bound), found.above(bound)
            findings.append(_finding(what, found, 1.0, for_, against, unit="share of choices"))
    return findings


def data_to_level(evidence: Evidence, tasks: Tasks, how: DataToLevel) -> list[Finding]:
    """On each task, does `ours` need less data than `than`, and not more than is claimed?

    From resamples of the seeds. For: the ratio is below 1. Against: it is above the claimed one.
    """
    findings = []
    for task in tasks:
        value, drawn, num_seeds = evidence.data_ratios(task, how.ours, how.than, how.share)
        p_for, p_against = _tail(drawn >= 1), _tail(drawn <= how.claimed)
        numbers = (value, *percentiles(drawn))
        findings.append(Finding(task, *numbers, "ratio of data", p_for, p_against, num_seeds))
    return findings


def overhead(evidence: Evidence, tasks: Tasks, how: Overhead) -> list[Finding]:
    """On each task, how much slower may updates be before the saved data no longer pay (A.2.6)?

    From resamples of the seeds. For: the factor is above 1. Against: it is below the claimed one.
    """
    findings = []
    for task in tasks:
        value, drawn, num_seeds = evidence.data_ratios(task, how.ours, how.than, how.share)
        factors = np.array([_factor(ratio, how, how.update_seconds) for ratio in drawn])
        p_for, p_against = _tail(factors <= 1), _tail(factors >= how.claimed)
        numbers = (_factor(value, how, how.update_seconds), *percentiles(factors))
        # The other reading of the printed time: one update, of which an episode has many.
        per_update = _factor(value, how, how.update_seconds * how.updates_per_episode)
        findings.append(
            Finding(
                *(task, *numbers, "factor", p_for, p_against, num_seeds),
                also={"if_the_time_is_one_update_s": per_update},
            )
        )
    return findings


def _factor(ratio: float, how: Overhead, update_seconds: float) -> float:
    return permissible_overhead(ratio, update_seconds, how.episode_seconds)


def _tail(contrary: np.ndarray) -> float:
    """Two-sided p-value from resamples, of which `contrary` says the opposite."""
    if len(contrary) == 0:
        return float("nan")
    return min(1.0, 2 * (int(contrary.sum()) + 1) / (len(contrary) + 1))


def _pair(
    evidence: Evidence, task: str, how: Comparison, than: Sequence[str]
) -> list[tuple[float, Summary]]:
    ours = evidence.returns(task, how.ours, how.window)
    return [(1.0, ours), (-1.0, _best(evidence, task, than, how.window))]


def _best(evidence: Evidence, task: str, variants: Sequence[str], window: Window) -> Summary:
    """The sample with the highest mean; none where one is missing, since that might be higher."""
    samples = [evidence.returns(task, variant, window) for variant in variants]
    if any(sample.num_seeds == 0 for sample in samples):
        return NOTHING
    return max(samples, key=lambda sample: sample.mean)


def _finding(
    what: str,
    found: Contrast,
    span: float,
    p_for: float,
    p_against: float,
    also: dict[str, float] | None = None,
    unit: str = NORMALISED,
) -> Finding:
    low, high = found.interval
    numbers = (found.effect / span, low / span, high / span)
    return Finding(what, *numbers, unit, p_for, p_against, found.num_seeds, also or {})


TESTS: dict[str, Callable[..., list[Finding]]] = {
    function.__name__: function
    for function in (
        *(better, no_worse, equal, better_mostly, better_average, good_everywhere),
        *(overtaken, learns, fails, loses_less, shares, data_to_level, overhead),
    )
}
