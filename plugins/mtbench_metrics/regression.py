"""Errors of predicted values, in the unit of the label."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from mtbench_metrics.rows import RowMetric

if TYPE_CHECKING:
    from torch import Tensor


class RegressionMetric(RowMetric):
    """An error of regression tasks, 0 at best.

    Subclasses implement ``mean_error`` of errors divided by a power of two, by which its value is multiplied again.
    That rounds nothing, and no square overflows or vanishes, however large or small the labels.
    """

    higher_is_better = False
    kinds = ("regression",)
    best = 0.0
    limits = (0.0, math.inf)

    def value(self, preds: Tensor, target: Tensor) -> Tensor:
        """Return the mean error."""
        errors = (preds - target).numpy()
        exponent = np.frexp(np.abs(errors).max())[1]
        scaled = self.mean_error(torch.from_numpy(np.ldexp(errors, -exponent)))
        return torch.tensor(np.ldexp(scaled.item(), exponent))

    def mean_error(self, errors: Tensor) -> Tensor:
        """Return the mean of errors from -1 to 1, shape (rows,)."""
        raise NotImplementedError


class RMSE(RegressionMetric):
    """Square root of the mean squared error."""

    def mean_error(self, errors: Tensor) -> Tensor:
        """Return the root of the mean squared error."""
        return errors.square().mean().sqrt()


class MAE(RegressionMetric):
    """Mean absolute error."""

    def mean_error(self, errors: Tensor) -> Tensor:
        """Return the mean absolute error."""
        return errors.abs().mean()
