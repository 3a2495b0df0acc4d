"""Our recorded runs: kept with the code, and compared with what today's code does.

``<archive>/<task>/<variant>/seed<k>/`` holds a run's curve.parquet, metrics.parquet and run.json.
Listing and matching need neither torch nor pandas; verifying trains the start of a run again.
"""

import json
import re
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from unirl_repro.campaign import conditions
from unirl_repro.config import VARIANT_PATTERN, Config, ConfigError, RunSpec, resolve_parameters
from unirl_repro.envs.tasks import TASKS, Task
from unirl_repro.files import sha256, write_bytes, write_json
from unirl_repro.fingerprint import code_hash, identity_hash, spec_hash
from unirl_repro.registry import ALGORITHMS

if TYPE_CHECKING:
    from pandas import DataFrame

TABLES = ("curve", "metrics")
NEEDED = ("spec", "spec_hash", "code_hash", "budget_reached", "segments", "hashes")


class ArchiveError(RuntimeError):
    """A folder that is no whole recorded run; its text says what is wrong and what to do."""


@dataclass(frozen=True)
class Addition:
    """What became of a run that was offered to the archive.

    Attributes
    ----------
    directory : Path
        The run's place in the archive.
    taken : bool
        Whether it lies there now; False where a longer recording stays.
    message : str
        The same in words.
    """

    directory: Path
    taken: bool
    message: str


@dataclass(frozen=True)
class Entry:
    """One recorded run, as its run.json has it.

    Attributes
    ----------
    directory : Path
        Where it lies.
    task, variant, algorithm, seed
        Which run it is.
    steps : int
        Environment steps that it reached.
    device : str
        On which kind of device: cpu or cuda.
    versions : dict
        Versions of its last segment.
    same_code : bool
        Whether today's code means the same as the code that recorded it.
    problem : str
        Why it cannot be used; empty where it can, and then the other fields hold.
    """

    directory: Path
    task: str = ""
    variant: str = ""
    algorithm: str = ""
    seed: int = -1
    steps: int = 0
    device: str = ""
    versions: dict[str, str] | None = None
    same_code: bool = False
    problem: str = ""


Verdict = Literal["equal", "different", "other conditions", "not comparable", "damaged"]


@dataclass(frozen=True)
class Finding:
    """What running the start of a recorded run again has shown.

    Attributes
    ----------
    directory : Path
        The recorded run.
    verdict : str
        equal: the same rows, bit for bit. different: not so, under the same conditions. other
        conditions: not so, but versions or the kind of processor differ. not comparable: not
        recorded on a CPU, no episode of it, or compiled, which this machine cannot do. damaged:
        not whole.
    steps : int
        Environment steps that were compared.
    same_code : bool
        Whether today's code means the same as the code that recorded it.
    largest_difference : float or None
        Of any return or metric; None where even the episodes differ, or nothing was compared.
    message : str
        The same in words.
    """

    directory: Path
    verdict: Verdict
    steps: int
    same_code: bool
    largest_difference: float | None
    message: str


def add(run_directory: Path, archive: Path) -> Addition:
    """Record a run: copy its results into the archive, if none longer of its kind is there.

    Parameters
    ----------
    run_directory : Path
        A finished run's folder, with curve.parquet, metrics.parquet and run.json.
    archive : Path
        Folder of all recorded runs.

    Returns
    -------
    Addition
        Whether it was taken, and why not.

    Raises
    ------
    ArchiveError
        If the folder is not a whole run of this project, or one with other settings is recorded
        at its place; nothing is written then.
    """
    record = read_run(run_directory)
    spec = recorded_spec(record, run_directory)
    _tables(run_directory, spec, record["budget_reached"])
    place = archive / _place(spec)
    steps = record["budget_reached"]
    message = f"{place}: recorded, {steps} steps"
    if (place / "run.json").exists():
        before = _undamaged(place)
        if before is None:
            message += "; the one before was damaged"
        elif other := _other_settings(before, place, spec):
            raise ArchiveError(
                f"{run_directory}: has other settings than the run recorded at {place}, of "
                f"{before['budget_reached']} steps ({other}). To replace that one, remove its "
                "folder first."
            )
        elif before["budget_reached"] > steps:
            longer = before["budget_reached"]
            return Addition(
                place, False, f"{place}: kept, its {longer} steps are more than {steps}"
            )
        elif before["hashes"] == record["hashes"]:
            return Addition(place, True, f"{place}: it is recorded already, {steps} steps")
        else:
            message += f"; the one before had {before['budget_reached']}"
    _copy(run_directory, record, place)
    return Addition(place, True, message)


def check_planned(run_directory: Path, config: Config, scale: str = "paper") -> None:
    """Refuse a run that is not the one which the configuration has at a scale.

    Raises
    ------
    ArchiveError
        If its settings are others, or the folder is not a whole run; the text names what differs.
    """
    spec = recorded_spec(read_run(run_directory), run_directory)
    try:
        planned: dict[str, RunSpec] = {
            s: config.spec(*spec.key, s, spec.budget) for s in config.scales
        }
    except ConfigError as error:
        raise ArchiveError(f"{run_directory}: is not a run of config.yaml: {error}") from error
    scales = [s for s, known in planned.items() if spec_hash(known) == spec_hash(spec)]
    if scale in scales:
        return
    own = f"is a run of scale {scales[0]}" if scales else f"is no run of scale {scale} today"
    differing = _differing(planned[scale], spec, ("at that scale", "here"))
    raise ArchiveError(
        f"{run_directory}: {own}; recorded are runs of scale {scale} with today's settings "
        f"({differing}). Train it with --scale {scale}."
    )


def entries(archive: Path) -> list[Entry]:
    """All recorded runs, in order of task, variant and seed; damaged ones say what is wrong."""
    folders = sorted(path.parent for path in archive.glob("*/*/*/run.json"))
    return [_entry(folder) for folder in folders]


def fraction(entry: Entry, config: Config, scale: str = "paper") -> float | None:
    """How much of its budget a recorded run reached; None where the configuration has none."""
    try:
        budget = config.spec(entry.task, entry.variant, entry.seed, scale).budget
    except ConfigError:
        return None
    return entry.steps / budget


def matching(spec: RunSpec, archive: Path) -> Path | None:
    """The folder of the recorded run with the same spec, whatever its length; None without one.

    A hyper-parameter that was added since counts with its default.

    Raises
    ------
    ArchiveError
        If what lies at its place is damaged.
    """
    place = archive / _place(spec)
    if not (place / "run.json").exists():
        return None
    record = read_run(place)
    try:
        recorded = recorded_spec(record, place)
    except ArchiveError:  # settings that today's code does not know are not these
        return None
    return place if spec_hash(recorded) == spec_hash(spec) else None


def same_code(directory: Path) -> bool:
    """Whether today's code means the same as the code that recorded a run."""
    record = read_run(directory)
    return record["code_hash"] == code_hash(recorded_spec(record, directory))


def read_run(directory: Path) -> dict[str, Any]:
    """A run's manifest, once its files are seen to be those that it describes.

    Raises
    ------
    ArchiveError
        If a file is missing, cannot be read, or is not the one that run.json describes.
    """
    try:
        record = json.loads((directory / "run.json").read_bytes())
        tables = {name: (directory / f"{name}.parquet").read_bytes() for name in TABLES}
    except (FileNotFoundError, NotADirectoryError) as error:
        missing = Path(error.filename).name
        raise ArchiveError(
            f"{directory}: {missing} is missing. Needed is the folder of a finished run, with "
            "curve.parquet, metrics.parquet and run.json."
        ) from error
    except ValueError as error:
        raise ArchiveError(f"{directory}/run.json: is not JSON: {error}") from error
    lacking = [key for key in NEEDED if not isinstance(record, dict) or not record.get(key)]
    if lacking:
        raise ArchiveError(f"{directory}/run.json: has no {', '.join(lacking)}; not a run's record")
    for name, content in tables.items():
        if sha256(content) != record["hashes"].get(name):
            raise ArchiveError(
                f"{directory}/{name}.parquet: is not the file that run.json describes (its hash "
                "differs). It was damaged or edited; take it from where it was recorded."
            )
    if identity_hash(record["spec"]) != record["spec_hash"]:
        raise ArchiveError(f"{directory}/run.json: its spec was edited (spec_hash differs)")
    return record


def recorded_spec(record: dict[str, Any], directory: Path) -> RunSpec:
    """The spec of a recorded run, from its manifest alone; config.yaml may have moved on.

    Raises
    ------
    ArchiveError
        If today's code has no such task, algorithm or hyper-parameter.
    """
    spec, file = record["spec"], f"{directory}/run.json"
    try:
        task, algorithm = Task(**spec["task"]), spec["algorithm"]
        if task.id not in TASKS or algorithm not in ALGORITHMS:
            raise ArchiveError(f"{file}: task {task.id!r} or algorithm {algorithm!r} is not known")
        if not re.fullmatch(VARIANT_PATTERN, spec["variant"]):
            raise ArchiveError(f"{file}: spec.variant is {spec['variant']!r}, which is no name")
        return RunSpec(
            task=task,
            variant=spec["variant"],
            algorithm=algorithm,
            parameters=resolve_parameters(algorithm, spec["parameters"], "spec.parameters", file),
            seed=int(spec["seed"]),
            budget=record["budget_reached"],
            evaluate_every=spec["evaluate_every"],
            evaluation_episodes=spec["evaluation_episodes"],
            compiled=spec["compiled"],
        )
    except (ConfigError, KeyError, TypeError) as error:
        raise ArchiveError(f"{file}: its spec is not one of today's: {error}") from error


def verify(directory: Path, episodes: int = 2) -> Finding:
    """Run the start of a recorded CPU run again with today's code, and compare it row by row.

    Parameters
    ----------
    directory : Path
        The recorded run.
    episodes : int, default 2
        Episodes to reach in which the agent has learnt, which those with metrics are; all before
        them run too.

    Returns
    -------
    Finding
        With the verdict; a run that differs is a finding, not an error.
    """
    try:
        record = read_run(directory)
        spec = recorded_spec(record, directory)
        then = _tables(directory, spec, record["budget_reached"])
    except ArchiveError as error:
        return Finding(directory, "damaged", 0, False, None, str(error))
    same = record["code_hash"] == code_hash(spec)
    stop = _stop(*then, episodes)
    segments = [s for s in record["segments"] if s["start_step"] < stop]
    devices = {segment["device"] for segment in segments}
    if devices != {"cpu"}:
        why = f"recorded on {', '.join(sorted(devices))}" if devices else "no whole episode in it"
    else:
        why = conditions.why_not_compiled() if spec.compiled else ""
    if why:
        text = f"{directory}: not comparable: {why}"
        return Finding(directory, "not comparable", 0, same, None, text)
    now = _train(spec, stop, segments[0]["threads"])
    changed = conditions.changed(segments, spec.task.suite)
    differences = [_difference(*both, stop) for both in zip(then, now, strict=True)]
    return _judge(directory, stop, same, max(differences), changed)


def one_for_each_algorithm(archive: Path) -> list[Entry]:
    """For each recorded algorithm and variant the CPU run that is cheapest to verify."""
    found: dict[tuple[str, str], Entry] = {}
    for entry in sorted(entries(archive), key=_horizon):
        if entry.device == "cpu" and not entry.problem:
            found.setdefault((entry.algorithm, entry.variant.partition("@")[0]), entry)
    return list(found.values())


def _horizon(entry: Entry) -> tuple[int, str, int]:
    return int(entry.task.rpartition("-")[2] or 0), entry.task, entry.seed


def _judge(
    directory: Path, stop: int, same: bool, difference: float, changed: list[str]
) -> Finding:
    code = "the same code" if same else "other code"
    if difference == 0:
        text = f"{directory}: equal over {stop} steps, recorded with {code}"
        return Finding(directory, "equal", stop, same, 0.0, text)
    size = f"differ by up to {difference:.3g}" if difference < inf else "are not the same episodes"
    text = f"{directory}: the first {stop} steps {size}, recorded with {code}"
    if changed:
        text += f" and under other conditions ({'; '.join(changed)})"
    shown = difference if difference < inf else None
    verdict: Verdict = "other conditions" if changed else "different"
    return Finding(directory, verdict, stop, same, shown, text)


def _stop(curve: "DataFrame", metrics: "DataFrame", episodes: int) -> int:
    """The end of the episode that is the last to be run again."""
    learnt = sorted(set(metrics["env_step"]))
    if learnt:
        return int(learnt[min(episodes, len(learnt)) - 1])
    return int(curve.loc[curve["kind"] == "train", "env_step"].max()) if len(curve) else 0


def _train(spec: RunSpec, stop: int, threads: int) -> "tuple[DataFrame, DataFrame]":
    """Curve and metrics of the first `stop` steps, in this process."""
    import torch

    from unirl_repro.loop import Trainer
    from unirl_repro.run import tables

    rows: list[dict[str, Any]] = []
    before = torch.get_num_threads()
    torch.set_num_threads(threads)  # sums depend on it
    try:
        trainer = Trainer(spec, torch.device("cpu"), rows.extend)
        while trainer.env_step < stop:
            trainer.advance()
    finally:
        torch.set_num_threads(before)
    return tables(rows)


def _difference(then: "DataFrame", now: "DataFrame", stop: int) -> float:
    """The largest difference of a return or metric; infinite where rows do not correspond."""
    then = then[then["env_step"] <= stop]
    value = "return" if "return" in then else "value"
    labels = [column for column in then.columns if column != value]
    if then[labels].to_numpy().tolist() != now[labels].to_numpy().tolist():
        return inf
    apart = abs(then[value].to_numpy() - now[value].to_numpy())
    return float(apart.max()) if len(apart) else 0.0


def _tables(directory: Path, spec: RunSpec, steps: int) -> "tuple[DataFrame, DataFrame]":
    """A run's curve and metrics, once the rows are seen to be this run's."""
    import pandas as pd

    from unirl_repro.loop import CURVE_COLUMNS

    try:
        curve, metrics = (pd.read_parquet(directory / f"{name}.parquet") for name in TABLES)
    except ValueError as error:  # as pyarrow's own errors are
        raise ArchiveError(f"{directory}: its tables are no Parquet files: {error}") from error
    expected = {"curve": list(CURVE_COLUMNS), "metrics": ["env_step", "name", "value"]}
    for name, table in {"curve": curve, "metrics": metrics}.items():
        if list(table.columns) != expected[name]:
            raise ArchiveError(
                f"{directory}/{name}.parquet: has columns {', '.join(table.columns)}. "
                f"Needed: {', '.join(expected[name])}."
            )
    owners = {tuple(row) for row in curve[["task", "variant", "algorithm", "seed"]].to_numpy()}
    other = owners - {(spec.task.id, spec.variant, spec.algorithm, spec.seed)}
    if other:
        raise ArchiveError(f"{directory}/curve.parquet: has rows of another run, {other.pop()}")
    if len(curve) and curve["env_step"].max() > steps:
        raise ArchiveError(f"{directory}/curve.parquet: goes beyond the {steps} steps of run.json")
    return curve, metrics


def _entry(directory: Path) -> Entry:
    try:
        record = read_run(directory)
        spec = recorded_spec(record, directory)
        if Path(*directory.parts[-3:]) != _place(spec):
            raise ArchiveError(f"{directory}: holds the run {_place(spec)}. Add it anew.")
    except ArchiveError as error:
        return Entry(directory, problem=str(error))
    last = record["segments"][-1]
    return Entry(
        directory=directory,
        task=spec.task.id,
        variant=spec.variant,
        algorithm=spec.algorithm,
        seed=spec.seed,
        steps=record["budget_reached"],
        device=last["device"],
        versions=last["versions"],
        same_code=record["code_hash"] == code_hash(spec),
    )


def _undamaged(place: Path) -> dict[str, Any] | None:
    """The manifest of what is recorded at a place; None if it is damaged."""
    try:
        return read_run(place)
    except ArchiveError:
        return None


def _other_settings(record: dict[str, Any], place: Path, spec: RunSpec) -> str:
    """In what a recorded run differs from a spec; empty if it is the same run."""
    try:
        recorded = recorded_spec(record, place)
    except ArchiveError as error:
        return str(error)
    return _differing(recorded, spec, ("there", "here"))


def _differing(one: RunSpec, other: RunSpec, where: tuple[str, str]) -> str:
    """The settings in which two runs differ, with the values of both."""
    left, right = (spec.identity() for spec in (one, other))
    pairs = [("", left, right)]
    pairs += [(f"{key}.", left[key], right[key]) for key in ("task", "parameters")]
    told = [
        f"{prefix}{key}: {first.get(key)} {where[0]}, {second.get(key)} {where[1]}"
        for prefix, first, second in pairs
        for key in sorted(first.keys() | second.keys())
        if first.get(key) != second.get(key) and not isinstance(first.get(key), dict)
    ]
    return "; ".join(told)


def _copy(source: Path, record: dict[str, Any], place: Path) -> None:
    """The manifest comes last: a copy that was cut short does not match it, and is seen."""
    place.mkdir(parents=True, exist_ok=True)
    for name in TABLES:
        write_bytes(place / f"{name}.parquet", (source / f"{name}.parquet").read_bytes())
    write_json(place / "run.json", record | {"segments": _without_hosts(record["segments"])})


def _without_hosts(segments: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Names of machines mean nothing where the archive is read."""
    return [{k: v for k, v in segment.items() if k != "host"} for segment in segments]


def _place(spec: RunSpec) -> Path:
    return Path(spec.task.id, spec.variant, f"seed{spec.seed}")
