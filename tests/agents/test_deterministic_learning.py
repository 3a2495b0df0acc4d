"""TD3 and DDPG learn: a point mass whose best return is exact, and InvertedPendulum."""

from typing import Any

import pytest
import torch

from tests.agents.short_loop import evaluate, train
from tests.agents.test_ddpg import build
from tests.pointmass import STARTS, PointMass, score
from unirl_repro.envs import make

# With less noise or fewer random steps either algorithm can end at a policy that always pushes one
# way, where tanh has no gradient left; so does stable-baselines3.
SETTINGS: dict[str, Any] = {
    "hidden": (64, 64),
    "batch_size": 128,
    "learning_rate": 1e-3,
    "polyak": 0.05,
    "exploration_noise": 0.3,
    "random_steps": 2_000,
}
BOTH = pytest.mark.parametrize("name", ["ddpg", "td3"])


pytestmark = pytest.mark.full


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@BOTH
def test_learns_the_point_mass(name: str) -> None:
    agent = build(name, (1, 1), seed=0, **SETTINGS, discount=0.9)
    train(agent, PointMass(), seed=0, env_steps=5_000)
    reached = score(evaluate(agent, PointMass(), [{"start": start} for start in STARTS]))
    assert reached > 0.8, f"{name} covered {reached:.0%} of the way to the optimum"


@BOTH
def test_balances_the_inverted_pendulum(name: str) -> None:
    env = make("inverted_pendulum-1000")
    agent = build(name, (4, 1), seed=0, **SETTINGS)
    train(agent, env, seed=0, env_steps=8_000)
    assert evaluate(agent, env, [None] * 5).mean() > 900
