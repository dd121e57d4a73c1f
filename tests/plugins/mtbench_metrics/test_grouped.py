from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mtbench.errors import MTBenchError
from mtbench.evaluation.metric import UndefinedMetricError
from mtbench_metrics.grouped import GAUC, NDCG, HitRate

GROUP = st.sampled_from([-3, 0, 7, 1_000_000_007])
ROWS = st.lists(st.tuples(GROUP, st.sampled_from([0.0, 0.2, 0.5, 1.0]), st.integers(0, 1)), min_size=1, max_size=60)
FEW_ROWS = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from([0.2, 0.5]), st.integers(0, 1)), min_size=1, max_size=10
)


def compute(metric, rows):
    groups, preds, target = (torch.tensor(column) for column in zip(*rows, strict=True))
    metric.update(preds.float(), target.float(), indexes=groups)
    return metric.compute().item()


def by_group(rows):
    users: dict[int, list[tuple[float, int]]] = {}
    for group, pred, label in rows:
        users.setdefault(group, []).append((pred, label))
    return [tuple(np.array(column) for column in zip(*user, strict=True)) for user in users.values()]


def mean_over_orders(user, value):
    """Mean of ``value(labels)`` over every order of the rows in which no prediction is above a higher one."""
    preds, target = user
    orders = [order for order in permutations(range(len(preds))) if all(np.diff(preds[list(order)]) <= 0)]
    return np.mean([value(target[list(order)]) for order in orders])


def test_what_is_undefined_says_why():
    rows = [(0, 0.1, 0), (0, 0.2, 0), (1, 0.3, 1), (2, 0.4, 1), (2, 0.5, 1)]
    with pytest.raises(UndefinedMetricError, match="none of the 3 groups has both positive and negative labels"):
        compute(GAUC(), rows)
    for metric in (NDCG, HitRate):
        with pytest.raises(
            UndefinedMetricError, match="none of the 2 groups that have a positive label has more than 2"
        ):
            compute(metric(k=2), rows)
        with pytest.raises(UndefinedMetricError, match="none of the 1 groups has a positive label"):
            compute(metric(k=1), rows[:2])


@pytest.mark.parametrize("metric", [NDCG, HitRate])
def test_a_group_counts_from_one_row_more_than_the_cutoff(metric):
    """With k rows or fewer, all of them are the first k, and every ranking would hit."""
    judged = [(0, pred, int(pred == 0.1)) for pred in (0.1, 0.2, 0.3, 0.4)]
    whole = [(1, pred, int(pred == 0.3)) for pred in (0.1, 0.2, 0.3)]
    small = [(2, 0.1, 1), (3, 0.1, 0), (3, 0.2, 1)]
    assert compute(metric(k=3), judged) == 0
    assert compute(metric(k=3), judged + whole + small) == 0
    assert compute(metric(k=2), judged + whole + small) == 0.5
    assert metric.version == 2


def test_a_constant_gains_nothing_from_small_groups():
    """Groups of 1 to 12 rows with one positive each: hr@10 of a constant was .96 with the small ones counted."""
    rows = [(group, 0.5, int(row == 0)) for group in range(1, 13) for row in range(group)]
    assert compute(HitRate(k=10), rows) == pytest.approx((10 / 11 + 10 / 12) / 2, abs=1e-15)


@settings(max_examples=60, deadline=None)
@given(FEW_ROWS.filter(lambda rows: max(len(user[0]) for user in by_group(rows)) <= 6), st.integers(1, 4))
def test_cutoff_metrics_are_means_over_all_orders_of_tied_rows(rows, k):
    users = [user for user in by_group(rows) if user[1].any() and len(user[1]) > k]
    if not users:
        return
    discount = 1 / np.log2(np.arange(2, 10))

    def gain(labels):
        return float((labels[:k] * discount[: len(labels[:k])]).sum())

    hits = np.mean([mean_over_orders(user, lambda labels: float(labels[:k].any())) for user in users])
    gains = np.mean([mean_over_orders(user, gain) / gain(np.sort(user[1])[::-1]) for user in users])
    assert compute(HitRate(k=k), rows) == pytest.approx(hits, abs=1e-12)
    assert compute(NDCG(k=k), rows) == pytest.approx(gains, abs=1e-12)


def test_hit_rate_of_a_constant_prediction_over_many_items():
    # one positive among 1000 tied items is in the first 10 with probability 1 in 100
    rows = [(0, 0.5, int(i == 0)) for i in range(1000)]
    assert compute(HitRate(k=10), rows) == pytest.approx(0.01, abs=1e-14)


@given(ROWS, st.randoms())
def test_the_order_of_rows_does_not_matter(rows, random):
    shuffled = random.sample(rows, len(rows))
    for make in (GAUC, lambda: NDCG(k=3), lambda: HitRate(k=3)):
        try:
            expected = compute(make(), rows)
        except UndefinedMetricError:
            continue
        assert compute(make(), shuffled) == pytest.approx(expected, abs=1e-12)


@given(ROWS)
def test_groups_may_be_any_whole_numbers(rows):
    far = {-3: -(2**63), 0: 0, 7: 2**63 - 1, 1_000_000_007: 2**62}
    moved = [(far[group], *rest) for group, *rest in rows]
    for metric in (GAUC, lambda: NDCG(2), lambda: HitRate(2)):
        try:
            expected = compute(metric(), rows)
        except UndefinedMetricError:
            continue
        assert compute(metric(), moved) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("metric", [GAUC(), NDCG(k=2), HitRate(k=2)])
def test_without_groups_the_value_is_undefined(metric):
    metric.update(torch.tensor([0.1, 0.9]), torch.tensor([0.0, 1.0]))
    with pytest.raises(UndefinedMetricError, match="have no groups"):
        metric.compute()


@pytest.mark.parametrize("metric", [NDCG, HitRate])
def test_a_cutoff_below_one_is_refused(metric):
    with pytest.raises(MTBenchError, match="at least 1, not 0"):
        metric(k=0)
