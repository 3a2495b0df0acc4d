"""Tests of claims about finite MDPs: on the frames of tabular studies, most of whose numbers are exact.

An exact number holds or does not: its p-value is 0 or 1. What was learnt from samples is compared
over seeds, as in `analysis.claims_tests`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from unirl_repro.analysis.claims_evidence import Contrast, Finding, contrast
from unirl_repro.analysis.claims_register import Ahead, Beyond, Ordered, Within
from unirl_repro.analysis.statistics import SIGNIFICANCE, summarise

PLACE = ["seed", "iteration", "row", "column", "action"]
ROUNDING = 1e-9  # by which an exact number may miss a bound


@dataclass(frozen=True)
class Computed:
    """Frames of tabular studies."""

    frames: Mapping[str, pd.DataFrame]

    def numbers(self, study: str, panel: str, name: str, variant: str) -> pd.Series:
        """A number of one variant at all places that it has, by place.

        Raises
        ------
        ValueError
            If there is none: the claim names what its study does not compute. A study of which
            nothing is computed yet has no numbers at all.
        """
        rows = self.frames[study]
        if rows.empty:
            return pd.Series([], index=pd.MultiIndex.from_arrays([[]] * len(PLACE)), dtype=float)
        rows = rows[(rows["panel"] == panel) & (rows["name"] == name)]
        rows = rows[rows["variant"] == variant]
        if rows.empty:
            raise ValueError(
                f"paper/claims.yaml: the frame of {study} has no number {name!r} of {variant!r} in "
                f"panel {panel!r}. Allowed: what {study}.py computes, in unirl_repro/tabular or learned"
            )
        return rows.set_index(PLACE)["value"]


def within(evidence: Computed, tasks: Sequence[str], how: Within) -> list[Finding]:
    """Is an exact number of each variant on the claimed side of a bound, wherever it stands?"""
    findings = []
    for variant in how.of:
        values = evidence.numbers(how.study, how.panel, how.name, variant)
        if how.at_least is not None:
            worst, margin = values.min(), values.min() - how.at_least
        else:
            assert how.at_most is not None
            worst, margin = values.max(), how.at_most - values.max()
        what = f"{_words(how.name)}, {_words(variant)}"
        findings.append(_exact(what, worst, margin, how.unit, _num_seeds(values)))
    return findings


def beyond(evidence: Computed, tasks: Sequence[str], how: Beyond) -> list[Finding]:
    """Is a number of each variant on the claimed side of a bound, in the mean over seeds?

    Student's test: for, significantly on that side; against, significantly on the other.
    """
    findings = []
    for variant in how.of:
        values = evidence.numbers(how.study, how.panel, how.name, variant)
        found = contrast([(1.0, summarise(values.to_numpy()))])
        if how.at_least is not None:
            p_values = found.above(how.at_least), found.below(how.at_least)
        else:
            assert how.at_most is not None
            p_values = found.below(how.at_most), found.above(how.at_most)
        what = f"{_words(how.name)}, {_words(variant)}"
        numbers = (found.effect, *found.interval)
        findings.append(Finding(what, *numbers, how.unit, *p_values, found.num_seeds))
    return findings


def ordered(evidence: Computed, tasks: Sequence[str], how: Ordered) -> list[Finding]:
    """Is an exact number of `upper` at least that of `lower` by `by`, wherever both stand?"""
    upper = evidence.numbers(how.study, how.panel, how.name, how.upper)
    lower = evidence.numbers(how.study, how.panel, how.name, how.lower)
    least = float((upper - lower).min())
    what = f"least {_words(how.upper)} less {_words(how.lower)}"
    return [_exact(what, least, least - how.by, how.unit, _num_seeds(upper))]


def ahead(evidence: Computed, tasks: Sequence[str], how: Ahead) -> list[Finding]:
    """Over seeds, is `first` better than each of `than`? Welch's test.

    For: better, significantly. Against: the advantage is significantly below the margin, and is none
    that is significant. With `no_worse` the interval of the difference lies above minus the margin,
    or below it.
    """
    sign = -1.0 if how.lower_is_better else 1.0
    ours = summarise(evidence.numbers(how.study, how.panel, how.name, how.first).to_numpy())
    findings = []
    for other in how.than:
        theirs = summarise(evidence.numbers(how.study, how.panel, how.name, other).to_numpy())
        found = contrast([(sign, ours), (-sign, theirs)])
        what = f"{_words(how.first)} over {_words(other)}, {_words(how.name)}"
        findings.append(_advantage(what, found, how))
    return findings


def _advantage(what: str, found: Contrast, how: Ahead) -> Finding:
    bound = -how.margin if how.no_worse else 0.0
    p_for = found.above(bound)
    least = bound if how.no_worse else how.margin
    p_against = 1.0 if p_for < SIGNIFICANCE else found.below(least)
    numbers = (found.effect, *found.interval)
    return Finding(what, *numbers, how.unit, p_for, p_against, found.num_seeds)


def _num_seeds(values: pd.Series) -> int:
    """Seeds that a number has; none where it is not random."""
    seeds = values.index.get_level_values("seed")
    return int(seeds[seeds >= 0].nunique())


def _exact(what: str, value: float, margin: float, unit: str, num_seeds: int) -> Finding:
    holds = bool(margin >= -ROUNDING)
    nowhere = float("nan")
    p_values = (float(not holds), float(holds))
    return Finding(what, float(value), nowhere, nowhere, unit, *p_values, num_seeds, exact=True)


def _words(name: str) -> str:
    return name.replace("_", " ").replace("/", ", ")


TESTS: dict[str, Callable[..., list[Finding]]] = {
    function.__name__: function for function in (within, beyond, ordered, ahead)
}
