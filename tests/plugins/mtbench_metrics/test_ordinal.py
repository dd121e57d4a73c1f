from __future__ import annotations

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from mtbench.evaluation.metric import UndefinedMetricError
from mtbench_metrics.ordinal import QuadraticWeightedKappa


def kappa(preds, target) -> float:
    metric = QuadraticWeightedKappa()
    metric.update(torch.tensor(preds, dtype=torch.float32), torch.tensor(target, dtype=torch.float32))
    return metric.compute().item()


def test_a_missing_grade_keeps_its_distance():
    """Scikit-learn's weights go by the position of a label unless all are listed."""
    expected = cohen_kappa_score([1, 1, 5, 2], [1, 5, 5, 2], labels=range(1, 6), weights="quadratic")
    assert kappa([1, 5, 5, 2], [1, 1, 5, 2]) == pytest.approx(expected)


@given(st.floats(-9, 9, width=16), st.lists(st.integers(1, 5), min_size=2))
def test_a_constant_is_chance(constant, target):
    assume(len({round(constant), *target}) > 1)
    assert kappa([constant] * len(target), target) == QuadraticWeightedKappa.chance == 0


def test_one_grade_alone_is_undefined():
    with pytest.raises(UndefinedMetricError, match="all 3 predictions and labels are 2"):
        kappa([2.2, 1.9, 2.0], [2, 2, 2])
