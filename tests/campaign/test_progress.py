"""Status: each kind of run is told apart, figures are right by hand, and damage breaks nothing."""

import json
import os
import signal
import socket
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from tests.engine import Attempt, saved_steps
from unirl_repro.campaign import plan, slurm, state, traces
from unirl_repro.campaign import progress as module
from unirl_repro.campaign.places import Places
from unirl_repro.campaign.progress import KINDS, Kind, Progress, RunProgress, progress
from unirl_repro.campaign.site import GPU, Site
from unirl_repro.config import RunSpec, parse_config
from unirl_repro.fingerprint import fingerprint, spec_hash
from unirl_repro.registry import ALGORITHMS
from unirl_repro.run import Options, train
from unirl_repro.yamlfile import read_yaml

ROOT = Path(__file__).parents[2]
HOST = socket.gethostname()


def config_of(seeds: int = 2):
    values = read_yaml(ROOT / "config.yaml")
    values["scales"]["smoke"]["seeds"] = seeds
    kept = ("unified_rl_fig2", "unified_rl_table1")
    whole = {name: values["studies"][name] | {"variants": ["sac_rlpd"]} for name in kept}
    values["studies"] = whole
    quick = values["scales"]["quick"]
    quick["studies"] = {name: quick["studies"][name] for name in kept}
    return parse_config(values)


CONFIG = config_of()
SPECS = list(CONFIG.runs("smoke").values())
SPEC = CONFIG.spec("hopper-200", "sac_rlpd", 0, "smoke")  # of 600 steps
NAME = "hopper-200/sac_rlpd/seed0"


@pytest.fixture
def places(tmp_path):
    return Places("smoke", root=tmp_path)


def folder(places, spec: RunSpec = SPEC) -> Path:
    found = places.checkpoints / fingerprint(spec)
    found.mkdir(parents=True, exist_ok=True)
    return found


def put(path: Path, content: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def put_status(places, state: str, spec: RunSpec = SPEC, **details) -> None:
    put(folder(places, spec) / "status.json", {"state": state, **details})


def put_manifest(places, spec: RunSpec = SPEC, **details) -> None:
    record: dict = {"fingerprint": fingerprint(spec), "spec_hash": spec_hash(spec)}
    record |= {"budget_reached": spec.budget, "segments": []}
    put(places.run(spec.key) / "run.json", record | details)


def put_rows(places, rows: list[dict], end: str = "", spec: RunSpec = SPEC) -> None:
    text = "".join(json.dumps(row) + "\n" for row in rows) + end
    (folder(places, spec) / "progress.jsonl").write_text(text)


def episode(step: int, total: float) -> dict:
    return {"kind": "train", "env_step": step, "return": total}


def rows_of(episodes: int) -> list[dict]:
    """As long as a real run writes them, with five metrics an episode."""
    one = {"task": "hopper-200", "variant": "sac_rlpd", "algorithm": "sac", "seed": 0}
    one |= {"kind": "train", "return": 100 / 3, "length": 200, "policy": "sac"}
    metric = {"name": "entropy_coefficient", "value": 1 / 3}
    steps = [200 * (n + 1) for n in range(episodes)]
    return [row | {"env_step": n} for n in steps for row in (one, *[metric] * 5)]


def look(places, run: str = NAME) -> RunProgress:
    return next(found for found in progress(CONFIG, places, Site()).runs if found.name == run)


# Kinds


def test_nothing_begun(places):
    found = progress(CONFIG, places, Site())
    assert {run.kind for run in found.runs} == {"not begun"}
    assert found.text().startswith("Scale smoke: 12 runs: 12 not begun; 0 of 4,440 steps.")
    assert NAME not in found.text()
    assert NAME in found.text(all=True)


@pytest.mark.parametrize(
    ("status", "kind", "why"),
    [
        ({"state": "stopped", "reason": "SIGUSR1", "step": 200}, "stopped", "by SIGUSR1"),
        ({"state": "failed", "reason": "OSError: full", "step": 3}, "failed", "OSError: full"),
        ({"state": "fatal", "reason": "E: x", "step": 3}, "fatal", "E: x"),
        ({"state": "finished", "step": 600}, "stopped", "its results are gone"),
        ({"state": "running", "holder": "somebody"}, "running", "somebody"),
        ({"state": "running", "holder": "process 1 on elsewhere"}, "running", "elsewhere"),
        ({"state": "failed"}, "failed", "no reason given"),
        ({}, "not begun", ""),
    ],
)
def test_the_last_attempts_word_decides(places, status, kind, why):
    put(folder(places) / "status.json", status)
    found = look(places)
    assert found.kind == kind
    assert why in found.why


def test_results_decide_first_then_the_attempt_then_their_age(places):
    put_manifest(places)
    put_status(places, "running", holder="somebody")
    assert look(places).kind == "finished"
    put_manifest(places, budget_reached=500)
    assert look(places).kind == "running"
    put_status(places, "finished")
    found = look(places)
    assert (found.kind, found.why, found.step) == ("stale", "it stands at 500 of 600 steps", 500)
    put_manifest(places, fingerprint="other", spec_hash="other")
    found = look(places)
    assert (found.kind, found.step) == ("stale", 0)
    assert "its settings changed" in found.why


@pytest.mark.parametrize(("age", "asked"), [(0, False), (3600, True)])
def test_a_trainer_that_cannot_be_seen_counts_as_running_but_its_silence_is_told(
    places, age, asked
):
    put_status(places, "running", holder="process 1 on elsewhere")
    put_rows(places, [episode(200, 1.0)])
    then = time.time() - age
    os.utime(folder(places) / "progress.jsonl", (then, then))
    found = look(places)
    assert found.kind == "running"
    assert ("no row for 1.0 h: is process 1 on elsewhere alive?" in found.why) == asked
    assert found.age_seconds == pytest.approx(age, abs=60)


def test_a_holder_on_this_machine_is_gone_if_the_kernel_has_no_lock_of_it(places, monkeypatch):
    put_status(places, "running", holder=f"process 77 on {HOST}")
    (folder(places) / "lock").touch()
    inode = (folder(places) / "lock").stat().st_ino
    locks = folder(places) / "locks"
    monkeypatch.setattr(module, "LOCKS", locks)
    for text, kind in [
        (f"1: FLOCK  ADVISORY  WRITE 5 08:01:{inode} 0 EOF", "running"),
        ("1: FLOCK  ADVISORY  WRITE 77 08:01:3 0 EOF", "running"),
        (f"1: POSIX  ADVISORY  WRITE 5 08:01:{inode} 0 EOF", "killed"),
        (f"1: FLOCK  ADVISORY  WRITE 5 08:01:{inode}1 0 EOF", "killed"),
        ("", "killed"),
    ]:
        locks.write_text(text)
        assert look(places).kind == kind, text
    locks.unlink()
    assert look(places).kind == "running"  # nobody can tell


def test_slurm_is_asked_once_for_all_jobs(places, monkeypatch):
    asked = []

    def ask(*command):
        asked.append(command)
        return "5|RUNNING\n7|PENDING\n8|PENDING\n"

    monkeypatch.setattr(slurm, "ask", ask)
    for spec, job in zip(SPECS, (5, 6, 7), strict=False):
        put_status(places, "running", spec, holder=f"process 1 on node (SLURM job {job})")
    put_status(places, "stopped", SPECS[3], reason="SIGTERM", segment={"job": "8"})
    found = {run.name: run for run in progress(CONFIG, places, Site()).runs}
    kinds = [found[state.name(spec)].kind for spec in SPECS[:4]]
    assert kinds == ["running", "killed", "killed", "stopped"]
    assert found[state.name(SPECS[2])].why.endswith("is gone; its SLURM job 7 is PENDING")
    assert found[state.name(SPECS[3])].why == "by SIGTERM; its SLURM job 8 is PENDING"
    (command,) = asked
    assert "--jobs=5,6,7,8" in command


@pytest.mark.parametrize(
    ("said", "kind"),
    [("squeue says: Invalid job id specified", "killed"), ("squeue did not answer", "running")],
)
def test_without_an_answer_of_slurm_nothing_is_called_dead(places, monkeypatch, said, kind):
    def ask(*command):
        raise slurm.SlurmError(said)

    monkeypatch.setattr(slurm, "ask", ask)
    put_status(places, "running", holder="process 1 on node (SLURM job 5)")
    assert look(places).kind == kind


def test_no_job_no_question(places, monkeypatch):
    monkeypatch.setattr(slurm, "ask", None)
    put_status(places, "running", holder="process 1 on node")
    put_manifest(places, SPECS[0])
    put_status(places, "finished", SPECS[0], segment={"job": "5"})
    progress(CONFIG, places, Site())


def test_steps_of_a_raised_budget_count_if_a_checkpoint_has_them(places):
    put_manifest(places, budget_reached=500)
    put_status(places, "finished")
    assert "0 of 4,440 steps" in progress(CONFIG, places, Site()).text()  # it would begin anew
    put(folder(places) / "step-000000000500.json", {})
    assert look(places).kind == "stale"
    assert "500 of 4,440 steps" in progress(CONFIG, places, Site()).text()


def test_runs_that_learn_a_model_are_planned_for_the_sites_gpus(places, monkeypatch):
    monkeypatch.setitem(ALGORITHMS, "sac", replace(ALGORITHMS["sac"], learns_model=True))
    devices = [
        {run.device for run in progress(CONFIG, places, site).runs if run.algorithm == "sac"}
        for site in (Site(), Site(gpu=GPU()))
    ]
    assert devices == [{"cpu"}, {"cuda"}]


# Real runs


def test_a_real_trainer_is_seen_running_then_stopped_then_killed(places):
    spec = replace(SPEC, budget=10**6)
    attempt = Attempt(spec, places.home, checkpoint_every=0.1)
    assert attempt.until(lambda: attempt.steps > 700 and bool(saved_steps(attempt.checkpoints)))
    found = look(places)
    assert found.kind == "running", found.why
    assert f"process {attempt.process.pid} on {HOST}" in found.why
    assert found.step >= 600
    assert found.last_return is not None
    assert found.steps_per_second is not None
    attempt.signal(signal.SIGTERM)
    attempt.wait()
    found = look(places)
    assert (found.kind, found.why, found.ends) == ("stopped", "by SIGTERM", {"SIGTERM": 1})
    assert found.steps_done == saved_steps(attempt.checkpoints)[-1]
    assert found.steps_repeated == 0

    attempt = Attempt(spec, places.home, checkpoint_every=1000)
    assert attempt.until(lambda: attempt.steps > 500)
    attempt.signal(signal.SIGKILL)
    attempt.wait()
    killed = look(places)
    assert killed.kind == "killed"
    assert killed.ends == {"SIGTERM": 1, "killed": 1}
    assert killed.steps_done == found.steps_done
    assert killed.steps_repeated >= 400
    assert killed.hours > found.hours


def test_a_real_finished_run_reconciles(places):
    manifest = train(SPEC, places.checkpoints, places.run(SPEC.key), Options())
    found = look(places)
    (segment,) = manifest["segments"]
    assert (found.kind, found.step, found.steps_done) == ("finished", 600, 600)
    assert found.hours == pytest.approx(segment["seconds"] / 3600)
    assert found.steps_per_second == pytest.approx(manifest["steps_per_second"])
    assert found.peak_memory_mb == pytest.approx(segment["peak_memory_mb"])
    assert found.memory_mb == plan.memory_mb(SPEC)
    assert found.ends == {"finished": 1}


# Figures


def test_lost_steps_count_in_what_a_run_took(places):
    segments: list[dict] = [
        {"start_step": 0, "stop_step": 200, "reached_step": 350, "seconds": 20.0},
        {"start_step": 200, "stop_step": 600, "reached_step": 600, "seconds": 40.0},
    ]
    segments[0] |= {"reason": "killed", "peak_memory_mb": 300.0, "device": "cpu"}
    segments[1] |= {"reason": "finished", "peak_memory_mb": 200.0, "device": "cpu"}
    segments[1] |= {"memory_limit_mb": 900}
    put_manifest(places, segments=segments)
    found = look(places)
    assert found.steps_per_second == pytest.approx(10.0)  # 600 steps in 60 s
    assert found.steps_repeated == 150
    assert found.hours == pytest.approx(75 / 3600)  # and 15 s for the lost ones
    assert (found.peak_memory_mb, found.memory_mb) == (300.0, 900)
    assert found.ends == {"killed": 1, "finished": 1}
    planned = plan.steps_per_second(SPEC)
    assert found.planned_hours == pytest.approx(600 / planned / 3600)
    told = progress(CONFIG, places, Site()).text()
    row = next(line for line in told.splitlines() if line.startswith("sac "))
    figures = ["sac", "hopper-200", "cpu", "1", "600", "20%", "0.00", "0.02"]
    assert row.split() == [*figures, f"{planned:.0f}", "10", "300", "900"]
    assert "Attempts by how they ended: 1 killed, 1 finished." in told


def test_attempts_since_the_results_count_with_their_last_checkpoint(places):
    first = {"started": "1", "start_step": 0, "stop_step": 500, "seconds": 50.0}
    second = {"started": "2", "start_step": 500, "device": "cpu"}
    put_manifest(places, budget_reached=500, segments=[first])
    put_status(places, "running", holder="somebody", segment=second, earlier=[first])
    assert look(places).hours == pytest.approx(50 / 3600)
    assert look(places).ends == {"killed": 1, "running": 1}
    saved = {"segments": [first, second | {"stop_step": 550, "seconds": 5.0, "reason": "running"}]}
    put(folder(places) / "step-000000000550.json", {"manifest": saved})
    assert look(places).hours == pytest.approx(55 / 3600)
    assert look(places).steps_done == 550


def test_of_a_running_run_the_last_values_of_its_curve_show(places):
    started = time.time() - 100
    text = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(started))
    segment = {"started": text, "start_step": 100, "device": "cpu"}
    put_status(places, "running", holder="somebody", segment=segment, earlier=[])
    rows = [episode(10 * n, float(n)) for n in range(20, 41)]
    rows.append({"env_step": 400, "name": "q", "value": 1.0})
    rows.append({"kind": "eval", "env_step": 400, "return": 99.0})
    put_rows(places, rows, end='{"kind": "train", "env_step": 599, "ret')
    found = look(places)
    assert found.step == 400
    assert found.last_return == 40.0
    assert found.mean_return == pytest.approx(35.5)  # of 31 to 40
    assert found.steps_per_second == pytest.approx(3.0, rel=0.1)  # 300 in 100 s
    assert found.seconds_left == pytest.approx(200 / 3, rel=0.1)
    assert found.ends == {"running": 1}
    assert found.steps_repeated == 0


def test_only_the_end_of_a_long_curve_is_read(places):
    """Holes of 100 GB cost nothing to make, but would take minutes to read."""
    path = folder(places) / "progress.jsonl"
    path.touch()
    os.truncate(path, 100 * 2**30)
    with path.open("a") as file:
        file.write("\n" + json.dumps(episode(7, 1.0)) + "\n")
    assert traces.last_rows(path) == [episode(7, 1.0)]


def test_the_end_that_is_read_holds_ten_episodes_with_their_metrics(places):
    put_rows(places, rows_of(100))
    rows = traces.last_rows(folder(places) / "progress.jsonl")
    assert module.LAST <= sum(row.get("kind") == "train" for row in rows) < 100
    assert rows[-1] == rows_of(100)[-1]


# Damage


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\x00", b"[]", b"3"])
@pytest.mark.parametrize("file", ["run.json", "status.json", "step-000000000200.json"])
def test_damaged_files_are_named_and_break_nothing(places, file, content):
    put_rows(places, [episode(100, 1.0)])
    path = places.run(SPEC.key) / file if file == "run.json" else folder(places) / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    found = progress(CONFIG, places, Site())
    assert [str(path) in problem for problem in found.problems] == [True]
    assert str(path) in found.text()
    kinds = {"run.json": "stale", "status.json": "not begun", "step-000000000200.json": "stopped"}
    assert look(places).kind == kinds[file]


@pytest.mark.parametrize(
    "segment", [{}, {"seconds": "many", "stop_step": None, "started": 3}, "no segment"]
)
def test_manifests_of_other_versions_break_nothing(places, segment):
    put_manifest(places, segments=[segment])
    assert look(places).kind == "finished"
    put_manifest(places, budget_reached=1)
    for word in ("running", "stopped", "failed", "fatal", "finished"):
        put_status(places, word, segment=segment, earlier=[segment, 3])
        look(places)
    put_status(places, "running", segment=segment, earlier="none", holder=3)
    assert progress(CONFIG, places, Site()).text()


def test_garbage_in_a_curve_counts_for_nothing(places):
    lines = b'\xff\n{"kind": "train"}\n[1]\n' + json.dumps(episode(9, 2.0)).encode() + b"\n"
    (folder(places) / "progress.jsonl").write_bytes(lines)
    found = look(places)
    assert (found.step, found.last_return) == (9, 2.0)


# Text


def of_kinds(*kinds: Kind) -> Progress:
    one = progress(CONFIG, Places("smoke", root=Path("/nowhere")), Site()).runs[0]
    runs = [replace(one, name=f"t-1/v/seed{i}", kind=kind) for i, kind in enumerate(kinds)]
    return Progress("paper", tuple(runs), ())


def test_the_text_ends_with_what_to_type():
    told = of_kinds(*KINDS).text()
    fatal = KINDS.index("fatal")
    assert f"unirl-repro train --task t-1 --variant v --seed {fatal} --scale paper" in told
    assert "results/paper/runs/<task>/<variant>/seed<k>/log.txt" in told
    assert "snakemake --profile slurm" in told
    assert told.endswith("snakemake -c2 paper_partial --config scale=paper")
    done = of_kinds("finished").text()
    assert done.endswith("snakemake -c2 --config scale=paper")
    assert "fatal" not in done
    assert "--profile" not in of_kinds("finished", "running").text()


def test_long_lists_are_cut_unless_all_are_asked_for():
    kinds: list[Kind] = [*["stale"] * 50, *["finished"] * 5]  # type: ignore[list-item]
    found = of_kinds(*kinds)
    assert found.text().count("t-1/v/") == module.LISTED
    assert "and 10 more that are stale: --all" in found.text()
    assert found.text(all=True).count("t-1/v/") == 55


def test_it_is_json(places):
    put_status(places, "running", holder="somebody")
    assert len(json.loads(json.dumps(asdict(progress(CONFIG, places, Site()))))["runs"]) == 12
