"""The post's two figures: their frames at the smallest scale, and their measures by hand."""

from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.tabular_frames import frame_of
from unirl_repro.analysis.statistics import summarise
from unirl_repro.deviations import DEVIATIONS
from unirl_repro.fingerprint import _closure
from unirl_repro.learned import mbpo_blog_fig1 as fig1
from unirl_repro.learned import mbpo_blog_fig2 as fig2
from unirl_repro.learned.sizes import COMPOUNDING, GENERALISATION, SIZES
from unirl_repro.nn.actor import Actor, StdHead
from unirl_repro.replay import Batch
from unirl_repro.rng import Keys
from unirl_repro.tabular.frame import COLUMNS

STUDIES = ("mbpo_blog_fig1", "mbpo_blog_fig2")
SMOKE = GENERALISATION["smoke"]


def value(frame, panel, name, variant, seed=0):
    rows = frame[(frame["panel"] == panel) & (frame["name"] == name) & (frame["seed"] == seed)]
    return rows.loc[rows["variant"] == variant, "value"].item()


def actor(mean=0.0, std=1.0):
    """A policy that says the same of each state."""
    made = Actor(11, 3, [4], np.random.default_rng(0), std_head=StdHead("exp"))
    last = list(made.mlp.parameters())[-1]
    with torch.no_grad():
        for parameter in made.mlp.parameters():
            parameter.zero_()
        flat = last.view(-1)
        flat[:3], flat[3:] = mean, np.log(std)
    return made


def batch(changes):
    obs = torch.zeros(changes.shape)
    nothing = torch.zeros(len(changes))
    return Batch(obs, torch.zeros(len(changes), 1), nothing, obs + changes, nothing)


@pytest.mark.parametrize("study", STUDIES)
def test_frames_are_tidy_and_finite(study):
    frame = frame_of(study)
    assert list(frame.columns) == COLUMNS
    assert set(frame["study"]) == {study}
    assert np.isfinite(frame["value"]).all()
    assert not frame.duplicated(COLUMNS[:-1]).any()


@pytest.mark.parametrize("study", STUDIES)
def test_a_seed_computed_again_gives_the_same_numbers(study):
    again = import_module(f"unirl_repro.learned.{study}").run(SIZES[study]["smoke"], 1)
    first = frame_of(study)
    assert again.equals(first[first["seed"] == 1].reset_index(drop=True))


@pytest.mark.parametrize(("study", "suite"), [("mbpo_blog_fig1", "gym"), ("mbpo_blog_fig2", "dmc")])
def test_what_a_frame_hangs_on_is_found(study, suite):
    names = (f"learned.{study}", "learned.models", "models.ensemble_training", f"envs.{suite}")
    found = _closure(
        (f"unirl_repro.learned.{study}",), import_module("pathlib").Path("unirl_repro")
    )
    assert {f"unirl_repro.{name}" for name in names} <= found
    assert "unirl_repro.learned.sizes" not in found  # by their values


# Figure 1


def test_errors_are_there_for_each_policy_and_size():
    errors = frame_of("mbpo_blog_fig1").query("panel == 'error' and name == 'decades'")
    assert len(errors) == 4 * 5 * len(SMOKE.training_sets)
    assert set(errors["iteration"]) == set(SMOKE.training_sets)


def test_the_collecting_policy_is_no_step_away_from_itself():
    frame = frame_of("mbpo_blog_fig1")
    assert value(frame, "shift", "divergence", "policy_0") == 0.0
    assert value(frame, "shift", "steps", "policy_4") == SMOKE.later[-1] - SMOKE.collecting
    assert value(frame, "shift", "divergence", "policy_4") > 0.0


def test_gains_are_differences_of_decades():
    frame = frame_of("mbpo_blog_fig1")
    rows = frame.query("panel == 'error' and name == 'decades' and seed == 0")
    table = rows.pivot(index="iteration", columns="variant", values="value")
    gains = table.loc[SMOKE.training_sets[0]] - table.loc[SMOKE.training_sets[-1]]
    assert value(frame, "size", "gain", "collecting") == pytest.approx(gains["policy_0"])
    assert value(frame, "size", "gain", "nearby") == pytest.approx(gains["policy_1"])
    assert value(frame, "size", "gain", "future") == pytest.approx(gains.iloc[1:].mean())


def test_policies_are_those_of_their_moments():
    made = fig1.policies(SMOKE, 0)
    assert len(made) == 5
    weights = [next(actor.parameters()) for actor in made]
    assert not any(torch.equal(weights[0], later) for later in weights[1:])


@pytest.mark.parametrize(
    ("mean", "std", "expected"),
    [(0.0, 1.0, 0.0), (2.0, 1.0, 6.0), (0.0, 0.5, 3 * (np.log(2) - 0.375))],
)
def test_divergence_is_that_of_normal_distributions(mean, std, expected):
    found = fig1.divergence(actor(mean, std), actor(), torch.randn(7, 11))
    assert found == pytest.approx(expected, abs=1e-5)


def test_errors_are_over_the_variance_of_each_entry():
    changes = torch.tensor([[1.0, 10.0], [-1.0, -10.0], [1.0, 10.0], [-1.0, -10.0]])
    nothing: fig1.LearntModel = SimpleNamespace(predict=lambda test: torch.zeros(4, 2))  # type: ignore[assignment]
    known, own = fig1.measure(nothing, batch(2 * changes), batch(changes))
    assert (known, own) == pytest.approx((3.0, 0.75))  # the variance is over n - 1


def test_training_sets_differ_in_size_and_hold_no_row_twice():
    data = batch(torch.arange(20.0)[:, None])
    drawn = fig1.drawn_from(data, 8, Keys(0, "x"))
    assert len(drawn.obs) == 8
    assert len(set(drawn.next_obs.flatten().tolist())) == 8


def test_policies_act_with_their_noise():
    quiet, loud = (fig1.sampled(actor(std=std)) for std in (1e-6, 1.0))
    obs = torch.zeros(11)
    assert quiet(obs, Keys(0, "x")).abs().max() < 1e-4
    assert loud(obs, Keys(0, "x")).abs().max() > 1e-2


# Figure 2


def test_pushes_are_cosines_and_differ_from_episode_to_episode():
    push = fig2.pushes(0, 0.0)
    series = [
        [push(torch.zeros(5), Keys(0, "x", episode, step)).item() for step in range(200)]
        for episode in (0, 1)
    ]
    for values in series:
        largest = max(map(abs, values))
        assert fig2.PUSH[0] <= largest <= fig2.PUSH[1]
        assert abs(values[0]) == pytest.approx(largest)
    assert series[0] != series[1]


def test_an_angle_goes_on_through_turns():
    angles = np.linspace(0, 3 * np.pi, 50)  # from hanging: cosine -1
    obs = torch.zeros(50, 5)
    obs[:, fig2.COSINE] = torch.from_numpy(-np.cos(angles))
    obs[:, fig2.SINE] = torch.from_numpy(np.sin(angles))
    assert fig2.motion(obs)["pole"] == pytest.approx(angles, abs=1e-5)


def test_the_first_state_is_given():
    rows = frame_of("mbpo_blog_fig2").query("panel == 'cart' and iteration == 0 and seed == 0")
    first = rows.set_index("name")["value"]
    assert first["std"] == 0.0
    assert first["mean"] == pytest.approx(first["real"])


def test_a_model_that_knows_the_world_makes_no_error():
    steps = np.arange(fig2.STEPS + 1)
    real = {"cart": np.sin(steps / 30), "pole": np.cos(steps / 20)}
    rng = np.random.default_rng(0)
    width = 1e-6 * (1 + steps)[:, None]  # grows with the steps
    sampled = {
        p: v[:, None] + width * rng.standard_normal((len(steps), 200)) for p, v in real.items()
    }
    ends = {r["name"]: r["value"] for r in fig2._growth(real, sampled, 0) if r["panel"] == "ends"}
    assert ends["error_last"] < 1e-3
    assert ends["correlation_lost"] == pytest.approx(0.0, abs=1e-5)
    expected = np.log10((1 + steps)[-fig2.LATE :].mean() / 2)
    assert ends["decades_spread"] == pytest.approx(expected, abs=0.05)


# What is said of them


def test_a_deviation_states_the_moments_of_the_policies():
    for scale in ("quick", "paper"):
        sizes = GENERALISATION[scale]
        steps = [later - sizes.collecting for later in sizes.later]
        said = {f"{n:,}" for n in (sizes.collecting, steps[0], steps[-1])}
        assert all(number in DEVIATIONS["B1"].text for number in said)
    low, high = fig2.PERIOD
    assert f"({low:.0f} to {high:.0f} steps)" in DEVIATIONS["B4"].text
    assert f"episodes of {fig2.STEPS} steps" in DEVIATIONS["B4"].text


@pytest.mark.full
def test_at_scale_quick_both_effects_are_visible():
    gains, lost, spread = [], [], []
    for seed in range(4):
        one = fig1.run(GENERALISATION["quick"], seed)
        gains.append(
            [value(one, "size", "gain", v, seed) for v in ("collecting", "nearby", "future")]
        )
        two = fig2.run(COMPOUNDING["quick"], seed)
        lost.append(value(two, "ends", "decades_error", "motion", seed))
        spread.append(value(two, "ends", "decades_spread", "motion", seed))
    for column in (*np.transpose(gains), lost, spread):
        sample = summarise(column)
        assert sample.mean - sample.half_width > 0
