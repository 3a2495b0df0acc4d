"""What may import what, read what and be how long: rules of the whole package, read off its text."""

import ast
import re
from pathlib import Path

import pytest

from unirl_repro.deviations import DEVIATIONS
from unirl_repro.envs.tasks import TASKS

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "unirl_repro"
FILES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))

# Each layer with those below it that it may import, beside itself. Imports go one way:
# cli -> run -> agents -> models -> nn, envs, replay -> rng, config; cli -> figures, tables -> analysis.
PAGES = {
    "config",
    "deviations",
    "envs.table",
    "envs.tasks",
    "explain",
    "files",
    "hyperparameters",
    "registry",
    "yamlfile",
}
BELOW: dict[str, set[str]] = {
    "pages": set(),
    "fingerprint": {"pages"},
    "rng": set(),
    "nn": {"rng"},
    "envs": {"pages", "rng"},
    "replay": {"rng"},
    "episodes": {"replay"},
    "windows": {"replay"},
    "model_data": {"replay"},
    "models": {"pages", "nn", "replay", "rng"},
    "tabular": {"pages", "rng"},
    "agents": {"episodes", "model_data", "models", "pages", "nn", "replay", "rng", "windows"},
    "checkpoint": {"pages", "replay", "stopping"},
    "learned": {"agents", "envs", "loop", "models", "nn", "pages", "replay", "rng", "tabular"},
    "loop": {"agents", "checkpoint", "envs", "pages", "replay", "rng"},
    "stopping": set(),
    "run": {"checkpoint", "fingerprint", "loop", "pages", "replay", "stopping"},
    "analysis": {"pages"},
    "figures": {"analysis", "pages"},
    "tables": {"analysis", "pages"},
    "report": {"analysis", "figures", "tables", "pages", "fingerprint"},
    "console": {"pages"},
    "schema": {"pages"},
}
BELOW["campaign"] = set(BELOW)
BELOW["cli_common"] = set(BELOW)
BELOW["cli_campaign"] = set(BELOW)
BELOW["cli"] = set(BELOW)
BELOW["__main__"] = {"cli"}
# report.py hands the environment on to LaTeX, and reads nothing from it; what usbpo_cost measures is
# time.
CLOCK_AND_ENVIRONMENT = (
    *("run.py", "cli.py", "cli_common.py", "campaign/", "report.py"),
    "learned/usbpo_cost.py",
)


def module(file: str) -> str:
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def layer(name: str) -> str:
    """The layer of a module, named without the package."""
    return "pages" if name in PAGES else name.partition(".")[0]


def imports(file: str) -> set[str]:
    """Modules of the package that a file imports anywhere, named without the package."""
    found: set[str] = set()
    for node in ast.walk(ast.parse((PACKAGE / file).read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: write imports in full"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    inside = {
        name.removeprefix("unirl_repro.") for name in found if name.startswith("unirl_repro.")
    }
    return {_existing(name) for name in inside}


def _existing(name: str) -> str:
    """The module of an imported name: without what is inside the module."""
    path = PACKAGE.joinpath(*name.split("."))
    if path.is_dir() or path.with_suffix(".py").exists() or "." not in name:
        return name
    return name.rpartition(".")[0]


@pytest.mark.parametrize("file", FILES)
def test_imports_go_one_way(file):
    own = layer(module(file))
    if file == "__init__.py":
        assert imports(file) == set()
        return
    assert own in BELOW, f"{file}: say in this test which layers it may import"
    wrong = {name for name in imports(file) if layer(name) not in BELOW[own] | {own}}
    assert not wrong, f"{file} imports {', '.join(sorted(wrong))}, which {own} may not"


def test_no_layer_leads_back_to_itself():
    waiting = set(BELOW)
    while waiting:
        free = {name for name in waiting if not BELOW[name] & waiting}
        assert free, f"layers import one another: {', '.join(sorted(waiting))}"
        waiting -= free


@pytest.mark.parametrize("file", [f for f in FILES if layer(module(f)) == "pages"])
def test_pages_need_no_heavy_package(file):
    heavy = {"torch", "mujoco", "gymnasium", "dm_control", "pandas", "snakemake", "matplotlib"}
    assert not {name.partition(".")[0] for name in outside(file)} & heavy


def outside(file: str) -> set[str]:
    """Names of all modules that a file imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse((PACKAGE / file).read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {str(node.module), *(f"{node.module}.{a.name}" for a in node.names)}
    return found


@pytest.mark.parametrize("file", FILES)
def test_the_library_imports_no_snakemake(file):
    assert not {name for name in outside(file) if name.split(".")[0] == "snakemake"}


@pytest.mark.parametrize("file", [f for f in FILES if not f.startswith(CLOCK_AND_ENVIRONMENT)])
def test_only_the_outer_layers_read_the_clock_or_the_environment(file):
    clocks = {name for name in outside(file) if name.split(".")[0] in ("time", "datetime")}
    nodes = ast.walk(ast.parse((PACKAGE / file).read_text()))
    names = {n.attr for n in nodes if isinstance(n, ast.Attribute)}
    environment = names & {"environ", "environb", "getenv", "getenvb"}
    environment |= {n for n in outside(file) if n in ("os.environ", "os.getenv")}
    assert not clocks | environment


@pytest.mark.parametrize("file", FILES)
def test_every_except_names_what_it_expects(file):
    """`run.py` alone catches all of an attempt's failures, writes them down and raises again."""
    for node in ast.walk(ast.parse((PACKAGE / file).read_text())):
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"{file}:{node.lineno}"
            if {"Exception", "BaseException"} & {
                n.id for n in ast.walk(node.type) if isinstance(n, ast.Name)
            }:
                again = any(isinstance(n, ast.Raise) and n.exc is None for n in node.body)
                assert file == "run.py", f"{file}:{node.lineno}"
                assert again, f"{file}:{node.lineno}"


@pytest.mark.parametrize("file", [f for f in FILES if f.startswith("agents/")])
def test_an_algorithm_is_one_file_of_at_most_350_lines(file):
    assert len((PACKAGE / file).read_text().splitlines()) <= 350


def functions() -> dict[str, int]:
    """Lines of each function of the package, without its docstring."""
    found = {}
    for file in FILES:
        for node in ast.walk(ast.parse((PACKAGE / file).read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or 0) - node.lineno + 1
                first = node.body[0]
                if ast.get_docstring(node) is not None:
                    length -= (first.end_lineno or 0) - first.lineno + 1
                found[f"{file}:{node.lineno} {node.name}"] = length
    return found


def test_functions_are_short():
    lengths = functions()
    assert sorted(lengths.values())[len(lengths) // 2] <= 10
    assert {name: n for name, n in lengths.items() if n > 60} == {}


# Deviations

_ID = r"[A-Z]+\d+"
NAMED = re.compile(rf"[Dd]eviations? ({_ID}(?:(?:, | and |, and ){_ID})*)")
SOURCES = [
    *(path for path in PACKAGE.rglob("*.py") if path.name != "deviations.py"),
    ROOT / "config.yaml",
    *(ROOT / "workflow").rglob("*.smk"),
]


def named() -> dict[str, set[str]]:
    """Each deviation that the code names, with the files that do."""
    found: dict[str, set[str]] = {}
    for path in SOURCES:
        for match in NAMED.finditer(" ".join(path.read_text().split())):
            for name in re.findall(_ID, match[1]):
                found.setdefault(name, set()).add(path.name)
    for task in TASKS.values():
        for name in task.deviations:
            found.setdefault(name, set()).add("tasks.py")
    return found


def test_every_deviation_that_the_code_names_is_listed():
    missing = {name: files for name, files in named().items() if name not in DEVIATIONS}
    assert not missing


def test_every_listed_deviation_is_named_where_it_happens():
    assert not set(DEVIATIONS) - set(named())


@pytest.mark.parametrize("name", DEVIATIONS)
def test_a_deviation_says_what_and_why(name):
    deviation = DEVIATIONS[name]
    assert re.fullmatch(r"[A-Z]+\d+", name)
    assert deviation.title
    assert deviation.text.endswith(".")


def test_tests_mirror_the_package():
    """A folder of tests stands for a folder of the package, or for the workflow around it."""
    folders = {p.parent.name for p in (ROOT / "tests").glob("*/test_*.py")}
    inside = {p.name for p in PACKAGE.iterdir() if p.is_dir()}
    assert folders <= inside | {"workflow", "slurm"}
