"""The experiment file: what it may say, overrides, and its resolution against the installed plugins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, JsonValue, ValidationError, field_validator

from mtbench.errors import MTBenchError
from mtbench.reading import joined, parse_yaml, problems_of, shown, validated
from mtbench.schema import AnyComponent, Choice, Component, FloatRange, IntRange, Name, Schema, Settings, Split

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torchmetrics import Metric

    from mtbench.data.dataset import Dataset
    from mtbench.inputs import Input
    from mtbench.model import MultiTaskModel, Reference
    from mtbench.registry import Kind, Registry
    from mtbench.training.balancing import Balancer


SMALL_BATCH, LARGE_BATCH, STEPS = 32, 2048, 64
PLACEMENT = {"accelerator", "devices"}
"""Training settings that say where it runs, not what is computed; they lie outside a record's key."""


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
    precision: Literal["32-true", "bf16-mixed"] = Field("32-true", description="Lightning's precision.")

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
    """What rows are given beyond their features."""

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
    launcher: AnyComponent = Field(Component(name="local"), description="What starts the workers.")


def _counted(value: Any) -> Any:
    """Return the seeds that a number of them stands for, anything else as it is."""
    if isinstance(value, int) and not isinstance(value, bool):
        if not 0 < value <= 1000:  # noqa: PLR2004
            raise ValueError(f"{shown(value)} seeds; give a number from 1 to 1000, or a list of seeds")
        return tuple(range(value))
    return value


Count = Annotated[int, Field(ge=1, le=1000)]
_Listed = Annotated[tuple[Annotated[int, Field(ge=0, lt=2**31)], ...], Field(min_length=1, max_length=1000)]
Seeds = Annotated[_Listed, BeforeValidator(_counted, json_schema_input_type=Count | _Listed)]


class Experiment(Settings):
    """One dataset, some models, some seeds: everything that decides the numbers."""

    dataset: AnyComponent = Field(description="A dataset's name, or `{name: ..., setting: ...}`.")
    models: tuple[AnyComponent, ...] = Field(min_length=1, description="Names, or `{name: ..., setting: ...}`.")
    seeds: Seeds = Field((0, 1, 2), description="A list of seeds, or how many: 3 stands for [0, 1, 2].")
    split: Split | None = Field(None, description="The dataset's own default unless given.")
    training: Training = Field(Training(), description="How every model is trained.")
    balancer: Annotated[AnyComponent, Choice(("equal", "uncertainty", "imtl-l", "dwa"))] = Field(
        Component(name="equal"), description="How the losses of the tasks become one."
    )
    metrics: tuple[Name, ...] = Field(
        (
            "auc", "gauc", "pr_auc", "logloss", "normalized_entropy", "calibration_error",
            "ndcg@10", "hr@10", "rmse", "mae",
        ),
        min_length=1,
        description="Computed for every task of a fitting kind.",
    )  # fmt: skip
    inputs: Inputs = Field(Inputs(), description="What every model is given beyond plain features.")
    sweep: Sweep = Field(Sweep(), description="How `mtbench sweep` searches settings; a run takes no notice of it.")

    @field_validator("metrics", "seeds")
    @classmethod
    def _no_duplicates(cls, value: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(set(value)) < len(value):
            twice = next(one for index, one in enumerate(value) if one in value[:index])
            raise ValueError(f"{shown(twice)} is listed twice; remove one")
        return value


@dataclass(frozen=True)
class PlannedInput:
    """An input with its checked settings, as a model asks for it or the experiment gives it."""

    name: str
    input: Input[Any]


@dataclass(frozen=True)
class PlannedModel:
    """A model of the experiment with its checked settings."""

    name: str
    cls: type[MultiTaskModel | Reference]
    config: Settings
    inputs: tuple[PlannedInput, ...] = field(default=(), compare=False)


@dataclass(frozen=True)
class Plan:
    """An experiment whose every name is found and every setting checked."""

    experiment: Experiment
    registry: Registry
    dataset: Dataset[Any]
    schema: Schema
    split: Split
    models: tuple[PlannedModel, ...]
    given: tuple[PlannedInput, ...]
    balancer: Balancer
    metrics: Mapping[str, Metric]


def load(source: str | Path | Mapping[str, Any] | Experiment, overrides: Sequence[str] = ()) -> Experiment:
    """Return the experiment of a YAML file, a mapping or an experiment, with overrides ``a.b=value`` applied in order.

    Raises MTBenchError for anything that is not an experiment, naming file and key.
    """
    where, content = place_of(source), source
    if isinstance(content, Experiment):
        content = content.model_dump(mode="json", exclude_unset=True)  # a sweep searches what is left open
    elif isinstance(content, str | Path):
        try:
            content = parse_yaml(Path(content).read_bytes(), where)
        except (OSError, ValueError) as error:
            raise MTBenchError(f"{where}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if not isinstance(content, Mapping):
        raise MTBenchError(
            f"{where}: an experiment is a mapping with the keys 'dataset' and 'models', not {shown(content)}"
        )
    for override in overrides:
        content = _overridden(content, override)
    return validated(Experiment, content, where)


def place_of(source: object) -> str:
    """Return what messages call the source of an experiment: its file, or just that."""
    return str(source) if isinstance(source, str | Path) else "experiment"


def _overridden(content: Mapping[str, Any], override: str) -> dict[str, Any]:
    """Return ``content`` with ``a.b=value`` applied; what lies on the path is copied, the rest is shared.

    On the path, a plugin's bare name becomes a mapping, and nothing an empty one.
    """
    where = f"--set {override}"
    path, equals, text = override.partition("=")
    *above, last = path.split(".")
    if not (equals and last and all(above)):
        raise MTBenchError(f"{where}: write it as key=value or key.subkey=value")
    value = parse_yaml(text, where)
    changed: dict[str, Any] = dict(content)
    place: Any = changed
    for depth, key in enumerate(above):
        at = f"{where}: '{'.'.join(above[: depth + 1])}'"
        slot = _slot(place, key, at)
        below = place[slot] if isinstance(place, list) else place.get(slot)
        if isinstance(below, str):
            below = {"name": below}
        elif not isinstance(below, Mapping | list | tuple | None):
            raise MTBenchError(f"{at} is {shown(below)}, which has no keys of its own")
        place[slot] = place = list(below) if isinstance(below, list | tuple) else dict(below or {})
    place[_slot(place, last, f"{where}: '{path}'")] = value
    return changed


def _slot(place: Any, key: str, where: str) -> Any:
    if not isinstance(place, list):
        return key
    slots = {str(index): index for index in range(len(place))}
    if key not in slots:
        raise MTBenchError(
            f"{where}: the list has no item {key}, only 0 to {len(place) - 1}"
            if place
            else f"{where}: the list is empty"
        )
    return slots[key]


def plan(experiment: Experiment, registry: Registry, where: str = "experiment") -> Plan:
    """Find every plugin that the experiment names and check every setting; messages begin with ``where``.

    Raises MTBenchError for an unknown name or setting, or for tasks, metrics and split that do not fit together.
    """

    def resolved(kind: Kind, component: Component, *path: str | int) -> tuple[type[Any], Any]:
        with _at(where, *path):
            cls = registry.resolve(kind, component.name)
        return cls, validated(cls.Config, component.settings, where, path)

    def inputs(placed: Sequence[tuple[Component, tuple[str | int, ...]]]) -> tuple[PlannedInput, ...]:
        planned: dict[str, PlannedInput] = {}
        for component, path in placed:
            cls, config = resolved("input", component, *path)
            with _at(where, *path):
                if component.name in planned:
                    raise MTBenchError(
                        f"'{component.name}' is listed twice, and inputs are told apart by name; keep one"
                    )
                planned[component.name] = PlannedInput(component.name, cls(config))
                check_packages("input", component.name, planned[component.name].input.packages)
        return tuple(planned.values())

    dataset_cls, dataset_config = resolved("dataset", experiment.dataset, "dataset")
    with _at(where, "dataset"):
        dataset = dataset_cls(dataset_config)
        schema = _schema(dataset)
    split = experiment.split or dataset.split
    with _at(where, "split", "by"):
        _check_split(split, schema, experiment.dataset.name)
    models: list[PlannedModel] = []
    for index, component in enumerate(experiment.models):
        cls, config = resolved("model", component, "models", index)
        with _at(where, "models", index):
            check_packages("model", component.name, cls.packages)
            asked = inputs([(one, ("models", index)) for one in cls.inputs(config, schema)])
        model = PlannedModel(component.name, cls, config, asked)
        if model in models:
            raise MTBenchError(
                f"{where}: models.{index}: is models.{models.index(model)} again: '{model.name}' with the same "
                "settings; remove one, or change a setting"
            )
        models.append(model)
    given = inputs([(one, ("inputs", "give", index)) for index, one in enumerate(experiment.inputs.give)])
    balancer_cls, balancer_config = resolved("balancer", experiment.balancer, "balancer")
    with _at(where, "balancer"):
        check_packages("balancer", experiment.balancer.name, balancer_cls.packages)
        balancer = balancer_cls(balancer_config, schema.tasks)
    if experiment.training.devices > 1 and not balancer.distributed:
        raise MTBenchError(
            f"{where}: training.devices: balancer '{experiment.balancer.name}' needs the whole batch in one process; "
            f"set it to 1 (now {experiment.training.devices}), or take a balancer like 'equal'"
        )
    if experiment.training.embeddings != "adam":
        _check_row_wise(experiment, balancer, where)
    metrics = _metrics(experiment, schema, registry, where)
    return Plan(experiment, registry, dataset, schema, split, tuple(models), given, balancer, metrics)


def _check_row_wise(experiment: Experiment, balancer: Balancer, where: str) -> None:
    """Raise MTBenchError for what sparse gradients of embeddings cannot be combined with."""
    update = experiment.training.embeddings
    if not balancer.row_wise:
        raise MTBenchError(
            f"{where}: training.embeddings: '{update}' and balancer '{experiment.balancer.name}', which combines whole "
            "gradients, cannot be used together; take 'adam', or a balancer of losses like 'equal'"
        )
    if experiment.training.devices > 1:
        raise MTBenchError(
            f"{where}: training.embeddings: '{update}' needs the gradients of one process; set training.devices to 1 "
            f"(now {experiment.training.devices}), or take 'adam'"
        )


@contextmanager
def _at(where: str, *path: str | int) -> Iterator[None]:
    """Begin the message of an MTBenchError with its place."""
    try:
        yield
    except MTBenchError as error:
        raise MTBenchError(f"{where}: {joined(path)}{error}") from error


def _schema(dataset: Dataset[Any]) -> Schema:
    try:
        return dataset.schema()
    except ValidationError as error:
        raise MTBenchError("; ".join(problems_of(error))) from error


def check_packages(kind: Kind, name: str, packages: Sequence[str]) -> None:
    """Raise MTBenchError if a plugin needs a distribution that is not installed."""
    for package in packages:
        try:
            metadata.version(package)
        except metadata.PackageNotFoundError as error:
            raise MTBenchError(
                f"{kind} '{name}' needs the package {package}, which is not installed; `pip install {package}`"
            ) from error


def _check_split(split: Split, schema: Schema, name: str) -> None:
    if split.by == "time" and schema.time is None:
        raise MTBenchError(f"is 'time', but dataset '{name}' has no time; use 'random'")
    if split.by == "official" and schema.split is None:
        known = "'time' or 'random'" if schema.time else "'random'"
        raise MTBenchError(f"is 'official', but dataset '{name}' brings no split of its own; use {known}")


def _metrics(experiment: Experiment, schema: Schema, registry: Registry, where: str) -> dict[str, Metric]:
    """Return the metrics to compute: those asked for, and each task's primary metric, which selection needs."""
    metrics = {}
    for index, name in enumerate(experiment.metrics):
        with _at(where, "metrics", index):
            metrics[name] = registry.metric(name)
    for task in schema.tasks:
        with _at(where, f"metric of task '{task.name}'"):
            metric = metrics.setdefault(task.primary, registry.metric(task.primary))
            if task.kind not in _kinds(metric):
                fitting = [name for name, other in metrics.items() if task.kind in _kinds(other)]
                raise MTBenchError(
                    f"'{task.primary}' is for {' and '.join(_kinds(metric))} tasks, and this task is {task.kind}; set "
                    f"the task's 'metric' to {' or '.join(fitting) or 'one that fits'}"
                )
    return metrics


def _kinds(metric: Metric) -> Sequence[str]:
    return getattr(metric, "kinds", ("binary",))
