"""Rows whose probabilities are 1 to the last digit are ranked by what lies behind these."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy.special import expit
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score
from torchmetrics.classification import BinaryAUROC

import mtbench
from mtbench.evaluation import predictions
from mtbench.evaluation.evaluate import evaluate
from mtbench.evaluation.resampling import resample
from mtbench.registry import Registry
from mtbench.schema import Task
from mtbench_metrics.ranking import AUC

METRICS = ("auc", "gauc", "pr_auc", "hr@3", "ndcg@3", "logloss", "calibration_error")
LINEAR = """
from torch import nn
from mtbench import ModelConfig, MultiTaskModel, hookimpl


class Linear(MultiTaskModel):
    "A linear model of the numbers."

    class Config(ModelConfig):
        wide: bool = False

    def __init__(self, config, data):
        super().__init__(config, data)
        self.head = nn.Linear(len(data.numeric), data.num_tasks)

    def forward(self, batch):
        return self.head(batch.numeric)


class Reversed(Linear):
    "Its predictions are in another order than its logits."

    def predict(self, outputs):
        return super().predict(-outputs)


@hookimpl
def mtbench_models(register):
    register("linear", Linear)
    register("reversed", Reversed)
"""


@pytest.fixture
def saturated(tmp_path):
    """Return a function that runs models on x ~ N(0, 1) with P(y) = sigmoid(3 x), tested on x from 12 to 40."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=6000)
    y = rng.random(6000) < expit(3 * x)
    far = np.linspace(12, 40, 400)
    table = pd.DataFrame({
        "x": np.concatenate([x, far]),
        "y": np.concatenate([y, far > 20]).astype(int),
        "user": np.arange(6400) % 20,
        "part": ["train"] * 5000 + ["valid"] * 1000 + ["test"] * 400,
    })  # fmt: skip
    plugin = tmp_path / "linear.py"
    plugin.write_text(LINEAR)

    def run(*models, flip=False, metric="logloss", far_part="test", **training):
        path = tmp_path / f"rows-{flip}.csv"
        parts = {"train": "train", "test": far_part, "valid": "valid" if far_part == "test" else "test"}
        changed = {"y": 1 - table["y"] if flip else table["y"], "part": table["part"].map(parts)}
        table.assign(**changed).to_csv(path, index=False)
        experiment = {
            "dataset": {
                "name": "table", "path": str(path), "user": "user", "split": "part", "ids": False,
                "tasks": [{"name": "y", "metric": metric}],
                "features": [{"name": "x", "kind": "numeric"}],
            },
            "split": {"by": "official"},
            "models": list(models),
            "seeds": 1,
            "metrics": list(METRICS),
            "training": {
                "max_epochs": 30, "patience": 30, "batch_size": 256, "learning_rate": 0.05, "accelerator": "cpu",
            } | training,
        }  # fmt: skip
        return [
            (written.record, predictions.read(written.path.with_suffix(".parquet")))
            for written in mtbench.run(experiment, records=tmp_path / f"records-{flip}", plugins=[plugin])
        ]  # fmt: skip

    return run


def measure(table, metrics):
    results = evaluate(table, [Task(name="y")], metrics)
    return {name: cell.test[0] for name, cell in results.values["y"].items()}  # noqa: PD011 - no table


def of_test(table):
    return table.to_pandas().query("split == 'test'")


def test_saturated_rows_are_ranked_and_flipped_labels_give_the_same(saturated):
    models = ("linear", "logistic-regression")
    for right, flipped in zip(saturated(*models), saturated(*models, flip=True), strict=True):
        values = {name: cell.test[0] for name, cell in right[0].results["y"].items()}
        assert {name: values[name] for name in METRICS[:5]} == dict.fromkeys(METRICS[:5], 1.0)
        other = {name: cell.test[0] for name, cell in flipped[0].results["y"].items()}
        assert (other["auc"], other["gauc"]) == (1.0, 1.0)
        assert values["logloss"] > 3  # all are certain, and a third are wrong
        rows = of_test(right[1])
        assert (rows["prediction"].astype(np.float32) == 1).all()
        np.testing.assert_allclose(rows["prediction"], expit(rows["score"]), rtol=1e-15)
        assert rows["score"].max() > 100
        assert values["auc"] == roc_auc_score(rows["label"], rows["score"])
        assert values["pr_auc"] == average_precision_score(rows["label"], rows["score"])


def test_both_directions_of_saturated_logits_are_judged_alike():
    """Whatever is predicted of y is predicted of 1 - y by the negated logits."""
    rng = np.random.default_rng(1)
    logits = np.concatenate([rng.uniform(-200, 200, 500), rng.normal(0, 3, 500), [-200, 200, 17, -17]]).round(4)
    labels = (rng.random(len(logits)) < expit(logits / 30)).astype(float)
    metrics = {name: Registry.load().metric(name) for name in METRICS}
    results = []
    for sign in (1, -1):
        label = labels if sign == 1 else 1 - labels
        table = predictions.make_table(
            0, "test", ["y"], np.arange(len(logits)), prediction=expit(sign * logits)[:, None],
            score=sign * logits[:, None], label=label[:, None], mask=np.ones((len(logits), 1), bool),
            user=np.arange(len(logits)) % 20,
        )  # fmt: skip
        results.append(measure(table, metrics))
        assert results[-1]["auc"] == pytest.approx(roc_auc_score(label, sign * logits), abs=1e-12)
        assert results[-1]["pr_auc"] == pytest.approx(average_precision_score(label, sign * logits), abs=1e-12)
        assert results[-1]["logloss"] == pytest.approx(log_loss(label, expit(sign * logits)), abs=1e-12)
        costs = np.minimum(np.logaddexp(0, np.where(label > 0, -sign, sign) * logits), -np.log(2**-52))
        assert results[-1]["logloss"] == pytest.approx(costs.mean(), rel=1e-4)
    for name in ("auc", "gauc"):
        assert results[0][name] == pytest.approx(results[1][name], abs=1e-12)
    assert results[0]["logloss"] == pytest.approx(results[1]["logloss"], rel=1e-4)


def test_a_part_without_all_scores_is_ranked_by_its_predictions():
    prediction, score = np.array([0.2, 0.4, 0.6, 0.8]), np.array([9.0, 8.0, 7.0, np.nan])
    columns = {"prediction": prediction[:, None], "label": np.array([[0.0], [0], [1], [1]]), "mask": np.ones((4, 1))}
    for own, auc in ((score, 1.0), (np.array([9.0, 8.0, 7.0, 6.0]), 0.0)):
        table = predictions.make_table(0, "test", ["y"], np.arange(4), score=own[:, None], **columns)
        assert measure(table, {"auc": AUC()}) == {"auc": auc}


def test_a_metric_of_torchmetrics_takes_probabilities():
    columns = {"label": np.array([[0.0], [1], [1]]), "mask": np.ones((3, 1)), "prediction": np.array([[1.0]] * 3)}
    tables = [
        predictions.make_table(0, split, ["y"], np.arange(3), score=np.array([[40.0], [50], [60]]), **columns)
        for split in predictions.SPLITS
    ]
    for metric, value in ((BinaryAUROC(), 0.5), (AUC(), 1.0)):
        assert measure(pa.concat_tables(tables), {"auc": metric}) == {"auc": value}


def test_resamples_and_a_later_evaluation_rank_by_the_same(saturated):
    ((record, table),) = saturated("linear")
    metrics = {name: Registry.load().metric(name) for name in METRICS}
    assert evaluate(table, record.recipe.tasks, metrics).model_dump()["values"] == record.model_dump()["results"]
    for primary in METRICS[:3]:
        task = record.recipe.tasks[0].model_copy(update={"metric": primary})
        assert set(resample(table, [task], metrics, count=5).tasks["y"].values) == {1.0}


@pytest.mark.parametrize("metric", ["auc", "logloss"])
def test_epochs_are_chosen_by_what_is_recorded(saturated, metric):
    done = saturated("linear", "logistic-regression", metric=metric, far_part="valid", max_epochs=3, learning_rate=1.0)
    for record, table in done:
        run = record.measured.seeds["0"]
        assert record.results["y"][metric].valid[0] == run.valid["y"][run.chosen["y"]]
        far = table.to_pandas().query("split == 'valid'")
        assert (far["prediction"] == 1).sum() > 1
        assert record.results["y"]["auc"].valid[0] == 1.0


def test_a_model_with_predictions_of_its_own_is_ranked_by_these(saturated):
    ((record, table),) = saturated("reversed", max_epochs=2)
    assert of_test(table)["score"].isna().all()
    assert record.results["y"]["auc"].test[0] == 0.0


def test_half_precision_makes_no_ties(saturated):
    ((record, table),) = saturated("linear", precision="bf16-mixed", max_epochs=5)
    rows = of_test(table)
    assert rows["score"].nunique() == 400
    assert record.results["y"]["auc"].test[0] == 1.0


def test_a_forest_gives_its_sums_and_the_constant_nothing(saturated):
    (trees, table), (_, constant) = saturated("lightgbm", "constant")
    rows = table.to_pandas()
    np.testing.assert_allclose(rows["prediction"], expit(rows["score"]), rtol=1e-15)
    assert trees.results["y"]["auc"].valid[0] > 0.8
    assert constant["score"].null_count == constant.num_rows
