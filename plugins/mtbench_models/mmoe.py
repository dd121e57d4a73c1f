"""Multi-gate mixture-of-experts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field, PositiveInt

from mtbench import Choice, IntRange, ModelCard, MultiTaskModel
from mtbench.nn import FeatureEmbedding, StackedLinear, StackedMLP, Towers, mix
from mtbench_models.config import TowerConfig

if TYPE_CHECKING:
    from torch import Tensor

    from mtbench import Batch, DataSpec


class MMoE(MultiTaskModel):
    """Experts shared by all tasks, mixed for each task by a softmax gate of its own."""

    class Config(TowerConfig):
        """Settings of MMoE."""

        experts: Annotated[int, IntRange(2, 16)] = Field(8, gt=0, description="Experts shared by all tasks.")
        expert_layers: Annotated[tuple[PositiveInt, ...], Choice(((64, 32), (128, 64), (256, 128)))] = Field(
            (128, 64), min_length=1, description="Layer sizes of an expert."
        )

    card: ClassVar[ModelCard] = ModelCard(
        paper=(
            "Ma, Zhao, Yi, Chen, Hong, Chi: Modeling Task Relationships in Multi-task Learning with Multi-gate "
            "Mixture-of-Experts. KDD 2018."
        ),
        equations=("h_t = sum over e of softmax(G_t x)_e f_e(x), x the embeddings", "logit_t = tower_t(h_t)"),
        verified=("Third-party code (MTReclib, the baselines of AdaTT): experts, gates, towers.",),
        inferred=("Decided here: sizes.",),
        differences=(
            (
                "Gate entries are not dropped in training, as later work does lest gates settle on one expert (general "
                "knowledge)."
            ),
        ),
    )

    def __init__(self, config: Config, data: DataSpec) -> None:
        super().__init__(config, data)
        self.embed = FeatureEmbedding(data, config.embedding_dim, dropout=config.embedding_dropout)
        self.experts = StackedMLP(config.experts, self.embed.width, config.expert_layers, config.dropout, config.norm)
        self.gates = StackedLinear(data.num_tasks, self.embed.width, config.experts)
        self.towers = Towers(data.num_tasks, self.experts.width, config.tower_layers, config.dropout, config.norm)

    def forward(self, batch: Batch) -> Tensor:
        """Return logits, shape (batch, tasks)."""
        x = self.embed(batch)
        logits: Tensor = self.towers(mix(self.experts(x), self.gates(x).softmax(-1)))
        return logits
