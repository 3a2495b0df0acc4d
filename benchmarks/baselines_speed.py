"""TD3, DDPG and PPO beside stable-baselines3's, and the share of the ceiling of ALM, HL and SVG.

At HalfCheetah's sizes, one thread.
"""

import importlib
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import stable_baselines3 as sb3
import torch
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.logger import Logger
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.measure import Entry, compare, rate
from benchmarks.sac_speed import CPU, PEER, STORED, TASK, Spaces, matmul_ceiling, transitions
from unirl_repro.agents.ppo import PPO
from unirl_repro.config import RunSpec
from unirl_repro.envs import make
from unirl_repro.hyperparameters import (
    ALMParameters,
    DDPGParameters,
    HLParameters,
    PPOParameters,
    SVGParameters,
    TD3Parameters,
)
from unirl_repro.loop import Trainer
from unirl_repro.registry import ALGORITHMS
from unirl_repro.replay import Batch, Replay
from unirl_repro.rng import Keys

SECONDS = 1.0
EPISODE = 1000


def measurements() -> list[Entry]:
    """Updates and whole loops beside the peer's, then updates against the matmul ceiling."""
    torch.set_num_threads(1)
    entries: list[Entry] = []
    for name, parameters in OFF_POLICY.items():
        entries += [updates(name, parameters), loop(name, parameters, warm_up=200)]
    entries += [ppo_updates(), loop("ppo", PPOParameters(), warm_up=PPOParameters().num_steps)]
    return entries + [ceiling(name, parameters) for name, parameters in MODEL_BASED.items()]


OFF_POLICY: dict[str, Any] = {
    "td3": TD3Parameters(random_steps=100),
    "ddpg": DDPGParameters(random_steps=100),
}
MODEL_BASED: dict[str, Any] = {
    "alm": ALMParameters(random_steps=0),
    "hl": HLParameters(),
    "svg": SVGParameters(random_steps=0),
}
PEERS: dict[str, Any] = {"td3": sb3.TD3, "ddpg": sb3.DDPG, "ppo": sb3.PPO}


def updates(name: str, parameters: Any) -> Entry:
    """Gradient updates a second, drawing of the batch included."""
    model = peer(name, parameters, Spaces())
    buffer = model.replay_buffer
    obs, action, reward, next_obs, terminated = transitions()
    buffer.observations[:, 0], buffer.next_observations[:, 0] = obs, next_obs
    buffer.actions[:, 0], buffer.rewards[:, 0] = action, reward
    buffer.dones[:, 0], buffer.full = terminated, True

    def theirs() -> int:
        model.train(gradient_steps=10, batch_size=parameters.batch_size)
        return 10

    return beside(f"{name.upper()} updates, compiled", our_updates(name, parameters), theirs)


def ppo_updates() -> Entry:
    """Gradient updates a second on a window that is there."""
    parameters = PPOParameters()
    agent = our_agent("ppo", parameters)
    assert isinstance(agent, PPO)
    replay, rng = full_replay(), Keys(0, "bench")("batch")
    samples = agent._samples(replay)
    count = parameters.epochs * parameters.num_steps // parameters.batch_size

    def ours() -> int:
        agent._updates(samples, rng)
        return count

    model = peer("ppo", parameters, Spaces())
    buffer: RolloutBuffer = model.rollout_buffer
    obs, action, reward, *_ = transitions()
    rows = slice(0, parameters.num_steps)
    buffer.observations[:, 0], buffer.actions[:, 0] = obs[rows], action[rows]
    buffer.advantages[:, 0], buffer.returns[:, 0] = reward[rows], reward[rows]
    buffer.full = True

    def theirs() -> int:
        model.train()
        return count

    return beside("PPO updates, compiled", ours, theirs)


def loop(name: str, parameters: Any, warm_up: int) -> Entry:
    """Environment steps a second: act, step, store, update; the same environment for both."""
    trainer = Trainer(_spec(name, parameters), CPU, emit=lambda rows: None)
    model = peer(name, parameters, make(TASK.id))
    # A whole window of PPO, with its updates; else a few steps.
    steps = parameters.num_steps if name == "ppo" else 100

    def ours() -> int:
        for _ in range(steps):
            trainer.advance()
        return steps

    def theirs() -> int:
        model.learn(steps, reset_num_timesteps=False)
        return steps

    for _ in range(-(-warm_up // steps)):  # past the random steps of both
        ours(), theirs()
    what = f"{name.upper()} whole loop, HalfCheetah, compiled"
    return beside(what, ours, theirs, unit="env steps/s", goal=1.5)


def beside(
    name: str,
    ours: Callable[[], int],
    theirs: Callable[[], int],
    unit: str = "updates/s",
    goal: float = 1.7,
) -> Entry:
    ours(), theirs()  # compiles, and fills caches
    return compare(
        name,
        lambda: rate(ours, SECONDS),
        lambda: rate(theirs, SECONDS),
        peer_name=PEER,
        unit=unit,
        goal=goal,
    )


def ceiling(name: str, parameters: Any) -> Entry:
    """Arithmetic of one environment step's updates against that of one large matrix product."""
    ours, flops = our_updates(name, parameters), flops_of_updates(name, parameters)
    ours()
    return matmul_ceiling(f"{name.upper()} updates, share of the matmul ceiling", ours, flops)


def our_updates(name: str, parameters: Any, compiled: bool = True) -> Callable[[], int]:
    """Calls of the hook that makes the updates of one environment step."""
    agent, replay, step = our_agent(name, parameters, compiled), full_replay(), 0
    agent.after_episode(replay, Keys(0, "after_episode"))

    def work() -> int:
        nonlocal step
        for _ in range(10):
            agent.after_step(replay, Keys(0, "after_step", 0, step))
            step += 1
        return 10

    return work


def our_agent(name: str, parameters: Any, compiled: bool = True) -> Any:
    entry = ALGORITHMS[name]
    build = getattr(importlib.import_module(entry.module), entry.agent)
    sizes = (TASK.obs_dim, TASK.action_dim)
    common = {"horizon": EPISODE, "keys": Keys(0, "init"), "device": CPU, "compiled": compiled}
    return build(parameters, *sizes, **common)


def full_replay() -> Replay:
    replay = Replay(STORED, TASK.obs_dim, TASK.action_dim)
    fields = (torch.from_numpy(field).to(replay.obs.dtype) for field in transitions())
    replay.restore(0, Batch(*fields))
    return replay


def peer(name: str, parameters: Any, env: gym.Env) -> Any:
    """stable-baselines3's agent at the same sizes, and as many updates an environment step."""
    settings: dict[str, Any] = {"batch_size": parameters.batch_size, "device": "cpu"}
    if name == "ppo":
        settings |= {"n_steps": parameters.num_steps, "n_epochs": parameters.epochs}
    else:
        settings |= {"buffer_size": STORED, "learning_starts": parameters.random_steps}
        settings |= {"train_freq": 1, "gradient_steps": 1}
    policy = {"net_arch": list(parameters.hidden)}
    model = PEERS[name]("MlpPolicy", env, policy_kwargs=policy, **settings)
    model.set_logger(Logger(folder=None, output_formats=[]))
    return model


def flops_of_updates(name: str, parameters: Any) -> float:
    """Of the matrix products of one environment step's updates, counted in float64.

    Those products are all torch's own operators: the counter knows no other.
    """
    torch.set_default_dtype(torch.float64)
    try:
        work = our_updates(name, parameters, compiled=False)
        work()  # the first call also reads what the replay held before
        with FlopCounterMode(display=False) as counter:
            count = work()
    finally:
        torch.set_default_dtype(torch.float32)
    return counter.get_total_flops() / count


def _spec(name: str, parameters: Any) -> RunSpec:
    return RunSpec(
        task=TASK,
        variant=name,
        algorithm=name,
        parameters=parameters,
        seed=0,
        budget=1_000_000,
        evaluate_every=1_000_000,
        evaluation_episodes=1,
        compiled=True,
    )
