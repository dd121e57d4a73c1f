from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import mean_poisson_deviance

from mtbench.evaluation.metric import UndefinedMetricError
from mtbench_metrics.count import PoissonDeviance


def deviance(preds, target) -> float:
    metric = PoissonDeviance()
    metric.update(torch.tensor(preds, dtype=torch.float32), torch.tensor(target, dtype=torch.float32))
    return metric.compute().item()


@given(st.lists(st.tuples(st.floats(2**-10, 1e4, width=32), st.integers(0, 1000)), min_size=1))
def test_it_equals_scikit_learn(rows):
    preds, target = zip(*rows, strict=True)
    assert deviance(preds, target) == pytest.approx(mean_poisson_deviance(target, preds), rel=1e-9, abs=1e-9)


def test_a_perfect_model_has_the_best_value():
    assert deviance([1.0, 4.0, 2.0], [1, 4, 2]) == PoissonDeviance.best == 0


def test_rates_that_are_not_positive_have_no_deviance():
    with pytest.raises(UndefinedMetricError, match="1 of 2 predicted rates are not positive"):
        deviance([0.0, 1.0], [0, 1])
