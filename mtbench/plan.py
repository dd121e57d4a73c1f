"""An experiment's plan: every name found among the plugins, every setting checked, and whose code stands behind it."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import metadata
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from mtbench.errors import MTBenchError
from mtbench.kinds import DEFAULT, find_kind
from mtbench.validation import join_path, list_problems, validate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from torchmetrics import Metric

    from mtbench import Balancer, Dataset, Input, MultiTaskModel, Reference
    from mtbench.experiment import Experiment
    from mtbench.provenance import Provenance
    from mtbench.registry import PluginKind, Registry
    from mtbench.schema import Component, Schema, Settings, Split


@dataclass(frozen=True)
class PlannedInput:
    """An input with its checked settings, as a model asks for it or the experiment pools it for all."""

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
class PlannedBalancer:
    """The balancer of the experiment, or the plugins' default."""

    name: str
    balancer: Balancer


@dataclass(frozen=True)
class Plan:
    """An experiment whose every name is found and every setting checked.

    ``pooled`` are the inputs that every model is given as further columns. ``provenances`` says by kind and name whose
    code it is, hashed when it was planned; ``plugin_files`` are the single files that plugins were loaded from.
    """

    experiment: Experiment
    dataset: Dataset[Any]
    schema: Schema
    split: Split
    models: tuple[PlannedModel, ...]
    pooled: tuple[PlannedInput, ...]
    balancer: PlannedBalancer
    metrics: Mapping[str, Metric]
    provenances: Mapping[tuple[PluginKind, str], Provenance]
    plugin_files: tuple[Path, ...] = ()


def make_plan(experiment: Experiment, registry: Registry, where: str = "experiment") -> Plan:
    """Find every plugin that the experiment names and check every setting; messages begin with ``where``.

    Raises MTBenchError for an unknown name or setting, or for tasks, metrics and split that do not fit together.
    """
    return _Planner(experiment, registry, where).plan()


class _Planner:
    """Makes the plan of one experiment, and notes whose code it needs."""

    def __init__(self, experiment: Experiment, registry: Registry, where: str) -> None:
        self.experiment = experiment
        self.registry = registry
        self.where = where
        self.provenances: dict[tuple[PluginKind, str], Provenance] = {}

    def plan(self) -> Plan:
        experiment, where = self.experiment, self.where
        cls, config = self._resolve("dataset", experiment.dataset, "dataset")
        with _at(where, "dataset"):
            dataset = cls(config)
            schema = _read_schema(dataset)
        split = experiment.split or dataset.split
        with _at(where, "split", "by"):
            _check_split(split, schema, experiment.dataset.name)
        models = self._plan_models(schema)
        pooled = self._plan_inputs([(one, ("inputs", "give", at)) for at, one in enumerate(experiment.inputs.give)])
        balancer = self._plan_balancer(schema)
        if experiment.baseline is not None:
            with _at(where, "baseline"):
                self.registry.registration("model", experiment.baseline)
        return Plan(
            experiment, dataset, schema, split, models, pooled, balancer, self._plan_metrics(schema),
            self.provenances, tuple(self.registry.files),
        )  # fmt: skip

    def _resolve(self, kind: PluginKind, component: Component, *path: str | int) -> tuple[type[Any], Any]:
        with _at(self.where, *path):
            cls = self.registry.resolve(kind, component.name)
            self._note(kind, component.name)
        return cls, validate(cls.Config, component.settings, self.where, path)

    def _note(self, kind: PluginKind, name: str) -> None:
        self.provenances[kind, name] = self.registry.provenance(kind, name)

    def _plan_models(self, schema: Schema) -> tuple[PlannedModel, ...]:
        models: list[PlannedModel] = []
        for index, component in enumerate(self.experiment.models):
            cls, config = self._resolve("model", component, "models", index)
            with _at(self.where, "models", index):
                check_packages("model", component.name, cls.packages)
                asked = self._plan_inputs([(one, ("models", index)) for one in cls.inputs(config, schema)])
            model = PlannedModel(component.name, cls, config, asked)
            if model in models:
                raise MTBenchError(
                    f"{self.where}: models.{index}: is models.{models.index(model)} again: '{model.name}' with the "
                    "same settings; remove one, or change a setting"
                )
            models.append(model)
        return tuple(models)

    def _plan_inputs(self, placed: Sequence[tuple[Component, tuple[str | int, ...]]]) -> tuple[PlannedInput, ...]:
        planned: dict[str, PlannedInput] = {}
        for component, path in placed:
            cls, config = self._resolve("input", component, *path)
            with _at(self.where, *path):
                if component.name in planned:
                    raise MTBenchError(
                        f"'{component.name}' is listed twice, and inputs are told apart by name; keep one"
                    )
                planned[component.name] = PlannedInput(component.name, cls(config))
                check_packages("input", component.name, planned[component.name].input.packages)
        return tuple(planned.values())

    def _plan_balancer(self, schema: Schema) -> PlannedBalancer:
        experiment, where = self.experiment, self.where
        component = experiment.balancer or self.registry.default("balancer")
        cls, config = self._resolve("balancer", component, "balancer")
        with _at(where, "balancer"):
            check_packages("balancer", component.name, cls.packages)
            balancer = cls(config, schema.tasks)
        if experiment.training.devices > 1 and not balancer.distributed:
            raise MTBenchError(
                f"{where}: training.devices: balancer '{component.name}' needs the whole batch in one process; set it "
                f"to 1 (now {experiment.training.devices}), or take another balancer, like "
                f"{' or '.join(map(repr, self.registry.defaults('balancer')))}"
            )
        planned = PlannedBalancer(component.name, balancer)
        if experiment.training.embeddings != "adam":
            _check_row_wise(experiment, planned, where)
        return planned

    def _plan_metrics(self, schema: Schema) -> dict[str, Metric]:
        """Return the metrics to compute: those asked for, and each task's primary metric, which selection needs."""
        metrics: dict[str, Metric] = {}
        names = self.experiment.metrics or self.registry.defaults("metric")
        for index, name in enumerate(names):
            with _at(self.where, "metrics", index):
                metrics[name] = self.registry.metric(name)
        for task in schema.tasks:
            with _at(self.where, f"metric of task '{task.name}'"):
                metric = metrics.setdefault(task.primary, self.registry.metric(task.primary))
                kind = find_kind(task.kind)
                if not kind.is_judged_by(_kinds(metric)):
                    fitting = [name for name, other in metrics.items() if kind.is_judged_by(_kinds(other))]
                    raise MTBenchError(
                        f"'{task.primary}' is for {' and '.join(_kinds(metric))} tasks, and this task is {task.kind}; "
                        f"set the task's 'metric' to {' or '.join(fitting) or 'one that fits'}"
                    )
        for name in metrics:
            self._note("metric", name)
        return metrics


def _check_row_wise(experiment: Experiment, planned: PlannedBalancer, where: str) -> None:
    """Raise MTBenchError for what sparse gradients of embeddings cannot be combined with."""
    update = experiment.training.embeddings
    if not planned.balancer.row_wise:
        raise MTBenchError(
            f"{where}: training.embeddings: '{update}' and balancer '{planned.name}', which combines whole "
            "gradients, cannot be used together; take 'adam', or a balancer of losses"
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
        raise MTBenchError(f"{where}: {join_path(path)}{error}") from error


def _read_schema(dataset: Dataset[Any]) -> Schema:
    try:
        return dataset.schema()
    except ValidationError as error:
        raise MTBenchError("; ".join(list_problems(error))) from error


def check_packages(kind: PluginKind, name: str, packages: Sequence[str]) -> None:
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


def _kinds(metric: Metric) -> Sequence[str]:
    return getattr(metric, "kinds", (DEFAULT,))


def label_models(models: Sequence[Component]) -> list[str]:
    """Return a name for each model that no other has: its own, with a number from the second on."""
    names = [model.name for model in models]
    return [
        name if (before := names[:index].count(name)) == 0 else f"{name}-{before + 1}"
        for index, name in enumerate(names)
    ]
