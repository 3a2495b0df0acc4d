"""Whether the container that jobs run in is there, or can be made."""

from pathlib import Path

from unirl_repro.campaign import container
from unirl_repro.campaign.container import ContainerError
from unirl_repro.campaign.finding import Finding, ok, split
from unirl_repro.campaign.places import RESULTS
from unirl_repro.campaign.site import Site

ABOUT = "container"


def check_image(site: Site, root: Path) -> Finding:
    """Whether a site's image is there and today's, or will be built."""
    if site.image is None:
        return ok(ABOUT, "none: jobs use the virtual environment")
    try:
        return ok(ABOUT, _look(site, site.image, root))
    except ContainerError as problem:
        return split(ABOUT, str(problem), "build another one: unirl-repro container build")


def _look(site: Site, image: Path, root: Path) -> str:
    there = is_there(site, root)
    to_build = site.container == "build" and not there
    if obstacle := container.why_not(site.build if to_build else None):
        raise ContainerError(obstacle)
    if to_build:
        return f"{image} will be built"
    if not there:
        container.check(root / image, root, root / RESULTS)
    return f"{image} is there, for today's lock"


def is_there(site: Site, root: Path) -> bool:
    """Whether jobs that start now would run in the image as it is."""
    image = root / site.image if site.image else None
    if image is None or not image.exists() or container.why_not():
        return False
    try:
        if site.container != "build":
            container.check(image, root, root / RESULTS)
            return True
        label = container.label(image, root / RESULTS)
    except ContainerError:
        return False
    return label == container.wanted_label(root, site.build.torch)
