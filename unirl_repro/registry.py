"""Names of algorithms, and where each lives. A module is imported only when a run uses it.

A shared page: adding a line here changes no fingerprint.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from unirl_repro.hyperparameters import (
    ALMParameters,
    CMLOParameters,
    DDPGParameters,
    HLParameters,
    MBPOParameters,
    MBRLParameters,
    Parameters,
    PDMLParameters,
    PPOParameters,
    SACParameters,
    SVGParameters,
    TD3Parameters,
    UnifiedParameters,
    USBPOParameters,
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


def _dyna(module: str, agent: str, parameters: type[Parameters]) -> Algorithm:
    """MBPO, or what is built on it: SAC on a model's transitions."""
    return Algorithm(
        f"unirl_repro.agents.{module}",
        agent,
        parameters,
        learns_model=True,
        components={"sac": "sac"},
    )


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
    "td3": Algorithm("unirl_repro.agents.td3", "TD3", TD3Parameters),
    "ddpg": Algorithm("unirl_repro.agents.ddpg", "DDPG", DDPGParameters),
    "ppo": Algorithm("unirl_repro.agents.ppo", "PPO", PPOParameters),
    "svg": Algorithm("unirl_repro.agents.svg", "SVG", SVGParameters, learns_model=True),
    "hl": Algorithm(
        "unirl_repro.agents.hl", "HL", HLParameters, learns_model=True, components={"sac": "sac"}
    ),
    "alm": Algorithm("unirl_repro.agents.alm", "ALM", ALMParameters, learns_model=True),
    "mbpo": _dyna("mbpo", "MBPO", MBPOParameters),
    "cmlo": _dyna("cmlo", "CMLO", CMLOParameters),
    "usbpo": _dyna("usbpo", "USBPO", USBPOParameters),
    "pdml": _dyna("pdml", "PDML", PDMLParameters),
}
