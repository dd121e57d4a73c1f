from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import expit

from mtbench.data.batches import Batch
from mtbench.schema import DataSpec, Feature, Schema, Settings, Task
from mtbench_models.per_task import PerTask, find_id_features, label_mean

TASKS = (Task(name="click"), Task(name="buy", given="click"), Task(name="rare"), Task(name="stay", kind="regression"))
LABELS = torch.tensor([[1.0, 1, 0, 4], [0, 0, 0, 0], [1, 0, 0, 2], [1, 1, 0, 3]])
MASK = torch.tensor([[1.0, 1, 1, 1], [1, 0, 1, 0], [1, 1, 1, 1], [1, 0, 0, 1]])
SCHEMA = Schema(tasks=TASKS, features=(Feature(name="who", column="user"), "shelf"), user="user", item="item")
DATA = DataSpec(TASKS, numeric=("x",))


def batch(labels=LABELS, mask=MASK):
    return Batch(
        rows=torch.arange(len(labels)), categorical=torch.zeros(len(labels), 0), labels=labels, mask=mask,
        numeric=torch.arange(len(labels)).unsqueeze(1).float(),
    )  # fmt: skip


class Seen(PerTask):
    """Keeps what it is fitted with, and scores ten times the table."""

    Config = Settings

    def table(self, rows):
        return rows.numeric.double().numpy()

    def fit_task(self, task, train, valid):
        return task.name, train, valid

    def score_task(self, task, predictor, table):
        assert predictor[0] == task.name
        return 10 * table[:, 0]


@pytest.fixture
def fitted():
    model = Seen(Settings(), DATA, SCHEMA, 0)
    model.fit(batch(), batch(LABELS[:2], MASK[:2]))
    return model


def test_each_task_is_fitted_on_the_rows_that_count_for_it(fitted):
    click, buy, rare, stay = fitted.predictors
    assert rare is None
    assert click[1].table[:, 0].tolist() == [0, 1, 2, 3]
    assert click[1].labels.tolist() == [1, 0, 1, 1]
    assert (buy[1].table[:, 0].tolist(), buy[1].labels.tolist()) == ([0, 2], [1, 0])
    assert (stay[1].table[:, 0].tolist(), stay[1].labels.tolist()) == ([0, 2, 3], [4, 2, 3])
    assert (buy[2].table[:, 0].tolist(), buy[2].labels.tolist()) == ([0], [1])  # validation rows


def test_a_task_whose_labels_are_all_alike_is_predicted_by_them(fitted):
    predictions, scores = fitted.predict_with_scores(batch())
    assert predictions[:, 2].tolist() == [0, 0, 0, 0]
    assert np.isnan(scores[:, 2]).all()
    for column in (0, 1, 3):
        assert scores[:, column].tolist() == [0, 10, 20, 30]
        np.testing.assert_array_equal(predictions[:, column], scores[:, 3] if column == 3 else expit(scores[:, 0]))
    np.testing.assert_array_equal(fitted.predict(batch()), predictions)


def test_labels_that_single_precision_cannot_hold_are_given_from_their_mean():
    model, far = Seen(Settings(), DATA, SCHEMA, 0), LABELS.double() + torch.tensor([0, 0, 0, 1.6e9])
    model.fit(batch(far), batch(far[:2] + 1, MASK[:2]))
    click, _, _, stay = model.predictors
    assert click[1].labels.tolist() == [1, 0, 1, 1]
    assert (stay[1].labels.tolist(), stay[2].labels.tolist()) == ([1, -1, 0], [2])
    assert model.predict(batch(far))[:, 3].tolist() == [1.6e9 + 3 + value for value in (0, 10, 20, 30)]


@pytest.mark.parametrize(("column", "mean"), [(0, 0.75), (1, 0.5), (2, 0.0), (3, 3.0)])
def test_the_mean_label_is_of_the_rows_that_count(column, mean):
    assert label_mean(batch(), column, DATA) == mean


@pytest.mark.parametrize(("column", "mean"), [(0, 0.5), (3, 0.0)])
def test_where_no_row_counts_the_mean_is_undecided(column, mean):
    assert label_mean(batch(mask=MASK * 0), column, DATA) == mean


def test_ids_are_the_features_that_hold_them():
    assert find_id_features(SCHEMA, SCHEMA.user, SCHEMA.item, None) == ["who", "item"]
