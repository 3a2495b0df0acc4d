"""The table of tasks says what the task list and the environments say."""

from unirl_repro.deviations import DEVIATIONS
from unirl_repro.envs import make, table
from unirl_repro.envs.tasks import TASKS


def test_a_row_for_each_task_agrees_with_its_environment():
    rows = table.rows()
    assert [row.task for row in rows] == list(TASKS)
    for row in rows:
        env = make(row.task)
        assert env.observation_space.shape == (row.obs_dim,)
        assert env.action_space.shape == (row.action_dim,)
        assert row.termination == ("usual" if TASKS[row.task].terminates else "never")
        assert row.environment
        assert row.source


def test_markdown_shows_every_row_with_all_its_cells():
    lines = table.markdown().splitlines()
    assert len(lines) == len(TASKS) + 2
    assert {line.count("|") for line in lines} == {len(table.Row._fields) + 1}
    assert lines[0].count("|") == len(table.HEADINGS) + 1
    hopper = (
        "| hopper-200 | Hopper | gymnasium | 11 | 3 | 200 | never | unified_rl Fig. 2, Table 1 |"
    )
    assert any(line.startswith(hopper) for line in lines)


def test_the_deviations_of_tasks_are_exactly_the_listed_ones():
    named = {name for task in TASKS.values() for name in task.deviations}
    assert named == {name for name in DEVIATIONS if name.startswith("E")}
