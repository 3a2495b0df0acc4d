"""Time and memory of runs, and the subset that kicks the tyres."""

from dataclasses import replace

import pytest

from tests.workflow.checkout import ROOT
from unirl_repro.campaign import plan
from unirl_repro.config import load_config
from unirl_repro.envs.tasks import TASKS
from unirl_repro.hyperparameters import MBPOParameters
from unirl_repro.registry import ALGORITHMS

CONFIG = load_config(ROOT / "config.yaml")
SPEC = CONFIG.spec("hopper-200", "sac_rlpd", 0, "paper")


def test_smoke_has_each_task_once_and_each_algorithm():
    runs = plan.smoke_runs(CONFIG)
    assert sorted({run.task.id for run in runs}) == sorted(TASKS)
    assert {run.algorithm for run in runs} == set(ALGORITHMS)
    assert len(runs) == len({run.key for run in runs}) <= len(TASKS) + len(ALGORITHMS)


def test_smoke_prefers_runs_that_a_study_shows():
    studied = {(task, variant) for task, variant, _ in CONFIG.runs("smoke")}
    shown = {run.task.id for run in plan.smoke_runs(CONFIG) if run.key[:2] in studied}
    assert shown == {task for task, _ in studied}


def test_a_longer_run_gets_more_time_up_to_the_longest_job():
    runs = [replace(SPEC, budget=budget) for budget in (1, 10**5, 10**6, 10**9)]
    limits = [plan.minutes(run) for run in runs]
    assert limits == sorted(limits)
    assert limits[0] == plan.START_MINUTES + 1
    assert limits[0] < limits[1]
    assert limits[-1] == 24 * 60
    assert plan.minutes(runs[-1], longest=90) == 90


def test_memory_grows_with_the_replay_until_it_is_full():
    capacity = SPEC.parameters.replay_capacity
    need = [plan.memory_mb(replace(SPEC, budget=b)) for b in (1, capacity, 10 * capacity)]
    row = 4 * (2 * 11 + 3 + 2)  # float32: two observations, an action, reward, terminated
    assert need[0] == plan.BASE_MB + 1
    assert need[1] == pytest.approx(plan.BASE_MB + 2 * row * capacity / 2**20, abs=1)
    assert need[2] == need[1]


def test_memory_holds_model_data_and_a_rollout_that_is_being_joined():
    spec = CONFIG.spec("hopper-1000", "mbpo", 0, "paper")
    assert isinstance(spec.parameters, MBPOParameters)
    short = replace(spec, parameters=replace(spec.parameters, rollout_schedule=(20, 150, 1, 1)))
    steps = (15 - 1) * 100_000 * (4 + 2)  # four rollouts an epoch, and one twice
    row = 4 * (2 * 11 + 3 + 2)
    more = plan.memory_mb(spec) - plan.memory_mb(short)
    assert more == pytest.approx(steps * row / 2**20, abs=2)


def test_speed_of_many_updates_a_step_is_that_of_one_divided(tmp_path):
    table = tmp_path / "speeds.csv"
    table.write_text(
        "algorithm,task,device,steps_per_second,source\nmbpo,hopper-1000,cpu,60,here\n"
    )
    hopper = CONFIG.spec("hopper-1000", "mbpo", 0, "paper")
    assert plan.steps_per_second(hopper, table=table) == 60 / 20  # updates of the SAC inside


def test_speed_is_the_measured_one_else_the_slowest_of_its_algorithm(tmp_path):
    table = tmp_path / "speeds.csv"
    table.write_text(
        "algorithm,task,device,steps_per_second,source\n"
        "sac,hopper-200,cpu,50,here\nsac,ant-100,cpu,40,here\nsac,ant-100,cuda,900,here\n"
    )
    walker = CONFIG.spec("walker2d-100", "sac_rlpd", 0, "paper")
    assert plan.steps_per_second(SPEC, table=table) == 50
    assert plan.steps_per_second(walker, table=table) == 40
    assert plan.steps_per_second(walker, "cuda", table=table) == 900
    assert plan.steps_per_second(replace(SPEC, algorithm="other"), table=table) == plan.SLOWEST


def test_every_algorithm_has_a_measured_speed():
    measured = {line.split(",")[0] for line in plan.SPEEDS.read_text().splitlines()[1:]}
    assert set(ALGORITHMS) <= measured
