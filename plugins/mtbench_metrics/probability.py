"""How good the predicted probabilities are as probabilities."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mtbench import MTBenchError
from mtbench_metrics.rows import RowMetric, count_positives
from mtbench_metrics.ties import PART, rank


class ProbabilityMetric(RowMetric):
    """A metric of predictions from 0 to 1, 0 at best; ``update`` raises ValueError for others."""

    higher_is_better = False
    best = 0.0
    limits = (0.0, math.inf)

    def update(self, preds: Tensor, target: Tensor, indexes: Tensor | None = None) -> None:
        """Take in some rows."""
        outside = int(((preds < 0) | (preds > 1)).sum())
        if outside:
            raise ValueError(f"{type(self).__name__}: {outside} of {len(preds)} predictions are no probabilities")
        super().update(preds, target, indexes)


def cross_entropy(preds: Tensor, target: Tensor) -> Tensor:
    """Return the mean cross-entropy in nats.

    Probabilities are clipped to [eps, 1 - eps] with eps = 2.2e-16 of float64: a prediction that is certain and wrong
    costs 36.04.
    """
    eps = torch.finfo(torch.float64).eps

    def log_likelihood(preds: Tensor, target: Tensor) -> Tensor:
        preds = preds.clamp(eps, 1 - eps)
        return target * preds.log() + (1 - target) * (-preds).log1p()

    # some rows at a time: what lies between stays in the cache, and new memory would take longer than the logarithms
    parts = zip(torch.split(preds, PART), torch.split(target, PART), strict=True)
    return -torch.cat([log_likelihood(*part) for part in parts]).mean()


class LogLoss(ProbabilityMetric):
    """Mean cross-entropy in nats, defined with one class too; clipped as in :func:`cross_entropy`."""

    def value(self, preds: Tensor, target: Tensor) -> Tensor:
        """Return the log loss."""
        return cross_entropy(preds, target)


class NormalizedEntropy(ProbabilityMetric):
    """Log loss over the entropy of the base rate of the same labels; 1 is what the base rate itself scores.

    Undefined where there is one class. He et al., Practical lessons from predicting clicks on ads, ADKDD 2014.
    """

    def value(self, preds: Tensor, target: Tensor) -> Tensor:
        """Return the normalised entropy."""
        count_positives(target)
        return cross_entropy(preds, target) / cross_entropy(target.mean().expand_as(target), target)


class CalibrationError(ProbabilityMetric):
    """Expected calibration error: mean distance between predicted and observed rate over bins of equal count.

    Bins of equal count resolve rare positives, whose predictions would all share one bin of equal width (Nguyen and
    O'Connor, EMNLP 2015; the measure itself: Naeini et al., AAAI 2015). Tied rows share their positives evenly, so that
    it does not matter which of them falls into which bin.
    """

    limits = (0.0, 1.0)

    def __init__(self, bins: int = 15, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if bins < 1:
            raise MTBenchError(f"calibration_error: bins must be at least 1, not {bins}")
        self.bins = bins

    def value(self, preds: Tensor, target: Tensor) -> Tensor:
        """Return the expected calibration error."""
        excess = np.concatenate(
            [
                np.repeat(blocks.positives / blocks.size - blocks.prediction, blocks.size.astype(int))
                for blocks in rank(preds, target)
            ]
        )
        bins = np.arange(len(excess)) * self.bins // len(excess)
        return torch.from_numpy(np.bincount(bins, weights=excess)).abs().sum() / len(excess)
