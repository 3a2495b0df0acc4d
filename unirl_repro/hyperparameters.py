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
    NonNegativeFloat,
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


@dataclass(frozen=True, config=_STRICT)
class TD3Parameters:
    """Twin delayed DDPG. Defaults: Fujimoto et al. 2018, as their code has them today."""

    hidden: Sizes = (256, 256)
    learning_rate: PositiveFloat = 3e-4  # actor and critics
    discount: Probability = 0.99
    polyak: Probability = 0.005
    batch_size: PositiveInt = 256
    exploration_noise: NonNegativeFloat = 0.1  # standard deviation, of actions in [-1, 1]
    target_noise: NonNegativeFloat = 0.2
    target_noise_clip: PositiveFloat = 0.5
    policy_delay: PositiveInt = 2  # updates of the critics for one of actor and targets
    random_steps: NonNegativeInt = 25_000  # uniform actions at the start: deviation A1
    replay_capacity: PositiveInt = 1_000_000


@dataclass(frozen=True, config=_STRICT)
class DDPGParameters:
    """Deep deterministic policy gradient, as Fujimoto et al. 2018 tuned it anew: deviation A8."""

    hidden: Sizes = (256, 256)
    learning_rate: PositiveFloat = 3e-4  # actor and critic
    discount: Probability = 0.99
    polyak: Probability = 0.005
    batch_size: PositiveInt = 256
    exploration_noise: NonNegativeFloat = 0.1  # standard deviation, of actions in [-1, 1]
    random_steps: NonNegativeInt = 25_000  # uniform actions at the start: deviation A1
    replay_capacity: PositiveInt = 1_000_000


@dataclass(frozen=True, config=_STRICT)
class PPOParameters:
    """Proximal policy optimisation. Defaults: Schulman et al. 2017, Table 3, and deviation A10."""

    hidden: Sizes = (64, 64)  # of policy and value function each
    activation: Literal["relu", "tanh"] = "tanh"
    orthogonal: bool = True  # initial weights; else uniform, as for the other algorithms: A10
    initial_log_std: float = 0.0  # A10
    num_steps: PositiveInt = 2048  # environment steps of one window
    batch_size: Annotated[int, Field(ge=2)] = 64
    epochs: PositiveInt = 10
    learning_rate: PositiveFloat = 3e-4
    discount: Probability = 0.99
    trace_decay: Probability = 0.95  # lambda of the advantages
    clip_range: PositiveFloat = 0.2  # Table 1
    entropy_coefficient: NonNegativeFloat = 0.0  # c2 in Eq. 9: Sec. 6.1 has none
    value_coefficient: PositiveFloat = 0.5  # c1 in Eq. 9: A10
    clip_norm: PositiveFloat = 0.5  # of the gradients: A10
    normalise: bool = False  # observations and rewards, by running moments: deviation A12

    @property
    def replay_capacity(self) -> int:
        """Nothing older than a window is read."""
        return self.num_steps

    @model_validator(mode="after")
    def _check_batches(self) -> "PPOParameters":
        if self.num_steps % self.batch_size:
            raise ValueError(
                f"batch_size is {self.batch_size} and num_steps is {self.num_steps}. "
                "Allowed: a batch_size that divides num_steps"
            )
        return self


@dataclass(frozen=True, config=_STRICT)
class SVGParameters:
    """Stochastic value gradients, SVG(1) with replay (Heess et al. 2015); sources: deviation A18."""

    hidden: Sizes = (256, 256)  # of policy and value function each
    model_hidden: Sizes = (200, 200)  # of dynamics and reward each
    log_std_min: float = -2.0  # the policy's, before the tanh: deviation A16
    log_std_max: float = 2.0
    max_weight: PositiveFloat = 5.0  # of the ratio of densities: deviation A16
    kl_coefficient: NonNegativeFloat = 0.01  # of the divergence from who acted: deviation A16
    learning_rate: PositiveFloat = 1e-3  # model and value function
    actor_learning_rate: PositiveFloat = 1e-4
    clip_norm: PositiveFloat = 10.0  # of each one's gradient
    batch_size: PositiveInt = 256
    discount: Probability = 0.99
    polyak: Probability = 0.005
    random_steps: NonNegativeInt = 1_000  # uniform actions at the start: deviation A1
    replay_capacity: PositiveInt = 1_000_000


@dataclass(frozen=True, config=_STRICT)
class ALMParameters:
    """Aligned latent models (Ghugare et al. 2022). Defaults: the published code, deviation A29."""

    latent: PositiveInt = 50  # size of a latent state
    hidden: PositiveInt = 512  # units of both hidden layers of every network but the model
    model_hidden: PositiveInt = 1024
    model_steps: PositiveInt = 3  # K, of a training window and of the policy's rollouts
    windows: Literal["across", "inside"] = "across"  # the ends of episodes: deviation A24
    classifier_weight: NonNegativeFloat = 0.1  # of its log ratio as a reward: deviation A25
    learning_rate: PositiveFloat = 1e-4  # of all four optimisers
    clip_norm: PositiveFloat = 100.0  # of each one's gradients
    discount: Probability = 0.99
    trace_decay: Probability = 0.95  # lambda of the policy's returns
    polyak: Probability = 0.005  # the step of the targets of encoder and critic
    batch_size: PositiveInt = 512  # of windows, and of transitions
    initial_noise: NonNegativeFloat = 1.0  # standard deviation, of actions in [-1, 1]
    final_noise: NonNegativeFloat = 0.1
    noise_steps: PositiveInt = 100_000  # environment steps from one to the other, after the random
    noise_clip: PositiveFloat = 0.3  # in updates: deviation A28
    random_steps: NonNegativeInt = 5_000  # uniform actions at the start: deviation A1
    replay_capacity: PositiveInt = 100_000  # 1,000,000 for Humanoid


@dataclass(frozen=True, config=_STRICT)
class HLParameters:
    """Hybrid learning, the stochastic variant (Pinosky et al. 2023). Defaults: the published code."""

    # SAC's parameters are those of a variant of its own: `components` in config.yaml.
    sac: Annotated[SACParameters, _built_from_mapping(SACParameters)] = field(
        default_factory=SACParameters
    )
    plan_horizon: PositiveInt = 10  # H, steps of a trajectory in the model
    num_samples: PositiveInt = 60  # N, trajectories for each action; "60 for sim" in the code
    temperature: PositiveFloat = 0.1  # lambda
    model_hidden: Sizes = (200, 200)  # of dynamics and reward each
    model_learning_rate: PositiveFloat = 3e-4
    model_updates: PositiveInt = 5  # for each environment step, on batches of SAC's size

    @property
    def replay_capacity(self) -> int:
        """Of the buffer that policy and model learn from."""
        return self.sac.replay_capacity


Termination = Literal["never", "hopper", "walker2d", "ant", "humanoid", "inverted_pendulum"]
Decays = Annotated[tuple[NonNegativeFloat, ...], Field(strict=False)]
Schedule = Annotated[
    tuple[NonNegativeInt, PositiveInt, PositiveInt, PositiveInt], Field(strict=False)
]


@dataclass(frozen=True, config=_STRICT)
class MBPOParameters:
    """Model-based policy optimisation. Defaults: the published code, Hopper: deviations D1 and D2."""

    termination: Termination = "never"  # when the task ends, which the model is not asked
    # SAC's parameters are those of a variant of its own: `components` in config.yaml.
    sac: Annotated[SACParameters, _built_from_mapping(SACParameters)] = field(
        default_factory=SACParameters
    )
    # The model
    members: PositiveInt = 7
    elites: PositiveInt = 5
    model_hidden: Sizes = (200, 200, 200, 200)
    weight_decay: Decays = (
        2.5e-5,
        5e-5,
        7.5e-5,
        7.5e-5,
        1e-4,
    )  # of each layer, the last the output
    model_learning_rate: PositiveFloat = 1e-3
    model_batch_size: PositiveInt = 256
    model_every: PositiveInt = 250  # environment steps from one training and rollout to the next
    # Rollouts
    epoch_length: PositiveInt = 1000  # environment steps: the unit of the next two
    rollout_schedule: Schedule = (20, 150, 1, 15)  # from this epoch to that, k from this to that
    model_data_epochs: PositiveInt = 1  # that model data are kept
    rollout_batch: PositiveInt = 100_000  # states that rollouts branch from
    real_ratio: Annotated[float, Field(ge=0, lt=1)] = 0.05  # of SAC's batches

    @property
    def replay_capacity(self) -> int:
        """Of the real transitions, all of which the model learns from."""
        return self.sac.replay_capacity

    @model_validator(mode="after")
    def _check_sizes(self) -> "MBPOParameters":
        if len(self.weight_decay) != len(self.model_hidden) + 1:
            raise ValueError(
                f"weight_decay has {len(self.weight_decay)} values and model_hidden "
                f"{len(self.model_hidden)}. Allowed: one for each hidden layer and one more"
            )
        if self.elites > self.members:
            raise ValueError(
                f"elites is {self.elites} and members is {self.members}. "
                "Allowed: at most as many elites as members"
            )
        first, last, shortest, longest = self.rollout_schedule
        if first >= last or shortest > longest:
            raise ValueError(
                f"rollout_schedule is {list(self.rollout_schedule)}. Allowed: an epoch, a later "
                "one, the rollouts' length until the first and one no shorter from the second on"
            )
        if (self.model_data_epochs * self.epoch_length) % self.model_every:
            raise ValueError(
                f"model_every is {self.model_every}, epoch_length {self.epoch_length} and "
                f"model_data_epochs {self.model_data_epochs}. Allowed: a model_every that divides "
                "the epochs' steps"
            )
        if self.sac.update_at != "step":
            raise ValueError(
                f"update_at of the SAC inside is {self.sac.update_at!r}, and its updates follow each "
                "step. Allowed: 'step'"
            )
        return self


@dataclass(frozen=True, config=_STRICT)
class CMLOParameters(MBPOParameters):
    """MBPO that trains its model when that has become unsure of new data (Ji et al. 2022)."""

    threshold: PositiveFloat = 2.0  # alpha, of the sum of log(1 + volume ratio * error)
    check_every: PositiveInt = 50  # environment steps from one look at the data to the next
    hull_states: PositiveInt = 1000  # drawn for a volume
    least_steps: PositiveInt = 150  # between two trainings
    most_steps: PositiveInt = 500  # after which the model is trained in any case

    @model_validator(mode="after")
    def _check_steps(self) -> "CMLOParameters":
        if self.least_steps > self.most_steps or self.most_steps % self.check_every:
            raise ValueError(
                f"check_every is {self.check_every}, least_steps {self.least_steps} and most_steps "
                f"{self.most_steps}. Allowed: a check_every that divides most_steps, which is at "
                "least least_steps"
            )
        return self


@dataclass(frozen=True, config=_STRICT)
class USBPOParameters(MBPOParameters):
    """MBPO whose model is fine-tuned after each training (USB-PO, Alg. 1): deviation D9."""

    wasserstein: Literal["sample", "repo"] = "sample"  # Eq. 11 of each state, or as published
    fine_tuning_learning_rate: PositiveFloat = 1e-4  # the same for all tasks: Sec. 5.2
    fine_tuning_batch_size: PositiveInt = 1024  # states, from the model data
    fine_tuning_updates: PositiveInt = 100  # at most


@dataclass(frozen=True, config=_STRICT)
class PDMLParameters(MBPOParameters):
    """MBPO whose model learns most from policies like the present one (Wang et al. 2023)."""

    newest_share: Probability = 0.02  # at least, of the newest block of data
    random_weight: PositiveFloat = 0.05  # of a random step, that of one of the first block being 1
    weighted_from: PositiveInt = 4  # blocks, below which all data weigh the same
    shift_states: PositiveInt = 1000  # that a policy shift is measured on


def _check_sigma_max(std_head: str, sigma_max: float | None) -> None:
    if (std_head == "sigmoid") != (sigma_max is not None):
        raise ValueError(
            f"std_head is {std_head!r} and sigma_max is {sigma_max}. "
            "Allowed: a sigma_max with std_head 'sigmoid', and with no other"
        )


Parameters = (
    SACParameters
    | MBRLParameters
    | UnifiedParameters
    | TD3Parameters
    | DDPGParameters
    | PPOParameters
    | SVGParameters
    | HLParameters
    | ALMParameters
    | MBPOParameters
    | CMLOParameters
    | USBPOParameters
    | PDMLParameters
)
