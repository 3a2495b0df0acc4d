"""Frames and their status."""

import pandas as pd
import pytest

from tests.analysis.frame_maker import BUDGET, curve, make_study
from unirl_repro.analysis.frames import (
    FRAME_COLUMNS,
    METRIC_COLUMNS,
    RecordedRun,
    StudyPlan,
    build_frame,
    build_metrics,
    load_published,
    marks,
    reached,
    seeds_of,
    with_metrics,
)

RUN = ("hopper-200", "sac_rlpd", 0)


def plan(*keys, budget=BUDGET):
    return StudyPlan("unified_rl_fig2", "quick", {"hopper-200": budget}, keys or (RUN,))


def test_frame_is_cut_at_the_studys_budget():
    frame, _ = build_frame(plan(budget=4_000), [RecordedRun(curve())], pd.DataFrame())
    assert frame["env_step"].max() == 4_000
    assert list(frame.columns) == FRAME_COLUMNS
    assert set(frame["source"]) == {"trained"}


def test_status_accounts_for_every_planned_run():
    _, status = make_study(
        tasks=("hopper-200", "ant-100"),
        missing={("hopper-200", "sac_rlpd", 3)},
        archive=("ant-100",),
        other_code=("ant-100",),
    )
    assert len(status["planned"]) == 10
    assert status["missing"] == [{"task": "hopper-200", "variant": "sac_rlpd", "seed": 3}]
    assert len(status["finished"]) == 9
    assert {run["task"] for run in status["archive"]} == {"ant-100"}
    assert seeds_of(status, "finished", "hopper-200", "sac_rlpd") == [0, 1, 2, 4]
    assert marks(status, "ant-100", "sac_rlpd") == "†‡"
    assert marks(status, "hopper-200", "sac_rlpd") == ""
    assert status["versions"] == [{"torch": "2.13.0"}]


def test_runs_that_stop_early_are_listed_with_their_share_of_the_budget():
    tasks = ("hopper-200", "ant-100")
    _, status = make_study(
        tasks=tasks, shorter=("hopper-200",), missing={("hopper-200", "sac_rlpd", 0)}, num_seeds=2
    )
    run = {"task": "hopper-200", "variant": "sac_rlpd", "seed": 1}
    assert status["short"] == [run | {"reached": 0.5}]
    shares = [reached(status, task, ["sac_rlpd"]) for task in (*tasks, "cartpole-200")]
    assert shares == pytest.approx([0.5, 1.0, float("nan")], nan_ok=True)


@pytest.mark.parametrize(("budget", "listed"), [(BUDGET + 199, 0), (BUDGET + 200, 1)])
def test_run_is_short_where_one_more_episode_would_fit(budget, listed):
    _, status = build_frame(plan(budget=budget), [RecordedRun(curve())], pd.DataFrame())
    assert len(status["short"]) == listed


def test_run_without_an_episode_inside_the_budget_reached_nothing():
    _, status = build_frame(plan(budget=100), [RecordedRun(curve())], pd.DataFrame())
    assert [run["reached"] for run in status["short"]] == [0.0]


def test_versions_are_listed_once_each():
    keys = [("hopper-200", "sac_rlpd", seed) for seed in range(3)]
    runs = [
        RecordedRun(curve(seed=seed), versions={"torch": torch})
        for seed, torch in enumerate(["2.13", "2.12", "2.13"])
    ]
    _, status = build_frame(plan(*keys), runs, pd.DataFrame())
    assert status["versions"] == [{"torch": "2.13"}, {"torch": "2.12"}]


def test_a_package_that_only_one_suite_needs_is_no_other_version():
    keys = [("hopper-200", "sac_rlpd", seed) for seed in range(3)]
    sets = ({"torch": "2.13"}, {"torch": "2.13", "robel": "0.1"}, {"torch": "2.12"})
    runs = [RecordedRun(curve(seed=seed), versions=found) for seed, found in enumerate(sets)]
    _, status = build_frame(plan(*keys), runs, pd.DataFrame())
    assert status["versions"] == [{"torch": "2.13", "robel": "0.1"}, {"torch": "2.12"}]


def test_images_are_listed_once_each_and_runs_in_none_too():
    keys = [("hopper-200", "sac_rlpd", seed) for seed in range(3)]
    ran_in = [("sha256:1", "sha256:2"), (None,), ("sha256:2",)]
    runs = [RecordedRun(curve(seed=seed), containers=images) for seed, images in enumerate(ran_in)]
    _, status = build_frame(plan(*keys), runs, pd.DataFrame())
    assert status["containers"] == ["sha256:1", "sha256:2", None]


def test_run_without_a_row_is_missing():
    frame, status = build_frame(plan(), [RecordedRun(curve().iloc[:0])], pd.DataFrame())
    assert frame.empty
    assert list(frame.columns) == FRAME_COLUMNS
    assert len(status["missing"]) == 1


def test_run_that_was_not_planned_is_refused():
    with pytest.raises(ValueError, match="hopper-200/sac_rlpd/seed7 is not planned at scale quick"):
        build_frame(plan(), [RecordedRun(curve(seed=7))], pd.DataFrame())


def test_run_given_twice_is_refused():
    with pytest.raises(ValueError, match="hopper-200/sac_rlpd/seed0 was given twice"):
        build_frame(plan(), [RecordedRun(curve()), RecordedRun(curve())], pd.DataFrame())


def test_published_rows_carry_their_interval():
    published = load_published("unified_rl_fig2")
    row = published[(published["task"] == "hopper-200") & (published["variant"] == "sac_rlpd")]
    columns = ["return", "interval", "num_seeds", "seed"]
    assert row[columns].to_numpy().tolist() == [[632.8, 13.6, 5, -1]]
    assert set(published["kind"]) == {"published"}
    assert load_published("no_such_study").empty


def test_frame_survives_parquet(tmp_path):
    frame, _ = make_study(tasks=("hopper-200",))
    frame.to_parquet(tmp_path / "frame.parquet", index=False)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "frame.parquet"), frame)


def metrics_of(seed, **values):
    """A run with a curve and with metrics of two episodes, at steps 200 and 400."""
    rows = [
        (step, name, v)
        for name, two in values.items()
        for step, v in zip((200, 400), two, strict=True)
    ]
    recorded = pd.DataFrame(rows, columns=["env_step", "name", "value"])
    return RecordedRun(curve(seed=seed), source="archive", metrics=recorded)


def test_metrics_are_those_that_the_study_names_cut_at_its_budget():
    keys = tuple(("hopper-200", "sac_rlpd", seed) for seed in range(3))
    wanted = StudyPlan("unified_rl_gap", "quick", {"hopper-200": 399}, keys, ("q", "gap_min"))
    runs = [metrics_of(2, q=(3.0, 4.0), entropy=(9.0, 9.0)), metrics_of(0, q=(1.0, 2.0))]
    found = build_metrics(wanted, runs)
    assert list(found.columns) == METRIC_COLUMNS
    shown = found[["seed", "env_step", "name", "value"]].to_numpy().tolist()
    assert shown == [[0, 200, "q", 1.0], [2, 200, "q", 3.0]]
    assert found.iloc[0][["algorithm", "study", "source"]].tolist() == [
        *("sac", "unified_rl_gap", "archive")
    ]


def test_study_that_names_no_metric_gets_none():
    found = build_metrics(plan(), [metrics_of(0, q=(1.0, 2.0))])
    assert found.empty
    assert list(found.columns) == METRIC_COLUMNS


def test_metrics_join_the_frame_as_rows_of_their_own_kind():
    wanted = StudyPlan("unified_rl_gap", "quick", {"hopper-200": BUDGET}, (RUN,), ("q",))
    runs = [metrics_of(0, q=(1.0, 2.0))]
    frame, _ = build_frame(wanted, runs, pd.DataFrame())
    both = with_metrics(frame, build_metrics(wanted, runs))
    assert both.loc[both["kind"] == "metric", "value"].tolist() == [1.0, 2.0]
    pd.testing.assert_frame_equal(
        both.loc[both["kind"] == "train", FRAME_COLUMNS], frame, check_dtype=False
    )
    assert with_metrics(frame, build_metrics(plan(), runs)) is frame
