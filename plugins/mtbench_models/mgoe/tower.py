"""The Macro Prediction Tower of MGOE."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mtbench.nn import Dropout, NodeTable, StackedLinear, StackedMLP, masked_softmax
from mtbench_models.aitm import InformationTransfer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mtbench import Task
    from mtbench_inputs.macro_graph import MacroGraphInput
    from mtbench_models.mgoe.config import MGOEConfig


def find_towers_before(tasks: Sequence[Task], chain: str) -> list[int]:
    """Return the position of the tower before each task's in the funnel, -1 for none.

    ``auto`` is the task that a task is given, or the one listed before it where no task is given another; ``order`` is
    the one listed before it.
    """
    if chain == "order" or not any(task.given for task in tasks):
        return list(range(-1, len(tasks) - 1))
    position = {task.name: at for at, task in enumerate(tasks)}
    return [-1 if task.given is None else position[task.given] for task in tasks]


class MicroNeighbors(nn.Module):
    """The user's latest items, weighed by the softmax of their scores, plus attention if asked for.

    ``sum_k softmax_k(s_k + <Q e_k, K e_item> / sqrt(dim)) e_k``; zero for a user who has none. In training a row goes
    without some of them.
    """

    def __init__(self, config: MGOEConfig, items: int) -> None:
        super().__init__()
        dim = config.embedding_dim
        self.items = NodeTable(1, items, dim)
        self.queries = nn.Linear(dim, dim, bias=False) if config.attention == "neighbors" else None
        self.keys = nn.Linear(dim, dim, bias=False) if config.attention == "neighbors" else None
        self.neighbor_dropout = config.neighbor_dropout
        self.dropout = Dropout(config.embedding_dropout)
        self.width = dim

    def forward(self, graph: MacroGraphInput) -> Tensor:
        """Return (batch, width)."""
        nodes, logits, mask = self.items.table[0][graph.items], graph.item_scores, graph.item_mask
        if self.queries is not None and self.keys is not None:
            target = self.keys(self.items(graph.item)[0])
            likeness = (self.queries(nodes) @ target.unsqueeze(-1)).squeeze(-1)
            logits = logits + likeness * nodes.shape[-1] ** -0.5
        if self.training:
            mask = mask * (torch.rand_like(mask) >= self.neighbor_dropout)
        pooled = masked_softmax(logits, mask).to(nodes.dtype).unsqueeze(1) @ nodes
        mixed: Tensor = self.dropout(pooled.squeeze(1))
        return mixed


class Fusion(nn.Module):
    """Macro and micro knowledge of each task as one vector: ``W [h; m]``, or ``g h + (1 - g) W m`` for a gate g.

    ``g = sigmoid(U [h; m])``.
    """

    def __init__(self, kind: str, tasks: int, width: int, micro: int) -> None:
        super().__init__()
        self.gate = StackedLinear(tasks, width + micro, width) if kind == "gate" else None
        self.linear = StackedLinear(tasks, micro if kind == "gate" else width + micro, width)

    def forward(self, macro: Tensor, micro: Tensor) -> Tensor:
        """Return (tasks, batch, width) for macro (tasks, batch, width) and micro (batch, micro)."""
        both = torch.cat([macro, micro.expand(len(macro), -1, -1)], -1)
        if self.gate is None:
            fused: Tensor = self.linear(both)
            return fused
        gate = self.gate(both).sigmoid()
        mixed: Tensor = gate * macro + (1 - gate) * self.linear(micro)
        return mixed


class MacroPredictionTower(nn.Module):
    """A network per task, information passed along the funnel, and a logit per task."""

    def __init__(self, config: MGOEConfig, tasks: Sequence[Task], in_features: int) -> None:
        super().__init__()
        self.hidden = StackedMLP(len(tasks), in_features, config.tower_layers, config.dropout, config.norm)
        before = find_towers_before(tasks, config.chain) if config.info else [-1] * len(tasks)
        self.info = InformationTransfer(before, self.hidden.width, config.dropout)
        self.head = StackedLinear(len(tasks), self.hidden.width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, shape (batch, tasks), for (tasks, batch, in)."""
        logits: Tensor = self.head(self.info(self.hidden(x)))
        return logits.squeeze(-1).t()
