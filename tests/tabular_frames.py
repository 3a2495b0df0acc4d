"""Frames of studies without runs, all of their numbers from short learning, computed once a process."""

from functools import cache, partial
from importlib import import_module
from unittest import mock

import pandas as pd

from unirl_repro.analysis.frames import Status
from unirl_repro.campaign.gathering import learned_status
from unirl_repro.campaign.learned import module
from unirl_repro.campaign.tabular import experiment, tabular_status
from unirl_repro.learned.sizes import SIZES
from unirl_repro.tabular import mnm_fig2, mnm_fig13
from unirl_repro.tabular.learning import Settings

SEEDS = 4  # as many as a test over seeds needs


@cache
def frame_of(study: str) -> pd.DataFrame:
    if study in SIZES:
        run, sizes = import_module(module(study)).run, SIZES[study]["smoke"]
        return pd.concat([run(sizes, seed) for seed in range(SEEDS)], ignore_index=True)
    short = partial(Settings, iterations=21)
    patches = (mock.patch.object(module, "Settings", short) for module in (mnm_fig2, mnm_fig13))
    with next(patches), next(patches):
        return experiment(study).run(SEEDS if "fig" in study else 1)


def study_of(study: str, scale: str = "quick") -> tuple[pd.DataFrame, Status]:
    if study in SIZES:
        return frame_of(study), learned_status(study, scale, SEEDS, SEEDS, [{"torch": "2"}])
    return frame_of(study), tabular_status(study, scale, SEEDS)
