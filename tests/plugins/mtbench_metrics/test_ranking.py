from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from mtbench.evaluation.metric import UndefinedMetricError
from mtbench_metrics.ranking import AUC, PRAUC

ROWS = st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.1000001, 0.3, 0.7, 1.0]), st.integers(0, 1)), min_size=1)


def compute(metric, preds, target, indexes=None):
    metric.update(torch.tensor(preds, dtype=torch.float32), torch.tensor(target, dtype=torch.float32), indexes)
    return metric.compute().item()


@given(ROWS)
def test_auc_equals_scikit_learn_ties_included(rows):
    preds, target = zip(*rows, strict=True)
    if len(set(target)) < 2:
        with pytest.raises(UndefinedMetricError, match=f"all {len(rows)} labels are {target[0]}"):
            compute(AUC(), preds, target)
    else:
        expected = roc_auc_score(target, torch.tensor(preds, dtype=torch.float32).numpy())
        assert compute(AUC(), preds, target) == pytest.approx(expected, abs=1e-12)


@given(ROWS)
def test_average_precision_equals_scikit_learn_ties_included(rows):
    preds, target = zip(*rows, strict=True)
    if 1 not in target:
        with pytest.raises(UndefinedMetricError, match="labels are 0"):
            compute(PRAUC(), preds, target)
    else:
        expected = average_precision_score(target, torch.tensor(preds, dtype=torch.float32).numpy())
        assert compute(PRAUC(), preds, target) == pytest.approx(expected, abs=1e-12)


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
