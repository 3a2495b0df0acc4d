"""The register's mistakes, and what is said of them."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from unirl_repro.analysis.claims import CONSTANTS
from unirl_repro.analysis.claims_names import called
from unirl_repro.analysis.claims_register import load_register, measured, sentence, studies
from unirl_repro.analysis.thresholds import MIN_SEEDS
from unirl_repro.config import ConfigError, load_config
from unirl_repro.deviations import DEVIATIONS

ROOT = Path(__file__).parents[2]
CONFIG = load_config(ROOT / "config.yaml")
REGISTER = load_register(CONFIG, ROOT / "paper" / "claims.yaml")
CLAIM: dict[str, Any] = {
    "document": "unified_rl",
    "where": "Table 1",
    "claim": "Better on Ant.",
    "runs": [
        {
            "study": "unified_rl_table1",
            "tasks": ["ant-100"],
            "variants": ["unified", "sac_rlpd", "mbrl"],
        }
    ],
    "test": {
        "name": "better",
        "parameters": {"ours": "unified", "than": ["sac_rlpd", "mbrl"], "margin": 0.05},
        "rule": "Above the better of {than} by more than {margin:.0%} at {significance:.0%}.",
    },
}


def load(tmp_path, claim, name="ours"):
    path = tmp_path / "claims.yaml"
    path.write_text(yaml.safe_dump({"claims": {name: claim}}))
    return load_register(CONFIG, path)


def changed(value, *path):
    claim = deepcopy(CLAIM)
    node = claim
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    return claim


def removed(*path):
    claim = changed(None, *path)
    node = claim
    for key in path[:-1]:
        node = node[key]
    del node[path[-1]]
    return claim


PARAMETERS = ("test", "parameters")
GIVEN: dict[str, Any] = {
    "name": "fails",
    "parameters": {"variant": "mbrl", "margin": 0.1, "window": [0.9, 1.0]},
}
SELECTION = {"study": "usbpo_fig2", "tasks": ["hopper-1000"], "variants": ["usbpo", "pdml"]}


def magnitude(metric, other):
    parameters = {"variant": "usbpo", "metric": metric, "beside": [other], "share": 0.2}
    runs = [{"study": "usbpo_fig3", "tasks": ["walker2d-1000"], "variants": ["usbpo"]}]
    test = {"name": "far_smaller", "parameters": parameters, "rule": "{metric} below {share}."}
    return CLAIM | {"document": "usbpo", "runs": runs, "test": test}


MISTAKES = [
    (changed("x", "wehre"), "claims.ours.wehre is not a key here. Allowed: absent, claim,"),
    (removed("where"), "claims.ours.where is missing. Add it."),
    (changed("unified", "document"), "claims.ours.document is 'unified'. Allowed: mbpo_blog,"),
    (changed("ant", "runs", 0, "tasks", 0), "claims.ours.runs[0].tasks[0] is 'ant'. Allowed: ant-"),
    (
        changed("ant-1000", "runs", 0, "tasks", 0),
        "claims.ours.runs[0].tasks[0] is 'ant-1000'. Allowed: ant-100, cartpole-200,",
    ),
    (
        changed("unified_rl_tabel1", "runs", 0, "study"),
        "claims.ours.runs[0].study is 'unified_rl_tabel1'. Allowed: alm_windows",
    ),
    (
        changed("unifeid", "runs", 0, "variants", 0),
        "claims.ours.runs[0].variants[0] is 'unifeid'. Allowed: alm,",
    ),
    (
        changed("unified_high_entropy", "runs", 0, "variants", 0),
        "claims.ours.runs[0].variants[0] is 'unified_high_entropy'. Allowed: alm, ddpg, hl, mbrl, ppo,",
    ),
    (
        changed({**SELECTION, "tasks": ["hopper-1000", "inverted_pendulum-1000"]}, "runs", 0)
        | {"document": "usbpo"},
        "claims.ours.runs[0].variants[1] is 'pdml'. Allowed: alm, cmlo, mbpo, ppo, sac, usbpo.",
    ),
    (
        magnitude("gap_min", "model_bias"),
        "claims.ours.test.parameters.metric is 'gap_min'. Allowed: delta, model_bias, model_shift",
    ),
    (
        magnitude("delta", "bias"),
        "claims.ours.test.parameters.beside[0] is 'bias'. Allowed: delta, model_bias, model_shift",
    ),
    (changed(6, "runs", 0, "seeds"), "claims.ours.runs[0].seeds is 6. Allowed: at most 5"),
    (changed([], "runs"), "claims.ours: has both or neither of runs and computed. Allowed: one"),
    (removed("test"), "claims.ours: has both or neither of test and untestable. Allowed: one"),
    (
        changed("beter", "test", "name"),
        "claims.ours.test.name is 'beter'. Allowed: above_reported,",
    ),
    (
        changed(0.1, *PARAMETERS, "margn"),
        "claims.ours.test.parameters.margn is not a key here. Allowed: margin, ",
    ),
    (
        changed(0, *PARAMETERS, "margin"),
        "claims.ours.test.parameters.margin is 0. Allowed: a number",
    ),
    (
        changed([0.0, 1.5], *PARAMETERS, "window"),
        "claims.ours.test.parameters.window[1] is 1.5. Allowed: a number of at most 1",
    ),
    (
        changed("mbrI", *PARAMETERS, "than", 1),
        "claims.ours.test.parameters.than[1] is 'mbrI'. Allowed: a variant's name",
    ),
    (
        changed("td3", *PARAMETERS, "ours"),
        "claims.ours.test.parameters.ours is 'td3'. Allowed: mbrl, sac_rlpd, unified.",
    ),
    (
        changed("By {margn:.0%}.", "test", "rule"),
        "claims.ours.test.rule names 'margn' in braces. Allowed: significance, ours, than, margin",
    ),
    (
        changed(GIVEN | {"name": "fail"}, "given"),
        "claims.ours.given.name is 'fail'. Allowed: above_reported,",
    ),
    (
        changed(GIVEN | {"parameters": GIVEN["parameters"] | {"variant": "td3"}}, "given"),
        "claims.ours.given.parameters.variant is 'td3'. Allowed: mbrl, sac_rlpd, unified.",
    ),
    (
        removed("test") | {"untestable": "x", "given": GIVEN},
        "claims.ours: has a condition (given) and no test",
    ),
    (changed(["vaml", "a2c"], "absent"), "claims.ours.absent[1] is 'a2c'. Allowed: 'mnm_approx', "),
]


@pytest.mark.parametrize(("claim", "told"), MISTAKES, ids=[told[:60] for _, told in MISTAKES])
def test_a_mistake_is_told_with_its_place_its_value_and_what_is_allowed(tmp_path, claim, told):
    with pytest.raises(ConfigError) as error:
        load(tmp_path, claim)
    assert str(error.value).startswith("claims.yaml: ")
    assert told in str(error.value)
    assert "Traceback" not in str(error.value)


def test_a_claim_without_mistakes_is_read_and_its_rule_filled_in(tmp_path):
    claim = load(tmp_path, CLAIM)["ours"]
    assert claim.variants == ["unified", "sac_rlpd", "mbrl"]
    assert claim.runs[0].seeds == 5
    expected = "Above the better of sac_rlpd and mbrl by more than 5% at 5%."
    assert sentence(claim.test, CONSTANTS) == expected
    assert sentence(claim.test, CONSTANTS, called) == expected.replace("sac_rlpd", "SAC").replace(
        "mbrl", "MBRL"
    )


def test_an_id_that_stands_twice_is_told(tmp_path):
    path = tmp_path / "claims.yaml"
    path.write_text("claims:\n  ours: {}\n  ours: {}\n")
    with pytest.raises(ConfigError, match=r"claims\.ours stands there twice"):
        load_register(CONFIG, path)


def test_an_algorithm_that_has_come_is_absent_no_more(tmp_path):
    config = CONFIG.model_copy(
        update={"variants": CONFIG.variants | {"vmbpo": CONFIG.variants["sac"]}}
    )
    path = tmp_path / "claims.yaml"
    path.write_text(yaml.safe_dump({"claims": {"ours": CLAIM | {"absent": ["vmbpo"]}}}))
    with pytest.raises(ConfigError, match=r"absent\[0\] is 'vmbpo', which config.yaml has now"):
        load_register(config, path)


def test_conditions_have_one_bound(tmp_path):
    condition = {"policy": "mbrl", "window": [0.0, 1.0]}
    claim = CLAIM | {
        "test": {
            "name": "shares",
            "parameters": {"variant": "unified", "conditions": [condition]},
            "rule": "x",
        }
    }
    with pytest.raises(ConfigError, match=r"conditions\[0\]: has both or neither of at_least"):
        load(tmp_path, claim)


def test_the_register_names_its_studies_once():
    assert len(studies(REGISTER)) == len(set(studies(REGISTER))) > 4


def test_the_studies_whose_metrics_are_needed_are_among_them():
    assert measured(REGISTER) == ["usbpo_fig3"]
    assert set(measured(REGISTER)) <= set(studies(REGISTER))


def parameters_of(*names):
    for claim in REGISTER.values():
        if claim.test is not None and claim.test.name in names:
            yield claim.test.parameters


def test_deviations_say_the_registers_numbers():
    compared = {p["margin"] for p in parameters_of("better", "no_worse", "equal", "overtaken")}
    assert compared == {0.05}
    assert "need a margin: 5% of the range" in DEVIATIONS["U17"].text
    assert {p["margin"] for p in parameters_of("learns", "fails")} == {0.1}
    assert "less than a tenth of the range" in DEVIATIONS["U19"].text
    windows = {
        tuple(p["window"]) for p in parameters_of("no_worse", "learns", "fails") if "window" in p
    }
    assert windows == {(0.0, 0.25), (0.9, 1.0)}
    bounds = {
        c["at_least"] for p in parameters_of("shares") for c in p["conditions"] if "at_least" in c
    }
    assert bounds == {0.1, 0.25, 0.5, 0.9, 0.95}
    assert {p["share"] for p in parameters_of("good_everywhere")} == {0.5}
    assert "above the middle of the printed rows' range" in DEVIATIONS["U19"].text
    assert MIN_SEEDS == 4
    assert "Fewer than four seeds" in DEVIATIONS["U17"].text


def test_the_deviation_on_usbpo_says_the_registers_numbers():
    text = DEVIATIONS["D20"].text
    assert {p["margin"] for p in parameters_of("far_better")} == {0.25}
    assert "above a quarter of the range" in text
    (asymptote,) = parameters_of("on_par")
    assert (asymptote["margin"], asymptote["window"]) == (0.05, [0.9, 1.0])
    assert "not below it by more than 5%" in text
    assert {p["share"] for p in parameters_of("far_smaller")} == {0.2}
    assert "size of Delta is less than a fifth" in text
    assert {p["share"] for p in parameters_of("around_zero")} == {0.05}
    assert "Delta's mean is within 5%" in text
    claims = [c for c in REGISTER.values() if c.document == "usbpo" and c.test is not None]
    windows = {tuple(c.test.parameters.get("window", ())) for c in claims if c.test is not None}
    assert windows == {(), (0.9, 1.0)}
    assert "final performance that over the last tenth" in text
    compared = [c.test.parameters for c in claims if c.test and "than" in c.test.parameters]
    returns = {p.get("returns", "evaluation") for p in compared}  # an asymptote has no other
    assert returns == {"evaluation"}
