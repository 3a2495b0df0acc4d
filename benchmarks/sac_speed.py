"""SAC's updates and its whole loop beside stable-baselines3's, at HalfCheetah's sizes, one thread."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import stable_baselines3 as sb3
import torch
from stable_baselines3.common.logger import Logger
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.measure import Entry, compare, rate
from unirl_repro.agents.sac import SAC
from unirl_repro.config import RunSpec
from unirl_repro.envs import make
from unirl_repro.envs.tasks import TASKS
from unirl_repro.hyperparameters import SACParameters
from unirl_repro.loop import Trainer
from unirl_repro.nn.products import is_worthwhile, product
from unirl_repro.replay import Batch, Replay
from unirl_repro.rng import Keys, normal

TASK = TASKS["halfcheetah-1000"]
STORED = 100_000
SECONDS = 1.0
PEER = "stable-baselines3"
CPU = torch.device("cpu")


def measurements() -> list[Entry]:
    """Updates compiled and eager, those of a small network, and the loop around them."""
    torch.set_num_threads(1)
    paper = SACParameters(random_steps=100)
    small = replace(paper, hidden=(64, 64), batch_size=128)
    entries = [
        updates("SAC updates, 256 units, batch 256, compiled", paper, compiled=True, goal=1.7),
        updates("SAC updates, 256 units, batch 256, eager", paper, compiled=False, goal=1.4),
        updates("SAC updates, 64 units, batch 128, eager", small, compiled=False, goal=1.5),
        ceiling(paper),
        loop(paper),
    ]
    if torch.cuda.is_available():
        cuda = torch.device("cuda")
        name = "SAC updates, 256 units, batch 256, compiled, GPU"
        entries.append(updates(name, paper, compiled=True, goal=1.7, device=cuda))
    return entries


def updates(
    name: str, parameters: SACParameters, *, compiled: bool, goal: float, device: torch.device = CPU
) -> Entry:
    """Gradient updates a second, drawing of the batch included."""
    ours = our_updates(parameters, compiled, device)
    peer = peer_updates(parameters, device)
    ours(), peer()  # compiles, and fills caches
    return compare(
        name,
        lambda: rate(ours, SECONDS, device=device.type),
        lambda: rate(peer, SECONDS, device=device.type),
        peer_name=PEER,
        unit="updates/s",
        goal=goal,
    )


def ceiling(parameters: SACParameters) -> Entry:
    """Arithmetic of compiled updates against that of one large matrix product."""
    ours = our_updates(parameters, compiled=True, device=CPU)
    ours()
    name = "SAC updates, compiled, share of the matmul ceiling"
    return matmul_ceiling(name, ours, flops_of_update(parameters))


def matmul_ceiling(name: str, ours: Callable[[], int], flops: float) -> Entry:
    """So many floating-point operations in each unit of work against one large matrix product."""
    square = torch.randn(1024, 1024)
    onednn = is_worthwhile(square, square)

    def multiply() -> int:
        product(square, square) if onednn else torch.mm(square, square)
        return 1

    return compare(
        name,
        lambda: rate(ours, SECONDS) * flops / 1e9,
        lambda: rate(multiply, SECONDS) * 2 * 1024**3 / 1e9,
        peer_name=f"{'oneDNN' if onednn else 'torch.mm'}, 1024 x 1024",
        unit="GFLOP/s",
        goal=0.5,
    )


def loop(parameters: SACParameters) -> Entry:
    """Environment steps a second: act, step, store, update; the same environment for both."""
    trainer = Trainer(_spec(parameters), CPU, emit=lambda rows: None)
    model = peer(parameters, make(TASK.id), CPU)

    def ours() -> int:
        for _ in range(20):
            trainer.advance()
        return 20

    def theirs() -> int:
        model.learn(100, reset_num_timesteps=False)
        return 100

    for _ in range(10):  # past the random steps of both
        ours(), theirs()
    return compare(
        "SAC whole loop, HalfCheetah, compiled",
        lambda: rate(ours, SECONDS),
        lambda: rate(theirs, SECONDS),
        peer_name=PEER,
        unit="env steps/s",
        goal=1.6,
    )


def our_updates(
    parameters: SACParameters, compiled: bool, device: torch.device
) -> Callable[[], int]:
    agent, step = our_agent(parameters, compiled, device), 0
    replay = Replay(STORED, TASK.obs_dim, TASK.action_dim, device)
    replay.restore(0, Batch(*(torch.from_numpy(field).to(device) for field in transitions())))

    def work() -> int:
        nonlocal step
        for _ in range(10):
            agent.after_step(replay, Keys(0, "after_step", 0, step))
            step += 1
        return 10

    return work


def peer_updates(parameters: SACParameters, device: torch.device) -> Callable[[], int]:
    model = peer(parameters, Spaces(), device)
    obs, action, reward, next_obs, terminated = transitions()
    buffer: Any = model.replay_buffer
    buffer.observations[:, 0], buffer.next_observations[:, 0] = obs, next_obs
    buffer.actions[:, 0], buffer.rewards[:, 0] = action, reward
    buffer.dones[:, 0], buffer.full = terminated, True

    def work() -> int:
        model.train(gradient_steps=10, batch_size=parameters.batch_size)
        return 10

    return work


def our_agent(parameters: SACParameters, compiled: bool, device: torch.device) -> SAC:
    return SAC(
        parameters,
        TASK.obs_dim,
        TASK.action_dim,
        horizon=TASK.horizon,
        keys=Keys(0, "init"),
        device=device,
        compiled=compiled,
    )


def peer(parameters: SACParameters, env: gym.Env, device: torch.device) -> sb3.SAC:
    """stable-baselines3's SAC at the same sizes, one update for each environment step."""
    model = sb3.SAC(
        "MlpPolicy",
        env,
        buffer_size=STORED,
        batch_size=parameters.batch_size,
        learning_starts=parameters.random_steps,
        policy_kwargs={"net_arch": list(parameters.hidden)},
        device=device,
    )
    model.set_logger(Logger(folder=None, output_formats=[]))
    return model


def flops_of_update(parameters: SACParameters) -> int:
    """Floating-point operations of one update's matrix products, forward and backward.

    Counted in float64, whose products are all torch's own operators: the counter knows no other.
    """
    torch.set_default_dtype(torch.float64)
    agent = our_agent(parameters, compiled=False, device=CPU)
    replay = Replay(parameters.batch_size, TASK.obs_dim, TASK.action_dim)
    for _ in range(parameters.batch_size):
        obs, action = torch.zeros(TASK.obs_dim), torch.zeros(TASK.action_dim)
        replay.add(obs, action, 0.0, obs, False)
    rng = Keys(0, "flops")("noise")
    batch = replay.sample(parameters.batch_size, rng)
    noise = normal(rng, 2, parameters.batch_size, TASK.action_dim, like=batch.obs)
    with FlopCounterMode(display=False) as counter:
        agent.update(batch, noise)
    torch.set_default_dtype(torch.float32)
    return counter.get_total_flops()


class Spaces(gym.Env):
    """Nothing but spaces, for measurements that never step."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (TASK.obs_dim,), np.float32)
    action_space = gym.spaces.Box(-1.0, 1.0, (TASK.action_dim,), np.float32)


def _spec(parameters: SACParameters) -> RunSpec:
    return RunSpec(
        task=TASK,
        variant="sac",
        algorithm="sac",
        parameters=parameters,
        seed=0,
        budget=1_000_000,
        evaluate_every=1_000_000,
        evaluation_episodes=1,
        compiled=True,
    )


def transitions() -> tuple[np.ndarray, ...]:
    """Observations, actions, rewards, next observations and no terminations."""
    rng = np.random.default_rng(0)
    shapes = [(STORED, TASK.obs_dim), (STORED, TASK.action_dim), (STORED,), (STORED, TASK.obs_dim)]
    drawn = [rng.standard_normal(shape, dtype=np.float32) for shape in shapes]
    drawn[1] = np.tanh(drawn[1])
    return (*drawn, np.zeros(STORED, dtype=np.float32))
