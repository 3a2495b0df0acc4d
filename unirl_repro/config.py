"""The experiment: config.yaml, checked before anything runs, and expanded to runs.

``config.yaml -> Config -> RunSpec``: a study selects runs and a budget; a run belongs to no study,
and trains to the largest budget that any study asks of it. Imports neither torch nor mujoco.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    NonNegativeInt,
    PositiveInt,
    PrivateAttr,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic_core import core_schema

from unirl_repro.envs.tasks import TASKS, Task
from unirl_repro.hyperparameters import Parameters
from unirl_repro.registry import ALGORITHMS

SCALES = ("smoke", "quick", "paper")
Scale = Literal["smoke", "quick", "paper"]
DOCUMENTS = ("unified_rl", "mnm", "usbpo", "mbpo_blog")


class ConfigError(ValueError):
    """A mistake in the configuration; its text names the place, the value and what is allowed."""


def check_choice(key: str, value: object, allowed: Collection[str], file: str) -> None:
    """Raise `ConfigError` unless `value` is one of `allowed`."""
    if value in allowed:
        return
    near = get_close_matches(str(value), allowed, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise ConfigError(f"{file}: {key} is {value!r}. Allowed: {', '.join(sorted(allowed))}.{hint}")


@dataclass(frozen=True)
class _OneOf:
    """Makes a string type a closed list, in the model and in the JSON schema."""

    kind: str
    allowed: tuple[str, ...]

    def check(self, value: str) -> str:
        if value not in self.allowed:
            near = get_close_matches(value, self.allowed, n=1)
            hint = f". Did you mean {near[0]!r}?" if near else ""
            allowed = ", ".join(sorted(self.allowed))
            raise ValueError(f"no such {self.kind}. Allowed: {allowed}{hint}")
        return value

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, core: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"type": "string", "enum": sorted(self.allowed)}


TaskId = Annotated[str, _OneOf("task", tuple(TASKS))]
AlgorithmName = Annotated[str, _OneOf("algorithm", tuple(ALGORITHMS))]
DocumentName = Annotated[str, _OneOf("document", DOCUMENTS)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
# `cmlo@threshold=1.0`: a variant of config.yaml with some of its parameters replaced.
VariantName = Annotated[
    str, Field(pattern=r"^[a-z][a-z0-9_]*(@[a-z_]+=[\w.+-]+(,[a-z_]+=[\w.+-]+)*)?$")
]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Document(_Model):
    """One of the documents that this project reproduces."""

    title: str
    citation: str  # its key in paper/references.bib


class Variant(_Model):
    """An algorithm plus overrides, for all tasks and for each."""

    algorithm: AlgorithmName
    parameters: dict[str, Any] = {}
    tasks: dict[TaskId, dict[str, Any]] = {}


class Budget(_Model):
    """Environment steps of a task's runs, and how we know."""

    steps: PositiveInt
    status: Literal["published", "inferred", "provisional"]
    source: str
    variants: dict[VariantName, "Budget"] = {}


def _distinct(seeds: int | list[int]) -> int | list[int]:
    if isinstance(seeds, list) and len(set(seeds)) < len(seeds):
        twice = sorted({s for s in seeds if seeds.count(s) > 1})
        raise ValueError(f"seed {twice[0]} stands there twice; each seed may stand there once")
    return seeds


SeedChoice = Annotated[
    PositiveInt | Annotated[list[NonNegativeInt], Field(min_length=1)], AfterValidator(_distinct)
]


class Study(_Model):
    """One figure's or table's experiment: a selection of runs."""

    document: DocumentName
    kind: Literal["figure", "table"]
    place: str  # "Figure 2"
    title: str
    tasks: Annotated[list[TaskId], Field(min_length=1)]
    variants: Annotated[list[VariantName], Field(min_length=1)]
    seeds: SeedChoice = 5


class Selection(_Model):
    """What a small scale takes of a study; what is not named stays as the study has it."""

    tasks: list[TaskId] | None = None
    variants: list[VariantName] | None = None
    seeds: SeedChoice | None = None


class Evaluation(_Model):
    """Evaluation episodes beside training: `episodes` of them every `every` environment steps."""

    every: PositiveInt
    episodes: PositiveInt


class ScaleSettings(_Model):
    """Sizes, budgets and seeds of a scale; code paths are the same at each."""

    compiled: bool
    evaluation: Evaluation
    seeds: SeedChoice | None = None  # in place of each study's
    episodes: PositiveInt | None = None  # a budget of so many episodes, the same for all runs
    budgets: dict[TaskId, PositiveInt] | None = None  # or environment steps for each task
    studies: dict[Name, Selection] | None = None  # None: all studies, whole
    parameters: dict[AlgorithmName, dict[str, Any]] = {}  # over those of the variant

    @model_validator(mode="after")
    def _one_budget(self) -> "ScaleSettings":
        if self.episodes is not None and self.budgets is not None:
            raise ValueError("episodes and budgets exclude each other")
        return self


RunKey = tuple[str, str, int]


@dataclass(frozen=True)
class RunSpec:
    """One run, resolved: everything that decides its curve, and its budget.

    Attributes
    ----------
    task : Task
        Environment and horizon.
    variant, algorithm : str
        ``sac_rlpd`` and its family ``sac``.
    parameters : Parameters
        The algorithm's hyper-parameters, with all overrides applied.
    seed : int
        First part of the key of every random draw.
    budget : int
        Environment steps to train to; a run cut at N equals the run with budget N.
    evaluate_every, evaluation_episodes : int
        Evaluation schedule, in environment steps and episodes.
    compiled : bool
        Whether updates run through torch.compile; part of the identity, since bytes differ.
    """

    task: Task
    variant: str
    algorithm: str
    parameters: Parameters
    seed: int
    budget: int
    evaluate_every: int
    evaluation_episodes: int
    compiled: bool

    @property
    def key(self) -> RunKey:
        return self.task.id, self.variant, self.seed

    def identity(self) -> dict[str, Any]:
        """What makes it this run and no other, as plain values; the budget is not in it.

        Of the task only what shapes episodes counts, not how it is described.
        """
        task = asdict(self.task)
        for described in ("title", "source", "deviations"):
            del task[described]
        return {
            "task": task,
            "variant": self.variant,
            "algorithm": self.algorithm,
            "parameters": asdict(self.parameters),
            "seed": self.seed,
            "evaluate_every": self.evaluate_every,
            "evaluation_episodes": self.evaluation_episodes,
            "compiled": self.compiled,
        }


class Config(_Model):
    """The whole of config.yaml."""

    scale: Scale
    documents: dict[DocumentName, Document]
    variants: dict[Name, Variant]
    budgets: dict[DocumentName, dict[TaskId, Budget]]
    studies: dict[Name, Study]
    scales: dict[Scale, ScaleSettings]
    _runs: dict[str, "dict[RunKey, RunSpec]"] = PrivateAttr(default_factory=dict)
    _parameters: dict[tuple[str, str, str], Parameters] = PrivateAttr(default_factory=dict)

    def settings(self, scale: str) -> ScaleSettings:
        return self.scales[scale]  # type: ignore[index]

    def selection(self, study: str, scale: str) -> "list[RunSpec]":
        """The runs of one study at one scale, each with the budget that this study asks for."""
        settings, whole = self.settings(scale), self.studies[study]
        if settings.studies is None:
            part = Selection()
        elif study in settings.studies:
            part = settings.studies[study]
        else:
            return []
        seeds = _seed_list(part.seeds or settings.seeds or whole.seeds)
        return [
            self._spec(whole.document, task, variant, seed, scale)
            for task in (whole.tasks if part.tasks is None else part.tasks)
            for variant in (whole.variants if part.variants is None else part.variants)
            for seed in seeds
        ]

    def runs(self, scale: str) -> "dict[RunKey, RunSpec]":
        """Every run of a scale by (task, variant, seed), with the largest budget asked of it."""
        if scale not in self._runs:
            runs: dict[RunKey, RunSpec] = {}
            for spec in (s for study in self.studies for s in self.selection(study, scale)):
                known = runs.get(spec.key)
                if known is None or spec.budget > known.budget:
                    runs[spec.key] = spec
            self._runs[scale] = runs
        return self._runs[scale]

    def spec(self, task: str, variant: str, seed: int, scale: str) -> "RunSpec":
        """The run (task, variant, seed), whether a study wants it or not.

        Outside all studies its budget is that of the scale, or of the first document that has one.
        """
        known = self.runs(scale).get((task, variant, seed))
        if known is not None:
            return known
        check_choice("task", task, TASKS, "command line")
        check_choice("variant", variant.partition("@")[0], self.variants, "command line")
        documents = [d for d in self.budgets if task in self.budgets[d]] or list(self.documents)
        return self._spec(documents[0], task, variant, seed, scale)

    def parameters(self, task: str, variant: str, scale: str) -> Parameters:
        """Resolved hyper-parameters: the variant's, then its task's, the scale's, and after @."""
        key = (task, variant, scale)
        if key not in self._parameters:
            name, _, overrides = variant.partition("@")
            base = self.variants[name]
            values = base.parameters | base.tasks.get(task, {})
            values |= self.settings(scale).parameters.get(base.algorithm, {})
            values |= _parse_overrides(overrides)
            where = f"variants.{variant} on {task} at scale {scale}"
            self._parameters[key] = resolve_parameters(base.algorithm, values, where)
        return self._parameters[key]

    def budget(self, document: str, task: str, variant: str, scale: str) -> int:
        """Environment steps of (task, variant) as `document` has it at this scale."""
        settings = self.settings(scale)
        if settings.episodes is not None:
            return settings.episodes * TASKS[task].horizon
        if settings.budgets is not None:
            if task not in settings.budgets:
                raise ConfigError(
                    f"config.yaml: scales.{scale}.budgets has no {task!r}, which a study of this "
                    f"scale uses. There are: {', '.join(sorted(settings.budgets))}. Add it."
                )
            return settings.budgets[task]
        entry = self.budgets.get(document, {}).get(task)
        if entry is None:
            raise ConfigError(
                f"config.yaml: budgets.{document} has no {task!r}, which a study of {document} "
                f"uses. Add its environment steps, status and source."
            )
        return entry.variants.get(variant, entry).steps

    def _spec(self, document: str, task: str, variant: str, seed: int, scale: str) -> "RunSpec":
        settings = self.settings(scale)
        return RunSpec(
            task=TASKS[task],
            variant=variant,
            algorithm=self.variants[variant.partition("@")[0]].algorithm,
            parameters=self.parameters(task, variant, scale),
            seed=seed,
            budget=self.budget(document, task, variant, scale),
            evaluate_every=settings.evaluation.every,
            evaluation_episodes=settings.evaluation.episodes,
            compiled=settings.compiled,
        )


def load_config(file: str | Path, values: Mapping[str, Any] | None = None) -> Config:
    """Read and check a configuration.

    Parameters
    ----------
    file : path
        The YAML file; a key that stands twice in it is an error.
    values : mapping, optional
        The effective configuration, where the command line has changed the file's.

    Raises
    ------
    ConfigError
        If a key is unknown, or a value is not allowed; the text names file, path and value.
    """
    path = Path(file)
    try:
        read = yaml.load(path.read_text(), Loader=_UniqueKeys)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path.name}: not valid YAML: {error}") from error
    return parse_config(read if values is None else values, path.name)


def parse_config(values: Any, file: str = "config.yaml") -> Config:
    """Check a configuration that has been read already; see `load_config`."""
    try:
        config = Config.model_validate(values)
    except ValidationError as error:
        raise ConfigError(_explain(error, file, Config.model_json_schema())) from error
    _check_references(config, file)
    return config


def resolve_parameters(algorithm: str, values: Mapping[str, Any], where: str) -> Parameters:
    """An algorithm's hyper-parameters from plain values; `where` is named in an error."""
    adapter = TypeAdapter(ALGORITHMS[algorithm].parameters)
    try:
        return adapter.validate_python(dict(values))
    except ValidationError as error:
        explained = _explain(error, "config.yaml", adapter.json_schema(), where)
        raise ConfigError(explained) from error


def _check_references(config: Config, file: str) -> None:
    """Names that must exist elsewhere in the file; then every run's parameters and budget."""
    for study, content in config.studies.items():
        if not study.startswith(content.document + "_"):
            raise ConfigError(
                f"{file}: studies.{study} belongs to document {content.document!r}, so its name "
                f"must start with '{content.document}_'"
            )
        check_choice(f"studies.{study}.document", content.document, config.documents, file)
    for place, variant in _named_variants(config):
        check_choice(place, variant.partition("@")[0], config.variants, file)
    for name, base in config.variants.items():
        resolve_parameters(base.algorithm, base.parameters, f"variants.{name}.parameters")
        for task, values in base.tasks.items():
            together = base.parameters | values
            resolve_parameters(base.algorithm, together, f"variants.{name}.tasks.{task}")
    for scale in SCALES:
        if scale not in config.scales:
            raise ConfigError(f"{file}: scales.{scale} is missing. Add it.")
        for study in config.settings(scale).studies or {}:
            check_choice(f"scales.{scale}.studies", study, config.studies, file)
        config.runs(scale)


def _named_variants(config: Config) -> Iterator[tuple[str, str]]:
    """Every place that names a variant, with the name."""
    for study, content in config.studies.items():
        for i, variant in enumerate(content.variants):
            yield f"studies.{study}.variants[{i}]", variant
    for scale, settings in config.scales.items():
        for study, part in (settings.studies or {}).items():
            for i, variant in enumerate(part.variants or []):
                yield f"scales.{scale}.studies.{study}.variants[{i}]", variant
    for document, tasks in config.budgets.items():
        for task, budget in tasks.items():
            for variant in budget.variants:
                yield f"budgets.{document}.{task}.variants", variant


def _parse_overrides(overrides: str) -> dict[str, Any]:
    """``threshold=1.0,name=x`` as typed values."""
    pairs = [pair.partition("=") for pair in overrides.split(",") if pair]
    return {key: yaml.safe_load(value) for key, _, value in pairs}


def _seed_list(seeds: int | list[int]) -> list[int]:
    return list(range(seeds)) if isinstance(seeds, int) else seeds


class _UniqueKeys(yaml.SafeLoader):
    """YAML lets a later key replace an earlier one without a word; here it is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=deep)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"key {key!r} stands twice in one mapping; remove one of them",
                    problem_mark=key_node.start_mark,
                )
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


def _explain(error: ValidationError, file: str, schema: Mapping[str, Any], where: str = "") -> str:
    """One line for each mistake: file, path, value, what is allowed."""
    return "\n".join(_explain_one(e, file, schema, where) for e in error.errors())


def _explain_one(mistake: Any, file: str, schema: Mapping[str, Any], where: str) -> str:
    loc = [part for part in mistake["loc"] if part != "[key]"]
    inside = [p for p in loc if not _is_union_tag(p)]
    path = where + "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in inside)
    path = path.lstrip(".")
    if mistake["type"] == "extra_forbidden" or mistake["type"] == "unexpected_keyword_argument":
        keys = _keys_at(schema, inside[:-1])
        near = get_close_matches(str(inside[-1]), keys, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        return f"{file}: {path} is not a key here. Allowed: {', '.join(sorted(keys))}.{hint}"
    if mistake["type"] in ("missing", "missing_argument"):
        return f"{file}: {path} is missing. Add it."
    message = mistake["msg"].removeprefix("Value error, ")
    if not path:
        return f"{file}: {message}."
    if "[key]" in mistake["loc"]:
        return f"{file}: {path} is not allowed as a key: {message}."
    return f"{file}: {path} is {mistake['input']!r}. {message[0].upper()}{message[1:]}."


def _is_union_tag(part: str | int) -> bool:
    """Pydantic puts the branch of a union into an error's location; it is no part of the file."""
    tags = r"(int|float|bool|str|(constrained-|function-|list\[|literal\[|nullable).*)"
    return isinstance(part, str) and re.fullmatch(tags, part) is not None


def _keys_at(schema: Mapping[str, Any], loc: list[str | int]) -> list[str]:
    """The keys that a JSON schema allows at a place."""
    node: Mapping[str, Any] = schema
    for part in loc:
        node = _resolve(schema, node)
        if "properties" in node and part in node["properties"]:
            node = node["properties"][part]
        else:
            node = node.get("additionalProperties", node.get("items", {}))
    return list(_resolve(schema, node).get("properties", {}))


def _resolve(schema: Mapping[str, Any], node: Mapping[str, Any]) -> Mapping[str, Any]:
    for option in node.get("anyOf", []):
        if option.get("type") != "null":
            return _resolve(schema, option)
    if "$ref" in node:
        return schema["$defs"][node["$ref"].rpartition("/")[2]]
    return node
