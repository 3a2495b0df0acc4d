"""Several gradient updates in one hook of the loop."""

from collections.abc import Callable

import torch
from torch import Tensor

from unirl_repro.agents.protocol import Metrics


def repeated_updates(count: int, update: Callable[[], dict[str, Tensor]]) -> Metrics:
    """Call `update` `count` times; the mean of each metric over the calls that have it."""
    rows = [update() for _ in range(count)]
    if len(rows) == 1:
        return rows[0]
    names = dict.fromkeys(name for row in rows for name in row)
    return {n: torch.stack([row[n] for row in rows if n in row]).mean() for n in names}
