"""Commands about many runs and the machines they run on."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from unirl_repro.cli_common import (
    CONFIG,
    JsonOption,
    ScaleOption,
    check_scale,
    dumped,
    messages,
    places_of,
    use_one_thread,
)

ARCHIVE = Path("resources/archive")
ArchiveOption = Annotated[Path, typer.Option(help="Folder of the recorded runs.")]

archive_app = typer.Typer(help="Our recorded runs: add, list, verify.", no_args_is_help=True)
container_app = typer.Typer(help="The image that jobs run in: build, show.", no_args_is_help=True)


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

    with messages(recorded.ArchiveError):
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

    with messages(recorded.ArchiveError):
        config = load_config(CONFIG)
        rows = [(entry, recorded.fraction(entry, config)) for entry in recorded.entries(archive)]
    if as_json:
        typer.echo(dumped([asdict(entry) | {"fraction": share} for entry, share in rows]))
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
    use_one_thread()
    from unirl_repro.campaign import archive as recorded

    with messages(recorded.ArchiveError):
        folders = runs or [e.directory for e in recorded.one_for_each_algorithm(archive)]
        if not folders:
            raise recorded.ArchiveError(
                f"{archive}: no whole run that was trained on a CPU is recorded there, so there is "
                "nothing to verify. See `unirl-repro archive list`; add one: unirl-repro archive add"
            )
        findings = [recorded.verify(folder, episodes) for folder in folders]
    told = (
        dumped([asdict(f) for f in findings]) if as_json else "\n".join(f.message for f in findings)
    )
    typer.echo(told)
    if any(finding.verdict in ("different", "damaged") for finding in findings):
        raise typer.Exit(1)


def plan(
    scale: ScaleOption,
    jobs: Annotated[int, typer.Option(min=1, help="Jobs that run at the same time.")] = 200,
    gpus: Annotated[int, typer.Option(min=1, help="GPUs that are free at the same time.")] = 8,
    as_json: JsonOption = False,
) -> None:
    """Say what a scale needs before anything is submitted: runs, hours, wall time, disk.

    From measured speeds; what is finished already does not count again.

    Example: unirl-repro plan --scale paper --jobs 100 --gpus 4
    """
    from unirl_repro.campaign.forecast import forecast
    from unirl_repro.campaign.site import load_site
    from unirl_repro.config import load_config

    places = places_of(scale, False)
    with messages():
        config, site = load_config(CONFIG), load_site()
        needs = forecast(config, scale, site, jobs=jobs, gpus=gpus, places=places)
    typer.echo(dumped(asdict(needs)) if as_json else needs.text())


def status(
    scale: ScaleOption,
    everything: Annotated[bool, typer.Option("--all", help="List finished runs too.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Say which runs are finished, running, failed or stale, and why; and plan against actuals.

    Example: unirl-repro status --scale paper
    """
    from unirl_repro.campaign.progress import progress
    from unirl_repro.campaign.site import load_site
    from unirl_repro.config import load_config

    places = places_of(scale, False)
    with messages():
        found = progress(load_config(CONFIG), places, load_site())
    typer.echo(dumped(asdict(found)) if as_json else found.text(all=everything))


def gc(
    scale: ScaleOption,
    finished: Annotated[
        bool, typer.Option("--finished", help="The last checkpoint of finished runs too.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove checkpoints that nothing needs: of stale runs, and older ones of finished runs.

    Says how much before it asks. After --finished any rerun of those runs starts anew, whatever
    asks for it: a larger budget, lost results, a forced rule. It is refused while Snakemake runs
    here, or has been stopped and would go back to them.

    Example: unirl-repro gc --scale paper
    """
    from unirl_repro.campaign import cleanup
    from unirl_repro.config import load_config

    places = places_of(scale, False)
    with messages(cleanup.InUseError):
        removals = cleanup.removable(load_config(CONFIG), places, finished=finished)
        typer.echo(
            dumped([asdict(r) for r in removals]) if as_json else cleanup.text(removals, places)
        )
        if not removals or not (yes or (not as_json and typer.confirm("Remove them?"))):
            return
        freed = cleanup.remove(removals, load_config(CONFIG), places, finished=finished)
    typer.echo(f"{freed / 2**20:,.0f} MiB freed", err=as_json)


def preflight(
    scale: ScaleOption = "paper",
    probe: Annotated[
        bool, typer.Option("--probe", help="Run a short job that looks from a compute node.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check this machine and its cluster before anything is submitted; ends with what to mend.

    Exit code 1: something is wrong that would make jobs fail.

    Example: unirl-repro preflight --probe
    """
    from unirl_repro.campaign import preflight as checks
    from unirl_repro.campaign.site import load_site
    from unirl_repro.config import load_config

    check_scale(scale)  # results of another format are one of the findings
    with messages():
        findings = checks.preflight(load_config(CONFIG), scale, load_site(), probe=probe)
    typer.echo(dumped([asdict(f) for f in findings]) if as_json else checks.text(findings))
    if any(finding.kind == "error" for finding in findings):
        raise typer.Exit(1)


@container_app.command()
def build() -> None:
    """Build the image that jobs run in, if it is not there for today's definition and lock.

    How it is built stands in profiles/slurm/site.yaml, under build.

    Example: unirl-repro container build
    """
    from unirl_repro.campaign import container
    from unirl_repro.campaign.site import load_site

    with messages(container.ContainerError):
        typer.echo(container.build(container.IMAGE, load_site().build))


@container_app.command()
def show(as_json: JsonOption = False) -> None:
    """Say which image jobs run in, what it was built from, and whether that is today's lock.

    Example: unirl-repro container show --json
    """
    from unirl_repro.campaign import container
    from unirl_repro.campaign.site import load_site

    with messages(container.ContainerError):
        shown = container.describe(load_site())
    typer.echo(dumped(asdict(shown)) if as_json else shown.text())
