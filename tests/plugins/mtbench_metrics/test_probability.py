from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss

from mtbench.errors import MTBenchError
from mtbench.evaluation.metric import UndefinedMetricError
from mtbench_metrics.probability import CalibrationError, LogLoss, NormalizedEntropy

ROWS = st.lists(st.tuples(st.floats(0, 1, width=32), st.integers(0, 1)), min_size=1, max_size=60)
TIED_ROWS = st.lists(st.tuples(st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.integers(0, 1)), min_size=1, max_size=60)


def compute(metric, preds, target):
    metric.update(torch.tensor(preds, dtype=torch.float32), torch.tensor(target, dtype=torch.float32))
    return metric.compute().item()


def slow_calibration_error(rows, bins):
    """Bins of equal count, every row carrying the mean label of the rows tied with it."""
    rows = sorted(rows, reverse=True)
    shared = [np.mean([label for tied, label in rows if tied == pred]) for pred, _ in rows]
    total = 0.0
    for chosen in range(bins):
        inside = [i for i in range(len(rows)) if i * bins // len(rows) == chosen]
        if inside:
            gap = np.mean([rows[i][0] for i in inside]) - np.mean([shared[i] for i in inside])
            total += len(inside) / len(rows) * abs(gap)
    return total


@given(ROWS)
def test_log_loss_equals_scikit_learn(rows):
    preds, target = zip(*rows, strict=True)
    expected = log_loss(target, np.array(preds, np.float64), labels=[0, 1])
    assert compute(LogLoss(), preds, target) == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_certain_and_wrong_predictions_cost_the_documented_bound():
    assert compute(LogLoss(), [1.0, 0.0], [0, 1]) == pytest.approx(-math.log(2**-52), rel=1e-12)
    assert compute(LogLoss(), [1.0, 0.0], [1, 0]) == pytest.approx(0, abs=1e-15)


def test_log_loss_is_defined_with_one_class():
    assert compute(LogLoss(), [0.25, 0.5], [0, 0]) == pytest.approx(-(math.log(0.75) + math.log(0.5)) / 2)


@given(ROWS)
def test_normalized_entropy_is_log_loss_over_that_of_the_base_rate(rows):
    preds, target = zip(*rows, strict=True)
    rate = sum(target) / len(target)
    if rate in {0, 1}:
        with pytest.raises(UndefinedMetricError, match="labels are"):
            compute(NormalizedEntropy(), preds, target)
    else:
        entropy = -rate * math.log(rate) - (1 - rate) * math.log(1 - rate)
        expected = log_loss(target, np.array(preds, np.float64), labels=[0, 1]) / entropy
        assert compute(NormalizedEntropy(), preds, target) == pytest.approx(expected, rel=1e-10)


def test_the_base_rate_has_normalized_entropy_one():
    assert compute(NormalizedEntropy(), [0.25] * 4, [0, 1, 0, 0]) == pytest.approx(1, abs=1e-12)


@given(st.one_of(ROWS, TIED_ROWS), st.integers(1, 20))
def test_calibration_error_equals_the_plain_version(rows, bins):
    preds, target = zip(*rows, strict=True)
    expected = slow_calibration_error(rows, bins)
    assert compute(CalibrationError(bins=bins), preds, target) == pytest.approx(expected, abs=1e-9)


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
