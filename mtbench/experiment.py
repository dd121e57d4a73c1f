"""The experiment file: what it may say, overrides, and its resolution against the installed plugins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from mtbench.errors import MTBenchError, suggestion
from mtbench.schema import FloatRange, IntRange, Name, Schema, Settings, Split

if TYPE_CHECKING:
    from torchmetrics import Metric

    from mtbench.data.dataset import Dataset
    from mtbench.model import ModelConfig, MultiTaskModel
    from mtbench.registry import Registry
    from mtbench.training.balancing import Balancer

S = TypeVar("S", bound=BaseModel)


class Component(BaseModel):
    """A plugin by name, with its settings: ``mmoe`` or ``{name: mmoe, experts: 4}``."""

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)

    name: Name

    @property
    def settings(self) -> dict[str, Any]:
        """Everything but the name."""
        return dict(self.model_extra or {})


def _component(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


AnyComponent = Annotated[Component, BeforeValidator(_component)]


class Training(Settings):
    """How every model of the experiment is trained."""

    max_epochs: int = Field(5, gt=0, le=100_000, description="Epochs at most.")
    patience: int = Field(2, gt=0, description="Stop after this many epochs without a better validation score.")
    batch_size: Annotated[int, IntRange(256, 8192, log=True)] = Field(2048, gt=0, description="Rows per step.")
    learning_rate: Annotated[float, FloatRange(1e-4, 1e-2, log=True)] = Field(
        1e-3, gt=0, description="Adam's step size."
    )
    weight_decay: Annotated[float, FloatRange(1e-8, 1e-3, log=True)] = Field(
        0.0, ge=0, description="Adam's L2 penalty."
    )
    select: Literal["mean", "per-task"] = Field(
        "mean", description="One checkpoint for all tasks (best mean over tasks), or the best epoch of each task."
    )
    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps"] = Field("auto", description="Lightning's accelerator.")
    devices: int = Field(1, gt=0, le=1024, description="Processes, one per device, that share each batch (DDP).")
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = Field("32-true", description="Lightning's precision.")


class Inputs(Settings):
    """What rows are given beyond their features."""

    warmup: float = Field(0.0, ge=0, lt=1, description="First share of training time that serves as input only.")
    give: tuple[AnyComponent, ...] = Field((), description="Inputs pooled into extra columns for every feature model.")


class Experiment(Settings):
    """One dataset, some models, some seeds: everything that decides the numbers."""

    dataset: AnyComponent
    models: tuple[AnyComponent, ...] = Field(min_length=1)
    seeds: tuple[Annotated[int, Field(ge=0, lt=2**31)], ...] = Field((0, 1, 2), min_length=1, max_length=1000)
    split: Split | None = Field(None, description="The dataset's own default unless given.")
    training: Training = Training()
    balancer: AnyComponent = Component(name="equal")
    metrics: tuple[Name, ...] = Field(
        (
            "auc", "gauc", "pr_auc", "logloss", "normalized_entropy", "calibration_error",
            "ndcg@10", "hr@10", "rmse", "mae",
        ),
        min_length=1,
        description="Computed for every task of a fitting kind.",
    )  # fmt: skip
    inputs: Inputs = Inputs()

    @field_validator("seeds", mode="before")
    @classmethod
    def _count_of_seeds(cls, value: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool):
            if not 0 < value <= 1000:  # noqa: PLR2004
                raise ValueError(f"{value} seeds; give a number from 1 to 1000, or a list of seeds")
            return tuple(range(value))
        return value

    @field_validator("models", "metrics", "seeds")
    @classmethod
    def _no_duplicates(cls, value: tuple[Any, ...]) -> tuple[Any, ...]:
        for index, one in enumerate(value):
            if one in value[:index]:
                what = one.name if isinstance(one, Component) else one
                raise ValueError(f"'{what}' is listed twice; remove one, or give it other settings")
        return value


@dataclass(frozen=True)
class PlannedModel:
    """A model of the experiment with its checked settings."""

    name: str
    cls: type[MultiTaskModel]
    config: ModelConfig


@dataclass(frozen=True)
class Plan:
    """An experiment whose every name is found and every setting checked."""

    experiment: Experiment
    registry: Registry
    dataset: Dataset[Any]
    schema: Schema
    split: Split
    models: tuple[PlannedModel, ...]
    balancer: Balancer
    metrics: Mapping[str, Metric]


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML in which a key that stands twice is an error, not the last one's victory."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002
        seen = []
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=deep)
            if key in seen and key != "<<":
                raise yaml.constructor.ConstructorError(None, None, f"key '{key}' stands twice", key_node.start_mark)
            seen.append(key)
        return super().construct_mapping(node, deep)


def parse_yaml(text: str | bytes, where: str) -> Any:
    """Return what a YAML text says. Raises MTBenchError with the line of a mistake."""
    try:
        return yaml.load(text, Loader=_UniqueKeyLoader)  # noqa: S506
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise MTBenchError(f"{where}{line}: not valid YAML: {error.problem or error.context}") from error
    except RecursionError as error:
        raise MTBenchError(f"{where}: nested too deeply to be an experiment") from error
    except (yaml.YAMLError, ValueError, OverflowError, TypeError, AttributeError, KeyError) as error:
        raise MTBenchError(f"{where}: not valid YAML: {error}") from error


def load(source: str | Path | Mapping[str, Any] | Experiment, overrides: Sequence[str] = ()) -> Experiment:
    """Return the experiment of a YAML file, a mapping or an experiment, with overrides ``a.b=value`` applied in order.

    Raises MTBenchError for anything that is not an experiment, naming file and key.
    """
    if isinstance(source, Experiment):
        source = source.model_dump(mode="json")
    if isinstance(source, Mapping):
        where, content = "experiment", _copied(source)
    else:
        where = str(source)
        try:
            content = parse_yaml(Path(source).read_bytes(), where)
        except OSError as error:
            raise MTBenchError(f"{where}: cannot be read: {error.strerror or error}") from error
    if not isinstance(content, dict):
        raise MTBenchError(
            f"{where}: an experiment is a mapping with the keys 'dataset' and 'models', not {content!r:.80}"
        )
    for override in overrides:
        _apply(content, override)
    return validated(Experiment, content, where)


def validated(model: type[S], content: Any, where: str) -> S:
    """Return ``content`` as a ``model``. Raises MTBenchError that lists every problem with its place."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        lines = [f"{where}: {_place(problem)}{_message(problem)}" for problem in error.errors(include_url=False)]
        raise MTBenchError("\n".join(lines)) from error
    except RecursionError as error:
        raise MTBenchError(f"{where}: nested too deeply") from error


def _place(problem: Any) -> str:
    path = ".".join(str(part) for part in problem["loc"])
    return f"{path}: " if path else ""


def _message(problem: Any) -> str:
    text = str(problem["msg"]).removeprefix("Value error, ")
    if problem["type"] in {"unknown_key", "value_error", "missing"}:
        return text
    return f"{text[0].lower()}{text[1:]}, found {problem['input']!r:.80}"


def _copied(value: Any) -> Any:
    """Copy the mappings and lists of a value, so that overrides leave the caller's alone."""
    if isinstance(value, Mapping):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_copied(item) for item in value]
    return value


def _apply(content: dict[str, Any], override: str) -> None:
    path, equals, text = override.partition("=")
    keys = path.split(".")
    if not equals or not all(keys):
        raise MTBenchError(f"--set {override}: write it as key=value or key.subkey=value")
    value = parse_yaml(text, f"--set {override}")
    place: Any = content
    for depth, key in enumerate(keys[:-1]):
        place = _descend(place, key, f"--set {override}: '{'.'.join(keys[: depth + 1])}'")
    last = keys[-1]
    if isinstance(place, list):
        place[_index(place, last, f"--set {override}: '{path}'")] = value
    else:
        place[last] = value


def _descend(place: Any, key: str, where: str) -> Any:
    """Return what stands under ``key``, turning a plugin's bare name into a mapping and nothing into an empty one."""
    slot: Any = _index(place, key, where) if isinstance(place, list) else key
    found = place[slot] if isinstance(place, list) else place.get(slot)
    if found is None:
        found = place[slot] = {}
    elif isinstance(found, str):
        found = place[slot] = {"name": found}
    if not isinstance(found, dict | list):
        raise MTBenchError(f"{where} is {found!r:.80}, which has no keys of its own")
    return found


def _index(place: list[Any], key: str, where: str) -> int:
    if not key.isdecimal() or int(key) >= len(place):
        raise MTBenchError(f"{where}: there is no item '{key}' among {len(place)}; they are counted from 0")
    return int(key)


def plan(experiment: Experiment, registry: Registry) -> Plan:
    """Find every plugin that the experiment names and check every setting.

    Raises MTBenchError for an unknown name or setting, or for tasks, metrics and split that do not fit together.
    """
    dataset_cls = registry.resolve("dataset", experiment.dataset.name)
    dataset = dataset_cls(
        validated(dataset_cls.Config, experiment.dataset.settings, f"dataset '{experiment.dataset.name}'")
    )
    try:
        schema = dataset.schema()
    except ValidationError as error:
        problems = "; ".join(_message(problem) for problem in error.errors(include_url=False))
        raise MTBenchError(f"dataset '{experiment.dataset.name}': {problems}") from error
    split = experiment.split or dataset.split
    _check_split(split, schema, experiment.dataset.name)
    models = []
    for component in experiment.models:
        cls = registry.resolve("model", component.name)
        config = validated(cls.Config, component.settings, f"model '{component.name}'")
        models.append(PlannedModel(component.name, cls, config))
    for component in experiment.inputs.give:
        registry.resolve("input", component.name)
    balancer_cls = registry.resolve("balancer", experiment.balancer.name)
    balancer_config = validated(
        balancer_cls.Config, experiment.balancer.settings, f"balancer '{experiment.balancer.name}'"
    )
    metrics = _metrics(experiment, schema, registry)
    return Plan(
        experiment,
        registry,
        dataset,
        schema,
        split,
        tuple(models),
        balancer_cls(balancer_config, schema.tasks),
        metrics,
    )


def _check_split(split: Split, schema: Schema, name: str) -> None:
    if split.by == "time" and schema.time is None:
        raise MTBenchError(f"split.by is 'time', but dataset '{name}' has no time; use 'random'")
    if split.by == "official" and schema.split is None:
        known = "'time' or 'random'" if schema.time else "'random'"
        raise MTBenchError(f"split.by is 'official', but dataset '{name}' brings no split of its own; use {known}")


def _metrics(experiment: Experiment, schema: Schema, registry: Registry) -> dict[str, Metric]:
    """Return the metrics to compute: those asked for, and each task's primary metric, which selection needs."""
    names = dict.fromkeys((*experiment.metrics, *(task.primary for task in schema.tasks)))
    metrics = {name: registry.metric(name) for name in names}
    for task in schema.tasks:
        kinds = getattr(metrics[task.primary], "kinds", ("binary",))
        if task.kind not in kinds:
            fitting = [name for name, metric in metrics.items() if task.kind in getattr(metric, "kinds", ("binary",))]
            raise MTBenchError(
                f"task '{task.name}' is {task.kind}, and its primary metric '{task.primary}' is for "
                f"{' and '.join(kinds)} tasks{suggestion(task.primary, fitting)}; set the task's 'metric'"
            )
    return metrics
