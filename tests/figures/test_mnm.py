"""The figures of tabular studies on frames that are small enough to check, and on whole ones."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.patches import Rectangle

from unirl_repro.figures import mnm_fig2, mnm_fig3, mnm_fig13, mnm_tight_bound, module, write
from unirl_repro.figures._tabular import over_seeds
from unirl_repro.tabular import mnm_fig3 as experiment
from unirl_repro.tabular.frame import COLUMNS, frame, numbers
from unirl_repro.tabular.worlds import obstacle_grid, stochastic_grid

STUDIES = ("mnm_fig2", "mnm_fig3", "mnm_fig13", "mnm_tight_bound")


def learning(study, variants, seeds=(0, 1, 2)):
    """Returns 0, 1, 2 through the iterations, a tenth more for each seed."""
    rows = []
    for variant in variants:
        for seed in seeds:
            for iteration in (0, 20, 40):
                value = {"return": iteration / 20 + 0.1 * seed}
                where = {"seed": seed, "iteration": iteration}
                rows += numbers(study, "returns", variant, value, **where)
    return rows


def fig2_frame():
    rows = learning("mnm_fig2", ["mnm", "q_learning"])
    rows += numbers("mnm_fig2", "speed", "optimal", {"return": 2.5})
    for variant in ("real", "mnm"):
        for action in range(4):
            where = {"row": 8, "column": 3, "action": action}
            rows += numbers("mnm_fig2", "dynamics", variant, {"probability": 0.25}, **where)
        drift = {"drift_row": 0.0, "drift_column": 0.5}
        rows += numbers("mnm_fig2", "dynamics", variant, drift, row=8, column=3)
    for variant, success in (("mnm", 1.0), ("mnm_coarse", 0.5)):
        rows += numbers("mnm_fig2", "coarse", variant, {"success": success})
        for step in range(3):
            where = {"iteration": step, "row": step, "column": 0}
            rows += numbers("mnm_fig2", "paths", variant, {"visited": 1.0}, **where)
    return frame(rows)


def heights(line):
    return np.asarray(line.get_ydata(), float).tolist()


def bars(ax):
    return [patch for patch in ax.patches if isinstance(patch, Rectangle)]


def test_numbers_over_seeds_are_those_of_the_sample():
    drawn = over_seeds(frame(learning("mnm_fig2", ["mnm"])))
    last = drawn[drawn["iteration"] == 40].iloc[0]
    assert last["mean"] == pytest.approx(2.1)
    assert last["std"] == pytest.approx(0.1)
    assert (last["smallest"], last["largest"], last["num_seeds"]) == (2.0, 2.2, 3)
    assert last["high"] - last["mean"] == pytest.approx(4.302653 * 0.1 / np.sqrt(3))


def test_learning_curves_are_drawn_with_their_deviation_and_the_optimum():
    fig = mnm_fig2.figure(fig2_frame(), {})
    returns = fig.axes[0]
    curves = {str(line.get_label()): heights(line) for line in returns.lines}
    assert curves["MnM"] == pytest.approx([0.1, 1.1, 2.1])
    dotted = [heights(line)[0] for line in returns.lines if line.get_linestyle() == ":"]
    assert dotted == [2.5]
    assert returns.get_legend_handles_labels()[1] == ["MnM", "Q-learning"]


def test_maps_are_those_of_the_worlds():
    worlds = {"dynamics": stochastic_grid((10.0, 1.0)), "paths": obstacle_grid()}
    for panel, grid in worlds.items():
        size, rows, columns = mnm_fig2.WALLS[panel]
        drawn = np.zeros((size, size), bool)
        drawn[np.ix_(list(rows), list(columns))] = True
        assert np.array_equal(drawn, grid.walls)
        assert mnm_fig2.GOALS[panel] == grid.goal
    assert worlds["dynamics"].moves == mnm_fig2.MOVES


def test_successes_stand_beside_the_paths():
    fig = mnm_fig2.figure(fig2_frame(), {})
    assert [bar.get_bbox().width for bar in bars(fig.axes[-1])] == [1.0, 0.5]
    paths = [line for line in fig.axes[-2].lines if line.get_label() == "exact model"]
    assert np.diff(heights(paths[0])) == pytest.approx([1.0, 1.0])


def test_bars_are_returns_and_curves_objectives():
    whole = experiment.run(1)
    fig = mnm_fig3.figure(whole, {})
    risk = whole[(whole["panel"] == "risk") & (whole["name"] == "return")].set_index("variant")
    drawn = [bar.get_bbox().height for bar in bars(fig.axes[0])]
    assert drawn == pytest.approx([risk["value"][name] for name in mnm_fig3.LABELS])
    labels = {line.get_label() for line in fig.axes[1].lines}
    assert labels == {name for name, *_ in mnm_fig3.OBJECTIVES.values()}


def test_each_target_has_a_panel_with_its_arms():
    variants = [f"{target}/{arm}" for target in mnm_fig13.TARGETS for arm in mnm_fig13.ARMS]
    fig = mnm_fig13.figure(frame(learning("mnm_fig13", variants)), {})
    assert [len(ax.lines) for ax in fig.axes] == [5, 5, 5]


def test_gaps_that_are_rounding_are_drawn_at_the_floor():
    rows = []
    for seed in (0, 1):
        gaps = dict.fromkeys(mnm_tight_bound.CASES, 0.5 + seed)
        rows += numbers("mnm_tight_bound", "random", "eq_2", gaps, seed=seed)
        exact = dict.fromkeys(mnm_tight_bound.CASES, -1e-15)
        rows += numbers("mnm_tight_bound", "random", "tight_stopping", exact, seed=seed)
    fig = mnm_tight_bound.figure(frame(rows), {})
    drawn = [heights(line) for line in fig.axes[1].lines]
    assert drawn == [[0.5, 1.5], [1e-12, 1e-12]] * 3


@pytest.mark.parametrize("study", STUDIES)
def test_without_numbers_a_figure_is_drawn_empty(study, tmp_path):
    empty = pd.DataFrame(columns=COLUMNS).astype({"value": float, "iteration": int})
    assert module(study).data(empty, {}).empty
    assert all(path.stat().st_size for path in write(study, empty, {}, tmp_path / study))
