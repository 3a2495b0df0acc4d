"""What the tests of MBPO, CMLO, PDML and USB-PO share: small agents, data that come step by step."""

import io
from typing import Any, TypeVar

import torch
from torch import Tensor

from tests.agents.sac_parity import CPU
from tests.agents.sac_parity import learnt as learnt_by_sac
from unirl_repro.agents.mbpo import MBPO
from unirl_repro.agents.protocol import Metrics
from unirl_repro.hyperparameters import SACParameters
from unirl_repro.registry import ALGORITHMS
from unirl_repro.replay import Replay
from unirl_repro.rng import Keys

OBS, ACTION, RANDOM_STEPS, CAPACITY = 3, 2, 20, 400
SAC: dict[str, Any] = {"hidden": (16, 12), "batch_size": 20, "random_steps": RANDOM_STEPS}
SMALL: dict[str, Any] = {
    "members": 3,
    "elites": 2,
    "model_hidden": (12, 12),
    "weight_decay": (1e-5, 1e-5, 1e-5),
    "model_batch_size": 32,
    "model_every": 10,
    "epoch_length": 20,
    "rollout_schedule": (0, 2, 1, 3),
    "rollout_batch": 30,
}
Made = TypeVar("Made", bound=MBPO)


def build(
    kind: type[Made],
    *,
    seed: int = 7,
    sac: dict | None = None,
    compiled: bool = False,
    **changes: Any,
) -> Made:
    of_kind: Any = ALGORITHMS[kind.policy].parameters
    parameters = of_kind(sac=SACParameters(**SAC | (sac or {})), **SMALL | changes)
    options: dict[str, Any] = {
        "horizon": 10,
        "keys": Keys(seed, "init"),
        "device": CPU,
        "compiled": compiled,
    }
    return kind(parameters, OBS, ACTION, **options)


def empty_replay(capacity: int = CAPACITY) -> Replay:
    return Replay(capacity, OBS, ACTION)


def add(replay: Replay, count: int, scale: float = 1.0) -> None:
    """Transitions of a system that can be learnt, the states of size `scale`."""
    for _ in range(count):
        generator = torch.Generator().manual_seed(replay.added)
        obs, noise = torch.randn(2, OBS, generator=generator)
        obs, action = scale * obs, torch.rand(ACTION, generator=generator) * 2 - 1
        next_obs = 0.9 * obs + 0.3 * action[0] + 0.05 * noise
        replay.add(obs, action, float(obs[0] - action[1]), next_obs, terminated=False)


def replay(added: int) -> Replay:
    made = empty_replay()
    add(made, added)
    return made


def moment(replay: Replay, seed: int = 0) -> Keys:
    return Keys(seed, "after_step", replay.added // 10, replay.added % 10)


def go(agent: MBPO, replay: Replay, until: int, seed: int = 0) -> list[Metrics]:
    """Steps until the replay has so many transitions, and what each hook returned."""
    made = []
    while replay.added < until:
        add(replay, 1)
        made.append(agent.after_step(replay, moment(replay, seed)))
    return made


def learnt(agent: MBPO) -> list[Tensor]:
    model = [value.detach().clone() for value in agent.model.state_dict().values()]
    return [*learnt_by_sac(agent.sac), *model]


def model_weights(agent: MBPO) -> list[Tensor]:
    return [value.detach().clone() for value in agent.model.layers.parameters()]


def equal(first: list[Tensor], second: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def saved_and_loaded(agent: MBPO) -> dict[str, Any]:
    file = io.BytesIO()
    torch.save(agent.state_dict(), file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def assert_goes_on_bit_for_bit(kind: type[MBPO], at: int, until: int, **changes: Any) -> None:
    """An agent that is restored after so many transitions, into one that had learnt other things."""
    agent, restored = (build(kind, **changes) for _ in range(2))
    made, other = empty_replay(), empty_replay()
    add(made, RANDOM_STEPS - 1)
    add(other, RANDOM_STEPS - 1)
    go(agent, made, at)
    go(restored, other, RANDOM_STEPS + 3, seed=9)
    restored.load_state_dict(saved_and_loaded(agent))
    assert restored.elites == agent.elites
    again = empty_replay()
    add(again, at)
    sets = [rows.clone() for rows in agent.model_data.sets]
    for step in range(at + 1, until + 1):
        metrics = go(agent, made, step), go(restored, again, step)
        for name, value in metrics[0][0].items():
            assert float(value) == float(metrics[1][0][name])
        if step == at + 1 and (at + 1 - RANDOM_STEPS) % SMALL["model_every"]:
            assert sets
            assert equal(restored.model_data.sets, sets)
    assert equal(learnt(agent), learnt(restored))
    assert equal(agent.model_data.sets, restored.model_data.sets)
    assert agent.elites == restored.elites
