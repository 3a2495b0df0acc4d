"""What TD3 has beside DDPG: two critics, and a policy that is updated less often than they are."""

import pytest
import torch

from tests.agents.sac_parity import ACTION, OBS, batches, distance
from tests.agents.test_ddpg import build, learnt
from tests.agents.test_sac import replay
from unirl_repro.rng import Keys


@pytest.mark.parametrize("delay", [1, 2, 3])
def test_policy_and_targets_wait_for_every_dth_update(delay: int) -> None:
    agent, made = build("td3", policy_delay=delay), replay(20)
    for count in range(1, 7):
        before = [network.clone() for network in learnt(agent)]
        metrics = agent.after_step(made, Keys(0, "after_step", 0, count))
        moved = [distance([a], [b]) > 0 for a, b in zip(before, learnt(agent), strict=True)]
        is_due = count % delay == 0
        # Actor and its target, both critics, both of their targets.
        assert moved == [is_due, is_due, True, True, is_due, is_due]
        assert set(metrics) == ({"critic_loss", "q"} if is_due else {"critic_loss"})


def test_the_delay_counts_over_the_run_and_not_from_a_restart() -> None:
    made, agent, restored = replay(20), build("td3"), build("td3")
    agent.after_step(made, Keys(0, "after_step"))
    restored.load_state_dict(agent.state_dict())
    assert "q" in restored.after_step(made, Keys(0, "after_step", 0, 1))


def test_the_policy_follows_the_first_critic_alone() -> None:
    agent, other = build("td3"), build("td3")
    with torch.no_grad():
        for parameter in other.critic.parameters():
            parameter[1] *= -1
    obs = torch.randn(9, OBS)
    pairs = zip(agent.actor_gradients(obs)[0], other.actor_gradients(obs)[0], strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_the_target_is_the_smaller_value_of_a_noisy_action() -> None:
    """Critics that return plus and minus the sum of actions, and a policy that returns 0."""
    agent = build("td3", hidden=(2 * ACTION,), target_noise=2.0, target_noise_clip=0.3)
    with torch.no_grad():
        for parameter in (*agent.actor_target.parameters(), *agent.critic_target.parameters()):
            parameter.zero_()
        signs = torch.eye(ACTION).repeat(1, 2) * torch.tensor([1.0, -1.0]).repeat_interleave(ACTION)
        agent.critic_target.layers[0].weight[:, OBS:] = (
            signs  # units: parts of actions above, below 0
        )
        sums = torch.tensor([1.0, -1.0]).repeat_interleave(ACTION)[:, None]
        agent.critic_target.head.weight.copy_(torch.stack([sums, -sums]))
    (batch, noise), *_ = batches()
    action = (2 * noise[0]).clamp(-0.3, 0.3)
    y = batch.reward - (1 - batch.terminated) * 0.99 * action.sum(-1).abs()
    assert (action.abs() == 0.3).any()
    assert torch.allclose(agent._bellman_target(batch, noise[0]), y, atol=1e-6)
