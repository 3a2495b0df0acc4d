"""The register on a folder of frames: files, costs, and what is said where a frame is missing."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.tabular_frames import study_of
from unirl_repro.analysis.claims_register import load_register, measured, studies
from unirl_repro.analysis.frames import StudyPlan, build_frame, build_metrics, load_published
from unirl_repro.campaign import claims, plan
from unirl_repro.campaign.places import Places
from unirl_repro.campaign.site import Site
from unirl_repro.cli import app
from unirl_repro.config import ConfigError, load_config

ROOT = Path(__file__).parents[2]
REGISTER = ROOT / "paper" / "claims.yaml"
CONFIG = load_config(ROOT / "config.yaml")
CLAIMS = load_register(CONFIG, REGISTER)
SITE = Site()
GPUS = Site.model_validate({"gpu": {"runs_per_gpu": 4}})


@pytest.fixture
def places(tmp_path):
    """Frames of scale quick without a run."""
    places = Places("quick", partial=True, root=tmp_path)
    for study in studies(CLAIMS):
        if not CONFIG.studies[study].has_runs:
            frame, status = study_of(study)
            places.frame(study).parent.mkdir(parents=True, exist_ok=True)
            frame.to_parquet(places.frame(study))
            places.status(study).write_text(json.dumps(status))
            continue
        specs = CONFIG.selection(study, "quick")
        budget = {spec.task.id: spec.budget for spec in specs}
        study_plan = StudyPlan(study, "quick", budget, tuple(spec.key for spec in specs))
        frame, status = build_frame(study_plan, [], load_published(study))
        places.frame(study).parent.mkdir(parents=True, exist_ok=True)
        frame.to_parquet(places.frame(study))
        places.status(study).write_text(json.dumps(status))
        if study in measured(CLAIMS):
            build_metrics(study_plan, []).to_parquet(places.metrics(study))
    return places


def test_all_claims_are_written_with_verdict_and_cost(places):
    found = claims.decide(CONFIG, places, SITE, REGISTER)
    json_path, tex_path = claims.write(found, places)
    read = json.loads(json_path.read_text())
    assert [claim["id"] for claim in read] == list(CLAIMS)
    fields = {"id", "document", "where", "claim", "test", "verdict", "scale", "runs", "cost"}
    assert all(fields <= set(claim) for claim in read)
    undecided = {"not decidable at this scale", "not tested"}
    assert {claim["verdict"] for claim in read if not claim["computed"]} == undecided
    learned = [claim for claim in read if any(CONFIG.studies[s].learned for s in claim["computed"])]
    assert {claim["verdict"] for claim in learned} == {"not decidable at this scale"}
    exact = [claim for claim in read if claim["computed"] and claim not in learned]
    computed = [claim["verdict"] for claim in exact]
    assert not undecided & set(computed)
    assert {"supported", "not supported"} <= set(computed)
    assert {claim["scale"] for claim in read} == {"quick"}
    assert r"\ClaimsTable" in tex_path.read_text()
    assert json_path.parent == places.built


def test_a_missing_frame_is_told_with_what_to_type(places):
    places.frame("unified_rl_fig3").unlink()
    with pytest.raises(ConfigError, match="snakemake -c2 claims_partial --config scale=quick"):
        claims.decide(CONFIG, places, SITE, REGISTER)


def test_missing_metrics_are_told_too(places):
    places.metrics("usbpo_fig3").unlink()
    with pytest.raises(ConfigError, match=r"usbpo_fig3_metrics.parquet is not there yet. Make it"):
        claims.decide(CONFIG, places, SITE, REGISTER)


def test_a_cost_is_that_of_the_runs_at_scale_paper():
    claim = CLAIMS["unified_rl_high_entropy_stops_sac"]
    found = claims.cost(claim, CONFIG, SITE)
    specs = [CONFIG.spec("ant-100", claim.runs[0].variants[0], seed, "paper") for seed in range(5)]
    hours = sum(spec.budget / plan.steps_per_second(spec) / 3600 for spec in specs)
    assert (found["runs"], found["core_hours"]) == (5, pytest.approx(hours))
    assert (found["gpu_hours"], found["without"]) == (0.0, [])
    assert found["speed"] == "measured"


def test_where_models_are_learned_on_gpus_runs_share_them():
    claim = CLAIMS["unified_rl_high_entropy_only_mbrl"]
    found = claims.cost(claim, CONFIG, GPUS)
    assert found["gpu_hours"] == pytest.approx(found["core_hours"] / 4)
    sac = claims.cost(CLAIMS["unified_rl_high_entropy_stops_sac"], CONFIG, GPUS)
    assert sac["gpu_hours"] == 0.0


def test_a_cost_says_what_it_leaves_out_and_a_claim_without_runs_has_none():
    assert claims.cost(CLAIMS["mnm_gym_on_par"], CONFIG, SITE)["without"] == ["mnm_approx"]
    nothing = claims.cost(CLAIMS["unified_rl_clipping_helps"], CONFIG, SITE)
    assert (nothing["runs"], nothing["core_hours"], nothing["speed"]) == (0, 0.0, None)


def test_runs_that_no_study_plans_have_a_cost_too():
    assert (
        claims.cost(CLAIMS["unified_rl_changes_to_sac_matter_little"], CONFIG, SITE)["runs"] == 60
    )


def test_provisional_lengths_are_those_of_the_budgets():
    claim = CLAIMS["unified_rl_beats_both_on_four"]
    budgets = CONFIG.budgets["unified_rl"]
    expected = [task for task in claim.tasks if budgets[task].status == "provisional"]
    assert claims.provisional(claim, CONFIG) == expected
    known = {t: b.model_copy(update={"status": "published"}) for t, b in budgets.items()}
    config = CONFIG.model_copy(update={"budgets": {"unified_rl": known}})
    assert claims.provisional(claim, config) == []


def test_the_table_on_the_screen_has_every_claim(places, capsys):
    claims.show(claims.decide(CONFIG, places, SITE, REGISTER))
    shown = "".join(capsys.readouterr().out.split())
    assert all(name in shown for name in CLAIMS)


def test_the_command_says_which_frame_is_missing(tmp_path, monkeypatch):
    for name in ("config.yaml", "paper"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["claims", "--scale", "quick"])
    assert result.exit_code == 1
    assert "results/quick/frames/unified_rl_fig2.parquet is not there yet" in result.stderr
    assert "snakemake -c2 claims --config scale=quick" in result.stderr
