"""The command line: names, options and messages; what the commands do lies in the library.

Imports stand inside the commands, so that each starts with what it needs and no more.
"""

import json
import os
import signal
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from unirl_repro import cli_campaign
from unirl_repro.cli_common import (
    CONFIG,
    JsonOption,
    PartialOption,
    ScaleOption,
    StudyOption,
    TaskOption,
    VariantOption,
    dumped,
    messages,
    places_of,
    use_one_thread,
)
from unirl_repro.stopping import STOPPED

SCHEMA = Path("workflow/schemas/config.schema.yaml")

app = typer.Typer(
    help="Trains runs and turns their curves into figures, tables and the report.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


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

    with messages():
        spec = load_config(CONFIG).spec(task, variant, seed, scale, budget)
        checkpoints = out / "checkpoints" if out else Places(scale).checkpoints
        check_expected(spec, expect_fingerprint, checkpoints)
        if out is None:
            claim()
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
    use_one_thread()
    import torch

    from unirl_repro.campaign.state import leave_word, name
    from unirl_repro.checkpoint import BusyError, DamagedError
    from unirl_repro.console import Console
    from unirl_repro.fingerprint import fingerprint
    from unirl_repro.run import DeviceError, FatalError, MismatchError, Options, StoppedError
    from unirl_repro.run import train as train_run

    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, _as_sigterm)
    expected = (BusyError, DamagedError, DeviceError, FatalError, MismatchError)
    with messages(*expected), Console(name(spec)) as bar:
        try:
            manifest = train_run(spec, checkpoints, out, Options(**options, report=bar.report))
        except DeviceError as error:
            leave_word(checkpoints, fingerprint(spec), error)
            raise
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

    with messages(collect.UnfinishedError):
        config, places = load_config(CONFIG), places_of(scale, partial)
        named = [name for name, content in config.studies.items() if content.has_runs]
        check_choice("study", study, named, "command line")
        status = collect.aggregate(config, study, places)
    finished, planned = len(status["finished"]), len(status["planned"])
    typer.echo(f"{study}: {finished} of {planned} runs: {places.frame(study)}")


@app.command()
def tabular(study: StudyOption, scale: ScaleOption, partial: PartialOption = False) -> None:
    """Compute a study without runs, exactly or by sampling finite MDPs, and write its frame.

    Example: unirl-repro tabular --study mnm_fig3 --scale quick
    """
    use_one_thread()
    from unirl_repro.campaign.tabular import compute
    from unirl_repro.config import check_choice, load_config

    with messages(ValueError):
        config, places = load_config(CONFIG), places_of(scale, partial)
        named = [name for name, content in config.studies.items() if content.tabular]
        check_choice("study", study, named, "command line")
        status = compute(config, study, places)
    typer.echo(f"{study}: computed with {status['seeds']} seeds: {places.frame(study)}")


@app.command()
def learn(
    study: StudyOption,
    scale: ScaleOption,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all that is random in it.")],
) -> None:
    """Train the policies and models of one seed of a study without runs, and write its numbers.

    Example: unirl-repro learn --study mbpo_blog_fig2 --scale smoke --seed 0
    """
    use_one_thread()
    import torch

    from unirl_repro.campaign.learning import learn as compute
    from unirl_repro.config import load_config

    torch.set_num_threads(1)
    with messages():
        places = places_of(scale, partial=False)
        _check_learned(load_config(CONFIG), study)
        compute(study, seed, places)
    typer.echo(f"{study}, seed {seed}: {places.part(study, seed)}")


@app.command()
def gather(study: StudyOption, scale: ScaleOption, partial: PartialOption = False) -> None:
    """Put the seeds of a study that trains models of its own into one frame.

    Example: unirl-repro gather --study mbpo_blog_fig2 --scale quick --partial
    """
    from unirl_repro.campaign import collect, gathering
    from unirl_repro.config import load_config

    with messages(collect.UnfinishedError):
        config, places = load_config(CONFIG), places_of(scale, partial)
        _check_learned(config, study)
        status = gathering.gather(config, study, places)
    there, planned = status["seeds"], status["planned_seeds"]
    typer.echo(f"{study}: {there} of {planned} seeds: {places.frame(study)}")


def _check_learned(config: Any, study: str) -> None:
    from unirl_repro.config import check_choice

    named = [name for name, content in config.studies.items() if content.learned]
    check_choice("study", study, named, "command line")


@app.command()
def figure(study: StudyOption, scale: ScaleOption, partial: PartialOption = False) -> None:
    """Draw a study's figure from its frame, as PDF, SVG, PNG and CSV.

    Example: unirl-repro figure --study unified_rl_fig2 --scale quick
    """
    from unirl_repro import figures

    places = places_of(scale, partial)
    with messages(ValueError):
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

    places = places_of(scale, partial)
    with messages(ValueError):
        files = tables.write(
            study, *_frame("table", study, places), places.built / "tables" / study
        )
    typer.echo("\n".join(map(str, files)))


@app.command()
def claims(scale: ScaleOption, partial: PartialOption = False, as_json: JsonOption = False) -> None:
    """Decide each claim of paper/claims.yaml from a scale's frames, as claims.json and claims.tex.

    Example: unirl-repro claims --scale paper --partial
    """
    from unirl_repro.campaign import claims as register
    from unirl_repro.campaign.site import submitted_site
    from unirl_repro.config import load_config

    places = places_of(scale, partial)
    with messages(ValueError):
        found = register.decide(load_config(CONFIG), places, submitted_site())
        files = register.write(found, places)
    if as_json:
        typer.echo(files[0].read_text(), nl=False)
    else:
        register.show(found)
        typer.echo("\n".join(map(str, files)))


@app.command()
def report(scale: ScaleOption, partial: PartialOption = False) -> None:
    """Write the report's generated pieces: macros, what ran, tasks, environment, deviations.

    Example: unirl-repro report --scale quick
    """
    from unirl_repro import report as pieces
    from unirl_repro.campaign.sources import manifests
    from unirl_repro.config import load_config

    places = places_of(scale, partial)
    with messages():
        studies = load_config(CONFIG).studies
        statuses = [places.status(study) for study in studies]
        tables = [n for n, study in studies.items() if study.kind == "table"]
        csvs = [places.built / "tables" / f"{n}.csv" for n in tables]
        figures = [n for n, study in studies.items() if study.kind == "figure"]
        drawn = [places.built / "figures" / f"{n}.csv" for n in figures]
        pieces.write_macros(scale, statuses, csvs, places.built / "macros.tex", drawn)
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

    places = places_of(scale, partial)
    with messages(ReportError):
        complaints = build_pdf(Path("paper"), places.built, places.pdf, partial=partial)
    typer.echo("\n".join([*complaints, str(places.pdf)]))


@app.command()
def tasks(as_json: JsonOption = False) -> None:
    """Print the table of tasks: dimensions, horizon, termination, source, deviations.

    Example: unirl-repro tasks --json
    """
    from unirl_repro.envs import table as task_table

    if as_json:
        typer.echo(dumped([row._asdict() for row in task_table.rows()]))
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


for command in (
    cli_campaign.plan,
    cli_campaign.preflight,
    cli_campaign.status,
    cli_campaign.gc,
):
    app.command()(command)
app.add_typer(cli_campaign.archive_app, name="archive")
app.add_typer(cli_campaign.container_app, name="container")


def _frame(kind: str, study: str, places: Any) -> tuple[Any, Any]:
    """A study's frame and status; `kind` is what will be made of them, a figure or a table."""
    import pandas as pd

    from unirl_repro.analysis.frames import with_metrics
    from unirl_repro.config import ConfigError, check_choice, load_config

    studies = load_config(CONFIG).studies
    check_choice("study", study, [s for s in studies if studies[s].kind == kind], "command line")
    for path in (places.frame(study), places.metrics(study), places.status(study)):
        if not path.exists():
            target = f"{kind}s_partial" if places.partial else study
            raise ConfigError(
                f"{path} is not there yet. Make it, and the {kind} too: "
                f"snakemake -c2 {target} --config scale={places.scale}"
            )
    status = json.loads(places.status(study).read_text())
    rows, metrics = (pd.read_parquet(of(study)) for of in (places.frame, places.metrics))
    return with_metrics(rows, metrics), status


def _as_sigterm(number: int, frame: FrameType | None) -> None:
    """Ctrl-C stops a run as a cluster would: at a safe point, with a checkpoint."""
    os.kill(os.getpid(), signal.SIGTERM)
