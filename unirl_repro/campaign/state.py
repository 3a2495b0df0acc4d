"""Which runs are finished, stale or missing, and why: from run.json and the checkpoints' status.

This does not rely on Snakemake's own records, which can be lost; imports no torch.
"""

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from unirl_repro.campaign.places import Places
from unirl_repro.config import Config, RunKey, RunSpec
from unirl_repro.files import write_json
from unirl_repro.fingerprint import fingerprint, spec_hash
from unirl_repro.stopping import REFUSED


class RefusedError(RuntimeError):
    """Training was not started, because it could not succeed."""


@dataclass(frozen=True)
class State:
    """What there is of a run.

    Attributes
    ----------
    kind : {"finished", "stale", "missing"}
        Finished means: trained to its budget, with today's settings and code.
    why : str
        In words, for stale and missing runs.
    """

    kind: Literal["finished", "stale", "missing"]
    why: str = ""


def run_state(spec: RunSpec, places: Places) -> State:
    """Compare a run's manifest with what its settings and code ask for today."""
    path = places.run(spec.key) / "run.json"
    if not path.exists():
        return State("missing", _why_missing(last_status(spec, places.checkpoints)))
    try:
        manifest = json.loads(path.read_text())
        then, reached = manifest["fingerprint"], manifest["budget_reached"]
        settings = manifest["spec_hash"]
    except (ValueError, KeyError, TypeError) as error:
        return State("stale", f"run.json cannot be read ({error!r})")
    if then != fingerprint(spec):
        changed = "code" if settings == spec_hash(spec) else "settings"
        return State("stale", f"its {changed} changed since it was trained")
    if reached < spec.budget:
        return State("stale", f"it stands at {reached} of {spec.budget} steps")
    return State("finished")


def is_stale(spec: RunSpec, places: Places, framed: Collection[RunKey] = ()) -> bool:
    """Whether a run is no longer what it should be, or is gone although it is in `framed`."""
    kind = run_state(spec, places).kind
    return kind == "stale" or (kind == "missing" and spec.key in framed)


def framed_runs(config: Config, places: Places) -> frozenset[RunKey]:
    """Runs of the studies that have a frame already."""
    studies = [study for study in config.studies if places.frame(study).exists()]
    scale = places.scale
    return frozenset(spec.key for study in studies for spec in config.selection(study, scale))


def unfinished(config: Config, scale: str) -> list[tuple[RunSpec, State]]:
    """All runs of a scale that are not finished, with their states."""
    places = Places(scale)
    states = [(spec, run_state(spec, places)) for spec in config.runs(scale).values()]
    return [(spec, state) for spec, state in states if state.kind != "finished"]


def explain_unfinished(config: Config, scale: str) -> str:
    """Name each run that the report still lacks, and say what to type; empty if there is none."""
    lacking = unfinished(config, scale)
    if not lacking:
        return ""
    lines = [f"{len(lacking)} of {len(config.runs(scale))} runs of scale {scale} are not finished:"]
    lines += [f"  {name(spec)}: {state.why}" for spec, state in lacking]
    lines += [
        f"Their logs: {Places(scale).home}/runs/<task>/<variant>/seed<k>/log.txt",
        "To go on where they stopped, give the same command again. For the report of what is there:",
        f"  snakemake -c2 paper_partial --config scale={scale}",
    ]
    return "\n".join(lines)


def name(spec: RunSpec) -> str:
    """``task/variant/seed<k>``."""
    task, variant, seed = spec.key
    return f"{task}/{variant}/seed{seed}"


def check_expected(spec: RunSpec, expected: str | None, checkpoints: Path) -> None:
    """Refuse to train settings or code that are not the ones that were asked for; and leave word.

    Raises
    ------
    RefusedError
        If the run's fingerprint is not `expected`.
    """
    now = fingerprint(spec)
    if expected is not None and expected != now:
        error = RefusedError(
            f"{name(spec)}: its fingerprint is {now}, expected was {expected}: config.yaml or code "
            "was edited since this job was planned. Start snakemake again, to plan with today's."
        )
        leave_word(checkpoints, expected, error)
        raise error


def leave_word(checkpoints: Path, expected: str, error: Exception) -> None:
    """Write down why an attempt could not begin: another one of the same job could not either.

    Parameters
    ----------
    checkpoints : Path
        Folder of all runs' checkpoints.
    expected : str
        Fingerprint that the job was planned with.
    error : Exception
        What was wrong with the machine or the checkout.
    """
    folder = checkpoints / expected
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / REFUSED, {"reason": str(error)})


def check_not_fatal(spec: RunSpec, checkpoints: Path) -> None:
    """Leave at once where an earlier attempt failed in a way that no retry cures.

    Raises
    ------
    RefusedError
        If status.json beside the checkpoint says so.
    """
    folder = checkpoints / fingerprint(spec)
    status = last_status(spec, checkpoints)
    if status.get("state") == "fatal":
        raise RefusedError(
            f"{name(spec)}: an earlier attempt failed twice in the same way: {status['reason']} "
            f"({folder / 'status.json'}). Mend the cause, and start it again with --retry-fatal."
        )


def last_status(spec: RunSpec, checkpoints: Path) -> dict[str, Any]:
    """What the last attempt at a run left in status.json; empty if nothing that can be read.

    It informs, and no result depends on it.
    """
    path = checkpoints / fingerprint(spec) / "status.json"
    try:
        status = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return status if isinstance(status, dict) else {}


def _why_missing(status: dict[str, Any]) -> str:
    match status.get("state"):
        case "failed" | "fatal":
            return f"failed at step {status.get('step')}: {status.get('reason')}"
        case "stopped":
            return f"stopped by {status.get('reason')} at step {status.get('step')}"
        case "running":
            return f"begun, but not finished (last known holder: {status.get('holder')})"
        case "finished":
            return "trained, but its results are gone; the checkpoint has them"
        case _:
            return "not begun"
