"""Whether the container that jobs run in is there, or can be made, and what is in it."""

from pathlib import Path

from unirl_repro.campaign import container
from unirl_repro.campaign.container import ContainerError
from unirl_repro.campaign.finding import Finding, error, ok
from unirl_repro.campaign.lockfile import installed
from unirl_repro.campaign.site import SITE, Site

ABOUT = "container"


def check_image(site: Site, root: Path) -> Finding:
    """Whether a site's image is there and today's, or will be built."""
    if site.image is None:
        return ok(ABOUT, "none: jobs use the virtual environment")
    try:
        return ok(ABOUT, _look(site, site.image, root))
    except ContainerError as problem:
        return error(ABOUT, str(problem))  # which says what to do


def _look(site: Site, image: Path, root: Path) -> str:
    there = is_there(site, root)
    to_build = site.container == "build" and not there
    if obstacle := container.why_not(site.build if to_build else None):
        raise ContainerError(obstacle)
    if to_build:
        return f"{image} will be built"
    if not there:
        container.check(root / image, site, root)
    return f"{image} is there, for today's lock"


def check_torch(site: Site) -> Finding:
    """Whether jobs that are given a GPU can use it, as far as that can be told from here."""
    about, told = "torch", "runs will ask for GPUs, but {} has a torch without CUDA"
    if site.container == "build" and site.build.torch == "cpu":
        mend = f"`build: {{torch: cuda}}` in {SITE}, or remove `gpu:` there"
        return error(about, told.format("the container that is built"), mend)
    if site.container == "none" and "+cpu" in installed().get("torch", ""):
        mend = f"make setup TORCH=cuda, or remove `gpu:` from {SITE}"
        return error(about, told.format("this virtual environment"), mend)
    return ok(about, "not known to lack CUDA")


def is_there(site: Site, root: Path) -> bool:
    """Whether jobs that start now would run in the image as it is."""
    if site.image is None or container.why_not():
        return False
    try:
        container.check(root / site.image, site, root)
    except ContainerError:
        return False
    return True
