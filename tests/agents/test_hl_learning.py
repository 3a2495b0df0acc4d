"""HL learns: a point mass whose best return is exact, and InvertedPendulum."""

from typing import Any

import pytest
import torch

from tests.agents.short_loop import evaluate, train
from tests.pointmass import HORIZON, STARTS, PointMass, score
from unirl_repro.agents.hl import HL
from unirl_repro.envs import make
from unirl_repro.hyperparameters import HLParameters, SACParameters
from unirl_repro.rng import Keys

SAC: dict[str, Any] = {"hidden": (64, 64), "batch_size": 128, "learning_rate": 1e-3}


pytestmark = pytest.mark.full


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def agent_for(env: Any, sac: SACParameters) -> HL:
    parameters = HLParameters(
        sac=sac,
        plan_horizon=5,
        num_samples=6,  # the mean of many explores little where all look alike
        model_hidden=(64, 64),
        model_updates=2,
        model_learning_rate=1e-3,
    )
    sizes = env.observation_space.shape[0], env.action_space.shape[0]
    keys, device = Keys(0, "init"), torch.device("cpu")
    return HL(parameters, *sizes, horizon=HORIZON, keys=keys, device=device, compiled=False)


def test_learns_the_point_mass() -> None:
    agent = agent_for(PointMass(), SACParameters(**SAC, random_steps=200))
    train(agent, PointMass(), seed=0, env_steps=1_500)
    reached = score(evaluate(agent, PointMass(), [{"start": start} for start in STARTS]))
    assert reached > 0.8, f"covered {reached:.0%} of the way to the optimum"


def test_balances_the_inverted_pendulum() -> None:
    env = make("inverted_pendulum-1000")
    agent = agent_for(env, SACParameters(**SAC, random_steps=500, polyak=0.05))
    train(agent, env, seed=0, env_steps=6_000)
    assert evaluate(agent, env, [None] * 3).mean() > 900
