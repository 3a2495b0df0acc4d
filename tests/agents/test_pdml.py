"""PDML: how far policies are apart, what data weigh, and that weights stay with their data."""

from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import Independent, Normal, kl_divergence

from tests.agents.dyna import (
    OBS,
    RANDOM_STEPS,
    assert_goes_on_bit_for_bit,
    build,
    empty_replay,
    equal,
    go,
    learnt,
    moment,
    replay,
)
from unirl_repro.agents.pdml import PDML, block_weights, policy_shift
from unirl_repro.nn.actor import Actor
from unirl_repro.rng import Keys

WEIGHTED: dict[str, Any] = {"weighted_from": 2, "shift_states": 25}
BLOCK = 10  # steps from one training to the next

# --- weights of blocks


def test_blocks_weigh_as_in_the_published_example() -> None:
    weights = block_weights(np.array([0.4, 0.2, 0.1]), newest_share=0.02, random_weight=0.05)
    expected = [0.00714286, 0.14285714, 0.28571429, 0.57142857, 0.57142857]
    np.testing.assert_allclose(weights, expected, rtol=1e-6)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.5])
def test_the_newest_block_has_at_least_its_share(share: float) -> None:
    weights = block_weights(np.full(200, 0.3), newest_share=share, random_weight=0.05)
    assert weights[-1] / weights.sum() == pytest.approx(share)
    assert weights[-1] > weights[-2]


@given(
    st.lists(st.floats(1e-3, 10), min_size=1, max_size=30), st.floats(0.01, 0.9), st.floats(0.01, 2)
)
def test_weights_are_inverse_to_shifts_and_the_newest_is_the_largest(shifts, share, random) -> None:
    weights = block_weights(np.array(shifts), share, random)
    assert len(weights) == len(shifts) + 2
    blocks = weights[1:-1]
    assert blocks.sum() == pytest.approx(1)
    np.testing.assert_allclose(blocks * shifts, blocks[0] * shifts[0])
    assert weights[0] == pytest.approx(random * blocks[0])
    assert weights[-1] >= blocks.max()
    assert weights[-1] / weights.sum() >= share - 1e-9
    scaled = block_weights(7 * np.array(shifts), share, random)
    np.testing.assert_allclose(scaled, weights)


def test_a_policy_that_has_not_changed_weighs_much_and_not_infinitely() -> None:
    weights = block_weights(np.array([0.1, 0.0]), 0.02, 0.05)
    assert np.isfinite(weights).all()
    assert 0.99 < weights[2] <= 1
    np.testing.assert_allclose(block_weights(np.zeros(4), 0.02, 0.05)[1:-1], 0.25)


# --- distances of policies


def another(actor: Actor, seed: int, size: float = 0.1) -> Actor:
    """The policy with weights that are moved a little."""
    made, generator = deepcopy(actor), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(size * torch.randn(parameter.shape, generator=generator))
    return made


def in_torch(actor: Actor, obs: Tensor) -> Independent:
    mean, log_std = actor.mlp(obs).chunk(2, dim=-1)
    return Independent(Normal(mean, log_std.clamp(-20, 2).exp()), 1)


@torch.no_grad()
def pinsker(present: Actor, former: Actor, obs: Tensor) -> Tensor:
    return (kl_divergence(in_torch(present, obs), in_torch(former, obs)) / 2).sqrt()


def test_a_policy_shift_is_pinskers_bound_of_torchs_divergence_and_has_a_direction() -> None:
    present = build(PDML).sac.actor.double()
    former = another(present, 1, size=0.4)
    obs = torch.randn(50, OBS, generator=torch.Generator().manual_seed(0)).double()
    shift = policy_shift(present, former, obs)
    torch.testing.assert_close(shift, pinsker(present, former, obs), rtol=1e-9, atol=1e-12)
    assert shift.shape == (50,)
    assert not torch.allclose(shift, pinsker(former, present, obs), rtol=1e-3)


def test_policies_with_the_same_weights_are_no_distance_apart() -> None:
    agent, obs = build(PDML), torch.randn(500, OBS)
    assert policy_shift(agent.sac.actor, deepcopy(agent.sac.actor), obs).max() < 1e-3
    tiny = policy_shift(agent.sac.actor, another(agent.sac.actor, 0, size=1e-7), obs)
    assert tiny.isfinite().all()  # rounding makes some divergences negative


def test_shifts_are_means_over_states_for_each_policy() -> None:
    agent, obs = build(PDML), torch.randn(20, OBS)
    policies = [another(agent.sac.actor, seed, size=0.1 * (seed + 1)) for seed in range(3)]
    before = learnt(agent)
    shifts = agent.shifts(obs, [policy.state_dict() for policy in policies])
    expected = [pinsker(agent.sac.actor, policy, obs).mean().item() for policy in policies]
    np.testing.assert_allclose(shifts, expected, rtol=1e-4)
    assert equal(before, learnt(agent))


# --- weights of data


def trainings(count: int, **changes: Any) -> tuple[PDML, list[dict[str, Any]]]:
    """What each of so many trainings saw and where the policies were then."""
    agent, made, seen = build(PDML, **WEIGHTED | changes), empty_replay(), []
    fit = agent.trainer.fit

    def watched(inputs: Tensor, targets: Tensor, rng: Any, weights: Any = None) -> Any:
        policy = {k: v.clone() for k, v in agent.sac.actor.state_dict().items()}
        keys = moment(made)
        seen.append(
            {
                "inputs": inputs.clone(),
                "weights": weights.copy(),
                "policy": policy,
                "states": made.obs[keys("shift").integers(made.added, size=25)].clone(),
                "present": deepcopy(agent.sac.actor),
            }
        )
        return fit(inputs, targets, rng, weights)

    agent.trainer.fit = watched  # type: ignore[method-assign]
    go(agent, made, agent.random_steps + BLOCK * (count - 1))
    expected = torch.cat([made.obs[: made.added], made.action[: made.added]], 1)
    for one in seen:
        assert torch.equal(one["inputs"], expected[: len(one["inputs"])])  # in their order
    return agent, seen


@pytest.mark.parametrize("random_steps", [RANDOM_STEPS, 15])
def test_each_block_weighs_as_the_policy_at_its_end_differs_from_the_present(random_steps) -> None:
    sac = {"random_steps": random_steps, "learning_rate": 1e-2}  # policies move apart
    agent, seen = trainings(5, sac=sac)
    assert len(seen) == len(agent.policies) == 5
    for number, one in enumerate(seen):
        weights = one["weights"]
        assert len(weights) == random_steps + BLOCK * number
        if number < 2:
            assert (weights == 1).all()
            continue
        slow = []  # block b was collected between trainings b - 1 and b
        for block in range(1, number):
            former = deepcopy(one["present"])
            former.load_state_dict(seen[block]["policy"])
            slow.append(1 / pinsker(one["present"], former, one["states"]).mean().item())
        slow = [w / sum(slow) for w in slow]
        newest = max(*slow, (1 + 0.05 * slow[0]) * 0.02 / 0.98, 0.0)
        by_step = [0.05 * slow[0]] * random_steps
        for weight in [*slow, newest]:
            by_step += [weight] * BLOCK
        np.testing.assert_allclose(weights, by_step, rtol=1e-3)
    last = seen[-1]["weights"]
    assert len(set(last.tolist())) >= 4
    assert np.array_equal(agent.weights, last)


def test_all_data_weigh_the_same_while_there_are_few_blocks() -> None:
    _, seen = trainings(5, weighted_from=4)
    ones = [bool((one["weights"] == 1).all()) for one in seen]
    assert ones == [True, True, True, True, False]


def test_remembered_policies_are_those_of_the_trainings_and_stay() -> None:
    agent, seen = trainings(3)
    for policy, one in zip(agent.policies, seen, strict=True):
        assert all(torch.equal(value, one["policy"][name]) for name, value in policy.items())
    first, last = (list(agent.policies[i].values()) for i in (0, -1))
    assert not equal(first, last)


def test_a_policy_that_stands_still_gives_finite_weights() -> None:
    agent, made = build(PDML, **WEIGHTED), replay(RANDOM_STEPS + 3 * BLOCK)
    agent.policies = [deepcopy(agent.sac.actor.state_dict()) for _ in range(4)]
    weights = agent.data_weights(made, Keys(0, "test")("shift"))
    assert np.isfinite(weights).all()
    assert (weights > 0).all()
    np.testing.assert_allclose(weights[RANDOM_STEPS:], weights[-1], rtol=1e-3)


def test_rollouts_start_from_states_as_often_as_they_weigh() -> None:
    agent, made = build(PDML, rollout_batch=50_000, **WEIGHTED), replay(40)
    agent.weights = np.repeat([0.0, 1.0, 5.0, 0.0], 10)
    starts = agent.start_rows(made, Keys(0, "test")("starts"))
    shares = np.bincount(starts, minlength=40) / 50_000
    np.testing.assert_allclose(shares, agent.weights / 60, atol=0.006)
    assert not shares[:10].any()
    assert not shares[30:].any()
    assert starts.max() < 40


def test_starts_in_the_loop_follow_the_weights_of_that_training() -> None:
    agent, _ = trainings(4, rollout_batch=5_000)
    starts = agent.rollouts[-1]["starts"].numpy()
    counts = np.bincount(starts, minlength=len(agent.weights)) / 5_000
    expected = agent.weights / agent.weights.sum()
    assert len(counts) == len(expected) == RANDOM_STEPS + 3 * BLOCK
    np.testing.assert_allclose(counts, expected, atol=0.02)
    assert counts[:RANDOM_STEPS].sum() == pytest.approx(expected[:RANDOM_STEPS].sum(), abs=0.02)


# --- state


@pytest.mark.parametrize("at", [RANDOM_STEPS + 13, RANDOM_STEPS + 34])
def test_a_restored_agent_goes_on_bit_for_bit(at: int) -> None:
    assert_goes_on_bit_for_bit(PDML, at, at + 15, **WEIGHTED)


def test_remembered_policies_are_part_of_the_state() -> None:
    agent, _ = trainings(3)
    restored = build(PDML, **WEIGHTED)
    restored.load_state_dict(agent.state_dict())
    assert len(restored.policies) == 3
    for mine, other in zip(agent.policies, restored.policies, strict=True):
        assert equal(list(mine.values()), list(other.values()))
    assert restored.policies is not agent.policies
