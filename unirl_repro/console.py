"""How a run shows where it is: a progress bar on a terminal, plain lines in a log file."""

import sys
from types import TracebackType
from typing import Any

LINE_EVERY = 15  # reports, which come about once a second


class Console:
    """Shows a run's progress while it is entered; `report` fits `run.Options.report`.

    Parameters
    ----------
    title : str
        What is shown beside the bar, or before each line.
    terminal : bool, optional
        Whether a bar can be drawn; by default, whether stdout is a terminal.
    """

    def __init__(self, title: str, terminal: bool | None = None):
        self.title = title
        self.terminal = sys.stdout.isatty() if terminal is None else terminal
        self.calls = 0
        self.bar: Any = None

    def __enter__(self) -> "Console":
        if self.terminal:
            self.bar = _bar(self.title)
            self.bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.bar is not None:
            self.bar.stop()

    def report(self, env_step: int, budget: int, last_return: float | None, speed: float) -> None:
        """Show the present state; the first call and each `LINE_EVERY`-th make a plain line."""
        if self.bar is not None:
            task = self.bar.task_ids[0]
            state = describe(env_step, budget, last_return, speed)
            self.bar.update(task, completed=env_step, total=budget, state=state)
        elif self.calls % LINE_EVERY == 0:
            state = describe(env_step, budget, last_return, speed)
            print(f"{self.title}: step {env_step} of {budget} ({state})", flush=True)
        self.calls += 1


def describe(env_step: int, budget: int, last_return: float | None, speed: float) -> str:
    """Return, speed and time left.

    Examples
    --------
    >>> describe(400, 1000, 12.345, 10.0)
    'return 12.35, 10 steps/s, 1:00 left'
    >>> describe(0, 1000, None, 0.0)
    'no episode yet, 0 steps/s'
    """
    parts = ["no episode yet" if last_return is None else f"return {last_return:.2f}"]
    parts.append(f"{speed:.0f} steps/s")
    if speed > 0:
        parts.append(f"{_clock((budget - env_step) / speed)} left")
    return ", ".join(parts)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _bar(title: str) -> Any:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[state]}"),
    )
    bar.add_task(title, total=None, state="starting")
    return bar
