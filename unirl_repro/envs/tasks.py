"""The closed list of tasks: an environment with its horizon, and what the papers call it.

A shared page: a run's fingerprint takes the values of its own task from here, never this file's
text, so that a new task makes no finished run stale. Imports no environment.
"""

from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any


@dataclass(frozen=True)
class Task:
    """An environment, its horizon and its dimensions.

    Attributes
    ----------
    id : str
        ``<environment>-<horizon>``.
    suite : str
        Module of `unirl_repro.envs` that makes it: gym, dmc, dclaw, metaworld or
        distractors.
    name : str
        The environment's name in its suite.
    horizon : int
        Environment steps after which an episode is truncated.
    obs_dim, action_dim : int
        Sizes of the observation and of the action, whose entries lie in [-1, 1].
    terminates : bool
        Whether `terminated` can be set; tasks of fixed length never set it.
    distractors : int
        Number of groups of ten sinusoids appended to the observation.
    title : str
        What figures call it.
    source : str
        Where the papers use it.
    deviations : tuple of str
        Ids of `unirl_repro.deviations` that concern it.
    """

    id: str
    suite: str
    name: str
    horizon: int
    obs_dim: int
    action_dim: int
    terminates: bool = False
    distractors: int = 0
    title: str = ""
    source: str = ""
    deviations: tuple[str, ...] = ()


def find(task_id: str) -> Task:
    """The task of that id.

    Raises
    ------
    UnknownTaskError
        With the value, what is allowed, and the nearest known id.
    """
    try:
        return TASKS[task_id]
    except KeyError:
        raise UnknownTaskError(task_id) from None


class UnknownTaskError(ValueError):
    """A task id that is not in the list."""

    def __init__(self, task_id: object):
        near = get_close_matches(str(task_id), TASKS, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        allowed = ", ".join(sorted(TASKS))
        super().__init__(f"task is {task_id!r}. Allowed: {allowed}.{hint}")


def _gym(environment: str, name: str, horizon: int, dims: tuple[int, int], **fields: Any) -> Task:
    """A gymnasium task; at horizon 1000 it ends as usual, below it never does."""
    usual_end = horizon == 1000
    end = () if usual_end else ("E3",)
    fields["deviations"] = ("E1", "E2", *end, *fields.get("deviations", ()), "E11")
    task_id = f"{environment}-{horizon}"
    return Task(task_id, fields.pop("suite", "gym"), name, horizon, *dims, usual_end, **fields)


def _dclaw(kind: str, horizon: int, obs_dim: int, source: str) -> Task:
    title = "DClaw" + kind.title().replace("_", "")
    task_id = f"dclaw_{kind}-{horizon}"
    differs = ("E1", "E10")
    return Task(task_id, "dclaw", kind, horizon, obs_dim, 9, False, 0, title, source, differs)


_UNIFIED = "unified_rl Fig. 2, Table 1"
_USBPO = "usbpo Fig. 2"
_MNM = "mnm Fig. 4"

_ALL = (
    _gym("hopper", "Hopper", 200, (11, 3), title="Hopper", source=_UNIFIED),
    _gym("walker2d", "Walker2d", 100, (17, 6), title="Walker", source=_UNIFIED),
    _gym("ant", "Ant", 100, (27, 8), title="Ant", source=_UNIFIED, deviations=("E4",)),
    _gym("halfcheetah", "HalfCheetah", 100, (17, 6), title="Half-Cheetah", source=_UNIFIED),
    Task(
        id="cartpole-200",
        suite="dmc",
        name="cartpole swingup",
        horizon=200,
        obs_dim=5,
        action_dim=1,
        title="Cartpole Swingup",
        source=_UNIFIED,
        deviations=("E1", "E7"),
    ),
    _dclaw("turn_fixed", 40, 21, _UNIFIED),
    _gym(
        "ant_distractors",
        "Ant",
        100,
        (77, 8),
        suite="distractors",
        distractors=5,
        title="Ant with distractors",
        source="unified_rl Fig. 4",
        deviations=("E4", "E6"),
    ),
    _gym("halfcheetah", "HalfCheetah", 1000, (17, 6), title="HalfCheetah", source=_USBPO),
    _gym("walker2d", "Walker2d", 1000, (17, 6), title="Walker2d", source=_USBPO),
    _gym("hopper", "Hopper", 1000, (11, 3), title="Hopper", source=_USBPO),
    _gym("ant", "Ant", 1000, (27, 8), title="Ant", source=_USBPO, deviations=("E4",)),
    _gym(
        "humanoid", "Humanoid", 1000, (45, 17), title="Humanoid", source=_USBPO, deviations=("E5",)
    ),
    _gym(
        "inverted_pendulum",
        "InvertedPendulum",
        1000,
        (4, 1),
        title="InvertedPendulum",
        source=_USBPO,
    ),
    Task(
        id="pusher-100",
        suite="gym",
        name="Pusher",
        horizon=100,
        obs_dim=23,
        action_dim=7,
        title="Pusher",
        source="mnm Fig. 5",
        deviations=("E1", "E8", "E11"),
    ),
    Task(
        id="drawer_open-500",
        suite="metaworld",
        name="drawer-open-v3",
        horizon=500,
        obs_dim=39,
        action_dim=4,
        title="drawer-open",
        source="mnm Fig. 7",
        deviations=("E1", "E9"),
    ),
    _dclaw("turn_random", 40, 21, _MNM),
    _dclaw("screw_fixed", 80, 21, "mnm Fig. 4, 6"),
    _dclaw("screw_random", 80, 21, "mnm Fig. 4, 7"),
    _dclaw("pose_fixed", 80, 27, _MNM),
    _dclaw("pose_random", 80, 27, _MNM),
)

TASKS: dict[str, Task] = {task.id: task for task in _ALL}
