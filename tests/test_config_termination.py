"""That rollouts in a model end where the task does, or the configuration is refused."""

import copy
from pathlib import Path
from typing import Any

import pytest

from unirl_repro.config import parse_config
from unirl_repro.explain import ConfigError
from unirl_repro.yamlfile import read_yaml

VALUES = read_yaml(Path(__file__).parents[1] / "config.yaml")
VARIANTS = ["mbpo", "usbpo", "cmlo", "pdml"]
RULES = {
    "halfcheetah-1000": "never",
    "hopper-1000": "hopper",
    "walker2d-1000": "walker2d",
    "ant-1000": "ant",
    "humanoid-1000": "humanoid",
    "inverted_pendulum-1000": "inverted_pendulum",
}
STUDY = "usbpo_checked"


def study_of(task: str, variant: str, **overrides: Any) -> dict[str, Any]:
    """The configuration with one more study, of one task, in which the variant has these values."""
    values = copy.deepcopy(VALUES)
    entry = values["variants"][variant]
    entry["tasks"] = dict(entry["tasks"])  # a mapping that variants share
    entry["tasks"][task] = entry["tasks"].get(task, {}) | overrides
    values["studies"][STUDY] = {
        "document": "usbpo",
        "kind": "figure",
        "place": "nowhere",
        "title": "A check",
        "tasks": [task],
        "variants": [variant],
        "seeds": 1,
    }
    values["budgets"]["usbpo"].setdefault(
        task, {"steps": 1_000, "status": "inferred", "source": "a test"}
    )
    return values


def specs(values: dict[str, Any]) -> list[Any]:
    return parse_config(values).selection(STUDY, "paper")


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("task", RULES)
def test_each_tasks_own_rule_is_accepted_and_any_other_refused(task: str, variant: str) -> None:
    (spec,) = specs(study_of(task, variant))
    assert spec.parameters.termination == RULES[task]
    for other in {"never", "hopper", "ant"} - {RULES[task]}:
        with pytest.raises(ConfigError) as caught:
            specs(study_of(task, variant, termination=other))
        message = str(caught.value)
        assert message.startswith(f"config.yaml: {variant}")
        assert f" on {task}: termination is '{other}'" in message
        assert f"Allowed: '{RULES[task]}', which is when that task ends" in message


def test_a_task_of_fixed_length_never_ends_whatever_its_environment() -> None:
    (spec,) = specs(study_of("hopper-200", "mbpo", termination="never"))
    assert spec.parameters.termination == "never"
    with pytest.raises(ConfigError, match=r"termination is 'hopper'. Allowed: 'never'"):
        specs(study_of("hopper-200", "mbpo", termination="hopper"))


def test_a_rule_that_was_forgotten_is_refused() -> None:
    values = study_of("hopper-1000", "mbpo")
    del values["variants"]["mbpo"]["tasks"]["hopper-1000"]["termination"]
    with pytest.raises(ConfigError, match=r"termination is 'never'. Allowed: 'hopper'"):
        specs(values)


def test_a_rule_that_does_not_exist_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"termination is 'hoper'.*'hopper'"):
        specs(study_of("hopper-1000", "mbpo", termination="hoper"))


def test_variants_without_a_model_to_roll_out_are_not_asked() -> None:
    values = study_of("hopper-1000", "sac")
    (spec,) = specs(values)
    assert not hasattr(spec.parameters, "termination")
