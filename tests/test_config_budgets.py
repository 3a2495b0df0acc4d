"""Studies with runs that only some of their tasks have, and budgets that were calibrated."""

import copy
from pathlib import Path
from typing import Any

import pytest

from unirl_repro.config import parse_config
from unirl_repro.explain import ConfigError
from unirl_repro.yamlfile import read_yaml

VALUES = read_yaml(Path(__file__).parents[1] / "config.yaml")
STUDY = "unified_rl_fig2"
MORE = "sac_rlpd@updates_per_step=2"


def with_besides(**changes: Any) -> dict[str, Any]:
    values = copy.deepcopy(VALUES)
    part = {"tasks": ["cartpole-200"], "variants": [MORE], "seeds": 3} | changes
    values["studies"][STUDY]["besides"] = [part]
    return values


def selected(values: dict[str, Any], scale: str) -> list[tuple[str, str, int]]:
    return [spec.key for spec in parse_config(values).selection(STUDY, scale)]


def test_besides_adds_runs_to_a_study_that_is_taken_whole():
    extra = [("cartpole-200", MORE, seed) for seed in range(3)]
    assert selected(with_besides(), "paper") == selected(VALUES, "paper") + extra
    assert selected(with_besides(), "smoke") == selected(VALUES, "smoke") + extra[:1]


def test_a_scale_that_takes_a_part_takes_nothing_besides():
    assert selected(with_besides(), "quick") == selected(VALUES, "quick")


def test_a_run_that_the_study_has_already_is_not_there_twice():
    assert selected(with_besides(variants=["sac_rlpd"]), "paper") == selected(VALUES, "paper")


def test_variants_besides_are_checked():
    with pytest.raises(ConfigError, match=r"besides\[0\].variants\[0\] is 'sac_rlpdd'. Allowed"):
        parse_config(with_besides(variants=["sac_rlpdd"]))


@pytest.mark.parametrize("status", ["published", "provisional"])
def test_only_an_inferred_budget_is_calibrated(status):
    values = copy.deepcopy(VALUES)
    entry = {"steps": 5, "status": "inferred", "source": "s", "calibrated_on": ["sac_rlpd"]}
    values["budgets"]["unified_rl"]["ant-100"] = entry
    budget = parse_config(values).budgets["unified_rl"]["ant-100"]
    assert budget.calibrated_on == ["sac_rlpd"]
    entry["status"] = status
    with pytest.raises(ConfigError, match=f"calibrated_on and status '{status}'. Allowed with it"):
        parse_config(values)
