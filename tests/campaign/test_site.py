"""Settings of a cluster: what the file may say, and what jobs then ask for."""

import re
from pathlib import Path

import pytest

from unirl_repro.campaign.site import (
    GPU,
    SITE,
    VARIABLE,
    Site,
    hand_on,
    load_site,
    submitted_site,
)
from unirl_repro.explain import ConfigError

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "profiles" / "slurm" / "site.example.yaml"


def written(folder: Path, text: str) -> Path:
    path = folder / "site.yaml"
    path.write_text(text)
    return path


def test_the_example_is_allowed_and_shows_every_key(tmp_path):
    assert load_site(EXAMPLE) == Site(), "copied as it is, it leaves all to the cluster"
    uncommented = re.sub(r"^# (?= *[a-z_]+:)", "", EXAMPLE.read_text(), flags=re.MULTILINE)
    site = load_site(written(tmp_path, uncommented))
    assert site.model_fields_set == set(Site.model_fields)
    assert site.gpu is not None
    assert site.gpu.model_fields_set == set(GPU.model_fields)
    assert site.build.model_fields_set == set(type(site.build).model_fields)


def test_the_file_is_not_tracked():
    assert str(SITE) in (ROOT / ".gitignore").read_text().split()


def test_without_a_file_the_clusters_defaults_hold(tmp_path):
    site = load_site(tmp_path / "none.yaml")
    assert site == Site()
    assert site.requests(gpu=False) == site.requests(gpu=True) == {}
    assert site.image == Path("containers/unirl.sif")


def test_a_job_takes_what_it_was_submitted_with(tmp_path, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    text = "longest_job: 30\ngpu: {type: h200}\nbuild: {from: base.sif, bind: ['/a:/a']}"
    submitted = load_site(written(tmp_path, text))
    hand_on(submitted)
    written(tmp_path, "longest_job: 60")
    assert submitted_site() == submitted
    assert submitted.longest_job == 30


@pytest.mark.parametrize(
    ("text", "torch"),
    [
        ("account: lab", "cpu"),
        ("gpu: {type: h200}", "cuda"),
        ("gpu: {}\nbuild: {mirror: here}", "cuda"),
        ("gpu: {runs_per_gpu: 2}\nbuild: {mirror: here}", "cuda"),
        ("gpu: {type: h200}\nbuild: {torch: cpu}", "cpu"),
    ],
)
def test_the_image_has_the_torch_that_the_site_needs(text, torch, tmp_path):
    assert load_site(written(tmp_path, text)).build.torch == torch


def test_a_file_of_comments_says_nothing(tmp_path):
    assert load_site(written(tmp_path, "# account: lab\n")) == Site()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("acount: lab", "acount is not a key here. Allowed: .*Did you mean 'account'?"),
        ("gpu: {typ: h200}", "gpu.typ is not a key here"),
        ("longest_job: 1 day", "longest_job is '1 day'. Allowed: a whole number"),
        ("longest_job: 1", "longest_job is 1. Allowed: a number of at least 2"),
        ("partition: a b", "partition is 'a b'. Allowed: letters, digits, _ and any of"),
        ("account: 12345", "account is 12345. Allowed: text. Write it in quotes: '12345'."),
        ("container: ''", "container is ''. Allowed: text of 1 or more characters."),
        ("account: lab; rm -rf x", "account is 'lab; rm -rf x'"),
        ("gpu: {type: 'h200:1'}", "gpu.type is 'h200:1'"),
        ("gpu: {runs_per_gpu: 0}", "gpu.runs_per_gpu is 0. Allowed: a number of at least 1"),
        ("gpu: yes", "gpu is true"),
        ("build: {torch: rocm}", "build.torch is 'rocm'. Allowed: 'cuda' or 'cpu'"),
        ("account: lab\naccount: other", "account stands there twice"),
        ("- account", "site.yaml"),
        ("account: [", "is not valid YAML"),
    ],
)
def test_a_mistake_names_file_place_and_value(tmp_path, text, told):
    with pytest.raises(ConfigError) as error:
        load_site(written(tmp_path, text))
    first, _, second = told.partition(".*")
    assert str(error.value).startswith("site.yaml: ")
    assert first in str(error.value)
    assert second in str(error.value)


def test_jobs_with_a_gpu_ask_for_what_is_their_own_and_else_the_same():
    gpu = GPU(partition="gpus", type="h200")
    site = Site(account="lab", partition="cpus", qos="normal", gpu=gpu)
    assert site.requests(gpu=False) == {
        "slurm_account": "lab",
        "slurm_partition": "cpus",
        "qos": "normal",
    }
    assert site.requests(gpu=True) == {
        "slurm_account": "lab",
        "slurm_partition": "gpus",
        "qos": "normal",
        "gres": "gpu:h200:1",
    }
    assert Site(gpu=GPU()).requests(gpu=True) == {"gres": "gpu:1"}


@pytest.mark.parametrize(
    ("container", "image"), [("none", None), ("/images/other.sif", Path("/images/other.sif"))]
)
def test_which_image_jobs_run_in(container, image):
    assert Site(container=container).image == image
