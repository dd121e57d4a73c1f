"""Embeddings of macro nodes, and what a node's edges to them add up to."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mtbench.nn.mlp import StackedLinear


def masked_softmax(logits: Tensor, mask: Tensor) -> Tensor:
    """Return a softmax over the last dimension where ``mask`` is not 0; zeros where it is, be it everywhere.

    Since 0.1, provisional.
    """
    kept = mask != 0
    weights: Tensor = logits.masked_fill(~kept, torch.finfo(logits.dtype).min).softmax(-1) * kept
    return weights


def macro_weights(counts: Tensor, temperature: float) -> Tensor:
    """Return ``softmax(log(counts + 1) / temperature)``, the weights of K macro nodes for edge weights (..., K).

    A macro node without edges has a weight too, and all have the same where there is no edge at all (Chen et al.,
    MacGNN, WWW 2024, and its code).

    Since 0.1, provisional.
    """
    return (counts.log1p() / temperature).softmax(-1)


class NodeTable(nn.Module):
    """``n`` tables of embeddings of nodes 1 to ``count``; node 0 is none, and starts from zero.

    Entries start from a normal distribution with Glorot's variance, ``2 / (count + dim)``, as MacGNN's do.

    Since 0.1, provisional.
    """

    def __init__(self, n: int, count: int, dim: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.empty(n, count + 1, dim))
        with torch.no_grad():
            self.table.normal_(std=(2 / (count + dim)) ** 0.5)[:, 0] = 0

    def forward(self, numbers: Tensor) -> Tensor:
        """Return (n, batch, dim): of numbers (batch,) in every table, or of column i of (batch, n) in table i."""
        if numbers.dim() == 1:
            return self.table[:, numbers]
        return self.table[torch.arange(len(self.table), device=numbers.device)[:, None], numbers.t()]


class Aggregation(nn.Module):
    """``n`` weighted sums of projected embeddings, ``sum_k weight_k * attention_k * V e_k``.

    With ``attention``, ``attention_k`` is the softmax over nodes of ``<Q e_k, K target> / sqrt(width)``; without, it
    is 1.

    Since 0.1, provisional.
    """

    def __init__(self, n: int, dim: int, width: int, *, attention: bool) -> None:
        super().__init__()
        self.values = StackedLinear(n, dim, width, bias=False)
        self.queries = StackedLinear(n, dim, width, bias=False) if attention else None
        self.keys = StackedLinear(n, dim, width, bias=False) if attention else None

    def forward(self, nodes: NodeTable, weights: Tensor, target: Tensor) -> Tensor:
        """Return (n, batch, width) over all K nodes of ``n`` tables, for weights (batch, K).

        The target has shape (n, batch, dim).
        """
        embeddings = nodes.table[:, 1:]
        values = embeddings @ self.values.weight.mT
        if self.queries is not None and self.keys is not None:
            queries = embeddings @ self.queries.weight.mT
            weights = weights * (self.keys(target) @ queries.mT * values.shape[-1] ** -0.5).softmax(-1)
        mixed: Tensor = weights @ values
        return mixed
