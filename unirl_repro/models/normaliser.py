"""Means and standard deviations of everything seen so far, added to batch by batch."""

import torch
from torch import Tensor, nn


class Normaliser(nn.Module):
    """Sends data to zero mean and unit variance, and back.

    Parameters
    ----------
    size : int
        Columns.

    Notes
    -----
    Moments are merged in float64 (Chan et al. 1979), so that each episode is read once however long
    the run is. `mean` and `std` change only in `update`: a period of training sees them fixed.
    """

    SMALLEST = 1e-6  # a column that never changes: its standard deviation would be 0

    mean: Tensor
    std: Tensor
    moments: Tensor

    def __init__(self, size: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("std", torch.ones(size))
        # Rows: number of samples, mean, sum of squared distances from it.
        self.register_buffer("moments", torch.zeros(3, size, dtype=torch.float64))

    @torch.no_grad()
    def add(self, rows: Tensor) -> None:
        """Count rows [B, size] in."""
        rows = rows.double()
        count, mean, squares = self.moments
        total, shift = count + len(rows), rows.mean(0) - mean
        squares = squares + rows.var(0, correction=0) * len(rows)
        squares = squares + shift.square() * count * len(rows) / total
        self.moments.copy_(torch.stack([total, mean + shift * len(rows) / total, squares]))

    @torch.no_grad()
    def update(self) -> None:
        """Take over the moments of all rows so far."""
        count, mean, squares = self.moments
        self.mean.copy_(mean)
        self.std.copy_((squares / count).sqrt().clamp(min=self.SMALLEST))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std
