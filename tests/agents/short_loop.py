"""The smallest loop that can train an agent: act, store, hooks."""

import gymnasium as gym
import numpy as np
import torch

from unirl_repro.agents.protocol import Agent
from unirl_repro.agents.sac import SAC
from unirl_repro.hyperparameters import SACParameters
from unirl_repro.replay import Replay
from unirl_repro.rng import Keys, uniform


def sac_for(env: gym.Env, parameters: SACParameters, *, seed: int, horizon: int) -> SAC:
    assert env.observation_space.shape
    assert env.action_space.shape
    return SAC(
        parameters,
        env.observation_space.shape[0],
        env.action_space.shape[0],
        horizon=horizon,
        keys=Keys(seed, "init"),
        device=torch.device("cpu"),
        compiled=False,
    )


def train(agent: Agent, env: gym.Env, *, seed: int, env_steps: int) -> list[float]:
    """Returns of the training episodes."""
    assert env.observation_space.shape
    assert env.action_space.shape
    replay = Replay(env_steps, env.observation_space.shape[0], env.action_space.shape[0])
    returns: list[float] = []
    while replay.added < env_steps:
        episode, step, total, over = len(returns), 0, 0.0, False
        agent.before_episode(replay, Keys(seed, "before_episode", episode))
        state, _ = env.reset(seed=Keys(seed, "reset", episode).integer("env"))
        obs = torch.as_tensor(state, dtype=torch.float32)
        while not over:
            action = choose(agent, obs, replay.added, Keys(seed, "act", episode, step), env)
            state, reward, terminated, truncated, _ = env.step(action.numpy())
            next_obs = torch.as_tensor(state, dtype=torch.float32)
            replay.add(obs, action, float(reward), next_obs, terminated)
            agent.after_step(replay, Keys(seed, "after_step", episode, step))
            obs, total, over = next_obs, total + float(reward), terminated or truncated
            step += 1
        agent.after_episode(replay, Keys(seed, "after_episode", episode))
        returns.append(total)
    return returns


def choose(agent: Agent, obs: torch.Tensor, env_step: int, keys: Keys, env: gym.Env):
    rng = keys("action")
    if env_step < agent.random_steps:
        assert env.action_space.shape
        return uniform(rng, *env.action_space.shape, low=-1.0, high=1.0, like=obs)
    return agent.act(obs[None], rng, explore=True)[0]


def evaluate(agent: Agent, env: gym.Env, options: list[dict | None], seed: int = 0) -> np.ndarray:
    """Return of one episode without exploration for each reset's options."""
    totals = []
    for episode, option in enumerate(options):
        keys = Keys(seed, "evaluate", episode)
        state, _ = env.reset(seed=keys.integer("env"), options=option)
        rng, total, over = keys("action"), 0.0, False
        while not over:
            obs = torch.as_tensor(state, dtype=torch.float32)
            action = agent.act(obs[None], rng, explore=False)[0]
            state, reward, terminated, truncated, _ = env.step(action.numpy())
            total, over = total + float(reward), terminated or truncated
        totals.append(total)
    return np.array(totals)
