"""Shared bottom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, PositiveInt

from mtbench import Choice, ModelCard, MultiTaskModel
from mtbench.nn import FeatureEmbedding, StackedMLP, Towers
from mtbench_models.config import TowerConfig

if TYPE_CHECKING:
    from torch import Tensor

    from mtbench import Batch, DataSpec


class SharedBottom(MultiTaskModel):
    """One network shared by all tasks, then a tower for each task."""

    class Config(TowerConfig):
        """Settings of the shared bottom."""

        bottom_layers: Annotated[tuple[PositiveInt, ...], Choice(((64, 32), (128, 64), (256, 128)))] = Field(
            (128, 64), min_length=1, description="Layer sizes of the shared network."
        )

    card = ModelCard(
        paper="Caruana: Multitask Learning. Machine Learning 28, 1997.",
        equations=("logit_t = tower_t(f(x)), x the embeddings",),
        verified=("Third-party code (MTReclib): one network for all tasks, then a tower for each.",),
        inferred=("Decided here: sizes.",),
    )

    def __init__(self, config: Config, data: DataSpec) -> None:
        super().__init__(config, data)
        self.embed = FeatureEmbedding(data, config.embedding_dim, dropout=config.embedding_dropout)
        self.bottom = StackedMLP(1, self.embed.width, config.bottom_layers, config.dropout, config.norm)
        self.towers = Towers(data.num_tasks, self.bottom.width, config.tower_layers, config.dropout, config.norm)

    def forward(self, batch: Batch) -> Tensor:
        """Return logits, shape (batch, tasks)."""
        logits: Tensor = self.towers(self.bottom(self.embed(batch)).squeeze(0))
        return logits
