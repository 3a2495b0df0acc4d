"""Runs that a claim must be decided on: for it, against it, or leaving it open.

A world is made for a test and its parameters, so a claim that uses a test on other tasks, windows
or margins is met by worlds of its own. A test without worlds here is a KeyError.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from tests.analysis.frame_maker import curve_of
from unirl_repro.analysis.claims import INCONCLUSIVE, NOT_SUPPORTED, SUPPORTED, evaluate
from unirl_repro.analysis.claims_evidence import published_lowest, published_ranges
from unirl_repro.analysis.claims_register import Claim, Selection, Shares, parameters
from unirl_repro.analysis.frames import (
    RecordedRun,
    StudyPlan,
    build_frame,
    build_metrics,
    load_published,
    with_metrics,
)
from unirl_repro.campaign.claims import PRINTED

PUBLISHED = pd.concat([load_published(name) for name in PRINTED], ignore_index=True)
REPORTED = load_published("unified_rl_fig5")
RANGES, LOWESTS = published_ranges(PUBLISHED), published_lowest(PUBLISHED)
NUM_EPISODES, NUM_RANDOM, NUM_UNTESTED = 400, 20, 10
NUM_SEEDS = 5
NUM_EVALUATIONS = 40  # in as many episodes
OFFSETS = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])  # of the seeds


@dataclass(frozen=True)
class World:
    """How every run goes.

    Attributes
    ----------
    level : function of (task, variant, time)
        Normalised return along training, the same for all seeds.
    spread : float
        Half the distance between the best and the worst seed.
    model_based : function of time
        Share of the episodes for which the test chooses MBRL.
    share_spread : float
        Of that share between seeds.
    evaluated : bool
        Whether evaluations are spread over training; else they are where others report returns.
    longer : tuple of str
        Variants that train for twice the budget of their task.
    metrics : function of (name, time), by name
        Metrics along training; `spread` of them between seeds is a share of Delta.
    """

    level: Callable[[str, str, np.ndarray], np.ndarray]
    spread: float = 0.005
    model_based: Callable[[np.ndarray], np.ndarray] = field(default=lambda time: 0 * time + 0.5)
    share_spread: float = 0.0
    evaluated: bool = False
    longer: tuple[str, ...] = ()
    metrics: Mapping[str, Callable[[np.ndarray], np.ndarray]] = field(default_factory=dict)


def planned(claim: Claim) -> Claim:
    """The claim as it will be once everything that it needs is planned by a study."""
    runs = [s.model_copy(update={"study": s.study or "unified_rl_later"}) for s in claim.runs]
    if claim.absent:
        runs = [Selection(study=runs[0].study, tasks=claim.tasks, variants=claim.variants)]
    return claim.model_copy(update={"runs": runs, "absent": []})


def examples(register: Mapping[str, Claim]) -> list[dict]:
    """All claims about runs as in claims.json, each of another outcome than the one before."""
    found = []
    from_runs = [(name, claim) for name, claim in register.items() if not claim.computed]
    for i, (name, claim) in enumerate(from_runs):
        chosen = planned(claim) if claim.test is not None else claim
        how = World(lambda task, variant, time: 0 * time)
        if claim.test is not None:
            how = world(chosen, (SUPPORTED, NOT_SUPPORTED, INCONCLUSIVE)[i % 3])
        frames, statuses = make(chosen, how)
        cost = {"runs": 5, "core_hours": 1234.5, "gpu_hours": 0.0, "speed": "guess", "without": []}
        found.append(
            evaluate(name, chosen, frames, statuses, PUBLISHED, "paper")
            | {"cost": cost | {"without": claim.absent}, "provisional": claim.tasks[:1]}
        )
    return found


def world(claim: Claim, outcome: str) -> World:
    assert claim.test is not None
    found = WORLDS[claim.test.name](parameters(claim.test), outcome)
    return found if claim.given is None else with_gain(found, claim, 0.0)


def with_gain(found: World, claim: Claim, gain: float) -> World:
    """The world, with so much gained by the variant whose failure the claim takes for granted."""
    assert claim.given is not None
    failing = getattr(parameters(claim.given), "variant")  # noqa: B009  each condition has one

    def level(task, variant, time):
        return gain * _started(time) if variant == failing else found.level(task, variant, time)

    return replace(found, level=level)


def make(
    claim: Claim,
    how: World,
    missing: Callable[[str, str, int], bool] = lambda task, variant, seed: False,
    reached: Callable[[str, str, int], float] = lambda task, variant, seed: 1.0,
) -> tuple[Mapping[str, pd.DataFrame], Mapping[str, dict]]:
    """Frames and statuses by study; a claim's selections of one study are one plan."""
    frames, statuses = {}, {}
    for study in dict.fromkeys(str(s.study) for s in claim.runs):
        parts = [s for s in claim.runs if str(s.study) == study]
        keys = [
            (task, variant, seed)
            for part in parts
            for task in part.tasks
            for variant in part.variants
            for seed in range(NUM_SEEDS)
        ]
        budget = {task: NUM_EPISODES * _length(task) for task, *_ in keys}
        runs = [_run(how, *key, reached(*key)) for key in keys if not missing(*key)]
        longer = {(t, v): 2 * budget[t] for t, v, _ in keys if v in how.longer}
        plan = StudyPlan(study, "paper", budget, tuple(keys), tuple(how.metrics), longer=longer)
        frames[study], statuses[study] = build_frame(plan, runs, load_published(study))
        if how.metrics:
            frames[study] = with_metrics(frames[study], build_metrics(plan, runs))
    return frames, statuses


def _run(how: World, task: str, variant: str, seed: int, reached: float) -> RecordedRun:
    curve = _curve(how, task, variant, seed, reached)
    if not how.metrics:
        return RecordedRun(curve)
    time = np.arange(1, NUM_EVALUATIONS + 1) / NUM_EVALUATIONS
    steps = (time * NUM_EPISODES * _length(task)).astype(int)
    parts = [
        pd.DataFrame({"env_step": steps, "name": name, "value": values(time)})
        for name, values in how.metrics.items()
    ]
    metrics = pd.concat(parts)
    size = 1 + how.spread * OFFSETS[seed] * (metrics["name"] == "delta")
    return RecordedRun(curve, metrics=metrics.assign(value=metrics["value"] * size))


def _length(task: str) -> int:
    """Of an episode; training is to reach all steps for which others report returns."""
    horizon = int(task.split("-")[1])
    return 1250 if horizon == 1000 else horizon


def _curve(how: World, task: str, variant: str, seed: int, reached: float) -> pd.DataFrame:
    span = RANGES.get(task.replace("_distractors", ""), 1_000.0)
    episodes = NUM_EPISODES * (2 if variant in how.longer else 1)
    time = (np.arange(episodes) + 0.5) / NUM_EPISODES  # of an episode, as a share of the budget
    returns = span * (how.level(task, variant, time) + how.spread * OFFSETS[seed])
    rng = np.random.default_rng(seed)
    returns += span * 0.001 * rng.normal(size=episodes)
    curve = curve_of(returns, [_length(task)] * episodes, task=task, variant=variant, seed=seed)
    share = np.clip(how.model_based(time) + how.share_spread * OFFSETS[seed], 0, 1)
    due = np.floor(np.cumsum(share)) > np.floor(np.cumsum(share) - share)
    policy = np.where(due, "mbrl", "sac").astype(object)
    policy[9::10] = np.where(due, "sac_forced", "sac")[9::10]
    policy[: NUM_RANDOM + NUM_UNTESTED] = "sac_untested"
    policy[:NUM_RANDOM] = "random"
    trained = curve.assign(policy=policy).iloc[: round(reached * episodes)]
    if how.evaluated:  # the policy of those episodes; what training itself returns is another thing
        every = NUM_EPISODES // NUM_EVALUATIONS
        evaluated = trained.iloc[every - 1 :: every].assign(kind="eval")
        trained = trained.assign(**{"return": span * rng.normal(size=len(trained))})
        return pd.concat([trained, evaluated], ignore_index=True)
    return pd.concat([trained, _evaluations(how, task, variant, seed)], ignore_index=True)


def _evaluations(how: World, task: str, variant: str, seed: int) -> pd.DataFrame:
    """Where others report returns: theirs, and the world's level times that."""
    points = REPORTED[(REPORTED["task"] == task) & (REPORTED["variant"] == variant)]
    steps, theirs = points["env_step"].to_numpy(int), points["return"].to_numpy(float)
    level = how.level(task, variant, steps) + how.spread * OFFSETS[seed]
    curve = curve_of(theirs * (1 + level), [1000] * len(steps), task, variant, seed)
    return curve.assign(kind="eval", env_step=steps)


def _started(time: np.ndarray) -> np.ndarray:
    return time * NUM_EPISODES > NUM_RANDOM


def _constant(ahead: Mapping[str, float], spread: Mapping[str, float]):
    """`ours` is ahead of the others by so much, at any time."""

    def make_world(how, outcome):
        def level(task, variant, time):
            return 0 * time + (ahead[outcome] if variant == how.ours else 0.0)

        evaluated = getattr(how, "returns", "training") == "evaluation"
        return World(level, spread[outcome], evaluated=evaluated)

    return make_world


def _far_better(how, outcome):
    ahead = {SUPPORTED: 2.0, NOT_SUPPORTED: 0.5, INCONCLUSIVE: 1.0}
    shares = {key: how.margin * value for key, value in ahead.items()}
    return _constant(shares, WIDE)(how, outcome)


def _on_par(how, outcome):
    """`than` falls to 0 only in its longer run, where `ours` is by its own end."""
    mine = {SUPPORTED: 0.0, NOT_SUPPORTED: -0.3, INCONCLUSIVE: -0.05}[outcome]

    def level(task, variant, time):
        before = time < (1.8 if variant == how.than else 0.9)
        return np.where(before, 2.0, 0.0 if variant == how.than else mine)

    return World(level, WIDE[outcome], evaluated=True, longer=(how.than,))


def _magnitude(average: bool):
    """A metric that swings to and fro, beside others of size 1, before and after the window too."""

    def make_world(how, outcome):
        shift = {SUPPORTED: 0.2, NOT_SUPPORTED: 3.0, INCONCLUSIVE: 1.0}[outcome] * how.share
        size = 20 * how.share if average else shift
        mean = shift if average else 0.0
        low, high = how.window

        def metric(time):
            inside = (time > low) & (time <= high)
            swing = size * np.where(np.arange(len(time)) % 2, 1.0, -1.0)
            return np.where(inside, swing + mean, 100.0)

        metrics = {name: lambda time: 0 * time + 1 for name in how.beside}
        spread = 0.5 if outcome == INCONCLUSIVE else 0.05
        return World(
            lambda task, variant, time: 0 * time, spread, metrics={how.metric: metric} | metrics
        )

    return make_world


def _standing(how, outcome):
    """`ours` is in the upper part of the printed range, the others in the lower; or between."""
    mine = {SUPPORTED: 0.8, NOT_SUPPORTED: 0.2, INCONCLUSIVE: 0.52}[outcome]

    def level(task, variant, time):
        place = mine if variant == how.ours else 0.2
        return 0 * time + LOWESTS[task] / RANGES[task] + place

    return World(level, 0.3 if outcome == INCONCLUSIVE else 0.005)


def _crossing(how, outcome):
    sign = {SUPPORTED: 1.0, NOT_SUPPORTED: -1.0, INCONCLUSIVE: 0.03}[outcome]

    def level(task, variant, time):
        return sign * (np.where(time < 0.5, 0.5, 0.0) if variant == how.early else 0 * time + 0.2)

    return World(level, 0.5 if outcome == INCONCLUSIVE else 0.005)


def _gain(gains: Mapping[str, float]):
    def make_world(how, outcome):
        def level(task, variant, time):
            return gains[outcome] * how.margin * _started(time)

        return World(level)

    return make_world


def _drop(how, outcome):
    drops = {SUPPORTED: (0.1, 0.5), NOT_SUPPORTED: (0.5, 0.1), INCONCLUSIVE: (0.2, 0.25)}[outcome]

    def level(task, variant, time):
        drop = drops[0] if variant == how.ours else drops[1]
        return 0 * time + 1 - (drop if task == how.changed else 0.0)

    return World(level, 0.3 if outcome == INCONCLUSIVE else 0.005)


def _shares(how: Shares, outcome: str) -> World:
    """Inside all bounds, outside one, or with seeds on both sides of one."""

    def model_based(time):
        low, high = np.zeros_like(time), np.ones_like(time)
        for c in how.conditions:
            inside = (time > c.window[0]) & (time <= c.window[1])
            upper = c.at_most is not None if c.policy == "mbrl" else c.at_least is not None
            bound = c.at_least if c.at_most is None else c.at_most
            assert bound is not None
            bound = bound if c.policy == "mbrl" else 1 - bound
            side = high if upper else low
            side[inside] = bound
        middle = np.where(low > 0.9, (low + 1) / 2, np.where(low > 0, (low + high) / 2, high / 2))
        if outcome == SUPPORTED:
            return middle
        edge = np.where(low > 0, low, high)
        away = np.where(low > 0, -0.9 * low, 0.9 * (1 - high))
        return edge + (away if outcome == NOT_SUPPORTED else 0)

    # Half of the seeds above the bound, the other half below.
    spread = 0.04 if outcome == INCONCLUSIVE else 0.0
    return World(lambda task, variant, time: 0 * time, model_based=model_based, share_spread=spread)


def _to_level(how, outcome):
    ends = {SUPPORTED: 0.3, NOT_SUPPORTED: 0.58, INCONCLUSIVE: 0.45}[outcome]

    def level(task, variant, time):
        return np.minimum(1, time / (ends if variant == how.ours else 0.6))

    return World(level, 0.5 if outcome == INCONCLUSIVE else 0.005)


def _reported(name: str):
    """Evaluation returns ahead of the reported ones by a share of them."""
    ahead = {
        "above_reported": {SUPPORTED: 0.5, NOT_SUPPORTED: -0.5, INCONCLUSIVE: 0.03},
        "as_reported": {SUPPORTED: 0.0, NOT_SUPPORTED: 3.0, INCONCLUSIVE: 0.25},
    }

    def make_world(how, outcome):
        return World(lambda task, variant, time: 0 * time + ahead[name][outcome], 0.005)

    return make_world


AHEAD = {SUPPORTED: 0.3, NOT_SUPPORTED: -0.1, INCONCLUSIVE: 0.03}
WIDE = {SUPPORTED: 0.005, NOT_SUPPORTED: 0.005, INCONCLUSIVE: 0.3}
WORLDS: dict[str, Callable[..., World]] = {
    "better": _constant(AHEAD, WIDE),
    "far_better": _far_better,
    "better_mostly": _constant(AHEAD, WIDE),
    "better_average": _constant(AHEAD, {**WIDE, INCONCLUSIVE: 0.6}),
    "good_everywhere": _standing,
    "no_worse": _constant({SUPPORTED: 0.0, NOT_SUPPORTED: -0.3, INCONCLUSIVE: -0.05}, WIDE),
    "equal": _constant({SUPPORTED: 0.0, NOT_SUPPORTED: 0.3, INCONCLUSIVE: 0.05}, WIDE),
    "overtaken": _crossing,
    "learns": _gain({SUPPORTED: 4.0, NOT_SUPPORTED: 0.0, INCONCLUSIVE: 1.0}),
    "fails": _gain({SUPPORTED: 0.0, NOT_SUPPORTED: 4.0, INCONCLUSIVE: 1.0}),
    "loses_less": _drop,
    "shares": _shares,
    "data_to_level": _to_level,
    "overhead": _to_level,
    "above_reported": _reported("above_reported"),
    "as_reported": _reported("as_reported"),
    "on_par": _on_par,
    "around_zero": _magnitude(average=True),
    "far_smaller": _magnitude(average=False),
}
