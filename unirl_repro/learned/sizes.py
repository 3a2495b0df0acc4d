"""How large the studies of `learned` are at each scale. Imports no torch.

A page of numbers: a frame depends on those of its own scale alone, so that an edit of one scale
makes no frame of another stale.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from unirl_repro.hyperparameters import SACParameters, USBPOParameters


@dataclass(frozen=True)
class ModelSizes:
    """Of an ensemble; what is not here is MBPO's own, at each scale."""

    hidden: tuple[int, ...] = (200, 200, 200, 200)
    members: int = 7
    elites: int = 5
    batch_size: int = 64  # MBPO's 256 are too many for small sets: deviation B3
    learning_rate: float = 1e-3


@dataclass(frozen=True)
class Generalisation:
    """mbpo_blog_fig1.

    Attributes
    ----------
    hidden : tuple of int
        Of SAC's networks.
    batch_size, random_steps, learning_rate : int, int, float
        SAC's.
    collecting : int
        Environment steps of training at which its policy is the one that collects data.
    later : tuple of int
        And those at which its policies are the future ones, four at each scale.
    collected : int
        Transitions that are collected; training sets are drawn from them.
    training_sets : tuple of int
        Transitions of each.
    tested : int
        Transitions of each policy that models are tested on.
    model : ModelSizes
        Of the ensembles.
    """

    hidden: tuple[int, ...]
    batch_size: int
    random_steps: int
    learning_rate: float
    collecting: int
    later: tuple[int, int, int, int]
    collected: int
    training_sets: tuple[int, ...]
    tested: int
    model: ModelSizes


@dataclass(frozen=True)
class Compounding:
    """mbpo_blog_fig2.

    Attributes
    ----------
    collected : int
        Transitions that the ensemble is trained on.
    trajectories : int
        That are sampled from it.
    model : ModelSizes
        Of the ensemble.
    """

    collected: int
    trajectories: int
    model: ModelSizes


@dataclass(frozen=True)
class Cost:
    """usbpo_cost.

    Attributes
    ----------
    task : str
        By its id.
    parameters : USBPOParameters
        Of both algorithms; MBPO has no use for those of fine-tuning.
    compiled : bool
        As runs are at this scale.
    periods : int
        That are measured, of `model_every` environment steps each.
    """

    task: str
    parameters: USBPOParameters
    compiled: bool
    periods: int


_TINY = ModelSizes(hidden=(16, 16, 16, 16), members=3, elites=2)

GENERALISATION: Mapping[str, Generalisation] = {
    "smoke": Generalisation(
        hidden=(16, 16),
        batch_size=16,
        random_steps=50,
        learning_rate=1e-3,
        collecting=80,
        later=(90, 100, 110, 120),
        collected=250,
        training_sets=(60, 120, 240),
        tested=100,
        model=_TINY,
    ),
    "quick": Generalisation(
        hidden=(64, 64),
        batch_size=64,
        random_steps=200,
        learning_rate=1e-3,
        collecting=400,
        later=(450, 500, 600, 800),
        collected=800,
        training_sets=(200, 400, 800),
        tested=250,
        model=ModelSizes((32, 32, 32, 32), members=3, elites=2, batch_size=64, learning_rate=5e-3),
    ),
    "paper": Generalisation(
        hidden=(256, 256),
        batch_size=256,
        random_steps=5_000,
        learning_rate=3e-4,
        collecting=20_000,
        later=(22_000, 24_000, 28_000, 36_000),
        collected=32_000,
        training_sets=(2_000, 8_000, 32_000),
        tested=10_000,
        model=ModelSizes(),
    ),
}
COMPOUNDING: Mapping[str, Compounding] = {
    "smoke": Compounding(collected=200, trajectories=20, model=_TINY),
    "quick": Compounding(
        collected=800,
        trajectories=100,
        model=ModelSizes((32, 32, 32, 32), members=3, elites=2, batch_size=128, learning_rate=2e-3),
    ),
    "paper": Compounding(collected=4_000, trajectories=1_000, model=ModelSizes()),
}
COST: Mapping[str, Cost] = {
    "smoke": Cost(
        task="inverted_pendulum-1000",
        parameters=USBPOParameters(
            termination="inverted_pendulum",
            sac=SACParameters(hidden=(16, 16), batch_size=16, random_steps=50),
            members=3,
            elites=2,
            model_hidden=(16, 16, 16, 16),
            model_batch_size=32,
            model_every=25,
            epoch_length=50,
            rollout_schedule=(1, 15, 1, 1),
            rollout_batch=100,
            fine_tuning_batch_size=16,
            fine_tuning_updates=5,
        ),
        compiled=False,
        periods=2,
    ),
    "quick": Cost(
        task="inverted_pendulum-1000",
        parameters=USBPOParameters(
            termination="inverted_pendulum",
            sac=SACParameters(
                hidden=(64, 64),
                batch_size=64,
                random_steps=250,
                updates_per_step=2,
                learning_rate=1e-3,
                target_entropy=-0.05,
            ),
            members=3,
            elites=2,
            model_hidden=(32, 32, 32, 32),
            model_batch_size=64,
            model_every=125,
            epoch_length=250,
            rollout_schedule=(1, 15, 1, 1),
            rollout_batch=2_000,
            fine_tuning_batch_size=256,
        ),
        compiled=False,
        periods=4,
    ),
    "paper": Cost(  # config.yaml's own for this task, as a test says
        task="hopper-1000",
        parameters=USBPOParameters(
            termination="hopper",
            sac=SACParameters(updates_per_step=20, target_entropy=-1.0),
            rollout_schedule=(20, 150, 1, 15),
        ),
        compiled=True,
        periods=6,
    ),
}
SIZES: Mapping[str, Mapping[str, Generalisation | Compounding | Cost]] = {
    "usbpo_cost": COST,
    "mbpo_blog_fig1": GENERALISATION,
    "mbpo_blog_fig2": COMPOUNDING,
}
