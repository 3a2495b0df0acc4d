"""The closed list of tasks: an environment with its horizon, and what the papers call it.

A shared page: a run's fingerprint takes the values of its own task from here, never this file's
text, so that a new task makes no finished run stale. Imports no environment.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Task:
    """An environment, its horizon and its dimensions.

    Attributes
    ----------
    id : str
        ``<environment>-<horizon>``.
    suite : str
        Module of `unirl_repro.envs` that makes it: gym, dmc, dclaw or metaworld.
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
