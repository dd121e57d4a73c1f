"""The experiment file: what it may say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, JsonValue, field_validator

from mtbench.errors import MTBenchError
from mtbench.overrides import apply_override
from mtbench.schema import AnyComponent, Choice, FloatRange, IntRange, Name, Settings, Split, Task
from mtbench.validation import parse_yaml, show_value, validate

SMALL_BATCH, LARGE_BATCH, STEPS = 32, 2048, 64
PLACEMENT = {"accelerator", "devices"}
"""Training settings that say where it runs, not what is computed; they lie outside a record's key."""


def _describe_tasks(dataset: dict[str, Any]) -> None:
    """Say in the JSON Schema what the tasks of a table are, with the kinds that are known."""
    task = {"anyOf": [{"type": "string", "minLength": 1}, Task.model_json_schema()]}
    dataset["properties"] = {"tasks": {"type": "array", "minItems": 1, "items": task}}


class Training(Settings):
    """How every model of the experiment is trained."""

    max_epochs: int = Field(10, gt=0, le=100_000, description="Epochs at most.")
    patience: int = Field(2, gt=0, description="Stop after this many epochs without a better validation score.")
    batch_size: Annotated[int | None, IntRange(256, 8192, log=True)] = Field(
        None,
        gt=0,
        description="Rows per step; 2048 unless given, or less where an epoch would have fewer than 64 steps.",
    )
    learning_rate: Annotated[float, FloatRange(1e-4, 1e-2, log=True)] = Field(
        1e-3, gt=0, description="Adam's step size."
    )
    weight_decay: Annotated[float, Choice((0.0, 1e-7, 1e-6, 1e-5, 1e-4))] = Field(
        0.0, ge=0, description="Adam's L2 penalty."
    )
    embeddings: Literal["adam", "row-adam", "row-adagrad"] = Field(
        "adam",
        description="How embeddings are updated: as all else, or only rows that a step looks up, by lazy Adam or "
        "Adagrad, at a cost that no vocabulary raises.",
    )
    shuffle_rows: int = Field(
        1 << 24, gt=0, description="Rows shuffled together; a table of more is shuffled by blocks of neighbouring rows."
    )
    select: Literal["mean", "per-task"] = Field(
        "mean", description="One checkpoint for all tasks (best mean over tasks), or the best epoch of each task."
    )
    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps"] = Field("auto", description="Lightning's accelerator.")
    devices: int = Field(1, gt=0, le=1024, description="Processes, one per device, that share each batch (DDP).")
    precision: Literal["32-true", "bf16-mixed"] = Field(
        "32-true", description="Lightning's precision of training; predictions are in 32 bits."
    )

    def for_rows(self, rows: int) -> Training:
        """Return these settings with the batch size that they mean for so many training rows."""
        usual = min(LARGE_BATCH, max(SMALL_BATCH, rows // STEPS))
        return self.model_copy(update={"batch_size": self.batch_size or usual})

    @property
    def rows_per_step(self) -> int:
        """The batch size, once it is known."""
        assert self.batch_size is not None
        return self.batch_size


class Inputs(Settings):
    """What rows have beyond their features."""

    warmup: float = Field(0.0, ge=0, lt=1, description="First share of training time that serves as input only.")
    give: tuple[AnyComponent, ...] = Field((), description="Inputs pooled into extra columns for every model.")


class Sweep(Settings):
    """How the settings of every model are searched: the same budget for each."""

    trials: int = Field(20, gt=0, le=100_000, description="Slots of each model; the first is for the default settings.")
    sampler: Literal["tpe", "random"] = Field("tpe", description="Optuna's sampler.")
    pruner: Literal["halving", "median", "none"] = Field(
        "halving", description="Which trials end early, by the validation score after each epoch."
    )
    seed: int = Field(
        1000, ge=0, lt=2**31, description="Seed of the sampler and of every trial's training; none of `seeds`."
    )
    retries: int = Field(2, ge=0, le=100, description="How often a trial is tried again whose worker died.")
    heartbeat: int = Field(
        15, gt=0, le=3600, description="Seconds between signs of life of a worker, which is dead after four without."
    )
    space: Mapping[str, JsonValue] = Field(
        {}, description="Setting -> its range `{low: ..., high: ..., log: true}` or its values `[...]`."
    )
    launcher: AnyComponent | None = Field(
        None, description="What starts the workers; the plugins' default unless given."
    )


def _expand_seeds(value: Any) -> Any:
    """Return the seeds that a number of them stands for, anything else as it is."""
    if isinstance(value, int) and not isinstance(value, bool):
        if not 0 < value <= 1000:  # noqa: PLR2004
            raise ValueError(f"{show_value(value)} seeds; give a number from 1 to 1000, or a list of seeds")
        return tuple(range(value))
    return value


def _is_frame(value: object) -> bool:
    """Return whether a setting is a table in memory: a pandas DataFrame, or another of Arrow's protocol."""
    return hasattr(value, "__arrow_c_stream__")


Count = Annotated[int, Field(ge=1, le=1000)]
_Listed = Annotated[tuple[Annotated[int, Field(ge=0, lt=2**31)], ...], Field(min_length=1, max_length=1000)]
Seeds = Annotated[_Listed, BeforeValidator(_expand_seeds, json_schema_input_type=Count | _Listed)]


class Experiment(Settings):
    """One dataset, some models, some seeds: everything that decides the numbers.

    Since 0.1, stable.
    """

    dataset: AnyComponent = Field(
        description="A dataset's name, or `{name: ..., setting: ...}`.", json_schema_extra=_describe_tasks
    )
    models: tuple[AnyComponent, ...] = Field(min_length=1, description="Names, or `{name: ..., setting: ...}`.")
    seeds: Seeds = Field((0, 1, 2), description="A list of seeds, or how many: 3 stands for [0, 1, 2].")
    split: Split | None = Field(None, description="The dataset's own default unless given.")
    training: Training = Field(Training(), description="How every model is trained.")
    balancer: AnyComponent | None = Field(
        None, description="How the losses of the tasks become one; the plugins' default unless given."
    )
    metrics: tuple[Name, ...] | None = Field(
        None,
        min_length=1,
        description="Computed for every task of a fitting kind; those that plugins mark as defaults unless given.",
    )
    baseline: Name | None = Field(None, description="Model that delta-m is measured against.")
    inputs: Inputs = Field(Inputs(), description="What every model has beyond plain features.")
    sweep: Sweep = Field(Sweep(), description="How `mtbench sweep` searches settings; a run takes no notice of it.")

    @field_validator("dataset", mode="before")
    @classmethod
    def _keep_frames(cls, dataset: Any) -> Any:
        """Put tables in memory, given where a path is expected, into the cache."""
        if not isinstance(dataset, Mapping) or not any(map(_is_frame, dataset.values())):
            return dataset
        from mtbench.data.frames import keep_frame  # noqa: PLC0415 - settings are validated without pandas

        return {key: keep_frame(value) if _is_frame(value) else value for key, value in dataset.items()}

    @field_validator("metrics", "seeds")
    @classmethod
    def _no_duplicates(cls, value: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
        if value is not None and len(set(value)) < len(value):
            twice = next(one for index, one in enumerate(value) if one in value[:index])
            raise ValueError(f"{show_value(twice)} is listed twice; remove one")
        return value


def load_experiment(source: str | Path | Mapping[str, Any] | Experiment, overrides: Sequence[str] = ()) -> Experiment:
    """Return the experiment of a YAML file, a mapping or an experiment, with overrides ``a.b=value`` applied in order.

    Raises MTBenchError for anything that is not an experiment, naming file and key.
    """
    where, content = name_source(source), source
    if isinstance(content, Experiment):
        content = content.model_dump(mode="json", exclude_unset=True)  # a sweep searches what is left open
    elif isinstance(content, str | Path):
        try:
            content = parse_yaml(Path(content).read_bytes(), where)
        except (OSError, ValueError) as error:
            raise MTBenchError(f"{where}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if not isinstance(content, Mapping):
        raise MTBenchError(
            f"{where}: an experiment is a mapping with the keys 'dataset' and 'models', not {show_value(content)}"
        )
    for override in overrides:
        content = apply_override(content, override)
    return validate(Experiment, content, where)


def name_source(source: object) -> str:
    """Return what messages call the source of an experiment: its file, or just that."""
    return str(source) if isinstance(source, str | Path) else "experiment"
