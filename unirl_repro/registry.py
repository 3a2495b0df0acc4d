"""Names of algorithms, and where each lives. A module is imported only when a run uses it.

A shared page: adding a line here changes no fingerprint.
"""

from dataclasses import dataclass

from unirl_repro.hyperparameters import Parameters, SACParameters


@dataclass(frozen=True)
class Algorithm:
    """Where an algorithm's agent and hyper-parameters are."""

    module: str
    agent: str
    parameters: type[Parameters]


ALGORITHMS: dict[str, Algorithm] = {
    "sac": Algorithm("unirl_repro.agents.sac", "SAC", SACParameters),
}
