"""What every measurement shares: an entry of bench.json, and alternating runs of two rivals."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch

REPEATS = 5


@dataclass(frozen=True)
class Entry:
    """One line of bench.json; `ratio` is ours against the peer's, larger is better.

    Attributes
    ----------
    name : str
        What is measured.
    ours, peer : float
        The two values, in `unit`.
    peer_name : str
        What it is measured against.
    ratio : float
        How much better ours is, whether more or less of the unit is better.
    unit : str
        Unit of both values.
    goal : float
        The ratio that is asked for.
    """

    name: str
    ours: float
    peer: float
    peer_name: str
    ratio: float
    unit: str
    goal: float


def compare(
    name: str,
    ours: Callable[[], float],
    peer: Callable[[], float],
    *,
    peer_name: str,
    unit: str,
    goal: float,
) -> Entry:
    """Medians of two speeds, measured in turn so that a noisy machine slows both."""
    pairs = [(ours(), peer()) for _ in range(REPEATS)]
    mine, theirs = (median(values) for values in zip(*pairs, strict=True))
    return Entry(name, mine, theirs, peer_name, mine / theirs, unit, goal)


def seconds(*works: Callable[[], object], repeats: int = REPEATS) -> list[float]:
    """Median seconds of the CPU that one call of each takes, measured in turn."""
    for work in works:
        work()  # fills caches
    rounds = [[_seconds_of(work) for work in works] for _ in range(repeats)]
    return [median(column) for column in zip(*rounds, strict=True)]


def _seconds_of(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def rate(work: Callable[[], int], seconds: float, *, device: str = "cpu") -> float:
    """Units of work a second; `work` does some and returns how many.

    On a CPU these are seconds of this process's one thread: on a quiet machine the same as wall
    seconds, and hardly moved by what else a shared machine is doing.
    """
    clock = time.process_time if device == "cpu" else _clock_of_gpu
    done, start = 0, clock()
    while (elapsed := clock() - start) < seconds:
        done += work()
    return done / elapsed


def _clock_of_gpu() -> float:
    torch.cuda.synchronize()
    return time.perf_counter()
