"""The archive: whole runs only, the longer one stays, and today's code is held against them."""

import json
import shutil
import sys
import sysconfig
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch

from tests import engine
from unirl_repro.agents import sac
from unirl_repro.campaign import archive, conditions
from unirl_repro.campaign.archive import ArchiveError
from unirl_repro.config import load_config, resolve_parameters
from unirl_repro.files import sha256
from unirl_repro.fingerprint import identity_hash, spec_hash
from unirl_repro.hyperparameters import SACParameters
from unirl_repro.loop import Trainer

ROOT = Path(__file__).parents[2]
CONFIG = load_config(ROOT / "config.yaml")
SPEC = engine.small_spec(task="halfcheetah-100", random_steps=50, budget=300, evaluate_every=200)
assert isinstance(SPEC.parameters, SACParameters)
SAC = SPEC.parameters
PLACE = Path("halfcheetah-100", "sac", "seed0")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """One run at 300 steps and the same at 400."""
    folder = tmp_path_factory.mktemp("runs")
    found = {}
    for budget in (300, 400):
        outcome = engine.run(replace(SPEC, budget=budget), folder / "work")
        assert outcome.code == 0, outcome.error
        found[budget] = Path(shutil.copytree(folder / "work", folder / str(budget)))
    return found


@pytest.fixture
def run(runs, tmp_path):
    """A copy of the shorter run, to be edited."""
    return Path(shutil.copytree(runs[300], tmp_path / "run"))


@pytest.fixture
def recorded(runs, tmp_path):
    """An archive that holds the shorter run, to be edited."""
    archive.add(runs[300], tmp_path / "archive")
    return tmp_path / "archive"


def edit_record(directory: Path, change) -> None:
    """Change run.json, and make its hash of the spec right again."""
    record = json.loads((directory / "run.json").read_text())
    change(record)
    record["spec_hash"] = identity_hash(record["spec"])
    (directory / "run.json").write_text(json.dumps(record))


def edit_table(directory: Path, name: str, change) -> None:
    """Change a table, and make its hash right again: what recording with other code would do."""
    path = directory / f"{name}.parquet"
    table = pd.read_parquet(path)
    change(table).to_parquet(path, index=False)
    edit_record(directory, lambda r: r["hashes"].update({name: sha256(path.read_bytes())}))


def contents(directory: Path) -> dict[str, bytes]:
    return {str(p.relative_to(directory)): p.read_bytes() for p in directory.rglob("*.*")}


# Adding


def test_a_run_is_recorded_whole_and_without_the_machines_name(runs, tmp_path):
    added = archive.add(runs[300], tmp_path)
    place = tmp_path / PLACE
    assert (added.directory, added.taken) == (place, True)
    assert sorted(p.name for p in place.iterdir()) == [
        "curve.parquet",
        "metrics.parquet",
        "run.json",
    ]
    assert engine.results(place) == engine.results(runs[300])
    before, after = (json.loads((f / "run.json").read_text()) for f in (runs[300], place))
    assert "host" in before["segments"][0]
    for segment in before["segments"]:
        del segment["host"]
    assert after == before


def test_a_longer_run_takes_the_place_of_a_shorter(runs, recorded):
    added = archive.add(runs[400], recorded)
    assert added.taken
    assert "400 steps; the one before had 300" in added.message
    assert engine.results(recorded / PLACE) == engine.results(runs[400])


def test_a_shorter_run_never_takes_the_place_of_a_longer(runs, tmp_path):
    archive.add(runs[400], tmp_path)
    before = contents(tmp_path)
    added = archive.add(runs[300], tmp_path)
    assert not added.taken
    assert "kept, its 400 steps are more than 300" in added.message
    assert contents(tmp_path) == before


def test_the_same_run_again_changes_nothing(runs, recorded):
    before = contents(recorded)
    assert "recorded already" in archive.add(runs[300], recorded).message
    assert contents(recorded) == before


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"evaluate_every": 77}, "evaluate_every: 77 there, 200 here"),
        ({"parameters": {"discount": 0.5}}, "parameters.discount: 0.5 there, 0.99 here"),
        ({"parameters": {"gone": 1}}, "spec.parameters.gone is not a key here"),
    ],
)
def test_a_run_with_other_settings_is_refused_until_the_folder_is_removed(
    runs, recorded, changed, told
):
    edit_record(recorded / PLACE, lambda r: r["spec"].update(changed))
    before = contents(recorded)
    with pytest.raises(ArchiveError) as caught:
        archive.add(runs[400], recorded)
    assert told in str(caught.value)
    assert f"recorded at {recorded / PLACE}, of 300 steps" in str(caught.value)
    assert "remove its folder first" in str(caught.value)
    assert contents(recorded) == before
    shutil.rmtree(recorded / PLACE)
    assert archive.add(runs[400], recorded).taken


def as_planned(directory: Path, scale: str) -> None:
    """Give a recorded run the settings of config.yaml, as if it had been trained with them."""
    spec = CONFIG.spec("halfcheetah-100", "sac", 0, scale, budget=300).identity()
    edit_record(directory, lambda r: r.update(spec=spec))


def test_a_run_of_scale_paper_may_be_recorded(run):
    as_planned(run, "paper")
    archive.check_planned(run, CONFIG)


def test_a_run_of_another_scale_is_refused_by_name(run):
    as_planned(run, "quick")
    with pytest.raises(ArchiveError) as caught:
        archive.check_planned(run, CONFIG)
    told = str(caught.value)
    assert told.startswith(f"{run}: is a run of scale quick; recorded are runs of scale paper")
    assert "compiled: True at that scale, False here" in told
    assert "parameters.hidden: (256, 256) at that scale, (64, 64) here" in told
    assert "parameters.discount" not in told


def test_a_run_with_settings_of_no_scale_is_refused(run):
    with pytest.raises(ArchiveError, match="is no run of scale paper today"):
        archive.check_planned(run, CONFIG)


def test_a_run_of_a_variant_that_is_gone_is_refused(run):
    edit_record(run, lambda r: r["spec"].update(variant="gone"))
    with pytest.raises(ArchiveError, match=r"is not a run of config\.yaml: .*'gone'"):
        archive.check_planned(run, CONFIG)


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda d: (d / "run.json").unlink(), "run.json is missing. Needed is the folder"),
        (lambda d: (d / "metrics.parquet").unlink(), "metrics.parquet is missing"),
        (lambda d: (d / "run.json").write_text("{"), "is not JSON"),
        (lambda d: (d / "run.json").write_bytes(b"\xff\xfe"), "is not JSON"),
        (lambda d: (d / "run.json").write_text("[]"), "has no spec, spec_hash, code_hash"),
        (lambda d: edit_record(d, lambda r: r.pop("hashes")), "has no hashes; not a run's record"),
        (lambda d: edit_record(d, lambda r: r.update(segments=[])), "has no segments"),
        (lambda d: edit_record(d, lambda r: r["spec"].update(algorithm="x")), "'x' is not known"),
        (lambda d: edit_record(d, lambda r: r["spec"].update(variant="../x")), "is no name"),
        (lambda d: edit_record(d, lambda r: r["spec"].pop("seed")), "not one of today's: 'seed'"),
        (
            lambda d: edit_record(d, lambda r: r["spec"]["parameters"].update(gone=1)),
            "run.json: spec.parameters.gone is not a key here",
        ),
        (
            lambda d: edit_record(d, lambda r: r["spec"]["task"].update(gone=1)),
            "not one of today's",
        ),
        (
            lambda d: edit_table(d, "curve", lambda t: t.assign(seed=3)),
            "curve.parquet: has rows of another run",
        ),
        (
            lambda d: edit_table(d, "curve", lambda t: t.assign(env_step=t["env_step"] + 1)),
            "goes beyond the 300 steps of run.json",
        ),
        (
            lambda d: edit_table(d, "metrics", lambda t: t.drop(columns="name")),
            "metrics.parquet: has columns env_step, value. Needed: env_step, name, value.",
        ),
    ],
)
def test_what_is_no_whole_run_is_refused(run, tmp_path, damage, expected):
    damage(run)
    with pytest.raises(ArchiveError) as caught:
        archive.add(run, tmp_path / "archive")
    assert expected in str(caught.value)
    assert not (tmp_path / "archive").exists()


@pytest.mark.parametrize("name", ["curve", "metrics"])
@pytest.mark.parametrize("cut", [False, True], ids=["bit flipped", "cut short"])
def test_a_damaged_table_is_refused(run, tmp_path, name, cut):
    path = run / f"{name}.parquet"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content[:-1] if cut else content)
    with pytest.raises(ArchiveError, match=rf"{name}\.parquet: is not the file that run\.json"):
        archive.add(run, tmp_path / "archive")


def test_an_edited_spec_is_refused(run, tmp_path):
    text = (run / "run.json").read_text()
    (run / "run.json").write_text(text.replace('"evaluate_every": 200', '"evaluate_every": 201'))
    with pytest.raises(ArchiveError, match="its spec was edited"):
        archive.add(run, tmp_path)


def test_what_is_no_folder_is_refused(run, tmp_path):
    with pytest.raises(ArchiveError, match=r"run\.json is missing"):
        archive.add(run / "curve.parquet", tmp_path)


def test_an_addition_that_was_cut_short_is_seen_and_mended(runs, recorded):
    shutil.copy(runs[400] / "curve.parquet", recorded / PLACE / "curve.parquet")
    assert "is not the file" in archive.entries(recorded)[0].problem
    assert "the one before was damaged" in archive.add(runs[300], recorded).message
    assert archive.entries(recorded)[0].problem == ""


# Listing and matching


def test_a_list_says_what_each_entry_is(recorded):
    (entry,) = archive.entries(recorded)
    assert entry.directory == recorded / PLACE
    assert (entry.task, entry.variant, entry.algorithm) == ("halfcheetah-100", "sac", "sac")
    assert (entry.seed, entry.steps, entry.device, entry.same_code) == (0, 300, "cpu", True)
    assert entry.versions is not None
    assert entry.versions["torch"] == torch.__version__
    assert archive.fraction(entry, CONFIG) == 300 / 500_000


def test_a_list_is_empty_without_an_archive(tmp_path):
    assert archive.entries(tmp_path / "nowhere") == []


def test_a_fraction_needs_a_budget(recorded):
    (entry,) = archive.entries(recorded)
    assert archive.fraction(replace(entry, task="pusher-100"), CONFIG) is None


def test_a_list_tells_a_run_in_the_wrong_place(recorded):
    (recorded / PLACE).rename(recorded / "halfcheetah-100/sac/seed1")
    assert "holds the run halfcheetah-100/sac/seed0" in archive.entries(recorded)[0].problem


def test_other_code_is_told(recorded):
    assert archive.same_code(recorded / PLACE)
    edit_record(recorded / PLACE, lambda r: r.update(code_hash="0" * 24))
    assert not archive.same_code(recorded / PLACE)
    assert not archive.entries(recorded)[0].same_code


def test_a_recorded_run_matches_its_spec_whatever_the_budget(recorded):
    assert archive.matching(replace(SPEC, budget=10**6), recorded) == recorded / PLACE


@pytest.mark.parametrize(
    "other",
    [
        replace(SPEC, seed=1),
        replace(SPEC, compiled=True),
        replace(SPEC, evaluate_every=99),
        replace(SPEC, parameters=resolve_parameters("sac", {"discount": 0.5}, "test")),
        engine.small_spec(task="hopper-200"),
    ],
)
def test_a_recorded_run_matches_no_other_spec(recorded, other):
    assert archive.matching(other, recorded) is None


def test_a_parameter_that_was_added_since_counts_with_its_default(recorded):
    spec = replace(SPEC, parameters=replace(SAC, log_std_max=2.0))
    edit_record(recorded / PLACE, lambda r: r["spec"]["parameters"].pop("log_std_max"))
    assert archive.matching(spec, recorded) == recorded / PLACE
    other = replace(SPEC, parameters=replace(SAC, log_std_max=1.0))
    assert archive.matching(other, recorded) is None


def test_settings_that_are_gone_match_nothing(recorded):
    edit_record(recorded / PLACE, lambda r: r["spec"]["parameters"].update(gone=1))
    assert archive.matching(SPEC, recorded) is None


def test_a_damaged_run_is_not_passed_over_in_silence(recorded):
    (recorded / PLACE / "metrics.parquet").write_bytes(b"")
    with pytest.raises(ArchiveError, match=r"metrics\.parquet"):
        archive.matching(SPEC, recorded)


def test_a_spec_comes_back_from_its_record(recorded):
    record = archive.read_run(recorded / PLACE)
    spec = archive.recorded_spec(record, recorded)
    assert spec.identity() == SPEC.identity()
    assert spec_hash(spec) == spec_hash(SPEC)
    record["spec"] = replace(SPEC, compiled=True).identity()
    assert archive.recorded_spec(record, recorded).compiled


# Verifying


def test_todays_code_repeats_a_recorded_run_to_the_bit(recorded):
    finding = archive.verify(recorded / PLACE)
    assert (finding.verdict, finding.largest_difference) == ("equal", 0.0), finding.message
    assert finding.steps == 200  # a random half of the first episode, and learning in two
    assert finding.same_code


def test_it_runs_with_as_many_threads_as_the_recorded_run(recorded, monkeypatch):
    edit_record(recorded / PLACE, lambda r: r["segments"][0].update(threads=1))
    used, advance = set(), Trainer.advance

    def watched(trainer):
        used.add(torch.get_num_threads())
        advance(trainer)

    monkeypatch.setattr(Trainer, "advance", watched)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        archive.verify(recorded / PLACE, episodes=1)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert used == {1}


def test_a_change_of_what_is_learnt_is_found(recorded, monkeypatch):
    normal = sac.normal
    monkeypatch.setattr(sac, "normal", lambda *a, **k: normal(*a, **k) * (1 + 1e-6))
    finding = archive.verify(recorded / PLACE)
    assert finding.verdict == "different"
    assert (finding.largest_difference or 0) > 0
    assert "differ by up to" in finding.message


@pytest.mark.parametrize(("name", "value"), [("curve", "return"), ("metrics", "value")])
def test_the_last_digit_of_one_number_counts(recorded, name, value):
    def nudge(table):
        table.loc[0, value] *= 1 + 2**-50
        return table

    edit_table(recorded / PLACE, name, nudge)
    finding = archive.verify(recorded / PLACE)
    assert finding.verdict == "different"
    assert 0 < (finding.largest_difference or 0) < 1e-9


@pytest.mark.parametrize("column", ["episode", "length", "env_step"])
def test_another_episode_is_no_small_difference(recorded, column):
    def change(table):
        table.loc[0, column] += 1
        return table

    edit_table(recorded / PLACE, "curve", change)
    finding = archive.verify(recorded / PLACE)
    assert (finding.verdict, finding.largest_difference) == ("different", None)
    assert "are not the same episodes" in finding.message


def test_a_missing_row_is_a_difference(recorded):
    edit_table(recorded / PLACE, "metrics", lambda t: t.drop(index=0))
    assert archive.verify(recorded / PLACE).verdict == "different"


def test_under_other_versions_a_difference_has_its_reason(recorded):
    edit_record(
        recorded / PLACE, lambda r: r["segments"][0]["versions"].update(torch="1.0", jax="0.1")
    )
    assert archive.verify(recorded / PLACE).verdict == "equal"
    edit_table(recorded / PLACE, "curve", lambda t: t.assign(**{"return": t["return"] + 0.5}))
    finding = archive.verify(recorded / PLACE)
    assert (finding.verdict, finding.largest_difference) == ("other conditions", 0.5)
    assert "jax: 0.1 then, none now; torch: 1.0 then" in finding.message


def test_on_another_kind_of_processor_a_difference_has_its_reason(recorded):
    def nudge(table):
        return table.assign(**{"return": table["return"] + 0.5})

    edit_record(recorded / PLACE, lambda r: r["segments"][0].update(device_model="vax F_floating"))
    assert archive.verify(recorded / PLACE).verdict == "equal"
    edit_table(recorded / PLACE, "curve", nudge)
    finding = archive.verify(recorded / PLACE)
    assert finding.verdict == "other conditions"
    assert "(processor: vax F_floating then, " in finding.message
    assert torch.backends.cpu.get_cpu_capability() in finding.message


def test_a_gpu_run_is_not_compared(recorded):
    edit_record(recorded / PLACE, lambda r: r["segments"][0].update(device="cuda"))
    finding = archive.verify(recorded / PLACE)
    assert (finding.verdict, finding.steps) == ("not comparable", 0)
    assert "recorded on cuda" in finding.message


@pytest.mark.parametrize("lacking", ["compiler", "header"])
def test_a_compiled_run_is_not_compared_where_nothing_can_be_compiled(
    recorded, monkeypatch, tmp_path, lacking
):
    edit_record(recorded / PLACE, lambda r: r["spec"].update(compiled=True))
    compiler = tmp_path / "no-such-compiler" if lacking == "compiler" else Path(sys.executable)
    monkeypatch.setenv("CXX", str(compiler))
    monkeypatch.setattr(sysconfig, "get_paths", lambda: {"include": str(tmp_path)})
    finding = archive.verify(recorded / PLACE)
    assert (finding.verdict, finding.steps) == ("not comparable", 0)
    told = f"there is no C++ compiler '{compiler}'"
    assert (told if lacking == "compiler" else f"{tmp_path}/Python.h is missing") in finding.message


def test_a_run_that_was_not_compiled_needs_no_compiler(recorded, monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", str(tmp_path / "no-such-compiler"))
    assert archive.verify(recorded / PLACE).verdict == "equal"


def test_with_compiler_and_header_runs_can_be_compiled(monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", sys.executable)  # any program will do
    monkeypatch.setattr(sysconfig, "get_paths", lambda: {"include": str(tmp_path)})
    (tmp_path / "Python.h").touch()
    assert conditions.why_not_compiled() == ""


def test_a_damaged_run_is_a_finding(recorded):
    (recorded / PLACE / "curve.parquet").write_bytes(b"")
    assert archive.verify(recorded / PLACE).verdict == "damaged"


def test_the_cheapest_cpu_run_of_each_variant_is_chosen(recorded):
    for task, seed, device in [
        ("hopper-200", 0, "cpu"),
        ("dclaw_turn_fixed-40", 0, "cuda"),
        ("halfcheetah-100", 1, "cpu"),
    ]:
        other = recorded / task / "sac" / f"seed{seed}"
        shutil.copytree(recorded / PLACE, other)
        spec = engine.small_spec(task=task, seed=seed).identity()
        edit_record(
            other,
            lambda r, s=spec, d=device: r["spec"].update(s) or r["segments"][0].update(device=d),
        )
    chosen = archive.one_for_each_algorithm(recorded)
    assert [entry.directory for entry in chosen] == [recorded / PLACE]


@pytest.mark.full
def test_todays_code_repeats_our_recorded_runs():
    """One run for each algorithm and variant; a difference means that it must be recorded anew."""
    chosen = archive.one_for_each_algorithm(ROOT / "resources" / "archive")
    assert chosen
    lacking = conditions.why_not_compiled()
    if lacking:  # runs of scale paper are compiled
        pytest.skip(lacking)
    findings = [archive.verify(entry.directory) for entry in chosen]
    assert {f.verdict for f in findings} <= {"equal", "other conditions"}, findings
