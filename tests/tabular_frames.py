"""Frames of the tabular studies, all of their numbers from short learning, computed once a process."""

from functools import cache, partial
from unittest import mock

import pandas as pd

from unirl_repro.analysis.frames import Status
from unirl_repro.campaign.tabular import experiment, tabular_status
from unirl_repro.tabular import mnm_fig2, mnm_fig13
from unirl_repro.tabular.learning import Settings

SEEDS = 4  # as many as a test over seeds needs


@cache
def frame_of(study: str) -> pd.DataFrame:
    short = partial(Settings, iterations=21)
    patches = (mock.patch.object(module, "Settings", short) for module in (mnm_fig2, mnm_fig13))
    with next(patches), next(patches):
        return experiment(study).run(SEEDS if "fig" in study else 1)


def study_of(study: str, scale: str = "quick") -> tuple[pd.DataFrame, Status]:
    return frame_of(study), tabular_status(study, scale, SEEDS)
