"""Model-based RL as unified_rl has it (Sec. 3.2, A.2): a policy trained inside a Bayesian LSTM.

Before each episode the model is fitted to all trajectories (A.2.1). Then the policy climbs the
return that the model predicts, by gradients through its rollouts: of whole episodes from initial
states ("full trajectory"), or of H steps from visited states, with a critic for what follows
("Dreamer-style", Hafner et al. 2019). Each rollout has a dropout mask of its own, held over time.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from numpy.random import Generator
from torch import Tensor, nn

from unirl_repro.agents.protocol import Metrics
from unirl_repro.episodes import num_episodes, sample_episodes, sample_initial
from unirl_repro.hyperparameters import MBRLParameters
from unirl_repro.models.bayesian_lstm import BayesianLSTM, Masks, Trajectories
from unirl_repro.nn.actor import Actor, StdHead
from unirl_repro.nn.adam import Adam
from unirl_repro.nn.lstm import LSTMState
from unirl_repro.nn.mlp import MLP
from unirl_repro.nn.repeated import repeated
from unirl_repro.replay import Batch, Replay
from unirl_repro.rng import Keys, normal

Losses = dict[str, Tensor]


class MBRL:
    """Model-based RL, as the loop sees it; for tasks whose episodes all have `horizon` steps.

    Parameters
    ----------
    parameters : MBRLParameters
        Hyper-parameters.
    obs_dim, action_dim : int
        Sizes of one observation and one action.
    horizon : int
        Steps of an episode, T.
    keys : Keys
        Where the initial weights come from.
    device : torch.device
        Where networks live and updates run.
    compiled : bool
        Without effect here: these updates are never compiled.
    """

    policy = "mbrl"

    def __init__(
        self,
        parameters: MBRLParameters,
        obs_dim: int,
        action_dim: int,
        *,
        horizon: int,
        keys: Keys,
        device: torch.device,
        compiled: bool,
    ):
        self.parameters, self.horizon, self.action_dim = parameters, horizon, action_dim
        self.random_steps = parameters.random_steps
        self.num_updates = max(1, horizon // parameters.steps_per_update)
        sizes = (obs_dim, action_dim, parameters.model_hidden, parameters.dropout)
        self.model = BayesianLSTM(*sizes, keys("model")).to(device)
        head = StdHead(parameters.std_head, sigma_max=parameters.sigma_max)
        self.actor = Actor(
            *(obs_dim, action_dim, parameters.hidden, keys("model_based_actor")),
            std_head=head,
            activation="tanh",
        ).to(device)
        self.critic = MLP([obs_dim, *parameters.critic_hidden, 1], keys("state_critic")).to(device)
        self.model_adam = _adam(self.model, parameters.model_learning_rate)
        self.actor_adam = _adam(self.actor, parameters.learning_rate)
        self.critic_adam = _adam(self.critic, parameters.learning_rate)

    @torch.no_grad()
    def act(self, obs: Tensor, rng: Generator, *, explore: bool) -> Tensor:  # [B, O] -> [B, A]
        noise = normal(rng, len(obs), self.action_dim, like=obs) if explore else None
        return self.actor.act(obs, noise)

    def before_episode(self, replay: Replay, keys: Keys) -> Metrics:
        known, needed = num_episodes(replay, self.horizon), self.parameters.initial_episodes
        if replay.added < self.random_steps or known < needed:
            return {}
        return self.train_model(replay, keys) | self.train_policy(replay, keys)

    def after_step(self, replay: Replay, keys: Keys) -> Metrics:
        return {}

    def after_episode(self, replay: Replay, keys: Keys) -> Metrics:
        self.model.observe(replay.rows(replay.added - self.horizon, replay.added))
        return {}

    def train_model(self, replay: Replay, keys: Keys) -> Losses:
        """Fit the model to trajectories of the replay: step one of MBRL(D)."""
        self.model.normalise()
        batches, masks = keys("model_batch"), keys("model_masks")
        losses = []
        for _ in range(self.num_updates):  # deviation U4
            size = self.parameters.model_batch_size
            episodes = sample_episodes(replay, self.horizon, size, batches)
            losses.append(self.update_model(episodes, masks, num_episodes(replay, self.horizon)))
        return {"model_loss": torch.stack(losses).mean()}

    def update_model(self, episodes: Batch, rng: Generator, count: int) -> Tensor:
        """One gradient update on trajectories [T, B, ·] of `count`, a mask for each of them."""
        masks = self.model.sample_masks(episodes.reward.shape[1], rng)
        loss = self.model.loss(episodes, masks, count, self.parameters.prior_strength)
        self.model_adam.step(torch.autograd.grad(loss, self.model_adam.parameters))
        return loss.detach()

    def train_policy(self, replay: Replay, keys: Keys) -> Losses:
        """Improve the policy inside the model, which stays as it is: step two of MBRL(D)."""
        draws, noise = keys("starts"), keys("imagination")
        whole = self.parameters.policy_training == "full_trajectory"
        update = self.update_on_trajectories if whole else self.update_on_segments
        with fixed(self.model):
            rows = [update(replay, draws, noise) for _ in range(self.num_updates)]
        names = dict.fromkeys(name for row in rows for name in row)
        # An update that was skipped has nothing else to tell.
        return {n: torch.stack([row[n] for row in rows if n in row]).mean() for n in names}

    def update_on_trajectories(self, replay: Replay, draws: Generator, noise: Generator) -> Losses:
        """One update by whole episodes in the model, T steps from initial states (Sec. 3.2)."""
        masks = self._masks(draws)
        # The paper takes the distribution of initial states for known: deviation U7.
        start = sample_initial(replay, self.horizon, len(masks.first), draws)
        rollouts = self.model.rollout(repeated(self.actor), start, masks, self.horizon, noise)
        returns = rollouts.reward.sum(0).mean()
        entropy = -rollouts.log_prob.sum(0).mean()
        loss = -returns - self.parameters.entropy_coefficient * entropy
        if not self._descend(self.actor_adam, loss):
            return _skipped(loss)
        return self._policy_metrics(loss, rollouts)

    def update_on_segments(self, replay: Replay, draws: Generator, noise: Generator) -> Losses:
        """One update by H steps from visited states, and one of the critic (Hafner et al. 2019)."""
        start, state, masks = self._visited(replay, draws)
        steps = self.parameters.imagined_horizon
        with fixed(self.critic):
            rollouts = self.model.rollout(repeated(self.actor), start, masks, steps, noise, state)
            returns = self._lambda_returns(rollouts)  # [H, B]
        weights = self.parameters.discount ** torch.arange(steps, device=start.device)[:, None]
        loss = -(weights * returns).mean()
        values = self._values(rollouts.obs[:-1].detach())
        value_loss = 0.5 * (weights * (values - returns.detach()).square()).mean()
        made = [self._descend(self.actor_adam, loss), self._descend(self.critic_adam, value_loss)]
        if not all(made):
            return _skipped(loss)
        return self._policy_metrics(loss, rollouts) | {"value_loss": value_loss.detach()}

    def _masks(self, rng: Generator) -> Masks:
        masks = self.model.sample_masks(self.parameters.num_masks, rng)
        return masks.repeat(self.parameters.num_starts)

    @torch.no_grad()
    def _visited(self, replay: Replay, rng: Generator) -> tuple[Tensor, LSTMState, Masks]:
        """Visited observations with the LSTM's state there, and the masks that it came about by.

        An episode for each mask, run through the model to its end, gives the states: deviation U6.
        """
        count, starts = self.parameters.num_masks, self.parameters.num_starts
        episodes = sample_episodes(replay, self.horizon, count, rng)
        masks = self.model.sample_masks(count, rng)
        after = self.model.states(episodes.obs, episodes.action, masks)  # [T, K, H] each
        steps = torch.from_numpy(rng.integers(self.horizon, size=(count, starts)))
        step = steps.flatten().to(episodes.obs.device)  # [K M], M of each mask in a row
        row = torch.arange(count, device=step.device).repeat_interleave(starts)
        before = [torch.cat([torch.zeros_like(part[:1]), part[:-1]])[step, row] for part in after]
        return episodes.obs[step, row], LSTMState(*before), masks.repeat(starts)

    def _values(self, obs: Tensor) -> Tensor:  # [T, B, O] -> [T, B]
        return self.critic(obs.flatten(0, 1)).view(obs.shape[:2])

    def _lambda_returns(self, rollouts: Trajectories) -> Tensor:
        values = self._values(rollouts.obs[1:])
        # The entropy bonus counts as reward, as it does in whole trajectories: deviation U20.
        reward = rollouts.reward - self.parameters.entropy_coefficient * rollouts.log_prob
        decay = self.parameters.trace_decay
        return lambda_returns(reward, values, self.parameters.discount, decay)

    def _descend(self, adam: Adam, loss: Tensor) -> bool:
        """A step against the clipped gradient; none, and False, where it is not finite."""
        gradients = torch.autograd.grad(loss, adam.parameters)
        norm = torch.stack(torch._foreach_norm(gradients)).norm()
        if not norm.isfinite():
            return False
        scale = (self.parameters.clip_norm / norm).clamp(max=1)
        adam.step(torch._foreach_mul(gradients, scale))
        return True

    @staticmethod
    def _policy_metrics(loss: Tensor, rollouts: Trajectories) -> Losses:
        return {
            "policy_loss": loss.detach(),
            "imagined_return": rollouts.reward.detach().sum(0).mean(),
            "policy_entropy": -rollouts.log_prob.detach().mean(),
            "updates_skipped": torch.zeros_like(loss),
        }

    def state_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name).state_dict() for name in _STATEFUL}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in _STATEFUL:
            getattr(self, name).load_state_dict(state[name])


_STATEFUL = ("model", "actor", "critic", "model_adam", "actor_adam", "critic_adam")


def lambda_returns(reward: Tensor, value: Tensor, discount: float, decay: float) -> Tensor:
    """Exponentially weighted mean of the n-step returns of a segment (Hafner et al. 2019, Eq. 6).

    Parameters
    ----------
    reward : Tensor
        r_0 to r_{H-1}, [H, B].
    value : Tensor
        v(s_1) to v(s_H), [H, B].
    discount, decay : float
        gamma and lambda.

    Returns
    -------
    Tensor
        V_t = r_t + gamma ((1 - lambda) v(s_{t+1}) + lambda V_{t+1}) with V_H = v(s_H): [H, B].
    """
    following = value[-1]
    returns = []
    for t in reversed(range(len(reward))):
        following = reward[t] + discount * ((1 - decay) * value[t] + decay * following)
        returns.append(following)
    return torch.stack(returns[::-1])


def _skipped(like: Tensor) -> Losses:
    return {"updates_skipped": torch.ones_like(like)}


@contextmanager
def fixed(module: nn.Module) -> Iterator[None]:
    """Gradients flow through the module but not into it."""
    module.requires_grad_(False)
    try:
        yield
    finally:
        module.requires_grad_(True)


def _adam(module: nn.Module, learning_rate: float) -> Adam:
    return Adam(list(module.parameters()), learning_rate)
