"""Every algorithm's hyper-parameters on one page: each default with its source.

Per-task values and the papers' variants stand in config.yaml. A shared page: a run's fingerprint
takes the values that were resolved for it, never this file's text. Imports no torch.
"""

from dataclasses import field
from typing import Annotated, Literal

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)
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
        _check_sigma_max(self.std_head, self.sigma_max)
        if self.log_std_min >= self.log_std_max:
            raise ValueError(
                f"log_std_min is {self.log_std_min} and log_std_max is {self.log_std_max}. "
                "Allowed: a log_std_min below log_std_max"
            )
        return self


@dataclass(frozen=True, config=_STRICT)
class MBRLParameters:
    """Model-based RL with a Bayesian LSTM (unified_rl, Sec. 3.2 and A.2): Table 2 is in config.yaml."""

    # The model (A.2.1)
    model_hidden: PositiveInt = 200  # units of every layer: deviation U1
    dropout: Probability = 0.1  # probability that a unit is off: deviation U1
    prior_strength: PositiveFloat = 100.0  # eta
    model_batch_size: PositiveInt = 100  # B, whole trajectories
    model_learning_rate: PositiveFloat = 1e-3  # deviation U2
    # The policy (A.2.2, A.2.5)
    policy_training: Literal["full_trajectory", "dreamer"] = "dreamer"
    hidden: Sizes = (1024, 1024)
    std_head: Literal["softplus", "sigmoid"] = "softplus"
    sigma_max: PositiveFloat | None = None
    entropy_coefficient: PositiveFloat = 0.2  # alpha_MB, never tuned automatically
    learning_rate: PositiveFloat = 3e-4  # of policy and critic; Dreamer's is 8e-5: deviation U2
    num_masks: PositiveInt = 50  # weights drawn for each update of the policy: deviation U3
    num_starts: PositiveInt = 2  # trajectories from each; 10 if they are short: deviation U3
    clip_norm: PositiveFloat = 100.0  # of the policy's and the critic's gradients: deviation U2
    # Dreamer-style training alone (Hafner et al. 2019)
    imagined_horizon: PositiveInt = 16  # H
    critic_hidden: Sizes = (256, 256)  # A.2.3, "three layers": deviation A4
    discount: Probability = 0.99
    trace_decay: Probability = 0.95  # lambda
    # When it learns, and from what
    initial_episodes: PositiveInt = 100  # in D before the first update: deviation U21
    steps_per_update: PositiveInt = 10  # environment steps for one update of each: deviation U4
    random_steps: NonNegativeInt = 1_000  # uniform actions at the start: deviation A1
    replay_capacity: PositiveInt = 1_000_000

    @model_validator(mode="after")
    def _check_head(self) -> "MBRLParameters":
        _check_sigma_max(self.std_head, self.sigma_max)
        return self


def _built_from_mapping(kind: type) -> BeforeValidator:
    """Recorded runs hold parameters as plain values."""
    return BeforeValidator(lambda value: kind(**value) if isinstance(value, dict) else value)


@dataclass(frozen=True, config=_STRICT)
class UnifiedParameters:
    """Unified RL (unified_rl, Alg. 1): its two parts, and the check that chooses between them."""

    # Each part's parameters are those of a variant of its own: `components` in config.yaml.
    sac: Annotated[SACParameters, _built_from_mapping(SACParameters)] = field(
        default_factory=SACParameters
    )
    mbrl: Annotated[MBRLParameters, _built_from_mapping(MBRLParameters)] = field(
        default_factory=lambda: MBRLParameters(random_steps=SACParameters().random_steps)
    )
    num_masks: PositiveInt = 50  # K
    num_rollouts: PositiveInt = 10  # M, of each policy under each mask; "default": deviation U9
    model_free_every: PositiveInt = 10  # at least one episode in so many: A.2.5, deviation U8

    @property
    def replay_capacity(self) -> int:
        """Of the buffer that both parts learn from."""
        return self.sac.replay_capacity

    @model_validator(mode="after")
    def _check_parts(self) -> "UnifiedParameters":
        for name in ("random_steps", "replay_capacity"):
            sac, mbrl = getattr(self.sac, name), getattr(self.mbrl, name)
            if sac != mbrl:
                raise ValueError(
                    f"{name} is {sac} for sac and {mbrl} for mbrl. Allowed: the same for both, "
                    "which share one buffer"
                )
        return self


def _check_sigma_max(std_head: str, sigma_max: float | None) -> None:
    if (std_head == "sigmoid") != (sigma_max is not None):
        raise ValueError(
            f"std_head is {std_head!r} and sigma_max is {sigma_max}. "
            "Allowed: a sigma_max with std_head 'sigmoid', and with no other"
        )


Parameters = SACParameters | MBRLParameters | UnifiedParameters
