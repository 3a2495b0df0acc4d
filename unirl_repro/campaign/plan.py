"""What a run will need: time and memory, from measured speeds; and which runs kick the tyres."""

import csv
import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

from unirl_repro.campaign.site import DAY, Site
from unirl_repro.config import Config, ConfigError, RunSpec, load_config
from unirl_repro.envs.tasks import TASKS
from unirl_repro.hyperparameters import MBPOParameters
from unirl_repro.registry import ALGORITHMS

SPEEDS = Path(__file__).parents[2] / "resources" / "speeds.csv"
SLOWEST = 5.0  # steps/s, where nothing was measured of an algorithm
MARGIN = 2.0  # between machines
START_MINUTES = 10  # imports, compilation, a checkpoint at the end
BASE_MB = 800  # interpreter, torch, an environment, networks and their optimisers


class Speed(NamedTuple):
    """How fast a run is taken to be.

    Attributes
    ----------
    steps_per_second : float
        Environment steps, of one run.
    source : {"measured", "borrowed", "guess"}
        Whether that is this algorithm on this task, its slowest on other tasks, or neither.
    conditions : str
        Under which it was measured; empty for a guess.
    """

    steps_per_second: float
    source: Literal["measured", "borrowed", "guess"]
    conditions: str


def effective_config(file: str | Path, values: Mapping[str, Any]) -> Config:
    """The configuration that Snakemake works with; only the scale may differ from the file's.

    Trainers read the file, so anything else given on the command line would not reach them.

    Raises
    ------
    ConfigError
        If something is not allowed, or another key than the scale differs from the file.
    """
    config, written = load_config(file, values), load_config(file)
    names = [name for name in type(config).model_fields if name != "scale"]
    changed = [name for name in names if getattr(config, name) != getattr(written, name)]
    if changed:
        raise ConfigError(
            f"{Path(file).name}: {', '.join(changed)} was changed on the command line or by "
            "another configfile. Allowed there: scale. Edit the file instead."
        )
    return config


def device(spec: RunSpec, site: Site) -> str:
    """Where a run trains on a cluster: "cuda" if it learns a model and the site names GPUs."""
    return "cuda" if site.gpu and ALGORITHMS[spec.algorithm].learns_model else "cpu"


def gpu_variants(config: Config, site: Site) -> list[str]:
    """Variants, without their overrides, that train on GPUs on a cluster."""
    if site.gpu is None:
        return []
    return [v for v in config.variants if ALGORITHMS[_algorithm(config, v)].learns_model]


def minutes(spec: RunSpec, device: str = "cpu", longest: int = DAY) -> int:
    """Time limit of one job of a run.

    A run that needs longer than `longest` stops with a checkpoint and goes on in its next job.
    """
    seconds = MARGIN * spec.budget / steps_per_second(spec, device)
    return min(longest, START_MINUTES + math.ceil(seconds / 60))


def memory_mb(spec: RunSpec) -> int:
    """Peak memory of a run: the replay twice, since a resume reads it before it fills it.

    With the transitions that a model made up, and twice those of one rollout, which are joined.
    """
    p = spec.parameters
    rows = 2 * min(getattr(p, "replay_capacity", spec.task.horizon), spec.budget)
    if isinstance(p, MBPOParameters):
        sets = p.model_data_epochs * p.epoch_length // p.model_every + 2
        rows += sets * p.rollout_batch * p.rollout_schedule[3]
    numbers = 2 * spec.task.obs_dim + spec.task.action_dim + 2
    return BASE_MB + math.ceil(4 * numbers * rows / 2**20)


def steps_per_second(spec: RunSpec, device: str = "cpu", table: Path = SPEEDS) -> float:
    """Measured speed of a run's algorithm on its task; else its slowest on any task."""
    return speed(spec, device, table).steps_per_second


def speed(spec: RunSpec, device: str = "cpu", table: Path = SPEEDS) -> Speed:
    """`steps_per_second`, with where it comes from."""
    speeds = read_speeds(table)
    known = speeds.get((spec.algorithm, spec.task.id, device))
    others = [v for (a, _, d), v in speeds.items() if (a, d) == (spec.algorithm, device)]
    if known is None and not others:
        return Speed(SLOWEST, "guess", "")
    found = min(others)._replace(source="borrowed") if known is None else known
    # Measured at one update a step, which is nearly all that a step costs.
    learner = getattr(spec.parameters, "sac", spec.parameters)  # a part of others, or itself
    updates = getattr(learner, "updates_per_step", 1)
    return found._replace(steps_per_second=found.steps_per_second / updates)


def smoke_runs(config: Config) -> list[RunSpec]:
    """Each task once and each algorithm at least once, at scale smoke.

    A task takes a variant that some study trains on it, if there is one, of the algorithm that
    has had the fewest turns.
    """
    runs: list[RunSpec] = []
    for task, content in TASKS.items():
        planned = [v for t, v, _ in config.runs("smoke") if t == task] or [
            v
            for v in config.variants
            if not (content.terminates and ALGORITHMS[_algorithm(config, v)].whole_episodes)
        ]
        turns = [r.algorithm for r in runs]
        variant = min(planned, key=lambda v: turns.count(_algorithm(config, v)))
        runs.append(config.spec(task, variant, 0, "smoke"))
    done = {r.algorithm for r in runs}
    late = {_algorithm(config, v): v for v in reversed(config.variants)}
    short = next(task.id for task in TASKS.values() if not task.terminates)
    first = next(iter(config.runs("smoke")), (short, "", 0))[0]
    return runs + [config.spec(first, v, 0, "smoke") for a, v in late.items() if a not in done]


def _algorithm(config: Config, variant: str) -> str:
    return config.variants[variant.partition("@")[0]].algorithm


@cache
def read_speeds(table: Path) -> dict[tuple[str, str, str], Speed]:
    """What was measured, by algorithm, task and device."""
    with table.open(newline="") as file:
        return {
            (row["algorithm"], row["task"], row["device"]): Speed(
                float(row["steps_per_second"]), "measured", row["source"]
            )
            for row in csv.DictReader(file)
        }
