"""The exact ends of the point mass's score."""

import numpy as np
import pytest

from tests.pointmass import STARTS, PointMass, optimal_gains, score


def returns_of(controller) -> np.ndarray:
    env, totals = PointMass(), []
    for start in STARTS:
        obs, _ = env.reset(options={"start": start})
        total, over, step = 0.0, False, 0
        while not over:
            obs, reward, _, over, _ = env.step(controller(obs, step))
            total, step = total + reward, step + 1
        totals.append(total)
    return np.array(totals)


def test_doing_nothing_scores_zero_and_the_linear_controller_one() -> None:
    gains = optimal_gains()
    assert score(returns_of(lambda obs, step: np.zeros(1))) == pytest.approx(0, abs=1e-6)
    assert score(returns_of(lambda obs, step: -gains[step] * obs)) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("factor", [0.8, 0.95, 1.05, 1.3])
def test_no_scaled_controller_does_better(factor: float) -> None:
    gains = optimal_gains()
    assert score(returns_of(lambda obs, step: -factor * gains[step] * obs)) < 1


def test_random_actions_do_worse_than_nothing() -> None:
    rng = np.random.default_rng(0)
    assert score(returns_of(lambda obs, step: rng.uniform(-1, 1, 1))) < 0
