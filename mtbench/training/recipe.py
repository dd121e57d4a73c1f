"""Everything that goes into a record, and in what two recipes differ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mtbench.evaluation import evaluate
from mtbench.experiment import PLACEMENT
from mtbench.model import Reference
from mtbench.provenance import find_engine
from mtbench.record import store
from mtbench.record.form import (
    BenchmarkPart,
    Budget,
    DatasetPart,
    InputPart,
    InputsPart,
    MetricPart,
    PluginPart,
    Recipe,
    SplitPart,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mtbench.data.columns import Columns
    from mtbench.plan import Plan, PlannedInput, PlannedModel
    from mtbench.registry import PluginKind

DEFAULT = Budget()


def make_recipe(
    plan: Plan, columns: Columns, model: PlannedModel, budget: Budget = DEFAULT, benchmark: BenchmarkPart | None = None
) -> Recipe:
    """Return everything that goes into a record."""
    experiment, meta = plan.experiment, columns.meta
    network = not issubclass(model.cls, Reference)

    def describe(kind: PluginKind, name: str, settings: dict[str, Any]) -> dict[str, Any]:
        return {"name": name, "settings": settings, "provenance": plan.provenances[kind, name]}

    def describe_inputs(planned: Sequence[PlannedInput]) -> list[InputPart]:
        return [
            InputPart(
                **describe("input", one.name, one.input.config.model_dump(mode="json")),
                version=one.input.version,
                transductive=one.input.transductive,
            )
            for one in planned
        ]

    metrics = {
        name: MetricPart(
            version=evaluate.version(metric),
            higher_is_better=bool(metric.higher_is_better),
            best=evaluate.best(metric),
            chance=evaluate.chance(metric),
            limits=evaluate.limits(metric),
            provenance=plan.provenances["metric", name],
        )
        for name, metric in plan.metrics.items()
    }
    balancer = plan.balancer.balancer.config.model_dump(mode="json")
    return Recipe(
        engine=find_engine(),
        dataset=DatasetPart(
            **describe("dataset", experiment.dataset.name, meta["settings"]),
            version=meta["version"],
            files=meta["files"],
        ),
        split=SplitPart(settings=meta["split"], rows=columns.counts, fingerprints=meta["fingerprints"]),
        tasks=[task.model_copy(update={"metric": task.primary}) for task in plan.schema.tasks],
        metrics=metrics,
        inputs=InputsPart(
            warmup=experiment.inputs.warmup,
            asked=describe_inputs(model.inputs),
            pooled=describe_inputs(plan.pooled),
        ),
        model=PluginPart(**describe("model", model.name, model.config.model_dump(mode="json"))),
        balancer=PluginPart(**describe("balancer", plan.balancer.name, balancer)) if network else None,
        training=experiment.training.model_dump(mode="json", exclude=PLACEMENT) if network else {},
        seeds=list(experiment.seeds),
        budget=budget,
        benchmark=benchmark,
    )


def list_code_changes(before: Recipe, now: Recipe) -> list[str]:
    """Return by name whose code is another in two recipes."""
    engine = ["the engine"] if before.engine != now.engine else []
    old = {(kind, name): provenance for kind, name, provenance in before.code}
    return engine + [f"{kind} {name}" for kind, name, provenance in now.code if old.get((kind, name)) != provenance]


def find_other_code(folder: Path, recipe: Recipe) -> tuple[Path, list[str]] | None:
    """Return the record of a folder that differs from a recipe in code alone, in the least, and by name in which."""
    wanted = _without_code(recipe.model_dump(mode="json"))
    others = [
        (path, list_code_changes(record.recipe, recipe))
        for record, path in store.read_all(folder)[0]
        if _without_code(record.recipe.model_dump(mode="json")) == wanted
    ]
    return min(others, key=lambda other: (len(other[1]), other[0].name), default=None)


def _without_code(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_code(part) for key, part in value.items() if key not in {"provenance", "engine"}}
    return list(map(_without_code, value)) if isinstance(value, list) else value
