"""The constant predictor."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from mtbench import ModelCard, Reference
from mtbench_models.per_task import label_mean

if TYPE_CHECKING:
    from mtbench import Batch


class Constant(Reference):
    """Predicts each task's mean label over the training rows that count for it, whatever the row."""

    card = ModelCard(
        equations=("y_t = mean label of task t over the training rows that count for it",),
        inferred=("Decided here: 0.5 where a task of probabilities has no such row, 0 where another has none.",),
    )

    seeded: ClassVar[bool] = False

    def fit(self, train: Batch, valid: Batch) -> None:  # noqa: ARG002
        """Take the means."""
        self.means = np.array([label_mean(train, column, self.data) for column in range(self.data.num_tasks)])

    def predict(self, rows: Batch) -> np.ndarray:
        """Return the means, (rows, tasks)."""
        return np.tile(self.means, (len(rows), 1))

    @property
    def parameters(self) -> int:
        """One value per task."""
        return len(self.means)
