"""The table of tasks, from the task list itself: for the command line and for the report."""

from typing import NamedTuple

from unirl_repro.envs.tasks import TASKS, Task


class Row(NamedTuple):
    """One task, as text and numbers that a table can show."""

    task: str
    environment: str
    suite: str
    obs_dim: int
    action_dim: int
    horizon: int
    termination: str
    source: str
    deviations: str


HEADINGS = (
    *("task", "environment", "suite", "observation", "action"),
    *("horizon", "termination", "used in", "deviations"),
)
_SUITES = {
    "gym": "gymnasium",
    "distractors": "gymnasium",
    "dmc": "dm_control",
    "dclaw": "robel",
    "metaworld": "metaworld",
}


def rows() -> list[Row]:
    """A row a task, in the order of the task list."""
    return [_row(task) for task in TASKS.values()]


def markdown() -> str:
    """The table as GitHub's markdown, with a line break at the end."""
    lines = [HEADINGS, ["---"] * len(HEADINGS), *rows()]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


def _row(task: Task) -> Row:
    return Row(
        task=task.id,
        environment=task.title,
        suite=_SUITES[task.suite],
        obs_dim=task.obs_dim,
        action_dim=task.action_dim,
        horizon=task.horizon,
        termination="usual" if task.terminates else "never",
        source=task.source,
        deviations=", ".join(task.deviations),
    )
