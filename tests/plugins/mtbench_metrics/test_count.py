from __future__ import annotations

import pytest
import torch

from mtbench.evaluation.metric import UndefinedMetricError
from mtbench_metrics.count import PoissonDeviance


def deviance(preds, target) -> float:
    metric = PoissonDeviance()
    metric.update(torch.tensor(preds, dtype=torch.float64), torch.tensor(target, dtype=torch.float64))
    return metric.compute().item()


def test_a_perfect_model_has_the_best_value():
    assert deviance([1.0, 4.0, 2.0], [1, 4, 2]) == PoissonDeviance.best == 0


def test_rates_that_are_not_positive_have_no_deviance():
    with pytest.raises(UndefinedMetricError, match="1 of 2 predicted rates are not positive"):
        deviance([0.0, 1.0], [0, 1])


def test_the_deviance_of_large_counts_does_not_cancel():
    assert deviance([1e12 + 1], [1e12]) == pytest.approx(1e-12, rel=1e-3)
