"""unified_rl Figure 3 on small frames."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.lines import Line2D

from tests.figures.unified_runs import acted, learning_study, study
from unirl_repro.analysis.frames import RecordedRun
from unirl_repro.figures._fractions import CHOSEN, MODEL_FREE, mean_of_known
from unirl_repro.figures.unified_rl_fig3 import TASKS, data, figure

STUDY = "unified_rl_fig3"


def curves(drawn, task="hopper-200"):
    """Steps and means of both statistics of a task."""
    of_task = drawn[drawn["task"] == task]
    picked = (of_task[of_task["statistic"] == name] for name in (MODEL_FREE, CHOSEN))
    return [dict(zip(rows["env_step"], rows["mean"], strict=True)) for rows in picked]


def panel(fig, task):
    return fig.axes[TASKS.index(task)]


def texts(fig, task):
    return [text.get_text() for text in panel(fig, task).texts]


def test_fractions_of_a_run_small_enough_to_count():
    """Two random episodes, which do not count; then SAC, MBRL, forced, MBRL, MBRL, SAC."""
    runs = [RecordedRun(acted("rrsmfmms"))]
    model_free, chosen = curves(data(*study(STUDY, runs, seeds=[0], budget=1600)))
    # Fewer than ten episodes: each window reaches back to the first that counts.
    expected = [1, 1 / 2, 2 / 3, 2 / 4, 2 / 5, 3 / 6]
    assert list(model_free) == [600, 800, 1000, 1200, 1400, 1600]
    assert list(model_free.values()) == pytest.approx(expected)
    assert list(chosen.values()) == pytest.approx([1, 1 / 2, 1 / 3, 1 / 4, 1 / 5, 2 / 6])


def test_episodes_without_a_test_are_model_free_and_chosen_by_none():
    """A random one, two before the model's first training, then MBRL, forced and SAC."""
    runs = [RecordedRun(acted("ruumfs"))]
    model_free, chosen = curves(data(*study(STUDY, runs, seeds=[0], budget=1200)))
    assert model_free == pytest.approx({400: 1, 600: 1, 800: 2 / 3, 1000: 3 / 4, 1200: 4 / 5})
    assert chosen == pytest.approx({800: 0, 1000: 0, 1200: 1 / 3})


def test_run_without_any_test_has_no_choice():
    model_free, chosen = curves(data(*study(STUDY, [RecordedRun(acted("ruu"))], seeds=[0])))
    assert set(model_free.values()) == {1}
    assert not chosen


def test_cell_shared_with_an_episode_without_a_test_is_of_the_tested_one():
    """Edges that are no episodes' ends: the window reaches back over both kinds."""
    runs = [RecordedRun(acted("u" * 15 + "s" * 2))]
    _, chosen = curves(data(*study(STUDY, runs, seeds=[0], budget=3_500)))
    assert min(chosen) > 3_000
    assert chosen == pytest.approx(dict.fromkeys(chosen, 1))


def test_window_is_ten_episodes_where_cells_are_shorter():
    runs = [RecordedRun(acted("s" * 10 + "m" * 10))]
    model_free, _ = curves(data(*study(STUDY, runs, seeds=[0], budget=4000)))
    assert model_free[2000] == pytest.approx(1)
    assert model_free[3000] == pytest.approx(0.5)
    assert model_free[4000] == pytest.approx(0)


def test_window_is_the_cell_where_that_is_longer():
    """A hundred points of 20 episodes each: ten by SAC, then ten by MBRL."""
    runs = [RecordedRun(acted("s" * 10 + "m" * 10 + "s" * 5 + "m" * 15))]
    model_free, _ = curves(data(*study(STUDY, runs, seeds=[0], budget=400_000)))
    assert model_free == pytest.approx({4000: 0.5, 8000: 0.25})


def test_mean_and_interval_over_the_seeds_that_are_there():
    runs = [RecordedRun(acted("s" * 10, seed=0)), RecordedRun(acted("m" * 10, seed=2))]
    drawn = data(*study(STUDY, runs, budget=2000))
    last = drawn[(drawn["statistic"] == MODEL_FREE) & (drawn["env_step"] == 2000)].iloc[0]
    assert last["mean"] == pytest.approx(0.5)
    half = 12.706 * np.sqrt(0.5) / np.sqrt(2)  # t(0.975; 1) = 12.706
    assert last["high"] - last["mean"] == pytest.approx(half, abs=1e-3)
    assert (last["num_seeds"], last["num_planned"]) == (2, 3)


def test_shorter_seed_ends_where_it_ends():
    runs = [RecordedRun(acted("s" * 10, seed=0)), RecordedRun(acted("m" * 5, seed=1))]
    drawn = data(*study(STUDY, runs, budget=2000))
    counted = drawn[drawn["statistic"] == MODEL_FREE].set_index("env_step")["num_seeds"]
    assert counted[1000] == 2
    assert counted[1200] == 1
    model_free, _ = curves(drawn)
    assert model_free[1000] == pytest.approx(0.5)
    assert model_free[1200] == pytest.approx(1)


def test_six_panels_say_what_ran():
    missing = {("hopper-200", "unified", 1)} | {("ant-100", "unified", s) for s in range(5)}
    tasks = ("ant-100", "hopper-200", "cartpole-200")
    frame, status = learning_study(STUDY, tasks, missing=missing, archive=("cartpole-200",))
    fig = figure(frame, status)
    assert len(fig.axes) == 6
    assert texts(fig, "hopper-200") == ["4/5 seeds"]
    assert texts(fig, "ant-100") == ["0/5 seeds", "n = 0"]
    assert texts(fig, "cartpole-200") == ["5/5† seeds"]
    assert texts(fig, "walker2d-100") == ["not at this scale", "n = 0"]
    assert panel(fig, "cartpole-200").lines[0].get_linestyle() == "--"
    legend = [text.get_text() for text in fig.legends[0].get_texts()]
    assert "† with archived runs" in legend


def test_all_model_free_episodes_are_solid_and_chosen_ones_dotted():
    runs = [RecordedRun(acted("r" + "mf" * 5))]
    frame, status = study(STUDY, runs, seeds=[0], budget=2200)
    lines = {
        line.get_linestyle(): line for line in panel(figure(frame, status), "hopper-200").lines
    }
    assert lines["-"].get_ydata()[-1] == pytest.approx(0.5)
    assert lines[":"].get_ydata()[-1] == pytest.approx(0)


def test_run_that_is_still_at_random_is_drawn_empty():
    frame, status = study(STUDY, [RecordedRun(acted("rrr"))], seeds=[0])
    assert data(frame, status).empty
    assert texts(figure(frame, status), "hopper-200") == ["1/1 seeds", "n = 0"]


def test_study_without_any_run_is_drawn_empty():
    frame, status = study(STUDY, [])
    assert data(frame, status).empty
    assert len(figure(frame, status).axes) == 6


def test_somebody_who_is_no_part_of_unified_rl_is_refused():
    rows = acted("rsm").assign(policy="ppo")
    frame, status = study(STUDY, [RecordedRun(rows)], seeds=[0])
    with pytest.raises(ValueError, match="unified on hopper-200 has episodes of policy 'ppo'"):
        data(frame, status)


def test_task_without_a_panel_is_refused():
    frame, status = study(STUDY, [RecordedRun(acted("rsm"))], seeds=[0])
    with pytest.raises(ValueError, match="Figure 3 has no panel for 'ant-1000'"):
        data(frame.assign(task="ant-1000"), status)


def test_edge_that_rounding_moved_into_an_episode_is_no_point():
    known = pd.Series([np.nan, 1.0])
    points = mean_of_known(acted("us"), known, np.array([0.0, 200 + 1e-9, 400.0]), 0.0)
    assert list(points["env_step"]) == [400]


def test_unified_rl_is_drawn_in_front_and_whole_at_the_end():
    frame, status = study(STUDY, [RecordedRun(acted("rsm"))], seeds=[0])
    line = panel(figure(frame, status), "hopper-200").lines[0]
    assert not line.get_clip_on()
    assert line.get_zorder() > Line2D([], []).get_zorder()
