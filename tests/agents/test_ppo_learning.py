"""PPO learns: a point mass whose best return is exact, and InvertedPendulum."""

from typing import Any

import gymnasium as gym
import pytest
import torch

from tests.agents.short_loop import evaluate, train
from tests.pointmass import STARTS, PointMass, score
from unirl_repro.agents.ppo import PPO
from unirl_repro.envs import make
from unirl_repro.hyperparameters import PPOParameters
from unirl_repro.rng import Keys

QUICK: dict[str, Any] = {"num_steps": 500, "batch_size": 50, "learning_rate": 1e-3}
# As published for this task: rl-baselines3-zoo, hyperparams/ppo.yml, InvertedPendulum-v2.
PENDULUM: dict[str, Any] = {
    "num_steps": 32,
    "batch_size": 32,
    "epochs": 5,
    "learning_rate": 0.000222425,
    "discount": 0.999,
    "trace_decay": 0.9,
    "clip_range": 0.4,
    "entropy_coefficient": 1.37976e-07,
    "value_coefficient": 0.19816,
    "clip_norm": 0.3,
    "normalise": True,
}


pytestmark = pytest.mark.full


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def ppo_for(env: gym.Env, parameters: PPOParameters) -> PPO:
    assert env.observation_space.shape
    assert env.action_space.shape
    return PPO(
        parameters,
        env.observation_space.shape[0],
        env.action_space.shape[0],
        horizon=1,
        keys=Keys(0, "init"),
        device=torch.device("cpu"),
        compiled=False,
    )


@pytest.mark.parametrize("normalise", [False, True])
def test_learns_the_point_mass(normalise: bool) -> None:
    agent = ppo_for(PointMass(), PPOParameters(**QUICK, normalise=normalise))
    train(agent, PointMass(), seed=0, env_steps=8_000)
    reached = score(evaluate(agent, PointMass(), [{"start": start} for start in STARTS]))
    assert reached > 0.9, f"it covered {reached:.0%} of the way to the optimum"


def test_balances_the_inverted_pendulum() -> None:
    env = make("inverted_pendulum-1000")
    agent = ppo_for(env, PPOParameters(**PENDULUM))
    train(agent, env, seed=0, env_steps=20_000)
    assert evaluate(agent, env, [None] * 5).mean() > 900
