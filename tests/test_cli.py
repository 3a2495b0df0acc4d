"""The command line: what is printed, where results go, and with which exit code it ends."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from unirl_repro.campaign import archive
from unirl_repro.campaign.places import Places
from unirl_repro.campaign.retry import is_settled
from unirl_repro.cli import STOPPED, app
from unirl_repro.config import RunSpec, load_config
from unirl_repro.console import LINE_EVERY, Console
from unirl_repro.envs.tasks import TASKS
from unirl_repro.files import write_json
from unirl_repro.fingerprint import fingerprint

ROOT = Path(__file__).parents[1]
RUN = ("train", "--task", "cartpole-200", "--variant", "sac", "--seed", "0", "--scale", "smoke")


@pytest.fixture(autouse=True)
def _in_the_checkout(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)


def start(*arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "unirl_repro", *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True)


def call(*arguments: str) -> tuple[int, str, str]:
    process = start(*arguments)
    out, error = process.communicate()
    return process.returncode, out, error


def all_commands() -> list[tuple[str, ...]]:
    commands = get_command(app).commands  # type: ignore[attr-defined]
    found: list[tuple[str, ...]] = []
    for name, command in commands.items():
        nested = getattr(command, "commands", {})
        found += [(name, inner) for inner in nested] or [(name,)]
    return found


@pytest.mark.parametrize("command", all_commands(), ids=" ".join)
def test_each_command_explains_itself_with_an_example(command):
    shown = CliRunner().invoke(app, [*command, "--help"])
    assert shown.exit_code == 0
    assert f"Example: unirl-repro {' '.join(command)}" in " ".join(shown.output.split())


def test_a_run_by_hand_leaves_everything_in_its_folder(tmp_path):
    code, out, _ = call(*RUN, "--out", str(tmp_path / "run"), "--budget", "60")
    assert code == 0
    assert "cartpole-200/sac/seed0: 60 steps done" in out
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {"curve.parquet", "metrics.parquet", "run.json", "checkpoints"}
    manifest = json.loads((tmp_path / "run" / "run.json").read_text())
    assert manifest["budget_reached"] == 60
    assert [segment["threads"] for segment in manifest["segments"]] == [1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_a_signal_stops_a_run_with_a_checkpoint_and_code_75(number, tmp_path):
    process = start(*RUN, "--out", str(tmp_path), "--budget", "1000000")
    wait_for(tmp_path, '"running"', process)
    process.send_signal(number)
    out, error = process.communicate()
    assert process.returncode == STOPPED, error
    assert "start it again to go on" in out
    assert "Traceback" not in error
    assert list(tmp_path.glob("checkpoints/*/step-*.json"))


def wait_for(folder: Path, text: str, process: "subprocess.Popen[str]") -> None:
    """Until the run's status says so."""
    while process.poll() is None:
        if any(text in path.read_text() for path in folder.glob("checkpoints/*/status.json")):
            return
        time.sleep(0.05)
    raise AssertionError(process.communicate()[1])


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (("--task", "cartpole-20"), "task is 'cartpole-20'"),
        (("--variant", "sak"), "variant is 'sak'"),
        (("--scale", "huge"), "scale is 'huge'"),
    ],
)
def test_a_mistake_is_told_in_a_paragraph_before_anything_starts(changed, told, tmp_path):
    result = CliRunner().invoke(app, [*RUN, "--out", str(tmp_path / "run"), *changed])
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")
    assert told in result.stderr
    assert not (tmp_path / "run").exists()


def test_a_job_that_cannot_begin_leaves_word_until_one_does(tmp_path):
    spec = load_config(ROOT / "config.yaml").spec("cartpole-200", "sac", 0, "smoke")
    planned = CliRunner().invoke(app, [*RUN, "--out", str(tmp_path), "--expect-fingerprint", "0"])
    assert planned.exit_code == 1
    assert "expected was 0" in planned.stderr
    word = tmp_path / "checkpoints" / "0" / "refused.json"
    assert "was edited since this job was planned" in json.loads(word.read_text())["reason"]
    assert not settled(spec, tmp_path)

    code, _, error = call(*RUN, "--out", str(tmp_path), "--device", "cuda")
    if "sees no GPU" not in error:
        pytest.skip("there is a GPU: this run began")
    assert code == 1
    assert settled(spec, tmp_path)
    assert call(*RUN, "--out", str(tmp_path))[0] == 0
    assert not (tmp_path / "checkpoints" / fingerprint(spec) / "refused.json").exists()


def settled(spec: RunSpec, folder: Path) -> bool:
    return is_settled(spec, Places(folder.name, root=folder.parent))


def test_a_run_that_was_marked_fatal_leaves_at_once_and_says_what_to_do(tmp_path):
    spec = load_config(ROOT / "config.yaml").spec("cartpole-200", "sac", 0, "smoke")
    folder = tmp_path / "checkpoints" / fingerprint(spec)
    folder.mkdir(parents=True)
    write_json(folder / "status.json", {"state": "fatal", "reason": "no such thing", "step": 3})
    result = CliRunner().invoke(app, [*RUN, "--out", str(tmp_path)])
    assert result.exit_code == 1
    assert "no such thing" in result.stderr
    assert "--retry-fatal" in result.stderr


def test_a_folder_that_cannot_be_written_is_told_without_a_traceback(tmp_path):
    (tmp_path / "file").write_text("")
    code, _, error = call(*RUN, "--out", str(tmp_path / "file"))
    assert code == 1
    assert error.startswith("error: ")
    assert str(tmp_path / "file") in error
    assert "Traceback" not in error


def test_the_table_of_tasks_is_printed_and_as_json_holds_every_task():
    rows = json.loads(CliRunner().invoke(app, ["tasks", "--json"]).stdout)
    assert [row["task"] for row in rows] == list(TASKS)
    assert all(task in CliRunner().invoke(app, ["tasks"]).stdout for task in TASKS)


@pytest.mark.parametrize("as_json", [(), ("--json",)])
def test_an_empty_archive_cannot_be_verified(tmp_path, as_json):
    done = CliRunner().invoke(app, ["archive", "verify", "--archive", str(tmp_path), *as_json])
    assert done.exit_code == 1
    assert f"{tmp_path}: no whole run that was trained on a CPU is recorded there" in done.stderr
    assert done.stdout == ""


def test_verify_says_which_verdicts_it_ends_with_1_for():
    shown = CliRunner().invoke(app, ["archive", "verify", "--help"]).output
    told = "Exit code 1: a run is different or damaged, or there is none to verify."
    assert told in " ".join(shown.split())


@pytest.mark.parametrize(
    ("verdict", "code"),
    [
        ("equal", 0),
        ("other conditions", 0),
        ("not comparable", 0),
        ("different", 1),
        ("damaged", 1),
    ],
)
def test_verify_ends_with_what_its_help_says(tmp_path, monkeypatch, verdict, code):
    finding = archive.Finding(tmp_path, verdict, 1, True, None, "as found")
    monkeypatch.setattr(archive, "verify", lambda folder, episodes: finding)
    monkeypatch.setattr("unirl_repro.cli_campaign.use_one_thread", lambda: None)
    done = CliRunner().invoke(app, ["archive", "verify", str(tmp_path)])
    assert (done.exit_code, done.stdout) == (code, "as found\n")


@pytest.mark.parametrize(("command", "study"), [("figure", "table1"), ("table", "fig2")])
def test_figure_and_table_name_the_studies_that_there_are(command, study):
    for wrong in (f"unified_rl_{study}", "nonsense"):
        done = CliRunner().invoke(app, [command, "--study", wrong, "--scale", "smoke"])
        assert done.exit_code == 1
        assert f"command line: study is '{wrong}'. Allowed: " in done.stderr
        assert " mnm_" in done.stderr
        assert ", unified_rl_" in done.stderr


@pytest.mark.parametrize(
    ("command", "study", "option", "target"),
    [
        ("figure", "unified_rl_fig2", (), "unified_rl_fig2"),
        ("table", "unified_rl_table1", (), "unified_rl_table1"),
        ("figure", "unified_rl_fig2", ("--partial",), "figures_partial"),
        ("table", "unified_rl_table1", ("--partial",), "tables_partial"),
    ],
)
def test_without_a_frame_it_is_told_what_makes_one(
    tmp_path, monkeypatch, command, study, option, target
):
    shutil.copy(ROOT / "config.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, [command, "--study", study, "--scale", "paper", *option])
    assert done.exit_code == 1
    assert f"frames/{study}.parquet is not there yet" in done.stderr
    assert f"snakemake -c2 {target} --config scale=paper" in done.stderr


@pytest.mark.parametrize(
    "command", ["gc --yes", "status", "plan", "pdf", "aggregate --study unified_rl_fig2"]
)
def test_results_of_another_format_are_left_alone(tmp_path, monkeypatch, command):
    shutil.copy(ROOT / "config.yaml", tmp_path)
    folder = tmp_path / "results" / "smoke" / "checkpoints" / ("0" * 24)
    folder.mkdir(parents=True)
    (folder / "step-000000000001.json").write_text("{}")
    write_json(tmp_path / "results" / "format.json", {"format": 99})
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, [*command.split(), "--scale", "smoke"])
    assert done.exit_code == 1
    assert "results/ was written in format 99" in done.stderr
    assert list(folder.iterdir())


def test_gc_judges_by_the_configuration_at_the_time_of_the_answer(tmp_path, monkeypatch):
    """Between the list and the answer a stale run can become one of a study."""
    shutil.copy(ROOT / "config.yaml", tmp_path)
    text = (tmp_path / "config.yaml").read_text()
    more = text.replace("    seeds: 1\n", "    seeds: 2\n")
    (tmp_path / "more.yaml").write_text(more)
    spec = load_config(tmp_path / "more.yaml").spec("hopper-200", "sac_rlpd", 1, "smoke")
    folder = tmp_path / "results" / "smoke" / "checkpoints" / fingerprint(spec)
    folder.mkdir(parents=True)
    (folder / "step-000000000001.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("typer.confirm", lambda question: shutil.move("more.yaml", "config.yaml"))
    done = CliRunner().invoke(app, ["gc", "--scale", "smoke"])
    assert (done.exit_code, list(folder.glob("step-*"))) == (0, [folder / "step-000000000001.json"])
    assert "which it no longer is" in done.stderr
    assert "0 MiB freed" in done.stdout


@pytest.mark.parametrize("mark", ["locks/0.input.lock", "incomplete/cmVzdWx0cy9tYWRl"])
def test_gc_of_finished_runs_is_refused_while_snakemake_may_need_them(tmp_path, monkeypatch, mark):
    shutil.copy(ROOT / "config.yaml", tmp_path)
    (tmp_path / ".snakemake" / mark).parent.mkdir(parents=True)
    (tmp_path / ".snakemake" / mark).touch()
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["gc", "--scale", "smoke", "--finished", "--yes"])
    assert done.exit_code == 1
    assert f"error: .snakemake/{Path(mark).parent}: " in done.stderr
    assert CliRunner().invoke(app, ["gc", "--scale", "smoke", "--yes"]).exit_code == 0


def test_an_empty_archive_lists_nothing_and_takes_no_folder_that_is_no_run(tmp_path):
    folder = ("--archive", str(tmp_path))
    listed = CliRunner().invoke(app, ["archive", "list", "--json", *folder])
    assert json.loads(listed.stdout) == []
    assert CliRunner().invoke(app, ["archive", "add", str(tmp_path), *folder]).exit_code == 1


def test_only_runs_of_scale_paper_are_recorded_by_command(tmp_path):
    assert call(*RUN, "--out", str(tmp_path / "run"), "--budget", "60")[0] == 0
    folder = ("--archive", str(tmp_path / "archive"))
    added = CliRunner().invoke(app, ["archive", "add", str(tmp_path / "run"), *folder])
    assert added.exit_code == 1
    assert "is a run of scale smoke; recorded are runs of scale paper" in added.stderr
    assert not (tmp_path / "archive").exists()


def test_starting_imports_nothing_heavy():
    code = "import sys, unirl_repro.cli; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    loaded = set(done.stdout.split())
    assert not loaded & {"torch", "numpy", "pandas", "mujoco", "gymnasium", "pydantic", "yaml"}


def test_without_a_terminal_progress_is_a_plain_line_now_and_then(capsys):
    with Console("a run", terminal=False) as console:
        for step in range(LINE_EVERY + 1):
            console.report(step, 60, 1.5 if step else None, 2.0)
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "a run: step 0 of 60 (no episode yet, 2 steps/s, 0:30 left)",
        f"a run: step {LINE_EVERY} of 60 (return 1.50, 2 steps/s, 0:22 left)",
    ]


def test_on_a_terminal_progress_is_a_bar_with_return_speed_and_time_left(capsys):
    with Console("a run", terminal=True) as console:
        console.report(20, 60, 1.5, 2.0)
    shown = re.sub(r"\s+", " ", capsys.readouterr().out)
    assert "20/60" in shown
    assert "return 1.50, 2 steps/s, 0:20 left" in shown
