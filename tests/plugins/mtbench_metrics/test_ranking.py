from __future__ import annotations

import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

from mtbench.evaluation.metric import UndefinedMetricError
from mtbench_metrics.ranking import AUC, PRAUC


def compute(metric, preds, target, indexes=None):
    metric.update(torch.tensor(preds, dtype=torch.float32), torch.tensor(target, dtype=torch.float32), indexes)
    return metric.compute().item()


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_is_undefined_and_said(label):
    with pytest.raises(UndefinedMetricError, match=f"all 3 labels are {label}"):
        compute(AUC(), [0.1, 0.2, 0.2], [label] * 3)


def test_without_positives_there_is_no_precision():
    with pytest.raises(UndefinedMetricError, match="all 2 labels are 0"):
        compute(PRAUC(), [0.1, 0.2], [0, 0])
    assert compute(PRAUC(), [0.1, 0.2], [1, 1]) == 1


def test_many_rows_keep_float64_precision():
    generator = torch.Generator().manual_seed(0)
    target = (torch.rand(300_000, generator=generator) < 0.3).float()
    preds = ((torch.randn(300_000, generator=generator) + target) / 4).sigmoid()
    assert compute(AUC(), preds.tolist(), target.tolist()) == pytest.approx(roc_auc_score(target, preds), abs=1e-12)
    expected = average_precision_score(target, preds)
    assert compute(PRAUC(), preds.tolist(), target.tolist()) == pytest.approx(expected, abs=1e-12)


def test_a_constant_prediction_scores_one_half_and_the_base_rate():
    assert compute(AUC(), [0.2] * 5, [1, 0, 0, 1, 0]) == 0.5
    assert compute(PRAUC(), [0.2] * 5, [1, 0, 0, 1, 0]) == pytest.approx(0.4, abs=1e-15)
