"""Codes as columns of numbers, for models that are not networks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from mtbench import Batch, DataSpec, Ragged


def hot_columns(rows: Batch, data: DataSpec) -> dict[str, sparse.csr_matrix]:
    """Return for each feature of codes a matrix (rows, codes) that is 1 where a row has the code.

    Code 0, the unknown value, is no code: rows that have nothing else, and empty lists, are zeros.
    """
    codes, every = rows.categorical.numpy(), np.arange(len(rows))
    matrices = {
        name: _hot(every, codes[:, at], (len(rows), size)) for at, (name, size) in enumerate(data.categorical.items())
    }
    return matrices | {name: _multi_hot(rows.multi[name], size) for name, size in data.multi.items()}


def _multi_hot(lists: Ragged, size: int) -> sparse.csr_matrix:
    lengths = np.diff(lists.offsets.numpy())
    hot = _hot(np.repeat(np.arange(len(lengths)), lengths), lists.values.numpy(), (len(lengths), size))
    hot.data.fill(1.0)  # a code that a list has twice was added up
    return hot


def _hot(rows: np.ndarray, codes: np.ndarray, shape: tuple[int, int]) -> sparse.csr_matrix:
    known = codes > 0
    return sparse.csr_matrix((np.ones(known.sum()), (rows[known], codes[known])), shape=shape)


class LabelMeans:
    """Codes as the labels that they came with: for each row, the mean label of its codes, and of how many rows.

    The mean of a code, over the training rows that have it, is shrunk to the mean of all: (s + shrinkage m) / (n +
    shrinkage) for a sum s of n labels (Micci-Barreca, SIGKDD Explorations 2001). A list gets the average over its
    codes, a row without known codes the mean of all. A training row is given what the rows of other folds say, so that
    its own label is not among them.
    """

    def __init__(self, shrinkage: float) -> None:
        self.shrinkage = shrinkage

    def fit(self, hot: sparse.csr_matrix, labels: np.ndarray, fold: np.ndarray) -> np.ndarray:
        """Learn from all training rows; return the columns of these same rows, (rows, 2), each from other folds."""
        columns = np.empty((len(labels), 2))
        for number in np.unique(fold):
            inside = fold == number
            self._learn(hot[~inside], labels[~inside])
            columns[inside] = self(hot[inside])
        self._learn(hot, labels)
        return columns

    def _learn(self, hot: sparse.csr_matrix, labels: np.ndarray) -> None:
        counts = np.asarray(hot.sum(0)).ravel()
        self.mean = labels.mean() if len(labels) else 0.0
        self.means = (hot.T @ labels + self.shrinkage * self.mean) / (counts + self.shrinkage)
        self.counts = np.log1p(counts)

    def __call__(self, hot: sparse.csr_matrix) -> np.ndarray:
        """Return the mean label and the logarithm of 1 + the count of each row's codes, (rows, 2)."""
        codes = np.diff(hot.indptr)
        means = np.where(codes > 0, hot @ self.means / np.maximum(codes, 1), self.mean)
        return np.column_stack([means, hot @ self.counts / np.maximum(codes, 1)])
