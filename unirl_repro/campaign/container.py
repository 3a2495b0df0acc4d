"""The image that jobs run in: recognised, built, shown.

It holds what the code needs and none of the code, so it is known by the definition and the lock
that it was made from: its label. Images that are built lie beside one another, named by their
labels; ``unirl.sif`` links to one of them. A job thus keeps the image that it started with.
"""

import hashlib
import os
import re
import shutil
import tempfile
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from unirl_repro.campaign.apptainer import OTHER_WAYS, why_not
from unirl_repro.campaign.digest import RECORDS, digest
from unirl_repro.campaign.downloads import debian_mirror, folders, network_script, pip_settings
from unirl_repro.campaign.site import Build, Site

IMAGE = Path("containers/unirl.sif")
DEFINITION = Path("containers/unirl.def")
LOCK = Path("requirements.lock")
NAME = re.compile(rf"{IMAGE.stem}-([0-9a-f]{{16}}-(?:cpu|cuda))\.sif")
# Quick to make and to read; the default takes four times as long. Older versions ignore this.
COMPRESSION = "-comp zstd -Xcompression-level 3"
# Set for jobs; a build would heed them too, and has neither their folders nor their GPUs.
OF_JOBS = ("APPTAINER_BIND", "APPTAINER_NV", "APPTAINER_USERNS")


class ContainerError(RuntimeError):
    """An image cannot be built or used; the text says why and what to do."""


def wanted_label(root: Path = Path("."), torch: str = "cpu") -> str:
    """Label of the image that a checkout wants: hash of definition and lock, and torch's build."""
    content = (root / DEFINITION).read_bytes() + (root / LOCK).read_bytes()
    return f"{hashlib.sha256(content).hexdigest()[:16]}-{torch}"


def label(image: Path) -> str | None:
    """Label that an image was built with; None if it is an image of something else.

    Raises
    ------
    ContainerError
        If it cannot be read, here or at all.
    """
    named = NAME.fullmatch(str(image.readlink())) if image.is_symlink() else None
    return named[1] if named else _inspect(image)


def _inspect(image: Path) -> str | None:
    if shutil.which("singularity") is None:
        raise ContainerError(why_not())
    told = _spython().inspect(str(image.resolve()))
    if "attributes" not in told:
        raise ContainerError(f"{image}: {' '.join(told['message']).strip()}")
    return told["attributes"].get("labels", {}).get("unirl.lock")


def _spython() -> Any:
    """Takes a quarter of a second, which what inspects no image need not spend."""
    from spython.main import Client  # type: ignore[import-untyped]

    return Client


def check(image: Path, site: Site, root: Path = Path(".")) -> None:
    """Refuse an image that a site's jobs cannot use.

    Raises
    ------
    ContainerError
        If there is no such image, or it holds other packages than the lock says, or another torch
        than the site needs.
    """
    if not image.exists():
        raise ContainerError(
            f"{image}: no such image. Build it: unirl-repro container build; or name another one "
            "under `container` in profiles/slurm/site.yaml."
        )
    if misfit := _misfit(label(image), site, root):
        raise ContainerError(f"{image} {misfit}")


def _misfit(found: str | None, site: Site, root: Path) -> str:
    """What is wrong with an image of this label; empty if a site's jobs can use it."""
    wanted = wanted_label(root, site.build.torch)
    lock, _, torch = (found or "missing").partition("-")
    if lock != wanted.partition("-")[0]:
        return (
            f"was built for another lock: its label is {found or 'missing'}, and {DEFINITION} with "
            f"{LOCK} make {wanted.partition('-')[0]}. Build it anew (unirl-repro container build), "
            "or check out the version that it belongs to."
        )
    if site.gpu and torch == "cpu":
        return (
            "has a torch without CUDA, and profiles/slurm/site.yaml has `gpu`. Build it with "
            "`build: {torch: cuda}`, or remove `gpu` there."
        )
    if site.container == "build" and found != wanted:
        return (
            f"has torch for {torch}, and profiles/slurm/site.yaml wants it for {site.build.torch} "
            "(build.torch). Build that: unirl-repro container build"
        )
    return ""


def check_site(site: Site) -> None:
    """Refuse a machine that cannot use containers, and an image that a site's jobs cannot use.

    Raises
    ------
    ContainerError
        If so. An image that the DAG builds need not be there.
    """
    if obstacle := why_not():
        raise ContainerError(obstacle)
    if site.image and site.container != "build":
        check(site.image, site)


def is_ready(site: Site, root: Path = Path(".")) -> bool:
    """Whether a site's image need not be built first. Looks, and changes nothing.

    Only a label that was read, and is another one, makes an image wrong: not that Apptainer is
    missing here, nor that the image cannot be read now.
    """
    if site.container != "build":
        return True
    try:
        return (root / IMAGE).exists() and label(root / IMAGE) == wanted_label(
            root, site.build.torch
        )
    except ContainerError:
        return True


def build(image: Path, settings: Build, root: Path = Path(".")) -> str:
    """Let `image` be one of today's definition and lock, which is built unless it is there.

    Parameters
    ----------
    image : Path
        The link; what it links to lies beside it.
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
    _remove_leftovers(image)
    _make_link_of(image)
    target = _beside(image, wanted)
    there = _is_whole(target, wanted)
    if not there:
        _build(target, settings, wanted, root)
    _link(image, target)
    if there:
        return f"{image} is there already, for today's definition and lock ({wanted})"
    return f"{image} was built ({wanted}, {digest(image, root / RECORDS)})"


def _beside(image: Path, label: str) -> Path:
    return image.with_name(f"{image.stem}-{label}.sif")


def _remove_leftovers(image: Path) -> None:
    """Parts of images, of builds that were killed on this machine."""
    for path in image.parent.glob(f".{image.stem}@*.sif"):
        machine, _, process = path.stem.partition("@")[2].rpartition(".")
        if machine == os.uname().nodename and not Path("/proc", process).exists():
            path.unlink(missing_ok=True)


def _make_link_of(image: Path) -> None:
    """An image under the link's name, put there by hand, is kept under its own."""
    if image.is_symlink() or not image.exists():
        return
    try:
        found = label(image)
    except ContainerError:  # damaged: the link will replace it
        return
    if found:
        _link(image, image.rename(_beside(image, found)))


def _link(image: Path, target: Path) -> None:
    temporary = image.with_name(f".{image.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target.name)
    temporary.replace(image)


def _is_whole(image: Path, wanted: str) -> bool:
    try:
        return image.exists() and _inspect(image) == wanted
    except ContainerError:  # damaged: built anew
        return False


def _build(target: Path, settings: Build, wanted: str, root: Path) -> None:
    machine = f"{os.uname().nodename}.{os.getpid()}"
    temporary = target.with_name(f".{IMAGE.stem}@{machine}.sif")
    sources = pip_settings()
    try:
        with tempfile.NamedTemporaryFile("w", prefix="unirl_network_", suffix=".sh") as network:
            network.write(network_script(sources, settings.pip_options))
            network.flush()
            options = _options(settings, wanted, sources, network.name)
            messages = _run_build(root / DEFINITION, temporary, options)
        if not _is_whole(temporary, wanted):  # spython does not say whether Apptainer failed
            raise ContainerError(
                f"Apptainer could not build {DEFINITION}:\n{messages}\nSettings of the build (base, "
                "mirror, index, mounts) are in profiles/slurm/site.yaml; it needs 4 GB under "
                f"$APPTAINER_TMPDIR (else /tmp). {OTHER_WAYS}"
            )
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


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


def _options(
    settings: Build, wanted: str, sources: dict[str, list[str]], network: str
) -> list[str]:
    """Options of ``apptainer build``: settings, and from this machine what they leave open."""
    mirror = settings.mirror or debian_mirror()
    if urlsplit(mirror).username:
        raise ContainerError(
            "The Debian mirror's address holds a user name, and it would stay readable in the "
            "image. Name another one: build.mirror in profiles/slurm/site.yaml; or use "
            "build.bootstrap docker or localimage."
        )
    binds = [*settings.bind, *(f"{folder}:{folder}:ro" for folder in folders(sources))]
    arguments = {
        "bootstrap": settings.bootstrap,
        "from": settings.from_,
        "mirror": mirror,
        "torch": settings.torch,
        "network": network,
        "certificates": " ".join(sources.get("cert", [])[:1]),
        "mount_points": " ".join(bind.split(":")[1] for bind in binds if ":" in bind),
        "lock": wanted,
    }
    options = [f"--build-arg={name}={value}" for name, value in arguments.items()]
    return ["--fakeroot", *(f"--bind={bind}" for bind in binds), *options]


@dataclass(frozen=True)
class Description:
    """What jobs run in.

    Attributes
    ----------
    image : str or None
        None means the virtual environment.
    exists, fits : bool
        Whether it is there, and is what a site's jobs need.
    misfit : str
        What is wrong with it; empty if it fits or is not there.
    wanted, label, digest : str or None
        The label that today's definition and lock make; the image's own; its SHA-256.
    built : tuple of str
        All images that were built here; older ones may be removed.
    obstacle : str
        Why this machine cannot use containers; empty if it can.
    """

    image: str | None
    exists: bool
    fits: bool
    misfit: str
    wanted: str
    label: str | None
    digest: str | None
    built: tuple[str, ...]
    obstacle: str

    def text(self) -> str:
        if self.image is None:
            return "Jobs use the virtual environment: profiles/slurm/site.yaml says container: none"
        there = "is not built yet" if not self.exists else f"is there: {self.digest}"
        told = [f"Jobs run in {self.image}, which {there}", f"label wanted: {self.wanted}"]
        if self.label or self.misfit:
            told.append(f"label found:  {self.label or 'none'}")
        if self.misfit:
            told.append(f"It {self.misfit}")
        told += [f"built here:   {path}" for path in self.built]
        return "\n".join([*told, self.obstacle]).strip()


def describe(site: Site, root: Path = Path(".")) -> Description:
    """Say which image a site's jobs run in, and whether they can use it."""
    image, obstacle = site.image, why_not()
    exists = image is not None and image.exists()
    found = label(image) if image and exists and not obstacle else None
    misfit = _misfit(found, site, root) if exists and not obstacle else ""
    return Description(
        image=None if image is None else str(image),
        exists=exists,
        fits=exists and not obstacle and not misfit,
        misfit=misfit,
        wanted=wanted_label(root, site.build.torch),
        label=found,
        digest=digest(image, root / RECORDS) if image and exists else None,
        built=tuple(sorted(str(path) for path in (root / IMAGE.parent).glob("unirl-*.sif"))),
        obstacle=obstacle if image else "",
    )
