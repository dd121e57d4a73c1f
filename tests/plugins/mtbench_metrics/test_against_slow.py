"""Every metric equals its slow version on a thousand generated tables, or both are undefined."""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np
import pytest

from mtbench.evaluation.evaluate import score
from mtbench.evaluation.metric import UndefinedMetricError
from mtbench_metrics import ties
from mtbench_metrics.count import PoissonDeviance
from mtbench_metrics.grouped import GAUC, NDCG, HitRate
from mtbench_metrics.ordinal import QuadraticWeightedKappa
from mtbench_metrics.probability import CalibrationError, LogLoss, NormalizedEntropy
from mtbench_metrics.ranking import AUC, PRAUC
from mtbench_metrics.regression import MAE, RMSE
from tests.plugins.mtbench_metrics import slow_metrics as slow

TABLES = 1000
FAR = [-(2**63), -(2**40), -7, 0, 1, 2, 5, 2**31, 2**62, 2**63 - 1]


class Table(NamedTuple):
    """Rows of one task of each kind: the logit and label of a binary one, and values of the others."""

    logits: np.ndarray
    labels: np.ndarray
    groups: np.ndarray | None
    scale: float


def draw_logits(rng, rows):
    style = rng.integers(7)
    logits = rng.normal(0, 2, rows)
    if style == 0:  # ties
        logits = rng.choice([-0.5, -0.0, 0.0, 0.25], rows)
    elif style == 1:  # saturated: most probabilities are exactly 0 or 1
        logits = logits * 40
    elif style == 2:  # a constant
        logits = np.full(rows, rng.normal())
    elif style == 3:  # next to each other
        logits = np.nextafter(1.0, 2.0) ** rng.integers(0, 4, rows)
    elif style == 4:  # denormal and huge
        logits = rng.choice([-1e300, -5e-324, 0.0, 5e-324, 1e-310, 1e300], rows)
    return logits


def draw_groups(rng, rows):
    style = rng.integers(5)
    if style == 0:
        return None
    if style == 1:  # one row each
        return rng.permutation(rows) - rows // 2
    if style == 2:
        return rng.choice(FAR, rows)
    return rng.integers(0, max(rows // 8, 1), rows)


@functools.cache
def draw_table(number):
    rng = np.random.default_rng(number)
    rows = int(rng.choice([1, 2, 3, 8, 30, 90]))
    logits = draw_logits(rng, rows)
    rate = rng.choice([0.0, 0.1, 0.5, 1.0])
    labels = (rng.random(rows) < rate).astype(float)
    groups = draw_groups(rng, rows)
    if rng.random() < 0.2:  # some labels are missing, perhaps all
        labels[rng.random(rows) < rng.choice([0.1, 0.5, 1.0])] = np.nan
    scale = float(rng.choice([1e-300, 1e-160, 1.0, 1e9, 1e160, 1e300]))
    return Table(logits, labels, groups, scale)


def take_labelled(table, preds, labels):
    """Return the rows that have a label."""
    kept = ~np.isnan(table.labels)
    return preds[kept], labels[kept], None if table.groups is None else table.groups[kept]


def draw_ranked(table, number):  # noqa: ARG001
    return take_labelled(table, table.logits, table.labels)


def draw_probable(table, number):  # noqa: ARG001
    with np.errstate(over="ignore"):
        return take_labelled(table, 1 / (1 + np.exp(-table.logits)), table.labels)


def draw_valued(table, number):
    rng = np.random.default_rng((number, 1))
    far = rng.choice([0.0, 1.6e9]) if table.scale == 1 else 0.0
    labels = far + table.scale * rng.normal(size=len(table.labels))
    return take_labelled(table, labels + table.scale * rng.normal(size=len(labels)) * rng.choice([0, 1e-9, 1]), labels)


def draw_graded(table, number):
    rng = np.random.default_rng((number, 2))
    labels = rng.integers(1, 1 + rng.integers(1, 6), len(table.labels)) + rng.choice([0.0, 1e6])
    return take_labelled(table, labels + rng.normal(0, rng.choice([0.0, 1.0]), len(labels)), labels)


def draw_counted(table, number):
    rng = np.random.default_rng((number, 3))
    labels = rng.poisson(rng.choice([0.01, 3.0, 1e6]), len(table.labels)).astype(float)
    rates = np.abs(labels + rng.choice([0.0, 1e-9, 1.0]) * rng.normal(size=len(labels)))
    return take_labelled(table, rates if rng.random() < 0.2 else np.maximum(rates, 1e-300), labels)


METRICS = {
    "auc": (AUC(), slow.auc, draw_ranked),
    "pr_auc": (PRAUC(), slow.average_precision, draw_ranked),
    "gauc": (GAUC(), slow.gauc, draw_ranked),
    "ndcg@1": (NDCG(1), functools.partial(slow.ndcg, k=1), draw_ranked),
    "ndcg@5": (NDCG(5), functools.partial(slow.ndcg, k=5), draw_ranked),
    "hr@1": (HitRate(1), functools.partial(slow.hit_rate, k=1), draw_ranked),
    "hr@5": (HitRate(5), functools.partial(slow.hit_rate, k=5), draw_ranked),
    "logloss": (LogLoss(), slow.log_loss, draw_probable),
    "normalized_entropy": (NormalizedEntropy(), slow.normalized_entropy, draw_probable),
    "calibration_error": (CalibrationError(), slow.calibration_error, draw_probable),
    "rmse": (RMSE(), slow.rmse, draw_valued),
    "mae": (MAE(), slow.mae, draw_valued),
    "qwk": (QuadraticWeightedKappa(), slow.quadratic_weighted_kappa, draw_graded),
    "poisson_deviance": (PoissonDeviance(), slow.poisson_deviance, draw_counted),
}


def value_or_none(metric, preds, target, groups=None):
    try:
        return score(metric, preds, target, groups)
    except UndefinedMetricError:
        return None


@pytest.fixture
def tables(monkeypatch):
    """Number the tables; the rows of every second one are dealt into parts of a few, as those of a large table are."""

    def number():
        whole = ties.PART
        for chosen in range(TABLES):
            part = 3 if chosen % 2 else whole
            monkeypatch.setattr(ties, "PART", part)
            monkeypatch.setattr(ties, "SPAN", 4 * part)
            yield chosen

    return number()


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_equals_its_slow_version_or_both_are_undefined(name, tables):
    metric, plain, draw = METRICS[name]
    assert metric.best in metric.limits
    defined = 0
    for number in tables:
        preds, target, groups = draw(draw_table(number), number)
        columns = [preds.tolist(), target.tolist()]
        if metric.grouped:
            columns.append(None if groups is None else groups.tolist())
        expected = plain(*columns) if len(preds) else None
        value = value_or_none(metric, preds, target, groups)
        assert (value is None) == (expected is None), (number, value, expected)
        if expected is not None:
            tolerance = 1e-12 * (abs(expected) if name in {"rmse", "mae"} else max(abs(expected), 1))
            assert math.isclose(value, expected, rel_tol=0, abs_tol=tolerance), (number, value, expected)
            assert metric.limits[0] - 1e-12 <= value <= metric.limits[1] + 1e-12
            defined += 1
    assert TABLES / 10 < defined < TABLES


@pytest.mark.parametrize("metric", [AUC(), GAUC()])
def test_the_area_turns_round_with_the_labels_and_with_the_ranking(metric, tables):
    for number in tables:
        preds, target, groups = draw_ranked(draw_table(number), number)
        value = value_or_none(metric, preds, target, groups)
        turned = value_or_none(metric, preds, 1 - target, groups)
        assert value_or_none(metric, -preds, 1 - target, groups) == value
        assert (turned is None) == (value is None)
        if value is not None:
            assert math.isclose(turned, 1 - value, rel_tol=0, abs_tol=1e-12)
