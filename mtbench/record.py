"""The record: one immutable file that says what was run and what came out."""

from __future__ import annotations

import json
import os
import tempfile
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from mtbench.data.cache import content_hash
from mtbench.errors import MTBenchError
from mtbench.registry import Provenance
from mtbench.schema import Task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SCHEMA_VERSION = 1
NAME_DIGITS = 16


class Part(BaseModel):
    """Base of everything in a record: an unknown key or a number that is not finite is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Cell(Part):
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
    """Which version of a metric was computed, by whose code, and what is good; ``best`` is a perfect model's value."""

    version: int
    higher_is_better: bool
    best: float
    provenance: Provenance


class InputPart(PluginPart):
    """An input; ``transductive`` where it is made from all training rows, whatever their time."""

    version: int
    transductive: bool


class InputsPart(Part):
    """What rows were given beyond features: what the model asked for, and what the experiment gave to all models."""

    warmup: float
    asked: list[InputPart]
    given: list[InputPart]


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


def best_so_far(scores: Iterable[float | None]) -> list[float | None]:
    """Return the best of the first score, of the first two, and so on; None where there is none yet."""

    def better(best: float | None, score: float | None) -> float | None:
        return max((each for each in (best, score) if each is not None), default=None)

    return list(accumulate(scores, better))


class BenchmarkPart(Part):
    """The benchmark that it is part of; ``sha256`` covers its conditions."""

    name: str
    sha256: str


class Recipe(Part):
    """Everything that went in. Its hash is the record's key.

    A reference, which is no network, has neither balancer nor training settings: they do nothing to it.
    """

    mtbench: str
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
    def key(self) -> str:
        """The sha256 of the canonical JSON of this recipe."""
        return content_hash(self.model_dump(mode="json"))


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
    tuning: Tuning | None = Field(None, description="What came of the trials of a tuned record.")


class Record(Part):
    """One (dataset, model, settings) over its seeds.

    ``results`` and ``bounds`` map task -> metric -> values over seeds. ``bounds`` holds the constant predictor and, for
    generated data, the optimum and what can be reached from earlier chunks.
    """

    schema_version: Literal[1] = 1
    key: str
    recipe: Recipe
    results: dict[str, dict[str, Cell]]
    undefined: dict[str, str] = Field(description="'task.metric.split.seed' -> why there is no value.")
    bounds: dict[str, dict[str, dict[str, Cell]]]
    measured: Measured
    predictions: Predictions

    @property
    def file_stem(self) -> str:
        """KEY-CONTENT, the beginnings of the two hashes."""
        return _stem(self.model_dump(mode="json"))

    def mean(self, task: str, metric: str, split: Literal["valid", "test"] = "test") -> float | None:
        """Return the mean over seeds, None where any seed has no value."""
        cell = self.results.get(task, {}).get(metric)
        values = getattr(cell, split) if cell else []
        return sum(values) / len(values) if values and None not in values else None


def undefined_key(task: str, metric: str, split: str, seed: int) -> str:
    """Return the key under which a record says why a value is undefined."""
    return f"{task}.{metric}.{split}.{seed}"


class Written(NamedTuple):
    """A record and the file that holds it."""

    record: Record
    path: Path


def write(record: Record, folder: Path) -> Path:
    """Write a record under its name, whole or not at all, never over another; return its path."""
    dumped = record.model_dump(mode="json")
    path = folder / f"{_stem(dumped)}.json"
    atomically(path, lambda part: part.write_bytes(_content(dumped)))
    return path


def _stem(dumped: dict[str, Any]) -> str:
    return f"{dumped['key'][:NAME_DIGITS]}-{content_hash(dumped)[:NAME_DIGITS]}"


def _content(dumped: dict[str, Any]) -> bytes:
    """Return the one way to write a record."""
    return (json.dumps(dumped, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def atomically(path: Path, fill: Callable[[Path], object]) -> None:
    """Let ``fill`` write a temporary file beside ``path``, then give it that name; nothing is left half-written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    os.close(handle)
    part = Path(name)
    try:
        fill(part)
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.chmod(0o644)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def read(path: Path) -> Record:
    """Return the record in a file. Raises MTBenchError if it is none, or was changed after it was written."""
    try:
        content = path.read_bytes()
        record = Record.model_validate_json(content)
    except OSError as error:
        raise MTBenchError(f"{path}: cannot be read: {error.strerror or error}") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = [".".join(str(part) for part in first["loc"])] if first["loc"] else []
        raise MTBenchError(": ".join([f"{path}: not a record", *place, first["msg"]])) from error
    dumped = record.model_dump(mode="json")
    if record.key != content_hash(dumped["recipe"]):
        raise MTBenchError(f"{path}: its key is not the hash of its recipe: it was changed after it was written")
    if path.stem != (stem := _stem(dumped)):
        raise MTBenchError(f"{path}: its name is not the hash of its content ({stem}): it was changed or renamed")
    if content != _content(dumped):
        raise MTBenchError(f"{path}: it is not as mtbench writes records: it was changed after it was written")
    return record


def read_all(folder: Path) -> tuple[list[Written], list[str]]:
    """Return the records of a folder in the order of their names, and what is wrong with the files that are none."""
    if not folder.is_dir():
        raise MTBenchError(f"{folder}: there is no such folder of records")
    good, problems = [], []
    for path in sorted(folder.glob("*.json")):
        try:
            good.append(Written(read(path), path))
        except MTBenchError as error:
            problems.append(str(error))
    return good, problems


def find(folder: Path, key: str) -> Written | None:
    """Return a record with this key, if the folder has one; a damaged file is none."""
    for path in sorted(folder.glob(f"{key[:NAME_DIGITS]}-*.json")):
        try:
            record = read(path)
        except MTBenchError:
            continue
        if record.key == key:
            return Written(record, path)
    return None
