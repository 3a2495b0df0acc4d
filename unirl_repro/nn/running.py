"""Moments of a stream of values, counted in one at a time."""

from typing import Any, Generic, TypeVar

from torch import Tensor

Value = TypeVar("Value", float, Tensor)


class RunningMoments(Generic[Value]):
    """Mean and variance of all values so far (Welford 1962), for normalising by them.

    They start as if a ten-thousandth of a value with mean 0 and variance 1 had been seen, so that
    there is a variance from the first value on.

    Parameters
    ----------
    zero : float or Tensor
        0, of the form that values have: a number, or float64 with any shape.

    Notes
    -----
    Start and constants are those of stable-baselines3's `VecNormalize`.
    """

    START = 1e-4
    EPSILON = 1e-8  # under the root
    LIMIT = 10.0  # of what is normalised

    def __init__(self, zero: Value):
        self.count = self.START
        self.mean: Value = zero
        self.squares: Value = zero + self.START  # sum of squared distances from the mean

    def add(self, value: Value) -> None:
        """Count a value in."""
        self.count += 1
        shift = value - self.mean
        self.mean = self.mean + shift / self.count
        self.squares = self.squares + shift * (value - self.mean)

    @property
    def std(self) -> Value:
        return (self.squares / self.count + self.EPSILON) ** 0.5

    def state_dict(self) -> dict[str, Any]:
        return {"count": self.count, "mean": self.mean, "squares": self.squares}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.count = state["count"]
        for name in ("mean", "squares"):
            saved = state[name]
            mine = getattr(self, name)
            setattr(self, name, saved.to(mine.device) if isinstance(mine, Tensor) else saved)
