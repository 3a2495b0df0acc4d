"""Unified RL: its parts are what they are alone, who acts and when, and that it can be resumed."""

import io
import itertools
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.agents.test_sac import flat_state
from tests.engine import small_spec
from unirl_repro.agents import eps
from unirl_repro.agents.unified import Unified
from unirl_repro.checkpoint import Checkpoint
from unirl_repro.config import RunSpec
from unirl_repro.envs.tasks import TASKS
from unirl_repro.loop import Trainer
from unirl_repro.replay import Batch, Replay
from unirl_repro.rng import Keys

HORIZON, RANDOM, NEVER = 10, 20, 10**9
TASK = replace(TASKS["cartpole-200"], horizon=HORIZON)
CPU = torch.device("cpu")
GAPS = {f"gap_{name}" for name in ("min", "q25", "median", "q75", "max")}


def short(variant: str, **changes: Any) -> Any:
    """A run of episodes of ten steps, evaluated in the middle of some of them."""
    if variant == "unified":
        parts: Any = small_spec("unified").parameters
        sac, mbrl = (replace(getattr(parts, n), random_steps=RANDOM) for n in ("sac", "mbrl"))
        parameters = replace(parts, sac=sac, mbrl=mbrl, **changes)
    else:
        alone: Any = small_spec(variant).parameters
        parameters = replace(alone, random_steps=RANDOM, **changes)
    spec = small_spec(variant, evaluate_every=25)
    return replace(spec, task=TASK, parameters=parameters)


def trained(spec: RunSpec, steps: int) -> tuple[Any, list[dict]]:
    rows: list[dict] = []
    trainer = Trainer(spec, CPU, rows.extend)
    for _ in range(steps):
        trainer.advance()
    return trainer, rows


def curve(rows: list[dict]) -> pd.DataFrame:
    return pd.DataFrame([row for row in rows if "kind" in row])


def metrics(rows: list[dict]) -> dict[tuple[int, str], float]:
    return {(r["env_step"], r["name"]): r["value"] for r in rows if "name" in r}


def policies(rows: list[dict]) -> list[str]:
    found = curve(rows)
    return found[found["kind"] == "train"]["policy"].tolist()


def says(monkeypatch: pytest.MonkeyPatch, proven: bool) -> None:
    monkeypatch.setattr(eps, "is_proven", lambda gaps: proven)


def assert_same_run(unified: list[dict], alone: list[dict]) -> None:
    """The same curves but for names, and all metrics of the part that acted."""
    names = ["variant", "algorithm", "policy"]
    one, other = (curve(rows).drop(columns=names) for rows in (unified, alone))
    pd.testing.assert_frame_equal(one, other, check_exact=True)
    found, expected = metrics(unified), metrics(alone)
    assert {key: found[key] for key in expected} == expected
    assert len(expected) > 20


# Its parts


@pytest.mark.parametrize(("proven", "every"), [(False, 10), (True, 1)])
def test_forced_to_choose_sac_it_is_sac_to_the_bit(proven, every, monkeypatch):
    says(monkeypatch, proven)
    unified, rows = trained(short("unified", model_free_every=every), 75)
    sac, expected = trained(short("sac_rlpd"), 75)
    assert_same_run(rows, expected)
    assert flat_state(unified.agent.sac.state_dict()) == flat_state(sac.agent.state_dict())
    assert policies(rows) == ["random"] * 2 + ["sac_forced" if proven else "sac"] * 5
    # The model and its policy have learnt from what SAC did.
    assert int(unified.agent.mbrl.state_dict()["model_adam"]["steps"]) == 6


def test_forced_to_choose_the_model_it_is_model_based_rl_to_the_bit(monkeypatch):
    says(monkeypatch, True)
    spec = short("unified", model_free_every=NEVER)
    unified, rows = trained(spec, 75)
    alone = replace(short("mbrl"), parameters=spec.parameters.mbrl)
    mbrl, expected = trained(alone, 75)
    assert_same_run(rows, expected)
    assert flat_state(unified.agent.mbrl.state_dict()) == flat_state(mbrl.agent.state_dict())
    assert policies(rows) == ["random"] * 2 + ["mbrl"] * 5
    # SAC has learnt from what the model's policy did.
    assert int(unified.agent.sac.critic_adam.steps) == 6 * HORIZON


@pytest.mark.parametrize(("proven", "every"), [(False, 10), (True, NEVER), (True, 1)])
def test_the_actions_are_those_of_the_policy_that_the_curve_names(proven, every, monkeypatch):
    says(monkeypatch, proven)
    trainer, rows = trained(short("unified", model_free_every=every), 70)
    name = policies(rows)[-1]
    acting = {"sac": trainer.agent.sac, "sac_forced": trainer.agent.sac, "mbrl": trainer.agent.mbrl}
    last = trainer.replay.rows(60, 70)
    for step in range(HORIZON):
        rng = Keys(0, "act", 6, step)("action")
        action = acting[name].act(last.obs[step : step + 1], rng, explore=True)[0]
        assert torch.equal(action, last.action[step])


# Who acts


class Told:
    """A Unified RL that learns nothing and is told what its check says."""

    def __init__(self, every: int):
        spec = short("unified", model_free_every=every)
        sizes = {"horizon": HORIZON, "keys": Keys(0, "init"), "device": CPU, "compiled": False}
        self.agent = Unified(spec.parameters, TASK.obs_dim, TASK.action_dim, **sizes)  # type: ignore[arg-type]
        for part in (self.agent.sac, self.agent.mbrl):
            part.before_episode = lambda *_: {"learnt": 1.0}  # type: ignore[method-assign]

    def choose(self, gaps: list[float]) -> tuple[str, dict[str, float]]:
        self.agent.return_gaps = lambda *_: torch.tensor(gaps)  # type: ignore[method-assign]
        found = self.agent.before_episode(None, Keys(0, "before_episode"))  # type: ignore[arg-type]
        return self.agent.policy, {name: float(value) for name, value in found.items()}


TOLD = {every: Told(every) for every in (1, 2, 3, 10)}


@given(
    every=st.sampled_from(sorted(TOLD)),
    proven=st.lists(st.one_of(st.just(True), st.booleans()), max_size=40),
)
def test_one_episode_in_so_many_is_model_free_and_forced_only_when_due(every, proven):
    told, chosen = TOLD[every], []
    told.choose([-1.0])  # the examples share an agent: a model-free episode makes it as new
    for one in proven:
        policy, found = told.choose([1.0] if one else [-1.0])
        assert (found["proven"], found["forced"]) == (one, policy == "sac_forced")
        chosen.append(policy)
    for i, policy in enumerate(chosen):
        before = chosen[max(0, i - every + 1) : i]
        due = len(before) == every - 1 and set(before) <= {"mbrl"}
        expected = ("sac_forced" if due else "mbrl") if proven[i] else "sac"
        assert policy == expected, (i, chosen)
    windows = [chosen[i : i + every] for i in range(len(chosen) - every + 1)]
    assert all(set(window) != {"mbrl"} for window in windows)


def test_the_metrics_give_the_gaps_distribution_and_what_diverged():
    nan, inf = float("nan"), float("inf")
    policy, found = TOLD[10].choose([4.0, nan, 1.0, 2.0, inf, 3.0, 0.0, -inf])
    assert policy == "sac"
    assert {name: found[name] for name in GAPS} == {
        "gap_min": 0.0,
        "gap_q25": 1.0,
        "gap_median": 2.0,
        "gap_q75": 3.0,
        "gap_max": 4.0,
    }
    assert (found["gap_diverged"], found["proven"], found["forced"]) == (3, 0, 0)


def test_where_all_rollouts_diverge_the_gaps_have_no_distribution():
    policy, found = TOLD[10].choose([float("nan")] * 3)
    assert policy == "sac"
    assert set(found) == {"learnt", "gap_diverged", "proven", "forced"}
    assert found["gap_diverged"] == 3


def test_a_run_whose_rollouts_diverge_goes_on_model_free(monkeypatch):
    monkeypatch.setattr(eps, "return_gaps", lambda *_: torch.tensor([float("nan")]))
    _, rows = trained(short("unified"), 50)
    assert policies(rows) == ["random"] * 2 + ["sac"] * 3
    assert metrics(rows)[50, "gap_diverged"] == 1


# The check


def test_the_check_rolls_both_policies_out_from_first_observations_under_each_mask(monkeypatch):
    calls = []

    def recording(*arguments: Any) -> Tensor:
        calls.append(arguments)
        return torch.ones(5)

    monkeypatch.setattr(eps, "return_gaps", recording)
    trainer, rows = trained(short("unified", num_masks=5, num_rollouts=3), 31)
    (_, (model, candidate, incumbent, start, masks, steps, _)) = calls
    agent = trainer.agent
    assert model is agent.mbrl.model
    assert steps == HORIZON
    assert start.shape == (2, 5, 3, TASK.obs_dim)
    first = {tuple(obs.tolist()) for obs in trainer.replay.rows(0, 30).obs[::HORIZON]}
    assert {tuple(obs.tolist()) for obs in start.flatten(0, 2)} == first
    assert len({tuple(row.tolist()) for row in torch.cat(masks, -1)}) == 5
    noise = torch.linspace(-1, 1, 15)[:, None]
    for policy, actor in ((candidate, agent.mbrl.actor), (incumbent, agent.sac.actor)):
        for found, expected in zip(
            policy(start[0].flatten(0, 1), noise), actor(start[0].flatten(0, 1), noise), strict=True
        ):
            torch.testing.assert_close(found, expected)
    assert metrics(rows)[30, "proven"] == 1


def test_the_check_comes_after_both_parts_have_learnt(monkeypatch):
    steps: list[list[int]] = []
    whole = Unified.return_gaps

    def recording(agent: Unified, *arguments: Any) -> Tensor:
        adams = (agent.mbrl.model_adam, agent.mbrl.actor_adam, agent.sac.critic_adam)
        steps.append([int(adam.steps) for adam in adams])
        return whole(agent, *arguments)

    monkeypatch.setattr(Unified, "return_gaps", recording)
    trained(short("unified"), 31)
    assert steps == [[1, 1, HORIZON], [2, 2, 2 * HORIZON]]


def test_a_model_that_has_not_been_trained_is_not_asked(monkeypatch):
    """SAC learns and acts once the random steps are over, the model waits for its episodes."""
    monkeypatch.setattr(eps, "is_proven", lambda gaps: True)
    spec = short("unified")
    mbrl = replace(spec.parameters.mbrl, initial_episodes=4)
    _, rows = trained(replace(spec, parameters=replace(spec.parameters, mbrl=mbrl)), 60)
    assert policies(rows) == ["random"] * 2 + ["sac_untested"] * 2 + ["mbrl"] * 2
    first = {name: min(step for step, n in metrics(rows) if n == name) for _, name in metrics(rows)}
    assert {first[name] for name in ("critic_loss", "q")} == {30}
    assert {first[name] for name in ("model_loss", "policy_loss", "proven", "gap_min")} == {50}


# Resuming, around the ends of episodes


def restored(trainer: Trainer, spec: RunSpec, rows: list[dict]) -> Trainer:
    """The same run in a trainer of its own, by way of a file."""
    file = io.BytesIO()
    replay = trainer.replay.rows(0, trainer.env_step)
    torch.save({"state": trainer.state(), "replay": list(replay)}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    other = Trainer(spec, CPU, rows.extend)
    other.restore(Checkpoint(trainer.env_step, saved["state"], {}, [Batch(*saved["replay"])]))
    return other


def test_resumed_around_each_episodes_end_it_ends_as_if_undisturbed(monkeypatch):
    """With a check that says now this, now that, so that each policy acts, also by force."""
    gaps = Unified.return_gaps

    def alternating(agent: Unified, replay: Replay, keys: Keys) -> Tensor:
        return gaps(agent, replay, keys).abs() * (1 if keys.episode % 4 else -1)

    monkeypatch.setattr(Unified, "return_gaps", alternating)
    spec, steps = short("unified", model_free_every=2), 60
    whole, expected = trained(spec, steps)
    assert set(policies(expected)) == {"random", "mbrl", "sac", "sac_forced"}
    rows: list[dict] = []
    trainer = Trainer(spec, CPU, rows.extend)
    for step in range(1, steps + 1):
        trainer.advance()
        if step >= RANDOM - 1 and step % HORIZON in (9, 0, 1):
            trainer = restored(trainer, spec, rows)
    assert rows == expected
    assert trainer.parameters_sha256() == whole.parameters_sha256()


def test_a_restored_agent_is_the_one_that_was_saved():
    told, other = Told(10), Told(10)
    for gaps in ([1.0], [1.0], [-1.0], [2.0], [2.0]):
        told.choose(gaps)
    assert told.agent.policy == "mbrl"
    other.agent.load_state_dict(told.agent.state_dict())
    assert flat_state_of(other.agent) == flat_state_of(told.agent)
    assert other.agent.policy == "mbrl"
    chosen = [[one.choose([1.0])[0] for _ in range(12)] for one in (told, other)]
    assert chosen[0] == chosen[1]
    assert [len(list(run)) for _, run in itertools.groupby(chosen[1])] == [7, 1, 4]


def flat_state_of(agent: Unified) -> list:
    return [flat_state(part.state_dict()) for part in (agent.sac, agent.mbrl)]
