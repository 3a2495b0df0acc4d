"""What an edit makes stale, seen through Snakemake's own plans: by meaning, never by file times."""

import json
import shutil

from tests.workflow.checkout import Checkout

LOSS = "loss = (alpha * log_prob - q).mean()"
IDLE = "return torch.zeros(len(obs), self.action_dim)"


def test_a_finished_experiment_leaves_nothing_to_do(checkout: Checkout):
    assert checkout.planned() == set()


def test_editing_sacs_loss_makes_exactly_the_runs_that_use_it_stale(checkout: Checkout):
    checkout.edit("unirl_repro/agents/sac.py", LOSS, LOSS.replace("-", "+"))
    assert checkout.trains() == {"sac_rlpd/0", "unified/0"}


def test_comments_docstrings_and_figures_make_no_run_stale(checkout: Checkout):
    checkout.edit("unirl_repro/agents/sac.py", LOSS, f"{LOSS}  # a remark\n\n")
    for module in ("agents/sac", "loop", "replay", "envs/gym", "figures/unified_rl_fig2"):
        text = (checkout.folder / f"unirl_repro/{module}.py").read_text()
        assert text.startswith('"""')
        checkout.write(f"unirl_repro/{module}.py", text.replace('"""', '"""Reworded. ', 1))
    assert checkout.planned() == set()


def test_editing_a_figure_costs_the_figure_and_the_report(checkout: Checkout):
    with (checkout.folder / "unirl_repro/figures/unified_rl_fig2.py").open("a") as file:
        file.write("\nEDITED = True\n")
    jobs = {job.partition(":")[0] for job in checkout.planned()}
    numbers = "Write the report's numbers, tasks, deviations and environment"  # figures' too
    assert jobs == {"Draw unified_rl_fig2", numbers, "Set the report"}


def test_new_lines_on_shared_pages_make_nothing_stale(checkout: Checkout):
    entry = '"idle": Algorithm('
    new = '"other": Algorithm("unirl_repro.agents.other", "Other", SACParameters),\n    '
    checkout.edit("unirl_repro/registry.py", entry, new + entry)
    with (checkout.folder / "unirl_repro/hyperparameters.py").open("a") as file:
        file.write("\n\n@dataclass(frozen=True)\nclass OtherParameters:\n    size: int = 1\n")
    checkout.edit("config.yaml", "  unified: {", "  other: {algorithm: other}\n  unified: {")
    checkout.call("python", "-m", "unirl_repro", "schema")
    assert checkout.planned() == set()


def test_a_changed_hyper_parameter_makes_its_variant_stale(checkout: Checkout):
    changed = "{algorithm: sac, parameters: {polyak: 0.5}}"
    checkout.edit("config.yaml", "sac_rlpd: {algorithm: sac}", f"sac_rlpd: {changed}")
    assert checkout.trains() == {"sac_rlpd/0"}


def test_a_larger_budget_extends_runs_from_where_they_stopped(checkout: Checkout):
    checkout.edit("config.yaml", "walker2d-100: 100}", "walker2d-100: 200}")
    assert checkout.trains() == {"sac_rlpd/0", "unified/0", "mbrl/0", "mbrl/1"}
    manifest = "results/smoke/runs/walker2d-100/mbrl/seed0/run.json"
    done = checkout.snakemake(manifest)
    assert done.returncode == 0, done.stderr
    steps = [(s["start_step"], s["stop_step"]) for s in checkout.manifest("mbrl")["segments"]]
    assert steps == [(0, 100), (100, 200)]


def test_without_snakemakes_records_a_stale_run_is_still_found_and_trained_once(
    checkout: Checkout,
):
    shutil.rmtree(checkout.folder / ".snakemake")
    assert checkout.planned() == set()
    checkout.edit("unirl_repro/agents/idle.py", IDLE, f"{IDLE} + 0.1")
    before = checkout.manifest("mbrl", 1)["fingerprint"]
    jobs = checkout.planned()
    assert checkout.trains() == {"mbrl/0", "mbrl/1"}
    stale = "mbrl on walker2d-100, seed 1, is stale: its code changed since it was trained"
    assert stale in jobs
    done = checkout.snakemake()
    assert done.returncode == 0, done.stdout + done.stderr
    assert checkout.manifest("mbrl", 1)["fingerprint"] != before
    assert checkout.planned() == set()


def test_without_snakemakes_records_a_run_that_is_too_short_is_extended(checkout: Checkout):
    shutil.rmtree(checkout.folder / ".snakemake")
    checkout.edit("config.yaml", "walker2d-100: 100}", "walker2d-100: 200}")
    jobs = checkout.planned()
    assert "mbrl on walker2d-100, seed 0, is stale: it stands at 100 of 200 steps" in jobs
    assert checkout.trains() == {"sac_rlpd/0", "unified/0", "mbrl/0", "mbrl/1"}


def test_recorded_runs_are_marked_anew_when_the_code_moves_on(checkout: Checkout):
    runs = checkout.folder / "results/smoke/runs/walker2d-100"
    recorded = checkout.folder / "resources/archive/walker2d-100"
    shutil.copytree(runs, recorded)
    shutil.rmtree(runs)
    frame = "results/smoke/partial/frames/unified_rl_fig2"
    done = checkout.snakemake(f"{frame}.json")
    assert done.returncode == 0, done.stdout + done.stderr
    status = json.loads((checkout.folder / f"{frame}.json").read_text())
    assert (len(status["archive"]), status["other_code"]) == (2, [])
    assert checkout.planned(f"{frame}.json") == set()

    checkout.edit("unirl_repro/agents/sac.py", LOSS, LOSS.replace("-", "+"))
    assert checkout.planned(f"{frame}.json") == {
        "Put the finished curves of unified_rl_fig2 into one frame"
    }
    done = checkout.snakemake(f"{frame}.json")
    assert done.returncode == 0, done.stdout + done.stderr
    status = json.loads((checkout.folder / f"{frame}.json").read_text())
    assert status["other_code"] == status["archive"]
    assert checkout.planned(f"{frame}.json") == set()
