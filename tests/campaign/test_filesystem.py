"""Whether a folder can hold results: tried where that is possible, else read off what is told."""

import fcntl
import os
import sys
from pathlib import Path

import pytest

from tests.campaign.commands import command
from unirl_repro.campaign import filesystem, probe
from unirl_repro.campaign.filesystem import (
    GIB,
    Mount,
    Need,
    Room,
    check_locks,
    check_mount,
    check_space,
    check_use,
    mount_of,
    parse_quota,
    read_quota,
)

MOUNTS = """sysfs /sys sysfs rw 0 0
/dev/sda1 / ext4 rw,relatime 0 0
nas:/home /home nfs4 rw,local_lock=none 0 0
nas:/lab /home/the\\040lab nfs rw,nolock 0 0
first /scratch xfs rw 0 0
second /scratch lustre rw,flock 0 0
"""


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("/tmp/x", "/dev/sda1"),
        ("/home/me/unirl/results", "nas:/home"),
        ("/home/the lab/results", "nas:/lab"),
        ("/homes/me", "/dev/sda1"),
        ("/scratch/me", "second"),
    ],
)
def test_a_path_lies_on_its_deepest_and_newest_mount(path, source):
    found = mount_of(Path(path), MOUNTS)
    assert found is not None
    assert found.source == source


@pytest.mark.parametrize(
    ("kind", "options", "nodes", "expected"),
    [
        ("nfs", "rw,nolock", 1, "warning"),
        ("ext4", "rw", 1, "ok"),
        ("ext4", "rw", 2, "warning"),
        ("tmpfs", "rw", 2, "warning"),
        ("nfs4", "rw,local_lock=none", 2, "ok"),
        ("nfs", "rw,nolock", 2, "error"),
        ("nfs", "rw,local_lock=all", 2, "error"),
        ("lustre", "rw,flock", 2, "ok"),
        ("lustre", "rw,localflock", 2, "error"),
    ],
)
def test_what_other_nodes_cannot_see_or_lock_is_told(kind, options, nodes, expected):
    mount = Mount("source", Path("/"), kind, frozenset(options.split(",")))
    assert check_mount(Path("results"), mount, nodes).kind == expected


def test_a_folder_that_works_is_made_and_left_empty(tmp_path):
    assert [f.kind for f in check_use(tmp_path / "results")] == ["ok", "ok"]
    assert list((tmp_path / "results").iterdir()) == []


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "results").write_text("")
    (found,) = check_use(tmp_path / "results")
    assert found.kind == "error"
    assert str(tmp_path / "results") in found.told


def test_locks_that_do_not_hold_are_noticed(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    assert check_locks(tmp_path / "file").kind == "ok"
    monkeypatch.setattr(fcntl, "flock", lambda file, how: None)
    assert "a second process got a lock" in check_locks(tmp_path / "file").told


def test_locks_that_do_not_work_at_all_are_noticed(tmp_path, monkeypatch):
    def refuse(file: object, how: int) -> None:
        raise OSError(38, "Function not implemented")

    (tmp_path / "file").touch()
    monkeypatch.setattr(fcntl, "flock", refuse)
    assert "Function not implemented" in check_locks(tmp_path / "file").told


def test_a_file_is_locked_in_a_way_that_nfs_accepts(tmp_path, monkeypatch):
    def flock_of_nfs(file, how: int) -> None:
        if fcntl.fcntl(file, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(9, "Bad file descriptor")

    trial = tmp_path / "file"
    trial.touch()
    monkeypatch.setattr(fcntl, "flock", flock_of_nfs)
    assert "Bad file descriptor" not in check_locks(trial).told
    monkeypatch.setattr(sys, "argv", ["-c", str(trial)])
    exec(filesystem.TRY_LOCK, {})  # the other process's part
    assert probe._try_lock(trial) == "free"
    assert probe._try_lock(tmp_path / "none") == "missing"


@pytest.mark.parametrize(
    ("room", "need", "kinds"),
    [
        (Room(3 * GIB, None, 3 * GIB), Need(2 * GIB, 100), ["ok"]),
        (Room(3 * GIB, 99, 3 * GIB), Need(2 * GIB, 100), ["ok", "warning"]),
        (Room(GIB, None, GIB), Need(2 * GIB, 100), ["warning"]),
        (Room(1000, None, 1000), Need(2 * GIB, 100), ["error"]),
        (Room(0, None, GIB), Need(2 * GIB, 100), ["warning"]),
        (Room(0, None, None), Need(2 * GIB, 100), ["warning"]),
        (Room(1000, None, 1000), Need(0, 0), ["ok"]),
        (Room(None, None, None), Need(2 * GIB, 100), []),
        (Room(None, 99, None), Need(2 * GIB, 100), ["warning"]),
    ],
)
def test_room_against_need(room, need, kinds):
    assert [f.kind for f in check_space(Path("results"), "space", room, need)] == kinds


HOME = Mount("nas:/home", Path("/home"), "nfs4", frozenset())
PLAIN = """Disk quotas for user jane (uid 1000): \n
     Filesystem  blocks   quota   limit   grace   files   quota   limit   grace
     nas:/other   10     20     30       0      1     2     3       0
     nas:/home    {row}
"""


@pytest.mark.parametrize(
    ("row", "left"),
    [
        ("1000 5000 8000 0 10 100 200 0", Room(4000 * 1024, 90, 7000 * 1024)),
        ("1000 0 8000 0 10 0 0 0", Room(7000 * 1024, None, 7000 * 1024)),
        ("6000* 5000 8000 1793000000 250* 100 200 0", Room(0, 0, 2000 * 1024)),
        ("1000 0 0 0 10 0 0 0", Room(None, None, None)),
        ("1000 5000 0 0 10 0 0 0", Room(4000 * 1024, None, None)),
    ],
)
def test_what_a_quota_leaves(row, left):
    assert parse_quota(PLAIN.format(row=row), HOME) == left


LUSTRE = Mount("mds@tcp:/fs", Path("/lustre/a-very-long-name"), "lustre", frozenset())


@pytest.mark.parametrize("gap", [" ", "\n      "])
def test_a_quota_of_lustre_may_break_its_line(gap):
    told = f"/lustre/a-very-long-name{gap}[1000]  5000 0 -  10 0 0 -\n"
    assert parse_quota(told, LUSTRE) == Room(4000 * 1024, None, None)


@pytest.mark.parametrize(
    "told",
    ["", "Disk quotas for user root (uid 0): none", "nas:/home 1 of 5 GB used", "nas:/home"],
)
def test_what_is_no_table_of_quotas_says_nothing(told):
    assert parse_quota(told, HOME) is None


def test_a_quota_is_read_although_its_command_fails(tmp_path, monkeypatch):
    command(tmp_path, monkeypatch, "quota", "echo nas:/home 6000 5000 8000 0 1 0 0 0; exit 1")
    assert read_quota(HOME) == Room(0, None, 2000 * 1024)
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert read_quota(HOME) is None


def test_a_quota_command_that_hangs_is_given_up(tmp_path, monkeypatch):
    command(tmp_path, monkeypatch, "quota", "exec sleep 30")
    monkeypatch.setattr(filesystem, "PATIENCE", 0.1)
    assert read_quota(HOME) is None
