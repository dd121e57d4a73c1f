"""Metrics over predictions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from pydantic import Field

from mtbench.errors import MTBenchError
from mtbench.evaluation.metric import Metric, UndefinedMetricError
from mtbench.evaluation.predictions import find_judged
from mtbench.kinds import DEFAULT, find_kind
from mtbench.record.form import MetricValues, Part, undefined_key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa
    import torchmetrics

    from mtbench.schema import Task

    Array = torch.Tensor | np.ndarray
    AnyMetric = torchmetrics.Metric | type[torchmetrics.Metric]


class Results(Part):
    """What came out: task -> metric -> values, the seeds they belong to, and why values are undefined."""

    seeds: list[int]
    values: dict[str, dict[str, MetricValues]]
    undefined: dict[str, str] = Field(description="'task.metric.split.seed' -> the reason.")


def kinds(metric: AnyMetric) -> tuple[str, ...]:
    """Return the kinds of tasks that the metric is for; binary unless it says otherwise."""
    names: tuple[str, ...] = getattr(metric, "kinds", (DEFAULT,))
    return names


def takes_groups(metric: AnyMetric) -> bool:
    """Return whether the metric takes the group of each row."""
    return bool(getattr(metric, "grouped", False))


def choose(metric: AnyMetric, prediction: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return what a metric takes for predictions: the scores if it ranks and every row has one (not NaN).

    Metrics of torchmetrics know no scores and take predictions.
    """
    return scores if getattr(metric, "ranks", False) and np.isfinite(scores).all() else prediction


def best(metric: AnyMetric) -> float:
    """Return the value of a perfect model; unless the metric names it, 1 if higher is better and else 0."""
    if metric.higher_is_better is None:
        name = (metric if isinstance(metric, type) else type(metric)).__name__
        raise MTBenchError(f"metric {name} does not say what is better; set its attribute higher_is_better")
    return float(getattr(metric, "best", 1.0 if metric.higher_is_better else 0.0))


def chance(metric: AnyMetric) -> float | None:
    """Return the value of a model that knows nothing, None where that depends on the data or the metric names none."""
    value = getattr(metric, "chance", None)
    return None if value is None else float(value)


def limits(metric: AnyMetric) -> tuple[float | None, float | None]:
    """Return the least and the greatest value that there can be, None where there is no such limit or it names none."""
    low, high = (value if math.isfinite(value) else None for value in getattr(metric, "limits", (math.nan, math.nan)))
    return low, high


def version(metric: AnyMetric) -> int:
    """Return the version of the metric, 1 unless it names one."""
    return int(getattr(metric, "version", 1))


def _alone() -> bool:
    return False


def _tensor(column: Array) -> torch.Tensor:
    # NumPy columns are copied: torch warns of memory-mapped ones, which it could write to. NumPy copies faster
    return column.detach().cpu() if isinstance(column, torch.Tensor) else torch.from_numpy(np.array(column))


def take(metric: torchmetrics.Metric, preds: Array, target: Array, groups: Array | None = None) -> None:
    """Let the metric take in these rows alone, on the CPU in this process; each argument has shape (rows,)."""
    metric.distributed_available_fn = _alone
    metric.cpu().reset()
    preds, target = _tensor(preds), _tensor(target)
    if not isinstance(metric, Metric):
        if kinds(metric) == (DEFAULT,):
            target = target.long()  # the classification metrics of torchmetrics refuse floating-point labels
        else:
            metric.set_dtype(torch.float64)  # those of regression would sum in single precision
    if takes_groups(metric):
        metric.update(preds, target, indexes=None if groups is None else _tensor(groups))
    else:
        metric.update(preds, target)


def score(metric: torchmetrics.Metric, preds: Array, target: Array, groups: Array | None = None) -> float:
    """Return the metric of these rows alone, each argument of shape (rows,).

    It is computed on the CPU in this process, without the others, in one thread: the same rows give the same bits,
    however many cores there are. Raises UndefinedMetricError where there is no value.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the parts of a sum that is divided among threads are added in another order
    try:
        take(metric, preds, target, groups)
        value = float(metric.compute())
    finally:
        torch.set_num_threads(threads)
    if not math.isfinite(value):
        raise UndefinedMetricError(f"the metric returned {value}")
    return value


class Evaluation:
    """Every metric that applies to a task's kind, for each seed, on valid and test, as their predictions come in.

    Tables are as :mod:`mtbench.evaluation.predictions` makes them. All lines of a seed, split and task must come in one
    table, and only one table is held at a time.
    """

    def __init__(self, tasks: Sequence[Task], metrics: Mapping[str, torchmetrics.Metric]) -> None:
        self._metrics = {
            task.name: {
                name: metric for name, metric in metrics.items() if find_kind(task.kind).is_judged_by(kinds(metric))
            }
            for task in tasks
        }
        self._seeds: dict[int, None] = {}
        self._found: dict[_Key, dict[str, float | UndefinedMetricError]] = {}

    def add(self, predictions: pa.Table) -> pa.Table:
        """Judge a table, and return it."""
        self._seeds |= dict.fromkeys(predictions["seed"].unique().to_pylist())
        for (seed, split, task), part in _partition(predictions).items():
            if (seed, split, task) in self._found:
                raise ValueError(f"task '{task}' of seed {seed} has {split} rows in two tables")
            self._found[seed, split, task] = self._judge(task, part)
        return predictions

    def results(self) -> Results:
        """Return what was found, seeds in the order in which they came."""
        undefined: dict[str, str] = {}

        def value(task: str, name: str, split: str, seed: int) -> float | None:
            result = (self._found.get((seed, split, task)) or self._judge(task, _NO_ROWS))[name]
            if isinstance(result, UndefinedMetricError):
                undefined[undefined_key(task, name, split, seed)] = str(result)
                return None
            return result

        values = {
            task: {
                name: MetricValues(
                    valid=[value(task, name, "valid", seed) for seed in self._seeds],
                    test=[value(task, name, "test", seed) for seed in self._seeds],
                )
                for name in metrics
            }
            for task, metrics in self._metrics.items()
        }
        return Results(seeds=list(self._seeds), values=values, undefined=undefined)

    def _judge(self, task: str, part: _Part) -> dict[str, float | UndefinedMetricError]:
        values: dict[str, float | UndefinedMetricError] = {}
        for name, metric in self._metrics[task].items():
            try:
                values[name] = score(metric, choose(metric, part.prediction, part.score), part.label, part.user)
            except UndefinedMetricError as reason:
                values[name] = reason
        return values


def evaluate(predictions: pa.Table, tasks: Sequence[Task], metrics: Mapping[str, torchmetrics.Metric]) -> Results:
    """Return the evaluation of one table that holds everything."""
    evaluation = Evaluation(tasks, metrics)
    evaluation.add(predictions)
    return evaluation.results()


_Key = tuple[int, str, str]


class _Part(NamedTuple):
    """The rows of a seed, split and task, (rows,) each: a score is NaN where it is null; no users if any is null."""

    prediction: np.ndarray
    score: np.ndarray
    label: np.ndarray
    user: np.ndarray | None


_NO_ROWS = _Part(np.empty(0), np.empty(0), np.empty(0), None)


def _partition(predictions: pa.Table) -> dict[_Key, _Part]:
    predictions = find_judged(predictions).unify_dictionaries()
    keys = predictions.select(["seed", "split", "task"]).to_pandas()
    columns = predictions.select(_Part._fields)
    parts: dict[_Key, _Part] = {}
    for (seed, split, task), positions in keys.groupby(list(keys), observed=True).indices.items():
        prediction, scores, label, user = columns.take(positions).columns
        users = None if user.null_count else user.to_numpy()
        parts[seed, split, task] = _Part(prediction.to_numpy(), scores.to_numpy(), label.to_numpy(), users)
    return parts
