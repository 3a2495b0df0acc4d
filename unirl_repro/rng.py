"""Keyed random numbers: every draw has an address, so no generator's state is ever saved.

A run's draws come from Philox, a counter generator whose 128-bit key is a hash of (seed, phase,
stream, episode, step). Evaluation, logging and resuming therefore cannot shift what training draws.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Keys:
    """The address of one moment of a run; calling it with a stream's name gives a generator.

    Attributes
    ----------
    seed : int
        The run's seed.
    phase : str
        Which part of the loop asks: init, reset, act, before_episode, after_step, ….
    episode, step : int
        Episode of the run, and environment step inside it.

    Examples
    --------
    >>> keys = Keys(seed=0, phase="act", episode=3, step=14)
    >>> keys("noise").random() == keys("noise").random()
    True
    >>> keys("noise").random() == keys("batch").random()
    False
    """

    seed: int
    phase: str
    episode: int = 0
    step: int = 0

    def __call__(self, stream: str) -> np.random.Generator:
        address = f"{self.seed}/{self.phase}/{stream}/{self.episode}/{self.step}".encode()
        key = np.frombuffer(hashlib.blake2b(address, digest_size=16).digest(), dtype="<u8")
        return np.random.Generator(np.random.Philox(key=key))

    def integer(self, stream: str) -> int:
        """A seed in [0, 2^31) for code that takes an integer, such as an environment's reset."""
        return int(self(stream).integers(2**31))


def normal(rng: np.random.Generator, *shape: int, like: Tensor) -> Tensor:
    """Standard normal noise with the device and dtype of `like`; drawn in float32 unless float64."""
    dtype = np.float64 if like.dtype == torch.float64 else np.float32
    noise = torch.from_numpy(rng.standard_normal(shape, dtype=dtype))
    return noise.to(like.device, like.dtype, non_blocking=True)


def uniform(rng: np.random.Generator, *shape: int, low: float, high: float, like: Tensor) -> Tensor:
    """Uniform draws in [low, high] with the device and dtype of `like`; rounding may reach `high`."""
    draws = torch.from_numpy(rng.uniform(low, high, shape))
    return draws.to(like.device, like.dtype, non_blocking=True)
