"""The Macro Graph Bottom of MGOE."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mtbench.nn import Aggregation, Dropout, NodeTable, StackedLinear, StackedMLP, macro_weights, mix

if TYPE_CHECKING:
    from mtbench_inputs.macro_graph import MacroGraphInput, MacroGraphSpec
    from mtbench_models.mgoe.config import MGOEConfig


class MacroEmbeddings(nn.Module):
    """Each task's view of the macro nodes around a user and an item, from tables of its own."""

    def __init__(self, config: MGOEConfig, spec: MacroGraphSpec, tasks: int) -> None:
        super().__init__()
        dim, attention = config.embedding_dim, config.attention == "neighbors"
        self.temperature = config.temperature
        self.users = NodeTable(tasks, spec.user_clusters, dim)
        self.items = NodeTable(tasks, spec.item_clusters, dim)
        self.of_users = Aggregation(tasks, dim, dim, attention=attention)
        self.of_items = Aggregation(tasks, dim, dim, attention=attention)
        self.dropout = Dropout(config.embedding_dropout)
        self.width = 6 * dim

    def forward(self, graph: MacroGraphInput) -> Tensor:
        """Return (tasks, batch, width): the macro nodes of user and item, and the sums over their four hops."""
        user, item = self.users(graph.user_macro), self.items(graph.item_macro)
        parts = [user, item]
        for nodes, aggregation, target, hops in (
            (self.users, self.of_users, user, (graph.user_hop2, graph.item_hop1)),
            (self.items, self.of_items, item, (graph.user_hop1, graph.item_hop2)),
        ):
            parts += [aggregation(nodes, macro_weights(counts, self.temperature), target) for counts in hops]
        around: Tensor = self.dropout(torch.cat(parts, -1))
        return around

    def of_tasks(self, numbers: Tensor) -> Tensor:
        """Return (tasks, batch, dim): the item macro nodes of the Macro Task Table, (batch, tasks)."""
        nodes: Tensor = self.dropout(self.items(numbers))
        return nodes


class MacroGraphBottom(nn.Module):
    """One Macro Graph Expert per task, and gates from every task to every expert.

    ``features`` and ``macro`` are widths; an expert has no macro nodes where ``macro`` is 0.
    """

    def __init__(self, config: MGOEConfig, tasks: int, features: int, macro: int) -> None:
        super().__init__()
        self.experts = StackedMLP(tasks, features + macro, config.expert_layers, config.dropout, config.norm)
        self.gates = StackedLinear(tasks, features, tasks) if config.gates else None
        self.detach_gates = config.detach_gates
        self.width = self.experts.width
        self.gated: Tensor | None = None

    def forward(self, x: Tensor, macro: Tensor | None) -> Tensor:
        """Return (tasks, batch, width) for features (batch, features) and macro nodes (tasks, batch, macro), if any."""
        experts: Tensor = self.experts(x if macro is None else torch.cat([x.expand(len(macro), -1, -1), macro], -1))
        if self.gates is None:
            return experts
        gates = self.gates(x.detach() if self.detach_gates else x).softmax(-1)
        self.gated = gates.detach()
        return mix(experts, gates)
