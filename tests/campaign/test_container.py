"""The container without Apptainer: labels, digests, messages, and what Apptainer is told."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest

from tests.campaign.commands import command
from tests.workflow.checkout import Checkout
from unirl_repro.campaign import apptainer, container, downloads
from unirl_repro.campaign.container import ContainerError
from unirl_repro.campaign.digest import RECORDS, digest
from unirl_repro.campaign.site import GPU, Build, Site

# Stands in for Apptainer. Its images are the arguments that they were built with, a line each;
# the label is among them.
APPTAINER = r"""
case $1 in
build)
    for each; do image=$previous previous=$each; done
    [ -e broken ] && { echo damaged > "$image"; echo "FATAL: no such mirror" >&2; exit 255; }
    { printf '%s\n' "$@"; env; } > "$image"
    cat "$(sed -n 's/^--build-arg=network=//p' "$image")" > network.sh ;;
inspect)
    for each; do image=$each; done
    grep -qx damaged "$image" && { echo "image format not recognized" >&2; exit 255; }
    echo x >> inspected
    label=$(sed -n 's/^--build-arg=lock=//p' "$image")
    echo "{\"attributes\": {\"labels\": {\"unirl.lock\": \"$label\"}}}" ;;
esac
"""
ALL = "000001ffffffffff"  # capabilities
SITE = Site(build=Build(torch="cpu"))


@pytest.fixture(autouse=True)
def _same_environment_afterwards():
    with mock.patch.dict(os.environ):
        yield


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout on a machine where containers can be built and run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "containers").mkdir()
    container.DEFINITION.write_text("Bootstrap: docker\n")
    container.LOCK.write_text("numpy==2.4.6\n")
    for name, content in {
        "self/status": f"Name:\tpython\nCapPrm:\t{ALL}\n",
        "sys/kernel/cap_last_cap": "40\n",
        "sys/user/max_user_namespaces": "15000\n",
    }.items():
        path = tmp_path / "proc" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    (tmp_path / "subuid").write_text("someone:100000:65536\n")
    monkeypatch.setattr(apptainer, "PROC", tmp_path / "proc")
    monkeypatch.setattr(apptainer, "SUBUID", tmp_path / "subuid")
    monkeypatch.setattr(apptainer, "PROFILES", tmp_path / "apparmor.d")
    monkeypatch.setattr(apptainer, "GPU_CONTROL", tmp_path / "nvidiactl")
    monkeypatch.setattr(container, "pip_settings", dict)
    someone = SimpleNamespace(pw_name="someone", pw_uid=1000)
    monkeypatch.setattr("pwd.getpwuid", lambda uid: someone)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    for name in container.OF_JOBS:
        monkeypatch.delenv(name, raising=False)
    for program in ("apptainer", "singularity", "debootstrap"):
        command(tmp_path, monkeypatch, program, APPTAINER)
    for tool in ("sh", "sed", "grep", "env", "cat"):
        (tmp_path / "programs" / tool).symlink_to(shutil.which(tool) or tool)
    monkeypatch.setenv(
        "PATH", str(tmp_path / "programs")
    )  # and nothing else that is installed here
    return tmp_path


def built(**settings):
    return container.build(container.IMAGE, Build(torch="cpu", **settings))


def argument(name):
    lines = container.IMAGE.read_text().splitlines()
    (value,) = (v for k, _, v in (line.rpartition(f"--build-arg={name}=") for line in lines) if _)
    return value


# Labels


def test_the_label_changes_with_definition_lock_and_torch_and_with_nothing_else(checkout):
    first = container.wanted_label()
    Path("code.py").write_text("")
    container.LOCK.touch()
    assert container.wanted_label() == first
    labels = {first, container.wanted_label(torch="cuda")}
    for path in (container.LOCK, container.DEFINITION):
        path.write_text(path.read_text() + "# more\n")
        labels.add(container.wanted_label())
    assert len(labels) == 4


def test_an_image_is_built_once_for_a_lock(checkout):
    assert "was built" in built()
    assert argument("lock") == container.wanted_label()
    first = container.IMAGE.stat().st_ino
    container.DEFINITION.touch()
    assert "is there already" in built()
    assert container.IMAGE.stat().st_ino == first


def test_another_image_leaves_the_first_to_running_jobs_and_to_its_lock(checkout):
    built()
    first = container.IMAGE.resolve()
    container.LOCK.write_text("numpy==2.5.0\n")
    assert "was built" in built()
    assert container.IMAGE.resolve() != first
    assert first.exists()
    container.LOCK.write_text("numpy==2.4.6\n")
    assert "is there already" in built()
    assert container.IMAGE.resolve() == first
    assert container.IMAGE.readlink().name == str(container.IMAGE.readlink())  # moves with the repo
    assert len(container.describe(SITE).built) == 2


def test_an_image_put_there_by_hand_becomes_the_target_of_the_link(checkout):
    built()
    container.IMAGE.resolve().replace(container.IMAGE)
    assert container.is_ready(SITE)
    before = container.IMAGE.read_bytes()
    assert "is there already" in built()
    assert container.IMAGE.is_symlink()
    assert container.IMAGE.read_bytes() == before


@pytest.mark.parametrize("place", [container.IMAGE, None])
def test_a_damaged_image_is_built_anew(checkout, place):
    place = place or container.IMAGE.with_name(f"unirl-{container.wanted_label()}.sif")
    place.write_text("damaged")
    assert "was built" in built()
    assert argument("lock") == container.wanted_label()


def test_parts_of_killed_builds_are_removed_and_those_of_others_are_not(checkout):
    here = os.uname().nodename
    killed = Path(f"containers/.unirl@{here}.4194305.sif")  # above the largest process id
    others = (
        Path(f"containers/.unirl@{here}.{os.getpid()}.sif"),
        Path("containers/.unirl@b.4194305.sif"),
    )
    for path in (killed, *others):
        path.touch()
    container._remove_leftovers(container.IMAGE)
    assert [killed.exists(), *(path.exists() for path in others)] == [False, True, True]


def test_a_build_that_fails_leaves_the_image_before_and_says_why(checkout):
    built()
    before = container.IMAGE.read_bytes()
    container.LOCK.write_text("numpy==2.5.0\n")
    Path("broken").touch()
    with pytest.raises(ContainerError, match=r"no such mirror\n(.|\n)*site.yaml"):
        built()
    assert container.IMAGE.read_bytes() == before
    images = {path.name for path in Path("containers").iterdir() if path.suffix == ".sif"}
    assert images == {"unirl.sif", container.IMAGE.resolve().name}


def test_an_image_for_another_lock_is_refused_with_both_hashes(checkout):
    built()
    old = container.wanted_label()
    container.check(container.IMAGE, SITE)
    container.LOCK.write_text("numpy==2.5.0\n")
    new = container.wanted_label().removesuffix("-cpu")
    with pytest.raises(ContainerError, match=f"{old}.*{new}.*container build"):
        container.check(container.IMAGE, SITE)
    with pytest.raises(ContainerError, match=r"nowhere\.sif: no such image"):
        container.check(Path("nowhere.sif"), SITE)


def named(label, **settings):
    Path("other.sif").write_text(f"--build-arg=lock={label}\n")
    return Site(container="other.sif", **settings)


def test_an_image_of_another_build_of_torch_may_be_named_but_gpus_need_cuda(checkout):
    image = Path("other.sif")
    container.check(image, named(container.wanted_label(torch="cuda"), build=Build(torch="cpu")))
    container.check(image, named(container.wanted_label(torch="cuda"), gpu=GPU()))
    container.check(image, named(container.wanted_label()))
    site = named(container.wanted_label(), gpu=GPU())
    with pytest.raises(ContainerError, match="without CUDA"):
        container.check(image, site)
    assert not container.describe(site).fits
    assert "without CUDA" in container.describe(site).text()


# Digests


def test_an_image_is_read_once_until_it_changes(checkout, monkeypatch):
    image = Path("other.sif")
    image.write_text("one")
    first = digest(image)
    with monkeypatch.context() as patch:
        patch.setattr("hashlib.file_digest", None)
        assert digest(image) == first
    image.write_text("another")
    assert digest(image) != first


def test_a_link_has_the_digest_of_what_it_links_to_now(checkout):
    built()
    first = digest(container.IMAGE)
    container.LOCK.write_text("numpy==2.5.0\n")
    told = built()
    assert digest(container.IMAGE) in told
    assert digest(container.IMAGE) != first
    container.LOCK.write_text("numpy==2.4.6\n")
    built()
    assert digest(container.IMAGE) == first


def test_a_cache_that_cannot_be_read_is_none(checkout):
    built()
    first = digest(container.IMAGE)
    RECORDS.write_text("{")
    assert digest(container.IMAGE) == first


# What the DAG waits for


def test_an_image_is_ready_while_it_is_there_and_right(checkout):
    assert not container.is_ready(SITE)
    built()
    assert container.is_ready(SITE)
    assert not container.is_ready(Site(build=Build(torch="cuda")))
    container.IMAGE.resolve().unlink()
    assert not container.is_ready(SITE)


def test_an_image_that_cannot_be_looked_at_now_is_not_built_anew(checkout):
    container.IMAGE.write_text("damaged")
    assert container.is_ready(SITE)
    container.IMAGE.write_text("--build-arg=lock=another-cpu\n")
    assert not container.is_ready(SITE)
    (checkout / "programs/singularity").unlink()
    assert container.is_ready(SITE)


def test_a_named_image_that_is_missing_or_of_another_lock_stops_everything(checkout):
    with pytest.raises(ContainerError, match="no such image"):
        container.check_site(Site(container="other.sif"))
    with pytest.raises(ContainerError, match="another lock"):
        container.check_site(named("another-cpu"))


@pytest.mark.parametrize("options", [["--profile", "slurm"], ["-c2", "--sdm", "apptainer"]])
def test_a_plan_needs_no_apptainer_and_changes_nothing(tmp_path, monkeypatch, options):
    project = Checkout.make(tmp_path / "project")
    (project.folder / "slurm").symlink_to("profiles/slurm")
    for path in (container.DEFINITION, container.LOCK):
        project.write(str(path), "what is in the image\n")
    (tmp_path / "tools").mkdir()
    for tool in ("sh", "git", "env", "uname", "which"):
        (tmp_path / "tools" / tool).symlink_to(shutil.which(tool) or tool)
    monkeypatch.setenv("PATH", str(tmp_path / "tools"))
    before = files(project.folder)
    done = project.snakemake("-n", *options)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("warning: Apptainer is missing") == 1
    assert "Build the image" in done.stdout
    assert files(project.folder) == before


def files(folder):
    found = (
        path for path in folder.rglob("*") if not {".snakemake", "__pycache__"} & {*path.parts}
    )
    return {path for path in found if path.is_file()}


# What the build takes from this machine


LISTED = """
:env:.cert='/etc/own.crt'
global.find-links='FOLDER/wheels'
global.timeout='60'
global.extra-index-url='\\nfile://FOLDER/index/simple\\nhttps://me:secret@pip.example/simple'
"""


def test_the_build_gets_this_machines_certificates_indexes_and_folders(checkout, monkeypatch):
    (checkout / "wheels").mkdir()
    (checkout / "index/simple").mkdir(parents=True)
    told = SimpleNamespace(stdout=LISTED.strip().replace("FOLDER", str(checkout)))
    with monkeypatch.context() as patch:
        patch.setattr("subprocess.run", lambda *args, **kwargs: told)
        settings = downloads.pip_settings()
    monkeypatch.setattr(container, "pip_settings", lambda: settings)
    monkeypatch.setenv("https_proxy", "http://me:secret@proxy.example")
    built(bind=("/data:/mnt:ro",))
    asked = container.IMAGE.read_text().partition("PATH=")[0]
    assert f"--bind={checkout}/wheels:{checkout}/wheels:ro\n" in asked
    assert f"--bind={checkout}/index:{checkout}/index:ro\n" in asked
    assert argument("mount_points") == f"/mnt {checkout}/index {checkout}/wheels"
    assert argument("certificates") == "/etc/own.crt"
    assert not Path(argument("network")).exists()
    given = [line for line in asked.splitlines() if line.startswith("--")]
    assert not any("secret" in line for line in given)
    indexes = f"file://{checkout}/index/simple https://me:secret@pip.example/simple"
    given = sourced("network.sh")
    assert given["PIP_EXTRA_INDEX_URL"] == given["UV_EXTRA_INDEX_URL"] == indexes
    assert given["PIP_FIND_LINKS"] == given["UV_FIND_LINKS"] == f"{checkout}/wheels"
    assert given["https_proxy"] == "http://me:secret@proxy.example"
    assert given["pip_options"] == ""


def sourced(script):
    done = subprocess.run(
        ["sh", "-c", f"set -a; . ./{script}; env"], capture_output=True, text=True, check=True
    )
    return dict(line.split("=", 1) for line in done.stdout.splitlines())


def test_several_folders_are_told_as_each_of_both_programs_reads_them():
    script = downloads.network_script({"find-links": ["/a", "/b"]}, "")
    assert "export PIP_FIND_LINKS='/a /b'" in script
    assert "export UV_FIND_LINKS=/a,/b" in script


def test_a_mirror_with_a_password_is_refused(checkout):
    with pytest.raises(ContainerError, match="readable in the image"):
        built(mirror="http://me:secret@own.example/debian")


def test_settings_of_the_site_come_first(checkout):
    built(bootstrap="debootstrap", mirror="http://own.example/debian", pip_options="--pre")
    assert argument("mirror") == "http://own.example/debian"
    assert Path("network.sh").read_text().endswith("pip_options=--pre\n")


def test_the_mirror_is_that_of_the_system(checkout, monkeypatch):
    (checkout / "os-release").write_text("NAME=Debian\nID=debian\n")
    monkeypatch.setattr(downloads, "RELEASE", checkout / "os-release")
    told = "echo http://security.example/debian-security; echo http://near.example/debian"
    command(checkout, monkeypatch, "apt-get", told)
    assert downloads.debian_mirror() == "http://near.example/debian"
    (checkout / "os-release").write_text("ID=ubuntu\nID_LIKE=debian\n")
    assert downloads.debian_mirror() == downloads.DEBIAN


def test_what_is_set_for_jobs_does_not_reach_the_build(checkout, monkeypatch):
    (checkout / "nvidiactl").touch()
    apptainer.set_environment()
    monkeypatch.setenv("APPTAINER_TMPDIR", "/scratch")
    built()
    asked = container.IMAGE.read_text()
    assert "APPTAINER_TMPDIR=/scratch" in asked
    assert "APPTAINER_NV" not in asked


# What Apptainer is told on this machine


def test_gpus_are_passed_on_only_where_there_are_any(checkout):
    (checkout / "nvidiactl").touch()
    apptainer.set_environment()
    assert os.environ["APPTAINER_NV"] == "1"
    (checkout / "nvidiactl").unlink()  # as on a node that inherits the login node's environment
    apptainer.set_environment()
    assert "APPTAINER_NV" not in os.environ


@pytest.mark.parametrize(
    ("user", "held", "before", "after"),
    [
        (0, ALL, "1", None),
        (0, "000001fffeffffff", None, "1"),
        (1000, "0" * 16, None, None),
        (1000, "0" * 16, "1", "1"),  # who asks for it, keeps it
    ],
)
def test_root_with_too_few_capabilities_uses_a_namespace(
    checkout, monkeypatch, user, held, before, after
):
    (checkout / "proc/self/status").write_text(f"CapInh:\t0\nCapPrm:\t{held}\n")
    monkeypatch.setattr("os.geteuid", lambda: user)
    if before:
        monkeypatch.setenv("APPTAINER_USERNS", before)
    apptainer.set_environment()
    assert os.environ.get("APPTAINER_USERNS") == after


def test_folders_that_the_checkout_links_to_are_mounted(checkout, tmp_path_factory, monkeypatch):
    disk = tmp_path_factory.mktemp("disk")
    Path("results").symlink_to(disk)
    Path("slurm").symlink_to("containers")
    monkeypatch.setenv("APPTAINER_BIND", "/scratch")
    for _ in range(2):  # a job inherits it
        apptainer.set_environment()
        assert os.environ["APPTAINER_BIND"] == f"/scratch,{disk}"


def test_a_folder_behind_two_links_is_mounted_under_the_name_that_the_link_gives(
    checkout, tmp_path_factory
):
    disk = tmp_path_factory.mktemp("disk")
    (disk / "real/u").mkdir(parents=True)
    (disk / "scratch").symlink_to("real")
    Path("results").symlink_to(disk / "scratch/u")
    apptainer.set_environment()
    real = disk / "real/u"
    assert os.environ["APPTAINER_BIND"] == f"{real},{real}:{disk}/scratch/u"


# Why not


def test_a_machine_that_can_has_no_obstacle(checkout):
    assert apptainer.why_not(Build()) == ""


@pytest.mark.parametrize(
    ("program", "mend"),
    [("apptainer", "scripts/apptainer.sh"), ("singularity", "ln -s apptainer")],
)
def test_a_missing_program_is_named_with_the_ways_around_it(checkout, program, mend):
    (checkout / "programs" / program).unlink()
    told = apptainer.why_not()
    assert mend in told
    assert "container: none" in told
    assert "container: PATH" in told
    with pytest.raises(ContainerError, match="missing"):
        built()
    with pytest.raises(ContainerError, match="missing"):
        container.check_site(Site())


def test_namespaces_that_are_off_are_named_with_the_switch(checkout):
    (checkout / "proc/sys/user/max_user_namespaces").write_text("0\n")
    assert "sysctl user.max_user_namespaces=15000" in apptainer.why_not()
    helper = checkout / "lib/apptainer/bin/starter-suid"
    helper.parent.mkdir(parents=True)
    helper.touch()
    assert apptainer.why_not() == ""


def test_singularityce_alone_is_not_enough(checkout):
    (checkout / "programs/apptainer").unlink()
    assert "SingularityCE does not stand in" in apptainer.why_not()


def test_apparmor_may_forbid_namespaces_to_what_has_no_profile(checkout, monkeypatch):
    switch = checkout / "proc/sys/kernel/apparmor_restrict_unprivileged_userns"
    switch.write_text("1\n")
    assert "sysctl kernel.apparmor_restrict_unprivileged_userns=0" in apptainer.why_not()
    with monkeypatch.context() as patch:
        patch.setattr("os.geteuid", lambda: 0)
        assert apptainer.why_not() == ""
    (checkout / "apparmor.d").mkdir()
    (checkout / "apparmor.d/apptainer").touch()
    assert apptainer.why_not() == ""


def test_building_needs_user_ids_and_running_does_not(checkout):
    (checkout / "subuid").write_text("another:100000:65536\n")
    assert "usermod --add-subuids" in apptainer.why_not(Build())
    assert apptainer.why_not() == ""


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (Build(bootstrap="debootstrap"), "debootstrap is missing"),
        (Build(bootstrap="localimage", from_="/nowhere.sif"), "/nowhere.sif: no such image"),
    ],
)
def test_a_base_that_cannot_be_had_is_named(checkout, settings, told):
    (checkout / "programs/debootstrap").unlink()
    assert told in apptainer.why_not(settings)


# Showing


def test_what_jobs_run_in_is_shown(checkout):
    site = SITE
    assert "is not built yet" in container.describe(site).text()
    built()
    shown = container.describe(site)
    assert (shown.exists, shown.fits, shown.label) == (True, True, container.wanted_label())
    assert f"is there: {shown.digest}" in shown.text()
    assert not container.describe(Site(build=Build(torch="cuda"))).fits
    container.LOCK.write_text("numpy==2.5.0\n")
    assert "another lock" in container.describe(site).text()
    assert "virtual environment" in container.describe(Site(container="none")).text()
    assert json.dumps(vars(shown))
