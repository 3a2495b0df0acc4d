"""Files are whole or absent, whatever goes wrong while they are written."""

import errno
import json
import os

import pytest

from unirl_repro.files import sha256, write_bytes, write_json, write_text


def listing(folder):
    return sorted(path.name for path in folder.iterdir())


def test_content_arrives_and_nothing_else_is_left(tmp_path):
    write_bytes(tmp_path / "a", b"\x00\xff")
    write_text(tmp_path / "b", "naïve\n")
    write_json(tmp_path / "c", {"b": 1, "a": [0.1]})
    assert (tmp_path / "a").read_bytes() == b"\x00\xff"
    assert (tmp_path / "b").read_bytes() == "naïve\n".encode()
    assert json.loads((tmp_path / "c").read_text()) == {"a": [0.1], "b": 1}
    assert listing(tmp_path) == ["a", "b", "c"]


def test_json_is_the_same_text_for_the_same_content(tmp_path):
    write_json(tmp_path / "one", {"b": 1, "a": 2})
    write_json(tmp_path / "two", {"a": 2, "b": 1})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
def test_a_failure_leaves_the_old_file_and_no_other(tmp_path, monkeypatch, step):
    path = tmp_path / "file"
    write_bytes(path, b"old")

    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    if step == "fsync":
        monkeypatch.setattr(os, "fsync", full)
    elif step == "replace":
        monkeypatch.setattr(type(path), "replace", full)
    else:
        (tmp_path / "full").symlink_to("/dev/full")
        monkeypatch.setattr(type(path), "with_name", lambda path, name: tmp_path / "full")
    with pytest.raises(OSError, match="No space left"):
        write_bytes(path, b"new content")
    assert path.read_bytes() == b"old"
    assert listing(tmp_path) == ["file"]


def test_content_is_on_disk_before_the_name_is(tmp_path, monkeypatch):
    order: list[str] = []
    sync, rename = os.fsync, type(tmp_path).replace

    def noted_sync(handle):
        order.append("sync")
        sync(handle)

    def noted_rename(path, target):
        order.append("rename")
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", noted_sync)
    monkeypatch.setattr(type(tmp_path), "replace", noted_rename)
    write_bytes(tmp_path / "file", b"content")
    assert order == ["sync", "rename", "sync"]


def test_nan_is_refused_before_anything_is_written(tmp_path):
    write_json(tmp_path / "file", {"x": 1.0})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "file", {"x": float("nan")})
    assert json.loads((tmp_path / "file").read_text()) == {"x": 1.0}
    assert listing(tmp_path) == ["file"]


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_bytes(tmp_path / "nowhere" / "file", b"")


def test_the_hash_is_sha256():
    assert sha256(b"abc").startswith("ba7816bf8f01cfea414140de5dae2223")
