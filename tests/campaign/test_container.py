"""The container without Apptainer: labels, digests, messages, and what Apptainer is told."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.campaign.commands import command
from unirl_repro.campaign import container
from unirl_repro.campaign.container import ContainerError, PipConfiguration
from unirl_repro.campaign.site import Build, Site

# Stands in for Apptainer. Its images are the arguments that they were built with, a line each;
# the label is among them.
APPTAINER = r"""
case $1 in
build)
    for each; do image=$previous previous=$each; done
    [ -e broken ] && { echo damaged > "$image"; echo "FATAL: no such mirror" >&2; exit 255; }
    { printf '%s\n' "$@"; env; } > "$image" ;;
inspect)
    for each; do image=$each; done
    grep -qx damaged "$image" && { echo "image format not recognized" >&2; exit 255; }
    echo x >> inspected
    label=$(sed -n 's/^--build-arg=lock=//p' "$image")
    echo "{\"attributes\": {\"labels\": {\"unirl.lock\": \"$label\"}}}" ;;
esac
"""
ALL = "000001ffffffffff"  # capabilities


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
    monkeypatch.setattr(container, "PROC", tmp_path / "proc")
    monkeypatch.setattr(container, "SUBUID", tmp_path / "subuid")
    monkeypatch.setattr(container, "GPU_CONTROL", tmp_path / "nvidiactl")
    someone = SimpleNamespace(pw_name="someone", pw_uid=1000)
    monkeypatch.setattr("pwd.getpwuid", lambda uid: someone)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.delenv("APPTAINER_BIND", raising=False)
    for program in ("apptainer", "singularity", "debootstrap"):
        command(tmp_path, monkeypatch, program, APPTAINER)
    for tool in ("sh", "sed", "grep", "env"):
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
    container.LOCK.write_text("numpy==2.5.0\n")
    assert "was built" in built()
    assert container.IMAGE.stat().st_ino != first


def test_a_damaged_image_is_built_anew(checkout):
    container.IMAGE.write_text("damaged")
    assert "was built" in built()


def test_a_build_that_fails_leaves_the_image_before_and_says_why(checkout):
    built()
    before = container.IMAGE.read_bytes()
    container.LOCK.write_text("numpy==2.5.0\n")
    Path("broken").touch()
    with pytest.raises(ContainerError, match=r"no such mirror\n(.|\n)*site.yaml"):
        built()
    assert container.IMAGE.read_bytes() == before
    assert [p.name for p in Path("containers").iterdir() if p.name.endswith(".sif")] == [
        "unirl.sif"
    ]


def test_an_image_for_another_lock_is_refused_with_both_hashes(checkout):
    built()
    old = container.wanted_label()
    container.check(container.IMAGE)
    container.LOCK.write_text("numpy==2.5.0\n")
    new = container.wanted_label().removesuffix("-cpu")
    with pytest.raises(ContainerError, match=f"{old}.*{new}.*container build"):
        container.check(container.IMAGE)
    with pytest.raises(ContainerError, match=r"nowhere\.sif: no such image"):
        container.check(Path("nowhere.sif"))


def test_an_image_of_another_build_of_torch_may_be_named(checkout):
    container.build(container.IMAGE, Build(torch="cuda"))
    container.check(container.IMAGE)


# Digests


def test_an_image_is_read_once_until_it_changes(checkout):
    built()
    first = container.digest(container.IMAGE)
    assert container.digest(container.IMAGE) == first
    assert Path("inspected").read_text().count("x") == 2  # the one built, and the one in place
    container.IMAGE.write_text("--build-arg=lock=other\n")
    assert container.digest(container.IMAGE) != first
    assert container.label(container.IMAGE) == "other"


def test_a_cache_that_cannot_be_read_is_none(checkout):
    built()
    first = container.digest(container.IMAGE)
    (container.RESULTS / container.RECORDS).write_text("{")
    assert container.digest(container.IMAGE) == first


# What the DAG waits for


def test_the_ready_file_is_there_while_the_image_is_there_and_right(checkout):
    site = Site(build=Build(torch="cpu"))
    ready = container.ready_file()
    container.refresh(site)
    assert not ready.exists()
    built()
    assert ready.read_text() == f"UNIRL_CONTAINER_DIGEST={container.digest(container.IMAGE)}\n"
    container.refresh(site)
    assert ready.exists()
    container.IMAGE.unlink()
    container.refresh(site)
    assert not ready.exists()


def test_an_image_put_there_by_hand_is_ready_at_once(checkout):
    built()
    container.ready_file().unlink()
    container.refresh(Site(build=Build(torch="cpu")))
    assert container.ready_file().exists()


def test_a_named_image_is_told_to_jobs_by_its_own_digest(checkout):
    built()
    other = container.IMAGE.rename("other.sif")
    other.write_text(other.read_text() + "more\n")
    container.refresh(Site(container="other.sif", build=Build(torch="cpu")))
    assert container.digest(other) in container.ready_file().read_text()


def test_a_named_image_that_is_missing_or_of_another_lock_stops_everything(checkout):
    site = Site(container="other.sif", build=Build(torch="cpu"))
    with pytest.raises(ContainerError, match="no such image"):
        container.refresh(site)
    Path("other.sif").write_text("--build-arg=lock=another-cpu\n")
    with pytest.raises(ContainerError, match="another lock"):
        container.refresh(site)


# What the build takes from this machine


def test_the_build_gets_this_machines_certificates_indexes_and_folders(checkout, monkeypatch):
    (checkout / "wheels").mkdir()
    (checkout / "index/simple").mkdir(parents=True)
    listed = (
        f":env:.cert='/etc/own.crt'\nglobal.find-links='{checkout}/wheels'\nglobal.timeout='60'\n"
        f"global.extra-index-url='file://{checkout}/index/simple https://pip.example/simple'\n"
    )
    here = PipConfiguration.parse(listed)
    monkeypatch.setattr(PipConfiguration, "of_this_machine", lambda: here)
    built(bind=("/data:/mnt:ro",))
    asked = container.IMAGE.read_text().splitlines()
    assert f"--bind={checkout}/wheels:{checkout}/wheels:ro" in asked
    assert f"--bind={checkout}/index:{checkout}/index:ro" in asked
    assert argument("mount_points") == f"/mnt {checkout}/wheels {checkout}/index"
    assert argument("certificates") == "/etc/own.crt"
    assert argument("pip_options").split() == [
        f"--find-links={checkout}/wheels",
        f"--extra-index-url=file://{checkout}/index/simple",
        "--extra-index-url=https://pip.example/simple",
    ]


def test_settings_of_the_site_come_first(checkout):
    built(bootstrap="debootstrap", mirror="http://own.example/debian", pip_options="--pre")
    assert argument("mirror") == "http://own.example/debian"
    assert argument("pip_options") == "--pre"


def test_the_mirror_is_that_of_the_system(checkout, monkeypatch):
    (checkout / "os-release").write_text("NAME=Debian\nID=debian\n")
    monkeypatch.setattr(container, "RELEASE", checkout / "os-release")
    told = "echo http://security.example/debian-security; echo http://near.example/debian"
    command(checkout, monkeypatch, "apt-get", told)
    assert container.debian_mirror() == "http://near.example/debian"
    (checkout / "os-release").write_text("ID=ubuntu\nID_LIKE=debian\n")
    assert container.debian_mirror() == container.DEBIAN


def test_what_is_set_for_jobs_does_not_reach_the_build(checkout, monkeypatch):
    (checkout / "nvidiactl").touch()
    for name, value in container.environment(Path("ready.env")).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("APPTAINER_TMPDIR", "/scratch")
    built()
    asked = container.IMAGE.read_text()
    assert "APPTAINER_TMPDIR=/scratch" in asked
    assert "APPTAINER_NV" not in asked
    assert "APPTAINER_ENV_FILE" not in asked


# What Apptainer is told on this machine


def test_gpus_are_passed_on_only_where_there_are_any(checkout):
    assert "APPTAINER_NV" not in container.environment(Path("ready.env"))
    (checkout / "nvidiactl").touch()
    assert container.environment(Path("ready.env"))["APPTAINER_NV"] == "1"


@pytest.mark.parametrize(
    ("user", "held", "namespaces"),
    [(0, ALL, False), (0, "000001fffeffffff", True), (1000, "0" * 16, False)],
)
def test_root_with_too_few_capabilities_uses_a_namespace(
    checkout, monkeypatch, user, held, namespaces
):
    (checkout / "proc/self/status").write_text(f"CapInh:\t0\nCapPrm:\t{held}\n")
    monkeypatch.setattr("os.geteuid", lambda: user)
    assert ("APPTAINER_USERNS" in container.environment(Path("ready.env"))) == namespaces


def test_folders_that_the_checkout_links_to_are_mounted(checkout, tmp_path_factory, monkeypatch):
    disk = tmp_path_factory.mktemp("disk")
    Path("results").symlink_to(disk)
    Path("slurm").symlink_to("containers")
    monkeypatch.setenv("APPTAINER_BIND", "/scratch")
    assert container.environment(Path("ready.env"))["APPTAINER_BIND"] == f"/scratch,{disk}"


# Why not


def test_a_machine_that_can_has_no_obstacle(checkout):
    assert container.why_not(Build()) == ""


@pytest.mark.parametrize(
    ("program", "mend"),
    [("apptainer", "scripts/apptainer.sh"), ("singularity", "ln -s apptainer")],
)
def test_a_missing_program_is_named_with_the_ways_around_it(checkout, program, mend):
    (checkout / "programs" / program).unlink()
    told = container.why_not()
    assert mend in told
    assert "container: none" in told
    assert "container: PATH" in told
    with pytest.raises(ContainerError, match="missing"):
        built()
    with pytest.raises(ContainerError, match="missing"):
        container.refresh(Site())


def test_namespaces_that_are_off_are_named_with_the_switch(checkout):
    (checkout / "proc/sys/user/max_user_namespaces").write_text("0\n")
    assert "sysctl user.max_user_namespaces=15000" in container.why_not()
    helper = checkout / "lib/apptainer/bin/starter-suid"
    helper.parent.mkdir(parents=True)
    helper.touch()
    assert container.why_not() == ""


def test_building_needs_user_ids_and_running_does_not(checkout):
    (checkout / "subuid").write_text("another:100000:65536\n")
    assert "usermod --add-subuids" in container.why_not(Build())
    assert container.why_not() == ""


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (Build(bootstrap="debootstrap"), "debootstrap is missing"),
        (Build(bootstrap="localimage", from_="/nowhere.sif"), "/nowhere.sif: no such image"),
    ],
)
def test_a_base_that_cannot_be_had_is_named(checkout, settings, told):
    (checkout / "programs/debootstrap").unlink()
    assert told in container.why_not(settings)


# Showing


def test_what_jobs_run_in_is_shown(checkout):
    site = Site(build=Build(torch="cpu"))
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
