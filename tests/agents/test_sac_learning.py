"""SAC learns: a point mass whose best return is exact, and InvertedPendulum."""

from typing import Any

import pytest
import torch

from tests.agents.short_loop import evaluate, sac_for, train
from tests.pointmass import HORIZON, STARTS, PointMass, score
from unirl_repro.envs import make
from unirl_repro.hyperparameters import SACParameters

SMALL: dict[str, Any] = {"hidden": (64, 64), "batch_size": 128, "learning_rate": 1e-3}
RLPD: dict[str, Any] = {
    "layer_norm": True,
    "entropy_in_target": False,
    "activation": "tanh",
    "update_at": "episode",
}
FORMS: dict[str, dict[str, Any]] = {
    "sac": {},
    "sac_rlpd": RLPD | {"std_head": "softplus"},
    "sac_rlpd, fixed": RLPD | {"std_head": "softplus", "entropy_coefficient": 0.02},
    "sac_rlpd, bounded": RLPD
    | {"std_head": "sigmoid", "sigma_max": 0.5, "entropy_coefficient": 0.02},
}


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("form", FORMS)
def test_learns_the_point_mass(form: str) -> None:
    parameters = SACParameters(**SMALL, **FORMS[form], random_steps=200)
    agent = sac_for(PointMass(), parameters, seed=0, horizon=HORIZON)
    train(agent, PointMass(), seed=0, env_steps=2_500)
    reached = score(evaluate(agent, PointMass(), [{"start": start} for start in STARTS]))
    assert reached > 0.9, f"{form} covered {reached:.0%} of the way to the optimum"


@pytest.mark.parametrize("form", ["sac", "sac_rlpd"])
def test_balances_the_inverted_pendulum(form: str) -> None:
    env = make("inverted_pendulum-1000")
    parameters = SACParameters(**SMALL, **FORMS[form], random_steps=500, polyak=0.05)
    # Falling soon, an episode is far shorter than the task's horizon: fewer updates before each.
    agent = sac_for(env, parameters, seed=0, horizon=100)
    train(agent, env, seed=0, env_steps=6_000)
    assert evaluate(agent, env, [None] * 5).mean() > 900
