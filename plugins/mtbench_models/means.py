"""Means of users and items."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field
from scipy.special import expit, logit

from mtbench import Choice, FloatRange, ModelCard, MTBenchError, Reference, Settings
from mtbench_models.per_task import find_id_features, label_mean

if TYPE_CHECKING:
    from mtbench import Batch, DataSpec, Schema, Task


class Means(Reference):
    """Mean label of the row's user and of its item, shrunk to the mean of all.

    The ids must be among the features.
    """

    class Config(Settings):
        """Settings of the means."""

        of: Annotated[Literal["both", "user", "item"], Choice(("both", "user", "item"))] = Field(
            "both", description="Whose mean: the user's, the item's, or both (those that the dataset has)."
        )
        shrinkage: Annotated[float, FloatRange(1.0, 1000.0, log=True)] = Field(
            10.0, gt=0, description="Rows with the mean label that each user and item is thought to have besides."
        )

    card = ModelCard(
        equations=(
            "m = mean label over the training rows that count for the task",
            "m_u = (s_u + shrinkage m) / (n_u + shrinkage), s_u the sum of the user's n_u labels; m_i for items",
            "y = sigmoid(logit m_u + logit m_i - logit m) for a probability",
            "y = m_u + m_i - m for a number",
        ),
        inferred=("Decided here: m for a user or item without training rows.",),
    )

    seeded: ClassVar[bool] = False

    def __init__(self, config: Config, data: DataSpec, schema: Schema, seed: int) -> None:
        super().__init__(config, data, schema, seed)
        self.shrinkage = config.shrinkage
        nodes = {"user": schema.user, "item": schema.item}
        if config.of != "both":
            nodes = {config.of: nodes[config.of]}
        names = find_id_features(schema, *nodes.values())
        self.columns = [at for at, name in enumerate(data.categorical) if name in names]
        if not self.columns:
            raise MTBenchError(
                f"model 'means' needs the id of {' or '.join(nodes)} among the features, and the dataset has none; "
                "leave the model out"
            )

    def fit(self, train: Batch, valid: Batch) -> None:  # noqa: ARG002
        """Take the means of each id feature's codes, (codes, tasks) each."""
        codes, labels, mask = train.categorical.numpy(), train.labels.numpy(), train.mask.numpy()
        sizes = list(self.data.categorical.values())
        tasks = range(self.data.num_tasks)
        self.mean = np.array([label_mean(train, task, self.data) for task in tasks])
        self.means = []
        for column in self.columns:
            sums, counts = (
                np.column_stack([np.bincount(codes[:, column], of[:, task], sizes[column]) for task in tasks])
                for of in (labels * mask, mask)
            )
            sums[0] = counts[0] = 0.0  # the unknown value
            self.means.append((sums + self.shrinkage * self.mean) / (counts + self.shrinkage))

    def predict(self, rows: Batch) -> np.ndarray:
        """Return predictions, (rows, tasks)."""
        codes = rows.categorical.numpy()
        of_rows = [means[codes[:, column]] for column, means in zip(self.columns, self.means, strict=True)]
        return np.column_stack([
            _add_deviations(task, self.mean[at], [means[:, at] for means in of_rows])
            for at, task in enumerate(self.data.tasks)
        ])  # fmt: skip

    @property
    def parameters(self) -> int:
        """A value per task, and per task and id."""
        return self.mean.size + sum(means[1:].size for means in self.means)


def _add_deviations(task: Task, mean: float, of_rows: list[np.ndarray]) -> np.ndarray:
    """Return the mean plus each deviation from it, on the scale of logits for probabilities of two classes."""
    if not task.probability:
        values: np.ndarray = mean + np.sum([means - mean for means in of_rows], axis=0)
        return values
    if mean in {0.0, 1.0}:
        return np.full(len(of_rows[0]), mean)
    middle = float(logit(mean))
    probabilities: np.ndarray = expit(middle + np.sum([logit(means) - middle for means in of_rows], axis=0))
    return probabilities
