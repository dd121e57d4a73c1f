from __future__ import annotations

import pytest
import torch
from torch import nn

from mtbench.nn import StackedLinear, StackedMLP, Towers


def linears(stack: StackedLinear) -> list[nn.Linear]:
    """The maps of a stack as ordinary layers."""
    n, out_features, in_features = stack.weight.shape
    layers = [nn.Linear(in_features, out_features, bias=stack.bias is not None) for _ in range(n)]
    with torch.no_grad():
        for i, layer in enumerate(layers):
            layer.weight.copy_(stack.weight[i])
            if stack.bias is not None:
                layer.bias.copy_(stack.bias[i])
    return layers


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shared", [True, False])
def test_a_linear_stack_equals_its_layers(shared, bias):
    torch.manual_seed(0)
    stack = StackedLinear(3, 5, 4, bias=bias)
    layers = linears(stack)
    x = torch.randn(7, 5) if shared else torch.randn(3, 7, 5)
    expected = torch.stack([layer(x if shared else x[i]) for i, layer in enumerate(layers)])
    torch.testing.assert_close(stack(x), expected)

    weights = torch.randn(3, 7, 4)
    (stack(x) * weights).sum().backward()
    (expected * weights).sum().backward()
    torch.testing.assert_close(stack.weight.grad, torch.stack([layer.weight.grad for layer in layers]))
    if bias:
        torch.testing.assert_close(stack.bias.grad, torch.stack([layer.bias.grad for layer in layers]))


def test_a_linear_stack_starts_like_its_layers():
    torch.manual_seed(0)
    stack = StackedLinear(4, 100, 300)
    layer = nn.Linear(100, 300)
    for ours, theirs in ((stack.weight[3], layer.weight), (stack.bias[3], layer.bias)):
        assert ours.abs().max() <= 0.1
        torch.testing.assert_close(ours.std(), theirs.std(), rtol=0.1, atol=0)


@pytest.mark.parametrize("shared", [True, False])
def test_stacked_batch_norm_equals_one_per_network(shared):
    torch.manual_seed(0)
    stack = StackedMLP(3, 5, (6, 4))
    plain = []
    for i in range(3):
        layers = []
        for linear, norm in zip(stack.linears, stack.norms, strict=True):
            width = linear.weight.shape[1]
            part = slice(i * width, (i + 1) * width)
            ours = nn.BatchNorm1d(width)
            with torch.no_grad():
                norm.weight[part].uniform_(0.5, 2)
                norm.bias[part].normal_()
                ours.weight.copy_(norm.weight[part])
                ours.bias.copy_(norm.bias[part])
            layers += [linears(linear)[i], ours, nn.ReLU()]
        plain.append(nn.Sequential(*layers))

    def compare(x):
        expected = torch.stack([network(x if shared else x[i]) for i, network in enumerate(plain)])
        torch.testing.assert_close(stack(x), expected, rtol=1e-5, atol=1e-5)

    for _ in range(3):
        compare(torch.randn(8, 5) if shared else torch.randn(3, 8, 5))
    for level in (0, 1):
        for statistic in ("running_mean", "running_var"):
            expected = torch.cat([getattr(network[3 * level + 1], statistic) for network in plain])
            torch.testing.assert_close(getattr(stack.norms[level], statistic), expected, rtol=1e-5, atol=1e-6)
    stack.eval()
    for network in plain:
        network.eval()
    compare(torch.randn(8, 5) if shared else torch.randn(3, 8, 5))


def test_without_norm_a_layer_is_linear_and_relu():
    torch.manual_seed(0)
    stack = StackedMLP(2, 5, (6, 4), norm="none")
    first, second = (linears(linear) for linear in stack.linears)
    x = torch.randn(7, 5)
    expected = torch.stack([second[i](first[i](x).relu()).relu() for i in range(2)])
    torch.testing.assert_close(stack(x), expected)


def test_one_training_row_is_normalised_by_the_running_statistics():
    torch.manual_seed(0)
    stack = StackedMLP(2, 5, (6,))
    for _ in range(20):
        stack(3 * torch.randn(16, 5) + 1)
    before = {name: value.clone() for name, value in stack.state_dict().items()}
    x = torch.randn(1, 5)
    in_training = stack(x)
    assert all(torch.equal(value, before[name]) for name, value in stack.state_dict().items())
    assert torch.equal(in_training, stack.eval()(x))
    in_training.sum().backward()
    assert stack.linears[0].weight.grad.any()


def test_no_layers_are_the_identity():
    x = torch.randn(7, 5)
    stack = StackedMLP(3, 5, ())
    assert stack.width == 5
    assert torch.equal(stack(x), x.expand(3, 7, 5))


def test_a_tower_sees_its_own_input_alone():
    torch.manual_seed(0)
    towers = Towers(3, 5, (6,)).eval()
    x = torch.randn(3, 7, 5, requires_grad=True)
    logits = towers(x)
    assert logits.shape == (7, 3)
    gradient = torch.autograd.grad(logits[:, 1].sum(), x)[0]
    assert gradient[1].any()
    assert not gradient[[0, 2]].any()


def test_towers_over_one_input_equal_towers_over_copies_of_it():
    torch.manual_seed(0)
    towers = Towers(3, 5, (6, 4)).eval()
    x = torch.randn(7, 5)
    torch.testing.assert_close(towers(x), towers(x.expand(3, 7, 5)))
