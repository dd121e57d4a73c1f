from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import torchmetrics

from mtbench.errors import MTBenchError
from mtbench.evaluation import predictions
from mtbench.evaluation.evaluate import score
from mtbench.evaluation.metric import UndefinedMetricError
from mtbench.evaluation.resampling import COUNT, draw, resample
from mtbench.registry import Registry
from mtbench.schema import Task

REGISTRY = Registry.load()
METRICS = {name: REGISTRY.metric(name) for name in ("auc", "gauc", "logloss", "pr_auc", "ndcg@3", "rmse")}


def table(seeds=2, rows=60, users=8, tasks=("click", "buy"), seed=0, kept=0.7, rate=0.4):
    """Return predictions of test rows whose second task has masked rows, and of some validation rows."""
    rng = np.random.default_rng(seed)
    shape = (rows, len(tasks))
    label, mask = (rng.random(shape) < rate).astype(float), rng.random(shape) < [1.0, *[kept] * (len(tasks) - 1)]
    group = None if users is None else rng.integers(100, 100 + users, rows)
    return pa.concat_tables(
        predictions.make_table(
            each, split, tasks, rng.permutation(rows) if split == "valid" else np.arange(rows) + 7,
            prediction=rng.integers(1, 10, shape) / 10, label=label, mask=mask, user=group,
        )
        for each in range(seeds)
        for split in ("valid", "test")
    )  # fmt: skip


def brute_force(found, task, name, number):
    """Return the mean over seeds of a metric over the drawn clusters, each copy written out as rows."""
    test = found.to_pandas().query("split == 'test'")
    column = "row" if test["user"].isna().any() else "user"
    ids = sorted(set(test[column]))
    times = draw(len(ids), number)
    values = []
    for _, rows in test[test["task"] == task].groupby("seed"):
        parts = [
            rows[rows[column] == cluster].assign(copied=1000 * copy + cluster)
            for cluster, count in zip(ids, times, strict=True)
            for copy in range(count)
        ]
        one = {name: np.concatenate([part[name].to_numpy() for part in parts]) for name in ("prediction", "label")}
        groups = np.concatenate([part["copied"].to_numpy() for part in parts])
        try:
            values.append(score(METRICS[name], one["prediction"], one["label"], groups))
        except UndefinedMetricError:
            return None
    return np.mean(values)


UNGROUPED = ["auc", "logloss", "pr_auc", "rmse"]


@pytest.mark.parametrize(
    ("name", "users"), [*((name, 8) for name in [*UNGROUPED, "gauc", "ndcg@3"]), *((name, None) for name in UNGROUPED)]
)
def test_a_resample_is_the_metric_of_the_drawn_clusters(name, users):
    found = table(users=users)
    kind = "regression" if name == "rmse" else "binary"
    tasks = [Task(name=task, metric=name, kind=kind) for task in ("click", "buy")]
    made = resample(found, tasks, METRICS, count=20)
    assert made.clusters == ("rows" if users is None else "users")
    for task in ("click", "buy"):
        expected = [brute_force(found, task, name, number) for number in range(20)]
        assert made.tasks[task].metric == name
        assert made.tasks[task].values == [None if value is None else pytest.approx(value) for value in expected]


def test_a_metric_of_torchmetrics_is_resampled_too():
    found, task = table(), Task(name="click", metric="auc")
    metrics = {"auc": torchmetrics.classification.BinaryAUROC()}
    ours, theirs = (resample(found, [task], each, 10).tasks["click"].values for each in (METRICS, metrics))
    assert theirs == pytest.approx(ours, abs=1e-6)


def test_every_model_is_resampled_alike_whatever_the_order_of_its_rows():
    found = table()
    tasks = [Task(name="click"), Task(name="buy")]
    shuffled = found.take(np.random.default_rng(1).permutation(found.num_rows))
    first, second = (resample(each, tasks, METRICS, 30) for each in (found, shuffled))
    assert first == second
    other = table(seed=5)
    assert resample(other, tasks, METRICS, 1).draws != first.draws or set(other["user"]) == set(found["user"])
    assert resample(table(users=None), tasks, METRICS, 1).draws != first.draws


def test_a_task_of_fewer_users_is_resampled_with_the_others():
    found = table(kept=0.05)
    both = resample(found, [Task(name="click"), Task(name="buy")], METRICS, 30)
    alone = resample(found, [Task(name="click")], METRICS, 30)
    assert both.tasks["click"] == alone.tasks["click"]
    assert both.number == alone.number == 8


def test_a_resample_of_one_class_has_no_value():
    made = resample(table(rate=0.03, users=None, rows=40), [Task(name="click")], METRICS, 200)
    expected = [brute_force(table(rate=0.03, users=None, rows=40), "click", "auc", number) for number in range(200)]
    assert [value is None for value in made.tasks["click"].values] == [value is None for value in expected]
    assert 0 < made.tasks["click"].values.count(None) < 200
    nothing = resample(table(rate=0), [Task(name="click")], METRICS, 5)
    assert nothing.tasks["click"].values == [None] * 5


def test_draws_are_of_as_many_clusters_and_differ():
    drawn = np.stack([draw(50, number) for number in range(COUNT)])
    assert (drawn.sum(axis=1) == 50).all()
    assert len(np.unique(drawn, axis=0)) == COUNT
    assert drawn.mean(axis=0) == pytest.approx(np.ones(50), abs=0.15)
    assert drawn.var() == pytest.approx(1 - 1 / 50, rel=0.03)
    assert (draw(50, 3) == drawn[3]).all()


def test_a_table_without_test_rows_is_refused():
    found = table()
    with pytest.raises(MTBenchError, match="no test rows"):
        resample(found.filter(np.array(found["split"]) == "valid"), [Task(name="click")], METRICS)
