from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mtbench.evaluation.metric import UndefinedMetricError
from mtbench_metrics.grouped import GAUC
from mtbench_metrics.ranking import AUC


@st.composite
def draws(draw):
    """Return predictions with ties, labels, groups and how often each group was drawn."""
    rows = draw(st.integers(1, 30))
    groups = draw(st.lists(st.integers(5, 9), min_size=rows, max_size=rows))
    times = draw(st.lists(st.integers(0, 3), min_size=10, max_size=10))
    return (
        torch.tensor(draw(st.lists(st.sampled_from([0.1, 0.2, 0.5, 0.9]), min_size=rows, max_size=rows))),
        torch.tensor(draw(st.lists(st.integers(0, 1), min_size=rows, max_size=rows))),
        torch.tensor(groups),
        np.array(times)[groups],
    )


@pytest.mark.parametrize("cls", [AUC, GAUC])
@given(draws())
def test_a_resample_has_the_value_of_its_rows_repeated(cls, example):
    preds, target, groups, drawn = example
    metric = cls()
    metric.update(preds, target, groups)
    try:
        value = metric.resampler()(drawn)
    except UndefinedMetricError:
        value = None
    copies = [(row, copy) for row, times in enumerate(drawn) for copy in range(times)]
    again = cls()
    rows = [row for row, _ in copies]
    try:
        again.update(preds[rows], target[rows], torch.tensor([100 * copy + int(groups[row]) for row, copy in copies]))
        expected = float(again.compute())
    except UndefinedMetricError:
        expected = None
    assert value == (None if expected is None else pytest.approx(expected, abs=1e-12))
