"""The register of claims, paper/claims.yaml: what each says, which test decides it, on which runs.

Reads and checks; the tests themselves are in `analysis.claims_tests`. Read while the DAG is built,
so this imports no pandas.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

from unirl_repro.config import (
    Config,
    DocumentName,
    Name,
    Part,
    Study,
    TaskId,
    Tasks,
    VariantName,
    VariantNames,
    check_choice,
)
from unirl_repro.explain import ConfigError, explain
from unirl_repro.yamlfile import read_yaml

REGISTER = Path("paper/claims.yaml")
# Of the documents' algorithms: a claim that needs one waits until config.yaml has it.
PUBLISHED_ONLY = Literal["mnm_approx", "vmbpo", "vaml", "value_weighted"]
Policy = Literal[
    "random", "sac_untested", "sac", "sac_forced", "mbrl"
]  # who acts: the curves' column
WHOLE = (0.0, 1.0)
# Parameters that name something.
VARIANT_KEYS = ("ours", "than", "variant", "early", "late")
TASK_KEYS = ("plain", "changed", "range_of")
METRIC_KEYS = ("metric", "beside")
NAMING = (*VARIANT_KEYS, *TASK_KEYS, *METRIC_KEYS, "policies")

Share = Annotated[float, Field(ge=0, le=1)]
Margin = Annotated[float, Field(gt=0, lt=1)]
Window = Annotated[tuple[Share, Share], Field(strict=False)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Comparison(_Model):
    """`ours` against the better of `than`, in the mean return over a window of training.

    The returns are of the episodes of training, or of evaluations in between. The margin is a share
    of the range of a task's published rows, `range_of` if not of its own.
    """

    ours: VariantName
    than: VariantNames
    margin: Margin
    window: Window = WHOLE
    range_of: TaskId | None = None
    returns: Literal["training", "evaluation"] = "training"


class Asymptote(_Model):
    """`ours` against `than` in a run that is longer: evaluations in a window of each one's length."""

    ours: VariantName
    than: VariantName
    margin: Margin
    window: Window


class Standing(_Model):
    """`ours` and each of `than`, on the scale from the lowest (0) to the highest (1) printed row."""

    ours: VariantName
    than: VariantNames
    share: Margin


class AverageComparison(_Model):
    """`ours` against others in the normalised return, averaged over tasks."""

    ours: VariantName
    than: VariantNames
    against: Literal["each", "better"]
    margin: Margin


class Crossing(_Model):
    """`early` is ahead in one window of training, `late` in another."""

    early: VariantName
    late: VariantName
    early_window: Window
    late_window: Window
    margin: Margin


class Gain(_Model):
    """What a variant has learnt: its return in a window, less that of its own random episodes."""

    variant: VariantName
    window: Window
    margin: Margin
    policies: list[Policy] | None = None  # only the episodes in which one of these acted
    range_of: TaskId | None = None


class Drop(_Model):
    """What two variants lose where a task is changed."""

    ours: VariantName
    than: VariantName
    plain: TaskId
    changed: TaskId
    margin: Margin


class Condition(_Model):
    """Share of a window's tested episodes in which the test chose a policy."""

    policy: Literal["sac", "mbrl"]
    window: Window
    at_least: Share | None = None
    at_most: Share | None = None

    @model_validator(mode="after")
    def _one_bound(self) -> "Condition":
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError("has both or neither of at_least and at_most. Allowed: one of them")
        return self


class Shares(_Model):
    """How often Unified RL lets each of its parts act."""

    variant: VariantName
    conditions: Annotated[list[Condition], Field(min_length=1)]


class DataToLevel(_Model):
    """Data that `ours` needs for a share of the maximum of `than`, over what `than` needs."""

    ours: VariantName
    than: VariantName
    share: Margin
    claimed: PositiveFloat


class Reported(_Model):
    """Evaluation returns at some steps against those that others report there.

    The margin is a share of the reported mean.
    """

    variant: VariantName
    steps: Annotated[list[PositiveInt], Field(min_length=1)]
    margin: Margin


class Magnitude(_Model):
    """A metric of a variant as a share of the mean size of each of others, in a window of training."""

    variant: VariantName
    metric: Name
    beside: Annotated[list[Name], Field(min_length=1)]
    share: Margin
    window: Window = WHOLE


class Overhead(_Model):
    """Slower updates that saved data pay for, at a time for one episode's updates of `than`."""

    ours: VariantName
    than: VariantName
    share: Margin
    claimed: PositiveFloat
    update_seconds: PositiveFloat
    updates_per_episode: PositiveInt
    episode_seconds: PositiveFloat


Unit = Literal["return", "nats", "share", "iterations", "number"]


class _Bounded(_Model):
    study: Name
    panel: Name
    name: Name
    of: Annotated[list[str], Field(min_length=1)]
    at_least: float | None = None
    at_most: float | None = None
    unit: Unit = "number"

    @model_validator(mode="after")
    def _one_bound(self) -> "_Bounded":
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError("has both or neither of at_least and at_most. Allowed: one of them")
        return self


class Within(_Bounded):
    """A number of each of some variants of a tabular study, on one side of a bound."""


class Beyond(_Bounded):
    """The mean over seeds of a number of each of some variants, on one side of a bound."""


class Ordered(_Model):
    """A number of one variant of a tabular study, at least that of another wherever both stand."""

    study: Name
    panel: Name
    name: Name
    upper: str
    lower: str
    by: float = 0.0
    unit: Unit = "number"


class Ahead(_Model):
    """A number of one variant of a tabular study, over seeds, better than those of others.

    With `no_worse` it need not be better, and may be worse by less than the margin.
    """

    study: Name
    panel: Name
    name: Name
    first: str
    than: Annotated[list[str], Field(min_length=1)]
    lower_is_better: bool = False
    no_worse: bool = False
    margin: PositiveFloat
    unit: Unit = "number"


TABULAR: dict[str, type[_Model]] = {
    "within": Within,
    "beyond": Beyond,
    "ordered": Ordered,
    "ahead": Ahead,
}
PARAMETERS: dict[str, type[_Model]] = {
    **TABULAR,
    "better": Comparison,
    "far_better": Comparison,
    "no_worse": Comparison,
    "equal": Comparison,
    "better_mostly": Comparison,
    "better_average": AverageComparison,
    "good_everywhere": Standing,
    "overtaken": Crossing,
    "learns": Gain,
    "fails": Gain,
    "loses_less": Drop,
    "shares": Shares,
    "data_to_level": DataToLevel,
    "overhead": Overhead,
    "above_reported": Reported,
    "as_reported": Reported,
    "on_par": Asymptote,
    "around_zero": Magnitude,
    "far_smaller": Magnitude,
}


class Selection(_Model):
    """Runs that a claim needs; without a study they are planned by none."""

    study: Name | None = None
    tasks: Tasks
    variants: VariantNames
    seeds: PositiveInt = 5


class Rule(_Model):
    """A test, its parameters, and what it does in a sentence that names each of them."""

    name: Name
    parameters: dict[str, Any]
    rule: str


class Given(_Model):
    """What a claim takes for granted: a test that must come out for it, else nothing is decided."""

    name: Name
    parameters: dict[str, Any]


class Claim(_Model):
    """One empirical claim of a document.

    Attributes
    ----------
    document, where, claim : str
        The document, the place in it, and what it says, in our words.
    runs : list of Selection
        Runs of this project that decide it; none where it cannot be tested.
    computed : list of str
        In place of runs, the studies without any that decide it.
    absent : list of str
        Algorithms that it needs and config.yaml does not have.
    test : Rule, optional
        What decides it.
    given : Given, optional
        The condition under which it says something ("where SAC fails").
    untestable : str, optional
        In place of a test, what would have to be measured.
    """

    document: DocumentName
    where: str
    claim: str
    runs: list[Selection] = []
    computed: list[Name] = []
    absent: list[PUBLISHED_ONLY] = []
    test: Rule | None = None
    given: Given | None = None
    untestable: str | None = None

    @model_validator(mode="after")
    def _test_or_why_not(self) -> "Claim":
        if (self.test is None) == (self.untestable is None):
            raise ValueError("has both or neither of test and untestable. Allowed: one of them")
        if self.test is not None and bool(self.runs) == bool(self.computed):
            raise ValueError("has both or neither of runs and computed. Allowed: one of them")
        if self.test is None and self.given is not None:
            raise ValueError("has a condition (given) and no test. Remove it, or add the test")
        return self

    @property
    def variants(self) -> list[str]:
        """All that it compares, with those that are absent."""
        named = [variant for selection in self.runs for variant in selection.variants]
        return list(dict.fromkeys([*named, *self.absent]))

    @property
    def tasks(self) -> list[str]:
        return list(dict.fromkeys(task for selection in self.runs for task in selection.tasks))


class _Register(_Model):
    claims: dict[Name, Claim]


def load_register(config: Config, path: Path = REGISTER) -> dict[str, Claim]:
    """Read and check the register.

    Parameters
    ----------
    config : Config
        The experiment, whose studies, tasks and variants the claims name.
    path : Path
        The YAML file.

    Returns
    -------
    dict of str to Claim
        The claims by id, in the order of the file.

    Raises
    ------
    ConfigError
        If a key, test, study, task or variant is unknown or a value not allowed; the text names
        file, place, value and what is allowed.
    """
    values = read_yaml(path)
    try:
        claims = _Register.model_validate(values).claims
    except ValidationError as error:
        raise ConfigError(
            explain(error, path.name, values, _Register.model_json_schema())
        ) from error
    for name, claim in claims.items():
        _check_runs(config, claim, f"claims.{name}", path.name)
        _check_computed(config, claim, f"claims.{name}", path.name)
        if claim.test is not None:
            _check_rule(claim, claim.test, f"claims.{name}.test", path.name)
            _check_metrics(config, claim, f"claims.{name}.test.parameters", path.name)
        if claim.given is not None:
            _check_test(claim, claim.given, f"claims.{name}.given", path.name)
    return claims


def studies(register: Mapping[str, Claim]) -> list[str]:
    """The studies whose frames the claims need."""
    claims = register.values()
    named = [s.study for claim in claims for s in claim.runs if s.study]
    return list(dict.fromkeys([*named, *(s for claim in claims for s in claim.computed)]))


def measured(register: Mapping[str, Claim]) -> list[str]:
    """The studies of which the claims need the metrics too."""
    claims = [claim for claim in register.values() if _magnitude(claim) is not None]
    return list(dict.fromkeys(s.study for claim in claims for s in claim.runs if s.study))


def parameters(rule: Rule | Given) -> _Model:
    """A checked test's parameters."""
    return PARAMETERS[rule.name].model_validate(rule.parameters)


def sentence(
    rule: Rule, constants: Mapping[str, float], called: Callable[[str, str], str] = lambda key, x: x
) -> str:
    """The rule with its parameters, and `constants` of the statistics, filled in.

    `called` gives what a reader calls the variant, task or policy of a parameter.
    """
    values = parameters(rule).model_dump()
    for key, value in values.items() if rule.name not in TABULAR else ():
        if key in NAMING and isinstance(value, str):
            values[key] = called(key, value)
        elif key in NAMING and value is not None:
            values[key] = listed([called(key, entry) for entry in value])
        elif key == "steps":
            values[key] = listed([f"{step:,}" for step in value])
    return rule.rule.format(**values, **constants)


def listed(words: Sequence[str], last: str = "and") -> str:
    """Words in a sentence.

    Examples
    --------
    >>> listed(["SAC", "HL", "PPO"], "or")
    'SAC, HL or PPO'
    """
    return f" {last} ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _check_runs(config: Config, claim: Claim, place: str, file: str) -> None:
    for i, selection in enumerate(claim.runs):
        here = f"{place}.runs[{i}]"
        for j, variant in enumerate(selection.variants):
            name = variant.partition("@")[0]
            check_choice(f"{here}.variants[{j}]", name, config.variants, file)
        if selection.study is not None:
            _check_study(config, claim.document, selection, here, file)
    for i, variant in enumerate(claim.absent):
        if variant in config.variants:
            raise ConfigError(
                f"{file}: {place}.absent[{i}] is {variant!r}, which config.yaml has now. Plan its "
                f"runs in a study and name it under {place}.runs."
            )


def _check_computed(config: Config, claim: Claim, place: str, file: str) -> None:
    names = [
        name
        for name, study in config.studies.items()
        if not study.has_runs and study.document == claim.document
    ]
    for i, study in enumerate(claim.computed):
        check_choice(f"{place}.computed[{i}]", study, names, file)


def _check_study(
    config: Config, document: str, selection: Selection, place: str, file: str
) -> None:
    names = [name for name, study in config.studies.items() if study.document == document]
    check_choice(f"{place}.study", selection.study, names, file)
    study = config.studies[str(selection.study)]
    parts: list[Study | Part] = [study, *study.besides]
    tasks = {task for part in parts for task in part.tasks}
    for i, task in enumerate(selection.tasks):
        check_choice(f"{place}.tasks[{i}]", task, tasks, file)
    cells = {(t, v) for part in parts for t in part.tasks for v in part.variants}
    everywhere = {v for _, v in cells if all((t, v) in cells for t in selection.tasks)}
    for i, variant in enumerate(selection.variants):
        check_choice(f"{place}.variants[{i}]", variant, everywhere, file)
    choices = [part.seeds for part in parts if set(part.tasks) & set(selection.tasks)]
    seeds = min(choice if isinstance(choice, int) else len(choice) for choice in choices)
    if selection.seeds > seeds:
        raise ConfigError(
            f"{file}: {place}.seeds is {selection.seeds}. Allowed: at most {seeds}, which is what "
            f"{selection.study} has."
        )


def _check_rule(claim: Claim, rule: Rule, place: str, file: str) -> None:
    _check_test(claim, rule, place, file)
    try:
        sentence(rule, {"significance": 0.05})
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise ConfigError(
            f"{file}: {place}.rule names {error} in braces. Allowed: significance, "
            f"{', '.join(PARAMETERS[rule.name].model_fields)}, with a format such as {{margin:.0%}}."
        ) from error


def _check_test(claim: Claim, rule: Rule | Given, place: str, file: str) -> None:
    allowed = TABULAR if claim.computed else set(PARAMETERS) - set(TABULAR)
    check_choice(f"{place}.name", rule.name, allowed, file)
    kind = PARAMETERS[rule.name]
    try:
        checked = kind.model_validate(rule.parameters)
    except ValidationError as error:
        here = f"{place}.parameters"
        text = explain(error, file, rule.parameters, kind.model_json_schema(), here)
        raise ConfigError(text) from error
    if isinstance(checked, Within | Beyond | Ordered | Ahead):
        check_choice(f"{place}.parameters.study", checked.study, claim.computed, file)
        return
    for key, variant in _named_variants(checked):
        check_choice(f"{place}.parameters.{key}", variant, claim.variants, file)
    for key in ("plain", "changed"):
        if hasattr(checked, key):
            check_choice(f"{place}.parameters.{key}", getattr(checked, key), claim.tasks, file)


def _check_metrics(config: Config, claim: Claim, place: str, file: str) -> None:
    checked = _magnitude(claim)
    if checked is None:
        return
    recorded = [m for s in claim.runs if s.study for m in config.studies[s.study].metrics]
    check_choice(f"{place}.metric", checked.metric, recorded, file)
    for i, name in enumerate(checked.beside):
        check_choice(f"{place}.beside[{i}]", name, recorded, file)


def _magnitude(claim: Claim) -> Magnitude | None:
    """The parameters of a test that asks for metrics; None of any other."""
    checked = parameters(claim.test) if claim.test is not None else None
    return checked if isinstance(checked, Magnitude) else None


def _named_variants(checked: _Model) -> Iterator[tuple[str, str]]:
    for key in VARIANT_KEYS:
        value = getattr(checked, key, [])
        if isinstance(value, str):
            yield key, value
        else:
            yield from ((f"{key}[{i}]", variant) for i, variant in enumerate(value))
