"""What USB-PO costs: times on clocks that tick as told, counts, and that watching changes nothing."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.tabular_frames import frame_of
from unirl_repro.config import load_config
from unirl_repro.deviations import DEVIATIONS
from unirl_repro.fingerprint import _closure
from unirl_repro.learned import usbpo_cost
from unirl_repro.learned.sizes import COST
from unirl_repro.learned.usbpo_cost import METHODS, REST, STUDY, Stopwatch, Watched
from unirl_repro.loop import Trainer
from unirl_repro.tabular.frame import COLUMNS

ROOT = Path(__file__).parents[2]
CONFIG = load_config(ROOT / "config.yaml")
SMOKE = COST["smoke"]
EVERY = SMOKE.parameters.model_every
RANDOM = SMOKE.parameters.sac.random_steps


class Clock:
    """Stands still until it is told."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now

    def work(self, seconds):
        self.now += seconds


def counts(frame):
    return frame[frame["panel"] == "training"].reset_index(drop=True)


def values(frame, panel, variant, seed=0):
    rows = frame[(frame["panel"] == panel) & (frame["variant"] == variant)]
    return rows[rows["seed"] == seed].set_index("name")["value"]


# Times


def test_what_runs_inside_a_part_is_not_of_it():
    clock = Clock()
    watch = Stopwatch(clock)
    inner = watch.around(clock.work, "inner")

    def middle():
        clock.work(2.0)
        inner(3.0)
        clock.work(5.0)

    with watch.running("outer"):
        clock.work(7.0)
        watch.around(middle, "middle")()
        inner(11.0)
    assert watch.seconds == {"outer": 7.0, "middle": 7.0, "inner": 14.0}


def test_time_outside_of_all_parts_is_of_none():
    clock = Clock()
    watch = Stopwatch(clock)
    for _ in range(2):
        with watch.running("part"):
            clock.work(1.0)
        clock.work(50.0)
    assert watch.seconds == {"part": 2.0}


def test_a_part_that_fails_is_closed():
    watch = Stopwatch(Clock())
    with pytest.raises(ZeroDivisionError):
        watch.around(lambda: 1 / 0, "part")()
    assert watch.open == []


@pytest.mark.parametrize("name", METHODS)
def test_each_part_gets_the_time_of_its_methods(name):
    """The clock ticks in the agent's own methods alone, as often as they work."""
    clock = Clock()
    watched = made(name, clock)
    agent = watched.trainer.agent
    for method, seconds in (("fit", 1.0), ("roll", 10.0), ("update", 100.0), ("tune", 1000.0)):
        slow_down(agent, method, clock, seconds)
    watched.advance(RANDOM + EVERY)
    watched.forget()
    watched.advance(EVERY)
    found = watched.seconds()
    scale = 1000 / EVERY
    fits = watched.counts()["updates"]
    expected = {"training": fits, "rollouts": 10.0, "policy": 100.0 * EVERY, "rest": 0.0}
    tuned = 1000.0 * watched.counts()["tuning_updates"] if name == "usbpo" else 0.0
    expected |= {"model": fits + tuned, "whole": fits + 10.0 + 100.0 * EVERY + tuned}
    expected |= {"tuning": tuned} if name == "usbpo" else {}
    assert found == pytest.approx({part: scale * value for part, value in expected.items()})


def made(name, clock):
    spec = next(spec for spec in usbpo_cost.specs(SMOKE, 0) if spec.algorithm == name)
    return Watched(spec, clock)


def slow_down(agent, what, clock, seconds):
    """Let the clock go on where a method below the watched ones works."""
    place = {
        "fit": (agent.trainer, "update"),
        "roll": (agent, "_imagined"),
        "update": (agent.sac, "update"),
        "tune": (agent, "update_model"),
    }
    owner, method = place[what]
    inner = getattr(owner, method, None)
    if inner is None:
        return

    def slow(*given):
        clock.work(seconds)
        return inner(*given)

    setattr(owner, method, slow)


def test_parts_sum_to_the_whole():
    frame = frame_of(STUDY)
    for variant, methods in METHODS.items():
        for seed in set(frame["seed"]):
            found = values(frame, "seconds", variant, seed)
            assert set(found.index) == {*methods.values(), REST, "model", "whole"}
            parts = found[[*methods.values(), REST]].sum()
            assert parts == pytest.approx(found["whole"], rel=0.02)


# Counts


def test_frames_are_tidy_and_finite():
    frame = frame_of(STUDY)
    assert list(frame.columns) == COLUMNS
    assert np.isfinite(frame["value"]).all()
    assert not frame.duplicated(COLUMNS[:-1]).any()
    measured = values(frame, "measured", "both")
    assert measured.to_dict() == {"before": RANDOM + EVERY, "steps": SMOKE.periods * EVERY}


@pytest.mark.parametrize(("seed", "first", "second"), [(0, "mbpo", "usbpo"), (1, "usbpo", "mbpo")])
def test_each_period_has_a_training_of_each_in_turns(seed, first, second):
    frame = counts(frame_of(STUDY))
    updates = frame[(frame["seed"] == seed) & (frame["name"] == "updates")]
    assert updates["iteration"].tolist() == [0, 0, 1, 1]
    assert updates["variant"].tolist() == [first, second, second, first]
    assert [spec.variant for spec in usbpo_cost.specs(SMOKE, seed)] == [first, second]


def test_a_training_has_so_many_updates_an_epoch():
    rows = counts(frame_of(STUDY)).pivot(
        index=["seed", "variant", "iteration"], columns="name", values="value"
    )
    for (_, variant, period), found in rows.iterrows():
        transitions = RANDOM + (2 + period) * EVERY
        held_out = transitions // 5
        batches = -(-(transitions - held_out) // SMOKE.parameters.model_batch_size)
        assert found["updates"] == batches * found["epochs"]
        assert found["epochs"] > 5
        if variant == "usbpo":
            assert 1 <= found["tuning_updates"] <= SMOKE.parameters.fine_tuning_updates
        else:
            assert np.isnan(found["tuning_updates"])


def test_counts_are_the_same_again():
    again = usbpo_cost.run(SMOKE, 1)
    first = counts(frame_of(STUDY))
    assert counts(again).equals(first[first["seed"] == 1].reset_index(drop=True))


@pytest.mark.parametrize("name", METHODS)
def test_a_watched_run_learns_what_it_learns_alone(name):
    watched = made(name, Clock())
    alone = Trainer(watched.trainer.spec, torch.device("cpu"), lambda rows: None)
    steps = RANDOM + 2 * EVERY
    watched.advance(steps)
    for _ in range(steps):
        alone.advance()
    assert watched.trainer.parameters_sha256() == alone.parameters_sha256()


# Sizes


def test_sizes_of_scale_paper_are_those_of_its_runs():
    sizes = COST["paper"]
    assert sizes.parameters == CONFIG.parameters(sizes.task, "usbpo", "paper")
    of_mbpo = CONFIG.parameters(sizes.task, "mbpo", "paper")
    assert all(getattr(sizes.parameters, name) == value for name, value in vars(of_mbpo).items())


@pytest.mark.parametrize("scale", COST)
def test_updates_are_compiled_as_those_of_runs(scale):
    assert COST[scale].compiled == CONFIG.scales[scale].compiled


@pytest.mark.parametrize("scale", COST)
def test_each_is_first_in_half_of_the_turns(scale):
    assert COST[scale].periods % 2 == 0


@pytest.mark.parametrize("scale", ["quick", "paper"])
def test_a_deviation_states_the_steps(scale):
    p = COST[scale].parameters
    before = p.sac.random_steps + p.model_every
    said = f"{COST[scale].periods * p.model_every:,} steps after {before:,}"
    assert said in DEVIATIONS["D11"].text


def test_what_the_frame_hangs_on_is_found():
    found = _closure((f"unirl_repro.learned.{STUDY}",), Path("unirl_repro"))
    names = ("agents.usbpo", "agents.mbpo", "models.ensemble_training", "envs.gym", "loop")
    assert {f"unirl_repro.{name}" for name in names} <= found
