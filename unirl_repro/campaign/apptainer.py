"""What Apptainer needs of a machine, and what it is told there."""

import os
import pwd
import shutil
from pathlib import Path

from unirl_repro.campaign.site import Build

OTHER_WAYS = (
    "Or do without, in profiles/slurm/site.yaml: `container: none` lets jobs use the virtual "
    "environment, `container: PATH` an image that is there already."
)
PROC = Path("/proc")
SUBUID = Path("/etc/subuid")
PROFILES = Path("/etc/apparmor.d")
GPU_CONTROL = Path("/dev/nvidiactl")
APPARMOR = "kernel.apparmor_restrict_unprivileged_userns"
# Kernel's switch of user namespaces, the value that forbids them, and what allows them.
SWITCHES = (
    ("kernel.unprivileged_userns_clone", "0", "sysctl kernel.unprivileged_userns_clone=1"),
    ("user.max_user_namespaces", "0", "sysctl user.max_user_namespaces=15000"),
    (
        APPARMOR,
        "1",
        f"a profile of Apptainer in {PROFILES} (ppa:apptainer/ppa), sysctl {APPARMOR}=0",
    ),
)


def set_environment() -> None:
    """Tell Apptainer how commands that this process starts are run on this machine.

    GPUs where there are any; folders outside the checkout that it links to; namespaces where root
    may not do all that Apptainer expects. A job inherits what was set where it was submitted:
    what is not true here goes.
    """
    _switch("APPTAINER_NV", GPU_CONTROL.exists())
    if os.geteuid() == 0:
        _switch("APPTAINER_USERNS", _root_is_restricted())
    binds = [*os.environ.get("APPTAINER_BIND", "").split(","), *_linked_folders(Path("."))]
    if any(binds):
        os.environ["APPTAINER_BIND"] = ",".join(dict.fromkeys(filter(None, binds)))


def _switch(name: str, on: bool) -> None:
    if on:
        os.environ[name] = "1"
    else:
        os.environ.pop(name, None)


def _linked_folders(root: Path) -> list[str]:
    """What the checkout links to elsewhere, such as results on another disk."""
    here, found = root.resolve(), []
    for link in sorted(path for path in root.iterdir() if path.is_symlink()):
        target = link.resolve()
        if target.is_dir() and not target.is_relative_to(here):
            text = os.path.normpath(here / link.readlink())
            # A link whose text leads through another link needs the place that the text names.
            found += [str(target)] if text == str(target) else [str(target), f"{target}:{text}"]
    return found


def _root_is_restricted() -> bool:
    """Apptainer gives root's processes all capabilities; it fails where root lacks one itself."""
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
        other = shutil.which("singularity") is not None
        told = ", and SingularityCE does not stand in for it" if other else ""
        return f"Apptainer is missing{told}. Debian and Ubuntu: scripts/apptainer.sh installs it."
    if shutil.which("singularity") is None:
        return (
            "The command `singularity` is missing, Apptainer's older name, by which spython calls "
            "it. Make it: ln -s apptainer $(dirname $(command -v apptainer))/singularity"
        )
    for name, off, mend in SWITCHES:
        if _is_off(name, off) and not _has_setuid():
            return (
                f"Unprivileged user namespaces are off ({name} is {off}), and Apptainer has no "
                f"setuid helper. Ask the administrator for any of these: {mend}, or the package "
                "apptainer-suid."
            )
    return ""


def _is_off(name: str, off: str) -> bool:
    if name == APPARMOR and (os.geteuid() == 0 or any(PROFILES.glob("*apptainer*"))):
        return False
    switch = PROC / "sys" / name.replace(".", "/")
    return switch.exists() and switch.read_text().strip() == off


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
