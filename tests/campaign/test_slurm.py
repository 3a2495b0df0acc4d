"""What SLURM prints, as typed answers; its commands are small scripts here."""

import uuid
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.campaign.commands import command, commands
from unirl_repro.campaign import slurm
from unirl_repro.campaign.slurm import QOS, Job, SlurmError

SINFO = """main*|up|1-00:00:00|(null)|idle|10|192000|64
main*|up|1-00:00:00|gpu:a100:4(S:0-1),shard:8(S:0,1)|mixed~|2|512000|128
old|drain|infinite|gpu:2|drained*|1|64000|16
empty|up|30:00|(null)|n/a|0|0|0
"""


def test_a_partition_is_summed_up_over_its_kinds_of_nodes(tmp_path, monkeypatch):
    merged = "main*|up|1-00:00:00|(null)|idle|12|192000+|64+"  # what it prints of itself
    commands(tmp_path, monkeypatch, sinfo={"--exact": SINFO, "": merged})
    found = slurm.partitions()
    main = found["main"]
    assert list(found) == ["main", "old", "empty"]
    assert (main.default, main.up, main.longest) == (True, True, 1440)
    assert main.gres == {"gpu:a100:4", "shard:8"}
    assert main.states == {"idle", "mixed"}
    assert (main.memory_mb, main.cpus, main.nodes) == (512000, 128, 12)
    assert (found["old"].default, found["old"].up, found["old"].longest) == (False, False, None)
    assert found["old"].states == {"drained"}
    assert found["empty"].nodes == 0


@pytest.mark.parametrize("field", ["Partition_Limit", "INVALID"])
def test_a_line_that_is_not_understood_is_named(tmp_path, monkeypatch, field):
    line = f"main|up|{field}|(null)|idle|1|1|1"
    commands(tmp_path, monkeypatch, sinfo=line, sacctmgr=f"normal|{field}|")
    with pytest.raises(SlurmError, match=f"{field}.* is not understood"):
        slurm.partitions()
    with pytest.raises(SlurmError, match=f"{field}.* is not understood"):
        slurm.all_qos()
    commands(tmp_path, monkeypatch, sinfo="main|up|infinite", squeue="slurm_load_jobs: busy")
    with pytest.raises(SlurmError, match=r"'main\|up\|infinite' is not understood"):
        slurm.partitions()
    with pytest.raises(SlurmError, match="'slurm_load_jobs: busy' is not understood"):
        slurm.jobs_of(tmp_path)


def test_settings_of_the_users_own_sinfo_do_not_change_what_is_read(tmp_path, monkeypatch):
    commands(tmp_path, monkeypatch, sinfo="$SINFO_FORMAT$SQUEUE_USERS")
    monkeypatch.setenv("SINFO_FORMAT", "%N")
    monkeypatch.setenv("SQUEUE_USERS", "other")
    assert slurm.ask("sinfo").strip() == ""


@given(st.integers(0, 400), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59))
def test_a_time_limit_in_minutes(days, hours, mins, seconds):
    whole = days * 1440 + hours * 60 + mins
    assert slurm.minutes(f"{days}-{hours:02}:{mins:02}:{seconds:02}") == whole
    assert slurm.minutes(f"{hours}:{mins:02}:{seconds:02}") == hours * 60 + mins
    assert slurm.minutes(f"{mins}:{seconds:02}") == mins


WORDS = st.text("abcdefgh019_.", min_size=1, max_size=8)
ENTRIES = st.lists(st.tuples(WORDS, st.sampled_from(["", "(S:0-1)", "(S:0,2-3)", "(IDX:0-1,3)"])))


@given(ENTRIES.filter(bool))
def test_resources_are_told_apart_although_their_sockets_hold_commas(entries):
    parts = [f"gpu:{kind}:2{sockets}" for kind, sockets in entries]
    assert slurm._gres(",".join(parts)) == parts


def test_no_resources_are_none():
    assert slurm._gres("(null)") == []


def test_which_account_of_a_cluster_goes_with_which_qos(tmp_path, monkeypatch):
    told = "Lab|normal,Long\nother|normal\n"
    commands(tmp_path, monkeypatch, sacctmgr={"cluster=one": told, "": "elsewhere|normal"})
    pairs = {("lab", "normal"), ("lab", "long"), ("other", "normal")}
    assert slurm.associations("one") == pairs


def test_what_a_qos_says_of_time_limits(tmp_path, monkeypatch):
    told = "normal||\nDay|1-00:00:00|DenyOnLimit\nlong|7-00:00:00|DenyOnLimit,PartitionTimeLimit\n"
    commands(tmp_path, monkeypatch, sacctmgr=told)
    assert slurm.all_qos() == {
        "normal": QOS(None, lifts_limit=False),
        "day": QOS(1440, lifts_limit=False),
        "long": QOS(7 * 1440, lifts_limit=True),
    }


@pytest.mark.parametrize(
    ("kind", "on"),
    [("accounting_storage/slurmdbd", True), ("accounting_storage/none", False), ("(null)", False)],
)
def test_accounting_is_on_or_off(tmp_path, monkeypatch, kind, on):
    commands(tmp_path, monkeypatch, scontrol=f"ClusterName = one\nAccountingStorageType   = {kind}")
    assert slurm.settings()["ClusterName"] == "one"
    assert slurm.has_accounting(slurm.settings()) is on


def test_jobs_of_a_folder_are_this_checkouts_and_snakemakes(tmp_path, monkeypatch):
    one, two = (f"unirl_{uuid.uuid4()}" for _ in range(2))
    rows = [
        f"7|{one}|RUNNING|{tmp_path}",
        f"8_3|{two}|PENDING|{tmp_path}",
        f"9|{one}|RUNNING|{tmp_path}/other",
        f"10|mine|RUNNING|{tmp_path}",
        f"11|unirl_driver|RUNNING|{tmp_path}",
        f"12|{one}-again|RUNNING|{tmp_path}",
        f"13|unirl_{uuid.uuid1()}|RUNNING|{tmp_path}",
    ]
    commands(tmp_path, monkeypatch, squeue="\n".join(rows))
    assert slurm.jobs_of(tmp_path) == [Job("7", one, "RUNNING"), Job("8_3", two, "PENDING")]


def test_a_folder_with_a_bar_in_its_name_is_recognised(tmp_path, monkeypatch):
    commands(tmp_path, monkeypatch, squeue=f"7|unirl_{uuid.uuid4()}|RUNNING|/home/a|b")
    assert [job.id for job in slurm.jobs_of(Path("/home/a|b"))] == ["7"]


def test_states_of_a_job_come_from_accounting_or_else_from_the_controller(tmp_path, monkeypatch):
    commands(tmp_path, monkeypatch, sacct="OUT_OF_MEMORY\nCANCELLED by 0\n")
    assert slurm.job_states("5") == {"OUT_OF_MEMORY", "CANCELLED"}
    commands(tmp_path, monkeypatch, sacct="", scontrol="JobId=5 JobState=TIMEOUT Reason=x")
    assert slurm.job_states("5") == {"TIMEOUT"}
    for name in ("sacct", "scontrol"):
        command(tmp_path, monkeypatch, name, "exit 1")
    assert slurm.job_states("5") == set()


@pytest.mark.parametrize(
    ("told", "problem"),
    [
        ("Slurmctld(primary) at one is UP", ""),
        ("Slurmctld(primary) at one is DOWN", "Slurmctld(primary) at one is DOWN"),
    ],
)
def test_whether_the_controller_answers(tmp_path, monkeypatch, told, problem):
    commands(tmp_path, monkeypatch, scontrol=told)
    assert slurm.responds() == problem


def test_a_failing_command_is_told_in_its_own_words(tmp_path, monkeypatch):
    command(tmp_path, monkeypatch, "scontrol", "echo Unable to contact controller >&2; exit 1")
    with pytest.raises(SlurmError, match="scontrol says: Unable to contact controller"):
        slurm.ask("scontrol", "ping")
    assert "Unable to contact" in slurm.responds()


def test_a_missing_command_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert slurm.missing() == list(slurm.COMMANDS)
    with pytest.raises(SlurmError, match="there is no sinfo on this machine"):
        slurm.partitions()


def test_a_command_that_never_answers_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(slurm, "PATIENCE", 0.2)
    command(tmp_path, monkeypatch, "squeue", "exec sleep 30")
    with pytest.raises(SlurmError, match=r"squeue did not answer in 0\.2 s"):
        slurm.ask("squeue")


def test_nothing_is_cancelled_without_jobs(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    slurm.cancel([])
