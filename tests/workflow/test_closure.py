"""The modules that a run really imports lie inside the closure that its fingerprint hashes."""

import json
import subprocess
import sys

import pytest

from tests.workflow.checkout import ROOT
from unirl_repro.config import load_config
from unirl_repro.envs.tasks import TASKS
from unirl_repro.fingerprint import SHARED_PAGES, closure

SUITES = {task.suite: task.id for task in TASKS.values()}
# How a run is started and shown; what it computes does not depend on them.
AROUND = ("unirl_repro.cli", "unirl_repro.console", "unirl_repro.campaign")
TRAIN = """
import json, sys
from unirl_repro.cli import app
arguments = dict(task=sys.argv[1], variant="sac_rlpd", seed=0, scale="smoke", out=sys.argv[2])
options = [part for name, value in arguments.items() for part in (f"--{name}", str(value))]
app(["train", *options, "--budget", "60"], standalone_mode=False)
print(json.dumps([name for name in sys.modules if name.split(".")[0] == "unirl_repro"]))
"""


@pytest.mark.parametrize("suite", SUITES)
def test_what_a_run_imports_is_in_its_closure(suite, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", TRAIN, SUITES[suite], str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    imported = set(json.loads(done.stdout.splitlines()[-1]))
    spec = load_config(ROOT / "config.yaml").spec(SUITES[suite], "sac_rlpd", 0, "smoke")
    assert f"unirl_repro.envs.{suite}" in imported
    assert "unirl_repro.agents.sac" in imported
    outside = imported - closure(spec) - SHARED_PAGES
    assert {name for name in outside if not name.startswith(AROUND)} == set()
