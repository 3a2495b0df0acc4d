"""The forecast, against cases small enough to reckon by hand, and against real checkpoints."""

import io
import json
import re
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from unirl_repro import checkpoint
from unirl_repro.agents.mbpo import MBPO
from unirl_repro.campaign import forecast as module
from unirl_repro.campaign import plan, sizes
from unirl_repro.campaign.forecast import Forecast, Row, forecast
from unirl_repro.campaign.places import Places
from unirl_repro.campaign.plan import Speed
from unirl_repro.campaign.site import GPU, Site
from unirl_repro.checkpoint import Checkpoint, Store
from unirl_repro.config import parse_config
from unirl_repro.fingerprint import fingerprint, spec_hash
from unirl_repro.loop import Trainer
from unirl_repro.registry import ALGORITHMS
from unirl_repro.replay import Replay
from unirl_repro.yamlfile import read_yaml

ROOT = Path(__file__).parents[2]
HOPPER, CARTPOLE = "hopper-200", "cartpole-200"


def config_of(seeds: int = 3):
    """Two tasks; hopper for an hour a run at 100 steps/s, cartpole for half an hour."""
    values = read_yaml(ROOT / "config.yaml")
    steps = {HOPPER: 360_000, CARTPOLE: 180_000}
    values["budgets"]["unified_rl"] = {
        task: {"steps": n, "status": "provisional", "source": "a test"} for task, n in steps.items()
    }
    kept = ("unified_rl_fig2", "unified_rl_table1")
    cells = {"tasks": list(steps), "variants": ["sac_rlpd"], "seeds": seeds}
    values["studies"] = {name: values["studies"][name] | cells for name in kept}
    quick = values["scales"]["quick"]
    quick["studies"] = {name: quick["studies"][name] for name in kept}
    return parse_config(values)


CONFIG = config_of()


@pytest.fixture(autouse=True)
def _speeds(monkeypatch):
    speeds = {
        ("sac", HOPPER, "cpu"): Speed(100.0, "measured", "eager updates; one thread"),
        ("other", CARTPOLE, "cpu"): Speed(7.0, "measured", "a GPU's whole power"),
    }
    monkeypatch.setattr(plan, "read_speeds", lambda table: speeds)


@pytest.fixture
def places(tmp_path):
    return Places("paper", root=tmp_path)


def of(found: Forecast, task: str) -> Row:
    (row,) = [row for row in found.rows if row.task == task]
    return row


def finish(spec, places):
    """As a finished run leaves it, as far as its state is concerned."""
    places.run(spec.key).mkdir(parents=True)
    identity = {"fingerprint": fingerprint(spec), "spec_hash": spec_hash(spec)}
    record = identity | {"budget_reached": spec.budget}
    (places.run(spec.key) / "run.json").write_text(json.dumps(record))


def save(spec, places, step, size):
    """A checkpoint at some step, of some size."""
    folder = places.checkpoints / fingerprint(spec)
    folder.mkdir(parents=True)
    (folder / f"step-{step:012d}.json").write_text("{}")
    (folder / f"step-{step:012d}.pt").write_bytes(b"x" * size)


def test_hours_and_wall_time_of_a_fresh_start(places):
    found = forecast(CONFIG, "paper", Site(), jobs=2, places=places)
    assert (of(found, HOPPER).runs, of(found, HOPPER).steps_left) == (3, 1_080_000)
    assert of(found, HOPPER).core_hours == pytest.approx(3.0)
    assert of(found, CARTPOLE).core_hours == pytest.approx(1.5)
    assert found.totals.core_hours == found.totals.all_core_hours == pytest.approx(4.5)
    # Two at a time: 1 + 1, then 1 beside 0.5 + 0.5, then the last 0.5.
    assert found.totals.wall_hours == pytest.approx(2.5)
    assert found.totals.longest_run_hours == pytest.approx(1.0)
    assert found.totals.gpu_hours == 0
    wide = forecast(CONFIG, "paper", Site(), jobs=100, places=places)
    assert wide.totals.wall_hours == pytest.approx(1.0)


def test_what_is_finished_or_saved_counts_no_more(places):
    specs = [CONFIG.spec(HOPPER, "sac_rlpd", seed, "paper") for seed in range(3)]
    finish(specs[0], places)
    save(specs[1], places, step=270_000, size=1000)
    found = forecast(CONFIG, "paper", Site(), places=places)
    row = of(found, HOPPER)
    assert (row.finished, row.steps, row.steps_left) == (1, 1_080_000, 450_000)
    assert row.core_hours == pytest.approx(1.25)
    assert row.all_core_hours == pytest.approx(3.0)
    assert row.jobs == 2
    assert "6 runs, 1 of them finished" in found.text()


def test_a_run_with_all_steps_and_no_results_takes_one_more_job(places):
    spec = CONFIG.spec(HOPPER, "sac_rlpd", 0, "paper")
    save(spec, places, step=spec.budget, size=10)
    row = of(forecast(CONFIG, "paper", Site(), places=places), HOPPER)
    assert (row.steps_left, row.jobs) == (2 * spec.budget, 3)


def test_long_runs_take_several_jobs(places):
    # 21 minutes less the 90 seconds for saving are 1,170 s: an hour takes four, half an hour two.
    found = forecast(CONFIG, "paper", Site(longest_job=21), places=places)
    assert (of(found, HOPPER).jobs, of(found, CARTPOLE).jobs) == (12, 6)
    assert found.totals.jobs == 18
    rule = (ROOT / "workflow/rules/train.smk").read_text()
    assert f"* 60 - {module.STOP_SECONDS}" in rule


def test_where_a_speed_comes_from_is_told(places, monkeypatch):
    found = forecast(CONFIG, "paper", Site(), places=places)
    assert (of(found, HOPPER).speed, of(found, CARTPOLE).speed) == ("measured", "borrowed")
    assert of(found, CARTPOLE).steps_per_second == 100
    assert "slowest on other tasks" in found.text()
    assert "Speeds were measured with eager updates; one thread. Compiled runs" in found.text()
    assert "whole power" not in found.text()
    monkeypatch.setattr(plan, "read_speeds", lambda table: {})
    guessed = forecast(CONFIG, "paper", Site(), places=places)
    assert {row.speed for row in guessed.rows} == {"guess"}
    assert "guess is 5 steps/s" in guessed.text()
    assert "Speeds were measured" not in guessed.text()


def test_runs_that_learn_models_share_gpus_where_there_are_some(places, monkeypatch):
    monkeypatch.setitem(ALGORITHMS, "sac", replace(ALGORITHMS["sac"], learns_model=True))
    site = Site(gpu=GPU(runs_per_gpu=2))
    found = forecast(CONFIG, "paper", site, jobs=100, gpus=1, places=places)
    row = of(found, HOPPER)  # nothing was measured on a GPU: 5 steps/s, 20 hours a run
    assert (row.device, row.speed) == ("cuda", "guess")
    assert row.core_hours == pytest.approx(60)
    assert row.gpu_hours == pytest.approx(30)
    assert row.jobs == 2  # three runs, two of them in one job; each within a day
    alone = of(forecast(CONFIG, "paper", Site(), places=places), HOPPER)
    assert row.memory_mb == 2 * alone.memory_mb
    # Two slots: 20 + 20 beside 20 + 10 + 10, then another 10.
    assert found.totals.wall_hours == pytest.approx(50)
    assert "1 GPUs at a time" in found.text()
    on_cpus = forecast(CONFIG, "paper", Site(), places=places)
    assert {row.device for row in on_cpus.rows} == {"cpu"}


def test_disk_is_the_replay_the_states_and_the_rows(places):
    found = forecast(CONFIG, "paper", Site(), places=places)
    spec = CONFIG.spec(HOPPER, "sac_rlpd", 0, "paper")
    episodes = 1800 + 72 * 5  # of 200 steps; five evaluations every 5,000
    state = sizes.state_bytes(spec)
    replay = 360_000 * 4 * (11 + 3 + 1 + 11 + 1)
    row = of(found, HOPPER)
    assert row.checkpoint_bytes == 3 * (replay + 2 * state + 540 * episodes)
    assert row.results_bytes == 3 * (50 * episodes + 4096)
    assert row.spare_bytes == 3 * state
    save(spec, places, step=1, size=12_345)
    measured = of(forecast(CONFIG, "paper", Site(), places=places), HOPPER)
    assert measured.spare_bytes == 2 * state + 12_345


def test_the_replays_size_is_that_of_its_files(tmp_path):
    spec = replace(CONFIG.spec(HOPPER, "sac_rlpd", 0, "paper"), budget=20_000)
    store, replay = Store(tmp_path), Replay(spec.budget, 11, 3)
    replay.added = spec.budget
    store.lock("a test")
    store.save(Checkpoint(1, {}, {}), replay)
    store.close()
    size = sum(path.stat().st_size for path in tmp_path.glob("replay-*"))
    assert size == pytest.approx(sizes.replay_bytes(spec), rel=0.01)
    ring = replace(spec, parameters=replace(spec.parameters, replay_capacity=5000))
    assert sizes.replay_bytes(ring) == sizes.replay_bytes(spec) / 4


@pytest.mark.parametrize("variant", sorted(CONFIG.variants))
def test_the_states_size_is_that_of_a_real_one(variant):
    spec = replace(CONFIG.spec(HOPPER, variant, 0, "paper"), compiled=False, budget=200)
    buffer = io.BytesIO()
    torch.save(Trainer(spec, torch.device("cpu"), lambda rows: None).state(), buffer)
    assert len(buffer.getvalue()) == pytest.approx(sizes.state_bytes(spec), rel=0.05, abs=20_000)
    assert module.KEPT_STATES == checkpoint.KEPT


@pytest.mark.parametrize("variant", ["mbpo", "pdml"])
def test_what_model_data_came_from_is_counted(variant):
    spec = replace(CONFIG.spec(HOPPER, variant, 0, "smoke"), compiled=False)
    trainer = Trainer(spec, torch.device("cpu"), lambda rows: None)
    while trainer.env_step < spec.budget:
        trainer.advance()
    buffer = io.BytesIO()
    torch.save(trainer.state(), buffer)
    assert isinstance(trainer.agent, MBPO)
    assert len(trainer.agent.rollouts) > 1
    assert len(buffer.getvalue()) == pytest.approx(sizes.state_bytes(spec), rel=0.05, abs=50_000)


def test_the_table_adds_up_and_is_plain_text(places):
    found = forecast(CONFIG, "paper", Site(), places=places)
    lines = found.text().splitlines()
    assert lines[2].split()[:5] == ["document", "algorithm", "task", "device", "runs"]
    total = next(line for line in lines if line.startswith("total"))
    assert re.findall(r"[\d,.]+", total)[:5] == ["6", "0", "1,620,000", "4.50", "0.00"]
    assert len({len(line) for line in lines[2:6]}) == 1
    assert json.loads(json.dumps(asdict(found)))["totals"]["runs"] == 6


def test_all_finished(places):
    for spec in CONFIG.runs("paper").values():
        finish(spec, places)
    found = forecast(CONFIG, "paper", Site(), places=places)
    assert found.text().startswith("Scale paper: all 6 runs are finished.")
    assert (found.totals.jobs, found.totals.wall_hours, found.totals.core_hours) == (0, 0, 0)
    assert found.totals.all_core_hours == pytest.approx(4.5)


def test_a_run_that_several_studies_use_counts_once(places):
    assert len(CONFIG.studies) > 1
    assert forecast(CONFIG, "paper", Site(), places=places).totals.runs == 6


def test_the_examples_hold():
    import doctest

    from unirl_repro.campaign import columns

    for shown in (module, columns):
        result = doctest.testmod(shown)
        assert result.attempted > 1
        assert result.failed == 0
