"""Both halves of unified_rl Figure 4 on small frames."""

from pathlib import Path

import pytest

from tests.figures.unified_runs import learning_study
from unirl_repro import figures
from unirl_repro.analysis.style import look
from unirl_repro.config import load_config
from unirl_repro.figures._fractions import CHOSEN, MODEL_FREE

CONFIG = load_config(Path(__file__).parents[2] / "config.yaml")
HALVES = ("unified_rl_fig4_left", "unified_rl_fig4_right")


def half(name, **changes):
    """Frame and status of a half with its own tasks and variants."""
    content = CONFIG.studies[name]
    return learning_study(name, tuple(content.tasks), tuple(content.variants), **changes)


def ours(name):
    return CONFIG.studies[name].variants[0]


@pytest.mark.parametrize("name", HALVES)
def test_returns_of_each_variant_and_who_acted_in_unified_rl(name):
    drawn = figures.module(name).data(*half(name))
    found = set(zip(drawn["variant"], drawn["statistic"], strict=True))
    expected = {(variant, "return") for variant in CONFIG.studies[name].variants}
    assert found == expected | {(ours(name), MODEL_FREE), (ours(name), CHOSEN)}


@pytest.mark.parametrize("name", HALVES)
def test_panel_above_strip(name):
    task, variants = CONFIG.studies[name].tasks[0], CONFIG.studies[name].variants
    frame, status = half(name, missing={(task, "mbrl", 0)})
    drawn = figures.module(name).data(frame, status)
    panel, strip = figures.module(name).figure(frame, status).axes
    assert [text.get_text() for text in panel.texts] == ["5/5 seeds; MBRL 4/5"]
    assert {line.get_color() for line in panel.lines} == {look(v).colour for v in variants}
    solid = next(line for line in strip.lines if line.get_linestyle() == "-")
    expected = drawn[drawn["statistic"] == MODEL_FREE]["mean"]
    assert solid.get_ydata() == pytest.approx(expected.to_numpy())
    assert 0 < expected.iloc[-1] < 1
    assert strip.get_ylim() == pytest.approx((-0.04, 1.04))


@pytest.mark.parametrize("name", HALVES)
def test_seeds_stand_in_one_line_so_that_the_halves_are_alike(name):
    [task] = CONFIG.studies[name].tasks
    fig = figures.module(name).figure(*half(name, missing={(task, ours(name), 0)}))
    assert fig.axes[0].texts[0].get_text() == f"5/5 seeds; {look(ours(name)).name} 4/5"


@pytest.mark.parametrize("name", HALVES)
def test_half_without_runs_is_drawn_empty(name):
    content = CONFIG.studies[name]
    everything = {(content.tasks[0], v, s) for v in content.variants for s in range(5)}
    frame, status = half(name, missing=everything)
    assert figures.module(name).data(frame, status).empty
    panel, _ = figures.module(name).figure(frame, status).axes
    assert [text.get_text() for text in panel.texts] == ["0/5 seeds", "n = 0"]


@pytest.mark.parametrize("name", HALVES)
def test_legend_stays_on_the_page(name):
    fig = figures.module(name).figure(*half(name, archive=tuple(CONFIG.studies[name].tasks)))
    fig.draw_without_rendering()
    box, (width, _) = fig.legends[0].get_window_extent(), fig.get_size_inches() * fig.dpi
    assert 0 <= box.x0 < box.x1 <= width
    assert box.y0 >= 0
    named = {text.get_text() for text in fig.legends[0].get_texts()}
    assert {look(variant).name for variant in CONFIG.studies[name].variants} < named
    assert "published average over training" not in named


@pytest.mark.parametrize("name", HALVES)
def test_another_task_is_refused(name):
    frame, status = half(name)
    with pytest.raises(ValueError, match="has no panel for 'hopper-200'"):
        figures.module(name).data(frame.assign(task="hopper-200"), status)
