from __future__ import annotations

import pytest
import torch

from mtbench_metrics.regression import MAE, RMSE


def compute(metric, preds, target) -> float:
    metric.update(torch.tensor(preds, dtype=torch.float64), torch.tensor(target, dtype=torch.float64))
    return metric.compute().item()


@pytest.mark.parametrize("scale", [5e-324, 1e-300, 1e-30, 1.0, 1e30, 1e300])
def test_no_error_overflows_or_vanishes(scale):
    assert compute(MAE(), [scale, -scale], [0, 0]) == scale
    assert compute(RMSE(), [scale, -scale], [0, 0]) == scale


def test_large_labels_near_each_other_keep_their_distances():
    labels = [1.6e9 + second for second in range(83)]
    middle = 1.6e9 + 41
    assert compute(RMSE(), [middle] * 83, labels) == pytest.approx(((83**2 - 1) / 12) ** 0.5, rel=1e-15)
    assert compute(MAE(), [middle] * 83, labels) == pytest.approx(41 * 42 / 83, rel=1e-15)
