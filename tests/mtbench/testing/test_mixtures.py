from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from mtbench.testing.mixtures import measure_spread, record_weights

ROWS = 7


def by_method(x):
    return x.softmax(-1)


def by_module(x):
    return nn.Softmax(-1)(x)


def by_sigmoid(x):
    return torch.sigmoid(x)


def in_place(x):
    return x.clone().sigmoid_()


def by_fused_attention(x):
    return functional.scaled_dot_product_attention(x, x, x)


def by_multihead_attention(x):
    layer = nn.MultiheadAttention(4, 2, batch_first=True)
    return layer(x, x, x, need_weights=False)[0]


@pytest.mark.parametrize(
    "mixes", [by_method, by_module, by_sigmoid, in_place, by_fused_attention, by_multihead_attention]
)
def test_weights_are_recorded_however_they_are_made(mixes):
    x = torch.randn(ROWS, 3, 4)
    weights = record_weights(mixes, x)
    assert len(weights) == 1
    assert (weights[0] > 0).all()
    assert measure_spread(weights[0], ROWS) > 0.01
    assert all(measure_spread(one, ROWS) < 1e-6 for one in record_weights(mixes, x[:1].expand(ROWS, -1, -1)))


def test_what_is_no_mixture_is_not_recorded():
    assert record_weights(lambda x: x.relu() @ x.mT, torch.randn(ROWS, 4)) == []


@pytest.mark.parametrize(
    "shape", [(ROWS, 5), (3, ROWS, 5), (ROWS, 2, 3, 5), (ROWS * 3, 5), (2, 3 * ROWS, 5), (2, 5, ROWS)]
)
def test_weights_that_differ_in_one_row_are_spread(shape):
    weights = torch.full(shape, 0.2)
    weights.view(-1)[0] = 0.9
    assert measure_spread(weights, ROWS) > 0.1


def test_rows_joined_with_tokens_are_alike_in_either_order():
    tokens = torch.randn(3, 5).softmax(-1)
    assert measure_spread(tokens.repeat(ROWS, 1), ROWS) < 1e-6
    assert measure_spread(tokens.repeat_interleave(ROWS, 0), ROWS) < 1e-6
    rows = torch.randn(ROWS, 5).softmax(-1)
    assert measure_spread(rows.repeat(3, 1), ROWS) > 0.01
    assert measure_spread(rows.repeat_interleave(3, 0), ROWS) > 0.01


def test_a_softmax_over_one_entry_mixes_nothing():
    assert measure_spread(torch.randn(ROWS, 4, 1).softmax(-1), ROWS) == 0


def test_weights_of_no_row_are_not_judged():
    assert measure_spread(torch.randn(4, 5).softmax(-1), ROWS) == math.inf
    assert measure_spread(torch.zeros(ROWS, 0), ROWS) == math.inf
