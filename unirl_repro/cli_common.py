"""What the commands share: options, messages, and how an expected error is told."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

CONFIG = Path("config.yaml")
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

TaskOption = Annotated[str, typer.Option(help="Task id; `unirl-repro tasks` lists them.")]
VariantOption = Annotated[str, typer.Option(help="A variant of config.yaml, perhaps with @.")]
ScaleOption = Annotated[str, typer.Option(help="smoke, quick or paper.")]
StudyOption = Annotated[str, typer.Option(help="A study of config.yaml.")]
PartialOption = Annotated[
    bool, typer.Option("--partial", help="Take whatever is finished, and recorded runs.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def dumped(value: Any) -> str:
    return json.dumps(value, indent=1, default=str)


def use_one_thread() -> None:
    """One process, one run, one thread; before the numerical libraries are imported."""
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))


def check_scale(scale: str) -> None:
    from unirl_repro.config import SCALES, check_choice

    with messages():
        check_choice("scale", scale, SCALES, "command line")


def places_of(scale: str, partial: bool) -> Any:
    """Where a scale's results lie, in a format that this version reads."""
    from unirl_repro.campaign.places import Places, check_format

    check_scale(scale)
    places = Places(scale, partial)
    with messages():
        check_format(places.root)
    return places


@contextmanager
def messages(*kinds: type[Exception]) -> Iterator[None]:
    """Expected errors, and those of `kinds`, become a paragraph and exit code 1."""
    from unirl_repro.campaign.state import RefusedError
    from unirl_repro.config import ConfigError

    expected: tuple[type[Exception], ...] = (ConfigError, RefusedError, OSError, *kinds)
    try:
        yield
    except expected as error:
        typer.echo(f"error: {_explain(error)}", err=True)
        raise typer.Exit(1) from None


def _explain(error: Exception) -> str:
    if not isinstance(error, OSError):
        return str(error)
    where = error.filename or "a file"
    return (
        f"{where}: {error.strerror or error}. Nothing that was finished is lost: mend this and "
        "start again, and the work goes on where it was saved."
    )
