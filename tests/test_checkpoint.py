"""The checkpoint directory by itself: rings that wrap, litter, records gone bad."""

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unirl_repro.checkpoint import Checkpoint, DamagedError, Store
from unirl_repro.replay import Replay


def store_at(folder: Path) -> Store:
    store = Store(folder)
    store.lock("a test")
    return store


def add(replay: Replay, count: int) -> None:
    for _ in range(count):
        value = torch.tensor([float(replay.added)])
        replay.add(value, -value, replay.added / 2, value + 1, replay.added % 7 == 0)


def restored(checkpoint: Checkpoint, capacity: int) -> Replay:
    replay, start = Replay(capacity, 1, 1), checkpoint.replay_start
    for batch in checkpoint.replay:
        replay.restore(start, batch)
        start += len(batch.reward)
    return replay


def save(store: Store, replay: Replay, step: int) -> None:
    store.append([{"env_step": step}])
    store.save(Checkpoint(step, {"x": torch.tensor(step)}, {"segments": []}), replay)


@settings(max_examples=30, deadline=None)
@given(capacity=st.integers(1, 30), batches=st.lists(st.integers(0, 45), min_size=1, max_size=5))
def test_a_ring_comes_back_however_often_it_wrapped(tmp_path_factory, capacity, batches):
    folder = tmp_path_factory.mktemp("ring")
    store, replay = store_at(folder), Replay(capacity, 1, 1)
    for step, count in enumerate(batches, start=1):
        add(replay, count)
        save(store, replay, step)
    store.close()
    checkpoint, problems = Store(folder).load()
    assert not problems
    assert checkpoint is not None
    assert checkpoint.step == len(batches)
    back = restored(checkpoint, capacity)
    if replay.added:
        assert back.added == replay.added
    for ours, theirs in zip(back.rows(*kept(replay)), replay.rows(*kept(replay)), strict=True):
        assert torch.equal(ours, theirs)


def kept(replay: Replay) -> tuple[int, int]:
    return max(0, replay.added - replay.capacity), replay.added


def test_a_bad_older_record_stops_no_run_and_loses_no_file(tmp_path, capsys):
    store, replay = store_at(tmp_path), Replay(100, 1, 1)
    for step in (1, 2):
        add(replay, 5)
        save(store, replay, step)
    older = tmp_path / "step-000000000002.json"
    older.write_text(older.read_text().replace("replay", "repley", 1))
    add(replay, 5)
    save(store, replay, 3)
    assert "does not match its checksum" in capsys.readouterr().out
    store.close()
    checkpoint, _ = Store(tmp_path).load()
    assert checkpoint is not None
    assert checkpoint.step == 3
    assert restored(checkpoint, 100).added == 15


def test_what_a_killed_process_was_writing_is_swept_away(tmp_path):
    store = store_at(tmp_path)
    save(store, Replay(10, 1, 1), 1)
    store.close()
    (tmp_path / ".step-000000000002.pt.4242").write_bytes(b"half")
    (tmp_path / "step-000000000002.pt").write_bytes(b"without its record")
    (tmp_path / "replay-000000000000-000000000009.pt").write_bytes(b"of nobody")
    store = store_at(tmp_path)
    store.load()
    save(store, Replay(10, 1, 1), 3)
    store.close()
    left = {path.name for path in tmp_path.iterdir()}
    steps = {f"step-00000000000{n}.{kind}" for n in (1, 3) for kind in ("pt", "json")}
    assert left == steps | {"lock", "progress.jsonl"}


@pytest.mark.parametrize("content", ["", "{", "\x00\x00"])
def test_a_status_that_cannot_be_read_counts_for_nothing(tmp_path, content, capsys):
    store = store_at(tmp_path)
    (tmp_path / "status.json").write_text(content)
    assert store.status() == {}
    assert "status.json cannot be read" in capsys.readouterr().out


def test_rows_after_the_checkpoint_are_cut_and_rows_before_it_are_guarded(tmp_path):
    store = store_at(tmp_path)
    save(store, Replay(10, 1, 1), 1)
    store.append([{"env_step": 2}])
    store.close()
    store = store_at(tmp_path)
    store.load()
    assert [row["env_step"] for row in store.rows()] == [1]
    store.close()
    progress = tmp_path / "progress.jsonl"
    progress.write_text(progress.read_text().replace("1", "3"))
    assert json.loads(progress.read_text()) == {"env_step": 3}
    with pytest.raises(DamagedError, match="every checkpoint is damaged"):
        Store(tmp_path).load()
