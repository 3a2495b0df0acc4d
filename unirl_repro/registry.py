"""Names of algorithms, and where each lives. A module is imported only when a run uses it.

A shared page: adding a line here changes no fingerprint.
"""

from dataclasses import dataclass

from unirl_repro.hyperparameters import Parameters, SACParameters


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
    """

    module: str
    agent: str
    parameters: type[Parameters]
    learns_model: bool = False


ALGORITHMS: dict[str, Algorithm] = {
    "sac": Algorithm("unirl_repro.agents.sac", "SAC", SACParameters),
}
