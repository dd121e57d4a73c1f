"""The vocabulary of mtbench: tasks, features, splits and search ranges.

Imports neither torch nor pandas, so that listing and validating stay instant.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from mtbench.errors import MTBenchError, suggest
from mtbench.kinds import DEFAULT, find_kind, list_kinds

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo


class Settings(BaseModel):
    """Base of everything that a user writes: frozen, and an unknown key is an error that suggests the right one.

    Since 0.1, stable.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, value: Any) -> Any:
        if isinstance(value, Mapping):
            known = {name for key, info in cls.model_fields.items() for name in (key, info.alias) if name}
            for key in value:
                if key not in known:
                    hint = suggest(key, known) or f" (known: {', '.join(sorted(known))})"
                    raise PydanticCustomError(
                        "unknown_key", "unknown key '{key}'{hint}", {"key": str(key), "hint": hint}
                    )
        return value


Name = Annotated[str, Field(min_length=1)]


def named(value: Any) -> Any:
    """Return ``{"name": value}`` for a bare name, anything else as it is. Refuses what can be neither."""
    if isinstance(value, str):
        return {"name": value}
    if not isinstance(value, Mapping | BaseModel):
        raise PydanticCustomError("not_named", "should be a name, or a mapping with 'name' and settings")
    return value


class Component(BaseModel):
    """A plugin by name, with its settings: ``mmoe`` or ``{name: mmoe, experts: 4}``.

    Since 0.1, stable.
    """

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)

    name: Name = Field(description="The plugin's name; the other keys are its settings.")

    @property
    def settings(self) -> dict[str, Any]:
        """Everything but the name."""
        return dict(self.model_extra or {})


AnyComponent = Annotated[Component, BeforeValidator(named, json_schema_input_type=Name | Component)]


class Task(Settings):
    """One label to predict.

    A task with ``given`` is defined only where the given task is positive (conversion given click): it is trained and
    evaluated on those rows. Without ``given`` it is predicted over all rows.

    Since 0.1, stable.
    """

    name: Name = Field(description="What results call the task.")
    kind: str = Field(
        DEFAULT,
        description="What the label is: binary (0 or 1), regression (any number), ordinal (a grade), count, or a kind "
        "that a plugin adds.",
        json_schema_extra=lambda schema: schema.update(enum=[*list_kinds()]),
    )
    column: str | None = Field(None, description="Column of the label; the task's name unless given.")
    given: str | None = Field(None, description="Task of labels 0 and 1 whose positive this one requires.")
    metric: str | None = Field(None, description="Primary metric; that of the kind unless given.")

    @property
    def label(self) -> str:
        """Column that holds the label."""
        return self.column or self.name

    @property
    def primary(self) -> str:
        """Name of the metric that selects checkpoints and ranks models."""
        return self.metric or find_kind(self.kind).metric

    @property
    def probability(self) -> bool:
        """Whether labels are 0 or 1 and predictions probabilities."""
        return find_kind(self.kind).probability


class Feature(Settings):
    """One input column.

    ``numeric`` columns are standardised on the training rows, ``log`` ones after ``sign(x) * log(1 + |x|)``;
    ``multi`` columns hold a list of values per row.

    Since 0.1, stable.
    """

    name: Name = Field(description="What the feature is called.")
    kind: Literal["categorical", "numeric", "multi"] = Field(
        "categorical", description="One value, a number, or a list."
    )
    of: Literal["user", "item", "context"] = Field("context", description="Whom or what the feature describes.")
    column: str | None = Field(None, description="Column of the value; the feature's name unless given.")
    log: bool = Field(False, description="Compress a heavy-tailed numeric column logarithmically.")

    @property
    def source(self) -> str:
        """Column that holds the value."""
        return self.column or self.name


AnyTask = Annotated[Task, BeforeValidator(named, json_schema_input_type=Name | Task)]
AnyFeature = Annotated[Feature, BeforeValidator(named, json_schema_input_type=Name | Feature)]


class Schema(Settings):
    """What the columns of an interaction table mean.

    Since 0.1, stable.
    """

    tasks: tuple[AnyTask, ...] = Field(min_length=1, description="Labels to predict: names or mappings.")
    features: tuple[AnyFeature, ...] = Field((), description="Input columns; a bare name is categorical.")
    user: str | None = Field(None, description="Column of the user's id.")
    item: str | None = Field(None, description="Column of the item's id.")
    domain: str | None = Field(None, description="Column of where the row comes from: scenario, country, tab.")
    time: str | None = Field(None, description="Numeric or timestamp column that orders the rows.")
    row: str | None = Field(None, description="Column that identifies a row; its position unless given.")
    split: str | None = Field(None, description="Column with 'train', 'valid' or 'test': the official split.")
    outcomes: tuple[str, ...] = Field((), description="Columns known only after the event: never features.")
    texts: tuple[str, ...] = Field((), description="Columns of the item's text, which the input 'text' encodes.")
    truth: Mapping[str, str] = Field(
        default_factory=dict, description="Task -> column of its true probability or expected label."
    )

    @model_validator(mode="after")
    def _texts_of_items(self) -> Self:
        if self.texts and self.item is None:
            raise ValueError("texts describe items; name the column of the item's id under 'item'")
        after = {*self.outcomes, *self.truth.values(), *(task.label for task in self.tasks)}
        for text in self.texts:
            if text in after:
                raise ValueError(f"text '{text}' is known only after the event; remove it from the texts")
        return self

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        tasks = {task.name: task for task in self.tasks}
        for kind, names in (("task", [t.name for t in self.tasks]), ("feature", [f.name for f in self.features])):
            for name in names:
                if names.count(name) > 1:
                    raise ValueError(f"two {kind}s are named '{name}'; rename one of them")
        for known in self.truth:
            if known not in tasks:
                raise ValueError(f"truth names '{known}', which is no task{suggest(known, tasks)}")
        return self

    @model_validator(mode="after")
    def _kinds_are_known(self) -> Self:
        for task in self.tasks:
            try:
                find_kind(task.kind)
            except MTBenchError as error:
                raise ValueError(f"task '{task.name}': {error}") from error
        return self

    @model_validator(mode="after")
    def _given_is_a_funnel(self) -> Self:
        tasks = {task.name: task for task in self.tasks}
        for task in self.tasks:
            if task.given is not None:
                given = tasks.get(task.given)
                if given is None:
                    raise ValueError(
                        f"task '{task.name}' is given '{task.given}', which is no task{suggest(task.given, tasks)}"
                    )
                if not given.probability or given is task:
                    raise ValueError(
                        f"task '{task.name}' is given '{task.given}', which is not another task of labels 0 and 1"
                    )
                chain = [task.name]
                while given is not None:
                    if given.name in chain:
                        raise ValueError(
                            f"tasks are given each other in a circle: {' given '.join([*chain, given.name])}"
                        )
                    chain.append(given.name)
                    given = tasks.get(given.given or "")
        return self


class Split(Settings):
    """How rows are divided into train, valid and test.

    ``time``: the last share of rows is test, the share before it valid; equal times are never divided.
    ``random``: by a seeded permutation. ``official``: the dataset's own; where it has no validation rows, the share
    ``valid`` of its training rows (the last by time, else at random) becomes that.

    Since 0.1, stable.
    """

    by: Literal["time", "random", "official"] = Field(description="How the rows are divided.")
    valid: float = Field(0.1, gt=0, lt=1, description="Share of the rows that chooses checkpoints and settings.")
    test: float = Field(0.1, gt=0, lt=1, description="Share of the rows that judges.")
    seed: int = Field(0, ge=0, description="Seed of a random division.")

    @model_validator(mode="after")
    def _leaves_training_rows(self) -> Self:
        if self.valid + self.test >= 1:
            raise ValueError(
                f"valid {self.valid} and test {self.test} leave no training rows; their sum must be below 1"
            )
        return self


class Card(BaseModel):
    """What a user of a dataset must know.

    Since 0.1, stable.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    licence: str
    citation: str
    url: str
    description: str
    rows: int | None = None
    positive_rates: Mapping[str, float] = Field(default_factory=dict, description="Task -> share of positive labels.")
    traps: tuple[str, ...] = ()
    acknowledged: Mapping[str, str] = Field(
        default_factory=dict, description="Feature or leak gate -> why its warning is no leak here."
    )


class ModelCard(BaseModel):
    """What a reader of a model's results must know about the model.

    Every sentence of ``verified`` and ``inferred`` says what it rests on: the authors' code, a figure, code of third
    parties, a review, general knowledge, or nothing but a decision made here.

    Since 0.1, stable.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    paper: str = ""
    equations: tuple[str, ...] = Field((), description="Plain text, a line each; further lines are indented.")
    verified: tuple[str, ...] = Field((), description="What was checked, and in which artefact.")
    inferred: tuple[str, ...] = Field((), description="What was not: second-hand knowledge, and choices made here.")
    differences: tuple[str, ...] = Field((), description="Where it knowingly departs from its source.")


@dataclass(frozen=True)
class DataSpec:
    """The encoded columns that a model is built for.

    ``categorical`` and ``multi`` map a feature to its number of codes; code 0 is the unknown value. ``targets`` is what
    the kind of each task learned from its training labels; ``inputs`` maps what the model asked for to its ``spec``.
    ``domains`` is the number of codes of a batch's ``domain``, 0 where the dataset has none.

    Since 0.1, stable.
    """

    tasks: tuple[Task, ...]
    categorical: Mapping[str, int] = field(default_factory=dict)
    multi: Mapping[str, int] = field(default_factory=dict)
    numeric: tuple[str, ...] = ()
    targets: tuple[Mapping[str, Any], ...] = ()
    inputs: Mapping[str, Any] = field(default_factory=dict)
    domains: int = 0

    @property
    def num_tasks(self) -> int:
        """Number of tasks, the width of a model's output."""
        return len(self.tasks)


@dataclass(frozen=True)
class IntRange:
    """Integers from ``low`` to ``high``, both included; ``log`` searches on a logarithmic scale.

    Since 0.1, stable.
    """

    low: int
    high: int
    log: bool = False


@dataclass(frozen=True)
class FloatRange:
    """Real numbers from ``low`` to ``high``; ``log`` searches on a logarithmic scale.

    Since 0.1, stable.
    """

    low: float
    high: float
    log: bool = False


@dataclass(frozen=True)
class Choice:
    """One of the listed values.

    Since 0.1, stable.
    """

    values: tuple[Any, ...]


SearchRange = IntRange | FloatRange | Choice


def search_range(info: FieldInfo) -> SearchRange | None:
    """Return the values that a search tries for a setting, None where it is not searched."""
    return next((each for each in info.metadata if isinstance(each, IntRange | FloatRange | Choice)), None)
