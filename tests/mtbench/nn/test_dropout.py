from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mtbench.nn import Dropout
from mtbench.nn.dropout import ReLUDropout

SIZE = 8 * 40_000


@pytest.mark.parametrize("p", [0.1, 0.2, 0.5, 0.9])
def test_each_byte_of_a_word_drops_at_the_stated_rate(p):
    torch.manual_seed(0)
    kept = Dropout(p)(torch.ones(SIZE)) != 0
    rate = round(p * 256) / 256
    assert abs(rate - p) <= 1 / 512
    deviation = (rate * (1 - rate) / (SIZE / 8)) ** 0.5
    dropped = 1 - kept.view(-1, 8).double().mean(0)
    assert (dropped - rate).abs().max() < 5 * deviation


@pytest.mark.parametrize("p", [0.2, 0.5])
def test_neighbours_drop_independently(p):
    torch.manual_seed(0)
    kept = (Dropout(p)(torch.ones(SIZE)) != 0).view(-1, 8).T.double()
    correlations = torch.corrcoef(kept) - torch.eye(8)
    assert correlations.abs().max() < 5 / (SIZE / 8) ** 0.5


@pytest.mark.parametrize("p", [0.2, 0.5, 0.9])
def test_the_mean_is_kept(p):
    torch.manual_seed(0)
    x = torch.rand(1000, 320)
    rate = round(p * 256) / 256
    deviation = (rate / (1 - rate) * x.square().sum()).sqrt() / x.numel()
    assert (Dropout(p)(x).mean() - x.mean()).abs() < 5 * deviation


@settings(deadline=None)
@given(rows=st.integers(0, 5), columns=st.integers(1, 21), p=st.floats(0.0, 0.99))
def test_gradient_is_the_scaled_mask(rows, columns, p):
    dropout = Dropout(p)
    x = torch.rand(rows, columns).add_(0.1).requires_grad_()
    y = dropout(x)
    upstream = torch.rand(rows, columns)
    gradient = torch.autograd.grad(y, x, upstream)[0]
    scale = 1 / (1 - dropout.threshold / 256)
    expected = torch.where(y.detach() != 0, scale, 0.0)
    torch.testing.assert_close(y.detach(), x.detach() * expected)
    torch.testing.assert_close(gradient, upstream * expected)


@settings(deadline=None)
@given(rows=st.integers(0, 5), columns=st.integers(1, 21), p=st.floats(0.0, 0.99), transposed=st.booleans())
def test_relu_and_dropout_in_one_equal_one_after_the_other(rows, columns, p, transposed):
    x = torch.randn(columns, rows).T if transposed else torch.randn(rows, columns)
    x.requires_grad_()
    upstream = torch.randn(rows, columns)
    found = []
    for layer in (ReLUDropout(p), torch.nn.Sequential(torch.nn.ReLU(), Dropout(p))):
        torch.manual_seed(0)
        y = layer(x)
        found.append((y, torch.autograd.grad(y, x, upstream)[0]))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("kind", [Dropout, ReLUDropout])
def test_gradients_have_gradients(kind):
    def dropped(x):
        torch.manual_seed(0)
        return layer(x) * x

    layer = kind(0.3)
    x = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(dropped, x)


def test_relu_alone_where_nothing_is_dropped():
    x = torch.randn(10)
    assert torch.equal(ReLUDropout(0.5).eval()(x), x.relu())
    assert torch.equal(ReLUDropout(0.0)(x), x.relu())


def test_a_seed_reproduces_it_and_steps_differ():
    dropout = Dropout(0.5)
    x = torch.ones(1000)
    torch.manual_seed(1)
    first, second = dropout(x), dropout(x)
    torch.manual_seed(1)
    assert torch.equal(dropout(x), first)
    assert not torch.equal(first, second)


def test_evaluation_changes_nothing():
    x = torch.rand(10)
    assert torch.equal(Dropout(0.5).eval()(x), x)
    assert torch.equal(Dropout(0.0)(x), x)


@pytest.mark.parametrize("p", [-0.1, 1.0, float("nan")])
def test_an_impossible_rate_is_refused(p):
    with pytest.raises(ValueError, match="at least 0 and below 1"):
        Dropout(p)
