"""Programs of a cluster, as small scripts in front of all others."""

import os
from pathlib import Path

import pytest


def commands(folder: Path, monkeypatch: pytest.MonkeyPatch, **told: str | dict[str, str]) -> None:
    """Make each program print a text, in which the shell fills in variables.

    Parameters
    ----------
    told : str or dict
        By the program's name; of a dict, the first text whose key is among the arguments.
    """
    for name, texts in told.items():
        cases = texts if isinstance(texts, dict) else {"": texts}
        lines = [f"*{key}*) cat <<END\n{text.rstrip()}\nEND\n;;" for key, text in cases.items()]
        command(folder, monkeypatch, name, "\n".join(['case "$*" in', *lines, "esac"]))


def command(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, script: str) -> None:
    """Make a program do what a shell script says."""
    place = folder / "programs"
    place.mkdir(exist_ok=True)
    (place / name).write_text(f"#!/bin/sh\n{script}\n")
    (place / name).chmod(0o755)
    path = os.environ["PATH"].removeprefix(f"{place}:")
    monkeypatch.setenv("PATH", f"{place}:{path}")
