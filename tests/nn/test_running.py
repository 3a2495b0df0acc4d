"""Running moments: those of all values, and a state that restores."""

from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3.common.running_mean_std import RunningMeanStd

from unirl_repro.nn.running import RunningMoments


def stream(*shape: int) -> np.ndarray:
    return 1e3 + np.random.default_rng(0).standard_normal((40, *shape)).cumsum(axis=0)


def moments(shape: tuple[int, ...]) -> Any:
    """Of numbers where the shape is empty."""
    zero: Any = torch.zeros(shape, dtype=torch.float64) if shape else 0.0
    return RunningMoments(zero)


@pytest.mark.parametrize("shape", [(), (3,)], ids=["numbers", "tensors"])
def test_moments_equal_stable_baselines3(shape: tuple[int, ...]) -> None:
    peer = RunningMeanStd(shape=shape)
    ours = moments(shape)
    for row in stream(*shape):
        ours.add(torch.from_numpy(row) if shape else float(row))
        peer.update(row[None])
        assert np.allclose(ours.mean, peer.mean, rtol=1e-12, atol=0)
        assert np.allclose(ours.std, np.sqrt(peer.var + 1e-8), rtol=1e-9, atol=0)


def test_after_many_values_they_are_those_of_the_values() -> None:
    found, values = moments(()), np.random.default_rng(0).uniform(0, 1, 10_000)
    for value in values.tolist():
        found.add(value)
    assert found.mean == pytest.approx(values.mean(), rel=1e-6)
    assert found.std == pytest.approx(values.std(), rel=1e-6)


@pytest.mark.parametrize("shape", [(), (3,)], ids=["numbers", "tensors"])
def test_restored_moments_go_on_the_same_and_share_nothing(shape: tuple[int, ...]) -> None:
    first, second = moments(shape), moments(shape)
    values = [torch.from_numpy(row) if shape else float(row) for row in stream(*shape)]
    for value in values[:20]:
        first.add(value)
    saved = first.state_dict()
    for value in values[20:]:
        first.add(value)
    second.load_state_dict(saved)
    for value in values[20:]:
        second.add(value)
    assert np.array_equal(first.mean, second.mean)
    assert np.array_equal(first.std, second.std)
