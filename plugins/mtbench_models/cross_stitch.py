"""Cross-stitch networks."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Annotated

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from mtbench import Choice, FloatRange, ModelCard, MultiTaskModel
from mtbench.nn import FeatureEmbedding, StackedMLP, Towers
from mtbench_models.config import TowerConfig

if TYPE_CHECKING:
    from mtbench import Batch, DataSpec


class CrossStitch(MultiTaskModel):
    """A network per task, whose layers exchange their outputs by learned weights.

    The weights start near the identity: as random as those of other layers, they would mix the tasks before these have
    learnt.
    """

    class Config(TowerConfig):
        """Settings of cross-stitch networks."""

        stitched_layers: Annotated[tuple[PositiveInt, ...], Choice(((64, 32), (128, 64), (256, 128)))] = Field(
            (128, 64), min_length=1, description="Layer sizes of a task's network below its tower; each is stitched."
        )
        own_weight: Annotated[float, FloatRange(0.5, 1.0)] = Field(
            0.9, ge=0, le=1, description="Weight of a task's own output at the start."
        )

    card = ModelCard(
        paper="Misra, Shrivastava, Gupta, Hebert: Cross-Stitch Networks for Multi-task Learning. CVPR 2016.",
        equations=(
            "x_t' = sum over j of a_tj f_j(x_j) on each layer, each with a matrix a of its own",
            "at the start a_tt = own_weight, a_tj = (1 - own_weight) / (T - 1)",
            "logit_t = tower_t(x_t) after the last layer",
        ),
        verified=("Third-party code (the baselines of AdaTT): the equation, a matrix for each layer.",),
        inferred=(
            "General knowledge: the start at 0.9 and 0.1 for two tasks; third-party code starts at random.",
            "Decided here: sizes, and equal shares at the start for more than two tasks.",
        ),
        differences=(
            (
                "The networks stand on shared embeddings and start anew; the paper's were trained on one task each "
                "(general knowledge)."
            ),
            "One weight for a layer's whole output, where the paper has one for each channel (general knowledge).",
        ),
    )

    def __init__(self, config: Config, data: DataSpec) -> None:
        super().__init__(config, data)
        tasks = data.num_tasks
        self.embed = FeatureEmbedding(data, config.embedding_dim, dropout=config.embedding_dropout)
        sizes = (self.embed.width, *config.stitched_layers)
        self.layers = nn.ModuleList(StackedMLP(tasks, a, (b,), config.dropout, config.norm) for a, b in pairwise(sizes))
        share = (1 - config.own_weight) / max(tasks - 1, 1)
        start = torch.full((tasks, tasks), share).fill_diagonal_(config.own_weight if tasks > 1 else 1)
        self.stitches = nn.ParameterList(start.clone() for _ in self.layers)
        self.towers = Towers(tasks, sizes[-1], config.tower_layers, config.dropout, config.norm)

    def forward(self, batch: Batch) -> Tensor:
        """Return logits, shape (batch, tasks)."""
        x = self.embed(batch)
        for layer, stitch in zip(self.layers, self.stitches, strict=True):
            x = torch.einsum("tj,jbd->tbd", stitch, layer(x))
        logits: Tensor = self.towers(x)
        return logits
