"""Computes one seed of a study that trains models: a job of its own, so it imports no statistics."""

from importlib import import_module
from importlib.metadata import version
from typing import Any, Protocol, cast

import pandas as pd

from unirl_repro.campaign.learned import learned_fingerprint, module
from unirl_repro.campaign.places import Places
from unirl_repro.files import write_bytes, write_json
from unirl_repro.learned.sizes import SIZES

PACKAGES = ("gymnasium", "mujoco", "numpy", "torch")


class Experiment(Protocol):
    """What a module of a study that trains models offers."""

    def run(self, sizes: Any, seed: int) -> pd.DataFrame:
        """Compute one seed's part of the study's frame."""


def learn(study: str, seed: int, places: Places) -> None:
    """Compute one seed's part, and write it with what it hangs on beside it.

    Parameters
    ----------
    study : str
        A study that is `learned`: ``unirl_repro/learned/<study>.py``.
    seed : int
        Of all that is random in it.
    places : Places
        Where it goes.
    """
    part = cast(Experiment, import_module(module(study))).run(SIZES[study][places.scale], seed)
    manifest = {
        "fingerprint": learned_fingerprint(study, places.scale),
        "versions": {name: version(name) for name in PACKAGES},
    }
    path = places.part(study, seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, part.to_parquet(index=False, compression="zstd"))
    write_json(places.part_manifest(study, seed), manifest)
