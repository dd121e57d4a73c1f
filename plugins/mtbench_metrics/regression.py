"""Errors of predicted values, in the unit of the label."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtbench_metrics.rows import RowMetric

if TYPE_CHECKING:
    from torch import Tensor


class RegressionMetric(RowMetric):
    """An error of regression tasks, 0 at best."""

    higher_is_better = False
    kinds = ("regression",)
    best = 0.0


class RMSE(RegressionMetric):
    """Square root of the mean squared error."""

    def value(self, preds: Tensor, target: Tensor) -> Tensor:
        """Return the root of the mean squared error."""
        return (preds - target).square().mean().sqrt()


class MAE(RegressionMetric):
    """Mean absolute error."""

    def value(self, preds: Tensor, target: Tensor) -> Tensor:
        """Return the mean absolute error."""
        return (preds - target).abs().mean()
