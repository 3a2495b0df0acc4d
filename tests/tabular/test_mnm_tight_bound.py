"""The course of the bounds on Figure 2a's world, and their gaps on random ones."""

from itertools import pairwise

import numpy as np
import pytest

from unirl_repro.tabular import mnm_tight_bound as experiment
from unirl_repro.tabular.frame import COLUMNS
from unirl_repro.tabular.tight import tight_bound
from unirl_repro.tabular.worlds import stochastic_grid

BOUNDS = ["eq_2", "extra_discount", "tight_markov", "tight_time_to_go", "tight_stopping"]
LADDER = [*BOUNDS, "log_return"]


@pytest.fixture(scope="module")
def frame():
    return experiment.run(seeds=3)


def table(frame, panel, index):
    found = frame[frame["panel"] == panel]
    return found.pivot_table(index=index, columns="variant", values="value")


def test_the_frame_is_tidy(frame):
    assert list(frame.columns) == COLUMNS
    assert set(frame["study"]) == {"mnm_tight_bound"}
    assert np.isfinite(frame["value"]).all()
    assert set(frame.loc[frame["panel"] == "random", "seed"]) == {0, 1, 2}


@pytest.mark.parametrize(("panel", "raised"), [("grid", "eq_2"), ("grid_eq_9", "extra_discount")])
def test_the_bounds_stand_in_order_and_each_rises_by_its_own_steps(frame, panel, raised):
    course = table(frame, panel, "iteration")
    for low, high in pairwise(LADDER):
        assert (course[low] <= course[high] + 1e-9).all()
    assert (course[raised].diff().dropna() >= -1e-9).all()
    assert course[raised].iloc[-1] - course[raised].iloc[-2] < 1e-9


def test_eq_10_is_tight_from_the_first_deterministic_policy_on(frame):
    course = table(frame, "grid", "iteration").loc[1:]
    for variant in ("tight_time_to_go", "tight_stopping"):
        assert course[variant].to_numpy() == pytest.approx(course["log_return"], abs=1e-9)
    assert (course["log_return"] - course["tight_markov"] > 0.05).all()  # as the notebook has it


def test_the_markov_bound_is_the_notebooks_number():
    """Its recursion over 300 horizons, from the visits to states and actions under the model."""
    mdp = stochastic_grid(experiment.REWARDS).mdp
    pairs = experiment.alternate(mdp, extra_discount=False)
    policy, model = [next(pairs) for _ in range(3)][-1]
    ratio = np.log(np.where(model > 0, model, 1) / np.where(model > 0, mdp.transitions, 1))
    visits, paid, logits = mdp.initial[:, None] * policy, 0.0, []
    for t in range(300):
        logits.append((visits * np.log(mdp.rewards)).sum() + t * np.log(mdp.discount) - paid)
        paid += np.einsum("sa,san,san->", visits, model, ratio)
        visits = np.einsum("sa,san->n", visits, model)[:, None] * policy
    q = np.exp(logits) / np.exp(logits).sum()
    assert tight_bound(mdp, model, policy) == pytest.approx(q @ (logits - np.log(q)), abs=1e-9)


def test_each_tilt_is_best_for_its_own_bound(frame):
    tilts = table(frame, "model_step", "name")
    assert tilts.loc["eq_2", "gamma_v"] > tilts.loc["eq_2", "v"] + 1e-6
    assert tilts.loc["extra_discount", "v"] > tilts.loc["extra_discount", "gamma_v"] + 1e-6


def test_the_models_tilted_by_the_return_lose_under_eq_2(frame):
    found = table(frame, "trajectories", "name")
    assert found.loc["probability", "q_star"] == pytest.approx(12 / 14.1)
    assert found.loc["probability", "eq_2"] == pytest.approx(10 / 11)
    assert found.loc["bound", "q_star"] < found.loc["bound", "eq_2"] - 0.01
    assert (found.loc["bound"] < found.loc["log_return"]).all()


def test_what_remains_of_the_gap_on_random_worlds(frame):
    gaps = table(frame, "random", ["seed", "name"])
    assert (gaps > -1e-9).all().all()
    sure = gaps.xs("gap_deterministic", level="name")
    tight = ["tight_time_to_go", "tight_stopping", "tight_reward_tilted"]
    assert (sure[tight] < 1e-9).all().all()
    assert (sure[["eq_2", "extra_discount", "tight_markov"]] > 0.05).all().all()
    for name in ("gap_policy", "gap_initial"):  # what q may not choose
        left = gaps.xs(name, level="name")
        assert (left["tight_stopping"] > 1e-4).all()
        assert (left["tight_stopping"] < left["tight_time_to_go"]).all()


def test_the_maxima_on_the_grid_have_the_best_policy(frame):
    optima = table(frame, "optimum", "name")
    assert optima.loc["regret"].to_numpy() == pytest.approx(0, abs=1e-9)
    assert optima.loc["gap", "tight_stopping"] == pytest.approx(0, abs=1e-9)
    assert (optima.loc["gap", ["eq_2", "extra_discount"]] > 0.05).all()
