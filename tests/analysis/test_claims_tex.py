"""The claims as LaTeX."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.analysis.claim_frames import examples
from unirl_repro.analysis.claims import INCONCLUSIVE, NOT_SUPPORTED, NOT_TESTED, SUPPORTED
from unirl_repro.analysis.claims_register import load_register
from unirl_repro.analysis.claims_tex import tex
from unirl_repro.config import load_config

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def found():
    return examples(load_register(load_config(ROOT / "config.yaml"), ROOT / "paper/claims.yaml"))


def macros(found):
    return dict(re.findall(r"\\newcommand\{\\Claims(\w+)\}\{(\d+)\}", tex(found)))


def test_each_verdict_is_counted(found):
    counts = macros(found)
    verdicts = [claim["verdict"] for claim in found]
    names = ("Supported", "NotSupported", "Inconclusive", "NotTested")
    kinds = (SUPPORTED, NOT_SUPPORTED, INCONCLUSIVE, NOT_TESTED)
    assert [int(counts[n]) for n in names] == [verdicts.count(v) for v in kinds]
    assert min(int(counts[n]) for n in names) > 0
    assert int(counts["Total"]) == len(found)
    assert (counts["PrintedAgainst"], int(counts["Printed"]) > 4) == ("1", True)
    assert int(counts["Provisional"]) == sum(bool(claim["provisional"]) for claim in found)


def test_each_claim_has_a_row_and_a_rule(found):
    text = tex(found).replace(r"\allowbreak{}", "").replace(r"\_", "_")
    for claim in found:
        name = claim["id"].removeprefix(claim["document"] + "_")
        assert text.count(rf"\texttt{{{name}}}, ") == 1
        assert text.count(rf"\item[\texttt{{{name}}}]") == 1


def row(found, name, **changes):
    """The cells of one claim."""
    claim = next(c for c in found if c["id"] == name) | changes
    line = next(line for line in tex([claim]).splitlines() if line.startswith(r"\texttt"))
    return line.removesuffix(r" \\").split(" & ")


def test_a_row_has_verdict_seeds_numbers_and_cost(found):
    name = "unified_rl_beats_both_on_four"
    number = {
        **{"what": "ant-100", "unit": "normalised return", "num_seeds": 5, "verdict": SUPPORTED},
        **{
            "exact": False,
            "effect": 0.123,
            "low": 0.1,
            "high": 0.146,
            "p_for_holm": 0.0123,
            "p_against_holm": 1.0,
        },
    }
    worse = number | {
        "what": "hopper-200",
        "verdict": NOT_SUPPORTED,
        "effect": -0.001,
        "num_seeds": 4,
    }
    cells = row(found, name, numbers=[number, worse, number, number], verdict=NOT_SUPPORTED)
    assert cells[1] == r"not supported\newline\emph{printed: support}"
    assert cells[2] == "4--5"
    assert cells[3].startswith(
        r"hopper-200: $0.00$ $[0.10, 0.15]$, $p=0.012$\newline ant-100: $0.12$"
    )
    assert cells[3].endswith("and 2 more")
    assert cells[4] == r"$\approx$1{,}234"


def test_marks_show_recorded_and_short_runs_and_what_a_cost_leaves_out(found):
    name = "unified_rl_highest_average"
    claim = next(c for c in found if c["id"] == name)
    runs = claim["runs"] | {"archive": 1, "other_code": 1, "short": [{}]}
    cost = {"runs": 5, "core_hours": 3.6, "gpu_hours": 0.0, "speed": "measured", "without": ["alm"]}
    cells = row(found, name, runs=runs, cost=cost)
    assert cells[2] == r"5$^\dagger$$^\ddagger$$^\S$"
    assert cells[4] == "4+"


def test_what_is_not_measured_has_dashes(found):
    name = "unified_rl_clipping_helps"
    free: dict[str, Any] = {
        "runs": 0,
        "core_hours": 0.0,
        "gpu_hours": 0.0,
        "speed": None,
        "without": [],
    }
    assert row(found, name, cost=free)[1:] == ["not tested", "--", "--", "--"]


def test_an_infinite_ratio_is_shown_as_such(found):
    name = "unified_rl_data_to_level"
    claim = next(c for c in found if c["id"] == name)
    number = claim["numbers"][0] | {"effect": "inf", "low": 1.0, "high": "inf"}
    shown = row(found, name, numbers=[number])[3]
    assert r"Ant: Unified RL against SAC: $\infty$ --" in shown


def test_the_other_reading_of_the_update_time_is_shown(found):
    name = "unified_rl_overhead"
    claim = next(c for c in found if c["id"] == name)
    number = claim["numbers"][0] | {"also": {"if_the_time_is_one_update_s": 11.2}}
    assert row(found, name, numbers=[number])[3].endswith("; by the other reading $11.2$")


def test_no_id_of_a_task_or_variant_is_shown_and_what_is_not_tested_says_no_test(found):
    text = tex(found).replace(r"\allowbreak{}", "").replace(r"\_", "_")
    ids = re.findall(r"\b[a-z]\w+-\d{2,}\b|(?<!\w)(?:sac_rlpd|mbrl|sac_forced)\b", text)
    assert ids == []
    assert r"\item[\texttt{clipping_helps}] No test: it would take runs of MBRL" in text


def test_each_comparison_of_a_claim_has_a_name_of_its_own(found):
    for claim in found:
        names = [number["what"] for number in claim["numbers"]]
        assert len(set(names)) == len(names)
