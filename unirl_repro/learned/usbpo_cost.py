"""usbpo, Section 5.2: what USB-PO costs beside MBPO, in processor seconds.

Both learn by the loop of a run, on the same task with the same seed, in one process and in turns, so
that both see the same machine; clocks stand around their methods. A period is the environment steps
from one training of the model to the next. Panels of the frame: `seconds` (for 1,000 environment
steps, by part), `ratio` (of both phases to MBPO's training, its logarithm: a pair's machine cancels),
`training` (what each training of the model took), and `measured` (how much was).
"""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pandas as pd
import torch

from unirl_repro.agents.mbpo import MBPO
from unirl_repro.agents.usbpo import USBPO  # noqa: F401  its code counts for the frame
from unirl_repro.config import RunSpec
from unirl_repro.envs import gym  # noqa: F401  the task's suite: so does this
from unirl_repro.envs.tasks import find
from unirl_repro.learned.sizes import Cost
from unirl_repro.loop import Trainer
from unirl_repro.tabular.frame import frame, numbers

STUDY = "usbpo_cost"
NEVER = 10**9  # environment steps between evaluations
STEPS = 1_000  # that seconds are given for
# Methods of each algorithm, and the part that they are without what is timed inside. USB-PO's
# training holds MBPO's: what is not in the fit is the second phase (deviation D11).
METHODS = {
    "mbpo": {"train_model": "training", "roll_out": "rollouts", "update_policy": "policy"},
    "usbpo": {
        "train_model": "tuning",
        "fit_model": "training",
        "roll_out": "rollouts",
        "update_policy": "policy",
    },
}
REST = "rest"
COUNTS = {
    "model_epochs": "epochs",
    "model_updates": "updates",
    "tuning_updates": "tuning_updates",
}

Clock = Callable[[], float]


def run(sizes: Cost, seed: int, clock: Clock = time.process_time) -> pd.DataFrame:
    """One seed's part of the frame: see `tabular.frame`.

    Parameters
    ----------
    sizes : Cost
        The task, what learns on it, and how long.
    seed : int
        Of all that is random; times differ all the same.
    clock : callable, default ``time.process_time``
        Says the seconds now.
    """
    watched = [Watched(spec, clock) for spec in specs(sizes, seed)]
    rows: list[dict[str, Any]] = []
    every = sizes.parameters.model_every
    before = sizes.parameters.sac.random_steps + every
    for each in watched:  # compiled then, and with a model that has been trained twice
        each.advance(before)
        each.forget()
    for period in range(sizes.periods):
        for each in watched if period % 2 == 0 else reversed(watched):
            each.advance(every)
            rows += numbers(
                STUDY, "training", each.name, each.counts(), seed=seed, iteration=period
            )
    seconds = {each.name: each.seconds() for each in watched}
    for name, found in seconds.items():
        rows += numbers(STUDY, "seconds", name, found, seed=seed)
    log_ratio = math.log(seconds["usbpo"]["model"] / seconds["mbpo"]["model"])
    rows += numbers(STUDY, "ratio", "usbpo", {"log_ratio": log_ratio}, seed=seed)
    measured = {"before": before, "steps": sizes.periods * every}
    return frame([*rows, *numbers(STUDY, "measured", "both", measured, seed=seed)])


def specs(sizes: Cost, seed: int) -> list[RunSpec]:
    """Two runs that differ in the algorithm alone, in the order in which they are built.

    The second is slower by some percent, even if both are the same: seeds take turns.
    """
    return [
        RunSpec(
            task=find(sizes.task),
            variant=name,
            algorithm=name,
            parameters=sizes.parameters,
            seed=seed,
            budget=NEVER,
            evaluate_every=NEVER,
            evaluation_episodes=1,
            compiled=sizes.compiled,
        )
        for name in (METHODS if seed % 2 == 0 else reversed(METHODS))
    ]


class Watched:
    """A run in progress, with clocks around its parts.

    Parameters
    ----------
    spec : RunSpec
        Of an algorithm that `METHODS` has.
    clock : callable
        Says the seconds now.
    """

    def __init__(self, spec: RunSpec, clock: Clock):
        self.name, self.clock, self.stopwatch = spec.algorithm, clock, Stopwatch(clock)
        self.trainer = Trainer(spec, torch.device("cpu"), lambda rows: None)
        self.agent = self.trainer.agent
        assert isinstance(self.agent, MBPO)
        for method, part in METHODS[self.name].items():
            setattr(self.agent, method, self.stopwatch.around(getattr(self.agent, method), part))
        self.forget()

    def forget(self) -> None:
        """Measure from here on."""
        self.steps, self.whole = 0, 0.0
        self.stopwatch.seconds.clear()

    def advance(self, steps: int) -> None:
        """So many environment steps, with all that belongs to them."""
        start = self.clock()
        with self.stopwatch.running(REST):
            for _ in range(steps):
                self.trainer.advance()
        self.whole += self.clock() - start
        self.steps += steps

    def counts(self) -> dict[str, float]:
        """Of the latest training of the model, where a period ends."""
        metrics = self.trainer.metrics
        return {name: float(metrics[of]) for of, name in COUNTS.items() if of in metrics}

    def seconds(self) -> dict[str, float]:
        """For `STEPS` environment steps: each part, the model's two together, and the whole."""
        parts = (*METHODS[self.name].values(), REST)
        found = {part: self.stopwatch.seconds[part] for part in parts}
        found["model"] = found["training"] + found.get("tuning", 0.0)
        found["whole"] = self.whole
        return {name: STEPS * value / self.steps for name, value in found.items()}


class Stopwatch:
    """Seconds of parts that may lie inside one another, each without those inside it.

    Parameters
    ----------
    clock : callable
        Says the seconds now.
    """

    def __init__(self, clock: Clock):
        self.clock, self.seconds = clock, defaultdict[str, float](float)
        self.open: list[str] = []  # from the outermost part to the present one
        self.since = 0.0

    def around(self, method: Callable[..., Any], part: str) -> Callable[..., Any]:
        """The method, timed."""

        def timed(*given: Any) -> Any:
            with self.running(part):
                return method(*given)

        return timed

    @contextmanager
    def running(self, part: str) -> Iterator[None]:
        self._turn()
        self.open.append(part)
        try:
            yield
        finally:
            self._turn()
            self.open.pop()

    def _turn(self) -> None:
        """Give the time since the last turn to the part that it was spent in."""
        now = self.clock()
        if self.open:
            self.seconds[self.open[-1]] += now - self.since
        self.since = now
