"""The modules that a run really imports lie inside the closure that its fingerprint hashes."""

import json
import subprocess
import sys

import pytest

from tests.workflow.checkout import ROOT
from unirl_repro.config import load_config
from unirl_repro.envs.tasks import TASKS
from unirl_repro.fingerprint import ENGINE, SHARED_PAGES, closure

SUITES = {task.suite: task.id for task in TASKS.values()}
# How a run is started and shown; what it computes does not depend on them.
AROUND = ("unirl_repro.cli", "unirl_repro.console", "unirl_repro.campaign")
# One process imports what is not ours and then forks, so that each run starts with none of ours.
TRAIN = """
import json, os, sys
import gymnasium, mujoco, numpy, pandas, torch, typer, pydantic
torch.set_num_threads(1)
folder, tasks = sys.argv[1], sys.argv[2:]
for task in tasks:
    if os.fork() == 0:
        from unirl_repro.cli import app
        named = dict(task=task, variant="sac_rlpd", seed=0, scale="smoke", out=f"{folder}/{task}")
        options = [part for name, value in named.items() for part in (f"--{name}", str(value))]
        app(["train", *options, "--budget", "60"], standalone_mode=False)
        ours = [name for name in sys.modules if name.split(".")[0] == "unirl_repro"]
        with open(f"{folder}/{task}.json", "w") as file:
            json.dump(ours, file)
        sys.exit()
    assert os.wait()[1] == 0
"""


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """The modules of this project that a run of each suite has imported at its end."""
    folder = tmp_path_factory.mktemp("runs")
    command = [sys.executable, "-c", TRAIN, str(folder), *SUITES.values()]
    subprocess.run(command, cwd=ROOT, check=True)
    return {s: set(json.loads((folder / f"{t}.json").read_text())) for s, t in SUITES.items()}


@pytest.mark.parametrize("suite", SUITES)
def test_what_a_run_imports_is_in_its_closure(suite, imported):
    spec = load_config(ROOT / "config.yaml").spec(SUITES[suite], "sac_rlpd", 0, "smoke")
    assert {f"unirl_repro.envs.{suite}", "unirl_repro.agents.sac"} <= imported[suite]
    outside = imported[suite] - closure(spec) - SHARED_PAGES - ENGINE
    assert {name for name in outside if not name.startswith(AROUND)} == set()
