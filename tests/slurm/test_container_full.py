"""A real image, built from definition and lock, and the DAG in it: here, and as jobs of a cluster."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from unittest import mock

import pytest

from tests.slurm import cluster
from tests.workflow.checkout import ROOT, Checkout
from unirl_repro.campaign import apptainer, container

pytestmark = [
    pytest.mark.full,
    pytest.mark.timeout(1200),  # alone on two cores a quarter of that; downloads vary
    pytest.mark.skipif(
        shutil.which("apptainer") is None,
        reason="Apptainer is not installed: scripts/apptainer.sh",
    ),
]
SITE = """
container: build
build: {torch: cpu, bootstrap: debootstrap, mirror: ""}
"""
IN_IMAGE = ("--software-deployment-method", "apptainer")
SECRET = "token.secret.example"  # stands for what addresses of indexes hold
ON_CLUSTER = ("--profile", "slurm", "--slurm-init-seconds-before-status-checks", "3")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A repository whose results lie on another disk, so to speak; all of it made in the image."""
    checkout = Checkout.make(tmp_path_factory.mktemp("container") / "checkout")
    folder = checkout.folder
    for name in ("containers/unirl.def", "requirements.lock"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    checkout.use_latex()  # the image's own
    shutil.rmtree(folder / "bin")
    (folder / "slurm").symlink_to("profiles/slurm")
    checkout.write("profiles/slurm/site.yaml", SITE)
    checkout.write(".gitignore", "results\n.snakemake\n__pycache__\n*.sif\nlogs\n")
    for command in (["init"], ["add", "."], ["commit", "--quiet", "-m", "as tested"]):
        git(checkout, *command)
    (folder.parent / "disk").mkdir()
    (folder / "results").symlink_to(folder.parent / "disk")
    with mock.patch.dict(os.environ, PIP_TRUSTED_HOST=SECRET):
        done = checkout.snakemake(*IN_IMAGE)
    build_log = folder / "results/container/build.txt"
    told = build_log.read_text()[-2000:] if build_log.exists() else ""
    assert done.returncode == 0, done.stdout + done.stderr + told
    return checkout


def git(checkout, *arguments):
    author = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b.example"}
    author |= {key.replace("AUTHOR", "COMMITTER"): value for key, value in author.items()}
    done = subprocess.run(
        ["git", "-C", checkout.folder, *arguments],
        env=os.environ | author,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def manifests(checkout, scale):
    paths = (checkout.folder / "results" / scale / "runs").glob("*/*/*/run.json")
    return [json.loads(path.read_text()) for path in paths]


def digest(checkout):
    told = checkout.call("sha256sum", str(container.IMAGE)).stdout
    return f"sha256:{told.split()[0]}"


def test_everything_from_training_to_the_pdf_is_made_in_the_image(checkout):
    found = manifests(checkout, "smoke")
    assert len(found) == 4
    assert {run["container"] for run in found} == {digest(checkout)}
    assert {run["git"]["commit"] for run in found} == {git(checkout, "rev-parse", "HEAD")}
    assert not any(run["git"]["dirty"] for run in found)  # nothing lands in the checkout
    results = checkout.folder / "results/smoke"
    assert (results / "paper.pdf").read_bytes().startswith(b"%PDF")
    assert "& 1 & 1 " in (results / "what_ran.tex").read_text()


def test_code_comes_from_the_checkout_and_all_else_from_the_image(checkout, monkeypatch):
    program = (
        "import os, subprocess, torch, unirl_repro; print(unirl_repro.__file__);"
        "print(torch.__file__); subprocess.run([os.environ['CXX'], '-dumpversion'], check=True)"
    )
    monkeypatch.chdir(checkout.folder)
    host = dict.fromkeys(("PYTHONPATH", "PYTHONHOME", "CC", "CXX", "CPATH"), "/nonsense")
    with mock.patch.dict(os.environ, host):
        apptainer.set_environment()
        done = in_image("--home", str(checkout.folder), container.IMAGE, "python", "-c", program)
    code, package, _ = done.stdout.split()
    assert Path(code).is_relative_to(checkout.folder)
    assert Path(package).is_relative_to("/opt/venv")


def test_the_image_does_not_say_where_its_packages_came_from(checkout, monkeypatch):
    monkeypatch.chdir(checkout.folder)
    told = checkout.call("apptainer", "inspect", "--all", str(container.IMAGE)).stdout
    assert "unirl.lock" in told
    assert SECRET not in told
    places = ("/etc", "/opt", "/root", "/tmp", "/var", "/.singularity.d")
    with mock.patch.dict(os.environ):
        apptainer.set_environment()
        search = ("grep", "--recursive", "--no-messages", "--files-with-matches", SECRET, *places)
        done = in_image("--containall", container.IMAGE, *search, check=False)
    assert done.stdout == ""
    assert done.returncode in (1, 2)  # nothing found; 2 where a file may not be read


def in_image(*arguments, check=True):
    return subprocess.run(
        ["apptainer", "exec", *arguments], capture_output=True, text=True, check=check
    )


def test_switching_containers_off_and_on_makes_nothing_stale(checkout):
    assert checkout.planned() == set()
    for name in ("containers/unirl.def", "requirements.lock"):
        (checkout.folder / name).touch()
    assert checkout.planned(*IN_IMAGE) == set()


def test_another_lock_builds_anew_for_what_is_lacking_and_for_nothing_else(checkout):
    run = checkout.folder / "results/smoke/runs/walker2d-100/mbrl/seed1/run.json"
    checkout.write("requirements.lock", "# other packages\n")
    finished = checkout.planned(*IN_IMAGE)
    run.rename(run.with_name("aside"))
    lacking = checkout.planned(*IN_IMAGE)
    run.with_name("aside").rename(run)
    git(checkout, "checkout", "requirements.lock")
    assert finished == set()
    assert len([job for job in lacking if job.startswith("Build the image")]) == 1
    assert len([job for job in lacking if job.startswith("Train")]) == 1


def test_an_image_that_is_right_is_not_built_again(checkout):
    before = (checkout.folder / container.IMAGE).stat()
    told = checkout.call("python", "-m", "unirl_repro", "container", "build")
    assert "is there already" in told.stdout
    assert (checkout.folder / container.IMAGE).stat().st_mtime_ns == before.st_mtime_ns


@pytest.mark.skipif(bool(cluster.missing()), reason=f"SLURM is not installed: {cluster.missing()}")
def test_jobs_of_a_cluster_run_in_the_image(checkout, monkeypatch):
    with cluster.Cluster.start(accounting="none") as running:
        for name, value in running.env.items():
            monkeypatch.setenv(name, value)
        done = checkout.call("snakemake", *ON_CLUSTER, "--slurm-status-command", "squeue")
    assert done.returncode == 0, done.stdout + done.stderr
    found = manifests(checkout, "paper")
    assert {run["container"] for run in found} == {digest(checkout)}
    assert all(run["segments"][-1]["job"] for run in found)
    assert (checkout.folder / "results/paper/paper.pdf").read_bytes().startswith(b"%PDF")
