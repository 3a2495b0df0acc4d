"""Each claim of the register on runs that are for it, against it, or leave it open."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from tests.analysis.claim_frames import PUBLISHED, World, make, planned, with_gain, world
from unirl_repro.analysis.claims import (
    CONSTANTS,
    INCONCLUSIVE,
    NOT_DECIDABLE,
    NOT_SUPPORTED,
    NOT_TESTED,
    SUPPORTED,
    TESTS,
    conclude,
    evaluate,
)
from unirl_repro.analysis.claims_evidence import Finding
from unirl_repro.analysis.claims_register import PARAMETERS, load_register, sentence
from unirl_repro.config import load_config

ROOT = Path(__file__).parents[2]
CONFIG = load_config(ROOT / "config.yaml")
WHOLE_REGISTER = load_register(CONFIG, ROOT / "paper" / "claims.yaml")
# Those that runs decide; the others are in test_claims_tabular.py.
REGISTER = {name: claim for name, claim in WHOLE_REGISTER.items() if not claim.computed}
TESTED = [name for name, claim in REGISTER.items() if claim.test is not None]
UNTESTED = [name for name in REGISTER if name not in TESTED]
# What needs nothing but runs that the studies plan.
PLANNED = [n for n in TESTED if not REGISTER[n].absent and all(s.study for s in REGISTER[n].runs)]
BEATS = "unified_rl_beats_both_on_four"
EARLY = "unified_rl_rapid_as_mbrl"


def decided(name, claim, how, **ragged):
    return evaluate(name, claim, *make(claim, how, **ragged), PUBLISHED, "paper")


def test_every_test_has_parameters_and_every_claim_stands_somewhere():
    assert set(TESTS) == set(PARAMETERS)
    assert len(REGISTER) > 12
    assert set(CONFIG.studies) >= {s.study for c in REGISTER.values() for s in c.runs if s.study}
    assert {claim.test.name for claim in WHOLE_REGISTER.values() if claim.test} == set(TESTS)


@pytest.mark.parametrize("outcome", [SUPPORTED, NOT_SUPPORTED, INCONCLUSIVE])
@pytest.mark.parametrize("name", TESTED)
def test_a_claim_is_decided_as_its_runs_are(name, outcome):
    claim = planned(REGISTER[name])
    found = decided(name, claim, world(claim, outcome))
    assert found["verdict"] == outcome, found["numbers"]
    assert found["numbers"]
    assert json.loads(json.dumps(found, allow_nan=False)) == found


@pytest.mark.parametrize("name", TESTED)
def test_a_small_scale_decides_nothing(name):
    claim = planned(REGISTER[name])
    made = make(claim, world(claim, SUPPORTED))
    for scale in ("smoke", "quick"):
        found = evaluate(name, claim, *made, PUBLISHED, scale)
        assert found["verdict"] == NOT_DECIDABLE
        assert f"scale {scale}" in found["why"]
        assert found["numbers"]  # shown all the same


@pytest.mark.parametrize("name", PLANNED)
def test_a_planned_claim_without_runs_is_open(name):
    claim = REGISTER[name]
    found = decided(name, claim, world(claim, SUPPORTED), missing=lambda *run: True)
    assert found["verdict"] == INCONCLUSIVE
    assert "for lack of 4 seeds" in found["why"]
    planned_runs = found["runs"]["planned"]
    assert f"{planned_runs} of {planned_runs} runs missing" in found["why"]


@pytest.mark.parametrize("name", [n for n in TESTED if n not in PLANNED])
def test_a_claim_whose_runs_nobody_plans_is_not_tested_and_says_why(name):
    claim = REGISTER[name]
    studies = {s.study for s in claim.runs if s.study}
    frames, statuses = make(planned(claim), world(claim, SUPPORTED))
    found = evaluate(
        name,
        claim,
        {study: frames[study] for study in studies},
        {study: statuses[study] for study in studies},
        PUBLISHED,
        "paper",
    )
    assert found["verdict"] == NOT_TESTED
    assert "no study plans the runs" in found["why"]


def test_a_claim_about_algorithms_that_are_not_here_names_them():
    claim = REGISTER[BEATS].model_copy(update={"absent": ["mbpo"]})
    found = decided(BEATS, claim, world(claim, SUPPORTED))
    assert found["verdict"] == NOT_TESTED
    assert "needs runs of MBPO, which are not planned at any scale" in found["why"]


@pytest.mark.parametrize("name", UNTESTED)
def test_a_claim_without_a_test_says_what_it_would_need(name):
    claim = REGISTER[name]
    found = evaluate(name, claim, {}, {}, PUBLISHED, "paper")
    assert found["verdict"] == NOT_TESTED
    assert claim.untestable in found["why"]
    assert (found["numbers"], found["printed_verdict"]) == ([], None)


@pytest.mark.parametrize("name", TESTED)
def test_a_rule_names_each_parameter_that_a_number_hangs_on(name):
    rule = REGISTER[name].test
    assert rule is not None
    sentence(rule, CONSTANTS)
    bounds = [key for key in ("margin", "share", "claimed", "window") if key in rule.parameters]
    for key in (*bounds, "significance"):
        assert f"{{{key}" in rule.rule, f"{name}: its rule does not say {key}"
    for i, condition in enumerate(rule.parameters.get("conditions", [])[:2]):
        bound = "at_least" if "at_least" in condition else "at_most"
        assert f"conditions[{i}][{bound}]" in rule.rule


def test_missing_seeds_are_named_and_four_are_enough():
    claim = REGISTER[BEATS]

    def missing(task, variant, seed):
        return (task, variant) == ("ant-100", "mbrl") and seed > 3

    found = decided(BEATS, claim, world(claim, SUPPORTED), missing=missing)
    assert found["verdict"] == SUPPORTED
    assert "1 of 60 runs missing (MBRL on Ant, seed 4)" in found["why"]
    assert found["runs"]["there"] == 59


@pytest.mark.parametrize("name", TESTED)
@pytest.mark.parametrize("outcome", [SUPPORTED, NOT_SUPPORTED])
def test_three_seeds_decide_nothing(name, outcome):
    claim = planned(REGISTER[name])
    found = decided(name, claim, world(claim, outcome), missing=lambda t, v, seed: seed > 2)
    assert found["verdict"] == INCONCLUSIVE
    assert "for lack of 4 seeds" in found["why"]


@pytest.mark.parametrize("outcome", [SUPPORTED, NOT_SUPPORTED])
@pytest.mark.parametrize("name", [name for name in TESTED if REGISTER[name].given])
def test_a_claim_about_what_happens_where_something_fails_needs_it_to_fail(name, outcome):
    claim = REGISTER[name]
    found = decided(name, claim, with_gain(world(claim, outcome), claim, 0.5))
    assert found["verdict"] == INCONCLUSIVE
    assert "what it takes for granted is not supported (fails: Ant" in found["why"]
    assert [n["verdict"] for n in found["numbers"]] == [outcome, NOT_SUPPORTED]


def test_the_conditional_claims_are_those_that_say_so():
    names = ("distractors_learns", "high_entropy_learns", "high_entropy_falls_back")
    conditional = {name for name in TESTED if REGISTER[name].given}
    assert conditional == {f"unified_rl_{name}" for name in names}


def test_one_seed_is_too_few():
    claim = REGISTER[BEATS]
    found = decided(BEATS, claim, world(claim, SUPPORTED), missing=lambda t, v, seed: seed > 0)
    assert found["verdict"] == INCONCLUSIVE
    assert {number["p_for"] for number in found["numbers"]} == {None}


def test_short_runs_leave_a_claim_about_all_of_training_open_and_one_about_its_start_not():
    def half(task, variant, seed):
        return 0.5

    whole = decided(BEATS, REGISTER[BEATS], world(REGISTER[BEATS], SUPPORTED), reached=half)
    assert whole["verdict"] == INCONCLUSIVE
    assert "60 of 60 runs stop before" in whole["why"]
    assert "they reach 50% of the budget, needed is 100%" in whole["why"]
    start = decided(EARLY, REGISTER[EARLY], world(REGISTER[EARLY], SUPPORTED), reached=half)
    assert start["verdict"] == SUPPORTED
    assert len(start["runs"]["short"]) == start["runs"]["planned"]


def test_runs_that_stop_before_the_start_is_over_leave_that_open_too():
    claim = REGISTER[EARLY]
    found = decided(EARLY, claim, world(claim, SUPPORTED), reached=lambda *run: 0.2)
    assert found["verdict"] == INCONCLUSIVE
    assert "they reach 20% of the budget, needed is 25%" in found["why"]


ASYMPTOTE, AHEAD = "usbpo_on_par_with_sac", "usbpo_far_more_efficient_than_model_free"


@pytest.mark.parametrize(("share", "open_"), [(0.6, False), (0.4, True)])
def test_a_longer_run_that_stops_beyond_its_tasks_budget_is_short_for_its_end_alone(share, open_):
    def reached(task, variant, seed):
        return share if variant == "sac" else 1.0  # of twice the budget

    claim = REGISTER[AHEAD]
    how = replace(world(claim, SUPPORTED), longer=("sac",))
    found = decided(AHEAD, claim, how, reached=reached)
    assert found["verdict"] == (INCONCLUSIVE if open_ else SUPPORTED)
    assert ("they reach 80% of the budget" in found["why"]) == open_
    assert len(found["runs"]["short"]) == (30 if open_ else 0)
    claim = REGISTER[ASYMPTOTE]
    found = decided(ASYMPTOTE, claim, world(claim, SUPPORTED), reached=reached)
    assert found["verdict"] == INCONCLUSIVE
    assert f"they reach {share:.0%} of the budget, needed is 100%" in found["why"]


def test_what_usbpo_does_not_have_is_not_asked_for():
    tasks = {name: REGISTER[name].tasks for name in REGISTER if "pdml" in REGISTER[name].variants}
    assert sorted(tasks) == ["usbpo_ends_above_pdml", "usbpo_more_efficient_than_pdml"]
    assert all("inverted_pendulum-1000" not in found for found in tasks.values())


def test_the_verdict_on_table_1_is_students_test():
    claim = REGISTER[BEATS]
    frames, statuses = make(claim, world(claim, SUPPORTED))
    rows = frames["unified_rl_table1"]
    rows = rows[(rows["task"] == "hopper-200") & (rows["kind"] == "train")]
    seeds = {v: g.groupby("seed")["return"].mean() for v, g in rows.groupby("variant")}
    best = max((seeds["sac_rlpd"], seeds["mbrl"]), key=np.mean)
    found = evaluate(BEATS, claim, frames, statuses, PUBLISHED, "paper")
    number = next(n for n in found["numbers"] if n["what"].startswith("Hopper"))
    expected = stats.ttest_ind(seeds["unified"], best)
    assert number["p_for"] == pytest.approx(expected.pvalue, rel=1e-6)
    welch = stats.ttest_ind(seeds["unified"], best, equal_var=False)
    assert number["also"]["p_welch"] == pytest.approx(welch.pvalue, rel=1e-6)
    low, high = expected.confidence_interval()
    assert [number["low"], number["high"]] == pytest.approx([low / 208.7, high / 208.7])


def test_forced_episodes_count_as_chosen_and_random_and_untested_ones_not_at_all():
    name = "unified_rl_high_entropy_only_mbrl"
    claim = REGISTER[name]
    always = World(lambda task, variant, time: 0 * time, model_based=lambda time: 0 * time + 1)
    found = decided(name, claim, always)
    assert found["numbers"][0]["effect"] == 1.0  # though one episode in ten was SAC's
    assert found["verdict"] == SUPPORTED


def finding(p_for, p_against=1.0):
    return Finding("x", 0.0, 0.0, 0.0, "factor", p_for, p_against, 5)


@pytest.mark.parametrize(
    ("findings", "majority", "expected"),
    [
        ([finding(0.01), finding(0.04)], False, SUPPORTED),
        ([finding(0.03), finding(0.04)], False, INCONCLUSIVE),  # 0.06 by Holm
        ([finding(0.001), finding(1.0, 0.001)], False, NOT_SUPPORTED),
        ([finding(1.0, 0.03), finding(1.0, 0.2)], False, INCONCLUSIVE),
        ([finding(0.001, 0.001)], False, NOT_SUPPORTED),
        ([finding(0.001), finding(np.nan, np.nan)], False, INCONCLUSIVE),
        ([finding(0.001), finding(0.001), finding(1.0, 0.001)], True, SUPPORTED),
        ([finding(0.001), finding(1.0, 0.001), finding(0.5, 0.5)], True, INCONCLUSIVE),
        ([finding(1.0, 0.001), finding(1.0, 0.001), finding(0.001)], True, NOT_SUPPORTED),
    ],
)
def test_findings_amount_to_a_verdict_by_holm(findings, majority, expected):
    assert conclude(findings, majority=majority).verdict == expected


# What Table 1 says by itself.
PRINTED_VERDICTS = {
    BEATS: "the printed numbers support it",  # its four asterisks
    "unified_rl_average_above_better_part": "the printed numbers support it",
    "unified_rl_highest_average": "the printed numbers support it",
    "unified_rl_only_one_good_everywhere": "the printed numbers leave it open",  # MBRL's interval
    "unified_rl_overhead": None,
    "unified_rl_data_to_level": None,  # printed without an interval
    "unified_rl_data_efficiency": None,
    "unified_rl_switches_to_model_free": None,
}


@pytest.mark.parametrize("name", PRINTED_VERDICTS)
def test_printed_numbers_are_judged_by_the_same_test(name):
    claim = REGISTER[name]
    found = decided(name, planned(claim), world(claim, NOT_SUPPORTED))
    assert found["printed_verdict"] == PRINTED_VERDICTS[name]


def test_performing_well_has_another_reading_that_the_printed_numbers_refute():
    name = "unified_rl_only_one_good_everywhere"
    claim = REGISTER[name]
    found = decided(name, planned(claim), world(claim, SUPPORTED))
    assert min(n["effect"] for n in found["printed_numbers"][:6]) == pytest.approx(0.611, abs=1e-3)
    undecided = [n["what"] for n in found["printed_numbers"] if n["verdict"] != SUPPORTED]
    assert undecided == ["MBRL on its worst task"]
    rows = {n["what"]: n["effect"] for n in found["printed_numbers"][6:]}
    assert max(rows.values()) < 0.5
    assert rows["SAC on its worst task"] == pytest.approx(0.44, abs=5e-3)
    assert rows["MBRL on its worst task"] == pytest.approx(0.33, abs=5e-3)
    # The sentence of its rule says so.
    assert claim.test is not None
    others = {"ours": "unified", "than": claim.test.parameters["than"], "margin": 0.05}
    rule = claim.test.model_copy(update={"name": "no_worse", "parameters": others, "rule": ""})
    other = planned(claim.model_copy(update={"test": rule}))
    found = decided(name, other, world(other, SUPPORTED))
    wrong = [n for n in found["printed_numbers"] if n["verdict"] == NOT_SUPPORTED]
    assert [n["what"][:6] for n in wrong] == ["Walker"]
    assert wrong[0]["effect"] == pytest.approx((267.2 - 356.4) / (356.4 - 127.2))


def test_the_printed_average_is_the_difference_of_the_printed_column():
    name = "unified_rl_average_above_better_part"
    claim = REGISTER[name]
    found = decided(name, claim, world(claim, SUPPORTED))
    assert found["printed_numbers"][0]["effect"] == pytest.approx(0.9211 - 0.8535, abs=1e-4)
