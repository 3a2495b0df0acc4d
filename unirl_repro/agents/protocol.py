"""What the training loop asks of an algorithm."""

from collections.abc import Mapping
from typing import Any, Protocol

from numpy.random import Generator
from torch import Tensor

from unirl_repro.replay import Replay
from unirl_repro.rng import Keys

Metrics = Mapping[str, float | Tensor]  # scalars; a tensor is read only when a row is written


class Agent(Protocol):
    """An algorithm, as the loop in `unirl_repro.run` sees it.

    The loop acts, stores the transition in the replay, and calls the hooks; most agents leave all
    but one of them empty. Each hook gets the replay and the keys of its moment and returns metrics.

    Attributes
    ----------
    policy : str
        Who acts in the present episode: the curve's column of that name.
    random_steps : int
        Environment steps at the start of a run for which the loop draws uniform actions.
    """

    policy: str
    random_steps: int

    def act(self, obs: Tensor, rng: Generator, *, explore: bool) -> Tensor:
        """Actions in [-1, 1], shape [B, A], for observations [B, O]."""

    def before_episode(self, replay: Replay, keys: Keys) -> Metrics: ...

    def after_step(self, replay: Replay, keys: Keys) -> Metrics: ...

    def after_episode(self, replay: Replay, keys: Keys) -> Metrics: ...

    def state_dict(self) -> dict[str, Any]:
        """Everything learning depends on: tensors, numbers and containers of them alone."""

    def load_state_dict(self, state: dict[str, Any]) -> None: ...
