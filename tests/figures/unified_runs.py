"""Synthetic runs of Unified RL: who acted, and what its model said."""

from dataclasses import replace

import numpy as np
import pandas as pd

from tests.analysis.frame_maker import BUDGET, curve, curve_of
from unirl_repro.analysis.frames import (
    RecordedRun,
    StudyPlan,
    build_frame,
    build_metrics,
    load_published,
    with_metrics,
)
from unirl_repro.analysis.settings import PlannedSettings, RunSettings
from unirl_repro.figures.unified_rl_gap import METRICS

MAGNITUDES = ("delta", "model_shift", "model_bias")
NONE = PlannedSettings()
LETTERS = {"r": "random", "s": "sac", "f": "sac_forced", "m": "mbrl", "u": "sac_untested"}


def acted(letters, task="hopper-200", variant="unified", seed=0):
    """A curve of episodes of these policies, each by its letter: "ruusfm"."""
    horizon = int(task.split("-")[1])
    rows = curve_of([1.0] * len(letters), [horizon] * len(letters), task, variant, seed)
    return rows.assign(policy=[LETTERS[letter] for letter in letters])


def gaps_of(rows, median, spread=1.0):
    """Metrics of a curve's tested episodes: quartiles at `spread`, extremes at 3 of it."""
    decided = rows.loc[~rows["policy"].isin(["random", "sac_untested"]), ["env_step", "policy"]]
    median = np.broadcast_to(median, len(decided))
    values = {
        **{"gap_min": median - 3 * spread, "gap_q25": median - spread, "gap_median": median},
        **{"gap_q75": median + spread, "gap_max": median + 3 * spread},
        "gap_diverged": np.zeros(len(decided)),
        "proven": decided["policy"].isin(["mbrl", "sac_forced"]).to_numpy(float),
    }
    parts = [
        pd.DataFrame({"env_step": decided["env_step"], "name": name, "value": value})
        for name, value in values.items()
    ]
    return pd.concat(parts, ignore_index=True)


def study(name, runs, tasks=("hopper-200",), seeds=range(3), budget=2_000, metrics=METRICS):
    """Frame with metrics, and status, of a study whose only variant is `unified`."""
    planned = tuple((task, "unified", seed) for task in tasks for seed in seeds)
    plan = StudyPlan(name, "quick", dict.fromkeys(tasks, budget), planned, metrics)
    frame, status = build_frame(plan, runs, load_published(name))
    return with_metrics(frame, build_metrics(plan, runs)), status


def magnitudes_of(rows, rng):
    """Metrics of USB-PO at the end of each episode."""
    return pd.concat(
        [
            pd.DataFrame(
                {"env_step": rows["env_step"], "name": name, "value": rng.random(len(rows))}
            )
            for name in MAGNITUDES
        ],
        ignore_index=True,
    )


def learning_run(task, variant="unified", seed=0, source="trained", same_code=True, scale=1.0):
    """A whole run: model-based at first, rarely later, one of its episodes in ten forced."""
    rows = curve(task, variant, seed, scale=scale)
    rng = np.random.default_rng([7, seed, len(task)])
    share = rng.random(len(rows)) < np.linspace(0.95, 0.1, len(rows))
    share[:10] = False
    policies = np.where(share, "mbrl", "sac").astype(object)
    policies[:10] = "random"
    forced = share & (np.arange(len(rows)) % 10 == 9)
    rows["policy"] = np.where(forced, "sac_forced", policies) if variant != "mbrl" else "mbrl"
    median = np.linspace(60, -40, max(len(rows) - 10, 0)) + rng.normal(0, 5, max(len(rows) - 10, 0))
    recorded = gaps_of(rows, median, 12.0) if variant.startswith("unified") else None
    if variant.startswith("usbpo"):
        recorded = magnitudes_of(rows, rng)
    if task.endswith("-1000"):  # their figures are of evaluations
        rows = pd.concat([rows, rows[1::2].assign(kind="eval")], ignore_index=True)
    metrics = {} if recorded is None else {"metrics": recorded}
    return RecordedRun(rows, source=source, same_code=same_code, **metrics)


def learning_study(
    name,
    tasks,
    variants=("unified",),
    missing=(),
    archive=(),
    num_seeds=5,
    settings=NONE,
):
    """Frame with metrics, and status; `missing` holds (task, variant, seed), `archive` tasks."""
    planned = tuple((t, v, s) for t in tasks for v in variants for s in range(num_seeds))
    plan = StudyPlan(
        name, "quick", dict.fromkeys(tasks, BUDGET), planned, (*METRICS, *MAGNITUDES), settings
    )
    scale = {variant: 1 - 0.2 * index for index, variant in enumerate(variants)}
    runs = [
        replace(
            learning_run(t, v, s, "archive" if t in archive else "trained", scale=scale[v]),
            settings=RunSettings(settings.parameters.get((t, v), {}), ("cpu",), 100.0),
        )
        for t, v, s in planned
        if (t, v, s) not in missing
    ]
    frame, status = build_frame(plan, runs, load_published(name))
    return with_metrics(frame, build_metrics(plan, runs)), status
