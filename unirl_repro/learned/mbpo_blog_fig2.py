"""mbpo_blog Figure 2: a sequence of 450 actions in the environment, and in a model of it.

A pole hangs from a cart that is pushed to and fro. An ensemble is trained on such motions, and then
gets the first state and the actions alone: many trajectories are sampled from it, whose mean and
standard deviation stand beside the real one. Panels of the frame: `cart` and `pole` (one entry of
the motion each, real and predicted), `growth` (of error and spread, step by step) and `ends`
(what they come to).
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from unirl_repro.envs import dmc  # noqa: F401  the task's suite: its code counts for the frame
from unirl_repro.envs.tasks import find
from unirl_repro.learned.models import LearntModel, Policy, collect
from unirl_repro.learned.sizes import Compounding
from unirl_repro.replay import Batch
from unirl_repro.rng import Keys, normal
from unirl_repro.tabular.frame import frame, numbers

STUDY = "mbpo_blog_fig2"
STEPS = 450
# The post names no task and no actions: deviation B4. Its episodes are as long as the sequence.
TASK = replace(find("cartpole-200"), horizon=STEPS)
PERIOD, PUSH = (80.0, 160.0), (0.5, 1.0)  # steps; share of the largest force
NOISE = 0.2  # standard deviation, where data are collected
LATE = 50  # steps at the end that numbers of the end are averaged over
POSITION, COSINE, SINE = 0, 1, 2  # entries of the observation; the pole's angle is 0 upright

Rows = Iterator[dict[str, Any]]


def run(sizes: Compounding, seed: int) -> pd.DataFrame:
    """One seed's part of the frame: see `tabular.frame`.

    Parameters
    ----------
    sizes : Compounding
        How much is collected, how large the ensemble is, how many trajectories are sampled.
    seed : int
        Of all that is random.
    """
    data = collect(TASK, pushes(seed, NOISE), sizes.collected, seed, f"{STUDY}/collect")
    model = LearntModel(data, sizes.model, Keys(seed, f"{STUDY}/model"))
    shown = collect(TASK, pushes(seed, 0.0), STEPS, seed, f"{STUDY}/shown")
    real = motion(torch.cat([shown.obs, shown.next_obs[-1:]]))
    sampled = motion(rolled_out(model, shown, sizes.trajectories, seed))
    return frame([*_curves(real, sampled, seed), *_growth(real, sampled, seed)])


def pushes(seed: int, noise: float) -> Policy:
    """A push that goes to and fro as a cosine, which keeps the cart near where it is.

    Period, size and direction are drawn for each episode; the state does not matter.
    """

    def policy(obs: Tensor, keys: Keys) -> Tensor:
        drawn = Keys(seed, keys.phase, keys.episode)("push")
        period, size, sign = drawn.uniform(*PERIOD), drawn.uniform(*PUSH), drawn.choice([-1, 1])
        push = sign * size * np.cos(2 * np.pi * keys.step / period)
        push = push + noise * keys("noise").standard_normal(TASK.action_dim)
        return torch.as_tensor(np.clip(push, -1, 1), dtype=torch.float32)

    return policy


def rolled_out(model: LearntModel, shown: Batch, count: int, seed: int) -> Tensor:
    """Trajectories of the model under the actions that are shown, from the first state: [T, M, O].

    Each step of each trajectory asks an elite of its own, as MBPO's rollouts do: deviation B5.
    """
    obs, found = shown.obs[0].expand(count, -1), []
    found.append(obs)
    for step, action in enumerate(shown.action):
        keys = Keys(seed, f"{STUDY}/rollout", 0, step)
        choice = torch.from_numpy(keys("elites").integers(len(model.elites), size=count))
        noise = normal(keys("noise"), count, 1 + TASK.obs_dim, like=obs)
        obs = model.sample(obs, action.expand(count, -1), choice, noise)
        found.append(obs)
    return torch.stack(found)


def motion(obs: Tensor) -> dict[str, np.ndarray]:
    """Position of the cart and angle of the pole from hanging, which goes on through turns: [T, ..]."""
    angle = torch.atan2(obs[..., SINE], -obs[..., COSINE]).double().numpy()
    return {"cart": obs[..., POSITION].double().numpy(), "pole": np.unwrap(angle, axis=0)}


def _curves(real: Mapping[str, np.ndarray], sampled: Mapping[str, np.ndarray], seed: int) -> Rows:
    for part, values in sampled.items():
        for step, drawn in enumerate(values):
            where = {"seed": seed, "iteration": step}
            found = {"real": real[part][step], "mean": drawn.mean(), "std": drawn.std()}
            yield from numbers(STUDY, part, "motion", found, **where)


def _growth(real: Mapping[str, np.ndarray], sampled: Mapping[str, np.ndarray], seed: int) -> Rows:
    """In units of the real motion's own standard deviation, of cart and pole together."""
    units = {part: values.std() for part, values in real.items()}
    gaps = {p: (sampled[p].mean(1) - real[p]) / units[p] for p in real}  # [T] each
    spreads = {p: sampled[p].std(1) / units[p] for p in real}
    curves = {"error": _together(gaps), "spread": _together(spreads)}
    ends: dict[str, float] = {}
    for name, curve in curves.items():
        for step in range(1, STEPS + 1):  # the first state is given
            found = {f"decades_{name}": np.log10(curve[step])}
            yield from numbers(STUDY, "growth", name, found, seed=seed, iteration=step)
        ends |= {f"{name}_first": curve[1], f"{name}_last": curve[-LATE:].mean()}
        ends[f"decades_{name}"] = np.log10(ends[f"{name}_last"] / ends[f"{name}_first"])
    pole, expected, third = real["pole"], sampled["pole"].mean(1), STEPS // 3
    for name, part in (("first", slice(1, 1 + third)), ("last", slice(-third, None))):
        ends[f"correlation_{name}"] = np.corrcoef(expected[part], pole[part])[0, 1]  # of a third
    ends["correlation_lost"] = ends["correlation_first"] - ends["correlation_last"]
    yield from numbers(STUDY, "ends", "motion", ends, seed=seed)


def _together(parts: Mapping[str, np.ndarray]) -> np.ndarray:
    """Root mean square over cart and pole: [T]."""
    return np.sqrt(np.mean([np.square(values) for values in parts.values()], axis=0))
