"""Under which conditions a recorded run ran, what of them is another today, and what is lacking."""

import os
import shutil
import sys
import sysconfig
from pathlib import Path
from typing import Any


def changed(segments: list[dict[str, Any]], suite: str) -> list[str]:
    """What of the versions and of the processor that segments ran with is another today, in words.

    Parameters
    ----------
    segments : list of dict
        Segments that ran on a CPU, as run.json has them.
    suite : str
        Of the run's task; its packages count too.
    """
    from unirl_repro.run import segment_header

    today = segment_header("cpu", suite)
    now = today["versions"] | {"processor": today["device_model"]}
    found = set()
    for segment in segments:
        then = segment["versions"] | {"processor": segment["device_model"]}
        differing = (name for name in then if then[name] != now.get(name, "none"))
        found |= {f"{name}: {then[name]} then, {now.get(name, 'none')} now" for name in differing}
    return sorted(found)


def why_not_compiled() -> str:
    """Why runs cannot be compiled on this machine, and what to do; empty if they can."""
    usual = "clang++" if sys.platform == "darwin" else "g++"
    compiler = os.environ.get("CXX", usual)  # as torch.compile chooses it
    if shutil.which(compiler) is None:
        return f"there is no C++ compiler {compiler!r}. Install one, or name yours in CXX"
    header = Path(sysconfig.get_paths()["include"], "Python.h")
    if not header.exists():
        return f"{header} is missing. Install the development files of this Python"
    return ""
