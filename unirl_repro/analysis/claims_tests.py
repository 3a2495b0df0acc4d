"""The tests of the register: from evidence to findings, one function a rule.

Each finding has two p-values, one for the claim and one against it, both two-sided: below the
level of significance the interval excludes that the claim fails, or that it holds. Where neither
is, it is open. Words are read as deviations U17, U19 and D20 say.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from unirl_repro.analysis.claims_evidence import (
    NOTHING,
    Contrast,
    Evidence,
    Finding,
    contrast,
)
from unirl_repro.analysis.claims_names import POLICIES, against, metric_name
from unirl_repro.analysis.claims_register import (
    Asymptote,
    AverageComparison,
    Comparison,
    Condition,
    Crossing,
    DataToLevel,
    Drop,
    Gain,
    Magnitude,
    Overhead,
    Reported,
    Shares,
    Standing,
)
from unirl_repro.analysis.statistics import SIGNIFICANCE, Summary
from unirl_repro.analysis.style import look, task_name
from unirl_repro.analysis.thresholds import percentiles, permissible_overhead

NORMALISED = "normalised return"
OF_REPORTED = "share of the reported return"
OF_MAGNITUDE = "ratio of magnitudes"
PER_UPDATE = "if_the_time_is_one_update_s"  # the other reading of A.2.6
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
    what = _compared(task, how.ours, than)
    pair = _pair(evidence, task, how, than)
    span = evidence.range(how.range_of or task)
    student, welch = contrast(pair, equal_variance=True), contrast(pair)
    return _superior(what, student, how.margin, span, {"p_welch": welch.above(0)})


def _superior(
    what: str,
    found: Contrast,
    margin: float,
    span: float,
    also: dict[str, float] | None = None,
    unit: str = NORMALISED,
) -> Finding:
    p_for = found.above(0)
    # An advantage that is significant is one, even if it is small.
    p_against = 1.0 if p_for < SIGNIFICANCE else found.below(margin * span)
    return _finding(what, found, span, p_for, p_against, also, unit)


def no_worse(evidence: Evidence, tasks: Tasks, how: Comparison) -> list[Finding]:
    """On each task, is `ours` not below the better of `than` by more than the margin?

    Non-inferiority by Welch's test: for or against, as the interval of the difference lies above
    or below minus the margin.
    """
    return [_beyond(evidence, task, how, -how.margin) for task in tasks]


def far_better(evidence: Evidence, tasks: Tasks, how: Comparison) -> list[Finding]:
    """On each task, is `ours` above the better of `than` by more than the margin?

    Welch's test: for or against, as the interval of the difference lies above or below the margin.
    """
    return [_beyond(evidence, task, how, how.margin) for task in tasks]


def _beyond(evidence: Evidence, task: str, how: Comparison, share: float) -> Finding:
    found = contrast(_pair(evidence, task, how, how.than))
    span = evidence.range(how.range_of or task)
    p_values = found.above(share * span), found.below(share * span)
    return _finding(_compared(task, how.ours, how.than), found, span, *p_values)


def equal(evidence: Evidence, tasks: Tasks, how: Comparison) -> list[Finding]:
    """On each task, do `ours` and each of `than` differ by less than the margin?

    Two one-sided tests: for, if the interval of the difference lies between minus and plus the
    margin; against, if it lies beyond one of them.
    """
    findings = []
    for task in tasks:
        span = evidence.range(how.range_of or task)
        for other in how.than:
            found = contrast(_pair(evidence, task, how, [other]))
            what = _compared(task, how.ours, [other])
            findings.append(_equal(what, found, how.margin, span))
    return findings


def _equal(
    what: str, found: Contrast, margin: float, span: float, unit: str = NORMALISED
) -> Finding:
    bound = margin * span
    inside = max(found.above(-bound), found.below(bound))
    outside = min(found.below(-bound), found.above(bound))
    return _finding(what, found, span, inside, outside, unit=unit)


def good_everywhere(evidence: Evidence, tasks: Tasks, how: Standing) -> list[Finding]:
    """Is `ours` at least at a share of the printed range on each task, and none of `than`?

    Student's tests of the normalised return against the share. Each of `than` has to be below it on
    some task (Bonferroni over tasks); against: it is above it on all.
    """
    findings = []
    for task in tasks:
        found = _standing(evidence, task, how.ours)
        what = f"{task_name(task)}: {look(how.ours).name}"
        p_values = found.above(how.share), found.below(how.share)
        findings.append(_finding(what, found, 1.0, *p_values))
    for other in how.than:
        scores = [_standing(evidence, task, other) for task in tasks]
        worst = min(scores, key=lambda score: score.effect)
        below = len(scores) * float(np.min([score.below(how.share) for score in scores]))
        above = float(np.max([score.above(how.share) for score in scores]))
        what = f"{look(other).name} on its worst task"
        findings.append(_finding(what, worst, 1.0, min(1.0, below), above))
    return findings


def _standing(evidence: Evidence, task: str, variant: str) -> Contrast:
    """Where a variant stands between the lowest printed row (0) and the highest (1)."""
    span = evidence.range(task)
    found = contrast([(1 / span, evidence.returns(task, variant, WHOLE))])
    return replace(found, effect=found.effect - evidence.lowest(task) / span)


def better_average(evidence: Evidence, tasks: Tasks, how: AverageComparison) -> list[Finding]:
    """Is the normalised return of `ours`, averaged over tasks, higher?

    Against each of `than`, or against the better of them on each task. Welch's test of the mean
    over tasks, each divided by its range; for and against as in `better`.
    """
    if how.against == "each":
        rivals = [(against(how.ours, [other]), [other]) for other in how.than]
    else:
        rivals = [(f"{against(how.ours, how.than)} on each task", how.than)]
    findings = []
    for what, than in rivals:
        terms: list[tuple[float, Summary]] = []
        for task in tasks:
            weight = 1 / (evidence.range(task) * len(tasks))
            terms.append((weight, evidence.returns(task, how.ours, WHOLE)))
            rivals_there = [evidence.returns(task, other, WHOLE) for other in than]
            terms.append((-weight, _best(rivals_there)))
        findings.append(_superior(what, contrast(terms), how.margin, 1.0))
    return findings


def overtaken(evidence: Evidence, tasks: Tasks, how: Crossing) -> list[Finding]:
    """On each task, is `early` ahead in the first window, and `late` in the second?

    Two findings a task, Welch's test; for and against as in `better`.
    """
    findings = []
    for task in tasks:
        span = evidence.range(task)
        for when, window, ahead, behind in (
            ("early", how.early_window, how.early, how.late),
            ("late", how.late_window, how.late, how.early),
        ):
            pair = [(1.0, evidence.returns(task, ahead, window))]
            found = contrast([*pair, (-1.0, evidence.returns(task, behind, window))])
            what = f"{_compared(task, ahead, [behind])}, {when}"
            findings.append(_superior(what, found, how.margin, span))
    return findings


def learns(evidence: Evidence, tasks: Tasks, how: Gain) -> list[Finding]:
    """On each task, is the return above that of the run's random episodes by more than the margin?

    A paired t-test over seeds.
    """
    findings = []
    for task in tasks:
        found, span = _gain(evidence, task, how)
        bound = how.margin * span
        what = _gained(task, how)
        findings.append(_finding(what, found, span, found.above(bound), found.below(bound)))
    return findings


def fails(evidence: Evidence, tasks: Tasks, how: Gain) -> list[Finding]:
    """On each task, does the return exceed that of the run's random episodes by less than the margin?

    A paired t-test over seeds: the contrary of `learns`.
    """
    findings = []
    for task in tasks:
        found, span = _gain(evidence, task, how)
        bound = how.margin * span
        what = _gained(task, how)
        findings.append(_finding(what, found, span, found.below(bound), found.above(bound)))
    return findings


def _gained(task: str, how: Gain) -> str:
    return f"{task_name(task)}: {look(how.variant).name} against its random episodes"


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
    change = f"{task_name(how.plain)} to {task_name(how.changed)}"
    what = f"{change}: {against(how.ours, [how.than])}"
    return [_superior(what, contrast(terms), how.margin, evidence.range(how.plain))]


def shares(evidence: Evidence, tasks: Tasks, how: Shares) -> list[Finding]:
    """On each task, does each condition on the share of tested episodes hold?

    Student's test of the share over seeds against the bound. Forced episodes count as what the test
    chose; random ones, and those before there was a model to test, are not counted.
    """
    findings = []
    for task in tasks:
        for condition in how.conditions:
            chosen = evidence.choices(task, how.variant, condition.policy, condition.window)
            found = contrast([(1.0, chosen)])
            what = f"{task_name(task)}: {_bounded(condition)}"
            if condition.at_least is not None:
                for_, against = found.above(condition.at_least), found.below(condition.at_least)
            else:
                bound = float(condition.at_most or 0.0)
                for_, against = found.below(bound), found.above(bound)
            findings.append(
                _finding(what, found, 1.0, for_, against, unit="share of tested episodes")
            )
    return findings


def _bounded(condition: Condition) -> str:
    low, high = condition.window
    if condition.at_least is not None:
        bound = f">{condition.at_least:.0%}"
    else:
        bound = f"<{condition.at_most:.0%}"
    return f"{POLICIES[condition.policy]} {bound} at {100 * low:.0f}–{high:.0%}"


def data_to_level(evidence: Evidence, tasks: Tasks, how: DataToLevel) -> list[Finding]:
    """On each task, does `ours` need less data than `than`, and not more than is claimed?

    From resamples of the seeds. For: the ratio is below 1. Against: it is above the claimed one.
    """
    findings = []
    for task in tasks:
        value, drawn, num_seeds = evidence.data_ratios(task, how.ours, how.than, how.share)
        p_for, p_against = _tail(drawn < 1), _tail(drawn > how.claimed)
        numbers = (value, *percentiles(drawn))
        what = _compared(task, how.ours, [how.than])
        findings.append(Finding(what, *numbers, "ratio of data", p_for, p_against, num_seeds))
    return findings


def overhead(evidence: Evidence, tasks: Tasks, how: Overhead) -> list[Finding]:
    """On each task, how much slower may updates be before the saved data no longer pay (A.2.6)?

    From resamples of the seeds. For: the factor is at least the claimed one. Against: it is below.
    """
    findings = []
    for task in tasks:
        value, drawn, num_seeds = evidence.data_ratios(task, how.ours, how.than, how.share)
        factors = np.array([_factor(ratio, how, how.update_seconds) for ratio in drawn])
        p_for, p_against = _tail(factors >= how.claimed), _tail(factors < how.claimed)
        numbers = (_factor(value, how, how.update_seconds), *percentiles(factors))
        # The other reading of the printed time: one update, of which an episode has many.
        per_update = _factor(value, how, how.update_seconds * how.updates_per_episode)
        findings.append(
            Finding(
                *(_compared(task, how.ours, [how.than]), *numbers),
                *("factor", p_for, p_against, num_seeds),
                also={PER_UPDATE: per_update},
            )
        )
    return findings


def above_reported(evidence: Evidence, tasks: Tasks, how: Reported) -> list[Finding]:
    """On each task and at each step, is the evaluation return above the reported one?

    Welch's test; for and against as in `better`, the margin being a share of the reported mean.
    """
    return [
        _superior(what, found, how.margin, level, unit=OF_REPORTED)
        for what, found, level in _against_reported(evidence, tasks, how)
    ]


def as_reported(evidence: Evidence, tasks: Tasks, how: Reported) -> list[Finding]:
    """On each task and at each step, does it differ from the reported one by less than the margin?

    As `equal`.
    """
    return [
        _equal(what, found, how.margin, level, unit=OF_REPORTED)
        for what, found, level in _against_reported(evidence, tasks, how)
    ]


def _against_reported(
    evidence: Evidence, tasks: Tasks, how: Reported
) -> Iterator[tuple[str, Contrast, float]]:
    for task in tasks:
        for step in how.steps:
            reported = evidence.reported(task, how.variant, step)
            ours = evidence.evaluations(task, how.variant, step)
            what = f"{task_name(task)}: {look(how.variant).name} after {step:,} steps"
            yield what, contrast([(1.0, ours), (-1.0, reported)]), reported.mean


def on_par(evidence: Evidence, tasks: Tasks, how: Asymptote) -> list[Finding]:
    """On each task, does `ours` end not below a longer run of `than` by more than the margin?

    Non-inferiority of evaluations by Welch's test, as in `no_worse`. Where seeds do not differ, as
    at the ceiling of a task, the difference itself decides.
    """
    findings = []
    for task in tasks:
        ours = evidence.evaluated(task, how.ours, how.window)
        asymptote = evidence.evaluated(task, how.than, how.window, longer=True)
        found = contrast([(1.0, ours), (-1.0, asymptote)])
        span = evidence.range(task)
        bound = -how.margin * span
        what = f"{_compared(task, how.ours, [how.than])} in its longer run"
        finding = _finding(what, found, span, found.above(bound), found.below(bound))
        if found.error == 0:
            p_for, p_against = float(found.effect < bound), float(found.effect >= bound)
            finding = replace(finding, exact=True, p_for=p_for, p_against=p_against)
        findings.append(finding)
    return findings


def far_smaller(evidence: Evidence, tasks: Tasks, how: Magnitude) -> list[Finding]:
    """On each task, is the mean size of a metric below a share of that of each of others?

    Student's test of the ratio over seeds.
    """
    return [
        _finding(
            *(what, found, 1.0, found.below(how.share), found.above(how.share)), unit=OF_MAGNITUDE
        )
        for what, found in _magnitudes(evidence, tasks, how, signed=False)
    ]


def around_zero(evidence: Evidence, tasks: Tasks, how: Magnitude) -> list[Finding]:
    """On each task, is a metric's mean within a share of the mean size of each of others?

    As `equal`, by Student's test of the ratio over seeds.
    """
    return [
        _equal(what, found, how.share, 1.0, unit=OF_MAGNITUDE)
        for what, found in _magnitudes(evidence, tasks, how, signed=True)
    ]


def _magnitudes(
    evidence: Evidence, tasks: Tasks, how: Magnitude, *, signed: bool
) -> Iterator[tuple[str, Contrast]]:
    for task in tasks:
        for other in how.beside:
            names = (how.variant, how.metric, other)
            ratio = evidence.magnitude(task, *names, how.window, signed=signed)
            what = f"{task_name(task)}: {metric_name(how.metric)} over {metric_name(other)}"
            yield what, contrast([(1.0, ratio)])


def _factor(ratio: float, how: Overhead, update_seconds: float) -> float:
    return permissible_overhead(ratio, update_seconds, how.episode_seconds)


def _tail(agree: np.ndarray) -> float:
    """Two-sided p-value from resamples, of which `agree` says which have it so.

    A resample without a value (NaN compares as false) agrees with nothing, neither the claim nor
    its contrary: it counts against whichever of them is asked for.
    """
    if len(agree) == 0:
        return float("nan")
    return min(1.0, 2 * (int((~agree).sum()) + 1) / (len(agree) + 1))


def _compared(task: str, ours: str, than: Sequence[str]) -> str:
    return f"{task_name(task)}: {against(ours, than)}"


def _pair(
    evidence: Evidence, task: str, how: Comparison, than: Sequence[str]
) -> list[tuple[float, Summary]]:
    mean = evidence.evaluated if how.returns == "evaluation" else evidence.returns
    ours, *rivals = (mean(task, variant, how.window) for variant in (how.ours, *than))
    return [(1.0, ours), (-1.0, _best(rivals))]


def _best(samples: Sequence[Summary]) -> Summary:
    """The sample with the highest mean; none where one is missing, since that might be higher."""
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
    p_values = (p_for, p_against, found.num_seeds)
    return Finding(what, *numbers, unit, *p_values, also=also or {})


TESTS: dict[str, Callable[..., list[Finding]]] = {
    function.__name__: function
    for function in (
        *(better, far_better, no_worse, equal, better_mostly, better_average, good_everywhere),
        *(overtaken, learns, fails, loses_less, shares, data_to_level, overhead),
        *(above_reported, as_reported, on_par, far_smaller, around_zero),
    )
}
