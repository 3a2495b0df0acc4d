"""usbpo's figures: evaluations, the asymptote of a longer run, and the magnitudes of Figure 3."""

import numpy as np
import pandas as pd
import pytest

from tests.analysis.frame_maker import curve_of
from unirl_repro.analysis.frames import (
    RecordedRun,
    StudyPlan,
    build_frame,
    build_metrics,
    load_published,
    with_metrics,
)
from unirl_repro.figures import usbpo_fig1, usbpo_fig2, usbpo_fig3, usbpo_learning_rate

HOPPER, CHEETAH, WALKER = "hopper-1000", "halfcheetah-1000", "walker2d-1000"
NAMES = ("delta", "model_shift", "model_bias")


def run(task, variant, seed, steps, levels, metrics=None):
    """Training of one return, evaluations of two episodes around each level, at even distances."""
    kind = {"task": task, "variant": variant, "seed": seed}
    parts = [curve_of([1.0] * (steps // 1000), [1000] * (steps // 1000), **kind)]
    for i, level in enumerate(levels):
        rows = curve_of([level - 1, level + 1], [1000] * 2, **kind)
        step = steps * (i + 1) // len(levels)
        parts.append(rows.assign(kind="eval", env_step=step))
    curve = pd.concat(parts, ignore_index=True)
    return RecordedRun(curve) if metrics is None else RecordedRun(curve, metrics=metrics)


def study(name, runs, budget, longer=None, metrics=()):
    planned = tuple(
        (r.curve["task"].iloc[0], r.curve["variant"].iloc[0], int(r.curve["seed"].iloc[0]))
        for r in runs
    )
    plan = StudyPlan(name, "paper", budget, planned, metrics, longer=longer or {})
    frame, status = build_frame(plan, runs, load_published(name))
    return with_metrics(frame, build_metrics(plan, runs)), status


def fig2():
    runs = [run(HOPPER, "usbpo", seed, 10_000, [10.0 + seed, 20.0]) for seed in range(3)]
    long = [5.0] * 18 + [90.0, 110.0]
    runs += [run(HOPPER, "sac", seed, 40_000, long) for seed in range(2)]
    return study("usbpo_fig2", runs, {HOPPER: 10_000}, {(HOPPER, "sac"): 40_000})


def test_curves_are_means_over_evaluation_episodes_then_seeds():
    drawn = usbpo_fig2.data(*fig2())
    ours = drawn[(drawn["variant"] == "usbpo") & (drawn["statistic"] == "evaluation_return")]
    assert ours["env_step"].tolist() == [5_000, 10_000]
    assert ours["mean"].tolist() == [11.0, 20.0]
    half = 4.3027 / np.sqrt(3)  # t(0.975; 2), seeds at 10, 11 and 12
    assert (ours["high"] - ours["mean"]).tolist() == pytest.approx([half, 0], abs=1e-3)


def test_a_longer_run_is_cut_at_the_panel_and_its_last_tenth_is_the_asymptote():
    drawn = usbpo_fig2.data(*fig2())
    sac = drawn[drawn["variant"] == "sac"]
    curve, asymptote = (
        sac[sac["statistic"] == "evaluation_return"],
        sac[sac["statistic"] == "asymptote"],
    )
    assert curve["env_step"].max() == 10_000
    assert asymptote["mean"].tolist() == [100.0]  # of 38,000 and 40,000 steps, not of 36,000
    assert asymptote["num_seeds"].tolist() == [2]


def test_a_run_that_stopped_short_has_no_asymptote():
    runs = [run(HOPPER, "sac", 0, 20_000, [1.0, 2.0]), run(HOPPER, "usbpo", 0, 10_000, [1.0])]
    found = study("usbpo_fig2", runs, {HOPPER: 10_000}, {(HOPPER, "sac"): 40_000})
    assert "asymptote" not in set(usbpo_fig2.data(*found)["statistic"])
    (short,) = found[1]["short"]
    assert (short["variant"], short["reached"]) == ("sac", 0.5)


def test_panels_show_every_curve_and_the_dashed_line_is_explained():
    fig = usbpo_fig2.figure(*fig2())
    titled = {ax.get_title(): ax for ax in fig.axes}
    lines = titled["Hopper"].get_lines()
    assert sum(line.get_linestyle() == "--" for line in lines) == 1
    assert sum(line.get_linestyle() == "-" for line in lines) == 2
    legend = [text.get_text() for text in fig.legends[0].get_texts()]
    assert {"USB-PO", "SAC (as published)", "asymptote of SAC"} <= set(legend)
    assert titled["Hopper"].get_xlim() == (0, 10_000)


@pytest.mark.parametrize("module", [usbpo_fig1, usbpo_fig2, usbpo_fig3, usbpo_learning_rate])
def test_a_task_without_a_panel_is_refused(module):
    runs = [run("ant-100", "usbpo", 0, 10_000, [1.0])]
    with pytest.raises(ValueError, match="no panel for 'ant-100'"):
        module.data(*study("usbpo_fig2", runs, {"ant-100": 10_000}))


@pytest.mark.parametrize("module", [usbpo_fig1, usbpo_fig2, usbpo_fig3, usbpo_learning_rate])
def test_without_runs_all_panels_say_so(module):
    plan = StudyPlan(module.__name__.rpartition(".")[2], "paper", {}, ())
    frame, status = build_frame(plan, [], load_published(plan.study))
    figure = module.figure(frame, status)
    for ax in figure.axes:
        assert "n = 0" in [text.get_text() for text in ax.texts]


def test_magnitudes_are_means_of_episodes_in_a_cell_then_of_seeds():
    def metrics(level):
        rows = [
            (step, n, level * k)
            for step in (900, 1000, 1001, 10_000)
            for k, n in enumerate(NAMES, 1)
        ]
        return pd.DataFrame(rows, columns=["env_step", "name", "value"])

    runs = [run(CHEETAH, "usbpo", s, 10_000, [1.0], metrics(1.0 + 2 * s)) for s in range(2)]
    found = study("usbpo_fig3", runs, {CHEETAH: 10_000, WALKER: 10_000}, metrics=NAMES)
    drawn = usbpo_fig3.data(*found)
    shift = drawn[drawn["statistic"] == "model_shift"]
    assert shift["env_step"].tolist() == [1_000, 1_200, 10_000]
    assert shift["mean"].tolist() == [4.0, 4.0, 4.0]  # twice the mean of 1 and 3
    labels = [text.get_text() for text in usbpo_fig3.figure(*found).legends[0].get_texts()]
    assert labels == ["Δ", "model shift", "model bias"]
