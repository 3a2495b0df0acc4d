"""unified_rl Figure 2 on small frames."""

import numpy as np
import pandas as pd
import pytest

from tests.analysis.frame_maker import ALL_VARIANTS, BUDGET, TOPS, curve_of, make_study
from unirl_repro.analysis.frames import RecordedRun, StudyPlan, build_frame, load_published
from unirl_repro.analysis.style import look
from unirl_repro.figures.unified_rl_fig2 import TASKS, data, figure

STUDY = "unified_rl_fig2"
OWN = ("unified", "sac_rlpd", "mbrl")  # the paper's algorithm and its two parts


def panel(fig, task):
    return fig.axes[TASKS.index(task)]


def texts(fig, task):
    return [text.get_text() for text in panel(fig, task).texts]


def named(fig):
    return [text.get_text() for text in fig.legends[0].get_texts() if text.get_text().strip()]


def test_mean_and_interval_of_a_frame_small_enough_to_check():
    planned = tuple(("hopper-200", "sac_rlpd", seed) for seed in range(3))
    plan = StudyPlan(STUDY, "quick", {"hopper-200": 400}, planned)
    runs = [RecordedRun(curve_of([r, r + 10], [200, 200], seed=s)) for s, r in ((0, 1.0), (2, 3.0))]
    drawn = data(*build_frame(plan, runs, load_published(STUDY)))
    assert drawn["env_step"].tolist() == [200, 400]
    assert drawn["mean"].tolist() == [2.0, 12.0]
    half = 12.706 * np.sqrt(2) / np.sqrt(2)  # t(0.975; 1) = 12.706
    assert drawn["high"].to_numpy() == pytest.approx(drawn["mean"] + half, abs=1e-3)
    assert drawn["num_seeds"].tolist() == [2, 2]
    assert drawn["num_planned"].tolist() == [3, 3]
    assert drawn["published"].tolist() == [632.8, 632.8]


def test_six_panels_in_the_papers_order_whatever_ran():
    fig = figure(*make_study(STUDY, tasks=("cartpole-200",)))
    titles = [ax.get_title() for ax in fig.axes]
    assert titles == [
        "Ant",
        "Hopper",
        "Walker",
        "Half-Cheetah",
        "Cartpole Swingup",
        "DClawTurnFixed",
    ]


def test_missing_seed_is_counted_above_its_panel():
    fig = figure(*make_study(STUDY, variants=OWN, missing={("hopper-200", "mbrl", 1)}))
    assert texts(fig, "hopper-200") == ["5/5 seeds; MBRL 4/5"]
    assert texts(fig, "ant-100") == ["5/5 seeds"]


def test_task_without_runs_says_so():
    everything = {("ant-100", "sac_rlpd", seed) for seed in range(5)}
    tasks = ("ant-100", "hopper-200")
    fig = figure(*make_study(STUDY, tasks=tasks, missing=everything))
    assert texts(fig, "hopper-200") == ["5/5 seeds"]
    assert texts(fig, "ant-100") == ["0/5 seeds", "n = 0"]
    for task in TASKS[2:]:
        assert texts(fig, task) == ["not at this scale", "n = 0"], task


def test_study_without_any_run_is_drawn_empty():
    everything = {("ant-100", "sac_rlpd", seed) for seed in range(5)}
    frame, status = make_study(STUDY, tasks=("ant-100",), missing=everything)
    assert data(frame, status).empty
    assert len(figure(frame, status).axes) == 6


def test_published_average_is_a_dotted_line_of_the_algorithms_colour():
    fig = figure(*make_study(STUDY, tasks=("hopper-200",)))
    dotted = [line for line in panel(fig, "hopper-200").lines if line.get_linestyle() == ":"]
    assert [line.get_ydata()[0] for line in dotted] == [632.8]
    assert dotted[0].get_color() == look("sac_rlpd").colour


def test_archived_runs_and_runs_of_other_code_are_marked():
    tasks = ("hopper-200", "ant-100", "cartpole-200")
    frame, status = make_study(
        STUDY, tasks=tasks, archive=("hopper-200", "ant-100"), other_code=("ant-100",)
    )
    fig = figure(frame, status)
    assert texts(fig, "hopper-200") == ["5/5† seeds"]
    assert texts(fig, "ant-100") == ["5/5†‡ seeds"]
    assert texts(fig, "cartpole-200") == ["5/5 seeds"]
    styles = {task: panel(fig, task).lines[0].get_linestyle() for task in tasks}
    assert styles == {"hopper-200": "--", "ant-100": "--", "cartpole-200": "-"}
    assert {"† with archived runs", "‡ with runs of other code"} < set(named(fig))


def test_run_that_stopped_early_is_a_shorter_curve():
    drawn = data(*make_study(STUDY, tasks=("hopper-200", "ant-100"), shorter=("hopper-200",)))
    ends = drawn.groupby("task")["env_step"].max()
    assert ends["hopper-200"] == pytest.approx(BUDGET / 2)
    assert ends["ant-100"] == pytest.approx(BUDGET)


def test_last_point_is_no_step_that_was_not_reached():
    planned = (("hopper-200", "sac_rlpd", 0),)
    plan = StudyPlan(STUDY, "paper", {"hopper-200": 100_000}, planned)
    runs = [RecordedRun(curve_of([1.0] * 7, [200] * 7))]
    drawn = data(*build_frame(plan, runs, load_published(STUDY)))
    assert drawn["env_step"].tolist() == [1000, 1400]  # cells of 1,000 steps


def test_many_algorithms_are_named_once_and_keep_their_seeds():
    frame, status = make_study(
        STUDY, variants=ALL_VARIANTS, num_seeds=2, missing={("ant-100", "td3", 0)}
    )
    fig = figure(frame, status)
    names = [look(variant).name for variant in ALL_VARIANTS]
    assert sorted(set(named(fig)) & set(names)) == sorted(names)
    assert len(named(fig)) == len(names) + 2
    assert texts(fig, "ant-100") == ["2/2 seeds; TD3 1/2"]
    assert texts(fig, "hopper-200") == ["2/2 seeds"]
    colours = {look(variant).colour for variant in ALL_VARIANTS}
    solid = [line for line in panel(fig, "ant-100").lines if line.get_linestyle() == "-"]
    assert {line.get_color() for line in solid} == colours


def test_names_stand_in_one_row_and_what_lines_mean_in_the_next():
    fig = figure(*make_study(STUDY, variants=OWN, num_seeds=2))
    fig.draw_without_rendering()
    places = {t.get_text(): t.get_window_extent() for t in fig.legends[0].get_texts()}
    rows = [round(places[look(variant).name].y0) for variant in OWN]
    assert len(set(rows)) == 1
    assert places["mean and 95% interval"].y1 < rows[0]
    left = [places[look(variant).name].x0 for variant in OWN]
    assert left == sorted(left)


def test_nothing_overlaps_the_edge_of_the_page():
    fig = figure(*make_study(STUDY, variants=ALL_VARIANTS, num_seeds=1, archive=tuple(TOPS)))
    fig.draw_without_rendering()
    width, height = fig.get_size_inches() * fig.dpi
    for legend in fig.legends:
        box = legend.get_window_extent()
        assert box.x0 >= 0
        assert box.x1 <= width
        assert 0 <= box.y0 < box.y1 <= height


def test_task_without_a_panel_is_refused():
    frame, status = make_study(STUDY, tasks=("hopper-200",))
    with pytest.raises(ValueError, match="Figure 2 has no panel for 'ant-1000'"):
        data(frame.assign(task="ant-1000"), status)


def test_evaluations_are_not_drawn():
    frame, status = make_study(STUDY, tasks=("hopper-200",))
    evaluations = frame[frame["kind"] == "train"].assign(kind="eval", **{"return": 1e6})
    both = pd.concat([frame, evaluations])
    pd.testing.assert_frame_equal(data(both, status), data(frame, status))
