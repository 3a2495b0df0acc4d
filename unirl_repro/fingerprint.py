"""What a run depends on: its spec, and the meaning of the code that its algorithm and task use.

The code counts as syntax trees without docstrings and comments, over the closure of the modules
that the loop, the algorithm and the task's suite import. Pages that all algorithms share (tables
and registries) count only by the values resolved into the spec. The engine (lock, checkpoints,
signals, manifest) carries a run out and leaves its results alone, which the resume tests compare
byte for byte: mending it makes no finished run stale. Nothing is imported to find out: sources are
read as text, so this needs neither torch nor mujoco.
"""

import ast
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from unirl_repro.config import RunSpec
from unirl_repro.registry import ALGORITHMS

PACKAGE = "unirl_repro"
SOURCE = Path(__file__).parent
# Their values reach a run through its spec, so their text does not count.
SHARED_PAGES = frozenset(
    f"{PACKAGE}.{name}"
    for name in (
        "config",
        "envs.tasks",
        "explain",
        "fingerprint",
        "hyperparameters",
        "learned.sizes",
        "registry",
        "yamlfile",
    )
)
ENGINE = frozenset(f"{PACKAGE}.{name}" for name in ("checkpoint", "files", "run", "stopping"))
_DIGITS = 24


@cache
def fingerprint(spec: RunSpec) -> str:
    """Identity of a run's results: same fingerprint, same curve (on one kind of device)."""
    return _digest(f"{spec_hash(spec)}/{code_hash(spec)}")


def spec_hash(spec: RunSpec) -> str:
    """Hash of the resolved spec alone: task, variant, hyper-parameters, seed, evaluation."""
    return identity_hash(spec.identity())


def identity_hash(identity: Mapping[str, Any]) -> str:
    """`spec_hash` from a spec's plain values, as a manifest has them."""
    return _digest(json.dumps(identity, sort_keys=True))


def code_hash(spec: RunSpec, source: Path = SOURCE) -> str:
    """Hash of the meaning of the code that the run imports."""
    return _closure_hash(_roots(spec), source)


def modules_hash(*names: str) -> str:
    """Hash of the meaning of modules and of all that they import, for what is no run: a figure."""
    return _closure_hash(names, SOURCE)


def closure(spec: RunSpec, source: Path = SOURCE) -> frozenset[str]:
    """Names of the project's modules that count for a run.

    Parameters
    ----------
    spec : RunSpec
        Only its algorithm and its task's suite matter here.
    source : path
        Root of the package's sources.
    """
    return _closure(_roots(spec), source)


def meaning(source: str) -> str:
    """A module's syntax tree as text, without docstrings, comments and positions.

    Empty fields are left out, so that Python versions that add optional ones agree.

    Examples
    --------
    >>> meaning("x = 1  # one") == meaning("x=1")
    True
    >>> meaning("x = 1") == meaning("x = 2")
    False
    """
    return _dump(ast.parse(source))


def _roots(spec: RunSpec) -> tuple[str, ...]:
    agent = ALGORITHMS[spec.algorithm].module
    return (f"{PACKAGE}.loop", agent, f"{PACKAGE}.envs.{spec.task.suite}")


@cache
def _closure(roots: tuple[str, ...], source: Path) -> frozenset[str]:
    found: set[str] = set()
    waiting = [name for root in roots for name in _with_parents(root)]
    while waiting:
        name = waiting.pop()
        if name in found or name in SHARED_PAGES | ENGINE:
            continue
        found.add(name)
        waiting.extend(_imports(name, source))
    return frozenset(found)


@cache
def _closure_hash(roots: tuple[str, ...], source: Path) -> str:
    modules = sorted(_closure(roots, source))
    return _digest("\n".join(f"{name} {meaning(_read(name, source))}" for name in modules))


def _imports(name: str, source: Path) -> set[str]:
    """The project's modules that one module imports, anywhere in its text."""
    found: set[str] = set()
    package = name if _path(name, source).name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(_read(name, source))):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")
            up = parents[: len(parents) - node.level + 1] if node.level else []
            base = ".".join([*up, node.module] if node.module else up)
            targets = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        else:
            continue
        for target in targets:
            if target.split(".")[0] == PACKAGE and _path(target, source).exists():
                found.update(_with_parents(target))
    return found


def _with_parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:n]) for n in range(1, len(parts) + 1)]


def _path(name: str, source: Path) -> Path:
    """The file of a module; for a package its ``__init__.py``."""
    inside = source.joinpath(*name.split(".")[1:])
    return inside / "__init__.py" if inside.is_dir() else inside.with_suffix(".py")


def _read(name: str, source: Path) -> str:
    return _path(name, source).read_text(encoding="utf-8")


def _dump(node: Any) -> str:
    if isinstance(node, list):
        return "[" + ",".join(_dump(item) for item in node) + "]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = dict(ast.iter_fields(node))
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        fields["body"] = _without_docstring(node.body)
    kept = {k: v for k, v in fields.items() if v is not None and v != []}
    return f"{type(node).__name__}({','.join(f'{k}={_dump(v)}' for k, v in kept.items())})"


def _without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    """The statements without any bare string: docstrings, also those of attributes."""
    return [
        statement
        for statement in body
        if not (
            isinstance(statement, ast.Expr)
            and isinstance(statement.value, ast.Constant)
            and isinstance(statement.value.value, str)
        )
    ]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]
