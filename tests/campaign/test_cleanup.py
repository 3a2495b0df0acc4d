"""gc: what goes is what nothing needs; whatever is removed, what is left resumes and verifies."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unirl_repro.campaign import cleanup
from unirl_repro.campaign.archive import read_run
from unirl_repro.campaign.places import Places
from unirl_repro.checkpoint import Checkpoint, Store
from unirl_repro.config import load_config, parse_config
from unirl_repro.fingerprint import fingerprint
from unirl_repro.replay import Replay
from unirl_repro.run import Options, train
from unirl_repro.yamlfile import read_yaml

ROOT = Path(__file__).parents[2]
CONFIG = load_config(ROOT / "config.yaml")
SPEC = CONFIG.spec("dclaw_turn_fixed-40", "sac_rlpd", 0, "smoke")
BY_HAND = CONFIG.spec("cartpole-200", "sac", 7, "smoke")
STALE = "0123456789abcdef01234567"


def trained(spec, places, budget=None):
    spec = spec if budget is None else replace(spec, budget=budget)
    # A safe point is a checkpoint as often as the share of the time allows: there are two of them.
    options = Options(checkpoint_every=0.0)
    return train(spec, places.checkpoints, places.run(spec.key), options)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    places = Places("smoke", root=tmp_path_factory.mktemp("results"))
    trained(SPEC, places)
    assert len(list(checkpoint(places).glob("step-*.json"))) == 2
    return places.root


@pytest.fixture
def places(finished, tmp_path):
    """Results with one finished run, to be edited."""
    return Places("smoke", root=Path(shutil.copytree(finished, tmp_path / "results")))


def checkpoint(places, spec=SPEC):
    return places.checkpoints / fingerprint(spec)


def smoke_config(**values):
    content = read_yaml(ROOT / "config.yaml")
    content["scales"]["smoke"] |= values
    return parse_config(content)


def contents(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def nothing_told(text):
    raise AssertionError(text)


def make_store(folder, capacity=20, counts=(15, 10, 4)):
    """Checkpoints of a small ring: the older of the two kept names segments that the newer does not."""
    store, replay = Store(folder), Replay(capacity, 1, 1)
    store.lock("a test")
    for step, count in enumerate(counts, start=1):
        for _ in range(count):
            value = torch.tensor([float(replay.added)])
            replay.add(value, value, 0.0, value, False)
        store.append([{"env_step": step}])
        store.save(Checkpoint(step, {"x": torch.tensor(step)}, {"segments": []}), replay)
    return store


def test_of_a_finished_run_all_but_the_newest_checkpoint_goes(places):
    folder = checkpoint(places)
    older, newest = sorted(folder.glob("step-*.json"))
    expected = sum(p.stat().st_size for p in (older, older.with_suffix(".pt")))
    (removal,) = cleanup.removable(CONFIG, places, tell=nothing_told)
    assert (removal.path, removal.bytes, removal.whole) == (folder, expected, False)
    assert "dclaw_turn_fixed-40/sac_rlpd/seed0: finished" in removal.why
    before = contents(folder)
    assert cleanup.remove([removal], CONFIG, places, tell=nothing_told) == expected
    after = contents(folder)
    gone = {path.name for path in before.keys() - after.keys()}
    assert gone == {older.name, older.with_suffix(".pt").name}
    loaded, problems = Store(folder).load()
    assert loaded is not None
    assert loaded.step == SPEC.budget == int(newest.stem.removeprefix("step-"))
    assert not problems
    assert cleanup.removable(CONFIG, places, tell=nothing_told) == []


def test_after_it_a_larger_budget_still_extends_the_run(places, tmp_path):
    cleanup.remove(cleanup.removable(CONFIG, places), CONFIG, places, tell=nothing_told)
    manifest = trained(SPEC, places, 200)
    assert [s["start_step"] for s in manifest["segments"]] == [0, SPEC.budget]
    undisturbed = trained(SPEC, Places("smoke", root=tmp_path / "undisturbed"), 200)
    assert manifest["hashes"] == undisturbed["hashes"]


def test_with_finished_the_newest_goes_too_and_the_results_stay(places):
    results = contents(places.run(SPEC.key))
    total = sum(p.stat().st_size for p in checkpoint(places).iterdir() if p.name != "lock")
    (removal,) = cleanup.removable(CONFIG, places, finished=True, tell=nothing_told)
    assert (removal.bytes, removal.whole) == (total, True)
    freed = cleanup.remove([removal], CONFIG, places, finished=True, tell=nothing_told)
    assert freed == total
    assert not checkpoint(places).exists()
    assert contents(places.run(SPEC.key)) == results
    read_run(places.run(SPEC.key))


@pytest.mark.parametrize("flag", [False, True])
def test_nothing_goes_of_a_finished_run_whose_results_are_damaged(places, flag):
    (places.run(SPEC.key) / "curve.parquet").write_bytes(b"")
    told: list[str] = []
    assert cleanup.removable(CONFIG, places, finished=flag, tell=told.append) == []
    assert len(told) == 1
    assert "curve.parquet: is not the file that run.json describes" in told[0]


def test_nothing_goes_of_a_run_whose_budget_was_raised_or_that_never_finished(places):
    path = places.run(SPEC.key) / "run.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"budget_reached": SPEC.budget - 1}))
    assert cleanup.removable(CONFIG, places, finished=True, tell=nothing_told) == []
    path.unlink()
    assert cleanup.removable(CONFIG, places, finished=True, tell=nothing_told) == []


def test_older_checkpoints_stay_where_the_newest_is_damaged(places):
    newest = sorted(checkpoint(places).glob("step-*.pt"))[-1]
    removals = cleanup.removable(CONFIG, places, tell=nothing_told)
    newest.write_bytes(newest.read_bytes()[:-1])
    before = contents(checkpoint(places))
    told: list[str] = []
    assert cleanup.remove(removals, CONFIG, places, tell=told.append) == 0
    assert f"{newest.name} does not match its checksum" in told[0]
    del before[Path("lock")]
    assert before.items() <= contents(checkpoint(places)).items()


def test_checkpoints_of_a_stale_run_go_whole_and_those_of_others_stay(places):
    stale = places.checkpoints / STALE
    make_store(stale).close()
    row = {"task": "hopper-200", "variant": "sac_rlpd", "seed": 3}
    (stale / "progress.jsonl").write_text(json.dumps(row) + "\n")
    keep = contents(checkpoint(places))
    of_stale = [r for r in cleanup.removable(CONFIG, places) if r.path == stale]
    assert len(of_stale) == 1
    assert of_stale[0].whole
    assert "hopper-200/sac_rlpd/seed3: no run of today's settings and code" in of_stale[0].why
    assert cleanup.remove(of_stale, CONFIG, places, tell=nothing_told) == of_stale[0].bytes > 0
    assert not stale.exists()
    assert contents(checkpoint(places)) == keep


def test_a_run_of_today_that_no_study_asks_for_is_not_stale(tmp_path):
    places = Places("smoke", root=tmp_path)
    assert BY_HAND.key not in CONFIG.runs("smoke")
    store = make_store(checkpoint(places, BY_HAND))
    rows = dict(zip(("task", "variant", "seed"), BY_HAND.key, strict=True))
    (checkpoint(places, BY_HAND) / "progress.jsonl").write_text(json.dumps(rows) + "\n")
    store.close()
    assert cleanup.removable(CONFIG, places, tell=nothing_told) == []


def test_what_a_trainer_holds_stays_and_is_named(places):
    stale = places.checkpoints / STALE
    store = make_store(stale)
    before = contents(stale)
    removals = cleanup.removable(CONFIG, places, finished=True)
    told: list[str] = []
    freed = cleanup.remove(removals, CONFIG, places, finished=True, tell=told.append)
    assert contents(stale) == before
    assert "trained already, by a test" in told[0]
    assert len(told) == 1
    assert freed == sum(r.bytes for r in removals if r.path != stale) > 0
    store.close()
    assert cleanup.remove(removals, CONFIG, places, finished=True, tell=nothing_told) > 0
    assert not stale.exists()


@pytest.mark.parametrize("flag", [False, True])
def test_a_run_that_was_extended_and_stopped_since_it_was_listed_stays(places, flag):
    removals = cleanup.removable(CONFIG, places, finished=flag)
    longer = smoke_config(episodes=4)
    before = contents(checkpoint(places))
    told: list[str] = []
    assert cleanup.remove(removals, longer, places, finished=flag, tell=told.append) == 0
    assert "listed as 'dclaw_turn_fixed-40/sac_rlpd/seed0: finished" in told[0]
    del before[Path("lock")]
    assert before.items() <= contents(checkpoint(places)).items()


def test_a_stale_run_that_is_wanted_since_it_was_listed_stays(tmp_path):
    places = Places("smoke", root=tmp_path)
    more = smoke_config(seeds=2)
    spec = more.spec("hopper-200", "sac_rlpd", 1, "smoke")
    make_store(checkpoint(places, spec)).close()
    removals = cleanup.removable(CONFIG, places)
    told: list[str] = []
    assert len(removals) == 1
    assert cleanup.remove(removals, more, places, tell=told.append) == 0
    assert "no longer is" in told[0]
    assert Store(checkpoint(places, spec)).load()[0] is not None


SNAKEFILE = """
rule all:
    input: "results/made"
rule made:
    output: "results/made"
    shell: "touch {{output}}; {last}"
"""


def snakemake(folder, *arguments, last=""):
    (folder / "Snakefile").write_text(SNAKEFILE.format(last=last))
    command = [sys.executable, "-m", "snakemake", "-c1", "--rerun-incomplete", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode


def test_finished_runs_keep_all_that_a_killed_snakemake_may_go_back_to(places):
    """Until it was unlocked and ran to its end, as the message says."""
    home = places.root.parent
    snakemake(home, last="kill -9 $PPID")
    for cure, found in (
        ("--unlock", "a Snakemake runs here"),
        ("-q", "while it made results/made,"),
    ):
        for refused in (partial(cleanup.removable), partial(cleanup.remove, [])):
            with pytest.raises(cleanup.InUseError, match=found):
                refused(CONFIG, places, finished=True)
        assert cleanup.removable(CONFIG, places) != []
        assert snakemake(home, cure) == 0
    assert len(cleanup.removable(CONFIG, places, finished=True)) == 1


def test_only_runs_folders_count_and_links_are_not_followed(tmp_path):
    places, elsewhere = Places("smoke", root=tmp_path / "results"), tmp_path / "elsewhere"
    make_store(elsewhere).close()
    (places.checkpoints / "notes").mkdir(parents=True)
    (places.checkpoints / STALE).symlink_to(elsewhere)
    assert cleanup.removable(CONFIG, places, finished=True, tell=nothing_told) == []


def test_a_strangers_file_in_a_stale_folder_stays(tmp_path):
    places = Places("smoke", root=tmp_path)
    make_store(places.checkpoints / STALE).close()
    (places.checkpoints / STALE / "notes.txt").write_text("mine")
    cleanup.remove(cleanup.removable(CONFIG, places), CONFIG, places, tell=nothing_told)
    assert [p.name for p in (places.checkpoints / STALE).iterdir()] == ["notes.txt"]


COUNTS = st.lists(st.integers(0, 25), min_size=1, max_size=4)


@settings(max_examples=25, deadline=None)
@given(capacity=st.integers(1, 30), counts=COUNTS, whole=st.booleans(), data=st.data())
def test_cut_short_at_any_file_what_is_left_still_loads(
    tmp_path_factory, capacity, counts, whole, data
):
    """Some checkpoint, or a fresh start; never one that is named and not whole."""
    folder = tmp_path_factory.mktemp("gc") / STALE
    make_store(folder, capacity, counts).close()
    store = Store(folder)
    newest, _ = store.load()
    paths = store.files() if whole else store.spare_files()
    for path in paths[: data.draw(st.integers(0, len(paths)))]:
        path.unlink()
    loaded, problems = Store(folder).load()
    assert not problems
    assert newest is not None
    if not whole:
        assert loaded is not None
    if loaded is not None:
        assert loaded.step == newest.step
        assert sum(len(b.reward) for b in loaded.replay) == sum(
            len(b.reward) for b in newest.replay
        )


def test_a_trainer_that_waited_for_a_folder_that_is_gone_does_not_take_it(tmp_path):
    """Its lock would be on a file that no other trainer can see."""
    import fcntl

    folder = tmp_path / STALE
    make_store(folder).close()
    real = fcntl.flock

    def flock_after_the_removal(file, operation):
        shutil.rmtree(folder)
        real(file, operation)

    with pytest.MonkeyPatch.context() as patch:
        store = Store(folder)
        patch.setattr("fcntl.flock", flock_after_the_removal)
        with pytest.raises(cleanup.BusyError, match="was removed in this moment"):
            store.lock("late")
    assert not store.locked


def test_the_list_says_what_it_frees(places):
    removals = [cleanup.Removal(places.checkpoints / STALE, 3 * 2**20, "x: finished", False)] * 41
    told = cleanup.text(removals, places)
    assert told.count("x: finished") == 40
    assert "and 1 more" in told
    assert told.endswith("Together: 123 MiB of 41 runs.")
    assert cleanup.text([], places).startswith("Nothing to remove")
