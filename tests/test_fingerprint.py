"""Fingerprints follow meaning: what cannot change a run's bytes must not make it stale."""

import ast
import itertools
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from unirl_repro.config import RunSpec
from unirl_repro.envs.tasks import TASKS
from unirl_repro.fingerprint import (
    SOURCE,
    closure,
    code_hash,
    fingerprint,
    identity_hash,
    meaning,
    spec_hash,
)
from unirl_repro.hyperparameters import SACParameters

SPEC = RunSpec(
    task=TASKS["hopper-200"],
    variant="sac",
    algorithm="sac",
    parameters=SACParameters(),
    seed=0,
    budget=1_000,
    evaluate_every=100,
    evaluation_episodes=1,
    compiled=False,
)
_numbers = itertools.count()


@pytest.fixture
def hash_after(tmp_path):
    """Hash of the code once one file of a copy of the package has another text."""

    def edit(file: str, change) -> str:
        copy = tmp_path / str(next(_numbers)) / "unirl_repro"  # closures are remembered by path
        shutil.copytree(SOURCE, copy, ignore=shutil.ignore_patterns("__pycache__", "assets"))
        before = (copy / file).read_text() if (copy / file).exists() else ""
        after = change(before)
        assert after != before
        (copy / file).write_text(after)
        return code_hash(SPEC, copy)

    return edit


def append(text: str):
    return lambda source: source + text


# What does not count


@pytest.mark.parametrize(
    "change",
    [
        append("# a comment\n"),
        lambda source: ast.unparse(ast.parse(source)),  # no comments, other lines, other quotes
        lambda source: source.replace('"""', '"""Put otherwise: ', 1),
        append('"""A string that stands alone documents what stands above it."""\n'),
    ],
    ids=["comment", "layout", "docstring", "attribute docstring"],
)
def test_comments_docstrings_and_layout_do_not_count(hash_after, change):
    assert hash_after("agents/sac.py", change) == code_hash(SPEC)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("registry.py", 'ALGORITHMS["new"] = Algorithm("unirl_repro.agents.new", "New", int)\n'),
        ("hyperparameters.py", "class NewParameters:\n    x: int = 1\n"),
        ("envs/tasks.py", 'TASKS["new-1"] = Task("new-1", "gym", "New", 1, 1, 1)\n'),
        ("config.py", "NEW = 1\n"),
        ("explain.py", "NEW = 1\n"),
        ("deviations.py", "NEW = 1\n"),
        ("agents/new.py", "from unirl_repro.agents import sac\n"),
        ("envs/dmc.py", "NEW = 1\n"),
        ("figures/unified_rl_fig2.py", "NEW = 1\n"),
        ("analysis/statistics.py", "NEW = 1\n"),
        ("campaign/archive.py", "NEW = 1\n"),
        ("run.py", "NEW = 1\n"),
        ("checkpoint.py", "NEW = 1\n"),
        ("stopping.py", "NEW = 1\n"),
        ("files.py", "NEW = 1\n"),
    ],
)
def test_what_a_run_does_not_use_does_not_count(hash_after, file, text):
    assert hash_after(file, append(text)) == code_hash(SPEC)


def test_budget_and_the_descriptions_of_a_task_do_not_count():
    described = replace(SPEC.task, title="T", source="s", deviations=("E9",))
    assert fingerprint(replace(SPEC, budget=9, task=described)) == fingerprint(SPEC)


# What counts


@pytest.mark.parametrize(
    "file",
    [
        "agents/sac.py",
        "envs/__init__.py",
        "envs/gym.py",
        "envs/wrappers.py",
        "loop.py",
        "nn/__init__.py",
        "replay.py",
        "rng.py",
    ],
)
def test_a_statement_in_a_module_that_the_run_uses_counts(hash_after, file):
    assert hash_after(file, append("NEW = 1\n")) != code_hash(SPEC)


def mutants(source: str):
    """Trees of a source with one literal or operator changed."""
    for i, node in enumerate(ast.walk(ast.parse(source))):
        tree = ast.parse(source)
        same = next(itertools.islice(ast.walk(tree), i, None))
        if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
            same.value = node.value + 1  # type: ignore[attr-defined]
        elif isinstance(node, ast.BinOp):
            same.op = ast.Pow() if not isinstance(node.op, ast.Pow) else ast.Add()  # type: ignore[attr-defined]
        elif isinstance(node, ast.UnaryOp):
            same.op = ast.Not() if not isinstance(node.op, ast.Not) else ast.USub()  # type: ignore[attr-defined]
        elif isinstance(node, ast.Compare):
            same.ops = [ast.Is() for _ in node.ops]  # type: ignore[attr-defined]
        else:
            continue
        yield ast.unparse(tree)


def test_each_changed_literal_and_operator_counts():
    source = (SOURCE / "replay.py").read_text()
    before, found = meaning(source), [meaning(text) for text in mutants(source)]
    assert len(found) > 10
    assert before not in found
    assert len(set(found)) == len(found)


@pytest.mark.parametrize(
    "changed",
    [
        replace(SPEC, seed=1),
        replace(SPEC, variant="sac_b"),
        replace(SPEC, parameters=SACParameters(discount=0.98)),
        replace(SPEC, parameters=SACParameters(hidden=(256, 257))),
        replace(SPEC, task=replace(SPEC.task, horizon=201)),
        replace(SPEC, task=TASKS["hopper-1000"]),
        replace(SPEC, evaluate_every=101),
        replace(SPEC, evaluation_episodes=2),
        replace(SPEC, compiled=True),
    ],
)
def test_what_the_spec_says_counts(changed):
    assert spec_hash(changed) != spec_hash(SPEC)
    assert fingerprint(changed) != fingerprint(SPEC)


def test_a_spec_is_known_by_its_plain_values():
    assert identity_hash(SPEC.identity()) == spec_hash(SPEC)


def test_whole_numbers_given_for_floats_are_the_same_run():
    one = replace(SPEC, parameters=SACParameters(initial_entropy_coefficient=1))
    assert spec_hash(one) == spec_hash(SPEC)


# The closure


@pytest.fixture
def package(tmp_path):
    """Writes a small package and gives the closure of a run in it, without the package's name."""

    def write(**files: str) -> set[str]:
        files = {"loop": "", "agents.sac": "", "envs.gym": ""} | files
        for name, text in files.items():
            path = tmp_path.joinpath(*name.split(".")).with_suffix(".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            for folder in path.relative_to(tmp_path).parents:
                (tmp_path / folder / "__init__.py").touch()
            path.write_text(text)
        found = closure(SPEC, tmp_path) - {"unirl_repro"}
        return {name.removeprefix("unirl_repro.") for name in found} - START

    return write


START = {"loop", "agents", "agents.sac", "envs", "envs.gym"}


@pytest.mark.parametrize(
    "text",
    [
        "import unirl_repro.p.a",
        "import unirl_repro.p.a as c",
        "from unirl_repro.p import a",
        "from unirl_repro.p.a import something",
        "from unirl_repro.p import a as c",
        "from . import p\nfrom .p import a",
        "from .p.a import something",
        "def f():\n    import unirl_repro.p.a",
        "class C:\n    def f(self):\n        from unirl_repro.p import a",
        "if False:\n    from unirl_repro.p import a",
    ],
)
def test_imports_of_each_kind_are_followed(package, text):
    assert package(**{"loop": text, "p.a": "", "p.b": ""}) == {"p", "p.a"}


def test_imports_are_followed_on_and_in_circles(package):
    files = {
        "p.a": "from . import b",
        "p.b": "from ..q.c import x",
        "q.c": "import unirl_repro.p.a",
    }
    assert package(loop="import unirl_repro.p.a", **files) == {"p", "p.a", "p.b", "q", "q.c"}


def test_a_packages_own_file_is_followed(package):
    files = {"p.__init__": "from .b import x", "p.a": "", "p.b": "from .. import c", "c": ""}
    assert package(loop="import unirl_repro.p.a", **files) == {"p", "p.a", "p.b", "c"}


def test_relative_imports_climb_to_their_parents(package):
    files = {"p.q.a": "from ..b import x\nfrom ...c import y", "p.b": "", "c": ""}
    assert package(loop="import unirl_repro.p.q.a", **files) == {"p", "p.q", "p.q.a", "p.b", "c"}


def test_other_packages_and_names_inside_modules_are_not_modules(package):
    assert package(loop="import os, torch\nfrom unirl_repro.a import b", a="b = 1") == {"a"}


def test_the_engine_is_not_followed(package):
    files = dict.fromkeys(("run", "checkpoint", "files", "stopping"), "import unirl_repro.a")
    text = "\n".join(f"import unirl_repro.{name}" for name in files)
    assert package(loop=text, a="", **files) == set()


def test_shared_pages_are_not_followed(package):
    files = {"config": "import unirl_repro.a", "a": "", "registry": "import unirl_repro.a"}
    assert package(loop="import unirl_repro.config, unirl_repro.registry", **files) == set()


def test_another_suite_is_another_closure():
    cartpole = replace(SPEC, task=TASKS["cartpole-200"])
    assert "unirl_repro.envs.gym" in closure(SPEC)
    assert "unirl_repro.envs.gym" not in closure(cartpole)
    assert "unirl_repro.envs.dmc" in closure(cartpole)


# Where it is computed


def test_it_needs_neither_torch_nor_an_environment():
    script = (
        "import sys\n"
        "from unirl_repro.config import load_config\n"
        "from unirl_repro.fingerprint import fingerprint\n"
        "config = load_config('config.yaml')\n"
        "assert all(fingerprint(s) for s in config.runs('paper').values())\n"
        "heavy = {'torch', 'mujoco', 'gymnasium', 'dm_control', 'pandas', 'snakemake'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_the_meaning_has_no_field_that_only_newer_pythons_have():
    """Python 3.12 gives functions and classes `type_params`: empty, it is left out."""
    text = meaning("def f(x):\n    return None\nclass A(B):\n    y = 'z'\n")
    assert text == (
        "Module(body=[FunctionDef(name='f',args=arguments(args=[arg(arg='x')]),"
        "body=[Return(value=Constant())]),ClassDef(name='A',bases=[Name(id='B',ctx=Load())],"
        "body=[Assign(targets=[Name(id='y',ctx=Store())],value=Constant(value='z'))])])"
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x = None", "x = 'None'"),
        ("x = 1", "x = 1.0"),
        ("x = 1", "x = True"),
        ("f(a=1)", "f(b=1)"),
        ("f(*a)", "f(a)"),
        ("{**a}", "{a: a}"),
        ("x = []", "x = ()"),
        ("def f(): return", "def f(): return 0"),
        ("def f(*, a): pass", "def f(a): pass"),
        ("a[1:]", "a[:1]"),
        ("a < b < c", "a < b <= c"),
        ("x = -1", "x = +1"),
        ("async def f(): pass", "def f(): pass"),
        ("f'{x!r}'", "f'{x!s}'"),
        ("f'{x:.1f}'", "f'{x:.2f}'"),
    ],
)
def test_different_meanings_differ(one, other):
    assert meaning(one) != meaning(other)
