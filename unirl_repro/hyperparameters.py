"""Every algorithm's hyper-parameters on one page: each default with its source.

Per-task values and the papers' variants stand in config.yaml. A shared page: a run's fingerprint
takes the values that were resolved for it, never this file's text. Imports no torch.
"""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator
from pydantic.dataclasses import dataclass

Probability = Annotated[float, Field(gt=0, lt=1)]
# YAML has lists, so the tuple is lenient; its entries are as strict as everything else.
Sizes = Annotated[tuple[PositiveInt, ...], Field(min_length=1, strict=False)]

_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


@dataclass(frozen=True, config=_STRICT)
class SACParameters:
    """Soft actor-critic. Defaults: Haarnoja et al. 2018 (v2), Table 1, unless a line says more."""

    hidden: Sizes = (256, 256)  # unified_rl's "three layers": deviation A4
    activation: Literal["relu", "tanh"] = "relu"  # of the actor; critics are always ReLU
    std_head: Literal["exp", "softplus", "sigmoid"] = "exp"
    log_std_min: float = -20.0  # head "exp" only: the logarithm is clipped to this range
    log_std_max: float = 2.0
    sigma_max: PositiveFloat | None = None  # head "sigmoid" only: unified_rl, A.2.5
    layer_norm: bool = False  # in the critics: unified_rl, Sec. 3.2
    entropy_in_target: bool = True  # unified_rl, Sec. 3.2, leaves it out
    entropy_coefficient: PositiveFloat | Literal["auto"] = "auto"
    initial_entropy_coefficient: PositiveFloat = 1.0  # where it starts when "auto"
    target_entropy: float | None = None  # None: minus the action's dimensions: deviation A5
    update_at: Literal["step", "episode"] = "step"  # "episode": all at once before it (Alg. 1)
    updates_per_step: PositiveInt = 1  # "episode" makes horizon times as many
    random_steps: NonNegativeInt = 5_000  # uniform actions at the start: deviation A1
    batch_size: PositiveInt = 256  # from here on unified_rl is silent: deviation A6
    learning_rate: PositiveFloat = 3e-4  # actor, critics and entropy coefficient
    discount: Probability = 0.99
    polyak: Probability = 0.005  # the target network's step towards the critic
    replay_capacity: PositiveInt = 1_000_000

    @model_validator(mode="after")
    def _check_head(self) -> "SACParameters":
        if (self.std_head == "sigmoid") != (self.sigma_max is not None):
            raise ValueError(
                f"std_head is {self.std_head!r} and sigma_max is {self.sigma_max}. "
                "Allowed: a sigma_max with std_head 'sigmoid', and with no other"
            )
        if self.log_std_min >= self.log_std_max:
            raise ValueError(
                f"log_std_min is {self.log_std_min} and log_std_max is {self.log_std_max}. "
                "Allowed: a log_std_min below log_std_max"
            )
        return self


Parameters = SACParameters
