"""Slow and obvious forms of the blocks that models are made of: one network, one gate, one row group at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from mtbench.nn.dropout import ReLUDropout
from mtbench.testing.examples import TASKS, examples

if TYPE_CHECKING:
    from mtbench.data.batches import Batch
    from mtbench.data.columns import Columns
    from mtbench.model import MultiTaskModel

ROWS = 40
TRAINING_STEPS = 5


def columns(tasks: int = 4) -> Columns:
    """Examples of a funnel of three and a regression, or of another number of tasks."""
    return examples(TASKS[:tasks])


def rows(tasks: int = 4, start: int = 0, count: int = ROWS) -> Batch:
    """Some training rows."""
    return columns(tasks).train.take(torch.arange(start, start + count))


def build(model: type[MultiTaskModel], tasks: int = 4, **settings: Any) -> Any:
    """A model in evaluation, with embeddings that differ and normalisation that has seen some rows."""
    torch.manual_seed(0)
    built = model(model.Config(**settings), columns(tasks).spec)
    with torch.no_grad():
        built.embed.table.normal_()
        for step in range(TRAINING_STEPS):
            built.train()(rows(tasks, 64 * step, 64))
    return built.eval()


def network(stack, i, x):
    """The i-th network of a StackedMLP in evaluation, layer by layer."""
    activation = torch.relu if isinstance(stack.activate, ReLUDropout) else functional.silu
    for linear, norm in zip(stack.linears, stack.norms, strict=True):
        width = linear.weight.shape[1]
        part = slice(i * width, (i + 1) * width)
        y = linear.weight[i] @ x.T
        if linear.bias is not None:
            x = activation(y + linear.bias[i, :, None]).T
            continue
        mean, var, weight, bias = (s[part, None] for s in (norm.running_mean, norm.running_var, norm.weight, norm.bias))
        x = activation((y - mean) / (var + norm.eps).sqrt() * weight + bias).T
    return x


def linear(stack, i, x):
    """The i-th map of a StackedLinear."""
    y = x @ stack.weight[i].T
    return y if stack.bias is None else y + stack.bias[i]


def gate(stack, i, x):
    return functional.softmax(linear(stack, i, x), -1)


def weighted(experts, weights):
    return sum(weights[:, e, None] * expert for e, expert in enumerate(experts))


def tower(towers, t, x):
    return linear(towers.head, t, network(towers.hidden, t, x)).squeeze(-1)


def assert_logits(model, batch, expected):
    """Compare the logits of a model with those of each task."""
    with torch.no_grad():
        torch.testing.assert_close(model(batch), torch.stack(expected, -1), rtol=1e-5, atol=1e-5)
