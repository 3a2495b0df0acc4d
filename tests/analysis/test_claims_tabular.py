"""Claims that tabular studies decide: each comes out as its numbers are, made so by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from unirl_repro.analysis.claims import (
    INCONCLUSIVE,
    NOT_DECIDABLE,
    NOT_SUPPORTED,
    SUPPORTED,
    evaluate,
)
from unirl_repro.analysis.claims_register import (
    Ahead,
    Beyond,
    Ordered,
    Within,
    load_register,
    parameters,
)
from unirl_repro.analysis.claims_tabular import PLACE
from unirl_repro.analysis.claims_tex import tex
from unirl_repro.config import ConfigError, load_config

ROOT = Path(__file__).parents[2]
CONFIG = load_config(ROOT / "config.yaml")
REGISTER = load_register(CONFIG, ROOT / "paper" / "claims.yaml")
CLAIMS = {name: claim for name, claim in REGISTER.items() if claim.computed}
SAMPLED = ("ahead", "beyond")
OVER_SEEDS = [n for n, c in CLAIMS.items() if c.test is not None and c.test.name in SAMPLED]
LEARNED = [n for n, c in CLAIMS.items() if any(CONFIG.studies[s].learned for s in c.computed)]
STEPS = np.linspace(-1, 1, 10)  # of the seeds, around their mean


def frame(how, values, over_seeds=False):
    """The numbers of each variant, at as many seeds; exact ones at as many iterations."""
    rows = [
        {"panel": how.panel, "name": how.name, "variant": variant, "value": value}
        | dict.fromkeys(PLACE, -1)
        | {"seed" if isinstance(how, Ahead | Beyond) or over_seeds else "iteration": place}
        for variant, numbers in values.items()
        for place, value in enumerate(numbers)
    ]
    return pd.DataFrame(rows)


def numbers_for(how: Any, outcome):
    """Numbers of all variants of a test at which it must come out so."""
    holds = outcome == SUPPORTED
    match how:
        case Within(at_most=None, at_least=float(bound)):
            # One that fails is enough.
            good, bad = [bound + 0.1], [bound - 0.1]
            return {v: good if holds or v != how.of[-1] else bad for v in how.of}
        case Within(at_most=float(bound)):
            return {v: [bound + (-0.1 if holds else 0.1)] for v in how.of}
        case Ordered():
            lower = [1.0, 2.0, 3.0]
            upper = [x + how.by + 0.1 for x in lower]
            return {how.lower: lower, how.upper: upper if holds else [*upper[:2], 2.9]}
        case Beyond():
            limit = how.at_least if how.at_most is None else how.at_most
            assert limit is not None
            sign = {SUPPORTED: 1, NOT_SUPPORTED: -1, INCONCLUSIVE: 0}[outcome]
            sign = sign if how.at_most is None else -sign
            # One variant that fails is enough.
            shift = {v: sign if holds or v == how.of[-1] else abs(sign) for v in how.of}
            return {v: limit + 0.1 * s + 0.05 * STEPS for v, s in shift.items()}
        case Ahead():
            scale = how.margin
            spread = 30 * scale if outcome == INCONCLUSIVE else 0.1 * scale
            gain = {SUPPORTED: 2.0, NOT_SUPPORTED: -2.0, INCONCLUSIVE: 0.0}[outcome] * scale
            sign = -1 if how.lower_is_better else 1
            others = dict.fromkeys(how.than, 5 + spread * STEPS)
            return others | {how.first: 5 + sign * gain + spread * STEPS}


def parameters_of(name) -> Any:
    """Its test's parameters."""
    test = CLAIMS[name].test
    assert test is not None
    return parameters(test)


def frame_for(claim, how, values):
    """The numbers of a claim's test, and those by which what it takes for granted holds."""
    made = frame(how, values)
    if claim.given is None:
        return made
    given = parameters(claim.given)
    return pd.concat([made, frame(given, numbers_for(given, SUPPORTED))], ignore_index=True)


def decided(name, outcome):
    claim, how = CLAIMS[name], parameters_of(name)
    frames = {how.study: frame_for(claim, how, numbers_for(how, outcome))}
    frames |= {study: pd.DataFrame() for study in claim.computed if study != how.study}
    return evaluate(name, claim, frames, {}, pd.DataFrame(), "quick")


@pytest.mark.parametrize("outcome", [SUPPORTED, NOT_SUPPORTED])
@pytest.mark.parametrize("name", CLAIMS)
def test_a_claim_is_decided_as_its_numbers_are(name, outcome):
    found = decided(name, outcome)
    assert found["verdict"] == outcome, found["numbers"]
    assert found["test"]
    assert "{" not in found["test"]


@pytest.mark.parametrize("name", OVER_SEEDS)
def test_seeds_that_spread_widely_leave_it_open(name):
    assert decided(name, INCONCLUSIVE)["verdict"] == INCONCLUSIVE


@pytest.mark.parametrize("name", OVER_SEEDS)
def test_one_seed_decides_nothing(name):
    claim, how = CLAIMS[name], parameters_of(name)
    values = {variant: numbers[:1] for variant, numbers in numbers_for(how, SUPPORTED).items()}
    found = evaluate(
        name, claim, {how.study: frame_for(claim, how, values)}, {}, pd.DataFrame(), "smoke"
    )
    assert found["verdict"] == INCONCLUSIVE
    assert "for lack of 4 seeds" in found["why"]


@pytest.mark.parametrize("name", LEARNED)
def test_a_study_of_which_nothing_is_computed_leaves_it_open(name):
    nothing = pd.DataFrame(columns=["panel", "name", "variant", "value", *PLACE])
    frames = dict.fromkeys(CLAIMS[name].computed, nothing)
    found = evaluate(name, CLAIMS[name], frames, {}, pd.DataFrame(), "paper")
    assert found["verdict"] == INCONCLUSIVE
    assert "for lack of 4 seeds" in found["why"]


@pytest.mark.parametrize("name", LEARNED)
def test_sizes_that_are_not_the_papers_decide_nothing(name):
    claim, how = CLAIMS[name], parameters_of(name)
    frames = {how.study: frame_for(claim, how, numbers_for(how, SUPPORTED))}
    for full, verdict in ((True, SUPPORTED), (False, NOT_DECIDABLE)):
        statuses = {how.study: {"full_size": full}}
        found = evaluate(name, claim, frames, statuses, pd.DataFrame(), "quick")
        assert found["verdict"] == verdict
        assert {n["verdict"] for n in found["numbers"]} == {SUPPORTED}


@pytest.mark.parametrize(("seeds", "verdict"), [(3, INCONCLUSIVE), (4, NOT_SUPPORTED)])
def test_a_number_that_holds_for_all_seeds_needs_enough_of_them(seeds, verdict):
    name = "mnm_faster_by_optimism"
    how = parameters_of(name)
    solved = frame(how, {"q_learning_log": [0.0] * (seeds - 1) + [1.0]}, over_seeds=True)
    found = evaluate(name, CLAIMS[name], {how.study: solved}, {}, pd.DataFrame(), "quick")
    assert (found["verdict"], found["numbers"][0]["num_seeds"]) == (verdict, seeds)


def test_an_advantage_below_the_margin_that_is_significant_is_one():
    how = Ahead(study="s", panel="p", name="n", first="a", than=["b"], margin=1.0)
    name = "mnm_optimism_helps"
    claim = CLAIMS[name].model_copy(update={"computed": ["s"]})
    assert claim.test is not None
    test = claim.test.model_copy(update={"parameters": how.model_dump(), "rule": "so"})
    small = {"a": 0.5 + 0.01 * STEPS, "b": 0.01 * STEPS}
    claim = claim.model_copy(update={"test": test})
    found = evaluate(name, claim, {"s": frame(how, small)}, {}, pd.DataFrame(), "quick")
    assert found["verdict"] == SUPPORTED


def test_a_number_that_no_study_computes_is_named():
    name = "mnm_points_to_goal"
    how = parameters_of(name)
    other = frame(how, {"mnm": [1.0]}).assign(panel="elsewhere")
    with pytest.raises(ValueError, match="has no number 'share_towards_goal' of 'mnm' in panel"):
        evaluate(name, CLAIMS[name], {how.study: other}, {}, pd.DataFrame(), "quick")


def test_rows_of_the_table_say_exact_or_how_many_seeds():
    cost: dict[str, Any] = {
        "runs": 0,
        "core_hours": 0.0,
        "gpu_hours": 0.0,
        "speed": None,
        "without": [],
    }
    found = [
        decided(name, SUPPORTED) | {"cost": cost, "provisional": []}
        for name in ("mnm_lower_bound", "mnm_faster")
    ]
    exact, sampled = (
        line.split(" & ") for line in tex(found).splitlines() if line.startswith(r"\texttt")
    )
    assert exact[2] == "exact"
    assert sampled[2] == "10"
    assert "least log return less eq2: $0.1000$" in exact[3]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("computed: [mnm_fig13]", "computed: [mnm_fig3]", "parameters.study is 'mnm_fig13'."),
        (
            "computed: [mnm_fig13]",
            "computed: [unified_rl_fig2]",
            "computed[0] is 'unified_rl_fig2'.",
        ),
        (
            "name: ordered",
            "name: better",
            "test.name is 'better'. Allowed: ahead, beyond, ordered, within",
        ),
        ("panel: risk", "panle: risk", "panle is not a key here."),
    ],
)
def test_a_mistake_is_told_with_its_place(old, new, message, tmp_path):
    path = tmp_path / "claims.yaml"
    path.write_text((ROOT / "paper" / "claims.yaml").read_text().replace(old, new))
    with pytest.raises(ConfigError) as told:
        load_register(CONFIG, path)
    assert message in str(told.value)
