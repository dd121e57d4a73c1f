from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import mean_absolute_error, root_mean_squared_error

from mtbench_metrics.regression import MAE, RMSE

VALUE = st.floats(-1e6, 1e6, width=32)


@given(st.lists(st.tuples(VALUE, VALUE), min_size=1))
def test_errors_equal_scikit_learn(rows):
    preds, target = (torch.tensor(column, dtype=torch.float32) for column in zip(*rows, strict=True))
    for metric, oracle in ((RMSE(), root_mean_squared_error), (MAE(), mean_absolute_error)):
        metric.update(preds, target)
        assert metric.compute().item() == pytest.approx(oracle(target.double(), preds.double()), rel=1e-12, abs=1e-12)


def test_squares_do_not_overflow_float32():
    metric = RMSE()
    metric.update(torch.tensor([3e30]), torch.tensor([-1e30]))
    assert metric.compute().item() == pytest.approx(4e30, rel=1e-6)
