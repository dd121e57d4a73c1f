"""What the references have in common: one predictor per task, fitted on the rows that count for it."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from scipy.special import expit

from mtbench import Reference, find_kind

if TYPE_CHECKING:
    from mtbench import Batch, DataSpec, Schema, Task


class Labelled(NamedTuple):
    """Rows that count for a task: a table of features, of any kind, and their labels (rows,), float64."""

    table: Any
    labels: np.ndarray


def label_mean(train: Batch, column: int, data: DataSpec) -> float:
    """Return the constant prediction of a task's kind by the rows that count for it: their mean label."""
    labels = train.labels[:, column][train.mask[:, column] > 0]
    return find_kind(data.tasks[column].kind).constant(labels.double().numpy())


def find_id_features(schema: Schema, *columns: str | None) -> list[str]:
    """Return the features that hold these id columns; one that no feature holds is a feature of its own name."""
    held = {feature.source: feature.name for feature in schema.features}
    return [held.get(column, column) for column in columns if column is not None]


class PerTask(Reference):
    """One predictor per task; a task whose training labels are all alike is predicted by them.

    Where single precision cannot hold the labels, those of tasks that predict no probability are given as distances
    from the constant prediction: libraries that compute in it would lose what tells large labels apart.
    """

    @abstractmethod
    def table(self, rows: Batch) -> Any:
        """Return the features, indexed by rows."""

    @abstractmethod
    def fit_task(self, task: Task, train: Labelled, valid: Labelled) -> Any:
        """Return a predictor; the training labels are of more than one value."""

    @abstractmethod
    def score_task(self, task: Task, predictor: Any, table: Any) -> np.ndarray:
        """Return log-odds, or what is predicted in the unit of the labels that were given, (rows,)."""

    def fit(self, train: Batch, valid: Batch) -> None:
        """Fit each task on the rows that count for it."""
        tasks = self.data.tasks
        self.constant = [label_mean(train, column, self.data) for column in range(len(tasks))]
        wide = train.labels.dtype == torch.float64
        self.origin = [
            mean if wide and not task.probability else 0.0 for task, mean in zip(tasks, self.constant, strict=True)
        ]
        tables = self.table(train), self.table(valid)
        self.predictors: list[Any] = []
        for column, task in enumerate(tasks):
            parts = [
                _select_counting(table, rows, column, self.origin[column])
                for table, rows in zip(tables, (train, valid), strict=True)
            ]
            alike = len(np.unique(parts[0].labels)) <= 1
            self.predictors.append(None if alike else self.fit_task(task, *parts))

    def predict(self, rows: Batch) -> np.ndarray:
        """Return predictions, (rows, tasks)."""
        return self.predict_with_scores(rows)[0]

    def predict_with_scores(self, rows: Batch) -> tuple[np.ndarray, np.ndarray]:
        """Return predictions and scores, (rows, tasks) each."""
        table = self.table(rows)
        predictions, scores = np.tile(self.constant, (len(rows), 1)), np.full((len(rows), self.data.num_tasks), np.nan)
        for column, (task, predictor) in enumerate(zip(self.data.tasks, self.predictors, strict=True)):
            if predictor is not None:
                own = scores[:, column] = self.score_task(task, predictor, table)
                predictions[:, column] = expit(own) if task.probability else self.origin[column] + own
        return predictions, scores


def _select_counting(table: Any, rows: Batch, column: int, origin: float) -> Labelled:
    known = rows.mask[:, column].numpy() > 0
    return Labelled(table[known], rows.labels[:, column].double().numpy()[known] - origin)
