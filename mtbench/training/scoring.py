"""How good validation predictions are, by the metrics that choose."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mtbench.errors import MTBenchError
from mtbench.evaluation.evaluate import best, choose, score
from mtbench.evaluation.improvement import compute_improvement
from mtbench.evaluation.metric import UndefinedMetricError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torchmetrics import Metric

    from mtbench.data.columns import Columns
    from mtbench.schema import Task


class Predicted(NamedTuple):
    """Predictions of some rows: ``rows`` (n,) are positions in the prepared table, ``values`` (n, tasks) float64.

    ``scores`` (n, tasks), float64, are what rows are ranked by, NaN where the predictions rank them.
    """

    rows: np.ndarray
    values: np.ndarray
    scores: np.ndarray


class Scorer:
    """Scores validation predictions by each task's primary metric.

    The scalar that checkpoints and trials are chosen by is the mean over tasks of the share of the way from the
    constant predictor to a perfect model, so that AUC and RMSE can be mixed.
    """

    def __init__(self, columns: Columns, metrics: Mapping[str, Metric]) -> None:
        self.tasks = columns.schema.tasks
        self.metrics = {task.name: metrics[task.primary] for task in self.tasks}
        valid = columns.valid
        self.labels, self.mask = valid.labels.numpy(), valid.mask.numpy() > 0
        self.users = columns.users(valid)
        self.constant = {}
        for column, (task, value) in enumerate(zip(self.tasks, columns.constants(), strict=True)):
            constant = self._score(task, column, np.full(len(self.labels), value), np.full(len(self.labels), np.nan))
            if constant == best(self.metrics[task.name]):
                raise MTBenchError(
                    f"task '{task.name}': the constant prediction {value:g} is perfect on the validation rows by "
                    f"{task.primary}; there is nothing to learn: leave the task out"
                )
            self.constant[task.name] = constant

    def _score(self, task: Task, column: int, values: np.ndarray, scores: np.ndarray) -> float:
        metric, known = self.metrics[task.name], self.mask[:, column]
        users = None if self.users is None else self.users[known]
        try:
            return score(metric, choose(metric, values[known], scores[known]), self.labels[known, column], users)
        except UndefinedMetricError as error:
            raise MTBenchError(
                f"task '{task.name}': {task.primary} is undefined on the validation rows ({error}), and nothing can be "
                "chosen by it; give split.valid more rows or the task another metric"
            ) from error

    def values(self, predicted: Predicted) -> dict[str, float]:
        """Return each task's primary metric."""
        return {
            task.name: self._score(task, column, predicted.values[:, column], predicted.scores[:, column])
            for column, task in enumerate(self.tasks)
        }

    def improvements(self, values: Mapping[str, float]) -> dict[str, float]:
        """Return each task's share of the way from the constant predictor to a perfect model."""
        return {
            name: compute_improvement(value, self.constant[name], best(self.metrics[name]))
            for name, value in values.items()
        }
