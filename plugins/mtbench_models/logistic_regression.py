"""Logistic regression per task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from pydantic import Field
from scipy import sparse

from mtbench import FloatRange, ModelCard, Settings
from mtbench_models.encodings import hot_columns
from mtbench_models.per_task import Labelled, PerTask

if TYPE_CHECKING:
    from mtbench import Batch, DataSpec, Schema, Task


class LogisticRegression(PerTask):
    """Logistic regression with an L2 penalty per task, or ridge regression of a number (scikit-learn)."""

    class Config(Settings):
        """Settings of the regressions."""

        l2: Annotated[float, FloatRange(0.1, 1000.0, log=True)] = Field(
            3.0, gt=0, description="Penalty of the squared weights, against the sum of the rows' losses."
        )

    card = ModelCard(
        equations=(
            "y_t = sigmoid(w_t x + b_t), or w_t x + b_t for a number",
            "minimised: sum over rows of the log loss, or of half the squared error, + l2 / 2 |w_t|^2",
        ),
        inferred=(
            (
                "Decided here: the columns are one per code of a categorical feature, one per code of a multi-valued "
                "feature (1 where the list has it) and the standardised numbers; an unknown value has no column."
            ),
            "Decided here: a number is standardised by its training labels; only rows that count for a task enter.",
        ),
    )

    packages: ClassVar[tuple[str, ...]] = ("scikit-learn",)
    seeded: ClassVar[bool] = False

    def __init__(self, config: Config, data: DataSpec, schema: Schema, seed: int) -> None:
        super().__init__(config, data, schema, seed)
        self.l2 = config.l2
        self.scale: dict[str, float] = {}

    def table(self, rows: Batch) -> sparse.csr_matrix:
        """Return the columns, (rows, columns)."""
        numbers = sparse.csr_matrix(rows.numeric.numpy().astype(np.float64))
        columns: sparse.csr_matrix = sparse.hstack([*hot_columns(rows, self.data).values(), numbers], format="csr")
        return columns

    def fit_task(self, task: Task, train: Labelled, valid: Labelled) -> Any:  # noqa: ARG002
        """Return the fitted regression."""
        from sklearn import linear_model  # noqa: PLC0415 - an optional dependency

        if task.probability:
            regression = linear_model.LogisticRegression(C=1 / self.l2, solver="newton-cg", tol=1e-5, max_iter=1000)
            return regression.fit(*train)
        scale = self.scale[task.name] = float(train.labels.std())
        return linear_model.Ridge(alpha=self.l2, tol=1e-6).fit(train.table, train.labels / scale)

    def score_task(self, task: Task, predictor: Any, table: sparse.csr_matrix) -> np.ndarray:
        """Return log-odds, or values on the scale of the labels."""
        if task.probability:
            odds: np.ndarray = predictor.decision_function(table)
            return odds
        values: np.ndarray = predictor.predict(table) * self.scale[task.name]
        return values

    @property
    def parameters(self) -> int:
        """Weights and intercepts; a constant counts as one."""
        return sum(1 if one is None else np.size(one.coef_) + np.size(one.intercept_) for one in self.predictors)
