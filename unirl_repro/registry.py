"""Names of algorithms, and where each lives. A module is imported only when a run uses it.

A shared page: adding a line here changes no fingerprint.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from unirl_repro.hyperparameters import (
    MBRLParameters,
    Parameters,
    SACParameters,
    UnifiedParameters,
)


@dataclass(frozen=True)
class Algorithm:
    """Where an algorithm's agent and hyper-parameters are.

    Attributes
    ----------
    module, agent : str
        Name of the module, and of the class in it.
    parameters : type
        Class of its hyper-parameters.
    learns_model : bool
        Whether it learns a model of the dynamics: where a cluster has GPUs, it trains on one.
    whole_episodes : bool
        Whether it learns from episodes of one length: it is refused on tasks that may end early.
    components : mapping of str to str
        Algorithms that it is made of, by the field of its hyper-parameters that holds theirs.
    """

    module: str
    agent: str
    parameters: type[Parameters]
    learns_model: bool = False
    whole_episodes: bool = False
    components: Mapping[str, str] = field(default_factory=dict)


ALGORITHMS: dict[str, Algorithm] = {
    "sac": Algorithm("unirl_repro.agents.sac", "SAC", SACParameters),
    "mbrl": Algorithm(
        "unirl_repro.agents.mbrl",
        "MBRL",
        MBRLParameters,
        learns_model=True,
        whole_episodes=True,
    ),
    "unified": Algorithm(
        "unirl_repro.agents.unified",
        "Unified",
        UnifiedParameters,
        learns_model=True,
        whole_episodes=True,
        components={"sac": "sac", "mbrl": "mbrl"},
    ),
}
