"""Where the curve of each run of a study comes from: trained here, recorded, or nowhere.

Read while the DAG is built, so this imports no pandas.
"""

import json
from pathlib import Path
from typing import Any

from unirl_repro.campaign.archive import matching
from unirl_repro.campaign.places import Places
from unirl_repro.campaign.state import name, run_state
from unirl_repro.config import Config, RunSpec

ARCHIVE = Path("resources/archive")


def specs(config: Config, study: str, places: Places) -> list[RunSpec]:
    """Runs of a study, as trained: with the largest budget that any study asks of them."""
    runs = config.runs(places.scale)
    return [runs[spec.key] for spec in config.selection(study, places.scale)]


def source(spec: RunSpec, places: Places, archive: Path = ARCHIVE) -> Path | None:
    """Folder of a run's results: its own if finished; in a partial report perhaps a recorded one."""
    if run_state(spec, places).kind == "finished":
        return places.run(spec.key)
    return matching(spec, archive) if places.partial else None


def available(config: Config, study: str, places: Places) -> dict[str, str]:
    """What a partial frame would be made of: for each run that is there the hash of its curve."""
    folders = {name(spec): source(spec, places) for spec in specs(config, study, places)}
    return {run: read_manifest(f)["hashes"]["curve"] for run, f in folders.items() if f}


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
