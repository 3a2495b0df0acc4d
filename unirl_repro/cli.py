"""The command line: names, options and messages; what the commands do lies in the library.

Imports stand inside the commands, so that each starts with what it needs and no more.
"""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from unirl_repro.stopping import STOPPED

CONFIG = Path("config.yaml")
ARCHIVE = Path("resources/archive")
SCHEMA = Path("workflow/schemas/config.schema.yaml")
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

app = typer.Typer(
    help="Trains runs and turns their curves into figures, tables and the report.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

archive_app = typer.Typer(help="Our recorded runs: add, list, verify.", no_args_is_help=True)
app.add_typer(archive_app, name="archive")

TaskOption = Annotated[str, typer.Option(help="Task id; `unirl-repro tasks` lists them.")]
VariantOption = Annotated[str, typer.Option(help="A variant of config.yaml, perhaps with @.")]
ScaleOption = Annotated[str, typer.Option(help="smoke, quick or paper.")]
StudyOption = Annotated[str, typer.Option(help="A study of config.yaml.")]
PartialOption = Annotated[
    bool, typer.Option("--partial", help="Take whatever is finished, and recorded runs.")
]
ArchiveOption = Annotated[Path, typer.Option(help="Folder of the recorded runs.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def main() -> None:
    """Run the command line."""
    app()


@app.command()
def train(
    task: TaskOption,
    variant: VariantOption,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the run.")],
    scale: ScaleOption,
    out: Annotated[
        Path | None, typer.Option(help="Put everything here, not under results/<scale>.")
    ] = None,
    budget: Annotated[
        int | None, typer.Option(min=1, help="Environment steps, if not those of the scale.")
    ] = None,
    checkpoint_every: Annotated[float, typer.Option(min=0, help="Seconds.")] = 90.0,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    expect_fingerprint: Annotated[
        str | None, typer.Option(help="Refuse to train other settings or code than these.")
    ] = None,
    allow_other_versions: Annotated[
        bool, typer.Option("--allow-other-versions", help="Resume what other versions began.")
    ] = False,
    retry_fatal: Annotated[
        bool, typer.Option("--retry-fatal", help="Try again what was marked fatal.")
    ] = False,
    wait: Annotated[
        float, typer.Option(min=0, help="Seconds that another trainer of this run gets to leave.")
    ] = 0.0,
) -> None:
    """Train one run, from its newest checkpoint if it has one.

    Exit code 0: finished. 75: stopped by a signal, goes on when started again. 1: failed.

    Example: unirl-repro train --task cartpole-200 --variant sac --seed 0 --scale smoke --out scratch
    """
    from unirl_repro.campaign.places import Places, claim
    from unirl_repro.campaign.state import check_expected, check_not_fatal
    from unirl_repro.config import load_config

    with _messages():
        spec = load_config(CONFIG).spec(task, variant, seed, scale, budget)
        check_expected(spec, expect_fingerprint)
        if out is None:
            claim()
        checkpoints = out / "checkpoints" if out else Places(scale).checkpoints
        if not retry_fatal:
            check_not_fatal(spec, checkpoints)
    folder = out or Places(scale).run(spec.key)
    options = {
        "device": device,
        "checkpoint_every": checkpoint_every,
        "allow_other_versions": allow_other_versions,
        "retry_fatal": retry_fatal,
        "wait": wait,
    }
    _train(spec, checkpoints, folder, options)


def _train(spec: Any, checkpoints: Path, out: Path, options: dict[str, Any]) -> None:
    _use_one_thread()
    import torch

    from unirl_repro.campaign.state import name
    from unirl_repro.checkpoint import BusyError, DamagedError
    from unirl_repro.console import Console
    from unirl_repro.run import DeviceError, FatalError, MismatchError, Options, StoppedError
    from unirl_repro.run import train as train_run

    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, _as_sigterm)
    expected = (BusyError, DamagedError, DeviceError, FatalError, MismatchError)
    with _messages(*expected), Console(name(spec)) as bar:
        try:
            manifest = train_run(spec, checkpoints, out, Options(**options, report=bar.report))
        except StoppedError as stopped:
            typer.echo(f"{stopped}; start it again to go on")
            raise typer.Exit(STOPPED) from None
    speed = manifest["steps_per_second"]
    typer.echo(f"{name(spec)}: {manifest['budget_reached']} steps done, {speed:.0f} steps/s: {out}")


@app.command()
def aggregate(study: StudyOption, scale: ScaleOption, partial: PartialOption = False) -> None:
    """Put a study's curves into one frame, with a file beside it that says what ran.

    Example: unirl-repro aggregate --study unified_rl_fig2 --scale quick --partial
    """
    from unirl_repro.campaign import collect
    from unirl_repro.config import check_choice, load_config

    with _messages(collect.UnfinishedError):
        config, places = load_config(CONFIG), _places(scale, partial)
        check_choice("study", study, config.studies, "command line")
        status = collect.aggregate(config, study, places)
    finished, planned = len(status["finished"]), len(status["planned"])
    typer.echo(f"{study}: {finished} of {planned} runs: {places.frame(study)}")


@app.command()
def figure(study: StudyOption, scale: ScaleOption, partial: PartialOption = False) -> None:
    """Draw a study's figure from its frame, as PDF, SVG, PNG and CSV.

    Example: unirl-repro figure --study unified_rl_fig2 --scale quick
    """
    from unirl_repro import figures

    places = _places(scale, partial)
    with _messages(ValueError):
        files = figures.write(
            study, *_frame("figure", study, places), places.built / "figures" / study
        )
    typer.echo("\n".join(map(str, files)))


@app.command()
def table(study: StudyOption, scale: ScaleOption, partial: PartialOption = False) -> None:
    """Compute a study's table from its frame, as LaTeX and CSV.

    Example: unirl-repro table --study unified_rl_table1 --scale quick
    """
    from unirl_repro import tables

    places = _places(scale, partial)
    with _messages(ValueError):
        files = tables.write(
            study, *_frame("table", study, places), places.built / "tables" / study
        )
    typer.echo("\n".join(map(str, files)))


@app.command()
def report(scale: ScaleOption, partial: PartialOption = False) -> None:
    """Write the report's generated pieces: macros, what ran, tasks, environment, deviations.

    Example: unirl-repro report --scale quick
    """
    from unirl_repro import report as pieces
    from unirl_repro.campaign.sources import manifests
    from unirl_repro.config import load_config

    places = _places(scale, partial)
    with _messages():
        studies = load_config(CONFIG).studies
        statuses = [places.status(study) for study in studies]
        tables = [n for n, study in studies.items() if study.kind == "table"]
        csvs = [places.built / "tables" / f"{n}.csv" for n in tables]
        pieces.write_macros(scale, statuses, csvs, places.built / "macros.tex")
        pieces.write_what_ran(statuses, places.built / "what_ran.tex")
        pieces.write_environment(manifests(statuses, places), places.built / "environment.tex")
        pieces.write_deviations(places.built / "deviations.tex")
        pieces.write_tasks(places.built / "tasks.tex")


@app.command()
def pdf(scale: ScaleOption, partial: PartialOption = False) -> None:
    """Set the report from its pieces, figures and tables.

    Example: unirl-repro pdf --scale quick --partial
    """
    from unirl_repro.report import ReportError, build_pdf

    places = _places(scale, partial)
    with _messages(ReportError):
        complaints = build_pdf(Path("paper"), places.built, places.pdf, partial=partial)
    typer.echo("\n".join([*complaints, str(places.pdf)]))


@app.command()
def tasks(as_json: JsonOption = False) -> None:
    """Print the table of tasks: dimensions, horizon, termination, source, deviations.

    Example: unirl-repro tasks --json
    """
    from unirl_repro.envs import table as task_table

    if as_json:
        typer.echo(_json([row._asdict() for row in task_table.rows()]))
    else:
        typer.echo(task_table.markdown(), nl=False)


@app.command()
def schema(out: Annotated[Path, typer.Option(help="Where it goes.")] = SCHEMA) -> None:
    """Write the JSON schema of config.yaml, from the same models that check it.

    Example: unirl-repro schema
    """
    from unirl_repro.files import write_text
    from unirl_repro.schema import schema_yaml

    write_text(out, schema_yaml())


@archive_app.command()
def add(
    runs: Annotated[list[Path], typer.Argument(help="Folders of finished runs.")],
    archive: ArchiveOption = ARCHIVE,
) -> None:
    """Record finished runs of scale paper, where no longer ones of their kind are recorded.

    Example: unirl-repro archive add results/paper/runs/cartpole-200/sac_rlpd/seed*
    """
    from unirl_repro.campaign import archive as recorded
    from unirl_repro.config import load_config

    with _messages(recorded.ArchiveError):
        config = load_config(CONFIG)
        for run in runs:
            recorded.check_planned(run, config)
            typer.echo(recorded.add(run, archive).message)


@archive_app.command("list")
def list_(archive: ArchiveOption = ARCHIVE, as_json: JsonOption = False) -> None:
    """List the recorded runs, with their share of the budget at scale paper.

    Example: unirl-repro archive list --json
    """
    from unirl_repro.campaign import archive as recorded
    from unirl_repro.config import load_config

    with _messages(recorded.ArchiveError):
        config = load_config(CONFIG)
        rows = [(entry, recorded.fraction(entry, config)) for entry in recorded.entries(archive)]
    if as_json:
        typer.echo(_json([asdict(entry) | {"fraction": share} for entry, share in rows]))
        return
    for entry, share in rows:
        told = entry.problem or (
            f"{entry.steps} steps, {'no budget' if share is None else format(share, '.0%')}, "
            f"{entry.device}, {'the same' if entry.same_code else 'other'} code"
        )
        typer.echo(f"{entry.directory}: {told}")


@archive_app.command()
def verify(
    runs: Annotated[
        list[Path] | None, typer.Argument(help="Recorded runs; if none, one of each algorithm.")
    ] = None,
    archive: ArchiveOption = ARCHIVE,
    episodes: Annotated[int, typer.Option(min=1, help="Episodes with learning to repeat.")] = 2,
    as_json: JsonOption = False,
) -> None:
    """Run the start of recorded runs again and compare.

    Exit code 1: a run is different or damaged, or there is none to verify. 0: each is equal,
    differs under other conditions (versions, processor), or is not comparable on this machine.

    Example: unirl-repro archive verify resources/archive/cartpole-200/sac_rlpd/seed0
    """
    _use_one_thread()
    from unirl_repro.campaign import archive as recorded

    with _messages(recorded.ArchiveError):
        folders = runs or [e.directory for e in recorded.one_for_each_algorithm(archive)]
        if not folders:
            raise recorded.ArchiveError(
                f"{archive}: no whole run that was trained on a CPU is recorded there, so there is "
                "nothing to verify. See `unirl-repro archive list`; add one: unirl-repro archive add"
            )
        findings = [recorded.verify(folder, episodes) for folder in folders]
    told = (
        _json([asdict(f) for f in findings]) if as_json else "\n".join(f.message for f in findings)
    )
    typer.echo(told)
    if any(finding.verdict in ("different", "damaged") for finding in findings):
        raise typer.Exit(1)


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, default=str)


def _use_one_thread() -> None:
    """One process, one run, one thread; before the numerical libraries are imported."""
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))


def _places(scale: str, partial: bool) -> Any:
    from unirl_repro.campaign.places import Places
    from unirl_repro.config import SCALES, check_choice

    with _messages():
        check_choice("scale", scale, SCALES, "command line")
    return Places(scale, partial)


def _frame(kind: str, study: str, places: Any) -> tuple[Any, Any]:
    """A study's frame and status; `kind` is what will be made of them, a figure or a table."""
    import pandas as pd

    from unirl_repro.config import ConfigError, check_choice, load_config

    studies = load_config(CONFIG).studies
    check_choice("study", study, [s for s in studies if studies[s].kind == kind], "command line")
    for path in (places.frame(study), places.status(study)):
        if not path.exists():
            target = f"{kind}s_partial" if places.partial else study
            raise ConfigError(
                f"{path} is not there yet. Make it, and the {kind} too: "
                f"snakemake -c2 {target} --config scale={places.scale}"
            )
    status = json.loads(places.status(study).read_text())
    return pd.read_parquet(places.frame(study)), status


@contextmanager
def _messages(*kinds: type[Exception]) -> Iterator[None]:
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


def _as_sigterm(number: int, frame: FrameType | None) -> None:
    """Ctrl-C stops a run as a cluster would: at a safe point, with a checkpoint."""
    os.kill(os.getpid(), signal.SIGTERM)
