"""Unified RL's model, its training in it and the EPS check, at the paper's sizes, one thread.

Beside the same written down plainly (mbrl_peer.py), and beside the fastest matrix product.
"""

import multiprocessing
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.mbrl_peer import Learner
from benchmarks.measure import Entry, seconds
from unirl_repro.agents.mbrl import fixed
from unirl_repro.agents.unified import Unified
from unirl_repro.config import Config, RunSpec, load_config
from unirl_repro.envs import make
from unirl_repro.episodes import sample_episodes
from unirl_repro.hyperparameters import UnifiedParameters
from unirl_repro.nn.repeated import Packed
from unirl_repro.replay import Batch, Replay
from unirl_repro.rng import Keys
from unirl_repro.run import keep_freed_memory

CONFIG = Path(__file__).parents[1] / "config.yaml"
EPISODES = 20  # in the replay
PEER = "loop over nn.LSTMCell"
CPU = torch.device("cpu")
CHECK_STEPS = 10  # of the EPS check beside its peer's: both take all steps alike
MEMORY = 1.5  # GB that a check may need


def measurements() -> list[Entry]:
    """Each part beside its peer and the ceiling; the check's memory, and its share of a run."""
    torch.set_num_threads(1)
    keep_freed_memory()
    hopper, ant = Bench.of("hopper-200"), Bench.of("ant-100")
    entries = [*model(hopper), *policy(hopper), *policy(ant), *check(hopper), *check(ant)]
    entries += whole_check()
    tasks = config().studies["unified_rl_fig2"].tasks
    return entries + [share(Bench.of(task)) for task in (*tasks, "ant_distractors-100")]


@cache
def config() -> Config:
    """The experiment."""
    return load_config(CONFIG)


@dataclass(frozen=True)
class Bench:
    """An agent with something to learn from, and its peer.

    Attributes
    ----------
    spec : RunSpec
        Unified RL on a task at scale paper.
    agent, replay
        The agent, and twenty episodes that it has observed.
    peer : Learner
        Of the same sizes.
    """

    spec: RunSpec
    agent: Unified
    replay: Replay
    peer: Learner

    @staticmethod
    def of(task: str) -> "Bench":
        """At the paper's sizes; SAC eager, as no time goes into compiling it here."""
        spec = config().spec(task, "unified", 0, "paper")
        sizes, horizon = (spec.task.obs_dim, spec.task.action_dim), spec.task.horizon
        assert isinstance(spec.parameters, UnifiedParameters)
        parameters, keys = spec.parameters, Keys(0, "init")
        agent = Unified(parameters, *sizes, horizon=horizon, keys=keys, device=CPU, compiled=False)
        replay = Replay(EPISODES * horizon, *sizes)
        for _ in range(EPISODES):
            replay.restore(replay.added, _episode(horizon, *sizes))
            agent.after_episode(replay, keys)
        agent.mbrl.model.normalise()
        return Bench(spec, agent, replay, Learner(*sizes, parameters.mbrl, parameters.sac.hidden))

    @property
    def parameters(self) -> UnifiedParameters:
        return self.agent.parameters

    @property
    def name(self) -> str:
        """As the tables have it."""
        return self.spec.task.id

    def episodes(self, count: int) -> Batch:
        return sample_episodes(self.replay, self.spec.task.horizon, count, Keys(0, "")("episodes"))

    def update_model(self) -> None:
        batch = self.episodes(self.parameters.mbrl.model_batch_size)
        self.agent.mbrl.update_model(batch, Keys(0, "")("masks"), EPISODES)

    def update_policy(self) -> None:
        mbrl, keys = self.agent.mbrl, Keys(0, "")
        update = mbrl.update_on_trajectories if self.whole else mbrl.update_on_segments
        with fixed(mbrl.model):
            update(self.replay, keys("draws"), keys("noise"))

    @property
    def whole(self) -> bool:
        return self.parameters.mbrl.policy_training == "full_trajectory"

    def check(self) -> Tensor:
        return self.agent.return_gaps(self.replay, Keys(0, ""))

    def peer_update_model(self) -> None:
        batch = self.episodes(self.parameters.mbrl.model_batch_size)
        self.peer.update_model(batch, EPISODES)

    def peer_update_policy(self) -> None:
        parameters = self.parameters.mbrl
        if not self.whole:
            self.peer.update_on_segments(self.episodes(parameters.num_masks))
            return
        count = parameters.num_masks * parameters.num_starts
        self.peer.update_on_trajectories(self._starts(count), self.spec.task.horizon)

    def peer_check(self) -> Tensor:
        masks = self.parameters.num_masks
        starts = self._starts(2 * masks * self.parameters.num_rollouts)
        starts = starts.view(2, -1, starts.shape[-1])
        return self.peer.return_gaps(starts, masks, self.agent.horizon)

    def _starts(self, count: int) -> Tensor:
        return self.replay.obs[torch.randint(len(self.replay), (count,))]


def model(bench: Bench) -> list[Entry]:
    """An update of the model."""
    ours, peer, ceiling = seconds(bench.update_model, bench.peer_update_model, multiply)
    return _entries(f"model update, {bench.name}", flops_of_model(bench), ours, [peer], ceiling)


def policy(bench: Bench) -> list[Entry]:
    """An update of the policy; the peer with a frozen model, as ours has it, and without."""

    def peer_frozen() -> None:
        with fixed(bench.peer.model):
            bench.peer_update_policy()

    works = (bench.update_policy, peer_frozen, bench.peer_update_policy, multiply)
    ours, *peers, ceiling = seconds(*works)
    kind = "full-trajectory" if bench.whole else "Dreamer-style"
    name = f"{kind} update, {bench.name}"
    return _entries(name, flops_of_policy(bench), ours, peers, ceiling)


def check(bench: Bench) -> list[Entry]:
    """A check of a few steps' length."""
    with _shortened(bench.agent):
        works = (bench.check, bench.peer_check, multiply)
        ours, peer, ceiling = seconds(*works)
        flops = flops_of_check(bench)
    name = f"EPS check, {CHECK_STEPS} steps, {bench.name}"
    return _entries(name, flops, ours, [peer], ceiling)


def whole_check() -> list[Entry]:
    """Time and memory of the largest check: 50 masks, 100 rollouts each, 200 steps."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        elapsed, before, after = pool.apply(check_of_hopper)
    rise = (after - before) / 1e9
    name = "EPS check, 200 steps, hopper-200"
    limit = "limit"
    return [
        Entry(f"{name}: memory on top", rise, MEMORY, limit, MEMORY / rise, "GB", 1.0),
        Entry(
            f"{name}: memory in all", after / 1e9, MEMORY, limit, MEMORY * 1e9 / after, "GB", 1.0
        ),
        Entry(f"{name}: time", elapsed, 60.0, limit, 60.0 / elapsed, "s", 1.0),
    ]


def check_of_hopper() -> tuple[float, int, int]:
    """Seconds of a whole check; bytes of the process at most, before it and after."""
    torch.set_num_threads(1)
    keep_freed_memory()
    bench = Bench.of("hopper-200")
    before, start = _peak_bytes(), time.process_time()
    bench.check()
    return time.process_time() - start, before, _peak_bytes()


def share(bench: Bench) -> Entry:
    """The check's share of an episode with all of its updates; under a tenth where M is small."""
    checked = _once(bench.check)
    updates = sum(seconds(bench.update_model, bench.update_policy, repeats=1))
    keys = Keys(0, "before_episode")
    free = _once(lambda: bench.agent.sac.before_episode(bench.replay, keys))
    whole = checked + bench.agent.mbrl.num_updates * updates + free + _acting(bench)
    percent, rollouts = 100 * checked / whole, bench.parameters.num_rollouts
    goal, limit = (1.0, "limit") if rollouts <= 10 else (0.0, "limit where M <= 10")
    name = f"EPS check's share of an iteration, {bench.name}, M = {rollouts}"
    return Entry(name, percent, 10.0, limit, 10.0 / percent, "%", goal)


def multiply() -> None:
    """The fastest product that there is: of 20 squares of 1024, the weight in its best order."""
    for _ in range(20):
        SQUARE(ROWS)


def flops_of_model(bench: Bench) -> float:
    """Of an update's products: forward, and twice as much backward, but for the inputs."""
    rows = bench.parameters.mbrl.model_batch_size * bench.spec.task.horizon
    return 2.0 * rows * (3 * _model(bench) - _inputs(bench))


def flops_of_policy(bench: Bench) -> float:
    """The model's products forward and to its inputs; the policy's also to its weights."""
    parameters = bench.parameters.mbrl
    rows = parameters.num_masks * parameters.num_starts
    step = 2 * _model(bench) + 3 * _policy(bench, parameters.hidden)
    if bench.whole:
        return 2.0 * rows * bench.spec.task.horizon * step
    sizes = (bench.spec.task.obs_dim, *parameters.critic_hidden, 1)
    step += 5 * _products(*sizes) - sizes[0] * sizes[1]  # values of the policy's loss, and its own
    visited = parameters.num_masks * bench.spec.task.horizon
    lstm = _inputs(bench) + 8 * parameters.model_hidden**2
    return 2.0 * (rows * parameters.imagined_horizon * step + visited * lstm)


def flops_of_check(bench: Bench) -> float:
    """Both policies' rollouts."""
    rows = bench.parameters.num_masks * bench.parameters.num_rollouts
    policies = sum(
        _policy(bench, hidden)
        for hidden in (bench.parameters.mbrl.hidden, bench.parameters.sac.hidden)
    )
    return 2.0 * rows * bench.agent.horizon * (2 * _model(bench) + policies)


# Multiplications for one row and step


def _model(bench: Bench) -> int:
    hidden = bench.parameters.mbrl.model_hidden
    heads = 2 * hidden * (bench.spec.task.obs_dim + 1)
    return _inputs(bench) + 8 * hidden**2 + 2 * hidden**2 + heads


def _inputs(bench: Bench) -> int:
    task = bench.spec.task
    return (task.obs_dim + task.action_dim) * bench.parameters.mbrl.model_hidden


def _policy(bench: Bench, hidden: tuple[int, ...]) -> int:
    return _products(bench.spec.task.obs_dim, *hidden, 2 * bench.spec.task.action_dim)


def _products(*sizes: int) -> int:
    return sum(i * o for i, o in pairwise(sizes))


def _entries(
    name: str, flops: float, ours: float, peers: list[float], ceiling: float
) -> list[Entry]:
    """Beside the peers, whose model is frozen first where there are two, and the ceiling."""
    names = [PEER] if len(peers) == 1 else [f"{PEER}, model frozen", f"{PEER}, not frozen"]
    entries = [
        Entry(name, 1e3 * ours, 1e3 * peer, told, peer / ours, "ms", 2.0)
        for peer, told in zip(peers, names, strict=True)
    ]
    rate, best = flops / ours / 1e9, 20 * 2 * 1024**3 / ceiling / 1e9
    of = "oneDNN, 1024 x 1024"
    entries.append(Entry(f"{name}: rate", rate, best, of, rate / best, "GFLOP/s", 0.5))
    return entries


@contextmanager
def _shortened(agent: Unified) -> Iterator[None]:
    whole = agent.horizon
    agent.horizon = CHECK_STEPS
    try:
        yield
    finally:
        agent.horizon = whole


def _once(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def _acting(bench: Bench) -> float:
    """Seconds of an episode in the environment."""
    env, rng, keys = make(bench.spec.task), Keys(0, "")("act"), Keys(0, "reset")

    def episode() -> None:
        obs, _ = env.reset(seed=keys.integer("env"))
        for _ in range(bench.spec.task.horizon):
            row = torch.as_tensor(obs, dtype=torch.float32)[None]
            action = bench.agent.act(row, rng, explore=True)
            obs, *_ = env.step(action[0].double().numpy())

    return _once(episode)


def _episode(horizon: int, obs_dim: int, action_dim: int) -> Batch:
    """A random walk; rewards depend on the action."""
    obs = 0.1 * torch.randn(horizon + 1, obs_dim).cumsum(0)
    action = 2 * torch.rand(horizon, action_dim) - 1
    return Batch(obs[:-1], action, action.mean(-1), obs[1:], torch.zeros(horizon))


def _peak_bytes() -> int:
    """Of this program alone: getrusage counts also what the process was before it started it."""
    told = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert told is not None
    return 1024 * int(told[1])


ROWS = torch.randn(1024, 1024)
SQUARE = Packed(torch.randn(1024, 1024))
