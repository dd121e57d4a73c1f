from __future__ import annotations

import warnings

import numpy as np
import pyarrow as pa
import pytest
import torch
import torchmetrics
from sklearn.metrics import log_loss, mean_squared_error, r2_score, roc_auc_score, root_mean_squared_error
from torchmetrics.classification import BinaryAUROC

from mtbench.errors import MTBenchError
from mtbench.evaluation import predictions
from mtbench.evaluation.evaluate import Evaluation, best, evaluate, kinds, score, takes_groups, version
from mtbench.evaluation.metric import UndefinedMetricError
from mtbench.schema import Task
from mtbench_metrics.grouped import GAUC
from mtbench_metrics.probability import LogLoss
from mtbench_metrics.ranking import AUC
from mtbench_metrics.regression import RMSE

TASKS = (Task(name="click"), Task(name="buy", given="click"), Task(name="minutes", kind="regression"))
NAMES = [task.name for task in TASKS]
SPLITS = ("valid", "test")


def arrays(seed, count=80):
    rng = np.random.default_rng(seed)
    click = rng.random(count) < 0.5
    label = np.stack([click, rng.random(count) < 0.4, rng.normal(size=count)], 1).astype(np.float32)
    return {
        "prediction": rng.random((count, 3), np.float32),
        "label": label,
        "mask": np.stack([np.ones(count), click, rng.random(count) < 0.7], 1).astype(np.float32),
        "user": rng.integers(0, 9, count),
    }


def made(seed, split, **changes):
    data = {**arrays((seed, SPLITS.index(split))), **changes}
    return predictions.make_table(seed, split, NAMES, np.arange(80), **data)


def slow_gauc(pred, label, group):
    areas, weights = [], []
    for user in np.unique(group):
        inside = group == user
        if 0 < label[inside].mean() < 1:
            areas.append(roc_auc_score(label[inside], pred[inside]))
            weights.append(inside.sum())
    return np.average(areas, weights=weights)


ORACLES = {
    "auc": (AUC, lambda pred, label, _: roc_auc_score(label, pred)),
    "logloss": (LogLoss, lambda pred, label, _: log_loss(label, pred.astype(np.float64))),
    "gauc": (GAUC, slow_gauc),
    "rmse": (RMSE, lambda pred, label, _: root_mean_squared_error(label.astype(np.float64), pred)),
}


def test_every_cell_equals_its_oracle_on_the_rows_that_count():
    seeds = [5, 2, 11]
    # interleaved on purpose: the order of lines must not matter, only that of the seeds
    table = pa.concat_tables([made(seed, split) for split in ("test", "valid") for seed in seeds])
    metrics = {name: metric() for name, (metric, _) in ORACLES.items()}
    results = evaluate(table, TASKS, metrics)
    assert results.seeds == seeds
    assert results.undefined == {}
    assert {task: set(values) for task, values in results.values.items()} == {
        "click": {"auc", "logloss", "gauc"},
        "buy": {"auc", "logloss", "gauc"},
        "minutes": {"rmse"},
    }
    for t, task in enumerate(NAMES):
        for name, cell in results.values[task].items():
            for split in SPLITS:
                for seed, value in zip(seeds, getattr(cell, split), strict=True):
                    data = arrays((seed, SPLITS.index(split)))
                    counts = data["mask"][:, t] > 0
                    columns = (data["prediction"][counts, t], data["label"][counts, t], data["user"][counts])
                    assert value == pytest.approx(ORACLES[name][1](*columns), abs=1e-9), (task, name, split, seed)


def test_a_written_table_gives_the_same_results_without_warnings(tmp_path):
    table = pa.concat_tables([made(0, "valid"), made(0, "test"), made(1, "test")])
    predictions.write([table], tmp_path / "p.parquet")
    metrics = {name: metric() for name, (metric, _) in ORACLES.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert evaluate(predictions.read(tmp_path / "p.parquet"), TASKS, metrics) == evaluate(table, TASKS, metrics)


def test_tables_one_after_the_other_give_what_one_table_gives():
    parts = [made(3, "test"), made(1, "valid"), made(3, "valid"), made(1, "test")]
    metrics = {name: metric() for name, (metric, _) in ORACLES.items()}
    evaluation = Evaluation(TASKS, metrics)
    assert [evaluation.add(part) is part for part in parts] == [True] * 4
    assert evaluation.results() == evaluate(pa.concat_tables(parts), TASKS, metrics)
    with pytest.raises(ValueError, match="task 'click' of seed 1 has test rows in two tables"):
        evaluation.add(made(1, "test"))


def test_what_is_undefined_is_none_with_its_reason():
    data = arrays((0, 0))
    label = data["label"].copy()
    label[:, 0] = 0
    mask = data["mask"].copy()
    mask[:, 1] = 0
    table = pa.concat_tables([made(0, "valid", label=label, mask=mask, user=None), made(0, "test"), made(1, "test")])
    results = evaluate(table, TASKS, {"auc": AUC(), "gauc": GAUC(), "logloss": LogLoss(), "rmse": RMSE()})
    for task, metric in (("click", "auc"), ("click", "gauc"), ("buy", "logloss")):
        cell = results.values[task][metric]
        assert cell.valid == [None, None]
        assert None not in cell.test
    reasons = results.undefined
    assert reasons["click.auc.valid.0"] == "all 80 labels are 0"
    assert reasons["click.gauc.valid.0"] == "the rows have no groups (the dataset names no user)"
    assert reasons["buy.logloss.valid.0"] == "there are no rows"
    assert reasons["minutes.rmse.valid.1"] == "there are no rows"
    assert results.values["click"]["logloss"].valid[0] is not None
    assert "click.logloss.valid.0" not in reasons


def test_an_empty_table_has_no_seeds():
    results = evaluate(made(0, "test").slice(0, 0), TASKS, {"auc": AUC()})
    assert results.seeds == []
    assert results.values["click"]["auc"].test == []


def test_score_starts_afresh_and_takes_arrays_and_tensors():
    metric = AUC()
    metric.update(torch.tensor([1.0]), torch.tensor([0.0]))
    data = arrays((4, 0))
    preds, target = data["prediction"][:, 0], data["label"][:, 0]
    expected = roc_auc_score(target, preds)
    assert score(metric, preds, target) == pytest.approx(expected, abs=1e-12)
    tracked = torch.tensor(preds, requires_grad=True)
    assert score(metric, tracked, torch.tensor(target)) == pytest.approx(expected, abs=1e-12)
    with pytest.raises(UndefinedMetricError, match="all 80 labels are 1"):
        score(metric, preds, np.ones_like(target))
    assert score(metric, preds, target) == pytest.approx(expected, abs=1e-12)


def test_metrics_of_torchmetrics_serve_as_plugins():
    data = arrays((4, 0))
    preds, target = data["prediction"][:, 0], data["label"][:, 0]
    foreign = BinaryAUROC()
    assert (kinds(foreign), takes_groups(foreign), best(foreign), version(foreign)) == (("binary",), False, 1.0, 1)
    assert score(foreign, preds, target, data["user"]) == pytest.approx(roc_auc_score(target, preds), abs=1e-6)
    assert best(torchmetrics.MeanSquaredError) == 0.0


def test_metrics_of_torchmetrics_sum_large_labels_in_double_precision():
    rng = np.random.default_rng(0)
    minutes = 1e6 + rng.integers(0, 83, 500)
    guesses = minutes + rng.normal(0, 5, 500)
    for cls, oracle in ((torchmetrics.R2Score, r2_score), (torchmetrics.MeanSquaredError, mean_squared_error)):
        foreign = type(cls.__name__, (cls,), {"kinds": ("regression",)})()
        assert score(foreign, guesses, minutes) == pytest.approx(oracle(minutes, guesses), rel=1e-5)


def test_first_party_metrics_say_what_they_are():
    assert (kinds(RMSE), takes_groups(RMSE), best(RMSE), version(RMSE)) == (("regression",), False, 0.0, 1)
    assert (kinds(GAUC), takes_groups(GAUC), best(GAUC)) == (("binary",), True, 1.0)


class Silent(torchmetrics.Metric):
    """Says nothing about itself and returns a value that is none."""

    def update(self, preds, target):
        pass

    def compute(self):
        return torch.tensor(torch.nan)


def test_a_value_that_is_not_finite_is_undefined():
    with pytest.raises(UndefinedMetricError, match="returned nan"):
        score(Silent(), np.zeros(2, np.float32), np.zeros(2, np.float32))


def test_a_metric_that_does_not_say_what_is_better_is_named():
    with pytest.raises(MTBenchError, match="metric Silent does not say"):
        best(Silent())


@pytest.mark.parametrize("cls", [AUC, LogLoss, RMSE])
def test_the_bits_do_not_depend_on_the_number_of_threads(cls):
    rng = np.random.default_rng(5)
    preds, target = rng.random(200_000), (rng.random(200_000) < 0.1).astype(np.float64)
    threads = torch.get_num_threads()
    found = set()
    try:
        for count in (1, 2, 3, 7):
            torch.set_num_threads(count)
            found.add(score(cls(), preds, target))
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(threads)
    assert len(found) == 1
