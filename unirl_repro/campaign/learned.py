"""Studies without runs that train models: a part of the frame for each seed, and what it hangs on.

Read while the DAG is built, so this imports no pandas.
"""

import json
from dataclasses import asdict

from unirl_repro.campaign.places import Places
from unirl_repro.config import Config
from unirl_repro.fingerprint import identity_hash, modules_hash
from unirl_repro.learned.sizes import SIZES


def learned_fingerprint(study: str, scale: str) -> str:
    """Identity of a study's numbers at a scale: its sizes, and the meaning of its code."""
    code = modules_hash(module(study))
    return identity_hash({"code": code, "sizes": asdict(SIZES[study][scale])})


def module(study: str) -> str:
    """Name of the module that computes a study."""
    return f"unirl_repro.learned.{study}"


def finished_seeds(config: Config, study: str, places: Places) -> list[int]:
    """The seeds of a study whose parts are there, computed as they would be today."""
    expected = learned_fingerprint(study, places.scale)
    return [
        seed
        for seed in config.learned_seeds(study, places.scale)
        if _fingerprint_of(study, seed, places) == expected
    ]


def _fingerprint_of(study: str, seed: int, places: Places) -> str | None:
    path = places.part_manifest(study, seed)
    if not path.exists() or not places.part(study, seed).exists():
        return None
    return json.loads(path.read_text())["fingerprint"]
