"""The schema that Snakemake validates with, and the shape of the workflow's files."""

import subprocess
import sys

import pytest

from tests.workflow.checkout import ROOT
from unirl_repro.schema import schema_yaml


def test_the_schema_file_is_what_the_models_say():
    written = (ROOT / "workflow" / "schemas" / "config.schema.yaml").read_text()
    assert written == schema_yaml(), "run `unirl-repro schema`"


def test_the_snakefile_is_a_table_of_contents():
    lines = (ROOT / "Snakefile").read_text().splitlines()
    assert len(lines) <= 50
    assert not any(line.startswith("def ") for line in lines)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("scale=huge", "scale is 'huge'. Allowed: 'smoke', 'quick' or 'paper'"),
        ("scal=quick", "scal is not a key here"),
        (
            "documents={unified_rl: {title: Other, citation: x}}",
            "documents was changed on the command line",
        ),
    ],
)
def test_a_wrong_configuration_stops_before_any_job(wrong, told):
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "-n", "--config", wrong],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert told in done.stdout + done.stderr
