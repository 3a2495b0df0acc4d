"""The training loop: acts, stores, calls the agent's hooks and evaluates, one step at a time.

Every environment step is a safe point: a `Trainer` can be saved after any of them and restored in
another process, bit for bit. It reads neither the clock nor the environment's variables. A run cut
at N steps equals the run with budget N, since nothing here knows the budget.
"""

import importlib
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unirl_repro.agents.protocol import Agent
from unirl_repro.checkpoint import Checkpoint
from unirl_repro.config import RunSpec
from unirl_repro.envs import make
from unirl_repro.files import sha256
from unirl_repro.registry import ALGORITHMS
from unirl_repro.replay import Replay
from unirl_repro.rng import Keys, uniform

CURVE_COLUMNS = {  # with their types
    "task": "object",
    "variant": "object",
    "algorithm": "object",
    "seed": "int64",
    "kind": "object",
    "episode": "int64",
    "env_step": "int64",
    "return": "float64",
    "length": "int64",
    "policy": "object",
}
METRIC_COLUMNS = {"env_step": "int64", "name": "object", "value": "float64"}


class MismatchError(RuntimeError):
    """A checkpoint made under other versions, or on another kind of device."""


class Trainer:
    """A run in progress.

    Parameters
    ----------
    spec : RunSpec
        What to train.
    device : torch.device
        Where networks and replay live.
    emit : callable
        Takes the rows of the curve and of the metrics as they come.
    """

    def __init__(
        self, spec: RunSpec, device: torch.device, emit: Callable[[list[dict[str, Any]]], None]
    ):
        self.spec, self.device, self.emit = spec, device, emit
        self.env, self.evaluation_env = make(spec.task), make(spec.task)
        self.agent = _build_agent(spec, device)
        capacity = getattr(spec.parameters, "replay_capacity", spec.task.horizon)
        sizes = (spec.task.obs_dim, spec.task.action_dim)
        self.replay = Replay(max(capacity, spec.task.horizon), *sizes, device)
        self.env_step = self.episode = self.length = 0
        self.episode_return, self.policy = 0.0, ""
        self.obs: Tensor | None = None  # None between two episodes
        self.metrics: dict[str, float | Tensor] = {}  # the latest of the present episode

    def advance(self) -> None:
        """One environment step, with all that belongs before and after it."""
        if self.obs is None:
            self._begin_episode()
        assert self.obs is not None
        action = self._choose(self.obs)
        next_obs, reward, terminated, truncated = self._step_env(action)
        self.replay.add(self.obs, action, reward, next_obs, terminated)
        self.env_step += 1
        self.length += 1
        self.episode_return += reward
        self.obs = next_obs
        self.metrics |= self.agent.after_step(self.replay, self._keys("after_step"))
        if terminated or truncated:
            self._end_episode()
        if self.env_step % self.spec.evaluate_every == 0:
            self._evaluate()

    def state(self) -> dict[str, Any]:
        """Everything but the replay, for a checkpoint."""
        names = ("env_step", "episode", "length", "episode_return", "policy")
        return {
            "agent": self.agent.state_dict(),
            "loop": {name: getattr(self, name) for name in names},
            "metrics": {name: float(value) for name, value in self.metrics.items()},
        }

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint, which may fall inside an episode.

        The environment gets back to where it was by taking the episode's actions again.
        """
        start = checkpoint.replay_start
        for batch in checkpoint.replay:
            self.replay.restore(start, batch)
            start += len(batch.reward)
        self.agent.load_state_dict(checkpoint.state["agent"])
        for name, value in checkpoint.state["loop"].items():
            setattr(self, name, value)
        self.metrics = dict(checkpoint.state["metrics"])
        if self.length:
            self._replay_episode()

    def parameters_sha256(self) -> str:
        """Hash of all that the agent has learnt."""
        return sha256(_bytes_of(self.agent.state_dict()))

    def _keys(self, phase: str) -> Keys:
        return Keys(self.spec.seed, phase, self.episode, self.length)

    def _begin_episode(self) -> None:
        self.metrics = dict(self.agent.before_episode(self.replay, self._keys("before_episode")))
        self.policy = "random" if self._at_random() else self.agent.policy
        self.obs = self._reset_env()

    def _end_episode(self) -> None:
        self.metrics |= self.agent.after_episode(self.replay, self._keys("after_episode"))
        rows = [self._curve_row("train", self.episode, self.episode_return, self.length)]
        rows += [self._metric_row(name, value) for name, value in self.metrics.items()]
        self.emit(rows)
        self.episode += 1
        self.length, self.episode_return, self.obs = 0, 0.0, None

    def _at_random(self) -> bool:
        return self.env_step < self.agent.random_steps

    def _choose(self, obs: Tensor) -> Tensor:
        rng = self._keys("act")("action")
        if self._at_random():
            return uniform(rng, self.spec.task.action_dim, low=-1.0, high=1.0, like=obs)
        return self.agent.act(obs[None], rng, explore=True)[0]

    def _reset_env(self) -> Tensor:
        obs, _ = self.env.reset(seed=Keys(self.spec.seed, "reset", self.episode).integer("env"))
        return self._observation(obs)

    def _step_env(self, action: Tensor) -> tuple[Tensor, float, bool, bool]:
        obs, raw, terminated, truncated, _ = self.env.step(action.double().cpu().numpy())
        reward = float(raw)
        if not math.isfinite(reward):
            raise FloatingPointError(
                f"{self.spec.task.id}: reward {reward} in episode {self.episode}, "
                f"step {self.length}, after action {action.tolist()}"
            )
        return self._observation(obs), reward, bool(terminated), bool(truncated)

    def _observation(self, obs: np.ndarray) -> Tensor:
        if not np.isfinite(obs).all():
            raise FloatingPointError(
                f"{self.spec.task.id}: an observation is not finite in episode {self.episode}, "
                f"step {self.length}"
            )
        return torch.as_tensor(obs, dtype=torch.float32, device=self.device)

    def _replay_episode(self) -> None:
        """Take the present episode's actions again, and see that they lead to the same place."""
        done = self.replay.rows(self.replay.added - self.length, self.replay.added)
        self._reset_env()
        for action in done.action:
            self.obs, *_ = self._step_env(action)
        if self.obs is None or not torch.equal(self.obs, done.next_obs[-1]):
            raise MismatchError(
                f"{self.spec.task.id}: episode {self.episode} does not replay to the observation "
                "in the checkpoint; the environment is not the one that it was trained on"
            )

    def _evaluate(self) -> None:
        """Episodes of the policy without exploration noise, on an environment of their own."""
        rows = []
        for episode in range(self.spec.evaluation_episodes):
            keys = Keys(self.spec.seed, "evaluate", self.env_step, episode)
            total, length = self._evaluation_episode(keys)
            rows.append(self._curve_row("eval", episode, total, length))
        self.emit(rows)

    def _evaluation_episode(self, keys: Keys) -> tuple[float, int]:
        obs, _ = self.evaluation_env.reset(seed=keys.integer("env"))
        rng, total, length, over = keys("action"), 0.0, 0, False
        while not over:
            action = self.agent.act(self._observation(obs)[None], rng, explore=False)[0]
            step = self.evaluation_env.step(action.double().cpu().numpy())
            obs, reward, terminated, truncated, _ = step
            total, length, over = total + float(reward), length + 1, terminated or truncated
        return total, length

    def _curve_row(self, kind: str, episode: int, total: float, length: int) -> dict[str, Any]:
        policy = self.policy if kind == "train" else self.agent.policy
        values = (*self._names(), kind, episode, self.env_step, total, length, policy)
        return dict(zip(CURVE_COLUMNS, values, strict=True))

    def _metric_row(self, name: str, value: float | Tensor) -> dict[str, Any]:
        number = float(value)
        if not math.isfinite(number):
            raise FloatingPointError(
                f"{self.spec.task.id}, {self.spec.variant}, seed {self.spec.seed}: {name} is "
                f"{number} after episode {self.episode}, step {self.env_step}"
            )
        return {"env_step": self.env_step, "name": name, "value": number}

    def _names(self) -> tuple[str, str, str, int]:
        return self.spec.task.id, self.spec.variant, self.spec.algorithm, self.spec.seed


def _build_agent(spec: RunSpec, device: torch.device) -> Agent:
    entry = ALGORITHMS[spec.algorithm]
    agent = getattr(importlib.import_module(entry.module), entry.agent)
    return agent(
        spec.parameters,
        spec.task.obs_dim,
        spec.task.action_dim,
        horizon=spec.task.horizon,
        keys=Keys(spec.seed, "init"),
        device=device,
        compiled=spec.compiled,
    )


def _bytes_of(state: Any) -> bytes:
    """A state's content in one order: names, then values, whatever the nesting."""
    if isinstance(state, Tensor):
        return state.detach().cpu().contiguous().numpy().tobytes()
    if isinstance(state, dict):
        return b"".join(repr(k).encode() + _bytes_of(state[k]) for k in sorted(state, key=repr))
    if isinstance(state, list | tuple):
        return b"".join(_bytes_of(item) for item in state)
    return repr(state).encode()
