"""The schema that Snakemake validates with, and the shape of the workflow's files."""

import subprocess
import sys

import pytest
import yaml

from tests.workflow.checkout import ROOT
from unirl_repro.campaign.plan import effective_config
from unirl_repro.config import ConfigError
from unirl_repro.schema import schema_yaml

DOCUMENTS = yaml.safe_load((ROOT / "config.yaml").read_text())["documents"]


def test_the_schema_file_is_what_the_models_say():
    written = (ROOT / "workflow" / "schemas" / "config.schema.yaml").read_text()
    assert written == schema_yaml(), "run `unirl-repro schema`"


def test_the_snakefile_is_a_table_of_contents():
    lines = (ROOT / "Snakefile").read_text().splitlines()
    assert len(lines) <= 50
    assert not any(line.startswith("def ") for line in lines)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"scal": "quick"}, "scal is not a key here"),
        (
            {"documents": {d: {"title": "x", "citation": "y"} for d in DOCUMENTS}},
            "documents was changed",
        ),
    ],
)
def test_only_the_scale_may_differ_from_the_file(changed, told):
    values = yaml.safe_load((ROOT / "config.yaml").read_text())
    with pytest.raises(ConfigError, match=told):
        effective_config(ROOT / "config.yaml", values | changed)
    assert effective_config(ROOT / "config.yaml", values | {"scale": "smoke"}).scale == "smoke"


def test_a_wrong_configuration_stops_before_any_job():
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "-n", "--config", "scale=huge"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "config.yaml: scale is 'huge'. Allowed: 'smoke', 'quick' or 'paper'" in done.stdout
