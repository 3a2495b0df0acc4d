"""The configuration: what the real file says, and that no mistake in it passes silently."""

import json
import re
from collections.abc import Iterator
from dataclasses import FrozenInstanceError, asdict, replace
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml

from unirl_repro.config import (
    SCALES,
    Config,
    ConfigError,
    load_config,
    parse_config,
    resolve_parameters,
)
from unirl_repro.fingerprint import identity_hash

FILE = Path(__file__).parents[1] / "config.yaml"
TEXT = FILE.read_text()
# By way of JSON: YAML's aliases would make one mistake stand in several places.
VALUES: dict[str, Any] = yaml.safe_load(TEXT)
FREE_TEXT = {"title", "citation", "source", "place", "metrics"}
MAY_BE_ABSENT = {
    "seeds",
    "episodes",
    "budgets",
    "studies",
    "tasks",
    "sigma_max",
    "variants",
    "target_entropy",
    "most_steps",
}
ANY_SIGN = ("initial_log_std", "target_entropy")
MAY_BE_ZERO = ("ppo", "entropy_coefficient")
# Studies that a small scale selects by their names.
CHOSEN = {study for scale in VALUES["scales"].values() for study in scale.get("studies") or ()}
JARGON = re.compile(r"[Ii]nput should|pydantic|validation error|instance of|ArgsKwargs")

Place = tuple[str | int, ...]


def places(
    node: Any, path: Place = (), seen: set[int] | None = None
) -> Iterator[tuple[Place, Any]]:
    """Every mapping, list and value of the file with its path; what an alias repeats, once."""
    seen = set() if seen is None else seen
    yield path, node
    if isinstance(node, dict | list) and id(node) not in seen:
        seen.add(id(node))
        below = node.items() if isinstance(node, dict) else enumerate(node)
        for key, value in below:
            yield from places(value, (*path, key), seen)


def dotted(path: Place) -> str:
    return "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in path).removeprefix(".")


def changed(path: Place, value: Any) -> Any:
    """The file's content with another value at one place."""
    copy = json.loads(json.dumps(VALUES))
    node = copy
    for part in path[:-1]:
        node = node[part]
    node[path[-1]] = value
    return copy


def wrong_values(path: Place, value: Any) -> list[Any]:
    """What may not stand in place of a value, by its kind."""
    name = next(p for p in reversed(path) if isinstance(p, str))
    absent = name in MAY_BE_ABSENT and path[0] in ("scales", "variants") and len(path) > 2
    nothing = [] if absent else [None]
    if isinstance(value, bool):
        return [*nothing, "yes", 1, []]
    if isinstance(value, int):
        zero = [] if name == "random_steps" or path[-2:] == ("rollout_schedule", 0) else [0]
        return [*nothing, *zero, -1, 1.5, str(value), True, {"a": 1}]
    if isinstance(value, float):
        free = [] if name in ANY_SIGN else [-value]
        zero = [] if name in ANY_SIGN or (path[1], name) == MAY_BE_ZERO else [0]
        return [*nothing, *free, *zero, "1e-4", True, [value]]
    if isinstance(value, str):
        typo = [] if name in FREE_TEXT else [value + "x", value.upper() + " "]
        return [*nothing, 3, True, [value], *typo]
    if isinstance(value, list):
        empty: list[Any] = [] if name in ("metrics", "besides") else [[]]
        twice = [] if name.endswith("hidden") or name == "besides" else [[*value, value[0]]]
        return [*nothing, *empty, [*value, "7"], [value], *twice]
    return [*nothing, 5, "text", [value]]


def mistakes() -> Iterator[tuple[str, Any, list[str]]]:
    """Name of a mistake, the whole file with it, and what its error has to mention."""
    for path, node in places(VALUES):
        if path:
            for wrong in wrong_values(path, node):
                where = dotted(path)
                yield f"{where} = {wrong!r}", changed(path, wrong), [where]
        if isinstance(node, dict):
            yield from wrong_keys(path, node)


def wrong_keys(path: Place, node: dict[str, Any]) -> Iterator[tuple[str, Any, list[str]]]:
    added = (*path, "bogus_key")
    yield f"{dotted(added)} added", changed(added, 1), [dotted(added)]
    for key in node:
        if (*path, key) == ("variants", "sac") or (path == ("studies",) and key not in CHOSEN):
            continue  # nothing names it, so it may have any name
        content = {(k + "z" if k == key else k): v for k, v in node.items()}
        whole = changed(path, content) if path else content
        yield f"{dotted((*path, key))} misspelt", whole, [key]


MISTAKES = list(mistakes())


def removed(*path: str) -> Any:
    copy = json.loads(json.dumps(VALUES))
    node = copy
    for part in path[:-1]:
        node = node[part]
    del node[path[-1]]
    return copy


def only(*studies: str) -> Any:
    """The file's content with some of the studies alone."""
    copy = json.loads(json.dumps(VALUES))
    for holder in (copy, copy["scales"]["quick"]):
        holder["studies"] = {k: v for k, v in holder["studies"].items() if k in studies}
    return copy


def resolved(config: Config, task: str, variant: str, scale: str) -> Any:
    """Hyper-parameters, of whichever algorithm."""
    return config.parameters(task, variant, scale)


def error_of(whole: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_config(whole)
    return str(caught.value)


def test_the_real_file_is_right():
    config = load_config(FILE)
    assert {scale: bool(config.runs(scale)) for scale in SCALES} == dict.fromkeys(SCALES, True)


def test_there_are_at_least_a_hundred_distinct_mistakes():
    distinct = {json.dumps(whole, sort_keys=True) for _, whole, _ in MISTAKES}
    assert len(distinct) >= 100
    assert json.dumps(VALUES, sort_keys=True) not in distinct


@pytest.mark.parametrize(("name", "whole", "words"), MISTAKES, ids=[m[0] for m in MISTAKES])
def test_no_mistake_passes_silently(name, whole, words):
    with pytest.raises(ConfigError) as caught:
        parse_config(whole)
    text = str(caught.value)
    assert text.startswith("config.yaml: ")
    assert all(word in text for word in words), text
    assert re.search(r"Allowed|Add it|Give each|must start with", text), text
    assert not JARGON.search(text), text


SEEDS = ("studies", "unified_rl_fig2", "seeds")
WALKER = ("variants", "sac_rlpd", "tasks", "walker2d-100")
SMOKE = ("scales", "smoke", "parameters", "sac")
VARIANTS = ("studies", "unified_rl_fig2", "variants")
THIRD_TASK = ("studies", "unified_rl_fig2", "tasks", 2)
FIG2 = "studies.unified_rl_fig2"
EXPLAINED = [
    (changed(SEEDS, [0, 1, 0]), f"{FIG2}.seeds is [0, 1, 0]. 0 stands there twice. Allowed"),
    (changed(SEEDS, [0, -1]), f"{FIG2}.seeds[1] is -1. Allowed: a number of at least 0."),
    (changed(SEEDS, [1.0]), f"{FIG2}.seeds[0] is 1.0. Allowed: a whole number."),
    (changed(SEEDS, "three"), f"{FIG2}.seeds is 'three'. Allowed: a whole number, or a list."),
    (
        changed((*WALKER, "sigma_max"), None),
        "variants.sac_rlpd.tasks.walker2d-100: std_head is 'sigmoid' and sigma_max is None. "
        "Allowed: a sigma_max with std_head 'sigmoid', and with no other.",
    ),
    (
        changed((*SMOKE, "std_head"), "exp"),
        "variants.sac_rlpd on walker2d-100 at scale smoke: std_head is 'exp' and sigma_max",
    ),
    (
        changed((*SMOKE, "learning_rate"), "3e-4"),
        "scales.smoke.parameters.sac.learning_rate is '3e-4'. Allowed: a number. "
        "YAML takes it for text: write 3.0e-4.",
    ),
    (
        changed((*SMOKE, "batch_size"), "16"),
        "sac.batch_size is '16'. Allowed: a whole number. Write it without quotes.",
    ),
    (
        changed((*SMOKE, "log_std_min"), 2.0),
        "scale smoke: log_std_min is 2.0 and log_std_max is 2.0. Allowed: a log_std_min below",
    ),
    (changed((*SMOKE, "hidden"), [16, 0]), "sac.hidden[1] is 0. Allowed: a number above 0."),
    (changed(THIRD_TASK, "waker2d-100"), f"{FIG2}.tasks[2] is 'waker2d-100'. Allowed: ant-100, "),
    (changed(THIRD_TASK, "waker2d-100"), "Did you mean 'walker2d-100'?"),
    (changed(("variants", "sac", "algorithm"), "scA"), "sac.algorithm is 'scA'. Allowed: "),
    (
        changed(("variants", "sac_rlpd", "parameters", "layer_nrm"), True),
        "sac_rlpd.parameters.layer_nrm is not a key here. Allowed: activation, batch_size, ",
    ),
    (
        changed(("variants", "sac_rlpd", "parameters", "layer_nrm"), True),
        "Did you mean 'layer_norm'?",
    ),
    (changed(VARIANTS, ["sac_rlpdd"]), f"{FIG2}.variants[0] is 'sac_rlpdd'. Allowed: alm, cmlo, "),
    (
        changed(VARIANTS, ["sac@discuont=0.9"]),
        f"{FIG2}.variants[0] (sac@discuont=0.9).discuont is not a key here.",
    ),
    (
        changed(VARIANTS, ["sac@discount=2.0"]),
        f"{FIG2}.variants[0] (sac@discount=2.0).discount is 2.0. Allowed: a number below 1.",
    ),
    (changed(VARIANTS, ["sac@discount=.9,discount=.8"]), "Allowed: each parameter once."),
    (changed(VARIANTS, ["SAC rlpd"]), "Allowed: a variant's name, with changed parameters after"),
    (
        changed(("scales", "quick", "studies", "unified_rl_fig9"), {}),
        "a key of scales.quick.studies is 'unified_rl_fig9'. Allowed: alm_windows, ",
    ),
    (
        changed(("studies", "usbpo_fig1"), VALUES["studies"]["unified_rl_fig2"]),
        "studies.usbpo_fig1 belongs to document 'unified_rl', so its name must start with",
    ),
    (
        changed(("scales", "smoke", "budgets"), {"hopper-200": 5}),
        "scales.smoke: has both episodes and budgets. Allowed: one of them. Remove the other.",
    ),
    (
        changed(("studies", "mnm_fig2", "tasks"), ["ant-100"]),
        "studies.mnm_fig2: is tabular and has tasks. Allowed: studies without runs have none.",
    ),
    (
        changed(("studies", "unified_rl_fig2", "tabular"), True),
        "studies.unified_rl_fig2: is tabular and has tasks, variants.",
    ),
    (
        removed("studies", "unified_rl_fig2", "variants"),
        "studies.unified_rl_fig2: has no variants. A study names the runs that it selects;",
    ),
    (
        changed(("scales", "quick", "studies", "mnm_fig2"), {}),
        "a key of scales.quick.studies is 'mnm_fig2'. Allowed: alm_windows,",
    ),
    (
        changed(("budgets", "usbpp"), {}),
        "budgets.usbpp is not allowed as a key. Allowed: mbpo_blog, mnm, unified_rl, usbpo.",
    ),
    (removed("scales", "quick", "compiled"), "scales.quick.compiled is missing. Add it."),
    (removed("scales", "smoke"), "scales.smoke is missing. Add it."),
    (removed("studies", "unified_rl_fig2", "kind"), f"{FIG2}.kind is missing. Add it."),
    (removed("studies"), "config.yaml: studies is missing. Add it."),
    (
        removed("budgets", "unified_rl", "ant-100"),
        "budgets.unified_rl has no 'ant-100', which a run at scale paper uses. Add it",
    ),
    (
        removed("scales", "quick", "budgets", "cartpole-200"),
        "scales.quick.budgets has no 'cartpole-200', which a run of this scale uses. There "
        "are: hopper-200, inverted_pendulum-1000. Add it",
    ),
    (VALUES | {7: 1}, "config.yaml: 7 is not a key here"),
    (
        VALUES | {"variants": VALUES["variants"] | {7: {}}},
        "variants.7 is not allowed as a key. Allowed: text.",
    ),
    (None, "config.yaml: the file is empty. Allowed: a mapping, with keys and values."),
    (["scale"], "config.yaml: the file is ['scale']. Allowed: a mapping"),
]


@pytest.mark.parametrize(("whole", "expected"), EXPLAINED, ids=[text for _, text in EXPLAINED])
def test_a_mistake_is_explained_with_its_remedy(whole, expected):
    text = error_of(whole)
    assert expected in text
    assert text.startswith("config.yaml: ")
    assert not JARGON.search(text), text


def test_one_mistake_makes_one_line():
    assert "\n" not in error_of(changed(SEEDS, "three"))
    assert "\n" not in error_of(changed((*SMOKE, "hidden"), ["a"]))


def test_two_mistakes_make_two_lines():
    assert error_of(changed(SEEDS, 0) | {"scale": "tiny"}).count("\n") == 1


@pytest.mark.parametrize(
    ("before", "line", "path"),
    [
        ("scale: quick", "scale: paper", "scale"),
        (
            "  unified_rl_fig2:\n    document",
            "  unified_rl_table1: {}",
            "studies.unified_rl_table1",
        ),
        ("    kind: figure", "    kind: figure", "studies.unified_rl_fig2.kind"),
        ("    seeds: 1\n    episodes", "    seeds: 1", "scales.smoke.seeds"),
        ("      layer_norm: true", "      layer_norm: false", "sac_rlpd.parameters.layer_norm"),
        ("  paper:\n    compiled", "  quick: {}", "scales.quick"),
    ],
)
def test_a_key_that_stands_twice_is_an_error(tmp_path, before, line, path):
    file = tmp_path / "config.yaml"
    file.write_text(TEXT.replace(before, f"{line}\n{before}", 1))
    with pytest.raises(
        ConfigError, match=rf"config\.yaml: \S*{re.escape(path)} stands there twice"
    ):
        load_config(file)


def test_the_line_of_the_second_key_is_named(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text("scale: quick\ndocuments: {}\nscale: paper\n")
    with pytest.raises(ConfigError, match=r"the second time in line 3\."):
        load_config(file)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"scale: [quick", "config.yaml: is not valid YAML: "),
        (b"scale: \xff", "config.yaml: is not text in UTF-8: "),
        (b"? [a, b]\n: 1\n", "config.yaml: is not valid YAML: "),
        (b"scale: !!python/object:os.system x", "config.yaml: is not valid YAML: "),
    ],
)
def test_a_file_that_is_no_yaml_is_an_error(tmp_path, content, expected):
    (tmp_path / "config.yaml").write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / "config.yaml")
    assert str(caught.value).startswith(expected)


def test_a_missing_file_is_an_error_with_its_path(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: cannot be read: No such file"):
        load_config(tmp_path / "nowhere.yaml")


def test_values_of_the_command_line_take_the_place_of_the_files():
    assert load_config(FILE, {**VALUES, "scale": "smoke"}).scale == "smoke"


def test_yaml_merges_are_understood(tmp_path):
    own, merged = "  unified_rl_table1:\n    document: unified_rl\n", "    <<: *whole\n"
    text = TEXT.replace(own, own.splitlines()[0] + "\n" + merged)
    file = tmp_path / "config.yaml"
    file.write_text(text.replace("  unified_rl_fig2:\n", "  unified_rl_fig2: &whole\n", 1))
    assert "<<" in file.read_text()
    assert load_config(file).studies == load_config(FILE).studies


# From configuration to runs


def test_parameters_are_resolved_in_order():
    """Default, variant, task, scale, and at last what follows the @."""
    values = only("unified_rl_fig2")
    values["studies"]["unified_rl_fig2"]["variants"] = ["sac_rlpd"]
    values["scales"]["quick"]["studies"] = {}
    values["variants"]["sac_rlpd"]["parameters"] = {"discount": 0.9, "polyak": 0.1}
    values["variants"]["sac_rlpd"]["tasks"] = {"hopper-200": {"polyak": 0.2, "batch_size": 8}}
    values["scales"]["smoke"]["parameters"] = {"sac": {"batch_size": 9, "random_steps": 10}}
    config = parse_config(values)
    got = resolved(config, "hopper-200", "sac_rlpd@random_steps=11", "smoke")
    assert (got.learning_rate, got.discount, got.polyak) == (3e-4, 0.9, 0.2)
    assert (got.batch_size, got.random_steps) == (9, 11)
    values["scales"]["smoke"]["variants"] = {"sac_rlpd": {"batch_size": 10}}
    config = parse_config(values)
    assert resolved(config, "hopper-200", "sac_rlpd", "smoke").batch_size == 10
    assert resolved(config, "hopper-200", "sac", "smoke").batch_size == 9
    other = resolved(config, "ant-100", "sac_rlpd", "paper")
    assert (other.polyak, other.batch_size) == (0.1, 256)


def test_parameters_cannot_be_edited():
    got = resolved(load_config(FILE), "ant-100", "sac", "paper")
    with pytest.raises(FrozenInstanceError):
        got.discount = 0.5


def test_yaml_lists_become_tuples():
    assert resolved(load_config(FILE), "ant-100", "sac", "smoke").hidden == (16, 16)


@pytest.mark.parametrize(
    ("override", "name", "value"),
    [
        ("discount=0.9", "discount", 0.9),
        ("layer_norm=true", "layer_norm", True),
        ("batch_size=32,std_head=softplus", "std_head", "softplus"),
        ("entropy_coefficient=0.1", "entropy_coefficient", 0.1),
        ("learning_rate=1.0e-4", "learning_rate", 1e-4),
        ("learning_rate=1e-4", "learning_rate", 1e-4),
    ],
)
def test_a_variant_takes_overrides_after_its_name(override, name, value):
    config = load_config(FILE)
    spec = config.spec("ant-100", f"sac@{override}", 0, "paper")
    assert getattr(spec.parameters, name) == value
    assert (spec.variant, spec.algorithm) == (f"sac@{override}", "sac")
    assert getattr(config.spec("ant-100", "sac", 0, "paper").parameters, name) != value


def test_a_study_may_name_variants_with_overrides():
    config = parse_config(changed(VARIANTS, ["sac@discount=0.9", "sac@discount=0.8"]))
    found = {
        asdict(spec.parameters)["discount"] for spec in config.selection("unified_rl_fig2", "paper")
    }
    assert found == {0.9, 0.8}


@pytest.mark.parametrize(
    "order", [("unified_rl_fig2", "mnm_fig9"), ("mnm_fig9", "unified_rl_fig2")]
)
def test_a_run_takes_the_largest_budget_that_a_study_asks_for(order):
    values = only("unified_rl_fig2")
    values["documents"]["mnm"] = {"title": "M", "citation": "m"}
    values["budgets"]["mnm"] = {"ant-100": {"steps": 900_000, "status": "inferred", "source": "s"}}
    fig2 = values["studies"]["unified_rl_fig2"]
    studies = {
        "unified_rl_fig2": fig2,
        "mnm_fig9": fig2 | {"document": "mnm", "tasks": ["ant-100"]},
    }
    config = parse_config(values | {"studies": {name: studies[name] for name in order}})
    assert config.runs("paper")["ant-100", "sac_rlpd", 0].budget == 900_000
    asked = {s.task.id: s.budget for s in config.selection("unified_rl_fig2", "paper")}
    assert asked["ant-100"] == 500_000


def test_a_run_that_two_studies_share_is_one_run():
    config = parse_config(only("unified_rl_fig2", "unified_rl_table1"))
    selected = [s.key for study in config.studies for s in config.selection(study, "paper")]
    assert len(selected) == 540
    assert len(config.runs("paper")) == 270


def test_a_budget_may_differ_for_a_variant():
    special = {"sac": {"steps": 7, "status": "inferred", "source": "s"}}
    config = parse_config(changed(("budgets", "unified_rl", "ant-100", "variants"), special))
    assert config.budget("unified_rl", "ant-100", "sac", "paper") == 7
    assert config.budget("unified_rl", "ant-100", "sac_rlpd", "paper") == 500_000


def test_a_small_scale_takes_its_selection():
    config = load_config(FILE)
    quick = config.selection("unified_rl_fig2", "quick")
    chosen = VALUES["scales"]["quick"]["studies"]["unified_rl_fig2"]
    assert {s.task.id for s in quick} == set(chosen["tasks"])
    assert {s.seed for s in quick} == set(range(chosen["seeds"]))
    assert all(s.budget == VALUES["scales"]["quick"]["budgets"][s.task.id] for s in quick)
    smoke = config.selection("unified_rl_fig2", "smoke")
    assert {s.seed for s in smoke} == {0}
    assert all(s.budget == 3 * s.task.horizon for s in smoke)
    paper = config.selection("unified_rl_fig2", "paper")
    assert len(paper) == 270
    assert all(s.compiled for s in paper)


def test_a_study_that_a_scale_does_not_name_has_no_runs_there():
    whole = removed("scales", "quick", "studies", "unified_rl_table1")
    assert parse_config(whole).selection("unified_rl_table1", "quick") == []


def test_seeds_may_be_a_list():
    config = parse_config(changed(SEEDS, [3, 7]))
    assert {s.seed for s in config.selection("unified_rl_fig2", "paper")} == {3, 7}


def test_a_run_outside_all_studies_has_a_spec():
    config = load_config(FILE)
    spec = config.spec("ant_distractors-100", "sac", 17, "paper")
    assert (spec.key, spec.budget) == (("ant_distractors-100", "sac", 17), 500_000)
    assert config.spec("humanoid-1000", "sac", 0, "smoke").budget == 1_000
    assert config.spec("humanoid-1000", "sac", 0, "quick", budget=123).budget == 123


def test_a_budget_that_is_given_takes_the_place_of_the_studies():
    config = load_config(FILE)
    spec = config.spec("cartpole-200", "sac_rlpd", 0, "quick")
    given = config.spec("cartpole-200", "sac_rlpd", 0, "quick", budget=7)
    assert spec.budget > 7 == given.budget
    assert given.identity() == spec.identity()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("ant-10", "sac", 0, "paper"), "command line: task is 'ant-10'. Allowed: ant-100, "),
        (("ant-100", "sca", 0, "paper"), "command line: variant is 'sca'. Allowed: alm, cmlo, "),
        (("ant-100", "sac@", 0, "paper"), "variant is 'sac@'. Allowed after @: parameters"),
        (("ant-100", "sac@../x=1", 0, "paper"), "Allowed after @: parameters with values"),
        (("ant-100", "sac@discuont=1", 0, "paper"), "Did you mean 'discount'?"),
        (("ant-100", "sac", -1, "paper"), "seed is -1. Allowed: a whole number of at least 0."),
        (("ant-100", "sac", True, "paper"), "seed is True."),
        (("ant-100", "sac", 0, "papr"), "scale is 'papr'. Allowed: paper, quick, smoke. Did you"),
        (("ant-100", "sac", 0, "paper", 0), "budget is 0. Allowed: a whole number of at least 1."),
        (("humanoid-1000", "sac", 0, "quick"), "scales.quick.budgets has no 'humanoid-1000'"),
        (("pusher-100", "sac", 0, "paper"), "budgets.unified_rl has no 'pusher-100'"),
    ],
)
def test_a_wrong_run_on_the_command_line_is_explained(arguments, expected):
    with pytest.raises(ConfigError) as caught:
        load_config(FILE).spec(*arguments)
    assert expected in str(caught.value)


# Variants that are made of others

PARTS = ("variants", "unified", "components")


def with_parts(sac: Any = "sac_rlpd", mbrl: Any = "mbrl", **more: Any) -> Any:
    return changed(PARTS, {"sac": sac, "mbrl": mbrl} | more)


MADE_OF = "Algorithm 'unified' is made of: sac, mbrl. Give each the name of a variant."
WRONG_PARTS = [
    (removed(*PARTS), f"variants.unified.components names []. {MADE_OF}"),
    (removed(*PARTS, "mbrl"), f"variants.unified.components names ['sac']. {MADE_OF}"),
    (with_parts(td3="sac"), f"variants.unified.components names ['mbrl', 'sac', 'td3']. {MADE_OF}"),
    (with_parts(sac="sac_rlpdd"), "variants.unified.components.sac is 'sac_rlpdd'. Allowed: "),
    (with_parts(sac="sac_rlpdd"), "Did you mean 'sac_rlpd'?"),
    (
        with_parts(sac="mbrl"),
        "unified.components.sac is 'mbrl', whose algorithm is 'mbrl'. Allowed: variants of 'sac'.",
    ),
    (
        with_parts(mbrl="unified"),
        "unified.components.mbrl is 'unified', whose algorithm is 'unified'. Allowed: variants of",
    ),
    (
        with_parts(sac="sac_rlpd@discuont=0.9"),
        "unified.components.sac (sac_rlpd@discuont=0.9).discuont is not a key here. Allowed: ",
    ),
    (
        with_parts(sac="sac_rlpd@discount=2.0"),
        "unified.components.sac (sac_rlpd@discount=2.0).discount is 2.0. Allowed: a number below",
    ),
    (with_parts(sac="sac_rlpd@"), "components.sac is 'sac_rlpd@'. Allowed"),
    (with_parts(sac=3), "variants.unified.components.sac is 3. Allowed: text."),
    (
        changed(("variants", "sac_rlpd", "components"), {"sac": "sac"}),
        "variants.sac_rlpd.components names ['sac']. Algorithm 'sac' is made of: none.",
    ),
    (
        with_parts(sac="sac_rlpd@random_steps=7"),
        "random_steps is 7 for sac and 50 for mbrl. Allowed: the same for both",
    ),
    (
        with_parts(mbrl="mbrl@replay_capacity=5000"),
        "replay_capacity is 1000000 for sac and 5000 for mbrl. Allowed: the same for both",
    ),
]


@pytest.mark.parametrize(("whole", "expected"), WRONG_PARTS, ids=[text for _, text in WRONG_PARTS])
def test_a_wrong_part_is_explained(whole, expected):
    text = error_of(whole)
    assert expected in text
    assert text.startswith("config.yaml: ")
    assert not JARGON.search(text), text


@pytest.mark.parametrize(
    "place",
    [
        ("variants", "unified", "parameters"),
        ("variants", "unified", "tasks", "ant-100"),
        ("scales", "smoke", "parameters", "unified"),
    ],
    ids=dotted,
)
def test_a_part_takes_its_parameters_from_its_variant_alone(place):
    """What would be overwritten by the variant's is refused, not dropped."""
    text = error_of(changed(place, {"sac": {"batch_size": 7}}))
    assert f"{dotted(place)}.sac" in text
    assert "components" in text


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("task", ["hopper-200", "walker2d-100", "ant-100"])
def test_parts_have_the_parameters_of_their_variants_run_alone(task, scale):
    config = load_config(FILE)
    whole = resolved(config, task, "unified", scale)
    assert whole.sac == resolved(config, task, "sac_rlpd", scale)
    assert whole.mbrl == resolved(config, task, "mbrl", scale)


def test_a_part_may_be_a_variant_with_overrides():
    config = parse_config(with_parts(sac="sac_rlpd@polyak=0.5,batch_size=9"))
    got = resolved(config, "walker2d-100", "unified", "smoke")
    assert (got.sac.polyak, got.sac.batch_size) == (0.5, 9)  # after the scale's
    assert (got.sac.sigma_max, got.sac.hidden) == (0.1, (16, 16))  # its task's, its scale's
    assert resolved(config, "walker2d-100", "sac_rlpd", "smoke").polyak == 0.005


def test_overrides_after_the_whole_are_the_wholes():
    config = load_config(FILE)
    plain, other = (
        resolved(config, "ant-100", name, "paper") for name in ("unified", "unified@num_masks=7")
    )
    assert other.num_masks == 7 != plain.num_masks
    assert (other.sac, other.mbrl) == (plain.sac, plain.mbrl)
    with pytest.raises(ConfigError, match=r"\.discount is not a key here"):
        config.spec("ant-100", "unified@discount=0.9", 0, "paper")


def test_the_figures_entropy_bonus_is_that_of_the_part_and_of_the_baseline():
    config = load_config(FILE)
    whole = resolved(config, "ant-100", "unified_high_entropy", "paper")
    alone = resolved(config, "ant-100", "sac_rlpd@entropy_coefficient=5.0", "paper")
    assert whole.sac == alone
    assert whole.mbrl == resolved(config, "ant-100", "mbrl", "paper")
    usual = resolved(config, "ant-100", "unified", "paper")
    assert whole.sac != usual.sac


@pytest.mark.parametrize("scale", SCALES)
def test_parameters_come_back_from_a_records_plain_values(scale):
    for spec in load_config(FILE).runs(scale).values():
        record = json.loads(json.dumps(spec.identity()))
        found = resolve_parameters(spec.algorithm, record["parameters"], "a record")
        assert found == spec.parameters
        assert identity_hash(replace(spec, parameters=found).identity()) == identity_hash(record)


def test_a_record_with_a_wrong_part_is_refused():
    spec = load_config(FILE).spec("ant-100", "unified", 0, "paper")
    values = json.loads(json.dumps(spec.identity()))["parameters"]
    for part, wrong in (("sac", {"discuont": 0.9}), ("sac", {"discount": 2.0}), ("mbrl", 3)):
        with pytest.raises(ConfigError, match=part):
            resolve_parameters("unified", values | {part: wrong}, "a record")


# The JSON schema, for Snakemake and editors

SCHEMA = Config.model_json_schema()


def test_the_json_schema_accepts_the_real_file():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(VALUES, SCHEMA)


def test_the_json_schema_accepts_a_part_with_overrides_and_refuses_what_is_no_name():
    jsonschema.validate(with_parts(sac="sac_rlpd@polyak=0.5,batch_size=9"), SCHEMA)
    for wrong in (3, ["sac_rlpd"], "sac_rlpd@", None):
        whole = with_parts(sac=wrong)
        assert not jsonschema.Draft202012Validator(SCHEMA).is_valid(whole), wrong
        error_of(whole)


def test_the_json_schema_refuses_every_unknown_key():
    for path, node in places(VALUES):
        if isinstance(node, dict):
            whole = changed((*path, "Bogus key"), 1)
            assert not jsonschema.Draft202012Validator(SCHEMA).is_valid(whole), dotted(path)


@pytest.mark.parametrize("variant", ["mbrl", "unified"])
def test_what_learns_from_whole_episodes_is_refused_where_they_may_end_early(variant):
    with pytest.raises(ConfigError) as caught:
        load_config(FILE).spec("hopper-1000", variant, 0, "smoke")
    text = str(caught.value)
    assert f"{variant} on hopper-1000" in text
    assert "Allowed: ant-100" in text


def test_a_buffer_too_small_for_the_first_training_is_refused():
    small = "replay_capacity=300"
    config = load_config(FILE)
    with pytest.raises(ConfigError, match="2 initial_episodes of 200 steps do not fit"):
        config.spec("hopper-200", f"mbrl@{small},initial_episodes=2", 0, "paper")
    assert config.spec("hopper-200", f"mbrl@{small},initial_episodes=1", 0, "paper").budget
    parts = with_parts(sac=f"sac_rlpd@{small}", mbrl=f"mbrl@{small},initial_episodes=10")
    assert "10 initial_episodes of 100 steps do not fit. Allowed: at least 1000." in error_of(parts)


def test_mbpos_sac_is_not_asked_to_update_between_episodes():
    values = {"termination": "never", "sac": {"update_at": "episode"}}
    with pytest.raises(ConfigError, match="update_at of the SAC inside is 'episode'") as caught:
        resolve_parameters("mbpo", values, "test")
    assert "Allowed: 'step'" in str(caught.value)
