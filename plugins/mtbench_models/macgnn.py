"""Macro graph neural network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn import functional

from mtbench import Choice, Component, FloatRange, IntRange, ModelCard, MultiTaskModel
from mtbench.nn import Aggregation, Dropout, FeatureEmbedding, NodeTable, Towers, macro_weights, masked_softmax
from mtbench_models.config import TowerConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mtbench import Batch, DataSpec, Schema

INPUT = "macro-graph"


class Neighbours(nn.Module):
    """Neighbours of one kind, users or items: embeddings of micro and macro nodes, and their projections."""

    def __init__(self, config: MacGNN.Config, nodes: int, clusters: int) -> None:
        super().__init__()
        dim = config.embedding_dim
        self.temperature = config.temperature
        self.micro = NodeTable(1, nodes, dim)
        self.dropout = Dropout(config.embedding_dropout)
        self.macro = NodeTable(1, clusters, dim)
        self.aggregation = Aggregation(1, dim, 2 * dim, attention=config.attention == "neighbors")

    def embed(self, numbers: Tensor) -> Tensor:
        """Return (1, batch, dim) for micro nodes (batch,)."""
        out: Tensor = self.dropout(self.micro(numbers))
        return out

    def hop(self, counts: Tensor, target: Tensor) -> Tensor:
        """Return (1, batch, 2 dim) for edges to macro nodes (batch, clusters) and the target's embedding."""
        out: Tensor = self.aggregation(self.macro, macro_weights(counts, self.temperature), target)
        return out

    def recent(self, numbers: Tensor, mask: Tensor, target: Tensor) -> Tensor:
        """Return (1, batch, 2 dim) for micro nodes (batch, L), of which the mask leaves some."""
        nodes = self.dropout(self.micro.table[0][numbers])
        values = functional.linear(nodes, self.aggregation.values.weight[0])
        weights = mask
        if self.aggregation.queries is not None and self.aggregation.keys is not None:
            queries = functional.linear(nodes, self.aggregation.queries.weight[0])
            logits = (queries @ self.aggregation.keys(target)[0].unsqueeze(-1)).squeeze(-1)
            weights = masked_softmax(logits * values.shape[-1] ** -0.5, mask)
        return (weights.to(values.dtype).unsqueeze(1) @ values).transpose(0, 1)


class MacGNN(MultiTaskModel):
    """Aggregates macro nodes around user and item, with a tower per task.

    The target of neighbours that are items is the row's item, that of users the row's user.
    """

    class Config(TowerConfig):
        """Settings of MacGNN."""

        user_clusters: Annotated[int, IntRange(5, 100, log=True)] = Field(20, gt=0, description="Macro nodes of users.")
        item_clusters: Annotated[int, IntRange(5, 100, log=True)] = Field(20, gt=0, description="Macro nodes of items.")
        neighbors: int = Field(20, gt=0, description="Latest neighbours of the user and of the item.")
        graph: dict[str, Any] = Field(
            default_factory=dict, description="Further settings of the input macro-graph, such as {tasks: [click]}."
        )
        temperature: Annotated[float, FloatRange(0.3, 2.0, log=True)] = Field(
            1.0, gt=0, description="tau: lower values let the strongest edges stand out."
        )
        attention: Literal["released", "neighbors"] = Field(
            "neighbors", description="As in the released code, where it is 1 throughout, or over the neighbours."
        )
        tower_layers: Annotated[tuple[PositiveInt, ...], Choice(((64, 32), (128, 64), (200, 80)))] = Field(
            (200, 80), description="Layer sizes of a task's tower; the paper's are 200 and 80."
        )

    config: Config
    card = ModelCard(
        paper=(
            "Chen, Bei, Shen, Xu, Zhou, Huang, Huang, Wang, Huang: Macro Graph Neural Networks for Online "
            "Billion-Scale Recommender Systems. WWW 2024."
        ),
        equations=(
            "For embeddings e of width d; V, Q, K from d to 2d, one set for items and one for users:",
            "w_k = softmax over k of log(n_k + 1) / tau, over all macro nodes, n_k = 0 included",
            "a_k = softmax over k of <Q e_k, K e_target> / sqrt(2d), or 1 with `attention` released",
            "hop = sum over k of w_k a_k V e_k, for the user's and the item's hops 1 and 2",
            "recent = sum over k of a_k V e_k, over the latest neighbours of each",
            "z = [e_u, u1, u2, u_recent, e_i, i1, i2, i_recent]",
            "logit_t = tower_t([x, z]), x the embeddings of the features",
        ),
        verified=(
            (
                "The authors' code: the equations with `attention` released and one task, 20 latest neighbours of "
                "each, layers of 200 and 80, tau from 0.6 to 1.9 by dataset."
            ),
            (
                "The authors' code: the softmax of its attention runs over an axis of size one, so that every score is "
                "1 and Q and K are never trained."
            ),
        ),
        inferred=(
            (
                "Decided here: `attention` neighbors, a softmax over the neighbours, is the evident intent, and the "
                "scale of its logits."
            ),
        ),
        differences=(
            "Towers are ReLU networks, one for each task, where the paper has a single task and Dice.",
            "The dataset's features stand beside z.",
            (
                "Edges are merged over all binary tasks unless `graph` names some, and are weighed as if all training "
                "rows had been seen unless it asks for raw counts, which the authors' code has."
            ),
            (
                "Users and items are both clustered by behaviour; the authors' code takes the first genre of an item "
                "and clusters users by genres."
            ),
            "Embeddings of single users and items have dropout, without which they are learned by heart.",
            "Rows of users and items without a history are kept; the authors' code drops them.",
        ),
    )

    def __init__(self, config: Config, data: DataSpec) -> None:
        super().__init__(config, data)
        spec, dim = data.inputs[INPUT], config.embedding_dim
        self.embed = FeatureEmbedding(data, dim, dropout=config.embedding_dropout)
        self.users = Neighbours(config, spec.users, spec.user_clusters)
        self.items = Neighbours(config, spec.items, spec.item_clusters)
        width = self.embed.width + 14 * dim
        self.towers = Towers(data.num_tasks, width, config.tower_layers, config.dropout, config.norm)

    @classmethod
    def inputs(cls, config: Config, schema: Schema) -> Sequence[Component]:  # type: ignore[override]  # noqa: ARG003
        """Return the macro graph of a single kind of edge."""
        settings = config.model_dump(include={"user_clusters", "item_clusters", "neighbors"})
        return (Component(name=INPUT, **({"scores": "binary"} | settings | config.graph)),)

    def forward(self, batch: Batch) -> Tensor:
        """Return logits, shape (batch, tasks)."""
        graph = batch.inputs[INPUT]
        user, item = self.users.embed(graph.user), self.items.embed(graph.item)
        parts = (
            user,
            self.items.hop(graph.user_hop1, item),
            self.users.hop(graph.user_hop2, user),
            self.items.recent(graph.items, graph.item_mask, item),
            item,
            self.users.hop(graph.item_hop1, user),
            self.items.hop(graph.item_hop2, item),
            self.users.recent(graph.users, graph.user_mask, user),
        )
        logits: Tensor = self.towers(torch.cat([self.embed(batch), *(part[0] for part in parts)], -1))
        return logits
