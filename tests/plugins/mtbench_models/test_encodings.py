from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import sparse

from mtbench.data.batches import Batch, Ragged
from mtbench.schema import DataSpec, Task
from mtbench_models.encodings import LabelMeans, hot_columns

LISTS = [[1, 2, 2], [], [0, 3], [0]]


def test_a_row_is_one_at_its_codes_once_and_nowhere_for_the_unknown():
    lengths = torch.tensor([len(one) for one in LISTS])
    rows = Batch(
        rows=torch.arange(4), categorical=torch.tensor([[1, 0], [2, 1], [0, 2], [1, 1]], dtype=torch.int32),
        numeric=torch.zeros(4, 0), labels=torch.zeros(4, 1), mask=torch.ones(4, 1),
        multi={"tags": Ragged(torch.tensor(sum(LISTS, [])), torch.cat([torch.zeros(1), lengths]).cumsum(0).long())},  # noqa: RUF017
    )  # fmt: skip
    data = DataSpec((Task(name="click"),), categorical={"user": 3, "shelf": 4}, multi={"tags": 5})
    hot = {name: matrix.toarray().tolist() for name, matrix in hot_columns(rows, data).items()}
    assert hot == {
        "user": [[0, 1, 0], [0, 0, 1], [0, 0, 0], [0, 1, 0]],
        "shelf": [[0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0]],
        "tags": [[0, 1, 1, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 1, 0], [0, 0, 0, 0, 0]],
    }


def plain(train, labels, rows, shrinkage):
    """The columns of each row, code by code."""
    mean = sum(labels) / len(labels)
    columns = []
    for codes in rows:
        of_codes = []
        for code in codes:
            own = [label for other, label in zip(train, labels, strict=True) if code in other]
            of_codes.append(((sum(own) + shrinkage * mean) / (len(own) + shrinkage), math.log1p(len(own))))
        columns.append(np.mean(of_codes, 0) if codes else (mean, 0.0))
    return np.array(columns)


def hot_of(rows):
    matrix = np.zeros((len(rows), 6))
    for at, codes in enumerate(rows):
        matrix[at, list(codes)] = 1
    return sparse.csr_matrix(matrix)


@pytest.fixture
def train():
    rng = np.random.default_rng(2)
    return [set(rng.choice(np.arange(1, 6), rng.integers(3), replace=False).tolist()) for _ in range(40)]


@pytest.mark.parametrize("shrinkage", [0.5, 10.0])
def test_a_code_is_the_shrunk_mean_of_its_labels(train, shrinkage):
    labels = np.random.default_rng(3).integers(2, size=40).astype(float)
    means = LabelMeans(shrinkage)
    means.fit(hot_of(train), labels, np.arange(40) % 4)
    rows = [{1}, {2, 5}, set(), {1, 3, 4}]
    np.testing.assert_allclose(means(hot_of(rows)), plain(train, labels, rows, shrinkage))


def test_a_training_row_is_told_what_other_folds_say(train):
    labels, fold = np.random.default_rng(3).integers(2, size=40).astype(float), np.arange(40) % 4
    columns = LabelMeans(1.0).fit(hot_of(train), labels, fold)
    for number in range(4):
        others = [codes for codes, of in zip(train, fold, strict=True) if of != number]
        inside = [codes for codes, of in zip(train, fold, strict=True) if of == number]
        np.testing.assert_allclose(columns[fold == number], plain(others, labels[fold != number], inside, 1.0))


def test_a_rows_own_label_changes_nothing_that_it_is_given(train):
    labels, fold = np.random.default_rng(3).integers(2, size=40).astype(float), np.arange(40) % 4
    before = LabelMeans(1.0).fit(hot_of(train), labels, fold)
    labels[fold == 2] = 1 - labels[fold == 2]
    after = LabelMeans(1.0).fit(hot_of(train), labels, fold)
    np.testing.assert_array_equal(before[fold == 2], after[fold == 2])
    assert (before[fold != 2] != after[fold != 2]).any()
