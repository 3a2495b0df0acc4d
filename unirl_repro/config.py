"""The experiment: config.yaml, checked before anything runs, and expanded to runs.

``config.yaml -> Config -> RunSpec``: a study selects runs and a budget; a run belongs to no study,
and trains to the largest budget that any study asks of it. Imports neither torch nor mujoco.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

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
    WithJsonSchema,
    model_validator,
)
from pydantic_core import core_schema

from unirl_repro.envs.tasks import TASKS, Task
from unirl_repro.explain import ConfigError, choices, explain
from unirl_repro.hyperparameters import (
    MBPOParameters,
    MBRLParameters,
    Parameters,
    Termination,
)
from unirl_repro.registry import ALGORITHMS
from unirl_repro.yamlfile import read_yaml

SCALES = ("smoke", "quick", "paper")
Scale = Literal["smoke", "quick", "paper"]
DOCUMENTS = ("unified_rl", "mnm", "usbpo", "mbpo_blog")


def check_choice(key: str, value: object, allowed: Collection[str], file: str) -> None:
    """Raise `ConfigError` unless `value` is one of `allowed`."""
    if value not in allowed:
        raise ConfigError(f"{file}: {key} is {value!r}. {choices(value, allowed)}")


@dataclass(frozen=True)
class _OneOf:
    """Makes a string type a closed list, in the model and in the JSON schema."""

    allowed: tuple[str, ...]

    def check(self, value: str) -> str:
        if value not in self.allowed:
            raise ValueError(choices(value, self.allowed))
        return value

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, core: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"type": "string", "enum": sorted(self.allowed)}


TaskId = Annotated[str, _OneOf(tuple(TASKS))]
AlgorithmName = Annotated[str, _OneOf(tuple(ALGORITHMS))]
DocumentName = Annotated[str, _OneOf(DOCUMENTS)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
# `cmlo@threshold=1.0`: a variant of config.yaml with some of its parameters replaced.
VARIANT_PATTERN = r"^[a-z][a-z0-9_]*(@[a-z_]+=[A-Za-z0-9_.+-]+(,[a-z_]+=[A-Za-z0-9_.+-]+)*)?$"
VariantName = Annotated[str, Field(pattern=VARIANT_PATTERN)]


def _distinct(entries: list[Any]) -> list[Any]:
    for entry in entries:
        if entries.count(entry) > 1:
            raise ValueError(f"{entry!r} stands there twice. Allowed: each once")
    return entries


Distinct = AfterValidator(_distinct)
SeedChoice = PositiveInt | Annotated[list[NonNegativeInt], Field(min_length=1), Distinct]
Tasks = Annotated[list[TaskId], Field(min_length=1), Distinct]
VariantNames = Annotated[list[VariantName], Field(min_length=1), Distinct]
# Which keys an algorithm has is checked where they are resolved; the schema knows them together.
Overrides = Annotated[
    dict[str, Any],
    WithJsonSchema(
        {
            "type": "object",
            "propertyNames": {
                "enum": sorted({f.name for a in ALGORITHMS.values() for f in fields(a.parameters)})
            },
        }
    ),
]


def _close(schema: Any) -> None:
    """Refuse keys that match no pattern, which JSON Schema allows unless told."""
    if isinstance(schema, dict):
        if "patternProperties" in schema:
            schema["additionalProperties"] = False
        for part in schema.values():
            _close(part)
    elif isinstance(schema, list):
        for part in schema:
            _close(part)


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, json_schema_extra=_close)


class Document(_Model):
    """One of the documents that this project reproduces."""

    title: str
    citation: str  # its key in paper/references.bib


class Variant(_Model):
    """An algorithm plus overrides, for all tasks and for each."""

    algorithm: AlgorithmName
    components: dict[Name, VariantName] = {}  # the variants that an algorithm is made of
    parameters: Overrides = {}
    tasks: dict[TaskId, Overrides] = {}


class Budget(_Model):
    """Environment steps of a task's runs, and how we know."""

    steps: PositiveInt
    status: Literal["published", "inferred", "provisional"]
    source: str
    calibrated_on: Annotated[list[VariantName], Distinct] = []  # published rows that gave it
    variants: dict[VariantName, "Budget"] = {}

    @model_validator(mode="after")
    def _check_calibrated(self) -> "Budget":
        if self.calibrated_on and self.status != "inferred":
            raise ValueError(
                f"has calibrated_on and status {self.status!r}. Allowed with it: status 'inferred'"
            )
        return self


class Part(_Model):
    """Runs of a study that its other tasks or seeds do not have."""

    tasks: Tasks
    variants: VariantNames
    seeds: SeedChoice


class Study(_Model):
    """One figure's or table's experiment: a selection of runs, or an exact one without runs."""

    document: DocumentName
    kind: Literal["figure", "table"]
    place: str  # "Figure 2"
    title: str
    own: bool = False  # a question of ours, not a figure or table of the document
    tabular: bool = False  # computed by unirl_repro/tabular/<study>.py, at its full size always
    learned: bool = False  # by unirl_repro/learned/<study>.py, a job a seed, at the scale's sizes
    tasks: Tasks = []
    variants: VariantNames = []
    seeds: SeedChoice = 5
    metrics: Annotated[list[Name], Distinct] = []  # of its runs, beside their curves
    besides: list[Part] = []  # a scale that takes a part of the study takes none of these

    @model_validator(mode="after")
    def _check_selection(self) -> "Study":
        named = [k for k in ("tasks", "variants", "metrics", "besides") if getattr(self, k)]
        if self.tabular and self.learned:
            raise ValueError("is tabular and learned. Allowed: one of them, or neither")
        if not self.has_runs and named:
            kind = "tabular" if self.tabular else "learned"
            raise ValueError(
                f"is {kind} and has {', '.join(named)}. Allowed: studies without runs have none"
            )
        lacking = [key for key in ("tasks", "variants") if not getattr(self, key)]
        if self.has_runs and lacking:
            raise ValueError(
                f"has no {' and no '.join(lacking)}. A study names the runs that it selects; one "
                "without runs says tabular: true"
            )
        return self

    @property
    def has_runs(self) -> bool:
        return not (self.tabular or self.learned)


class Selection(_Model):
    """What a small scale takes of a study; what is not named stays as the study has it."""

    tasks: Tasks | None = None
    variants: VariantNames | None = None
    seeds: SeedChoice | None = None


class Evaluation(_Model):
    """Evaluation episodes beside training: `episodes` of them every `every` environment steps."""

    every: PositiveInt
    episodes: PositiveInt
    tasks: dict[TaskId, "Evaluation"] = {}  # in place of these two


class ScaleSettings(_Model):
    """Sizes, budgets and seeds of a scale; code paths are the same at each."""

    compiled: bool
    evaluation: Evaluation
    seeds: SeedChoice | None = None  # in place of each study's
    episodes: PositiveInt | None = None  # a budget of so many episodes, the same for all runs
    most_steps: PositiveInt | None = None  # and of no more environment steps than this
    budgets: dict[TaskId, PositiveInt] | None = None  # or environment steps for each task
    studies: dict[Name, Selection] | None = None  # None: all studies, whole
    parameters: dict[AlgorithmName, Overrides] = {}  # over those of the variant
    variants: dict[Name, Overrides] = {}  # and over these, of one variant alone

    @model_validator(mode="after")
    def _one_budget(self) -> "ScaleSettings":
        if self.episodes is not None and self.budgets is not None:
            raise ValueError(
                "has both episodes and budgets. Allowed: one of them. Remove the other"
            )
        if self.most_steps is not None and self.episodes is None:
            raise ValueError("has most_steps without episodes, which it limits. Remove it")
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
        document = self.studies[study].document
        keys = dict.fromkeys(
            (task, variant, seed)
            for part in self._parts(study, scale)
            for task in part.tasks
            for variant in part.variants
            for seed in _seed_list(part.seeds)
        )
        return [
            self._spec(self.budget(document, task, variant, scale), task, variant, seed, scale)
            for task, variant, seed in keys
        ]

    def tabular_seeds(self, study: str, scale: str) -> int:
        """How many seeds a tabular study has at a scale, which takes no part of it away."""
        return len(_seed_list(self.settings(scale).seeds or self.studies[study].seeds))

    def learned_seeds(self, study: str, scale: str) -> list[int]:
        """The seeds of a learned study at a scale, of which a small scale may take fewer."""
        settings, whole = self.settings(scale), self.studies[study]
        part = (settings.studies or {}).get(study, Selection())
        return _seed_list(part.seeds or settings.seeds or whole.seeds)

    def _parts(self, study: str, scale: str) -> list[Part]:
        settings, whole = self.settings(scale), self.studies[study]
        if not whole.has_runs:
            return []
        if settings.studies is None:
            parts = [Part(tasks=whole.tasks, variants=whole.variants, seeds=whole.seeds)]
            parts += whole.besides
            return [p.model_copy(update={"seeds": settings.seeds or p.seeds}) for p in parts]
        part = settings.studies.get(study)
        if part is None:
            return []
        return [
            Part(
                tasks=part.tasks or whole.tasks,
                variants=part.variants or whole.variants,
                seeds=part.seeds or settings.seeds or whole.seeds,
            )
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

    def spec(
        self, task: str, variant: str, seed: int, scale: str, budget: int | None = None
    ) -> "RunSpec":
        """The run (task, variant, seed), whether a study wants it or not.

        Without `budget` it is the largest that a study asks for; outside all studies, that of the
        scale, or of the first document that has one.

        Raises
        ------
        ConfigError
            If one of them is not allowed, or nothing says how long such a run is.
        """
        check_choice("scale", scale, self.scales, "command line")
        check_choice("task", task, TASKS, "command line")
        _check_variant(self, "variant", variant, "command line")
        _check_number("seed", seed, least=0)
        known = self.runs(scale).get((task, variant, seed))
        if budget is not None:
            _check_number("budget", budget, least=1)
            return self._spec(budget, task, variant, seed, scale)
        if known is not None:
            return known
        documents = [d for d in self.budgets if task in self.budgets[d]] or list(self.documents)
        steps = self.budget(documents[0], task, variant, scale)
        return self._spec(steps, task, variant, seed, scale)

    def parameters(self, task: str, variant: str, scale: str) -> Parameters:
        """Resolved hyper-parameters: the variant's, then its task's, the scale's, and after @."""
        key = (task, variant, scale)
        if key not in self._parameters:
            name, _, overrides = variant.partition("@")
            base = self.variants[name]
            values = base.parameters | base.tasks.get(task, {})
            sizes = self.settings(scale)
            values |= sizes.parameters.get(base.algorithm, {}) | sizes.variants.get(name, {})
            values |= _parse_overrides(overrides)
            for component, part in base.components.items():
                values[component] = self.parameters(task, part, scale)
            where = f"variants.{variant} on {task} at scale {scale}"
            self._parameters[key] = resolve_parameters(base.algorithm, values, where)
        return self._parameters[key]

    def budget(self, document: str, task: str, variant: str, scale: str) -> int:
        """Environment steps of (task, variant) as `document` has it at this scale."""
        settings = self.settings(scale)
        if settings.episodes is not None:
            steps = settings.episodes * TASKS[task].horizon
            return min(steps, settings.most_steps or steps)
        if settings.budgets is not None:
            if task not in settings.budgets:
                raise ConfigError(
                    f"config.yaml: scales.{scale}.budgets has no {task!r}, which a run of this "
                    f"scale uses. There are: {', '.join(sorted(settings.budgets))}. Add it, or "
                    "give a budget where you start the run."
                )
            return settings.budgets[task]
        entry = self.budgets.get(document, {}).get(task)
        if entry is None:
            raise ConfigError(
                f"config.yaml: budgets.{document} has no {task!r}, which a run at scale {scale} "
                "uses. Add it with its steps, status and source."
            )
        return entry.variants.get(variant, entry).steps

    def _spec(self, budget: int, task: str, variant: str, seed: int, scale: str) -> "RunSpec":
        settings = self.settings(scale)
        algorithm = self.variants[variant.partition("@")[0]].algorithm
        if ALGORITHMS[algorithm].whole_episodes and TASKS[task].terminates:
            fixed = ", ".join(sorted(t.id for t in TASKS.values() if not t.terminates))
            raise ConfigError(
                f"config.yaml: {variant} on {task}: algorithm {algorithm!r} learns from episodes "
                f"of one length, and {task} may end early. Allowed: {fixed}."
            )
        parameters = self.parameters(task, variant, scale)
        for part in (parameters, *vars(parameters).values()):
            _check_initial_episodes(part, TASKS[task], variant)
        _check_termination(parameters, TASKS[task], variant)
        evaluation = settings.evaluation.tasks.get(task, settings.evaluation)
        return RunSpec(
            task=TASKS[task],
            variant=variant,
            algorithm=algorithm,
            parameters=parameters,
            seed=seed,
            budget=budget,
            evaluate_every=evaluation.every,
            evaluation_episodes=evaluation.episodes,
            compiled=settings.compiled,
        )


def _check_termination(parameters: object, task: Task, variant: str) -> None:
    """That rollouts in a model end where the environment does."""
    if not isinstance(parameters, MBPOParameters):
        return
    environment = task.id.rpartition("-")[0]
    ends = task.terminates and environment in get_args(Termination)
    expected = environment if ends else "never"
    if parameters.termination != expected:
        raise ConfigError(
            f"config.yaml: {variant} on {task.id}: termination is {parameters.termination!r}. "
            f"Allowed: {expected!r}, which is when that task ends."
        )


def _check_initial_episodes(parameters: object, task: Task, variant: str) -> None:
    """That a model's first training is not for ever put off by a buffer that is too small."""
    if not isinstance(parameters, MBRLParameters):
        return
    needed = parameters.initial_episodes * task.horizon
    if parameters.replay_capacity < needed:
        raise ConfigError(
            f"config.yaml: {variant} on {task.id}: replay_capacity is {parameters.replay_capacity}, "
            f"but {parameters.initial_episodes} initial_episodes of {task.horizon} steps do not fit. "
            f"Allowed: at least {needed}."
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
    read = read_yaml(path)
    return parse_config(read if values is None else values, path.name)


def parse_config(values: Any, file: str = "config.yaml") -> Config:
    """Check a configuration that has been read already; see `load_config`."""
    try:
        config = Config.model_validate(values)
    except ValidationError as error:
        raise ConfigError(explain(error, file, values, Config.model_json_schema())) from error
    _check_references(config, file)
    return config


def resolve_parameters(
    algorithm: str, values: Mapping[str, Any], where: str, file: str = "config.yaml"
) -> Parameters:
    """An algorithm's hyper-parameters from plain values; an error names `file` and `where`."""
    kind = ALGORITHMS[algorithm].parameters
    try:
        return kind(**{str(key): value for key, value in values.items()})
    except ValidationError as error:
        schema = TypeAdapter(kind).json_schema()
        raise ConfigError(explain(error, file, values, schema, where)) from error


def _check_references(config: Config, file: str) -> None:
    """Names that must exist elsewhere in the file; then every run's parameters and budget."""
    for study, content in config.studies.items():
        if not content.own and not study.startswith(content.document + "_"):
            raise ConfigError(
                f"{file}: studies.{study} belongs to document {content.document!r}, so its name "
                f"must start with '{content.document}_'; a question of our own says own: true."
            )
        check_choice(f"studies.{study}.document", content.document, config.documents, file)
    for document in config.budgets:
        check_choice("a key of budgets", document, config.documents, file)
    for name, base in config.variants.items():
        _check_components(config, name, base, file)
        _check_no_parts(base.algorithm, base.parameters, f"variants.{name}.parameters")
        resolve_parameters(base.algorithm, base.parameters, f"variants.{name}.parameters")
        for task, values in base.tasks.items():
            place = f"variants.{name}.tasks.{task}"
            _check_entries(base.algorithm, values, place)
            resolve_parameters(base.algorithm, base.parameters | values, place)
    for place, variant in _named_variants(config):
        _check_variant(config, place, variant, file)
    for scale in SCALES:
        if scale not in config.scales:
            raise ConfigError(f"{file}: scales.{scale} is missing. Add it.")
        settings = config.settings(scale)
        sized = [name for name, study in config.studies.items() if not study.tabular]
        for study, part in (settings.studies or {}).items():
            check_choice(f"a key of scales.{scale}.studies", study, sized, file)
            if config.studies[study].learned and (part.tasks or part.variants):
                raise ConfigError(
                    f"{file}: scales.{scale}.studies.{study} names tasks or variants, but that "
                    "study has no runs. Allowed: seeds."
                )
        for algorithm, values in settings.parameters.items():
            _check_entries(algorithm, values, f"scales.{scale}.parameters.{algorithm}")
        for variant, values in settings.variants.items():
            check_choice(f"a key of scales.{scale}.variants", variant, config.variants, file)
            algorithm = config.variants[variant].algorithm
            _check_entries(algorithm, values, f"scales.{scale}.variants.{variant}")
        config.runs(scale)


def _check_components(config: Config, name: str, variant: Variant, file: str) -> None:
    """That a variant names exactly the parts that its algorithm has, each of the right family."""
    parts = ALGORITHMS[variant.algorithm].components
    place = f"variants.{name}.components"
    if set(variant.components) != set(parts):
        needed = ", ".join(parts) or "none"
        raise ConfigError(
            f"{file}: {place} names {sorted(variant.components)}. Algorithm "
            f"{variant.algorithm!r} is made of: {needed}. Give each the name of a variant."
        )
    for component, part in variant.components.items():
        _check_variant(config, f"{place}.{component}", part, file)
        found = config.variants[part.partition("@")[0]].algorithm
        if found != parts[component]:
            raise ConfigError(
                f"{file}: {place}.{component} is {part!r}, whose algorithm is {found!r}. Allowed: "
                f"variants of {parts[component]!r}."
            )


def _check_no_parts(algorithm: str, values: Mapping[str, Any], where: str) -> None:
    for part in set(values) & set(ALGORITHMS[algorithm].components):
        raise ConfigError(
            f"config.yaml: {where}.{part} is set, but a part has the parameters of the variant that "
            f"`components` names. Set them there, or name another variant."
        )


def _check_entries(algorithm: str, values: Mapping[str, Any], where: str) -> None:
    """Each entry for itself: what entries mean together shows where a run resolves them all."""
    _check_no_parts(algorithm, values, where)
    try:
        resolve_parameters(algorithm, values, where)
    except ConfigError as error:
        mistakes = error.__cause__.errors()  # type: ignore[union-attr]
        if any(mistake["loc"] for mistake in mistakes):
            raise


def _check_variant(config: Config, place: str, variant: str, file: str) -> None:
    """That a variant exists, and that what follows its @ are parameters of its algorithm."""
    name, _, overrides = variant.partition("@")
    check_choice(place, name, config.variants, file)
    if not re.fullmatch(VARIANT_PATTERN, variant):
        raise ConfigError(
            f"{file}: {place} is {variant!r}. Allowed after @: parameters with values, such as "
            f"{name}@discount=0.9,polyak=0.01."
        )
    keys = [pair.partition("=")[0] for pair in overrides.split(",")]
    if len(set(keys)) < len(keys):
        raise ConfigError(f"{file}: {place} is {variant!r}. Allowed: each parameter once.")
    values = _parse_overrides(overrides)
    _check_entries(config.variants[name].algorithm, values, f"{place} ({variant})")


def _check_number(key: str, value: object, least: int) -> None:
    if type(value) is not int or value < least:
        raise ConfigError(
            f"command line: {key} is {value!r}. Allowed: a whole number of at least {least}."
        )


def _named_variants(config: Config) -> Iterator[tuple[str, str]]:
    """Every place that names a variant, with the name."""
    for study, content in config.studies.items():
        for i, variant in enumerate(content.variants):
            yield f"studies.{study}.variants[{i}]", variant
        for k, more in enumerate(content.besides):
            for i, variant in enumerate(more.variants):
                yield f"studies.{study}.besides[{k}].variants[{i}]", variant
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
    return {key: _parse_value(value) for key, _, value in pairs}


def _parse_value(text: str) -> Any:
    """As YAML has it, and 1e-4 too, which is text to YAML."""
    value = yaml.safe_load(text)
    if not isinstance(value, str):
        return value
    try:
        return float(value)
    except ValueError:
        return value


def _seed_list(seeds: int | list[int]) -> list[int]:
    return list(range(seeds)) if isinstance(seeds, int) else seeds
