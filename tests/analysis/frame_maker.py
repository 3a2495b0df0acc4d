"""Synthetic curves and studies for the tests of analysis, figures, tables and report."""

import numpy as np
import pandas as pd

from unirl_repro.analysis.frames import RecordedRun, StudyPlan, build_frame, load_published

BUDGET = 8_000
TOPS = {
    "ant-100": 450.0,
    "hopper-200": 630.0,
    "walker2d-100": 230.0,
    "halfcheetah-100": 540.0,
    "cartpole-200": 67.0,
    "dclaw_turn_fixed-40": -700.0,
}
# Of tasks that are not in Table 1.
OTHER_TOPS = {
    "ant_distractors-100": 420.0,
    "halfcheetah-1000": 9_000.0,
    "ant-1000": 5_000.0,
    "walker2d-1000": 5_000.0,
    "hopper-1000": 3_000.0,
    "humanoid-1000": 6_000.0,
    "inverted_pendulum-1000": 1_000.0,
}
ALL_VARIANTS = ("unified", "sac_rlpd", "mbrl", "alm", "ddpg", "svg", "td3", "hl", "ppo")


def curve(task="hopper-200", variant="sac_rlpd", seed=0, budget=BUDGET, scale=1.0):
    """A saturating curve with noise of its own for each seed and variant."""
    horizon = int(task.split("-")[1])
    num = budget // horizon
    rng = np.random.default_rng([seed, len(task), sum(map(ord, variant))])
    steps = horizon * np.arange(1, num + 1)
    top = (TOPS | OTHER_TOPS)[task] * scale
    returns = top * (1 - np.exp(-4 * steps / BUDGET)) + rng.normal(0, 0.05 * abs(top), num)
    return curve_of(returns, [horizon] * num, task=task, variant=variant, seed=seed)


def curve_of(returns, lengths, task="hopper-200", variant="sac_rlpd", seed=0):
    """The training curve with these returns and lengths of its episodes."""
    return pd.DataFrame(
        {
            "task": task,
            "variant": variant,
            "algorithm": variant.split("_")[0],
            "seed": seed,
            "kind": "train",
            "episode": np.arange(len(returns)),
            "env_step": np.cumsum(lengths),
            "return": np.asarray(returns, float),
            "length": np.asarray(lengths, int),
            "policy": "sac",
        }
    )


def make_study(
    study="unified_rl_table1",
    tasks=tuple(TOPS),
    variants=("sac_rlpd",),
    missing=(),
    archive=(),
    other_code=(),
    shorter=(),
    num_seeds=5,
    scale="quick",
):
    """Frame and status; `missing` holds (task, variant, seed), the other lists hold tasks."""
    planned = tuple((t, v, s) for t in tasks for v in variants for s in range(num_seeds))
    plan = StudyPlan(study, scale, dict.fromkeys(tasks, BUDGET), planned)
    runs = [
        RecordedRun(
            curve(t, v, s, BUDGET // 2 if t in shorter else BUDGET, 1 - 0.1 * variants.index(v)),
            source="archive" if t in archive else "trained",
            same_code=t not in other_code,
            versions={"torch": "2.13.0"},
        )
        for t, v, s in planned
        if (t, v, s) not in missing
    ]
    return build_frame(plan, runs, load_published(study))
