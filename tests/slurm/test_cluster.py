"""`snakemake --profile slurm`, as the user types it, on a cluster that is real: from a wrong setting to the PDF.

Each stage goes on from the one before, in one checkout: a cluster's jobs take seconds to come and go.
"""

import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.slurm.checkout import SITE, ClusterCheckout, wait_until
from tests.slurm.cluster import Cluster, missing
from tests.workflow.checkout import ROOT

pytestmark = [
    pytest.mark.skipif(bool(missing()), reason=f"SLURM is not installed: no {missing()}"),
    pytest.mark.timeout(240),
]
PYTHON = Path(sys.executable).parent
FIGURE = {"sac_rlpd/0", "sac_rlpd/1", "unified/0", "unified/1"}  # runs of unified_rl_fig2


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster.start() as cluster, pytest.MonkeyPatch.context() as patch:
        for name, value in cluster.env.items():
            patch.setenv(name, value)
        patch.setenv("PATH", str(PYTHON), prepend=":")
        yield cluster


@pytest.fixture(scope="module")
def checkout(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> ClusterCheckout:
    return ClusterCheckout.make(tmp_path_factory.mktemp("project") / "checkout")


@pytest.fixture(scope="module")
def refused(checkout: ClusterCheckout) -> subprocess.CompletedProcess[str]:
    """A partition that is not there."""
    checkout.write("profiles/slurm/site.yaml", SITE + "partition: mian\n")
    done = checkout.submit()
    checkout.write("profiles/slurm/site.yaml", SITE)
    return done


@pytest.fixture(scope="module")
def killed(refused: object, checkout: ClusterCheckout) -> set[str]:
    """Snakemake asked for one figure, and ended by SIGKILL while its runs train: which ones."""
    (checkout.folder / "hold").touch()
    with checkout.submitting("unified_rl_fig2"):
        wait_until(lambda: checkout.begun() == FIGURE, seconds=90)
    (checkout.folder / "hold").unlink()
    return checkout.begun()


@pytest.fixture(scope="module")
def foreign(killed: object, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Somebody else's job, named like ours, submitted from another folder."""
    folder = str(tmp_path_factory.mktemp("other"))
    options = ("--parsable", "--job-name=unirl_other", f"--chdir={folder}", "--mem=10")
    return cluster.call("sbatch", *options, "--wrap=sleep 600").stdout.strip()


@pytest.fixture(scope="module")
def locked(foreign: str, checkout: ClusterCheckout) -> subprocess.CompletedProcess[str]:
    """Snakemake started again as if nothing had been; and then what it says to type."""
    done = checkout.submit()
    unlocked = checkout.call("snakemake", "--unlock")
    assert unlocked.returncode == 0, unlocked.stderr
    return done


@pytest.fixture(scope="module")
def one_fails(locked: object, checkout: ClusterCheckout) -> subprocess.CompletedProcess[str]:
    """All that there is: a run is killed, one runs out of memory, and one cannot succeed."""
    return checkout.submit()


@pytest.fixture(scope="module")
def mended(one_fails: object, checkout: ClusterCheckout) -> subprocess.CompletedProcess[str]:
    """The same command, once the code of that run is mended."""
    checkout.edit("unirl_repro/agents/fragile.py", "BROKEN = True", "BROKEN = False")
    return checkout.submit()


def test_a_partition_that_is_not_there_is_named_and_nothing_is_submitted(
    refused: subprocess.CompletedProcess[str], cluster: Cluster
):
    told = refused.stdout + refused.stderr
    assert refused.returncode == 1
    assert "mian" in told
    assert "Did you mean 'main'" in told
    assert "Nothing was submitted" in told
    assert "Traceback" not in told
    assert cluster.call("squeue", "-h").stdout == ""


def test_one_figure_trains_only_its_runs(killed: set[str]):
    assert killed == FIGURE


def test_after_a_kill_it_says_what_to_type(locked: subprocess.CompletedProcess[str]):
    assert locked.returncode == 1
    assert "--unlock" in locked.stdout + locked.stderr


def test_orphans_are_cancelled_and_no_other_job(
    one_fails: subprocess.CompletedProcess[str],
    foreign: str,
    checkout: ClusterCheckout,
    cluster: Cluster,
):
    told = one_fails.stdout + one_fails.stderr
    assert "jobs that an earlier Snakemake left behind" in told
    assert cluster.call("squeue", "-h", "-o", "%i").stdout.split() == [foreign]
    for variant in ("sac_rlpd", "unified"):
        for seed in (0, 1):
            first, second, *_ = checkout.segments(variant, seed)
            assert first["reason"] == "SIGTERM"
            assert second["start_step"] == first["stop_step"] > 0


def test_a_killed_run_goes_on_with_as_much_memory_and_both_attempts_are_in_its_logs(
    one_fails: object, checkout: ClusterCheckout
):
    attempts = checkout.segments("sac_rlpd", 0)
    assert [a["reason"] for a in attempts] == ["SIGTERM", "killed", "finished"]
    assert len({a["memory_limit_mb"] for a in attempts}) == 1
    assert checkout.log("sac_rlpd", 0).count("sees GPUs: none") == 3
    assert [path.stem for path in checkout.job_logs("sac_rlpd", 0)] == [a["job"] for a in attempts]


def test_memory_is_doubled_after_out_of_memory(one_fails: object, checkout: ClusterCheckout):
    attempts = checkout.segments("sac_rlpd", 1)
    assert [a["reason"] for a in attempts] == ["SIGTERM", "killed", "finished"]
    first, second, third = (a["memory_limit_mb"] for a in attempts)
    assert (second, third) == (first, 2 * first)


def test_runs_that_learn_a_model_share_a_gpu_in_one_job(
    one_fails: object, checkout: ClusterCheckout
):
    attempts = [checkout.segments("unified", seed) for seed in (0, 1)]
    jobs = [[a["job"] for a in segments] for segments in attempts]
    assert jobs[0] == jobs[1]
    for seed in (0, 1):
        seen = checkout.log("unified", seed)
        assert seen.count("sees GPUs: 0") + seen.count("sees GPUs: 1") == 2


def test_a_fatal_run_ends_at_once_and_is_named(
    one_fails: subprocess.CompletedProcess[str], checkout: ClusterCheckout
):
    told = one_fails.stdout + one_fails.stderr
    assert one_fails.returncode == 1
    assert "1 of 5 runs of scale paper are not finished" in told
    reason = "failed at step 149: FloatingPointError: this run cannot succeed"
    assert f"walker2d-100/mbrl/seed0: {reason}" in told
    assert len(checkout.job_logs("mbrl", 0)) == 2
    assert (checkout.folder / "results/paper/figures/unified_rl_fig2.pdf").exists()


def test_the_report_is_built_and_a_second_call_finds_nothing_to_do(
    mended: subprocess.CompletedProcess[str], checkout: ClusterCheckout, cluster: Cluster
):
    assert mended.returncode == 0, mended.stdout + mended.stderr
    report = checkout.folder / "results/paper/paper.pdf"
    assert report.read_bytes().startswith(b"%PDF")
    assert len(checkout.job_logs("sac_rlpd", 0)) == 3  # of no other study is anything trained anew
    again = checkout.submit()
    assert again.returncode == 0
    assert "Nothing to be done" in again.stdout + again.stderr


def readme_commands() -> list[list[str]]:
    """What README tells to type on a cluster, in its order, without the comments."""
    section = (ROOT / "README.md").read_text().partition("## On a cluster")[2]
    block = section.partition("```sh\n")[2].partition("```")[0]
    return [shlex.split(line, comments=True) for line in block.splitlines()]


def test_the_readmes_commands_work_word_for_word(mended: object, checkout: ClusterCheckout):
    """Set-up is tested elsewhere; the site's file is the tests' own, without GPUs that are none."""
    commands = readme_commands()
    assert ["snakemake", "--profile", "slurm"] in commands
    copy = next(command for command in commands if command[0] == "cp")
    assert (ROOT / copy[1]).exists()
    checkout.write(copy[2], "container: none\n")
    ours = [rest for program, *rest in commands if program == "unirl-repro"]
    assert [rest[0] for rest in ours] == ["preflight", "plan", "status"]
    told = [checkout.call("python", "-m", "unirl_repro", *rest) for rest in ours]
    checkout.write(copy[2], SITE)
    assert [done.returncode for done in told] == [0, 0, 0], told[0].stdout + told[0].stderr
    assert "our lock in it as held" in told[0].stdout
    assert "5 runs: 5 finished" in told[2].stdout
