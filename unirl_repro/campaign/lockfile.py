"""Whether the packages that are installed are those of requirements.lock."""

import re
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from unirl_repro.campaign.finding import Finding, error, ok, warning

LOCK = Path("requirements.lock")
SHOWN = 5
_LINE = re.compile(r"^([A-Za-z0-9][\w.-]*)==(\S+)(?: ; (.*?))?(?: \\)?$", re.MULTILINE)


def check_lock(root: Path) -> Finding:
    """Compare this interpreter's packages with the lock."""
    have = installed()
    try:
        text = (root / LOCK).read_text()
    except OSError as problem:
        return error("lock", f"{root / LOCK}: {problem.strerror}", "git checkout requirements.lock")
    target = "cuda" if "torch" in have and "+cpu" not in have["torch"] else "cpu"
    return compare(locked(text, target), have, target)


def compare(wanted: Mapping[str, str], have: Mapping[str, str], target: str) -> Finding:
    """What differs, as a finding; `target` is the build of torch."""
    differ = {n: have.get(n, "none") for n, v in wanted.items() if not _same(have.get(n), v)}
    if not differ:
        return ok("lock", f"{len(wanted)} packages, installed as {LOCK} has them")
    shown = [f"{n} {found} (locked: {wanted[n]})" for n, found in sorted(differ.items())]
    more = f" and {len(shown) - SHOWN} more" if len(shown) > SHOWN else ""
    return warning(
        "lock",
        f"installed packages differ from {LOCK}: {', '.join(shown[:SHOWN])}{more}",
        f"rm -f .venv/.setup-stamp && make setup TORCH={target}",
    )


def locked(text: str, target: str) -> dict[str, str]:
    """Versions that a lock has for this interpreter, by normalised name.

    Parameters
    ----------
    text : str
        Content of the lock; each line may end in a marker.
    target : {"cpu", "cuda"}
        Which of the lock's extras holds.
    """
    from packaging.markers import Marker

    return {
        _normal(name): version
        for name, version, marker in _LINE.findall(text)
        if not marker or Marker(marker).evaluate({"extra": target})
    }


def installed() -> dict[str, str]:
    """Versions of all installed packages, by normalised name."""
    found = [(d.metadata["Name"], d.version) for d in metadata.distributions()]
    # Of two with one name, the first is the one that is imported; half-removed ones have none.
    return {_normal(name): version for name, version in reversed(found) if name}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _same(have: str | None, wanted: str) -> bool:
    """A build's own mark counts only where the lock names one: 2.13.0+cu130 is 2.13.0."""
    if have is None:
        return False
    return have == wanted or ("+" not in wanted and have.partition("+")[0] == wanted)
