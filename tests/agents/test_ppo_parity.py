"""PPO against stable-baselines3 and against sums written out: float64, 1e-9, three updates."""

from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import stable_baselines3 as sb3
import torch
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.type_aliases import RolloutBufferSamples
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from torch import Tensor, nn

from tests.agents.sac_parity import (
    ACTION,
    BATCH,
    CPU,
    OBS,
    UPDATES,
    copy_mlp,
    distance,
    flat,
    linears,
    of_layers,
    of_mlp,
)
from unirl_repro.agents.ppo import PPO, Samples, advantages
from unirl_repro.hyperparameters import PPOParameters
from unirl_repro.replay import Replay
from unirl_repro.rng import Keys, normal

TOLERANCE = 1e-9
STEPS = UPDATES * BATCH
PLAIN: dict[str, Any] = {
    "hidden": (16, 12),
    "num_steps": STEPS,
    "batch_size": BATCH,
    "epochs": 1,
    "learning_rate": 1e-2,
    "initial_log_std": -0.5,
}
TUNED = PLAIN | {
    "activation": "relu",
    "orthogonal": False,
    "discount": 0.9,
    "trace_decay": 0.8,
    "clip_range": 0.1,
    "entropy_coefficient": 0.05,
    "value_coefficient": 0.8,
}
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": PLAIN,
    "tuned": TUNED,
    "gradients near epsilon": PLAIN | {"clip_norm": 1e-4},
    "no gradient clipped": TUNED | {"clip_norm": 1e3},
}
# Steps after which the environment ends, and those of its time limit; every third episode ends. By
# how a window does.
STREAMS = {"inside": (7, 11, 1), "at a time limit": (8, 12, 1), "at an end": (8, 12, 2)}
OUTLIER = 13  # an episode


@pytest.fixture(autouse=True)
def _double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def build(parameters: PPOParameters, kind: type[PPO] = PPO) -> PPO:
    sizes: dict[str, Any] = {"horizon": 12, "device": CPU, "compiled": False}
    return kind(parameters, OBS, ACTION, keys=Keys(7, "init"), **sizes)


# Whole windows: collected and learnt from


class Stream(gym.Env):
    """A linear system with noise of its own; `ends`, one of `STREAMS`, says when episodes end."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (OBS,), np.float64)
    action_space = gym.spaces.Box(-1, 1, (ACTION,), np.float32)

    def __init__(self, ends: str = "inside"):
        self.end, self.limit, self.which = STREAMS[ends]
        self.episode = -1

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple:
        self.episode += 1
        self.rng, self.steps = np.random.default_rng(self.episode), 0
        # Late enough that it is more than ten standard deviations of what came before.
        scale = 300 if self.episode == OUTLIER else 3
        self.x = scale * self.rng.standard_normal(OBS)
        return self.x, {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        assert np.abs(action).max() <= 1
        self.steps += 1
        self.x = 0.8 * self.x + self.rng.standard_normal(OBS) + np.resize(action, OBS)
        reward = float(np.float32(5 * self.x[0]))
        terminated = self.steps == self.end and self.episode % 3 == self.which
        return self.x, reward, terminated, self.steps == self.limit, {}


def collect(agent: PPO, env: Stream, steps: int) -> tuple[Replay, list[Tensor]]:
    """Act, store and call hooks as the loop does; the noise that the policy drew, in order."""
    replay, noise = Replay(steps, OBS, ACTION), []
    obs = torch.from_numpy(env.reset()[0])
    for step in range(steps):
        keys = Keys(0, "act", 0, step)
        noise.append(normal(keys("action"), 1, ACTION, like=obs))
        action = agent.act(obs[None], keys("action"), explore=True)[0]
        agent.act(torch.randn(4, OBS), keys("action"), explore=False)  # an evaluation
        state, reward, terminated, truncated, _ = env.step(action.numpy())
        replay.add(obs, action, reward, torch.from_numpy(state), terminated)
        agent.after_step(replay, Keys(0, "after_step", 0, step))
        if terminated or truncated:
            agent.after_episode(replay, Keys(0, "after_episode", env.episode))
            state, _ = env.reset()
        obs = torch.from_numpy(state)
    return replay, noise


@pytest.mark.parametrize("ends", STREAMS)
@pytest.mark.parametrize("name", VARIANTS)
def test_two_windows_equal_stable_baselines3(
    name: str, ends: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Acting, advantages over time limits and ends, and two epochs of three updates for each."""
    parameters = PPOParameters(**VARIANTS[name] | {"epochs": 2})
    agent = build(parameters)
    peer = peer_of(agent, ends)
    _, noise = collect(agent, Stream(ends), 2 * STEPS)
    learn(peer, 2, noise, monkeypatch)
    assert distance(learnt(agent), learnt(build(parameters))) > 1e-3
    assert distance(learnt(agent), learnt_by_peer(peer)) < TOLERANCE


@pytest.mark.parametrize(
    "change",
    [
        {"activation": "tanh"},
        {"discount": 0.91},
        {"trace_decay": 0.81},
        {"clip_range": 0.11},
        {"entropy_coefficient": 0.04},
        {"value_coefficient": 0.7},
        {"clip_norm": 0.4},
        {"learning_rate": 1.1e-2},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_peer_with_another_setting_disagrees(
    change: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    parameters = PPOParameters(**TUNED)
    agent, other = build(parameters), build(PPOParameters(**TUNED | change))
    with torch.no_grad():
        for mine, theirs in zip(other.variables, agent.variables, strict=True):
            mine.copy_(theirs)
    peer = peer_of(other, "inside")
    _, noise = collect(agent, Stream(), STEPS)
    learn(peer, 1, noise, monkeypatch)
    assert distance(learnt(agent), learnt_by_peer(peer)) > 1e3 * TOLERANCE


class Collecting(PPO):
    """Keeps a window's samples and makes no updates."""

    def _updates(self, samples: Samples, rng: Any) -> dict[str, float]:
        self.kept = samples
        return {}


@pytest.mark.parametrize("ends", STREAMS)
@pytest.mark.parametrize("name", ["plain", "tuned"])
def test_a_windows_advantages_and_returns_equal_stable_baselines3(
    name: str, ends: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = build(PPOParameters(**VARIANTS[name]), Collecting)
    assert isinstance(agent, Collecting)
    peer = peer_of(agent, ends)
    _, noise = collect(agent, Stream(ends), STEPS)
    gather(peer, iter(noise), monkeypatch)
    ours, buffer = agent.kept, peer.rollout_buffer
    names = ("observations", "actions", "log_probs", "advantages", "returns")
    theirs = [torch.from_numpy(getattr(buffer, name)) for name in names]
    for mine, their in zip(ours, theirs, strict=True):
        assert (mine - their.view(mine.shape)).abs().max() < TOLERANCE
    assert ours.action.abs().max() > 1  # the environment got it clipped


def learn(peer: Any, windows: int, noise: list[Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    """As the peer's `learn`, with our noise and our orders of a window's steps."""
    draws = iter(noise)
    for window in range(windows):
        gather(peer, draws, monkeypatch)
        rng = Keys(0, "after_step", 0, (window + 1) * STEPS - 1)("batch")
        monkeypatch.setattr("numpy.random.permutation", rng.permutation)
        peer.train()


def gather(peer: Any, draws: Iterator[Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.distributions.normal._standard_normal", lambda *_, **__: next(draws))
    # It turns observations into float32.
    path = "stable_baselines3.common.policies.preprocess_obs"
    monkeypatch.setattr(path, lambda obs, *_, **__: obs)
    assert peer.collect_rollouts(peer.env, peer.nothing, peer.rollout_buffer, STEPS)


class DoubleBuffer(RolloutBuffer):
    """The peer's buffer, which holds float32, in float64."""

    def reset(self) -> None:
        super().reset()
        for name, value in vars(self).items():
            if isinstance(value, np.ndarray):
                setattr(self, name, value.astype(np.float64))

    def _get_samples(self, batch_inds: np.ndarray, env: Any = None) -> RolloutBufferSamples:
        names = ("observations", "actions", "values", "log_probs", "advantages", "returns")
        rows = [torch.from_numpy(getattr(self, name)[batch_inds]) for name in names]
        return RolloutBufferSamples(*rows[:2], *(row.flatten() for row in rows[2:]))


def peer_of(agent: PPO, ends: str) -> Any:
    """stable-baselines3's PPO with the agent's settings and weights, in float64."""
    p = agent.parameters
    venv = DummyVecEnv([lambda: Stream(ends)])
    venv.buf_rews = venv.buf_rews.astype(np.float64)
    activation = {"tanh": nn.Tanh, "relu": nn.ReLU}[p.activation]
    peer: Any = sb3.PPO(
        "MlpPolicy",
        venv,
        n_steps=p.num_steps,
        batch_size=p.batch_size,
        n_epochs=p.epochs,
        learning_rate=p.learning_rate,
        gamma=p.discount,
        gae_lambda=p.trace_decay,
        clip_range=p.clip_range,
        ent_coef=p.entropy_coefficient,
        vf_coef=p.value_coefficient,
        max_grad_norm=p.clip_norm,
        rollout_buffer_class=DoubleBuffer,
        policy_kwargs={"net_arch": list(p.hidden), "activation_fn": activation},
        device="cpu",
    )
    peer.policy.double()
    for ours, theirs in zip((agent.actor, agent.critic), networks_of(peer), strict=True):
        copy_mlp(ours, linears(theirs))
    peer.policy.log_std.data.copy_(agent.log_std.detach())
    peer.set_logger(Logger(folder=None, output_formats=[]))
    _, peer.nothing = peer._setup_learn(0, None)  # resets the environment, and makes a callback
    return peer


def networks_of(peer: Any) -> list[nn.Sequential]:
    policy = peer.policy
    return [
        nn.Sequential(policy.mlp_extractor.policy_net, policy.action_net),
        nn.Sequential(policy.mlp_extractor.value_net, policy.value_net),
    ]


def learnt(agent: PPO) -> list[Tensor]:
    return [of_mlp(agent.actor), of_mlp(agent.critic), flat([agent.log_std])]


def learnt_by_peer(peer: Any) -> list[Tensor]:
    return [*(of_layers([net]) for net in networks_of(peer)), flat([peer.policy.log_std])]


def test_initial_weights_have_the_peers_scales() -> None:
    """Of any orthogonal matrix all singular values are its gain."""
    agent, peer = build(PPOParameters()), sb3.PPO("MlpPolicy", Stream(), device="cpu")
    for ours, theirs in zip((agent.actor, agent.critic), networks_of(peer), strict=True):
        for mine, their in zip([*ours.layers, ours.head], linears(theirs), strict=True):
            spectra = [torch.linalg.svdvals(x.weight.detach().double()) for x in (mine, their)]
            assert (spectra[0] - spectra[1]).abs().max() < 1e-6
            assert not mine.bias.any()
    assert torch.equal(agent.log_std, peer.policy.log_std)


# Sums written out


TERMS = ("ratio", "clipped", "value", "entropy", "density", "end", "following")


def slow_advantages(made: dict[str, Any], p: PPOParameters, weights: dict[str, float]) -> list:
    """Eq. 11: each step's sum over what is left of its episode, from its own deltas."""
    reward, value, ended, beyond = (
        made[k].tolist() for k in ("reward", "value", "ended", "beyond")
    )
    last, found = len(reward) - 1, []
    for t in range(len(reward)):
        total, k = 0.0, t
        while True:
            over = k == last or ended[k]
            following = weights["end"] * beyond[k] if over else weights["following"] * value[k + 1]
            delta = reward[k] + p.discount * following - value[k]
            total += (p.discount * p.trace_decay) ** (k - t) * delta
            if over:
                break
            k += 1
        found.append(total)
    return found


def slow_loss(
    agent: PPO, batch: Samples, weights: dict[str, float], smaller: Any = torch.minimum
) -> Tensor:
    """Eq. 9, one step of the batch after another."""
    p, std = agent.parameters, agent.log_std.exp()
    mean_advantage, spread = batch.advantage.mean(), batch.advantage.std()
    losses = []
    for obs, action, log_prob, advantage, target in zip(*batch, strict=True):
        density = torch.distributions.Normal(agent.actor(obs), std)
        ratio = torch.exp(weights["density"] * density.log_prob(action).sum() - log_prob)
        a = (advantage - mean_advantage) / (spread + 1e-8)
        clipped = ratio.clip(1 - p.clip_range, 1 + p.clip_range)
        objective = smaller(weights["ratio"] * ratio * a, weights["clipped"] * clipped * a)
        error = (agent.critic(obs)[0] - target) ** 2
        bonus = weights["entropy"] * p.entropy_coefficient * density.entropy().sum()
        losses.append(weights["value"] * p.value_coefficient * error - objective - bonus)
    return torch.stack(losses).mean()


def parts() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    reward, value, beyond = torch.randn(3, 30, generator=generator)
    ended = (torch.arange(30) % 8 == 5).double()
    return {"reward": reward, "value": value, "ended": ended, "beyond": beyond}


def batches(agent: PPO) -> list[Samples]:
    """Of actions whose ratio is on both sides of the clipped range."""
    generator = torch.Generator().manual_seed(2)
    made = []
    for _ in range(UPDATES):
        obs = torch.randn(BATCH, OBS, generator=generator)
        action = torch.randn(BATCH, ACTION, generator=generator)
        shift, advantage, target = torch.randn(3, BATCH, generator=generator)
        log_prob = agent._log_prob(agent.actor(obs), action).detach() + 0.3 * shift
        made.append(Samples(obs, action, log_prob, advantage, target))
    return made


def three_updates(weights: dict[str, float], **kinds: Any) -> float:
    """Largest difference of weights after three updates of each."""
    agent, slow = build(PPOParameters(**TUNED)), build(PPOParameters(**TUNED))
    optimiser = torch.optim.Adam(slow.variables, slow.parameters.learning_rate, eps=1e-5)
    for batch in batches(agent):
        agent.update(batch)
        optimiser.zero_grad()
        slow_loss(slow, batch, weights, **kinds).backward()
        nn.utils.clip_grad_norm_(slow.variables, slow.parameters.clip_norm)
        optimiser.step()
    return distance(learnt(agent), learnt(slow))


def off_by(weights: dict[str, float]) -> float:
    p, made = PPOParameters(**TUNED), parts()
    ours = advantages(**made, discount=p.discount, trace_decay=p.trace_decay)
    return (ours - torch.tensor(slow_advantages(made, p, weights))).abs().max().item()


def test_three_updates_and_advantages_equal_the_slow_reference() -> None:
    assert three_updates(dict.fromkeys(TERMS, 1.0)) < TOLERANCE
    assert off_by(dict.fromkeys(TERMS, 1.0)) < TOLERANCE


@pytest.mark.parametrize("weight", [-1.0, 0.0], ids=["flipped", "dropped"])
@pytest.mark.parametrize("term", TERMS)
def test_a_reference_with_another_term_disagrees(term: str, weight: float) -> None:
    weights = dict.fromkeys(TERMS, 1.0) | {term: weight}
    disagreement = off_by if term in ("end", "following") else three_updates
    assert disagreement(weights) > 1e3 * TOLERANCE


def test_a_reference_that_takes_the_larger_objective_disagrees() -> None:
    wrong = three_updates(dict.fromkeys(TERMS, 1.0), smaller=torch.maximum)
    assert wrong > 1e3 * TOLERANCE


# Normalisation


class Recording(PPO):
    """Keeps observations as the policy saw them, and rewards as it learns from them."""

    def __init__(self, *arguments: Any, **settings: Any):
        super().__init__(*arguments, **settings)
        self.seen: list[Tensor] = []
        self.rewards: list[Tensor] = []

    def _scaled(self, reward: Tensor) -> Tensor:
        self.rewards.append(super()._scaled(reward))
        return self.rewards[-1]

    def after_step(self, replay: Replay, keys: Keys) -> Any:
        self.seen.append(self.window.obs[self.filled].clone())
        return super().after_step(replay, keys)


@pytest.mark.parametrize("ends", STREAMS)
def test_normalised_windows_equal_vecnormalize(ends: str) -> None:
    agent = build(PPOParameters(**TUNED, normalise=True), Recording)
    assert isinstance(agent, Recording)
    replay, _ = collect(agent, Stream(ends), 2 * STEPS)
    seen, rewards = vecnormalize(agent.parameters.discount, ends, replay.action)
    ours = torch.cat(agent.rewards)
    assert (torch.stack(agent.seen) - seen).abs().max() < TOLERANCE
    assert torch.allclose(ours, rewards, rtol=1e-6, atol=1e-7)  # float32 there
    assert ours.abs().max() == seen.abs().max() == 10  # the outlier's


def vecnormalize(discount: float, ends: str, actions: Tensor) -> tuple[Tensor, Tensor]:
    """The peer's observations, before it rounds them to float32, and rewards."""
    env: Any = VecNormalize(DummyVecEnv([lambda: Stream(ends)]), gamma=discount)
    env.reset()
    seen, rewards = [], []
    for action in actions:
        seen.append(env._normalize_obs(env.get_original_obs()[0], env.obs_rms))
        rewards.append(env.step(action[None].numpy())[1][0])
    return torch.from_numpy(np.stack(seen)), torch.tensor(rewards, dtype=torch.float64)
