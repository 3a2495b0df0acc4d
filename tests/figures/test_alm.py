"""The figures of ALM: full-length episodes beside what its authors report, and its two samplers."""

import numpy as np
import pandas as pd
import pytest

from tests.analysis.frame_maker import curve_of
from unirl_repro.analysis.frames import RecordedRun, StudyPlan, build_frame, load_published
from unirl_repro.analysis.style import look
from unirl_repro.figures import alm_windows, unified_rl_fig5

CHEETAH, ANT = "halfcheetah-1000", "ant-1000"
STEPS = (50_000, 100_000)


def run(task, variant, seed, level):
    """Training at `level`, and two evaluations of two episodes around ten times that."""
    horizon = int(task.split("-")[1])
    num = 100_000 // horizon
    train = curve_of([level] * num, [horizon] * num, task=task, variant=variant, seed=seed)
    returns = [10 * level - 1, 10 * level + 1]
    evaluated = pd.concat(
        [
            curve_of(returns, [horizon] * 2, task=task, variant=variant, seed=seed).assign(
                kind="eval", env_step=step
            )
            for step in STEPS
        ]
    )
    return RecordedRun(pd.concat([train, evaluated], ignore_index=True))


def study(name, tasks, variants, missing=()):
    planned = tuple((t, v, s) for t in tasks for v in variants for s in range(3))
    plan = StudyPlan(name, "paper", dict.fromkeys(tasks, 500_000), planned)
    runs = [run(*key, 1.0 + key[2]) for key in planned if key not in missing]
    return build_frame(plan, runs, load_published(name))


def test_our_points_are_means_over_evaluation_episodes_then_seeds():
    drawn = unified_rl_fig5.data(*study("unified_rl_fig5", (CHEETAH, ANT), ("alm",)))
    ours = drawn[(drawn["task"] == CHEETAH) & (drawn["statistic"] == "evaluation_return")]
    assert ours["env_step"].tolist() == list(STEPS)
    assert ours["mean"].tolist() == [20.0, 20.0]
    half = 4.3027 * 10 / np.sqrt(3)  # t(0.975; 2), seeds at 10, 20 and 30
    assert (ours["high"] - ours["mean"]).to_numpy() == pytest.approx(half, abs=1e-3)
    assert ours["num_seeds"].tolist() == [3, 3]


def test_reported_points_have_intervals_from_their_spread():
    drawn = unified_rl_fig5.data(*study("unified_rl_fig5", (CHEETAH, ANT), ("alm",)))
    reported = drawn[(drawn["task"] == ANT) & (drawn["statistic"] == "reported_return")]
    first = reported.iloc[0]
    assert (first["env_step"], first["mean"]) == (55_000, 494.7)
    half = 2.7764 * 360.4 / np.sqrt(5)  # t(0.975; 4) and the printed deviation over five seeds
    assert first["high"] - first["mean"] == pytest.approx(half, abs=0.05)


def test_both_panels_show_ours_and_theirs_and_count_seeds():
    missing = {(ANT, "alm", 1)}
    frame, status = study("unified_rl_fig5", (CHEETAH, ANT), ("alm",), missing)
    fig = unified_rl_fig5.figure(frame, status)
    assert [ax.get_title() for ax in fig.axes] == ["HalfCheetah", "Ant"]
    assert [text.get_text() for text in fig.axes[1].texts] == ["2/3 seeds"]
    for ax in fig.axes:
        assert len(ax.containers) == 1  # the reported points
        assert any(line.get_color() == look("alm").colour for line in ax.lines)
    names = [text.get_text() for text in fig.legends[0].get_texts()]
    assert "reported by ALM's authors" in names


def test_without_runs_the_reported_points_stand_alone():
    everything = {(task, "alm", seed) for task in (CHEETAH, ANT) for seed in range(3)}
    fig = unified_rl_fig5.figure(*study("unified_rl_fig5", (CHEETAH, ANT), ("alm",), everything))
    for ax in fig.axes:
        assert [text.get_text() for text in ax.texts] == ["0/3 seeds", "n = 0"]
        assert len(ax.containers) == 1


def test_samplers_are_told_apart_at_both_lengths():
    variants = ("alm", "alm@windows=inside")
    frame, status = study("alm_windows", alm_windows.TASKS, variants)
    fig = alm_windows.figure(frame, status)
    steps = [ax.get_title().partition(", ")[2] for ax in fig.axes]
    assert steps == [f"episodes of {n} steps" for n in (100, 100, 1000, 1000)]
    colours = {look(variant).colour for variant in variants}
    assert len(colours) == 2
    for ax in fig.axes:
        assert colours <= {line.get_color() for line in ax.lines}
    dotted = [[line for line in ax.lines if line.get_linestyle() == ":"] for ax in fig.axes]
    assert [len(lines) for lines in dotted] == [1, 1, 0, 0]  # Table 1 has the short tasks alone


@pytest.mark.parametrize("module", [unified_rl_fig5, alm_windows])
def test_a_task_without_a_panel_is_refused(module):
    frame, status = study("unified_rl_fig5", (CHEETAH, ANT), ("alm",))
    with pytest.raises(ValueError, match="no panel for 'hopper-200'"):
        module.data(frame.assign(task="hopper-200"), status)
