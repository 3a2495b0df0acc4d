"""The figure of gaps on small frames."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgba

from tests.figures.unified_runs import acted, gaps_of, learning_study, study
from unirl_repro.analysis.frames import RecordedRun
from unirl_repro.config import load_config
from unirl_repro.figures.unified_rl_gap import METRICS, TASKS, data, figure, linear_width, ticks

STUDY = "unified_rl_gap"


def run(letters, median, seed=0, spread=1.0):
    rows = acted(letters, seed=seed)
    return RecordedRun(rows, metrics=gaps_of(rows, median, spread))


def means(drawn, metric):
    rows = drawn[drawn["statistic"] == metric]
    return dict(zip(rows["env_step"], rows["mean"], strict=True))


def panel(fig, task):
    return fig.axes[2 * (TASKS.index(task) // 3) * 3 + TASKS.index(task) % 3]


def texts(fig, task):
    return [text.get_text() for text in panel(fig, task).texts]


def test_study_names_the_metrics_that_the_figure_reads():
    config = load_config(Path(__file__).parents[2] / "config.yaml")
    assert tuple(config.studies[STUDY].metrics) == METRICS


def test_gaps_of_a_run_small_enough_to_check():
    """A random episode without a gap, then gaps around 2, 4 and -6: means are over all so far."""
    drawn = data(*study(STUDY, [run("rmms", [2.0, 4.0, -6.0])], seeds=[0], budget=800))
    assert means(drawn, "gap_median") == pytest.approx({400: 2.0, 600: 3.0, 800: 0.0})
    assert means(drawn, "gap_min") == pytest.approx({400: -1.0, 600: 0.0, 800: -3.0})
    assert means(drawn, "gap_q75") == pytest.approx({400: 3.0, 600: 4.0, 800: 1.0})
    assert means(drawn, "proven") == pytest.approx({400: 1.0, 600: 1.0, 800: 2 / 3})


def test_episode_without_a_finite_gap_counts_in_no_mean_of_gaps():
    whole = run("rmsm", [2.0, 50.0, 4.0])
    lost = (whole.metrics["env_step"] == 600) & whole.metrics["name"].isin(METRICS[:5])
    partly = RecordedRun(whole.curve, metrics=whole.metrics[~lost])
    drawn = data(*study(STUDY, [partly], seeds=[0], budget=800))
    assert means(drawn, "gap_median") == pytest.approx({400: 2.0, 600: 2.0, 800: 3.0})
    assert means(drawn, "proven") == pytest.approx({400: 1.0, 600: 0.5, 800: 2 / 3})


def test_run_whose_rollouts_all_diverge_has_no_gap_but_a_share_proven():
    whole = run("rsss", 0.0)
    named = whole.metrics["name"].isin(["gap_diverged", "proven"])
    metrics = whole.metrics[named].assign(value=lambda m: np.where(m["name"] == "proven", 0, 20))
    frame, status = study(STUDY, [RecordedRun(whole.curve, metrics=metrics)], seeds=[0], budget=800)
    drawn = data(frame, status)
    assert set(drawn["statistic"]) == {"gap_diverged", "proven"}
    assert set(means(drawn, "gap_diverged").values()) == {20.0}
    assert texts(figure(frame, status), "hopper-200") == ["1/1 seeds"]


def test_mean_over_seeds_with_one_missing():
    runs = [run("m" * 10, 10.0, seed=0), run("m" * 10, 30.0, seed=2)]
    drawn = data(*study(STUDY, runs, budget=2000))
    assert means(drawn, "gap_median")[2000] == pytest.approx(20.0)
    assert set(drawn["num_seeds"]) == {2}
    assert set(drawn["num_planned"]) == {3}


def test_forced_episodes_are_proven_ones():
    drawn = data(*study(STUDY, [run("mfs", 1.0)], seeds=[0], budget=600))
    assert means(drawn, "proven") == pytest.approx({200: 1.0, 400: 1.0, 600: 2 / 3})


def test_bands_median_and_zero_line():
    frame, status = study(STUDY, [run("m" * 10, 5.0, spread=2.0)], seeds=[0])
    drawn = panel(figure(frame, status), "hopper-200")
    zero, median = drawn.lines
    assert set(zero.get_ydata()) == {0}
    assert set(median.get_ydata()) == {5.0}
    reach = [band.get_paths()[0].get_extents() for band in drawn.collections]
    assert [(box.y0, box.y1) for box in reach] == [(-1.0, 11.0), (3.0, 7.0)]


def test_episodes_before_the_first_test_have_no_gap():
    drawn = data(*study(STUDY, [run("ruumm", [2.0, 4.0])], seeds=[0], budget=1000))
    assert means(drawn, "gap_median") == pytest.approx({800: 2.0, 1000: 3.0})
    assert means(drawn, "proven") == pytest.approx({800: 1.0, 1000: 1.0})


@pytest.mark.parametrize("median", [-7_000.0, -12.0, -0.15, 0.0, 0.02, 1.0, 3.0, 99.0, 5e8])
@pytest.mark.parametrize("spread", [1e-6, 0.1, 50.0, 3e9])
def test_each_axis_has_several_ticks_and_room_for_them(median, spread):
    frame, status = study(STUDY, [run("m" * 10, median, spread=spread)], seeds=[0])
    ax = panel(figure(frame, status), "hopper-200")
    low, high = ax.get_ylim()
    shown = [tick for tick in ax.get_yticks() if low <= tick <= high]
    assert 0 in shown
    assert 3 <= len(shown) <= 7
    labels = [ax.yaxis.get_major_formatter()(tick, 0) for tick in shown]
    assert len(set(labels)) == len(labels)


def test_linear_width_is_of_the_first_curve_that_is_not_zero():
    zero = pd.Series([0.0, 0.0])
    assert linear_width([pd.Series([-0.3, 0.25]), pd.Series([50.0])]) == pytest.approx(0.1)
    assert linear_width([zero, pd.Series([50.0])]) == 10
    assert linear_width([zero, zero]) == 1


def test_ticks_are_thinned_until_they_fit():
    assert ticks(-0.5, 2.5, 1.0) == [-0.5, 0, 0.5, 1, 2]
    assert ticks(-1e6, 1e6, 1.0) == [-1e6, -1e3, -1, 0, 1, 1e3, 1e6]


def test_legend_shows_both_bands():
    frame, status = study(STUDY, [run("mm", 1.0)], seeds=[0])
    handles = figure(frame, status).legends[0].get_patches()
    assert [patch.get_label() for patch in handles] == ["quartiles", "smallest to largest"]
    assert [to_rgba(patch.get_facecolor())[-1] for patch in handles] == pytest.approx([0.36, 0.2])


def test_six_panels_say_what_ran():
    missing = {("hopper-200", "unified", 1)} | {("ant-100", "unified", s) for s in range(5)}
    tasks = ("ant-100", "hopper-200", "cartpole-200")
    frame, status = learning_study(STUDY, tasks, missing=missing, archive=("cartpole-200",))
    fig = figure(frame, status)
    assert len(fig.axes) == 12
    assert texts(fig, "hopper-200") == ["4/5 seeds"]
    assert texts(fig, "ant-100") == ["0/5 seeds", "n = 0"]
    assert texts(fig, "cartpole-200") == ["5/5† seeds"]
    assert texts(fig, "walker2d-100") == ["not at this scale", "n = 0"]


def test_study_without_any_run_is_drawn_empty():
    frame, status = study(STUDY, [])
    assert data(frame, status).empty
    assert len(figure(frame, status).axes) == 12


def test_runs_without_metrics_are_drawn_empty():
    frame, status = study(STUDY, [RecordedRun(acted("rms"))], seeds=[0])
    assert data(frame, status).empty
    assert texts(figure(frame, status), "hopper-200") == ["1/1 seeds", "n = 0"]


def test_task_without_a_panel_is_refused():
    frame, status = study(STUDY, [run("rms", 0.0)], seeds=[0])
    with pytest.raises(ValueError, match="the figure of gaps has no panel for 'ant-1000'"):
        data(pd.DataFrame(frame).assign(task="ant-1000"), status)
