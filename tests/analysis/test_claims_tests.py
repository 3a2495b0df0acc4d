"""The tests of the register against calculations by hand and scipy's own."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tests.analysis.frame_maker import curve_of
from unirl_repro.analysis import claims_register as register
from unirl_repro.analysis.claims_evidence import (
    Printed,
    Runs,
    contrast,
    published_lowest,
    published_ranges,
)
from unirl_repro.analysis.claims_tests import (
    PER_UPDATE,
    above_reported,
    around_zero,
    as_reported,
    better,
    better_average,
    better_mostly,
    data_to_level,
    equal,
    fails,
    far_better,
    far_smaller,
    good_everywhere,
    learns,
    loses_less,
    no_worse,
    on_par,
    overhead,
    overtaken,
    shares,
)
from unirl_repro.analysis.frames import load_published
from unirl_repro.analysis.statistics import Summary, summarise

TASK, OTHER = "hopper-200", "walker2d-100"
RNG = np.random.default_rng(0)
OURS, SAC, MBRL = (RNG.normal(mean, 2.0, 5) for mean in (105.0, 100.0, 90.0))


@dataclass(frozen=True)
class Given:
    """Evidence that was given sample by sample; a range of 100."""

    samples: dict = field(default_factory=dict)  # by task, variant and window
    ratios: np.ndarray = field(default_factory=lambda: np.array([]))

    def returns(self, task, variant, window):
        part = self.samples.get((task, variant, window))
        return summarise(self.samples[task, variant] if part is None else part)

    def gain(self, task, variant, window, policies):
        return summarise(self.samples[task, variant])

    def choices(self, task, variant, policy, window):
        return summarise(self.samples[task, policy, window])

    def data_ratios(self, task, first, second, share):
        return float(np.median(self.ratios)), self.ratios, 5

    def evaluations(self, task, variant, step):
        return summarise(self.samples[task, variant, step])

    def reported(self, task, variant, step):
        return summarise(self.samples[task, "reported", step])

    def evaluated(self, task, variant, window, *, longer=False):
        return summarise(self.samples[task, variant, "longer" if longer else "evaluated"])

    def magnitude(self, task, variant, metric, beside, window, *, signed):
        return summarise(self.samples[task, metric, beside, "signed" if signed else "size"])

    def range(self, task):
        return 100.0

    def lowest(self, task):
        return 50.0


TWO = Given({(TASK, "unified"): OURS, (TASK, "sac_rlpd"): SAC, (TASK, "mbrl"): MBRL})
COMPARISON = register.Comparison(ours="unified", than=["sac_rlpd", "mbrl"], margin=0.05)
AGAINST_SAC = COMPARISON.model_copy(update={"than": ["sac_rlpd"]})


def one_sided(first, second, shift, alternative):
    """Twice the one-sided p-value of Welch's test with one sample shifted."""
    test = stats.ttest_ind(
        np.asarray(first) - shift, second, equal_var=False, alternative=alternative
    )
    return min(1.0, 2 * test.pvalue)


def test_contrasts_are_welchs_students_and_the_one_sample_test():
    pair = [(1.0, summarise(OURS)), (-1.0, summarise(SAC))]
    welch, student = stats.ttest_ind(OURS, SAC, equal_var=False), stats.ttest_ind(OURS, SAC)
    assert contrast(pair).above(0) == pytest.approx(welch.pvalue)
    assert contrast(pair).interval == pytest.approx(welch.confidence_interval())
    assert contrast(pair, equal_variance=True).above(0) == pytest.approx(student.pvalue)
    single = contrast([(1.0, summarise(OURS))])
    assert single.below(110.0) == pytest.approx(stats.ttest_1samp(OURS, 110.0).pvalue)
    assert single.above(110.0) == 1.0


def test_a_contrast_of_unequal_numbers_by_hand():
    found = contrast([(1.0, Summary(10.0, 2.0, 4)), (-0.5, Summary(6.0, 4.0, 8))])
    # 4/4 + 0.25 * 16/8 = 1.5; Satterthwaite: 1.5^2 / (1^2/3 + 0.5^2/7).
    assert (found.effect, found.error, found.num_seeds) == (7.0, pytest.approx(np.sqrt(1.5)), 4)
    assert found.freedom == pytest.approx(2.25 / (1 / 3 + 0.25 / 7))


def test_seeds_without_spread_test_nothing():
    found = contrast([(1.0, Summary(1.0, 0.0, 5))])
    assert np.isnan([found.above(0.5), found.below(0.5)]).all()
    assert found.interval == (1.0, 1.0)


def test_one_value_tests_nothing():
    found = contrast([(1.0, Summary(5.0, np.nan, 1))])
    assert np.isnan([found.above(0), found.below(0), *found.interval]).all()


def test_better_is_students_test_against_the_better_part():
    found = better(TWO, [TASK], COMPARISON)[0]
    expected = stats.ttest_ind(OURS, SAC)
    assert found.p_for == pytest.approx(expected.pvalue)
    assert found.effect == pytest.approx((OURS.mean() - SAC.mean()) / 100)
    assert found.also["p_welch"] == pytest.approx(
        stats.ttest_ind(OURS, SAC, equal_var=False).pvalue
    )


def test_a_gain_that_is_significant_is_not_refuted_for_being_small():
    sample = np.array([0.0, 0.1, 0.2, 0.3, 0.4])
    evidence = Given({(TASK, "unified"): sample + 1, (TASK, "sac_rlpd"): sample})
    found = better(evidence, [TASK], AGAINST_SAC)[0]
    assert (found.p_for < 0.001, found.p_against) == (True, 1.0)
    none = Given({(TASK, "unified"): sample, (TASK, "sac_rlpd"): sample})
    found = better(none, [TASK], AGAINST_SAC)[0]
    assert (found.p_for, found.p_against < 0.001) == (1.0, True)


def test_no_worse_shifts_by_the_margin():
    found = no_worse(TWO, [TASK], COMPARISON)[0]
    assert found.p_for == pytest.approx(one_sided(OURS, SAC, -5.0, "greater"))
    behind = no_worse(
        TWO, [TASK], COMPARISON.model_copy(update={"ours": "mbrl", "than": ["sac_rlpd"]})
    )
    assert behind[0].p_against == pytest.approx(one_sided(MBRL, SAC, -5.0, "less"))


def test_equal_is_two_one_sided_tests():
    found = equal(TWO, [TASK], AGAINST_SAC)[0]
    sides = one_sided(OURS, SAC, -5.0, "greater"), one_sided(OURS, SAC, 5.0, "less")
    assert found.p_for == pytest.approx(max(sides))
    sides = one_sided(OURS, SAC, -5.0, "less"), one_sided(OURS, SAC, 5.0, "greater")
    assert found.p_against == pytest.approx(min(sides))


def test_equal_compares_each_rival_though_one_alone_would_be_equal():
    found = equal(TWO, [TASK], COMPARISON)
    assert [f.what for f in found] == [f"Hopper: Unified RL against {v}" for v in ("SAC", "MBRL")]
    assert found[1].p_against == pytest.approx(one_sided(OURS, MBRL, 5.0, "greater"))


def test_far_better_shifts_by_the_margin_the_other_way():
    found = far_better(TWO, [TASK], COMPARISON.model_copy(update={"margin": 0.01}))[0]
    assert found.p_for == pytest.approx(one_sided(OURS, SAC, 1.0, "greater"))
    found = far_better(TWO, [TASK], COMPARISON.model_copy(update={"margin": 0.25}))[0]
    assert found.p_against == pytest.approx(one_sided(OURS, SAC, 25.0, "less"))


def test_a_comparison_asks_for_the_returns_that_it_names():
    evaluated = {(TASK, "unified", "evaluated"): MBRL, (TASK, "sac_rlpd", "evaluated"): OURS}
    evidence = Given(TWO.samples | evaluated)
    of_evaluations = AGAINST_SAC.model_copy(update={"returns": "evaluation"})
    found = better(evidence, [TASK], of_evaluations)[0]
    assert found.effect == pytest.approx((MBRL.mean() - OURS.mean()) / 100)
    assert better(evidence, [TASK], AGAINST_SAC)[0].effect > 0


ON_PAR = register.Asymptote(ours="usbpo", than="sac", margin=0.05, window=(0.9, 1.0))


def ends(ours, asymptote):
    evidence = Given({(TASK, "usbpo", "evaluated"): ours, (TASK, "sac", "longer"): asymptote})
    return on_par(evidence, [TASK], ON_PAR)[0]


def test_on_par_compares_the_end_with_that_of_the_longer_run():
    found = ends(SAC, OURS)
    assert found.what == "Hopper: USB-PO against SAC (as published) in its longer run"
    assert found.p_against == pytest.approx(one_sided(SAC, OURS, -5.0, "less"))
    assert ends(OURS, SAC).p_for == pytest.approx(one_sided(OURS, SAC, -5.0, "greater"))
    assert not found.exact


def test_seeds_that_are_all_at_the_ceiling_are_on_par_without_a_test():
    top = np.full(5, 1000.0)
    found = ends(top, top)
    assert (found.exact, found.p_for, found.p_against, found.num_seeds) == (True, 0.0, 1.0, 5)
    found = ends(top - 6, top)  # of a range of 100
    assert (found.exact, found.p_for, found.p_against) == (True, 1.0, 0.0)
    assert np.isnan(ends(top, []).p_for)


DELTA = register.Magnitude(variant="usbpo", metric="delta", beside=["model_shift"], share=0.2)


def test_magnitudes_are_tested_against_a_share():
    sizes, means = np.array([0.1, 0.15, 0.12, 0.2, 0.1]), np.array([-0.1, 0.1, 0.05, 0.0, 0.02])
    key = (TASK, "delta", "model_shift")
    evidence = Given({(*key, "size"): sizes, (*key, "signed"): means})
    found = far_smaller(evidence, [TASK], DELTA)[0]
    assert found.what == "Hopper: Δ over model shift"
    assert found.p_for == pytest.approx(stats.ttest_1samp(sizes, 0.2).pvalue)
    assert (found.effect, found.p_against) == (pytest.approx(sizes.mean()), 1.0)
    found = around_zero(evidence, [TASK], DELTA)[0]
    both = [
        2 * stats.ttest_1samp(means, b, alternative=a).pvalue
        for b, a in ((-0.2, "greater"), (0.2, "less"))
    ]
    assert found.p_for == pytest.approx(max(both))


def test_the_better_part_is_unknown_where_one_is_missing():
    evidence = Given(TWO.samples | {(TASK, "mbrl"): []})
    found = better(evidence, [TASK], COMPARISON)[0]
    assert (found.num_seeds, np.isnan(found.p_for)) == (0, True)


def test_better_mostly_compares_each_pair():
    found = better_mostly(TWO, [TASK], COMPARISON)
    assert [f.what for f in found] == [f"Hopper: Unified RL against {v}" for v in ("SAC", "MBRL")]
    assert found[1].p_for == pytest.approx(stats.ttest_ind(OURS, MBRL).pvalue)


def test_the_average_over_tasks_has_the_error_of_its_parts():
    both = Given(TWO.samples | {(OTHER, v): s for (_, v), s in TWO.samples.items()})
    how = register.AverageComparison(
        ours="unified", than=["sac_rlpd", "mbrl"], against="better", margin=0.05
    )
    single = better_average(TWO, [TASK], how)[0]
    assert single.p_for == pytest.approx(stats.ttest_ind(OURS, SAC, equal_var=False).pvalue)
    double = better_average(both, [TASK, OTHER], how)[0]
    assert double.effect == pytest.approx(single.effect)
    errors = [(f.high - f.low) for f in (single, double)]
    assert errors[1] < errors[0] / np.sqrt(2)  # and more degrees of freedom
    assert len(better_average(TWO, [TASK], how.model_copy(update={"against": "each"}))) == 2


def test_good_everywhere_needs_each_other_to_fail_somewhere():
    samples = {(TASK, "unified"): OURS, (OTHER, "unified"): OURS, (TASK, "sac_rlpd"): OURS}
    evidence = Given(samples | {(OTHER, "sac_rlpd"): MBRL})
    how = register.Standing(ours="unified", than=["sac_rlpd"], share=0.45)  # at a return of 95
    found = good_everywhere(evidence, [TASK, OTHER], how)
    names = ["Hopper: Unified RL", "Walker: Unified RL", "SAC on its worst task"]
    assert [f.what for f in found] == names
    assert found[0].effect == pytest.approx((OURS.mean() - 50) / 100)
    assert found[0].p_for == pytest.approx(stats.ttest_1samp(OURS, 95.0).pvalue)
    below = stats.ttest_1samp(MBRL, 95.0, alternative="less").pvalue
    assert found[2].p_for == pytest.approx(min(1.0, 2 * 2 * below))  # Bonferroni
    assert found[2].effect == pytest.approx((MBRL.mean() - 50) / 100)


def test_overtaken_looks_at_both_ends():
    early, late = (0.0, 0.25), (0.9, 1.0)
    evidence = Given(
        {
            (TASK, "mbrl", early): OURS,
            (TASK, "sac_rlpd", early): SAC,
            (TASK, "mbrl", late): MBRL,
            (TASK, "sac_rlpd", late): SAC,
        }
    )
    how = register.Crossing(
        early="mbrl", late="sac_rlpd", early_window=early, late_window=late, margin=0.05
    )
    first, last = overtaken(evidence, [TASK], how)
    welch = [stats.ttest_ind(*pair, equal_var=False) for pair in ((OURS, SAC), (SAC, MBRL))]
    assert (first.p_for, last.p_for) == pytest.approx([test.pvalue for test in welch])


def test_to_learn_and_to_fail_are_contraries():
    gained = np.array([8.0, 9.0, 11.0, 12.0, 16.0])
    evidence = Given({(TASK, "mbrl"): gained})
    how = register.Gain(variant="mbrl", window=(0.9, 1.0), margin=0.05)
    learnt, failed = (test(evidence, [TASK], how)[0] for test in (learns, fails))
    assert learnt.p_for == pytest.approx(stats.ttest_1samp(gained, 5.0).pvalue)
    assert (failed.p_for, failed.p_against) == (learnt.p_against, learnt.p_for)


def test_loses_less_is_a_difference_of_differences():
    plain, changed = "ant-100", "ant_distractors-100"
    samples = {(plain, "sac_rlpd"): OURS, (changed, "sac_rlpd"): SAC}
    samples |= {(plain, "mbrl"): OURS, (changed, "mbrl"): MBRL}
    how = register.Drop(ours="sac_rlpd", than="mbrl", plain=plain, changed=changed, margin=0.05)
    found = loses_less(Given(samples), [plain, changed], how)[0]
    assert found.effect == pytest.approx((SAC.mean() - MBRL.mean()) / 100)


def test_shares_are_tested_against_their_bounds():
    window = (0.0, 0.5)
    values = np.array([0.3, 0.4, 0.5, 0.4, 0.3])
    evidence = Given({(TASK, "mbrl", window): values})
    conditions = [
        register.Condition(policy="mbrl", window=window, at_least=0.25),
        register.Condition(policy="mbrl", window=window, at_most=0.25),
    ]
    how = register.Shares(variant="unified", conditions=conditions)
    least, most = shares(evidence, [TASK], how)
    expected = stats.ttest_1samp(values, 0.25).pvalue
    assert (least.p_for, least.p_against) == (pytest.approx(expected), 1.0)
    assert (most.p_for, most.p_against) == (1.0, pytest.approx(expected))


RATIOS = np.linspace(0.5, 0.7, 2001)
OVERHEAD: dict[str, Any] = {
    **{"ours": "unified", "than": "sac_rlpd", "share": 0.8, "claimed": 944.7},
    **{"update_seconds": 0.008, "episode_seconds": 10.0, "updates_per_episode": 100},
}


def test_resamples_without_a_level_speak_for_nothing():
    ratios = np.where(np.arange(2001) % 10 == 0, np.nan, 0.5)
    how = register.DataToLevel(ours="unified", than="sac_rlpd", share=0.8, claimed=0.57)
    found = data_to_level(Given(ratios=ratios), [TASK], how)[0]
    assert found.p_for == pytest.approx(2 * 202 / 2002)  # of 2001, 201 have none
    assert found.p_against == 1.0
    found = data_to_level(Given(ratios=ratios + 0.3), [TASK], how)[0]
    assert found.p_against == pytest.approx(2 * 202 / 2002)
    factor = register.Overhead(**OVERHEAD | {"claimed": 1.0})
    found = overhead(Given(ratios=ratios), [TASK], factor)[0]
    assert (found.p_for, found.p_against) == (pytest.approx(2 * 202 / 2002), 1.0)
    found = overhead(Given(ratios=ratios + 1.0), [TASK], factor)[0]
    assert found.p_against == pytest.approx(2 * 202 / 2002)


def test_data_to_a_level_counts_resamples_on_either_side():
    how = register.DataToLevel(ours="unified", than="sac_rlpd", share=0.8, claimed=0.57)
    found = data_to_level(Given(ratios=RATIOS), [TASK], how)[0]
    below = (RATIOS <= 0.57).sum()
    assert found.p_for == pytest.approx(2 / 2002)
    assert found.p_against == pytest.approx(2 * (below + 1) / 2002)
    assert (found.low, found.high) == (
        pytest.approx(0.505, abs=1e-3),
        pytest.approx(0.695, abs=1e-3),
    )


def test_overhead_follows_from_the_ratio():
    how = register.Overhead(**OVERHEAD)
    found = overhead(Given(ratios=RATIOS), [TASK], how)[0]
    assert found.effect == pytest.approx((10.008 / 0.6 - 10) / 0.008)
    # Less data lets updates be slower: the lower limit is that of the higher ratio.
    assert found.low == pytest.approx((10.008 / 0.695 - 10) / 0.008, rel=2e-3)
    assert found.also[PER_UPDATE] == pytest.approx((10.8 / 0.6 - 10) / 0.8)
    below = (RATIOS <= 0.57).sum()
    assert found.p_against == pytest.approx(2 * (below + 1) / 2002, abs=2e-3)
    assert found.p_for == 1.0  # 70% of the resamples have a factor below the claimed one


@pytest.mark.parametrize(("ratio", "p_for", "p_against"), [(0.55, 2 / 2002, 1), (0.9, 1, 2 / 2002)])
def test_a_factor_of_a_few_hundred_is_not_945(ratio, p_for, p_against):
    drawn = np.linspace(ratio - 0.01, ratio + 0.01, 2001)
    found = overhead(Given(ratios=drawn), [TASK], register.Overhead(**OVERHEAD))[0]
    assert found.effect > 1
    assert (found.p_for, found.p_against) == pytest.approx((p_for, p_against))


def test_the_paper_s_own_numbers_give_both_readings():
    found = overhead(Given(ratios=np.full(9, 0.57)), [TASK], register.Overhead(**OVERHEAD))[0]
    assert (found.effect, found.also[PER_UPDATE]) == pytest.approx((944.7, 11.2), abs=0.05)


# Evidence from frames


def frame(*curves):
    return pd.concat(curves, ignore_index=True)


def run(returns, policies, seed=0, variant="unified"):
    curve = curve_of(returns, [200] * len(returns), variant=variant, seed=seed)
    return curve.assign(policy=policies)


def runs(*curves):
    return Runs(frame(*curves), {TASK: 800}, {TASK: 100.0})


def test_windows_are_shares_of_the_budget():
    evidence = runs(run([1.0, 2.0, 3.0, 4.0], ["random", "sac", "mbrl", "mbrl"]))
    assert evidence.returns(TASK, "unified", (0.0, 1.0)).mean == 2.5
    assert evidence.returns(TASK, "unified", (0.0, 0.25)).mean == 1.0
    assert evidence.returns(TASK, "unified", (0.5, 1.0)).mean == 3.5
    assert evidence.returns(TASK, "mbrl", (0.5, 1.0)).num_seeds == 0
    assert evidence.returns("ant-100", "unified", (0.5, 1.0)).num_seeds == 0


def test_gains_are_paired_within_a_run():
    first = run([1.0, 3.0, 5.0, 9.0], ["random", "random", "sac", "mbrl"], seed=0)
    second = run([11.0, 13.0, 15.0, 19.0], ["random", "random", "mbrl", "sac"], seed=1)
    evidence = runs(first, second)
    gained = evidence.gain(TASK, "unified", (0.75, 1.0), None)
    assert (gained.mean, gained.spread, gained.num_seeds) == (7.0, 0.0, 2)
    acted = evidence.gain(TASK, "unified", (0.5, 1.0), ["sac", "sac_forced"])
    assert acted.mean == np.mean([5.0 - 2.0, 19.0 - 12.0])


def test_an_agent_that_never_acted_at_random_has_no_gain():
    evidence = runs(run([1.0, 2.0], ["sac", "sac"]))
    assert evidence.gain(TASK, "unified", (0.0, 1.0), None).num_seeds == 0


def test_choices_are_of_tested_episodes_and_forced_ones_are_chosen_to_be_model_based():
    policies = ["random", "sac_forced", "sac_untested", "sac"]
    evidence = runs(run([0.0] * 4, policies, 0), run([0.0] * 4, ["random", *["mbrl"] * 3], 1))
    found = evidence.choices(TASK, "unified", "mbrl", (0.0, 1.0))
    assert (found.mean, found.num_seeds) == (0.75, 2)  # one of two, and three of three
    assert evidence.choices(TASK, "unified", "sac", (0.0, 1.0)).mean == 0.25
    assert evidence.choices(TASK, "unified", "mbrl", (0.5, 0.75)).num_seeds == 1
    assert evidence.choices(TASK, "unified", "mbrl", (0.0, 0.25)).num_seeds == 0


def test_shares_that_are_alike_in_all_seeds_have_the_error_of_their_episodes():
    evidence = runs(*(run([0.0] * 4, ["mbrl"] * 4, seed) for seed in range(4)))
    found = evidence.choices(TASK, "unified", "mbrl", (0.0, 1.0))
    assert found.mean == 1.0
    share = 17 / 18  # 16 of 16, and one more of either kind
    assert found.spread / np.sqrt(4) == pytest.approx(np.sqrt(share * (1 - share) / 16))
    assert 0 < contrast([(1.0, found)]).above(0.8) < 0.05 < contrast([(1.0, found)]).above(0.9)


def test_shares_that_differ_have_the_spread_of_the_seeds():
    evidence = runs(*(run([0.0] * 4, [p] * 4, i) for i, p in enumerate(["sac", "mbrl"] * 2)))
    found = evidence.choices(TASK, "unified", "mbrl", (0.0, 1.0))
    assert found.spread == pytest.approx(np.std([0, 1, 0, 1], ddof=1))


def evaluation(step, returns, seed=0):
    return curve_of([returns], [10], seed=seed).assign(kind="eval", env_step=step)


def test_evaluations_of_a_window_are_averaged_in_each_seed():
    rows = [evaluation(step, r) for step, r in ((200, 1.0), (400, 2.0), (600, 3.0), (800, 5.0))]
    rows += [evaluation(800, 9.0, seed=1), evaluation(1600, 70.0), evaluation(1500, 50.0)]
    trained = run([100.0] * 4, ["sac"] * 4, variant="sac_rlpd")
    evidence = Runs(frame(trained, *rows), {TASK: 800}, {}, longer={(TASK, "sac_rlpd"): 1600})
    found = evidence.evaluated(TASK, "sac_rlpd", (0.5, 1.0))
    assert (found.mean, found.num_seeds) == (np.mean([4.0, 9.0]), 2)
    assert evidence.evaluated(TASK, "sac_rlpd", (0.9, 1.0), longer=True).mean == 60.0
    assert evidence.evaluated(TASK, "unified", (0.5, 1.0)).num_seeds == 0
    assert evidence.evaluated(OTHER, "sac_rlpd", (0.5, 1.0), longer=True).num_seeds == 0


def test_magnitudes_are_ratios_of_means_in_a_window_of_each_seed():
    def metrics(seed, *values):
        rows = [
            {"env_step": step, "name": name, "value": value}
            for step, *pair in values
            for name, value in zip(("delta", "model_shift"), pair, strict=True)
        ]
        return pd.DataFrame(rows).assign(task=TASK, variant="usbpo", seed=seed, kind="metric")

    first = metrics(0, (100, 50.0, 1.0), (500, -1.0, 4.0), (800, 3.0, 4.0))
    second = metrics(1, (500, 1.0, 2.0), (900, 50.0, 1.0))
    evidence = Runs(frame(run([1.0], ["sac"]), first, second), {TASK: 800}, {})
    names = (TASK, "usbpo", "delta", "model_shift", (0.5, 1.0))
    assert evidence.magnitude(*names, signed=False).mean == np.mean([2.0 / 4.0, 1.0 / 2.0])
    assert evidence.magnitude(*names, signed=True).mean == np.mean([1.0 / 4.0, 1.0 / 2.0])
    assert evidence.magnitude(OTHER, *names[1:], signed=True).num_seeds == 0
    without = Runs(run([1.0], ["sac"]), {TASK: 800}, {})
    assert without.magnitude(*names, signed=True).num_seeds == 0


def test_printed_rows_are_averages_over_all_of_training_and_nothing_else():
    printed = Printed(load_published("unified_rl_table1"))
    sample = printed.returns(TASK, "unified", (0.0, 1.0))
    assert (sample.mean, sample.num_seeds) == (750.3, 5)
    assert sample.half_width == pytest.approx(2.4)
    assert printed.returns(TASK, "unified", (0.0, 0.5)).num_seeds == 0
    assert printed.gain(TASK, "unified", (0.0, 1.0), None).num_seeds == 0
    assert printed.choices(TASK, "unified", "mbrl", (0.0, 1.0)).num_seeds == 0
    assert printed.data_ratios(TASK, "unified", "sac_rlpd", 0.8)[2] == 0
    assert printed.evaluated(TASK, "unified", (0.0, 1.0)).num_seeds == 0
    names = ("usbpo", "delta", "model_shift")
    assert printed.magnitude(TASK, *names, (0.0, 1.0), signed=True).num_seeds == 0


def test_ranges_are_those_of_the_printed_rows():
    ranges = published_ranges(load_published("unified_rl_table1"))
    assert ranges[TASK] == pytest.approx(750.3 - 541.6)
    assert published_lowest(load_published("unified_rl_table1"))[TASK] == 541.6
    assert len(ranges) == 6


def test_a_task_of_which_the_top_alone_is_published_has_a_range_from_0():
    table, tops = load_published("unified_rl_table1"), load_published("usbpo_ranges")
    both = pd.concat([table, tops], ignore_index=True)
    ranges, lowest = published_ranges(both), published_lowest(both)
    assert (ranges["ant-1000"], lowest["ant-1000"]) == (4372.44, 0.0)
    assert ranges["humanoid-1000"] == 5885.9
    assert {t: ranges[t] for t in published_ranges(table)} == published_ranges(table)
    assert len(ranges) == 12
    evidence = Runs(table.iloc[:0], {}, ranges, lowest)
    assert evidence.range("inverted_pendulum-1000") == 1000.0
    # A top is no average over training.
    assert Printed(both).returns("ant-1000", "td3", (0.0, 1.0)).num_seeds == 0


REPORTED = Given({(TASK, "alm", 10): OURS, (TASK, "reported", 10): SAC})
AT_TEN = register.Reported(variant="alm", steps=[10], margin=0.2)


def test_above_the_reported_return_is_welchs_test_with_margins_of_it():
    (found,) = above_reported(REPORTED, [TASK], AT_TEN)
    assert found.p_for == pytest.approx(one_sided(OURS, SAC, 0.0, "greater"))
    assert found.effect == pytest.approx((OURS.mean() - SAC.mean()) / SAC.mean())
    assert "ALM after 10 steps" in found.what
    swapped = Given({(TASK, "alm", 10): SAC, (TASK, "reported", 10): OURS})
    (against,) = above_reported(swapped, [TASK], AT_TEN)
    bound = 0.2 * OURS.mean()
    assert against.p_against == pytest.approx(one_sided(SAC, OURS, bound, "less"))


def test_as_reported_is_both_one_sided_tests():
    (found,) = as_reported(REPORTED, [TASK], AT_TEN)
    bound = 0.2 * SAC.mean()
    inside = max(
        one_sided(OURS, SAC, -bound, "greater"),
        one_sided(OURS, SAC, bound, "less"),
    )
    assert found.p_for == pytest.approx(inside)
    assert found.p_against == 1.0


def test_our_evaluations_are_means_over_episodes_and_the_reported_ones_have_their_spread():
    rows = [curve_of([returns], [10], seed=seed) for seed, returns in enumerate([1.0, 2.0, 6.0])]
    evaluated = pd.concat([row.assign(kind="eval", env_step=10) for row in rows] * 2)
    printed = load_published("unified_rl_fig5")
    runs = Runs(pd.concat([evaluated, printed]), {TASK: 100}, {})
    assert runs.evaluations(TASK, "sac_rlpd", 10) == summarise(np.array([1.0, 2.0, 6.0]))
    assert runs.evaluations(TASK, "sac_rlpd", 20).num_seeds == 0
    reported = runs.reported("ant-1000", "alm", 105_000)
    assert (reported.mean, reported.num_seeds) == (3167.4, 5)
    assert reported.spread == pytest.approx(803.2)
    assert runs.reported("ant-1000", "alm", 100_000).num_seeds == 0
