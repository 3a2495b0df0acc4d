"""Models that are known: what agents and the EPS check ask of a `BayesianLSTM`, without learning."""

from collections.abc import Callable, Sequence

import torch
from numpy.random import Generator
from torch import Tensor, nn

from tests.pointmass import ACTION_COST, HORIZON, PointMass
from unirl_repro.models.bayesian_lstm import Masks, Policy, Trajectories
from unirl_repro.nn.lstm import LSTMState
from unirl_repro.replay import Batch, Replay
from unirl_repro.rng import Keys, normal, uniform

# Observations [B, O], actions [B, A], labels [B], noise [B, O + 1] -> next observations, rewards.
Dynamics = Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


def labelled(labels: Tensor) -> Masks:
    """Masks that hold nothing but a number, by which a stand-in tells its "weights" apart."""
    return Masks(*(labels[:, None] for _ in Masks._fields))


class StandIn(nn.Module):
    """Dynamics that are given, for each label its own; labels are drawn from 0 to `num_labels` - 1."""

    def __init__(self, dynamics: Dynamics, action_dim: int = 1, num_labels: int = 1):
        super().__init__()
        self.dynamics, self.action_dim, self.num_labels = dynamics, action_dim, num_labels
        self.unused = nn.Parameter(torch.zeros(1))  # an optimiser wants one

    def sample_masks(self, count: int, rng: Generator) -> Masks:
        return labelled(torch.from_numpy(rng.integers(self.num_labels, size=count)).to(self.unused))

    def observe(self, episode: Batch) -> None: ...

    def normalise(self) -> None: ...

    def loss(self, episodes: Batch, masks: Masks, num_episodes: int, prior: float) -> Tensor:
        return self.unused.square().sum()

    def states(self, obs: Tensor, action: Tensor, masks: Masks) -> LSTMState:
        zero = obs.new_zeros(*obs.shape[:2], 1)
        return LSTMState(zero, zero)

    def rollout(
        self,
        policy: Policy,
        obs: Tensor,
        masks: Masks,
        steps: int,
        rng: Generator,
        state: LSTMState | None = None,
    ) -> Trajectories:
        rows, obs_dim = obs.shape
        noise = normal(rng, steps, rows, obs_dim + 1, like=obs)
        action_noise = normal(rng, steps, rows, self.action_dim, like=obs)
        observations, rewards, log_probs = [obs], [], []
        for t in range(steps):
            action, log_prob = policy(obs, action_noise[t])
            obs, reward = self.dynamics(obs, action, masks.first[:, 0], noise[t])
            observations.append(obs)
            rewards.append(reward)
            log_probs.append(log_prob)
        return Trajectories(*map(torch.stack, (observations, rewards, log_probs)))

    def returns(
        self, policies: Sequence[Policy], obs: Tensor, masks: Masks, steps: int, rng: Generator
    ) -> Tensor:
        each = [self.rollout(p, o, masks, steps, rng) for p, o in zip(policies, obs, strict=True)]
        return torch.stack([trajectories.reward.sum(0) for trajectories in each])


def point_mass(obs: Tensor, action: Tensor, label: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """The task of `tests.pointmass`, exactly."""
    return obs + action, -obs.square().sum(-1) - ACTION_COST * action.square().sum(-1)


def random_episodes(count: int, seed: int = 0) -> Replay:
    """A replay of the point mass under uniform actions."""
    env, replay = PointMass(), Replay(count * HORIZON, 1, 1)
    for episode in range(count):
        state, _ = env.reset(seed=Keys(seed, "reset", episode).integer("env"))
        obs, rng = torch.as_tensor(state), Keys(seed, "act", episode)("action")
        for _ in range(HORIZON):
            action = uniform(rng, 1, low=-1.0, high=1.0, like=obs)
            state, reward, _, _, _ = env.step(action.numpy())
            replay.add(obs, action, float(reward), torch.as_tensor(state), terminated=False)
            obs = torch.as_tensor(state)
    return replay
