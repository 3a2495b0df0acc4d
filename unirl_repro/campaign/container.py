"""The image that jobs run in: built, recognised, and described to Apptainer and to manifests.

It holds what the code needs and none of the code, so it is known by the definition and the lock
that it was made from (its label), and by its bytes (its digest).
"""

import hashlib
import json
import os
import pwd
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from unirl_repro.campaign.places import RESULTS
from unirl_repro.campaign.site import Build, Site
from unirl_repro.files import write_json, write_text

IMAGE = Path("containers/unirl.sif")
DEFINITION = Path("containers/unirl.def")
LOCK = Path("requirements.lock")
RECORDS = "container/images.json"  # under results/: what is known of images, by path, size and time
DEBIAN = "http://deb.debian.org/debian"
OTHER_WAYS = (
    "Or do without, in profiles/slurm/site.yaml: `container: none` lets jobs use the virtual "
    "environment, `container: PATH` an image that is there already."
)
PROC = Path("/proc")
RELEASE = Path("/etc/os-release")
SUBUID = Path("/etc/subuid")
GPU_CONTROL = Path("/dev/nvidiactl")
# Quick to make and to read; the default takes four times as long. Older versions ignore this.
COMPRESSION = "-comp zstd -Xcompression-level 3"
# Set for jobs; a build would heed them too, and has neither their folders nor their variables.
OF_JOBS = ("APPTAINER_ENV_FILE", "APPTAINER_BIND", "APPTAINER_NV", "APPTAINER_USERNS")


class ContainerError(RuntimeError):
    """An image cannot be built or used; the text says why and what to do."""


# What an image is


def wanted_label(root: Path = Path("."), torch: str = "cpu") -> str:
    """Label of the image that a checkout wants: hash of definition and lock, and torch's build."""
    content = (root / DEFINITION).read_bytes() + (root / LOCK).read_bytes()
    return f"{hashlib.sha256(content).hexdigest()[:16]}-{torch}"


def label(image: Path, results: Path = RESULTS) -> str | None:
    """Label that an image was built with; None if it is an image of something else.

    Raises
    ------
    ContainerError
        If it cannot be read.
    """
    return _known(image, results)["label"]


def digest(image: Path, results: Path = RESULTS) -> str:
    """SHA-256 of an image."""
    return _known(image, results)["digest"]


def _known(image: Path, results: Path) -> dict[str, Any]:
    """What is known of an image; it is read once, and kept beside the results by size and time."""
    path = results / RECORDS
    try:
        records = json.loads(path.read_text())
    except (FileNotFoundError, json.JSONDecodeError):  # a cache: what cannot be read is looked up
        records = {}
    stat = image.stat()
    key = [stat.st_size, stat.st_mtime_ns]
    if records.get(str(image), {}).get("key") != key:
        with image.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        records[str(image)] = {"key": key, "digest": f"sha256:{found}", "label": _inspect(image)}
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, records)
    return records[str(image)]


def _inspect(image: Path) -> str | None:
    if shutil.which("singularity") is None:
        raise ContainerError(why_not())
    told = _spython().inspect(str(image.resolve()))
    if "attributes" not in told:
        raise ContainerError(f"{image}: {' '.join(told['message']).strip()}")
    return told["attributes"].get("labels", {}).get("unirl.lock")


def _spython() -> Any:
    """Takes a quarter of a second, which rules that only look up a digest need not spend."""
    from spython.main import Client  # type: ignore[import-untyped]

    return Client


def check(image: Path, root: Path = Path("."), results: Path = RESULTS) -> None:
    """Refuse an image that was built from another definition or lock.

    Raises
    ------
    ContainerError
        If there is no such image, or it holds other packages than the lock says.
    """
    if not image.exists():
        raise ContainerError(
            f"{image}: no such image. Build it: unirl-repro container build; or name another one "
            "under `container` in profiles/slurm/site.yaml."
        )
    found, wanted = label(image, results), wanted_label(root)
    if _same_lock(found, wanted):
        return
    raise ContainerError(
        f"{image} was built for another lock: its label is {found or 'missing'}, and "
        f"{DEFINITION} with {LOCK} make {_lock_of(wanted)}. Build it anew (unirl-repro container "
        "build), or check out the version that it belongs to."
    )


def _lock_of(label: str | None) -> str:
    return (label or "").partition("-")[0]


def _same_lock(found: str | None, wanted: str) -> bool:
    return _lock_of(found) == _lock_of(wanted)


# Building


def build(image: Path, settings: Build, root: Path = Path(".")) -> str:
    """Build the image, unless the one there is of today's definition and lock.

    Parameters
    ----------
    image : Path
        Where it goes; it appears there whole.
    settings : Build
        Base, torch's build, and what this machine needs for downloads.
    root : Path
        The checkout.

    Returns
    -------
    str
        What was done.

    Raises
    ------
    ContainerError
        If it cannot be built here, or Apptainer fails.
    """
    obstacle = why_not(settings)
    if obstacle:
        raise ContainerError(obstacle)
    wanted = wanted_label(root, settings.torch)
    if _is(image, wanted):
        tell_jobs(image, ready_file(root, settings.torch))
        return f"{image} is there already, for today's definition and lock ({wanted})"
    temporary = image.with_name(f".{image.stem}.{os.getpid()}.sif")
    try:
        messages = _run_build(root / DEFINITION, temporary, _options(settings, wanted))
        if not _is(temporary, wanted, _inspect):  # spython does not say whether Apptainer failed
            raise ContainerError(
                f"Apptainer could not build {DEFINITION}:\n{messages}\nSettings of the build (base, "
                "mirror, index, mounts) are in profiles/slurm/site.yaml; it needs 4 GB under "
                f"$APPTAINER_TMPDIR (else /tmp). {OTHER_WAYS}"
            )
        temporary.replace(image)
    finally:
        temporary.unlink(missing_ok=True)
    tell_jobs(image, ready_file(root, settings.torch))
    return f"{image} was built ({wanted}, {digest(image)})"


def _is(image: Path, wanted: str, read: Callable[[Path], str | None] = label) -> bool:
    try:
        return image.exists() and read(image) == wanted
    except ContainerError:  # damaged: built anew
        return False


def _run_build(definition: Path, image: Path, options: list[str]) -> str:
    """Let spython build; what Apptainer prints is seen as it goes, its last messages come back."""
    for name in OF_JOBS:
        os.environ.pop(name, None)
    os.environ.setdefault("APPTAINER_MKSQUASHFS_ARGS", COMPRESSION)
    with redirect_stdout(StringIO()) as messages:
        _spython().build(
            recipe=str(definition), image=str(image), options=options, sudo=False, force=True
        )
    return "\n".join(messages.getvalue().splitlines()[-15:])


def _options(settings: Build, wanted: str) -> list[str]:
    """Options of ``apptainer build``: settings, and from this machine what they leave open."""
    pip = PipConfiguration.of_this_machine()
    binds = [*settings.bind, *(f"{folder}:{folder}:ro" for folder in pip.folders())]
    arguments = {
        "bootstrap": settings.bootstrap,
        "from": settings.from_,
        "mirror": settings.mirror or debian_mirror(),
        "torch": settings.torch,
        "pip_options": settings.pip_options or shlex.join(pip.options()),
        "certificates": pip.certificates,
        "proxy": os.environ.get("https_proxy", ""),
        "mount_points": " ".join(bind.split(":")[1] for bind in binds if ":" in bind),
        "lock": wanted,
    }
    options = [f"--build-arg={name}={value}" for name, value in arguments.items()]
    return ["--fakeroot", *(f"--bind={bind}" for bind in binds), *options]


@dataclass(frozen=True)
class PipConfiguration:
    """Where pip takes packages from on this machine; a build starts without that knowledge.

    Attributes
    ----------
    sources : tuple of (option, value)
        Indexes and folders, as pip's and uv's options.
    certificates : str
        File of certificates that downloads are checked with; empty for the system's own.
    """

    sources: tuple[tuple[str, str], ...]
    certificates: str

    @classmethod
    def of_this_machine(cls) -> "PipConfiguration":
        told = subprocess.run(
            [sys.executable, "-m", "pip", "config", "list"],
            capture_output=True,
            text=True,
            check=False,
        )
        return cls.parse(told.stdout)

    @classmethod
    def parse(cls, listed: str) -> "PipConfiguration":
        """Read what ``pip config list`` prints, such as ``global.find-links='/a /b'``."""
        sources, certificates = [], ""
        for line in listed.splitlines():
            key, _, value = line.partition("=")
            option = key.rpartition(".")[2]
            if option in ("index-url", "extra-index-url", "find-links", "trusted-host"):
                sources += [(option, each) for each in value.strip("'\"").split()]
            elif option == "cert":
                certificates = value.strip("'\"")
        return cls(tuple(dict.fromkeys(sources)), certificates)

    def options(self) -> list[str]:
        return [f"--{option}={value}" for option, value in self.sources]

    def folders(self) -> list[str]:
        """Local folders among the sources; packages of an index lie above its list of names."""
        return list(dict.fromkeys(self._folders()))

    def _folders(self) -> Iterator[str]:
        for option, value in self.sources:
            path = urlsplit(value).path if value.startswith("file:") else value
            if Path(path).is_absolute() and Path(path).is_dir():
                yield path if option == "find-links" else str(Path(path).parent)


def debian_mirror() -> str:
    """Mirror that this machine takes Debian from; Debian's public one if it is another system."""
    lines = RELEASE.read_text().splitlines() if RELEASE.exists() else []
    if "ID=debian" not in lines or shutil.which("apt-get") is None:
        return DEBIAN
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages"],
        capture_output=True,
        text=True,
        check=False,
    )
    sites = [site for site in listed.stdout.split() if site.rstrip("/").endswith("/debian")]
    return sites[0] if sites else DEBIAN


# Running


def ready_file(root: Path = Path("."), torch: str = "cpu", results: Path = RESULTS) -> Path:
    """The file that is there while the image is there and of today's definition and lock.

    It holds the variables that processes in the image are given. Rules wait for it and not for
    the image, whose name stays the same when it is another one.
    """
    return results / "container" / f"{wanted_label(root, torch)}.env"


def tell_jobs(image: Path, ready: Path, results: Path = RESULTS) -> None:
    """Write the image's digest down for what runs in it; it goes into each manifest."""
    text = f"UNIRL_CONTAINER_DIGEST={digest(image, results)}\n"
    if ready.exists() and ready.read_text() == text:
        return
    ready.parent.mkdir(parents=True, exist_ok=True)
    write_text(ready, text)


def refresh(site: Site, root: Path = Path("."), results: Path = RESULTS) -> None:
    """Make the ready file say the truth; called before a DAG is built.

    Raises
    ------
    ContainerError
        If this machine cannot use containers, or the site names an image that is missing or of
        another lock.
    """
    obstacle = why_not()
    if obstacle:
        raise ContainerError(obstacle)
    image, ready = site.image, ready_file(root, site.build.torch, results)
    assert image is not None
    if site.container != "build":
        check(image, root, results)
        tell_jobs(image, ready, results)
    elif _is(image, wanted_label(root, site.build.torch), partial(label, results=results)):
        tell_jobs(image, ready, results)
    else:
        ready.unlink(missing_ok=True)


def environment(ready: Path) -> dict[str, str]:
    """Variables that tell Apptainer how to run a job's commands on this machine.

    Parameters
    ----------
    ready : Path
        From `ready_file`.

    Returns
    -------
    dict
        GPUs where there are any, folders outside the checkout that it links to, what processes
        inside are told, and namespaces where root may not do all that Apptainer expects.
    """
    variables = {"APPTAINER_ENV_FILE": str(ready.absolute())}
    if GPU_CONTROL.exists():
        variables["APPTAINER_NV"] = "1"
    if _root_is_restricted():
        variables["APPTAINER_USERNS"] = "1"
    outside = [*os.environ.get("APPTAINER_BIND", "").split(","), *_linked_folders(Path("."))]
    if any(outside):
        variables["APPTAINER_BIND"] = ",".join(dict.fromkeys(filter(None, outside)))
    return variables


def _linked_folders(root: Path) -> list[str]:
    """What the checkout links to elsewhere, such as results on another disk."""
    targets = [path.resolve() for path in sorted(root.iterdir()) if path.is_symlink()]
    here = root.resolve()
    return [str(path) for path in targets if path.is_dir() and not path.is_relative_to(here)]


def _root_is_restricted() -> bool:
    """Apptainer gives root's processes all capabilities; it fails where root lacks one itself."""
    if os.geteuid() != 0:
        return False
    status = (PROC / "self/status").read_text()
    held = next(line.split()[1] for line in status.splitlines() if line.startswith("CapPrm"))
    last = int((PROC / "sys/kernel/cap_last_cap").read_text())
    return int(held, 16) != (1 << (last + 1)) - 1


def why_not(settings: Build | None = None) -> str:
    """Why this machine cannot use containers, and what to do; empty if it can.

    Parameters
    ----------
    settings : Build, optional
        Ask whether an image could be built so, too.
    """
    obstacle = _why_not_run() or (_why_not_build(settings) if settings else "")
    return f"{obstacle} {OTHER_WAYS}" if obstacle else ""


def _why_not_run() -> str:
    if shutil.which("apptainer") is None:
        return "Apptainer is missing. Debian and Ubuntu: scripts/apptainer.sh installs it."
    if shutil.which("singularity") is None:
        return (
            "The command `singularity` is missing, Apptainer's older name, by which spython calls "
            "it. Make it: ln -s apptainer $(dirname $(command -v apptainer))/singularity"
        )
    for name, off in NAMESPACE_SWITCHES.items():
        switch = PROC / "sys" / name.replace(".", "/")
        if switch.exists() and switch.read_text().strip() == off and not _has_setuid():
            return (
                f"Unprivileged user namespaces are off ({name} is {off}), and Apptainer has no "
                f"setuid helper. Ask the administrator for either: {MENDED[name]}, or the package "
                "apptainer-suid."
            )
    return ""


NAMESPACE_SWITCHES = {"kernel.unprivileged_userns_clone": "0", "user.max_user_namespaces": "0"}
MENDED = {
    "kernel.unprivileged_userns_clone": "sysctl kernel.unprivileged_userns_clone=1",
    "user.max_user_namespaces": "sysctl user.max_user_namespaces=15000",
}


def _has_setuid() -> bool:
    """Apptainer's helper that makes namespaces as root, where it is installed."""
    program = Path(shutil.which("apptainer") or "").resolve()
    return any(program.parents[1].glob("lib*/**/apptainer/bin/starter-suid"))


def _why_not_build(settings: Build) -> str:
    if settings.bootstrap == "debootstrap" and shutil.which("debootstrap") is None:
        return (
            "debootstrap is missing, and the image is to be built from Debian's packages. Install "
            "it, or set build.bootstrap in profiles/slurm/site.yaml to docker or localimage."
        )
    if settings.bootstrap == "localimage" and not Path(settings.from_).exists():
        return f"build.from in profiles/slurm/site.yaml is {settings.from_}: no such image."
    user = pwd.getpwuid(os.geteuid())
    if _may_use_ids(user.pw_name, user.pw_uid) or shutil.which("fakeroot"):
        return ""
    return (
        f"Building needs user ids of its own (--fakeroot), and {SUBUID} has no line for "
        f"{user.pw_name}. Ask the administrator: usermod --add-subuids 100000-165535 "
        f"--add-subgids 100000-165535 {user.pw_name}"
    )


def _may_use_ids(name: str, uid: int) -> bool:
    lines = SUBUID.read_text().splitlines() if SUBUID.exists() else []
    return any(line.split(":")[0] in (name, str(uid)) for line in lines)


# Showing


@dataclass(frozen=True)
class Description:
    """What jobs run in.

    Attributes
    ----------
    image : str or None
        None means the virtual environment.
    exists, fits : bool
        Whether it is there, and was built from today's definition and lock.
    wanted, label, digest : str or None
        The label that today's definition and lock make; the image's own; its SHA-256.
    obstacle : str
        Why this machine cannot use containers; empty if it can.
    """

    image: str | None
    exists: bool
    fits: bool
    wanted: str
    label: str | None
    digest: str | None
    obstacle: str

    def text(self) -> str:
        if self.image is None:
            return "Jobs use the virtual environment: profiles/slurm/site.yaml says container: none"
        there = "is not built yet" if not self.exists else f"is there: {self.digest}"
        told = f"Jobs run in {self.image}, which {there}\nlabel wanted: {self.wanted}"
        if self.exists:
            told += f"\nlabel found:  {self.label or 'none'}"
            told += "" if self.fits else " (another lock or torch: unirl-repro container build)"
        return f"{told}\n{self.obstacle}".strip()


def describe(site: Site, root: Path = Path(".")) -> Description:
    """Say which image a site's jobs run in, and whether it is today's."""
    wanted = wanted_label(root, site.build.torch)
    image, obstacle = site.image, why_not()
    exists = image is not None and image.exists()
    found = label(image) if image and exists and not obstacle else None
    return Description(
        image=None if image is None else str(image),
        exists=exists,
        fits=found == wanted if site.container == "build" else _same_lock(found, wanted),
        wanted=wanted,
        label=found,
        digest=digest(image) if image and exists else None,
        obstacle=obstacle if image else "",
    )
