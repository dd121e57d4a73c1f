"""What a sweep searches: the settings that the experiment file leaves open, each in the range beside its field."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field, JsonValue
from pydantic_core import to_jsonable_python

from mtbench.errors import MTBenchError, suggest
from mtbench.experiment import Experiment, Training
from mtbench.files import dump_canonical_json
from mtbench.model import Reference
from mtbench.plan import make_plan
from mtbench.schema import Choice, Component, FloatRange, IntRange, SearchRange, Settings, search_range
from mtbench.validation import show_value, validate

if TYPE_CHECKING:
    from optuna import Trial

    from mtbench.plan import Plan
    from mtbench.registry import Registry

MODEL, TRAINING, BALANCER = "model", "training", "balancer"


class Range(Settings):
    """A range of numbers as a file writes it."""

    low: float = Field(description="Lowest value.")
    high: float = Field(description="Highest value.")
    log: bool = Field(False, description="Search on a logarithmic scale.")


@dataclass(frozen=True)
class Dimension:
    """A setting that is searched; its name is ``model.SETTING``, ``training.SETTING`` or ``balancer``."""

    name: str
    range: SearchRange
    default: Any

    def draw(self, trial: Trial) -> Any:
        """Return what Optuna draws; lists and mappings are drawn as their JSON text."""
        if isinstance(self.range, Choice):
            return trial.suggest_categorical(self.name, [to_stored(value) for value in self.range.values])
        if isinstance(self.range, IntRange):
            return trial.suggest_int(self.name, self.range.low, self.range.high, log=self.range.log)
        return trial.suggest_float(self.name, self.range.low, self.range.high, log=self.range.log)

    def value(self, drawn: Any) -> Any:
        """Return the setting that a drawn value stands for."""
        if isinstance(self.range, Choice):
            return next(plain for plain in map(to_jsonable_python, self.range.values) if to_stored(plain) == drawn)
        return drawn

    def describe(self) -> JsonValue:
        """Return the range as it would be written."""
        if isinstance(self.range, Choice):
            return [to_jsonable_python(value) for value in self.range.values]
        return {"low": self.range.low, "high": self.range.high, "log": self.range.log}


def to_stored(value: Any) -> bool | int | float | str | None:
    """Return a value as Optuna keeps it: lists and mappings as their JSON text."""
    plain = to_jsonable_python(value)
    return dump_canonical_json(plain) if isinstance(plain, list | dict) else plain


@dataclass(frozen=True)
class Space:
    """The dimensions of one model of an experiment."""

    dimensions: tuple[Dimension, ...]
    left_out: tuple[str, ...] = ()
    """Values that cannot be had here, each with the reason."""

    def defaults(self) -> dict[str, Any]:
        """Return the first trial, written out in full."""
        return {dimension.name: to_stored(dimension.default) for dimension in self.dimensions}

    def suggest(self, trial: Trial) -> dict[str, Any]:
        """Return the settings of a trial by name."""
        return self.values({dimension.name: dimension.draw(trial) for dimension in self.dimensions})

    def values(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return settings by name for what Optuna keeps, as far as a trial came."""
        return {
            dimension.name: dimension.value(params[dimension.name])
            for dimension in self.dimensions
            if dimension.name in params
        }

    def describe(self) -> dict[str, JsonValue]:
        """Return the range of every setting."""
        return {dimension.name: dimension.describe() for dimension in self.dimensions}


def apply_settings(experiment: Experiment, index: int, values: Mapping[str, Any]) -> Experiment:
    """Return the experiment with one of its models alone and these settings, by the names of dimensions."""
    of: dict[str, dict[str, Any]] = {MODEL: {}, TRAINING: {}}
    balancer = experiment.balancer
    for name, value in values.items():
        room, _, setting = name.partition(".")
        if room == BALANCER:
            balancer = Component.model_validate(value if isinstance(value, Mapping) else {"name": value})
        else:
            of[room][setting] = value
    model = experiment.models[index]
    settled = Component(name=model.name, **(model.settings | of[MODEL]))
    training = validate(Training, experiment.training.model_dump() | of[TRAINING], "sweep", (TRAINING,))
    return experiment.model_copy(update={"models": (settled,), "training": training, "balancer": balancer})


def make_space(plan: Plan, registry: Registry, index: int, rows: int, where: str) -> Space:
    """Return what is searched for a model of the plan's experiment, whose dataset has so many training rows.

    Raises MTBenchError if the file's ``sweep.space`` does not fit.
    """
    experiment, model = plan.experiment, plan.models[index]
    network = not issubclass(model.cls, Reference)
    dimensions = _list_open(MODEL, model.config, set(experiment.models[index].settings))
    if network:
        dimensions += _list_open(TRAINING, experiment.training.for_rows(rows), experiment.training.model_fields_set)
        if len(plan.schema.tasks) > 1:
            dimensions += _open_balancer(experiment, registry)
    searched = {dimension.name: _widen(dimension) for dimension in dimensions}
    asked = experiment.sweep.space
    for key, value in asked.items():
        name = _resolve_key(key, model.name)
        if name is None:
            continue
        default = _find_default(name, plan, registry, index, rows)
        if default is not None:
            searched[name] = Dimension(
                name, _parse_range(value, default[0], f"{where}: sweep.space.{key}: "), default[0]
            )
    return _drop_unavailable(Space(tuple(searched.values())), experiment, index, registry)


def check_keys(plan: Plan, where: str) -> None:
    """Raise MTBenchError if a key of ``sweep.space`` is a setting of nothing in the experiment."""
    known = {f"{TRAINING}.{name}" for name in Training.model_fields} | {BALANCER}
    for model in plan.models:
        known |= {f"{room}.{name}" for room in (MODEL, model.name) for name in type(model.config).model_fields}
    for key in plan.experiment.sweep.space:
        if key not in known:
            raise MTBenchError(
                f"{where}: sweep.space: there is no setting '{key}'{suggest(key, known)}; write "
                "training.SETTING, model.SETTING (every model that has it), NAME.SETTING (that model alone) or balancer"
            )


def _list_open(room: str, settings: BaseModel, kept: set[str]) -> list[Dimension]:
    """Return the settings that have a range and that the file does not give."""
    dimensions = []
    for name, info in type(settings).model_fields.items():
        ranged = search_range(info)
        if ranged is not None and name not in kept:
            dimensions.append(Dimension(f"{room}.{name}", ranged, _read_setting(settings, name)))
    return dimensions


def _open_balancer(experiment: Experiment, registry: Registry) -> list[Dimension]:
    """Return the choice among the balancers that plugins mark as worth a search, unless the file gives one."""
    names = [name for name in registry.registered("balancer") if registry.resolve("balancer", name).searched]
    if experiment.balancer is not None or len(names) < 2:  # noqa: PLR2004 - one is no choice
        return []
    return [Dimension(BALANCER, Choice(tuple(names)), registry.default("balancer").name)]


def _widen(dimension: Dimension) -> Dimension:
    """Return the dimension with its range made wide enough for its default."""
    ranged, default = dimension.range, dimension.default
    if isinstance(ranged, Choice):
        values = ranged.values if to_stored(default) in map(to_stored, ranged.values) else (default, *ranged.values)
        return replace(dimension, range=Choice(values))
    return replace(dimension, range=replace(ranged, low=min(ranged.low, default), high=max(ranged.high, default)))


def _resolve_key(key: str, model: str) -> str | None:
    """Return the dimension that a key of ``sweep.space`` means for a model, None if it is another model's."""
    room, _, setting = key.partition(".")
    if room in {MODEL, TRAINING, BALANCER}:
        return key
    return f"{MODEL}.{setting}" if room == model else None


def _find_default(name: str, plan: Plan, registry: Registry, index: int, rows: int) -> tuple[Any] | None:
    """Return the value that a setting has without a search, None where the model has no such setting."""
    room, _, setting = name.partition(".")
    model = plan.models[index]
    if room == MODEL:
        known = setting in type(model.config).model_fields
        return (_read_setting(model.config, setting),) if known else None
    if issubclass(model.cls, Reference):
        return None
    if room == TRAINING:
        return (_read_setting(plan.experiment.training.for_rows(rows), setting),)
    component = plan.experiment.balancer or registry.default("balancer")
    return (_write(component),)


def _read_setting(settings: BaseModel, name: str) -> Any:
    """Return the value of a setting as a file would give it: a plugin without settings is its name."""
    return _write(getattr(settings, name))


def _write(value: Any) -> Any:
    return to_jsonable_python(value.name if isinstance(value, Component) and not value.settings else value)


def _parse_range(value: JsonValue, default: Any, where: str) -> SearchRange:
    """Return the range that a file asks for; the default must lie in it, for it is the first trial."""
    ranged: SearchRange
    if isinstance(value, list) and value:
        ranged = Choice(tuple(value))
        inside = to_stored(default) in map(to_stored, value)
    elif isinstance(value, Mapping):
        bounds = validate(Range, value, where.removesuffix(": "))
        if not bounds.low < bounds.high or (bounds.log and bounds.low <= 0):
            raise MTBenchError(
                f"{where}low {bounds.low:g} must be below high {bounds.high:g}, and above 0 if log is true"
            )
        whole = isinstance(default, int) and bounds.low.is_integer() and bounds.high.is_integer()
        ranged = (
            IntRange(int(bounds.low), int(bounds.high), bounds.log)
            if whole
            else FloatRange(bounds.low, bounds.high, bounds.log)
        )
        inside = isinstance(default, int | float) and bounds.low <= default <= bounds.high
    else:
        raise MTBenchError(f"{where}write a range {{low: ..., high: ...}} or a list of values, not {show_value(value)}")
    if not inside:
        raise MTBenchError(
            f"{where}the default {json.dumps(default)} lies outside, and the first trial has the default settings; "
            "widen the range, or give the setting a value inside it in the experiment"
        )
    return ranged


def _drop_unavailable(space: Space, experiment: Experiment, index: int, registry: Registry) -> Space:
    """Return the space without the values that this experiment cannot have, such as of a package that is missing."""
    dimensions, left_out = [], []
    for dimension in space.dimensions:
        if not isinstance(dimension.range, Choice):
            dimensions.append(dimension)
            continue
        possible: list[Any] = []
        for value in dimension.range.values:
            try:
                make_plan(apply_settings(experiment, index, {dimension.name: to_jsonable_python(value)}), registry)
            except MTBenchError as error:
                if to_stored(value) == to_stored(dimension.default):
                    raise
                left_out.append(f"{dimension.name} {show_value(value)}: {error}")
            else:
                possible.append(value)
        if len(possible) > 1:
            dimensions.append(replace(dimension, range=Choice(tuple(possible))))
    return Space(tuple(dimensions), tuple(left_out))
