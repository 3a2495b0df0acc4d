"""mbpo_blog Figure 1: how well models do on the states of policies that come after their data.

SAC is trained; at some moment its policy collects data, and ensembles are trained on more or less
of them. They are tested on fresh transitions of that policy and of the policies that SAC had later.
Panels of the frame: `error` (by policy and size of the training set), `shift` (how far each policy
is from the collecting one) and `size` (the smallest and the largest set, and what that one gains).
"""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from unirl_repro.agents.sac import SAC
from unirl_repro.config import RunSpec
from unirl_repro.envs import gym  # noqa: F401  the task's suite: its code counts for the frame
from unirl_repro.envs.tasks import find
from unirl_repro.hyperparameters import SACParameters
from unirl_repro.learned.models import LearntModel, Policy, collect
from unirl_repro.learned.sizes import Generalisation
from unirl_repro.loop import Trainer
from unirl_repro.nn.actor import Actor
from unirl_repro.replay import Batch
from unirl_repro.rng import Keys, normal
from unirl_repro.tabular.frame import frame, numbers

STUDY = "mbpo_blog_fig1"
TASK = find("hopper-1000")  # the post names none: deviation B1
NEVER = 10**9  # environment steps between evaluations

Rows = Iterator[dict[str, Any]]


def run(sizes: Generalisation, seed: int) -> pd.DataFrame:
    """One seed's part of the frame: see `tabular.frame`.

    Parameters
    ----------
    sizes : Generalisation
        How long SAC trains, how much is collected, how large networks are.
    seed : int
        Of all that is random.
    """
    actors = policies(sizes, seed)
    data = collect(TASK, sampled(actors[0]), sizes.collected, seed, f"{STUDY}/collect")
    tests = [
        collect(TASK, sampled(actor), sizes.tested, seed, f"{STUDY}/test/{j}")
        for j, actor in enumerate(actors)
    ]
    errors = np.empty((len(sizes.training_sets), len(actors), 2))
    for i, count in enumerate(sizes.training_sets):
        keys = Keys(seed, f"{STUDY}/model", count)
        model = LearntModel(drawn_from(data, count, keys), sizes.model, keys)
        errors[i] = [measure(model, test, tests[0]) for test in tests]
    shifts = [divergence(a, actors[0], t.obs) for a, t in zip(actors, tests, strict=True)]
    moments = (sizes.collecting, *sizes.later)
    rows = [
        *_errors(errors, sizes.training_sets, seed),
        *_shifts(shifts, moments, seed),
        *_summary(errors, sizes.training_sets, seed),
    ]
    return frame(rows)


def policies(sizes: Generalisation, seed: int) -> list[Actor]:
    """SAC's policy at the moment of collecting, and those that it has later."""
    parameters = SACParameters(
        hidden=sizes.hidden,
        batch_size=sizes.batch_size,
        random_steps=sizes.random_steps,
        learning_rate=sizes.learning_rate,
    )
    spec = RunSpec(TASK, "sac", "sac", parameters, seed, sizes.later[-1], NEVER, 1, compiled=False)
    trainer, found = Trainer(spec, torch.device("cpu"), lambda rows: None), []
    assert isinstance(trainer.agent, SAC)
    for moment in (sizes.collecting, *sizes.later):
        while trainer.env_step < moment:
            trainer.advance()
        found.append(deepcopy(trainer.agent.actor))
    return found


def sampled(actor: Actor) -> Policy:
    """The policy as it trains, with its own noise."""

    @torch.no_grad()
    def policy(obs: Tensor, keys: Keys) -> Tensor:
        noise = normal(keys("action"), 1, TASK.action_dim, like=obs)
        return actor.act(obs[None], noise)[0]

    return policy


def drawn_from(data: Batch, count: int, keys: Keys) -> Batch:
    """Some of the transitions, so that training sets differ in nothing but their size."""
    rows = torch.from_numpy(keys("rows").permutation(len(data.obs))[:count])
    return Batch(*(column[rows] for column in data))


def measure(model: LearntModel, test: Batch, collecting: Batch) -> tuple[float, float]:
    """Mean squared error of one step, over the variance of the real changes of the observation.

    In the mean over entries of the observation: with the variances of the collecting policy's
    changes, and with those of the tested policy's own (the share that stays unexplained): deviation
    B6.
    """
    real = test.next_obs - test.obs
    squared = (model.predict(test) - real).square().mean(0)  # [O]
    known = (collecting.next_obs - collecting.obs).var(0)
    return (squared / known).mean().item(), (squared / real.var(0)).mean().item()


@torch.no_grad()
def divergence(actor: Actor, other: Actor, obs: Tensor) -> float:
    """KL divergence of one policy from another, in the mean over states [B, O].

    Of the Gaussians before the tanh, which leaves a divergence as it is.
    """
    mean, raw = actor.mlp(obs).chunk(2, dim=-1)
    other_mean, other_raw = other.mlp(obs).chunk(2, dim=-1)
    (std, log_std), (other_std, other_log_std) = actor.std_head(raw), other.std_head(other_raw)
    squares = (std.square() + (mean - other_mean).square()) / other_std.square()
    return (other_log_std - log_std + 0.5 * (squares - 1)).sum(-1).mean().item()


def _errors(errors: np.ndarray, counts: Sequence[int], seed: int) -> Rows:
    for i, count in enumerate(counts):
        for j, (error, unexplained) in enumerate(errors[i]):
            values = {"decades": np.log10(error), "unexplained": unexplained}
            where = {"seed": seed, "iteration": count}
            yield from numbers(STUDY, "error", f"policy_{j}", values, **where)


def _shifts(shifts: Sequence[float], moments: Sequence[int], seed: int) -> Rows:
    for j, (shift, moment) in enumerate(zip(shifts, moments, strict=True)):
        found = {"divergence": shift, "steps": moment - moments[0]}
        yield from numbers(STUDY, "shift", f"policy_{j}", found, seed=seed)


def _summary(errors: np.ndarray, counts: Sequence[int], seed: int) -> Rows:
    """Of the smallest and the largest set: on the collecting policy, the next, and all later ones."""
    decades = np.log10(errors[..., 0])  # [N, P]: outliers of one state would rule a mean of errors
    for variant, i in (("smallest", 0), ("largest", -1)):
        found = {
            "transitions": counts[i],
            "unexplained_collecting": errors[i, 0, 1],
            "unexplained_future": errors[i, 1:, 1].mean(),
        }
        yield from numbers(STUDY, "size", variant, found, seed=seed)
    gains = decades[0] - decades[-1]  # [P], of the largest set over the smallest
    named = {"collecting": gains[0], "nearby": gains[1], "future": gains[1:].mean()}
    for variant, gain in named.items():
        yield from numbers(STUDY, "size", variant, {"gain": gain}, seed=seed)
