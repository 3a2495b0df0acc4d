"""Transitions of a policy, and an ensemble that is trained on some of them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from unirl_repro.envs.tasks import find
from unirl_repro.learned.models import LearntModel, collect
from unirl_repro.learned.sizes import COMPOUNDING, GENERALISATION, SIZES, ModelSizes
from unirl_repro.replay import Batch
from unirl_repro.rng import Keys

TASK = find("inverted_pendulum-1000")
SMALL = ModelSizes(hidden=(16, 16, 16, 16), members=3, elites=2, batch_size=32, learning_rate=5e-3)


def noise(obs, keys):
    return torch.from_numpy(keys("action").uniform(-1, 1, TASK.action_dim)).float()


def linear_world(count=400, size=1e-3):
    """Changes of the observation are its action, in a unit that is small."""
    rng = np.random.default_rng(0)
    obs = torch.from_numpy(rng.standard_normal((count, 2))).float()
    action = torch.from_numpy(rng.uniform(-1, 1, (count, 2))).float()
    nothing = torch.zeros(count)
    return Batch(obs, action, nothing, obs + size * action, nothing)


def test_episodes_begin_anew_and_follow_one_another():
    data = collect(TASK, noise, 60, 0, "a")
    ends = torch.nonzero(data.terminated).flatten().tolist()
    assert len(ends) > 2  # a pole under random actions falls
    follows = (data.next_obs[:-1] == data.obs[1:]).all(1)
    assert set(torch.nonzero(~follows).flatten().tolist()) == {end for end in ends if end < 59}
    starts = data.obs[[end + 1 for end in ends[:3]]]
    assert len({tuple(row) for row in starts.tolist()}) == 3


def test_a_time_limit_begins_an_episode_too():
    data = collect(replace(find("cartpole-200"), horizon=5), noise, 12, 0, "a")
    follows = (data.next_obs[:-1] == data.obs[1:]).all(1)
    assert torch.nonzero(~follows).flatten().tolist() == [4, 9]


def test_the_same_seed_gives_the_same_transitions_and_another_others():
    first, again, other = (collect(TASK, noise, 20, seed, "a") for seed in (0, 0, 1))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first.obs, other.obs)


def test_changes_that_are_small_are_learnt():
    world = linear_world()
    model = LearntModel(world, SMALL, Keys(0, "model"))
    real = world.next_obs - world.obs
    left = (model.predict(world) - real).square().mean() / real.var()
    assert left < 0.1


def test_samples_are_around_the_prediction_of_the_elite_that_is_asked():
    world = linear_world()
    model = LearntModel(world, SMALL, Keys(0, "model"))
    obs, action = world.obs[:4], world.action[:4]
    still = torch.zeros(4, 3)
    by_elite = [model.sample(obs, action, torch.full((4,), e), still) - obs for e in (0, 1)]
    assert not torch.equal(*by_elite)
    together = model.predict(Batch(*(column[:4] for column in world)))
    assert torch.stack(by_elite).mean(0).numpy() == pytest.approx(together.numpy(), abs=1e-5)
    moved = model.sample(obs, action, torch.zeros(4, dtype=torch.long), still + 1.0) - obs
    assert (moved > by_elite[0]).all()


def test_elites_are_the_members_that_did_best():
    model = LearntModel(linear_world(), SMALL, Keys(0, "model"))
    assert len(model.elites) == SMALL.elites
    assert len(set(model.elites.tolist())) == SMALL.elites


@pytest.mark.parametrize("study", SIZES)
def test_a_study_has_sizes_at_each_scale(study):
    assert list(SIZES[study]) == ["smoke", "quick", "paper"]


@pytest.mark.parametrize("scales", [GENERALISATION, COMPOUNDING])
def test_scales_grow(scales):
    collected = [sizes.collected for sizes in scales.values()]
    assert collected == sorted(collected)
    assert scales["paper"].model == ModelSizes()
