"""The Dyna family at MBPO's published sizes for Hopper, one thread: beside mbrl-lib, and part by part.

mbrl-lib's ensemble, its training and its rollouts are the best kept ones outside; both train on the
same rows, and roll out the same policy.
"""

import os
import time
from functools import cache

import numpy as np
import torch
from mbrl.models import GaussianMLP, ModelEnv, ModelTrainer, OneDTransitionRewardModel
from mbrl.types import TransitionBatch
from mbrl.util.replay_buffer import BootstrapIterator, TransitionIterator
from torch import Tensor

from benchmarks.measure import Entry, compare, rate, seconds
from unirl_repro.agents.mbpo import MBPO, model_rows
from unirl_repro.campaign.conditions import why_not_compiled
from unirl_repro.config import RunSpec, load_config
from unirl_repro.envs import make
from unirl_repro.hyperparameters import MBPOParameters
from unirl_repro.model_data import ModelData
from unirl_repro.models.ensemble_training import rows_of_epochs
from unirl_repro.models.termination import TERMINATION
from unirl_repro.replay import Batch, Replay
from unirl_repro.rng import Keys

PEER = "mbrl-lib"
TASK = "hopper-1000"
STORED = 5_000  # transitions that the model learns from, as many as random steps; of them:
HELD_OUT = 1_000
MILLION = 1_000_000  # transitions of model data
LIMIT = 2.0  # GB that these may take
CPU = torch.device("cpu")


def measurements() -> list[Entry]:
    """Training and rollouts beside the peer's, an epoch by its parts, and what model data take."""
    torch.set_num_threads(1)
    return [model_data(), training(), rollouts(), *epoch()]


@cache
def agent() -> MBPO:
    """At scale paper, updates compiled where they can be."""
    spec = _spec()
    assert isinstance(spec.parameters, MBPOParameters)
    made = MBPO(
        spec.parameters,
        *(spec.task.obs_dim, spec.task.action_dim),
        horizon=spec.task.horizon,
        keys=Keys(0, "init"),
        device=CPU,
        compiled=not why_not_compiled(),
    )
    made.choose_elites(torch.arange(float(spec.parameters.members)))
    return made


@cache
def replay() -> Replay:
    """What random actions meet in Hopper."""
    spec = _spec()
    env, filled = make(spec.task), Replay(STORED, spec.task.obs_dim, spec.task.action_dim, CPU)
    rng, obs = np.random.default_rng(0), None
    for step in range(STORED):
        if obs is None:
            obs, _ = env.reset(seed=step)
        action = rng.uniform(-1, 1, spec.task.action_dim)
        next_obs, reward, terminated, truncated, _ = env.step(action)
        row = [torch.as_tensor(x, dtype=torch.float32) for x in (obs, action, next_obs)]
        filled.add(row[0], row[1], float(reward), row[2], terminated)
        obs = None if terminated or truncated else next_obs
    return filled


def training() -> Entry:
    """Rows a second of an epoch, each of seven members seeing each row once, and its validation."""
    ours, rows = agent(), replay().rows(0, STORED)
    inputs, targets = model_rows(rows)
    ours.model.normalise(inputs)
    held = inputs[:HELD_OUT], targets[:HELD_OUT]
    order = rows_of_epochs(ours.model.members, STORED - HELD_OUT, np.random.default_rng(0), None)

    def our_epoch() -> int:
        ours.trainer._epoch(inputs[HELD_OUT:], targets[HELD_OUT:], next(order))
        ours.trainer.errors(*held)
        return STORED - HELD_OUT

    model, trainer = _peer()
    model.update_normalizer(_batch_of_peer(rows))
    batch_size = ours.parameters.model_batch_size
    learnt = BootstrapIterator(
        _batch_of_peer(rows, HELD_OUT), batch_size, len(model), shuffle_each_epoch=True
    )
    aside = TransitionIterator(_batch_of_peer(rows, 0, HELD_OUT), HELD_OUT)

    def peer_epoch() -> int:
        trainer.train(learnt, aside, num_epochs=1, silent=True)
        return STORED - HELD_OUT

    for warm_up in (our_epoch, peer_epoch):
        warm_up()
    return compare(
        "ensemble training, 7 members of 4 x 200 units, batch 256",
        lambda: rate(our_epoch, 1.0),
        lambda: rate(peer_epoch, 1.0),
        peer_name=PEER,
        unit="rows/s",
        goal=2.0,
    )


def rollouts() -> Entry:
    """One step from 100,000 visited states: the policy, one member a row, and where it ends."""
    ours, spec = agent(), _spec()
    count = ours.parameters.rollout_batch
    starts = replay().obs[torch.from_numpy(np.random.default_rng(0).integers(STORED, size=count))]
    source = {"starts": torch.arange(count) % STORED, "elites": ours.elites, "moment": [0, 0, 1]}

    def our_step() -> int:
        ours._imagined(source, ours.model, ours.sac.actor, replay(), Keys(0, "after_step", 0, 0))
        return count

    model, _ = _peer()
    is_terminal = TERMINATION[ours.parameters.termination]
    env = ModelEnv(
        make(spec.task),  # for its spaces alone
        model,
        lambda action, next_obs: is_terminal(next_obs)[:, None],
        generator=torch.Generator().manual_seed(0),
    )

    def peer_step() -> int:
        with torch.no_grad():
            state = env.reset(starts.numpy(), return_as_np=False)
            noise = torch.randn(count, spec.task.action_dim)
            env.step(ours.sac.actor.act(starts, noise), state, sample=True)
        return count

    for warm_up in (our_step, peer_step):
        warm_up()
    return compare(
        f"model rollouts from {count:,} states",
        lambda: rate(our_step, 1.0),
        lambda: rate(peer_step, 1.0),
        peer_name=PEER,
        unit="steps/s",
        goal=2.0,
    )


def epoch() -> list[Entry]:
    """Seconds of each part of an epoch of 1,000 steps, and its share; the largest one first."""
    made, filled, p = agent(), replay(), agent().parameters
    keys, times = Keys(0, "after_step", 0, 0), p.epoch_length // p.model_every
    start = time.process_time()
    made.train_model(filled, keys)  # once, as it takes minutes
    train = time.process_time() - start
    roll_out, update = seconds(
        lambda: made.roll_out(filled, keys), lambda: made.update_policy(filled, keys)
    )
    parts = {
        "policy updates": p.epoch_length * update,
        f"model training on {STORED:,} rows": times * train,
        f"rollouts of {p.rollout_batch:,}": times * roll_out,
    }
    whole = sum(parts.values())
    ordered = sorted(parts.items(), key=lambda part: -part[1])
    return [
        Entry(f"MBPO epoch, {TASK}: {name}", spent, whole, "the epoch", spent / whole, "s", 0.0)
        for name, spent in ordered
    ]


def model_data() -> Entry:
    """Memory of a million transitions, as they are kept."""
    spec, before = _spec(), _resident()
    data, sizes = ModelData(1), (spec.task.obs_dim, spec.task.action_dim)
    data.add(_blank(MILLION, *sizes))
    taken = (_resident() - before) / 1e9
    assert len(data) == MILLION
    name = f"model data of {MILLION:,} transitions, {TASK}"
    return Entry(name, taken, LIMIT, "limit", LIMIT / taken, "GB", 1.0)


@cache
def _spec() -> RunSpec:
    return load_config("config.yaml").spec(TASK, "mbpo", 0, "paper")


def _peer() -> tuple[OneDTransitionRewardModel, ModelTrainer]:
    """As mbrl-lib's own MBPO builds it, at our sizes."""
    p, task = agent().parameters, _spec().task
    assert len(set(p.model_hidden)) == 1
    network = GaussianMLP(
        *(task.obs_dim + task.action_dim, task.obs_dim + 1, CPU),
        num_layers=len(p.model_hidden),
        ensemble_size=p.members,
        hid_size=p.model_hidden[0],
        propagation_method="random_model",
        learn_logvar_bounds=True,
        activation_fn_cfg={"_target_": "torch.nn.SiLU"},
    )
    network.set_elite(list(range(p.elites)))
    model = OneDTransitionRewardModel(
        network, target_is_delta=True, normalize=True, num_elites=p.elites
    )
    return model, ModelTrainer(model, optim_lr=p.model_learning_rate, weight_decay=5e-5)


def _batch_of_peer(rows: Batch, first: int = 0, end: int | None = None) -> TransitionBatch:
    def part(column: Tensor) -> np.ndarray:
        return column[first:end].numpy()

    ends = part(rows.terminated).astype(bool)
    return TransitionBatch(
        *(part(rows.obs), part(rows.action), part(rows.next_obs), part(rows.reward)),
        *(ends, np.zeros_like(ends)),
    )


def _blank(count: int, obs_dim: int, action_dim: int) -> Batch:
    widths = {"obs": obs_dim, "action": action_dim, "next_obs": obs_dim}
    wide = {name: torch.zeros(count, width) for name, width in widths.items()}
    return Batch(**wide, reward=torch.zeros(count), terminated=torch.zeros(count))


def _resident() -> int:
    """Bytes of this process in memory now."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
