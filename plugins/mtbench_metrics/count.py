"""How good predicted rates are as the means of counts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from mtbench import UndefinedMetricError
from mtbench_metrics.rows import RowMetric

if TYPE_CHECKING:
    from torch import Tensor


class PoissonDeviance(RowMetric):
    """Mean deviance of counts from Poisson distributions with the predicted rates: twice the log-likelihood lacking.

    A perfect model has 0, which noisy counts do not allow. Undefined where a predicted rate is not positive. McCullagh
    and Nelder, Generalized Linear Models, 1989.
    """

    higher_is_better = False
    kinds = ("count",)
    best = 0.0
    limits = (0.0, math.inf)

    def value(self, preds: Tensor, target: Tensor) -> Tensor:
        """Return the mean deviance."""
        if (preds <= 0).any():
            raise UndefinedMetricError(f"{int((preds <= 0).sum())} of {len(preds)} predicted rates are not positive")
        relative = (preds - target) / target
        near = target * (relative - relative.log1p())  # large counts cancel here before they are multiplied
        far = torch.special.xlogy(target, target) - target * preds.log() + preds - target
        return 2 * torch.where(relative.abs() < 0.5, near, far).mean()  # noqa: PLR2004 - both are exact there
