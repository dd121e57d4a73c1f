"""The values of a record: means over seeds, bounds, the improvement, and why a value is undefined."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, NamedTuple

from mtbench.evaluation.improvement import compute_improvement
from mtbench.record.form import undefined_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mtbench.record.form import MetricPart, Record

JudgedSplit = Literal["valid", "test"]

BOUNDS = {
    "constant": ("constant predictor", "predicts the mean label of the training rows"),
    "reachable": ("reachable optimum", "is the best prediction from what earlier rows tell"),
    "optimum": ("optimum", "predicts the truth that generated the labels"),
}


class Spread(NamedTuple):
    """Mean and sample standard deviation over seeds; one seed has no deviation."""

    mean: float
    deviation: float | None


class Statistics(NamedTuple):
    """What a model said of itself: single numbers by name, and tables as name -> row -> column -> number."""

    single: dict[str, float]
    tables: dict[str, dict[str, dict[str, float]]]


def average_improvement(record: Record, kind: str | None = None) -> float | None:
    """Return the mean over tasks of the share of the way from the constant predictor to a perfect model.

    It is of the primary metrics on test, the model's own or those of a kind of bound; None where any task has none.
    """
    shares = []
    for task in record.recipe.tasks:
        metric = record.recipe.metrics.get(task.primary)
        value = find_bound(record, kind, task.name, task.primary) if kind else record.mean(task.name, task.primary)
        constant = find_bound(record, "constant", task.name, task.primary)
        if metric is None or value is None or constant is None or constant == metric.best:
            return None
        shares.append(compute_improvement(value, constant, metric.best))
    return sum(shares) / len(shares) if shares else None


def find_bound(record: Record, kind: str, task: str, metric: str, split: JudgedSplit = "test") -> float | None:
    """Return the value of the constant predictor or of an optimum."""
    cell = record.bounds.get(kind, {}).get(task, {}).get(metric)
    spread = summarize(getattr(cell, split)) if cell else None
    return spread.mean if spread else None


def list_bounds(records: Iterable[Record]) -> list[str]:
    """Return the kinds of bounds that records have, from the worst to the best."""
    kinds = {kind for record in records for kind in record.bounds}
    return [kind for kind in BOUNDS if kind in kinds] + sorted(kinds - BOUNDS.keys())


def list_values(record: Record, task: str, metric: str, split: JudgedSplit = "test") -> list[float | None]:
    """Return the values over seeds; none if the metric was not computed."""
    cell = record.results.get(task, {}).get(metric)
    return list(getattr(cell, split)) if cell else []


def summarize(values: Sequence[float | None]) -> Spread | None:
    """Return mean and deviation; None where any seed has no value."""
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return None
    mean = sum(known) / len(known)
    rest = len(known) - 1
    return Spread(mean, math.hypot(*(value - mean for value in known)) / math.sqrt(rest) if rest else None)


def find_metric(records: Iterable[Record], metric: str) -> MetricPart | None:
    """Return what the first record that has a metric says of it."""
    return next((part for record in records if (part := record.recipe.metrics.get(metric))), None)


def explain_undefined(record: Record, task: str, metric: str, split: JudgedSplit = "test") -> str:
    """Return why a value is undefined, by seed where the seeds differ."""
    reasons = {seed: record.undefined.get(undefined_key(task, metric, split, seed)) for seed in record.recipe.seeds}
    texts = set(reasons.values())
    if texts == {None}:
        return "not in the record"
    if len(texts) == 1:
        return str(texts.pop())
    return "; ".join(f"seed {seed}: {reason}" for seed, reason in reasons.items() if reason)


def count_unfinished(record: Record) -> int:
    """Return how many trainings were best in the last epoch that they were allowed."""
    allowed = record.recipe.training.get("max_epochs")
    return sum(max(run.chosen.values()) + 1 == allowed for run in record.measured.seeds.values())


def average_statistics(record: Record) -> Statistics:
    """Return the mean over seeds of what the model said of itself at the last epoch that a task was predicted with."""
    runs = record.measured.seeds.values()
    averages = Statistics({}, {})
    for name in next((run.statistics for run in runs), {}):
        last = ((run.statistics.get(name, ()), max(run.chosen.values(), default=-1)) for run in runs)
        chosen = [values[epoch] for values, epoch in last if 0 <= epoch < len(values)]
        if not chosen:
            continue
        match name.split("/"):
            case [table, row, column]:
                averages.tables.setdefault(table, {}).setdefault(row, {})[column] = sum(chosen) / len(chosen)
            case _:
                averages.single[name] = sum(chosen) / len(chosen)
    return averages
