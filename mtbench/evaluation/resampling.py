"""Joint cluster bootstrap: each task's primary metric on test under the same resamples of the users for every model.

Resample b draws the same clusters whatever the model, so that models can be compared, and tasks combined, resample by
resample, without their predictions (Efron, Annals of Statistics 1979; clusters: Field and Welsh, JRSS B 2007).
"""

from __future__ import annotations

import hashlib
import math
from copy import deepcopy
from typing import TYPE_CHECKING, Literal

import numpy as np
import pyarrow.compute as pc

from mtbench.errors import MTBenchError
from mtbench.evaluation.evaluate import choose, score, take, takes_groups
from mtbench.evaluation.metric import Metric, UndefinedMetricError
from mtbench.evaluation.predictions import find_judged
from mtbench.evaluation.replicates import Replicates, TaskReplicates

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pyarrow as pa
    import torchmetrics

    from mtbench.schema import Task

    Value = Callable[[np.ndarray], float]

COUNT = 1000
SEED = 1979
DIGITS = 10


def draw(clusters: int, resample: int) -> np.ndarray:
    """Return how often each cluster is drawn in a resample (from 0), int64 of shape (clusters,)."""
    drawn = np.random.default_rng((SEED, resample)).integers(clusters, size=clusters)
    return np.bincount(drawn, minlength=clusters)


def resample(
    predictions: pa.Table, tasks: Sequence[Task], metrics: Mapping[str, torchmetrics.Metric], count: int = COUNT
) -> Replicates:
    """Return the primary metric of every task under resamples of the users, or of the rows if any has no user.

    ``predictions`` is as :mod:`mtbench.evaluation.predictions` makes it; the clusters are those of the test rows of all
    tasks together, by id. Of tasks whose primary metric is not among ``metrics`` nothing is returned. Raises
    MTBenchError if there are no test rows.
    """
    test = find_judged(predictions.filter(pc.equal(predictions["split"].cast("string"), "test")))
    if not test.num_rows:
        raise MTBenchError("the predictions hold no test rows with labels, so that there is nothing to resample")
    clusters: Literal["users", "rows"] = "rows" if test["user"].null_count else "users"
    column = {"rows": "row", "users": "user"}[clusters]
    ids = np.unique(test[column].to_numpy())
    valued = [task for task in tasks if task.primary in metrics]
    totals = {task.name: np.zeros(count) for task in valued}
    seeds = pc.unique(test["seed"]).to_pylist()
    for seed in seeds:
        rows = test.filter(pc.equal(test["seed"], seed))
        names = rows["task"].cast("string")
        values = {
            task.name: _value(metrics[task.primary], rows.filter(pc.equal(names, task.name)), column, ids)
            for task in valued
        }
        for number in range(count):
            drawn = draw(len(ids), number)
            for name, value in values.items():
                totals[name][number] += value(drawn)
    return Replicates(
        clusters=clusters,
        number=len(ids),
        draws=hashlib.sha256(ids.tobytes() + draw(len(ids), COUNT - 1).tobytes()).hexdigest(),
        count=count,
        tasks={
            task.name: TaskReplicates(metric=task.primary, values=_round(totals[task.name] / len(seeds)))
            for task in valued
        },
    )


def _round(values: np.ndarray) -> list[float | None]:
    return [float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None for value in values]


def _value(metric: torchmetrics.Metric, rows: pa.Table, column: str, ids: np.ndarray) -> Value:
    """Return what values a resample, given how often each cluster was drawn; NaN where it has no value."""
    cluster = np.searchsorted(ids, rows[column].to_numpy())
    preds = choose(metric, rows["prediction"].to_numpy(), rows["score"].to_numpy())
    target = rows["label"].to_numpy()
    groups = cluster if column == "user" else None
    fast = None
    if isinstance(metric, Metric):
        taken = deepcopy(metric)  # what it returns may look into it
        try:
            take(taken, preds, target, groups)
            fast = taken.resampler()
        except UndefinedMetricError:
            return lambda _: math.nan
    own = fast or _repeat_rows(metric, preds, target, groups)

    def value(drawn: np.ndarray) -> float:
        times = drawn[cluster]
        try:
            return own(times) if times.any() else math.nan
        except UndefinedMetricError:
            return math.nan

    return value


def _repeat_rows(
    metric: torchmetrics.Metric, preds: np.ndarray, target: np.ndarray, groups: np.ndarray | None
) -> Value:
    """Return the slow way: rows are repeated, and each copy of a group is a group of its own."""

    def value(times: np.ndarray) -> float:
        index = np.repeat(np.arange(len(times)), times)
        if groups is None or not takes_groups(metric):
            return score(metric, preds[index], target[index])
        copy = np.arange(len(index)) - np.repeat(np.cumsum(times) - times, times)
        return score(metric, preds[index], target[index], groups[index] * (times.max() + 1) + copy)

    return value
