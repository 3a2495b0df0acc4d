"""Preflight: each thing that would make jobs fail or wait for ever is named, with what to do."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.campaign.commands import command, commands
from unirl_repro.campaign import container, image_checks, slurm_checks
from unirl_repro.campaign.finding import Finding, error, ok, text, warning
from unirl_repro.campaign.image_checks import check_image, check_torch
from unirl_repro.campaign.lockfile import LOCK, check_lock, compare, locked
from unirl_repro.campaign.preflight import preflight
from unirl_repro.campaign.probe import MARK, Answer, judge, parse
from unirl_repro.campaign.site import GPU, SITE, Build, Site
from unirl_repro.campaign.slurm import QOS, Partition, SlurmError
from unirl_repro.campaign.slurm_checks import Ask, Cluster, asks, check_cluster
from unirl_repro.config import load_config

ROOT = Path(__file__).parents[2]
CONFIG = load_config(ROOT / "config.yaml")
ACCOUNTING = {
    "AccountingStorageType": "accounting_storage/slurmdbd",
    "AccountingStorageEnforce": "associations,limits,qos,safe",
    "MinJobAge": "300 sec",
}
PROFILE = {"slurm-status-command": "squeue", "slurm-init-seconds-before-status-checks": 30}
NO_ACCOUNTING = ACCOUNTING | {"AccountingStorageType": "accounting_storage/none"}


def partition(name: str, *gres: str, longest: int | None = None) -> Partition:
    return Partition(
        name=name,
        default=name == "cpu",
        up=True,
        longest=longest,
        gres=frozenset(gres),
        states=frozenset({"idle", "drained"}),
        memory_mb=64000,
        cpus=32,
        nodes=4,
    )


def cluster(*partitions: Partition) -> Cluster:
    places = partitions or (partition("cpu"), partition("gpu", "gpu:h200:8", "gpu:a100:4"))
    pairs = {("lab", "normal"), ("lab", "long"), ("other", "normal")}
    qos = {"normal": QOS(2880, lifts_limit=False), "long": QOS(None, lifts_limit=False)}
    return Cluster({p.name: p for p in places}, ACCOUNTING, pairs, qos)


def enforcing(words: str, there: Cluster | None = None) -> Cluster:
    there = there or cluster()
    return replace(there, settings={**there.settings, "AccountingStorageEnforce": words})


def run(minutes: int = 60, memory_mb: int = 2000, gpu: bool = False) -> Ask:
    return Ask("ant-100/sac/seed0", gpu, minutes, memory_mb)


def wrong(findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.kind != "ok"]


def errors(findings: list[Finding]) -> list[Finding]:
    """Without warnings, which may well be true of the machine that tests."""
    return [finding for finding in findings if finding.kind == "error"]


def only(findings: list[Finding]) -> Finding:
    (found,) = wrong(findings)
    return found


def checked(site: Site, there: Cluster | None = None, *runs: Ask) -> list[Finding]:
    return check_cluster(there or cluster(), site, runs or (run(), run(gpu=True)), PROFILE)


# Text


def test_the_most_important_stands_at_the_very_end():
    told = text(
        [
            error("a", "worst", "mend worst"),
            ok("b", "fine"),
            warning("c", "odd", "mend odd"),
            error("d", "bad", "mend bad"),
        ]
    )
    lines = told.splitlines()
    assert lines[0] == "ok: b: fine"
    order = [lines.index(f"{kind}") for kind in ("warning: c: odd", "error: d: bad")]
    assert order == sorted(order)
    assert lines[-2:] == ["error: a: worst", "  To mend it: mend worst"]
    assert "2 errors, 1 warning:" in lines


def test_what_says_itself_what_to_do_needs_no_second_line():
    assert text([error("a", "Bad. Do this.")]).splitlines()[-1] == "error: a: Bad. Do this."


def test_where_nothing_is_wrong_the_end_says_so():
    assert text([ok("a", "b")]).splitlines()[-1] == "1 check, nothing is wrong."


# SLURM


@pytest.mark.parametrize(
    "site",
    [
        Site(),
        Site(account="lab", partition="cpu", qos="long", gpu=GPU(partition="gpu", type="h200")),
        Site(account="LAB", qos="Long", partition="cpu,gpu"),
        Site(gpu=GPU(partition="gpu")),
    ],
)
def test_what_the_cluster_has_is_in_order(site):
    assert wrong(checked(site)) == []


@pytest.mark.parametrize(
    ("site", "told", "mend"),
    [
        (Site(partition="cpus"), "partition is 'cpus'", "Did you mean 'cpu'?"),
        (Site(partition="cpu,gpus"), "partition is 'gpus'", "Did you mean 'gpu'?"),
        (
            Site(partition="cpu", gpu=GPU(partition="gup")),
            "gpu.partition is 'gup'",
            "set gpu.partition in profiles/slurm/site.yaml. Allowed: cpu, gpu.",
        ),
        (Site(partition="cup", gpu=GPU()), "partition is 'cup'", "Did you mean 'cpu'?"),
        (Site(account="labs"), "account is 'labs'", "Allowed: lab, other. Did you mean 'lab'?"),
        (Site(account="other", qos="long"), "qos is 'long'", "Allowed: normal."),
        (
            Site(account="lab", gpu=GPU(partition="gpu", qos="lnog")),
            "gpu.qos is 'lnog'",
            "Did you mean 'long'?",
        ),
        (
            Site(gpu=GPU(partition="gpu", type="h100")),
            "gpu.type is 'h100'; gpu has none",
            "Allowed: a100, h200. Did you mean 'h200'?",
        ),
        (Site(gpu=GPU()), "no node of cpu has a GPU", "to one that has: gpu"),
    ],
)
def test_what_the_cluster_does_not_have_is_one_error(site, told, mend):
    found = only(checked(site))
    assert found.kind == "error"
    assert told in found.told
    assert mend in found.mend


def test_no_gpu_in_the_whole_cluster():
    found = only(checked(Site(gpu=GPU()), cluster(partition("cpu"))))
    assert "remove `gpu:` from profiles/slurm/site.yaml" in found.mend


def test_gpus_without_a_type_cannot_be_asked_for_by_type():
    there = cluster(partition("cpu", "gpu:4", "shard:8"))
    assert "GPUs have no types there" in only(checked(Site(gpu=GPU(type="h200")), there)).mend
    assert wrong(checked(Site(gpu=GPU()), there)) == []


def test_a_partition_that_is_not_up():
    down = replace(partition("cpu"), up=False)
    found = only(checked(Site(), cluster(down, partition("gpu")), run()))
    assert (found.kind, found.about) == ("error", "partition")
    assert "name another one in profiles/slurm/site.yaml (gpu)" in found.mend


def test_a_partition_whose_nodes_are_all_away_is_waited_for():
    away = replace(partition("cpu"), states=frozenset({"drained", "down"}))
    found = only(checked(Site(), cluster(away), run()))
    assert found.kind == "warning"
    assert "down, drained" in found.told


def test_no_default_partition_and_none_named(monkeypatch):
    monkeypatch.delenv("SBATCH_PARTITION", raising=False)
    there = cluster(partition("long"))
    found = only(checked(Site(), there, run()))
    assert "no default one" in found.told
    assert "Allowed: long." in found.mend
    chosen = replace(there, settings=ACCOUNTING | {"JobSubmitPlugins": "lua"})
    assert wrong(checked(Site(), chosen, run())) == []
    monkeypatch.setenv("SBATCH_PARTITION", "long")
    assert wrong(checked(Site(), there, run())) == []


def test_of_hundreds_of_partitions_some_are_named():
    names = [f"p{number:03}" for number in range(300)]
    there = cluster(*(replace(partition(name), up=name != "p007") for name in names))
    mend = only(checked(Site(partition="p2999"), there, run())).mend
    assert "p019, p299. Did you mean 'p299'? There are 279 more." in mend
    assert "p020" not in mend
    assert "p020 and 279 more" in only(checked(Site(partition="p007"), there, run())).mend


def test_who_has_no_account_where_one_is_needed_learns_it():
    there = replace(cluster(), associations=set())
    assert wrong(checked(Site(), enforcing("none", there))) == []
    enforced = enforcing("associations", there)
    assert "ask the administrators for an account" in only(checked(Site(), enforced)).mend


@pytest.mark.parametrize(
    ("enforced", "account", "qos"),
    [
        ("none", "warning", None),
        ("associations", "error", None),
        ("associations,limits,safe", "error", "error"),
        ("associations,qos", "error", "error"),
    ],
)
def test_what_slurm_takes_all_the_same_stops_nobody(enforced, account, qos):
    there = enforcing(enforced)
    assert only(checked(Site(account="lba"), there)).kind == account
    found = wrong(checked(Site(account="lab", qos="lnog"), there))
    assert [finding.kind for finding in found] == ([qos] if qos else [])


def test_a_time_limit_under_the_need_and_that_its_mend_mends_it():
    there = cluster(partition("cpu", longest=120), partition("gpu", "gpu:h200:8", longest=60))
    site = Site(gpu=GPU(partition="gpu"))
    runs = (run(minutes=169), run(minutes=100, gpu=True))
    findings = wrong(checked(site, there, *runs))
    assert [f.about for f in findings] == ["time limit", "time limit of GPU jobs"]
    assert "up to 169 minutes, partition cpu allows 120" in findings[0].told
    assert "`longest_job: 120` or less" in findings[0].mend
    assert "`longest_job: 60` or less" in findings[1].mend
    mended = tuple(replace(each, minutes=60) for each in runs)
    assert wrong(checked(site, there, *mended)) == []


def test_the_limit_of_a_qos_counts_where_it_is_shorter():
    found = only(checked(Site(qos="normal"), cluster(), run(minutes=3000)))
    assert "QOS normal allows 2880" in found.told
    assert wrong(checked(Site(qos="long"), cluster(), run(minutes=3000))) == []
    short = cluster(partition("cpu", longest=60))
    assert "partition cpu allows 60" in only(checked(Site(qos="normal"), short, run(61))).told


def test_the_limit_of_a_qos_counts_where_limits_are_enforced():
    there = enforcing("associations,qos")
    assert wrong(checked(Site(qos="normal"), there, run(minutes=3000))) == []


@pytest.mark.parametrize("longest", [None, 600])
def test_a_qos_may_lift_the_limit_of_a_partition(longest):
    short = cluster(partition("cpu", longest=60))
    lifting = replace(short, qos={"long": QOS(longest, lifts_limit=True)})
    assert wrong(checked(Site(qos="Long"), lifting, run(minutes=600))) == []
    beyond = wrong(checked(Site(qos="Long"), lifting, run(minutes=601)))
    assert [f.about for f in beyond] == (["time limit"] if longest else [])


def test_of_several_partitions_the_longest_limit_counts():
    there = cluster(partition("cpu", longest=10), partition("long", longest=600))
    assert wrong(checked(Site(partition="cpu,long"), there, run(minutes=600))) == []
    assert only(checked(Site(partition="cpu,long"), there, run(minutes=601))).kind == "error"
    endless = cluster(partition("cpu", longest=10), partition("long"))
    assert wrong(checked(Site(partition="cpu,long"), endless, run(minutes=601))) == []


@pytest.mark.parametrize(("sizes", "kind"), [((64001, 2000), "warning"), ((64001, 64001), "error")])
def test_jobs_that_no_node_is_large_enough_for(sizes, kind):
    found = only(checked(Site(), cluster(), *(run(memory_mb=size) for size in sizes)))
    assert found.kind == kind
    assert "64000 MB" in found.told
    assert "ant-100/sac/seed0 for 64001 MB" in found.told


def test_of_several_partitions_the_largest_node_counts():
    there = cluster(partition("cpu"), replace(partition("large"), memory_mb=512000))
    assert wrong(checked(Site(partition="cpu,large"), there, run(memory_mb=400000))) == []


def test_no_job_is_longer_than_the_longest():
    day, short = (asks(CONFIG, "paper", Site(longest_job=n)) for n in (1440, 30))
    assert [each.minutes for each in short] == [min(30, each.minutes) for each in day]
    assert max(each.minutes for each in day) > 30


@pytest.mark.parametrize(
    ("profile", "age", "mend"),
    [
        ({}, "300 sec", "slurm-status-command: squeue"),
        (PROFILE | {"slurm-status-command": "sacct"}, "300 sec", "slurm-status-command: squeue"),
        (PROFILE, "89 sec", "slurm-init-seconds-before-status-checks: 29"),
        (PROFILE, "2 sec", "MinJobAge of 90 s or more"),
        (PROFILE, "90 sec", ""),
        ({"slurm-status-command": "squeue"}, "119 sec", "checks: 39"),
        ({"slurm-status-command": "squeue"}, "300 sec", ""),
    ],
)
@pytest.mark.parametrize(("settings", "kind"), [(ACCOUNTING, "warning"), (NO_ACCOUNTING, "error")])
def test_snakemake_must_hear_of_a_jobs_end(profile, age, mend, settings, kind):
    there = Cluster({}, settings | {"MinJobAge": age})
    found = slurm_checks.check_status(there, profile)
    assert found.kind == (kind if mend else "ok")
    assert mend in found.mend


def test_an_account_means_nothing_without_accounting():
    there = replace(cluster(), settings=NO_ACCOUNTING, associations=None)
    assert (
        only(checked(Site(account="lab"), there)).mend
        == "leave `account` out of profiles/slurm/site.yaml"
    )


# Lock


def test_every_line_of_the_lock_is_understood():
    lines = [n for n in (ROOT / LOCK).read_text().splitlines() if n and n[0] not in " #"]
    both = locked("\n".join(lines), "cpu") | locked("\n".join(lines), "cuda")
    names = {line.partition("==")[0] for line in lines if "; sys_platform == 'win32'" not in line}
    assert set(both) == {name.lower().replace(".", "-").replace("_", "-") for name in names}


LOCKED = """# comment
Typing_Extensions==4.0.0 \\
    --hash=sha256:0
scipy==1.17.1 ; python_full_version < '3.8' \\
scipy==1.18.1 ; python_full_version >= '3.8' \\
pyreadline3==3.5.6 ; sys_platform == 'win32' \\
nvidia-cufft==12.0 ; extra == 'cuda' and (sys_platform == 'linux') \\
torch==2.13.0 ; extra == 'cuda' \\
torch==2.13.0+cpu ; extra == 'cpu'
"""


@pytest.mark.parametrize(
    ("target", "torch", "others"),
    [("cpu", "2.13.0+cpu", {}), ("cuda", "2.13.0+cu130", {"nvidia-cufft": "12.0"})],
)
def test_each_build_of_torch_has_its_own_lines(target, torch, others):
    have = {"typing-extensions": "4.0.0", "scipy": "1.18.1", "torch": torch} | others
    wanted = locked(LOCKED, target)
    assert set(wanted) == set(have)
    assert compare(wanted, have, target).kind == "ok"


def test_what_differs_from_the_lock_is_named():
    have = {"scipy": "1.17.1", "torch": "2.13.0", "unlocked": "1"}
    found = compare(locked(LOCKED, "cpu"), have, "cpu")
    assert found.kind == "warning"
    assert "scipy 1.17.1 (locked: 1.18.1)" in found.told
    assert "typing-extensions none (locked: 4.0.0)" in found.told
    assert "torch 2.13.0 (locked: 2.13.0+cpu)" in found.told
    assert "unlocked" not in found.told
    assert found.mend.endswith("make setup TORCH=cpu")


def test_a_lock_that_is_gone_is_an_error(tmp_path):
    assert check_lock(tmp_path).kind == "error"


# Container


def test_no_image_is_looked_for_where_none_is_used(monkeypatch):
    monkeypatch.setattr(container, "why_not", lambda build=None: "Apptainer is missing. Install.")
    assert check_image(Site(container="none"), ROOT).kind == "ok"


@pytest.mark.parametrize("name", ["build", "other.sif"])
def test_a_machine_without_apptainer_is_told_so(tmp_path, monkeypatch, name):
    monkeypatch.setattr(container, "why_not", lambda build=None: "Apptainer is missing. Install.")
    found = check_image(Site(container=name), tmp_path)
    assert found == error("container", "Apptainer is missing. Install.")


def test_what_stands_in_the_way_of_a_build_counts_only_where_one_is_needed(tmp_path, monkeypatch):
    monkeypatch.setattr(container, "why_not", lambda build=None: "No ids. Ask." if build else "")
    assert check_image(Site(), tmp_path) == error("container", "No ids. Ask.")
    assert "no such image" in check_image(Site(container="other.sif"), tmp_path).told


def test_an_image_that_was_named_must_be_there(tmp_path, monkeypatch):
    monkeypatch.setattr(container, "why_not", lambda build=None: "")
    found = check_image(Site(container="other.sif"), tmp_path)
    assert found.kind == "error"
    assert "other.sif: no such image" in found.told
    assert check_image(Site(), tmp_path).told.endswith("will be built")


def test_an_image_for_another_lock_is_built_anew_or_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(container, "why_not", lambda build=None: "")
    monkeypatch.setattr(container, "label", lambda *image: "0123456789abcdef-cpu")
    (tmp_path / "containers").mkdir()
    shutil.copy(ROOT / "containers" / "unirl.def", tmp_path / "containers")
    shutil.copy(ROOT / LOCK, tmp_path)
    for name in ("containers/unirl.sif", "other.sif"):
        (tmp_path / name).touch()
    assert check_image(Site(), tmp_path).told.endswith("will be built")
    found = check_image(Site(container="other.sif"), tmp_path)
    assert found.kind == "error"
    assert "was built for another lock" in found.told
    assert "unirl-repro container build" in found.told
    label = container.wanted_label(tmp_path, "cpu")
    monkeypatch.setattr(container, "label", lambda *image: label)
    assert check_image(Site(container="other.sif"), tmp_path).kind == "ok"
    assert check_image(Site(build=Build(torch="cuda")), tmp_path).told.endswith("will be built")
    assert "is there" in check_image(Site(build=Build(torch="cpu")), tmp_path).told


@pytest.mark.parametrize(
    ("site", "torch", "mend"),
    [
        (Site(build=Build(torch="cpu")), "2.13.0", "`build: {torch: cuda}`"),
        (Site(build=Build(torch="cuda")), "2.13.0+cpu", ""),
        (Site(container="none"), "2.13.0+cpu", "make setup TORCH=cuda"),
        (Site(container="none"), "2.13.0+cu130", ""),
        (Site(container="other.sif"), "2.13.0+cpu", ""),
    ],
)
def test_a_torch_without_cuda_is_of_no_use_to_gpu_jobs(monkeypatch, site, torch, mend):
    monkeypatch.setattr(image_checks, "installed", lambda: {"torch": torch})
    found = check_torch(site)
    assert found.kind == ("error" if mend else "ok")
    assert mend in found.mend


# From a compute node

SEEN = {
    "host": "n1",
    "checkout": "yes",
    "python": "yes",
    "where": "/lab/.venv",
    "problem": "",
    "torch": "2.13.0",
    "cuda": True,
    "in_image": False,
    "lock": "held",
    "gpus": "0",
}


def test_the_job_answers_among_all_that_a_node_prints():
    told = f'Welcome to n1\n{MARK}host n1\nlmod: x\n{MARK}report {{"lock": "held"}}\n'
    assert parse(told) == {"host": "n1", "lock": "held"}


def test_an_answer_that_was_cut_is_named():
    with pytest.raises(SlurmError, match=r"only this arrived: 'report {\"lock\": \"he'"):
        parse(f'{MARK}host n1\n{MARK}report {{"lock": "he')


def test_a_node_that_sees_everything():
    assert wrong(judge(Answer(SEEN), gpu=True, final=True)) == []


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        ({"host": "n1"}, "does not see this checkout"),
        ({"host": "n1", "checkout": "yes"}, "the node does not see /"),
        ({"host": "n1", "checkout": "yes", "python": "yes"}, "stopped there: no libpython"),
        (SEEN | {"problem": "no torch"}, "torch cannot be imported from /lab/.venv: no torch"),
        (SEEN | {"problem": "no fuse", "in_image": True}, "a container does not run there"),
        (SEEN | {"lock": "missing"}, "does not see a file of the results folder"),
        (SEEN | {"lock": "free"}, "two nodes could train the same run"),
        (SEEN | {"lock": "not supported"}, "not supported"),
        (SEEN | {"gpus": ""}, "was given no GPU"),
        (SEEN | {"cuda": False}, "torch 2.13.0 cannot use it"),
        ({}, "a job of one minute did not run to its end: no libpython"),
    ],
)
def test_what_a_node_lacks_is_one_error(seen, told):
    found = only(
        judge(Answer(seen, "no libpython\nsrun: error: task 0: exit 1"), gpu=True, final=True)
    )
    assert found.kind == "error"
    assert told in found.told


def test_before_the_image_is_built_nothing_is_said_of_torch_and_the_gpu():
    assert wrong(judge(Answer(SEEN | {"cuda": False}), gpu=True, final=False)) == []


# Everything

SETTINGS = "\n".join(f"{key} = {value}" for key, value in ACCOUNTING.items())
SLURM: dict[str, str | dict[str, str]] = {
    "sbatch": "",
    "srun": "",
    "squeue": "",
    "scancel": "",
    "scontrol": {
        "ping": "Slurmctld(primary) at one is UP",
        "config": SETTINGS,
    },
    "sinfo": "cpu*|up|2:00:00|(null)|idle|4|64000|32",
    "sacctmgr": {"associations": "lab|normal", "qos": "normal|1-00:00:00|"},
}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in ("profiles", "requirements.lock", "containers"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


def test_on_a_cluster_all_that_is_wrong_is_found_at_once(checkout, monkeypatch):
    commands(checkout, monkeypatch, **SLURM)
    monkeypatch.setattr(image_checks, "installed", lambda: {"torch": "2.13.0+cpu"})
    site = Site(account="lba", partition="cpu", gpu=GPU(partition="gpu"), container="none")
    found = errors(preflight(CONFIG, "paper", site, checkout))
    assert [f.about for f in found] == ["account", "time limit", "GPU partition", "torch"]
    assert found[0].mend.endswith("Did you mean 'lab'?")
    assert f"`longest_job: 120` or less in {SITE}" in found[1].mend
    mended = Site(account="lab", longest_job=120, container="none")
    assert not errors(preflight(CONFIG, "paper", mended, checkout))


def test_without_slurm_everything_else_is_checked(checkout, monkeypatch):
    monkeypatch.setenv("PATH", str(checkout))
    findings = preflight(CONFIG, "smoke", Site(), checkout)
    found = only(errors(findings))
    assert found.about == "SLURM"
    assert "snakemake -c2" in found.mend
    assert {"results folder", "locks", "space", "lock", "container"} <= {f.about for f in findings}


def test_a_controller_that_is_away_ends_the_checks_of_the_cluster(checkout, monkeypatch):
    down = {"scontrol": "Slurmctld(primary) at one is DOWN"}
    commands(checkout, monkeypatch, **(SLURM | down))
    found = only(errors(preflight(CONFIG, "smoke", Site(container="none"), checkout)))
    assert "at one is DOWN" in found.told


def test_accounting_that_does_not_answer_stops_nobody(checkout, monkeypatch):
    commands(checkout, monkeypatch, **SLURM)
    command(checkout, monkeypatch, "sacctmgr", "echo Connection refused >&2; exit 1")
    findings = preflight(CONFIG, "smoke", Site(container="none"), checkout)
    assert not errors(findings)
    (found,) = [f for f in findings if f.about == "account"]
    assert found.kind == "warning"
    assert "Connection refused" in found.told


def test_answers_that_are_not_understood_stop_nobody(checkout, monkeypatch):
    commands(checkout, monkeypatch, **(SLURM | {"sinfo": "cpu*|up|sometimes|(null)|idle|4|1|32"}))
    findings = preflight(CONFIG, "smoke", Site(container="none"), checkout)
    assert not errors(findings)
    assert "'sometimes' is no time limit" in next(f.told for f in findings if f.about == "SLURM")


def test_gpus_that_no_torch_can_use_are_refused_where_runs_ask_for_them(checkout, monkeypatch):
    commands(checkout, monkeypatch, **(SLURM | {"sinfo": "cpu*|up|infinite|gpu:2|idle|4|64000|32"}))
    monkeypatch.setattr(image_checks, "installed", lambda: {"torch": "2.13.0+cpu"})
    site = Site(gpu=GPU(), container="none")
    monkeypatch.setattr("unirl_repro.campaign.plan.device", lambda spec, site: "cpu")
    assert not errors(preflight(CONFIG, "smoke", site, checkout))
    monkeypatch.setattr("unirl_repro.campaign.plan.device", lambda spec, site: "cuda")
    assert only(errors(preflight(CONFIG, "smoke", site, checkout))).about == "torch"


def test_results_of_another_version_are_refused(checkout, monkeypatch):
    commands(checkout, monkeypatch, **SLURM)
    (checkout / "results").mkdir()
    (checkout / "results" / "format.json").write_text('{"format": 0}')
    found = only(errors(preflight(CONFIG, "smoke", Site(container="none"), checkout)))
    assert found.about == "results folder"
    assert "another version of this project" in found.told


def test_the_job_is_told_where_to_look_and_withdrawn_when_it_waits_too_long(checkout, monkeypatch):
    commands(checkout, monkeypatch, **(SLURM | {"squeue": "PENDING, Priority"}))
    command(checkout, monkeypatch, "srun", 'echo "$@" > srun.txt; exec sleep 30')
    command(checkout, monkeypatch, "scancel", 'echo "$@" > scancel.txt')
    monkeypatch.chdir(checkout)
    site = Site(account="lab", partition="cpu", container="none")
    found = only(errors(preflight(CONFIG, "smoke", site, checkout, probe=True, patience=0.5)))
    assert "not done within 0.5 s; SLURM says: PENDING, Priority" in found.told
    asked = (checkout / "srun.txt").read_text().split()
    assert {"--account=lab", "--partition=cpu", "--time=2"} <= set(asked)
    assert "--name=preflight_" in (checkout / "scancel.txt").read_text()
    assert not list((checkout / "results").glob(".preflight*"))


def test_checkout_and_results_may_lie_on_two_file_systems(checkout, monkeypatch):
    commands(
        checkout,
        monkeypatch,
        **(SLURM | {"lfs": "scratch 9 5 8 - 1 0 0 -"}),
    )
    (checkout / "elsewhere").mkdir()
    (checkout / "results").symlink_to(checkout / "elsewhere")
    table = checkout / "mounts"
    table.write_text(f"home {checkout} ext4 rw 0 0\nscratch {checkout}/elsewhere lustre rw 0 0\n")
    monkeypatch.setattr("unirl_repro.campaign.preflight.MOUNTS", table)
    findings = preflight(CONFIG, "smoke", Site(container="none"), checkout)
    told = {finding.told: finding.kind for finding in findings if finding.about == "file system"}
    assert list(told.values()) == ["warning", "ok"]
    assert list(told)[1].endswith("elsewhere (lustre)")
    assert [f.kind for f in findings if f.about == "quota"] == ["error"]
