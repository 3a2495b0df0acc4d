"""Environments: `make(task)`, a gymnasium environment with one contract for every suite.

Observations are float64 vectors, actions lie in [-1, 1], `terminated` is the task's own end and
`truncated` its horizon alone. An episode is a pure function of the seed given to `reset` and of the
actions: nothing that the instance did before can be seen, so an episode cut short is re-created
bit by bit in a fresh instance. All suites run on one version of MuJoCo (deviation E1).
"""

import importlib
from typing import TYPE_CHECKING

from unirl_repro.envs.tasks import Task, find

if TYPE_CHECKING:
    import gymnasium


def make(task: str | Task) -> "gymnasium.Env":
    """Make the environment of a task; only the module of its suite is imported.

    Parameters
    ----------
    task : str or Task
        An id of `unirl_repro.envs.tasks.TASKS`, or a task.

    Returns
    -------
    gymnasium.Env
        Float64 observations of shape ``(task.obs_dim,)``; actions in ``[-1, 1]``.

    Raises
    ------
    UnknownTaskError
        A ValueError, for an id that is not in the list.

    Examples
    --------
    >>> env = make("hopper-200")
    >>> obs, _ = env.reset(seed=0)
    >>> obs.shape
    (11,)
    """
    # Here, because the table of tasks lies in this package and must not import gymnasium.
    from unirl_repro.envs.wrappers import CheckedActions, FixedLength, TimeLimit

    task = find(task) if isinstance(task, str) else task
    env = CheckedActions(importlib.import_module(f"{__name__}.{task.suite}").make(task))
    return TimeLimit(env if task.terminates else FixedLength(env), task.horizon)
