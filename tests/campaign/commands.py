"""Programs of a cluster, as small scripts in front of all others."""

import os
from pathlib import Path

import pytest


def commands(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    fails: bool = False,
    **told: str | dict[str, str],
) -> None:
    """Make each program print a text, in which the shell fills in variables.

    Parameters
    ----------
    fails : bool
        Print it as an error, and fail.
    told : str or dict
        By the program's name; of a dict, the first text whose key is among the arguments.
    """
    place = folder / "programs"
    place.mkdir(exist_ok=True)
    for name, texts in told.items():
        cases = texts if isinstance(texts, dict) else {"": texts}
        lines = [f"*{key}*) cat <<END\n{text.rstrip()}\nEND\n;;" for key, text in cases.items()]
        body = "\n".join(['case "$*" in', *lines, "esac"])
        script = place / name
        script.write_text(f"#!/bin/sh\n{{\n{body}\n}}" + (" >&2\nexit 1\n" if fails else "\n"))
        script.chmod(0o755)
    path = os.environ["PATH"].removeprefix(f"{place}:")
    monkeypatch.setenv("PATH", f"{place}:{path}")
