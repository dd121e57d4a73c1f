from __future__ import annotations

import pytest
import torch
from torch import nn

from mtbench.schema import Task
from mtbench_balancers.gradnorm import GradNorm


def build(tasks: int = 2, **settings) -> GradNorm:
    return GradNorm(GradNorm.Config(**settings), [Task(name=f"task{number}") for number in range(tasks)])


def train(balancer: GradNorm, losses_of, shared: list[nn.Parameter], steps: int) -> torch.Tensor:
    """Return the weights after some steps in which only they learn."""
    optimizer = torch.optim.Adam(balancer.parameters(), lr=balancer.learning_rate)
    for step in range(steps):
        optimizer.zero_grad()
        balancer.backward(losses_of(step), shared, [])
        optimizer.step()
    return balancer.weights.detach() * len(balancer.weights) / balancer.weights.detach().sum()


def test_weights_make_gradients_of_different_length_alike():
    at = nn.Parameter(torch.tensor([[1.0]]))
    scales = torch.tensor([3.0, 1.0])
    weights = train(build(alpha=0.0, learning_rate=0.01), lambda _: (scales * at).flatten(), [at], 400)
    torch.testing.assert_close(weights, torch.tensor([0.5, 1.5]), rtol=0.05, atol=0)


def test_the_task_that_trains_slowly_gets_more_weight():
    at = nn.Parameter(torch.tensor([[1.0]]))

    def losses(step: int) -> torch.Tensor:  # equal gradients; the first task has halved its loss, the second has not
        return at.flatten() + torch.tensor([0.0 if step == 0 else -0.5, 0.0])

    weights = train(build(alpha=1.0, learning_rate=0.01), losses, [at], 400)
    torch.testing.assert_close(weights, torch.tensor([2 / 3, 4 / 3]), rtol=0.05, atol=0)


def test_the_gradient_of_the_weights_is_that_of_the_papers_loss():
    torch.manual_seed(0)
    at, inputs = nn.Parameter(torch.randn(4, 3)), torch.randn(3, 4)
    balancer = build(3, alpha=1.5)
    first = torch.stack([(row @ at).square().mean() for row in inputs])
    balancer.backward(first, [at], [])
    first = first.detach()
    with torch.no_grad():
        at.add_(0.3 * torch.randn(4, 3))
    losses = torch.stack([(row @ at).square().mean() for row in inputs])
    weights = torch.tensor([0.5, 1.5, 1.0], requires_grad=True)
    lengths = torch.stack([torch.autograd.grad(loss, at, retain_graph=True)[0].norm() for loss in losses])
    rates = losses.detach() / first
    rates /= rates.mean()
    target = ((weights * lengths).mean() * rates**1.5).detach()
    (weights * lengths - target).abs().sum().backward()
    with torch.no_grad():
        balancer.weights.copy_(weights)
    at.grad = None
    (expected,) = torch.autograd.grad((weights.detach() * losses).mean(), at, retain_graph=True)
    balancer.backward(losses, [at], [])
    torch.testing.assert_close(balancer.weights.grad, weights.grad)
    torch.testing.assert_close(at.grad, expected)


def test_weights_stay_positive_and_sum_to_the_number_of_tasks():
    at = nn.Parameter(torch.tensor([[1.0]]))
    balancer = build(3, alpha=0.0, learning_rate=0.1)
    train(balancer, lambda _: (torch.tensor([1000.0, 1.0, 1.0]) * at).flatten(), [at], 200)
    balancer.backward((torch.ones(3) * at).flatten(), [at], [])
    assert balancer.weights.sum().item() == pytest.approx(3)
    assert (balancer.weights > 0).all()


def test_a_task_without_rows_has_no_part_in_it():
    at = nn.Parameter(torch.tensor([[1.0]]))
    balancer = build(3, alpha=1.0)
    for scales in ([0.0, 1.0, 2.0], [3.0, 0.0, 2.0], [0.0, 0.0, 0.0], [3.0, 1.0, 0.0]):
        at.grad = None
        balancer.backward((torch.tensor(scales) * at).flatten(), [at], [])
        assert at.grad.isfinite().all()
        assert balancer.weights.grad.isfinite().all()
        assert all(gradient == 0 for scale, gradient in zip(scales, balancer.weights.grad, strict=True) if not scale)
    assert balancer.first.tolist() == [3.0, 1.0, 2.0]


def test_it_measures_at_the_last_shared_layer_or_at_all():
    torch.manual_seed(0)
    low, high, bias = (nn.Parameter(torch.randn(*shape)) for shape in ((2, 2), (2, 2), (2,)))
    losses = (low @ high + bias).square().sum(0)
    last, everywhere = (
        build()._measure_lengths(losses, [low, high, bias]),
        build(at="all")._measure_lengths(losses, [low, high, bias]),
    )
    gradients = [torch.autograd.grad(loss, [low, high, bias], retain_graph=True) for loss in losses]
    torch.testing.assert_close(last, torch.stack([of_task[1].norm() for of_task in gradients]))
    squares = torch.stack([sum(one.square().sum() for one in of_task) for of_task in gradients])
    torch.testing.assert_close(everywhere, squares.sqrt())


def test_without_shared_parameters_the_weights_rest():
    own = nn.Parameter(torch.tensor([1.0, 2.0]))
    balancer = build()
    balancer.backward(own.square(), [], [own])
    assert balancer.weights.grad is None
    assert own.grad.tolist() == [1.0, 2.0]
