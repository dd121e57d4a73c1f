"""LightGCN with multi-task towers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from mtbench import Component, FloatRange, IntRange, ModelCard, MultiTaskModel
from mtbench.nn import FeatureEmbedding, Towers
from mtbench_models.config import TowerConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mtbench import Batch, DataSpec, Schema

INPUT = "full-graph"


class LightGCN(MultiTaskModel):
    """Embeddings propagated over the graph of training positives, with a tower per task."""

    class Config(TowerConfig):
        """Settings of LightGCN."""

        layers: Annotated[int, IntRange(1, 4)] = Field(2, gt=0, description="Steps of propagation.")
        width: Annotated[int, IntRange(8, 128, log=True)] = Field(
            16, gt=0, description="Width of the vectors of users and items."
        )
        penalty: Annotated[float, FloatRange(1e-4, 1.0, log=True)] = Field(
            0.1, ge=0, description="Weight of the L2 penalty on the embeddings of a batch's users and items."
        )

    config: Config
    card = ModelCard(
        paper=(
            "He, Deng, Wang, Li, Zhang, Wang: LightGCN: Simplifying and Powering Graph Convolution Network for "
            "Recommendation. SIGIR 2020."
        ),
        equations=(
            "E_k+1 = D^-1/2 A D^-1/2 E_k, A the training positives of each pair of user and item, over all tasks",
            "E = mean of E_0 to E_K, with rows u and i for the row's user and item",
            "logit_t = tower_t([x, u, i, u * i]), x the embedded features",
            "loss_t = cross-entropy_t + penalty * mean of |E_0[user]^2 + E_0[item]^2| / 2T",
        ),
        verified=("Third-party code: propagation, the mean of layers, a penalty on the batch's rows of E_0 alone.",),
        inferred=("Decided here: one graph of all tasks; sizes.",),
        differences=(
            "Cross-entropy for the BPR loss, towers for the inner product: tasks are judged by labels of impressions.",
            (
                "Transductive: training rows see later ones, though never their own edges, and none sees validation or "
                "test rows. Users and items without training positives have a share of their first embedding alone."
            ),
        ),
    )

    STD = 0.1

    def __init__(self, config: Config, data: DataSpec) -> None:
        super().__init__(config, data)
        spec = data.inputs[INPUT]
        self.embed = FeatureEmbedding(data, config.embedding_dim, dropout=config.embedding_dropout)
        self.users = nn.Parameter(torch.empty(spec.users, config.width).normal_(std=self.STD))
        self.items = nn.Parameter(torch.empty(spec.items, config.width).normal_(std=self.STD))
        width = self.embed.width + 3 * config.width
        self.towers = Towers(data.num_tasks, width, config.tower_layers, config.dropout, config.norm)

    @classmethod
    def inputs(cls, config: Config, schema: Schema) -> Sequence[Component]:  # type: ignore[override]  # noqa: ARG003
        """Return the training graph."""
        return (Component(name=INPUT),)

    def forward(self, batch: Batch) -> Tensor:
        """Return logits, shape (batch, tasks)."""
        rows = batch.inputs[INPUT]
        graph = self.data.inputs[INPUT].graph
        users, items = graph.propagate(self.users, self.items, rows, self.config.layers)
        user, item = users[rows.users], items[rows.items]
        logits: Tensor = self.towers(torch.cat([self.embed(batch), user, item, user * item], -1))
        return logits

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return each task's loss, shape (tasks,), with an equal share of the penalty in each."""
        rows = batch.inputs[INPUT]
        squares = self.users[rows.users].square().sum(1) + self.items[rows.items].square().sum(1)
        penalty: Tensor = self.config.penalty * squares.sum() / (2 * max(len(batch), 1))
        return super().loss(outputs, batch) + penalty / self.data.num_tasks
