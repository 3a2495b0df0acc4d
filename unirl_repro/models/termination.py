"""When a task ends, by the observation alone: what a learnt model is asked in place of the environment.

The rules are those of Gym's environments, which MBPO's published code writes down again for its
rollouts. An observation that is not finite ends each task that can end.
"""

from collections.abc import Callable

import torch
from torch import Tensor

Rule = Callable[[Tensor], Tensor]  # observations [B, O] -> flags [B]


def _never(obs: Tensor) -> Tensor:
    return torch.zeros(len(obs), dtype=torch.bool, device=obs.device)


def _hopper(obs: Tensor) -> Tensor:
    height, angle, others = obs[:, 0], obs[:, 1], obs[:, 1:]
    # The published rule lets large negative entries pass, by a misplaced bracket: deviation D3.
    return ~((height > 0.7) & (angle.abs() < 0.2) & (others.abs() < 100).all(-1) & _finite(obs))


def _walker2d(obs: Tensor) -> Tensor:
    height, angle = obs[:, 0], obs[:, 1]
    return ~((height > 0.8) & (height < 2.0) & (angle.abs() < 1.0) & _finite(obs))


def _ant(obs: Tensor) -> Tensor:
    height = obs[:, 0]
    return ~((height >= 0.2) & (height <= 1.0) & _finite(obs))


def _humanoid(obs: Tensor) -> Tensor:
    height = obs[:, 0]
    return ~((height > 1.0) & (height < 2.0) & _finite(obs))


def _inverted_pendulum(obs: Tensor) -> Tensor:
    angle = obs[:, 1]
    return ~((angle.abs() <= 0.2) & _finite(obs))


def _finite(obs: Tensor) -> Tensor:
    return obs.isfinite().all(-1)


TERMINATION: dict[str, Rule] = {
    "never": _never,
    "hopper": _hopper,
    "walker2d": _walker2d,
    "ant": _ant,
    "humanoid": _humanoid,
    "inverted_pendulum": _inverted_pendulum,
}
