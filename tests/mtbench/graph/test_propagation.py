from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mtbench.graph import InteractionGraph, propagate

TASKS = ("click", "buy")
NORMS = ("sum", "mean", "symmetric")


def random_graph(seed, users, items, events):
    """Return a graph with repeated events and, where there are few, isolated nodes."""
    rng = np.random.default_rng(seed)
    positive = rng.random((events, 2)) < 0.5
    positive[:, 0] |= ~positive.any(1)
    return InteractionGraph(
        rng.integers(users, size=events), rng.integers(items, size=events), rng.random(events), positive, users, items,
        TASKS,
    )  # fmt: skip


def dense(graph, x_users, x_items, norm, task):
    """The definition, written with a dense matrix."""
    weight = graph.positive.sum(1) if task is None else graph.positive[:, TASKS.index(task)]
    a = torch.zeros(graph.users, graph.items, dtype=x_users.dtype)
    a.index_put_(
        (torch.tensor(graph.user), torch.tensor(graph.item)), torch.tensor(weight).to(a.dtype), accumulate=True
    )
    left, right = a.sum(1, keepdim=True), a.sum(0)
    if norm == "sum":
        return a @ x_items, a.T @ x_users
    if norm == "mean":
        return (a / left.clamp(min=1)) @ x_items, (a / right.clamp(min=1)).T @ x_users
    a = a / (left.clamp(min=1) * right.clamp(min=1)).sqrt()
    return a @ x_items, a.T @ x_users


def outcome(function, x_users, x_items, weights):
    """Return what comes out, and the gradients of a weighted sum of it."""
    x_users, x_items = x_users.clone().requires_grad_(), x_items.clone().requires_grad_()
    y_users, y_items = function(x_users, x_items)
    ((y_users * weights[0]).sum() + (y_items * weights[1]).sum()).backward()
    return y_users, y_items, x_users.grad, x_items.grad


@settings(max_examples=150)
@given(
    st.integers(0, 2**20), st.integers(1, 12), st.integers(1, 12), st.integers(0, 40), st.sampled_from(NORMS),
    st.sampled_from([None, *TASKS]), st.sampled_from([torch.float32, torch.float64]),
)  # fmt: skip
def test_dgl_and_csr_agree_with_the_definition_and_so_do_their_gradients(seed, users, items, events, norm, task, dtype):
    graph = random_graph(seed, users, items, events)
    generator = torch.Generator().manual_seed(seed)
    x, weights = ([torch.randn(n, 3, generator=generator, dtype=dtype) for n in (users, items)] for _ in range(2))
    expected = outcome(lambda *x: dense(graph, *x, norm, task), *x, weights)
    by_dgl = outcome(lambda *x: propagate(graph, *x, norm, task=task), *x, weights)
    by_csr = outcome(lambda *x: propagate(graph.csr(task), *x, norm), *x, weights)
    tolerance = 1e-5 if dtype == torch.float32 else 1e-12
    for mine in (by_dgl, by_csr):
        for part, wanted in zip(mine, expected, strict=True):
            torch.testing.assert_close(part, wanted, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("norm", NORMS)
def test_gradients_of_several_tasks_at_once_equal_those_one_by_one(norm):
    graph = random_graph(0, 9, 7, 30)
    x_users, x_items = torch.randn(9, 4, requires_grad=True), torch.randn(7, 4, requires_grad=True)
    y = torch.cat(propagate(graph.csr(), *propagate(graph.csr(), x_users, x_items, norm), norm))
    several = torch.randn(5, *y.shape)
    together = torch.autograd.grad(y, (x_users, x_items), several, is_grads_batched=True, retain_graph=True)
    for number, one in enumerate(several):
        alone = torch.autograd.grad(y, (x_users, x_items), one, retain_graph=True)
        for batched, single in zip(together, alone, strict=True):
            torch.testing.assert_close(batched[number], single)


def test_second_derivatives_flow():
    graph = random_graph(1, 5, 4, 12)

    def loss(x_users, x_items):
        y_users, y_items = propagate(graph.csr(), x_users, x_items, "symmetric")
        return y_users.square().sum() + y_items.pow(3).sum()

    x = [torch.randn(n, 2, dtype=torch.float64, requires_grad=True) for n in (5, 4)]
    assert torch.autograd.gradgradcheck(loss, x)


def test_under_autocast_counts_are_exact():
    events = 1001  # more than bfloat16 can count
    graph = InteractionGraph(
        np.zeros(events, int), np.zeros(events, int), np.zeros(events), np.ones((events, 2), bool), 1, 1, TASKS
    )
    x = torch.ones(1, 1, dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        for given_graph in (graph, graph.csr()):
            y, _ = propagate(given_graph, x, x, "sum")
            assert y.item() == 2 * events
