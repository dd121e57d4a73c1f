from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mtbench.errors import MTBenchError
from mtbench.evaluation.metric import UndefinedMetricError
from mtbench_metrics.probability import CalibrationError, LogLoss, NormalizedEntropy

TIED_ROWS = st.lists(st.tuples(st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.integers(0, 1)), min_size=1, max_size=60)


def compute(metric, preds, target):
    metric.update(torch.tensor(preds, dtype=torch.float32), torch.tensor(target, dtype=torch.float32))
    return metric.compute().item()


def test_certain_and_wrong_predictions_cost_the_documented_bound():
    assert compute(LogLoss(), [1.0, 0.0], [0, 1]) == pytest.approx(-math.log(2**-52), rel=1e-12)
    assert compute(LogLoss(), [1.0, 0.0], [1, 0]) == pytest.approx(0, abs=1e-15)


def test_log_loss_is_defined_with_one_class():
    assert compute(LogLoss(), [0.25, 0.5], [0, 0]) == pytest.approx(-(math.log(0.75) + math.log(0.5)) / 2)


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_has_no_entropy(label):
    with pytest.raises(UndefinedMetricError, match=f"all 2 labels are {label}"):
        compute(NormalizedEntropy(), [0.25, 0.5], [label, label])


def test_the_base_rate_has_normalized_entropy_one():
    assert compute(NormalizedEntropy(), [0.25] * 4, [0, 1, 0, 0]) == pytest.approx(1, abs=1e-12)


@given(TIED_ROWS, st.randoms())
def test_calibration_error_does_not_depend_on_the_order_of_rows(rows, random):
    shuffled = random.sample(rows, len(rows))
    one, other = (compute(CalibrationError(bins=4), *zip(*order, strict=True)) for order in (rows, shuffled))
    assert one == pytest.approx(other, abs=1e-12)


def test_calibration_error_sees_rare_positives():
    # true rates 0.001 and 0.009, both predicted as their mean after swapping them: bins of equal width see nothing
    preds = [0.009] * 1000 + [0.001] * 1000
    target = [1] + [0] * 999 + [1] * 9 + [0] * 991
    assert compute(CalibrationError(bins=2), preds, target) == pytest.approx(0.008, abs=1e-8)
    assert compute(CalibrationError(bins=1), preds, target) == pytest.approx(0, abs=1e-8)


def test_calibration_error_needs_a_bin():
    with pytest.raises(MTBenchError, match="at least 1, not 0"):
        CalibrationError(bins=0)


@pytest.mark.parametrize("metric", [LogLoss, NormalizedEntropy, CalibrationError])
def test_values_that_are_no_probabilities_are_refused(metric):
    with pytest.raises(ValueError, match="2 of 3 predictions are no probabilities"):
        compute(metric(), [-0.1, 0.5, 1.5], [0, 1, 0])
