"""One run that always fails: the others finish, `paper` names it, `paper_partial` does without."""

import json

from tests.workflow.checkout import Checkout

FAILS_ON_SEED_1 = """
        if self.seed == 1:
            raise ArithmeticError("seed 1 never works")
        return torch.ones("""


def test_a_failing_run_stops_neither_the_others_nor_the_partial_report(checkout: Checkout):
    checkout.edit("unirl_repro/agents/idle.py", "\n        return torch.zeros(", FAILS_ON_SEED_1)
    before = checkout.manifest("mbrl", 0)["fingerprint"]

    complete = checkout.snakemake("paper")
    told = complete.stdout + complete.stderr
    assert complete.returncode == 1
    assert "1 of 4 runs of scale smoke are not finished" in told
    assert "walker2d-100/mbrl/seed1: failed at step 0: ArithmeticError: seed 1 never works" in told
    assert "snakemake -c2 paper_partial --config scale=smoke" in told
    assert checkout.manifest("mbrl", 0)["fingerprint"] != before
    # The same failure twice is fatal: no third attempt is made. The log has both.
    log = checkout.folder / "results/smoke/runs/walker2d-100/mbrl/seed1/log.txt"
    assert log.read_text().count("ArithmeticError: seed 1 never works") == 2
    assert "an earlier attempt failed twice" not in log.read_text()

    partial = checkout.snakemake("paper_partial")
    assert partial.returncode == 0, partial.stdout + partial.stderr
    built = checkout.folder / "results" / "smoke" / "partial"
    status = json.loads((built / "frames" / "unified_rl_table1.json").read_text())
    assert status["missing"] == [{"task": "walker2d-100", "variant": "mbrl", "seed": 1}]
    # The stand-in for LaTeX makes the report of its section on what ran.
    assert "1/2" in (checkout.folder / "results" / "smoke" / "paper_partial.pdf").read_text()
    claims = json.loads((built / "claims.json").read_text())
    assert [(c["id"], c["verdict"]) for c in claims] == [
        ("unified_rl_tiny", "not decidable at this scale")
    ]
    assert claims[0]["runs"]["there"] == 1
    assert checkout.planned("paper_partial") == set()


def test_a_strict_frame_refuses_a_stale_run_and_says_what_to_type(checkout: Checkout):
    with (checkout.folder / "unirl_repro/agents/idle.py").open("a") as file:
        file.write("\nEDITED = True\n")
    arguments = ("--study", "unified_rl_table1", "--scale", "smoke")
    done = checkout.call("python", "-m", "unirl_repro", "aggregate", *arguments)
    assert done.returncode == 1
    assert "lacks 2 of 2 runs" in done.stderr
    assert "its code changed since it was trained" in done.stderr
    assert "snakemake -c2 unified_rl_table1 --config scale=smoke" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_partial_report_takes_recorded_runs_and_the_complete_one_does_not(checkout: Checkout):
    run = "walker2d-100/mbrl/seed1"
    recorded = checkout.folder / "resources" / "archive" / run
    recorded.parent.mkdir(parents=True)
    (checkout.folder / "results/smoke/runs" / run).rename(recorded)
    assert checkout.trains("paper") == {"mbrl/1"}
    assert checkout.trains("paper_partial") == set()
    arguments = ("--study", "unified_rl_table1", "--scale", "smoke", "--partial")
    done = checkout.call("python", "-m", "unirl_repro", "aggregate", *arguments)
    assert done.returncode == 0, done.stderr
    path = checkout.folder / "results/smoke/partial/frames/unified_rl_table1.json"
    status = json.loads(path.read_text())
    assert status["archive"] == [{"task": "walker2d-100", "variant": "mbrl", "seed": 1}]
    assert status["missing"] == []


def test_a_damaged_recording_stops_no_partial_report(checkout: Checkout):
    run = "walker2d-100/mbrl/seed1"
    recorded = checkout.folder / "resources" / "archive" / run
    recorded.parent.mkdir(parents=True)
    (checkout.folder / "results/smoke/runs" / run).rename(recorded)
    (recorded / "curve.parquet").write_bytes(b"")
    planning = checkout.snakemake("-n", "paper_partial")
    assert planning.returncode == 0, planning.stdout + planning.stderr
    warning = f"warning: resources/archive/{run}/curve.parquet: is not the file"
    assert planning.stderr.count(warning) == 1
