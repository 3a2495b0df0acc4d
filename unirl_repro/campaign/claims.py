"""The register of claims on a scale's frames: verdicts with their costs, as claims.json and .tex."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from unirl_repro.analysis import claims_tex
from unirl_repro.analysis.claims import evaluate
from unirl_repro.analysis.claims_register import (
    REGISTER,
    Claim,
    load_register,
    measured,
    studies,
)
from unirl_repro.analysis.frames import load_published, with_metrics
from unirl_repro.campaign import plan
from unirl_repro.campaign.places import Places
from unirl_repro.campaign.site import Site
from unirl_repro.config import Config, ConfigError, RunSpec
from unirl_repro.files import write_json, write_text

# Whose rows give each task its range.
PRINTED = ("unified_rl_table1", "usbpo_ranges")
DECIDING = "paper"
WIDTH = 200  # characters of the printed table, where there is no terminal
SOURCES = ("measured", "borrowed", "guess")  # of speeds, from the best to the worst


def decide(
    config: Config, places: Places, site: Site, path: Path = REGISTER
) -> list[dict[str, Any]]:
    """Decide all claims from the frames of a scale.

    Parameters
    ----------
    config : Config
        The experiment.
    places : Places
        Where the frames lie, complete or partial ones.
    site : Site
        On what models would be learned, which the costs depend on.
    path : Path
        The register.

    Returns
    -------
    list of dict
        A claim each, as `analysis.claims.evaluate` has it, with `cost` (of its runs at scale
        paper) and `provisional` (tasks whose training lengths are not known).

    Raises
    ------
    ConfigError
        If the register has a mistake, or a frame is not there yet.
    """
    register = load_register(config, path)
    needed = studies(register)
    frames = {study: _read_frame(study, places) for study in needed}
    for study in measured(register):
        metrics = pd.read_parquet(_there(places.metrics(study), places))
        frames[study] = with_metrics(frames[study], metrics)
    statuses = {study: json.loads(places.status(study).read_text()) for study in needed}
    published = pd.concat([load_published(name) for name in PRINTED], ignore_index=True)
    return [
        evaluate(name, claim, frames, statuses, published, places.scale)
        | {"cost": cost(claim, config, site), "provisional": provisional(claim, config)}
        for name, claim in register.items()
    ]


def write(found: list[dict[str, Any]], places: Places) -> list[Path]:
    """Write claims.json and claims.tex; returns their paths."""
    paths = [places.built / "claims.json", places.built / "claims.tex"]
    places.built.mkdir(parents=True, exist_ok=True)
    write_json(paths[0], found)
    write_text(paths[1], claims_tex.tex(found))
    return paths


def show(found: list[dict[str, Any]]) -> None:
    """Print a table of the verdicts, with what each rests on."""
    from rich.console import Console
    from rich.table import Table

    table = Table("claim", "where", "verdict", "runs", "why", "printed", "core-hours")
    for claim in found:
        runs, hours = claim["runs"], claim["cost"]
        table.add_row(
            *(claim["id"], claim["where"], claim["verdict"]),
            f"{runs['there']}/{runs['planned']}" if runs["planned"] else "-",
            claim["why"],
            (claim["printed_verdict"] or "-").removeprefix("the printed numbers "),
            f"{hours['core_hours']:,.0f}" if hours["runs"] else "-",
        )
    screen = Console()
    # Into a file as wide as it takes; a terminal has its own width.
    (screen if screen.is_terminal else Console(width=WIDTH)).print(table)


def cost(claim: Claim, config: Config, site: Site) -> dict[str, Any]:
    """What a claim's runs take at scale paper, from nothing; claims share runs.

    Returns
    -------
    dict
        runs, core_hours, gpu_hours, speed (the worst source of the speeds they come from: measured,
        borrowed or guess) and without (algorithms that the claim needs and that are not counted).
    """
    specs = _specs(claim, config)
    totals = {"core_hours": 0.0, "gpu_hours": 0.0}
    sources = set()
    for spec in specs:
        device = plan.device(spec, site)
        speed = plan.speed(spec, device)
        hours = spec.budget / speed.steps_per_second / 3600
        totals["core_hours"] += hours
        if site.gpu and device == "cuda":
            totals["gpu_hours"] += hours / site.gpu.runs_per_gpu
        sources.add(speed.source)
    return {
        "runs": len(specs),
        **totals,
        "speed": max(sources, key=SOURCES.index, default=None),
        "without": list(claim.absent),
    }


def provisional(claim: Claim, config: Config) -> list[str]:
    """Tasks of a claim whose training lengths are provisional: deviation R1."""
    budgets = config.budgets.get(claim.document, {})
    return [t for t in claim.tasks if t in budgets and budgets[t].status == "provisional"]


def _specs(claim: Claim, config: Config) -> list[RunSpec]:
    keys: Iterable[tuple[str, str, int]] = (
        (task, variant, seed)
        for selection in claim.runs
        for task in selection.tasks
        for variant in selection.variants
        for seed in range(selection.seeds)
    )
    return [config.spec(*key, DECIDING) for key in dict.fromkeys(keys)]


def _read_frame(study: str, places: Places) -> pd.DataFrame:
    path = _there(places.frame(study), places)
    _there(places.status(study), places)
    return pd.read_parquet(path)


def _there(path: Path, places: Places) -> Path:
    if not path.exists():
        target = "claims_partial" if places.partial else "claims"
        raise ConfigError(
            f"{path} is not there yet. Make it, and the claims too: "
            f"snakemake -c2 {target} --config scale={places.scale}"
        )
    return path
