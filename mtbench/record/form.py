"""What a record is made of."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from mtbench.files import hash_json
from mtbench.provenance import Provenance
from mtbench.schema import Task

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mtbench.registry import PluginKind

NAME_DIGITS = 16


class Part(BaseModel):
    """Base of everything in a record: an unknown key or a number that is not finite is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class MetricValues(Part):
    """Values of one metric on one task, one per seed; null where it is undefined."""

    valid: list[float | None]
    test: list[float | None]


class PluginPart(Part):
    """A plugin's class, its complete settings and where its code came from."""

    name: str
    settings: dict[str, JsonValue]
    provenance: Provenance


class DatasetPart(PluginPart):
    """The dataset, its revision and the sha256 of every raw file."""

    version: int
    files: dict[str, str]


class SplitPart(Part):
    """How the rows were divided; ``fingerprints`` are sha256 over the row numbers of each part."""

    settings: dict[str, JsonValue]
    rows: dict[str, int]
    fingerprints: dict[str, str]


class MetricPart(Part):
    """Which version of a metric was computed, by whose code, and what is good.

    ``best`` is a perfect model's value, ``chance`` that of a model that knows nothing, null where that depends on the
    data. ``limits`` are the least and the greatest value that there can be, null where there is no limit.
    """

    version: int
    higher_is_better: bool
    best: float
    chance: float | None = None
    limits: tuple[float | None, float | None] = (None, None)
    provenance: Provenance


class InputPart(PluginPart):
    """An input; ``transductive`` where it is made from all training rows, whatever their time."""

    version: int
    transductive: bool


class InputsPart(Part):
    """What rows have beyond features: what the model asked for, and what is pooled into columns for every model."""

    warmup: float
    asked: list[InputPart]
    pooled: list[InputPart]


class Budget(Part):
    """How the settings were chosen: as they came, or tuned with a number of trials.

    ``seed`` is the sampler's and the trainings'; ``space`` maps every searched setting to its range or its values.
    """

    kind: Literal["default", "tuned"] = "default"
    trials: int = 0
    sampler: str | None = None
    pruner: str | None = None
    seed: int | None = None
    space: dict[str, JsonValue] = {}


class Trial(Part):
    """How a trial went: what it tried, by the names of the search space, and how it ended.

    ``score`` is there for a finished one alone: the mean over tasks of the share of the way from the constant
    predictor to a perfect model, on validation.
    """

    settings: dict[str, JsonValue]
    ended: Literal["finished", "pruned", "failed"]
    score: float | None
    epochs: int
    seconds: float

    @model_validator(mode="after")
    def _scored_if_finished(self) -> Self:
        if (self.ended == "finished") != (self.score is not None):
            raise ValueError(f"a finished trial has a score, no other has; this one {self.ended}")
        return self


class Tuning(Part):
    """The trials in their order, and which of them was chosen, from 0."""

    trials: list[Trial]
    best: int

    @model_validator(mode="after")
    def _finished_chosen(self) -> Self:
        if not 0 <= self.best < len(self.trials) or self.trials[self.best].score is None:
            raise ValueError(f"best: trial {self.best} is none of these, or did not finish")
        return self

    @property
    def score(self) -> float:
        """The score of the chosen trial."""
        score = self.trials[self.best].score
        assert score is not None
        return score

    @property
    def epochs(self) -> int:
        """The epochs of all trials."""
        return sum(trial.epochs for trial in self.trials)

    @property
    def seconds(self) -> float:
        """The seconds of all trials."""
        return sum(trial.seconds for trial in self.trials)

    def count(self, ended: str) -> int:
        """Return how many trials ended so: finished, pruned or failed."""
        return sum(trial.ended == ended for trial in self.trials)


class BenchmarkPart(Part):
    """The benchmark that it is part of; ``sha256`` covers its conditions."""

    name: str
    sha256: str


class Recipe(Part):
    """Everything that went in. Its hash is the record's key.

    ``engine`` is the core's code that can change a number; version 1 did not know it. A reference, which is no network,
    has neither balancer nor training settings: they do nothing to it.
    """

    engine: Provenance | None
    dataset: DatasetPart
    split: SplitPart
    tasks: list[Task]
    metrics: dict[str, MetricPart]
    inputs: InputsPart
    model: PluginPart
    balancer: PluginPart | None
    training: dict[str, JsonValue]
    seeds: list[int]
    budget: Budget = Budget()
    benchmark: BenchmarkPart | None = None

    @property
    def code(self) -> list[tuple[PluginKind, str, Provenance]]:
        """Whose code it needs of plugins: kind, name and provenance of each."""
        inputs = [*self.inputs.asked, *self.inputs.pooled]
        parts: list[tuple[PluginKind, PluginPart]] = [("dataset", self.dataset), ("model", self.model)]
        parts += [("input", part) for part in inputs]
        if self.balancer is not None:
            parts.append(("balancer", self.balancer))
        code = [(kind, part.name, part.provenance) for kind, part in parts]
        code += [("metric", name, metric.provenance) for name, metric in self.metrics.items()]
        return code

    @property
    def key(self) -> str:
        """The sha256 of the canonical JSON of this recipe."""
        return hash_json(self.model_dump(mode="json"))


class SeedRun(Part):
    """How the training of one seed went.

    ``chosen`` is the epoch (from 0) that each task is predicted with; ``valid`` holds the primary metric per task and
    epoch, ``loss`` the training loss, ``seconds`` the wall time of each epoch with its validation, ``statistics`` what
    the model said of itself, the mean over the validation rows per epoch. The fit of a reference counts as one epoch;
    it has neither ``loss`` nor ``statistics``.
    """

    chosen: dict[str, int]
    valid: dict[str, list[float]]
    loss: dict[str, list[float]]
    seconds: list[float]
    statistics: dict[str, list[float]] = {}


class Predictions(Part):
    """The predictions that the results were computed from: a Parquet file of the record's name beside it."""

    sha256: str
    rows: int


class Measured(Part):
    """What was measured while it ran; no part of the key."""

    created: str = Field(description="UTC, ISO 8601.")
    environment: dict[str, str]
    versions: dict[str, str] = Field({}, description="Versions of mtbench and of the distributions of its plugins.")
    device: str
    processes: int
    parameters: int | None = Field(description="Trained values; null for a reference that counts none.")
    flops_per_row: float | None = Field(
        description="Multiply-adds counted twice, forward, one row, all tasks; null for a reference."
    )
    step_seconds: float | None = Field(
        description="Median training step on such a batch, with Adam and the plain sum of losses; null for a reference."
    )
    latency_seconds: float = Field(description="Median prediction of one batch of training.batch_size rows.")
    peak_memory_bytes: int = Field(description="Highest so far of the process (CPU) or of the run (GPU).")
    seconds: float = Field(description="Training and validation of all seeds.")
    seeds: dict[str, SeedRun]
    test_opened: int = Field(description="How often the test split was opened for this record.")
    warnings: list[str] = Field(description="What the leak gates warned of.")
    tuning: Tuning | None = Field(None, description="The trials of a tuned record.")


class Record(Part):
    """One (dataset, model, settings) over its seeds.

    ``results`` and ``bounds`` map task -> metric -> values over seeds. ``bounds`` holds the constant predictor and, for
    generated data, the optimum and what can be reached from earlier chunks. ``baseline`` is the model that the
    experiment or benchmark measures delta-m against.

    Since 0.1, stable.
    """

    schema_version: Literal[2] = 2
    key: str
    recipe: Recipe
    results: dict[str, dict[str, MetricValues]]
    undefined: dict[str, str] = Field(description="'task.metric.split.seed' -> why there is no value.")
    bounds: dict[str, dict[str, dict[str, MetricValues]]]
    measured: Measured
    predictions: Predictions
    baseline: str | None = None

    @cached_property
    def file_stem(self) -> str:
        """KEY-CONTENT, the beginnings of the two hashes; of the JSON as it was written, where it was read."""
        return name_file(self.model_dump(mode="json"))

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy, which has a name of its own."""
        copy = super().model_copy(update=update, deep=deep)
        copy.__dict__.pop("file_stem", None)
        return copy

    def mean(self, task: str, metric: str, split: Literal["valid", "test"] = "test") -> float | None:
        """Return the mean over seeds, None where any seed has no value."""
        cell = self.results.get(task, {}).get(metric)
        values = getattr(cell, split) if cell else []
        return sum(values) / len(values) if values and None not in values else None


def name_file(content: Mapping[str, Any]) -> str:
    """Return the stem of the file that the JSON of a record belongs into."""
    return f"{content['key'][:NAME_DIGITS]}-{hash_json(content)[:NAME_DIGITS]}"


def undefined_key(task: str, metric: str, split: str, seed: int) -> str:
    """Return the key under which a record says why a value is undefined."""
    return f"{task}.{metric}.{split}.{seed}"
