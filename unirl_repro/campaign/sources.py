"""Where the curve of each run of a study comes from: trained here, recorded, or nowhere.

Read while the DAG is built, so this imports no pandas.
"""

import json
import sys
from functools import cache
from pathlib import Path
from typing import Any

from unirl_repro.campaign.archive import ArchiveError, matching
from unirl_repro.campaign.places import Places
from unirl_repro.campaign.state import name, run_state
from unirl_repro.config import Config, RunSpec
from unirl_repro.fingerprint import code_hash

ARCHIVE = Path("resources/archive")


def specs(config: Config, study: str, places: Places) -> list[RunSpec]:
    """Runs of a study, as trained: with the largest budget that any study asks of them."""
    runs = config.runs(places.scale)
    return [runs[spec.key] for spec in config.selection(study, places.scale)]


def source(spec: RunSpec, places: Places, archive: Path = ARCHIVE) -> Path | None:
    """Folder of a run's results: its own if finished; in a partial report perhaps a recorded one.

    A recording that is damaged is none, with a warning.
    """
    if run_state(spec, places).kind == "finished":
        return places.run(spec.key)
    try:
        return matching(spec, archive) if places.partial else None
    except ArchiveError as error:
        _warn(f"{error} Until then that run counts as not recorded.")
        return None


@cache  # while the DAG is built, the same run is looked for again and again
def _warn(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr, flush=True)


def available(
    config: Config, study: str, places: Places, archive: Path = ARCHIVE
) -> dict[str, tuple[str, str, str, bool]]:
    """What a partial frame would be made of, and be marked with.

    Returns
    -------
    dict
        For each run that is there its folder, the hashes of its curve and its metrics, and
        whether today's code means the same as the code that made it.
    """
    folders = {spec: source(spec, places, archive) for spec in specs(config, study, places)}
    return {name(spec): _contribution(spec, f) for spec, f in folders.items() if f}


def _contribution(spec: RunSpec, folder: Path) -> tuple[str, str, str, bool]:
    manifest = read_manifest(folder)
    same, hashes = manifest["code_hash"] == code_hash(spec), manifest["hashes"]
    return str(folder), hashes["curve"], hashes["metrics"], same


def manifests(statuses: list[Path], places: Places, archive: Path = ARCHIVE) -> list[Path]:
    """run.json of each run that the frames were made of."""
    found: set[Path] = set()
    for path in statuses:
        status = json.loads(path.read_text())
        for run in status["finished"]:
            key = (run["task"], run["variant"], run["seed"])
            recorded = archive / key[0] / key[1] / f"seed{key[2]}"
            found.add((recorded if run in status["archive"] else places.run(key)) / "run.json")
    return sorted(found)


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read a run's run.json."""
    return json.loads((folder / "run.json").read_text())
