"""Shared bottom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field, PositiveInt

from mtbench.model import ModelConfig, MultiTaskModel
from mtbench.nn import FeatureEmbedding, StackedMLP, Towers
from mtbench.schema import Choice, FloatRange

if TYPE_CHECKING:
    from torch import Tensor

    from mtbench.data.batches import Batch
    from mtbench.schema import DataSpec


class SharedBottom(MultiTaskModel):
    """One network shared by all tasks, then a tower for each task (Caruana, Machine Learning 1997)."""

    class Config(ModelConfig):
        """Settings of the shared bottom."""

        bottom_layers: Annotated[tuple[PositiveInt, ...], Choice(((64, 32), (128, 64), (256, 128)))] = Field(
            (128, 64), min_length=1, description="Layer sizes of the shared network."
        )
        tower_layers: Annotated[tuple[PositiveInt, ...], Choice(((32,), (64, 32), (128, 64)))] = Field(
            (64, 32), description="Layer sizes of a task's tower."
        )
        dropout: Annotated[float, FloatRange(0.0, 0.5)] = Field(
            0.2, ge=0, lt=1, description="Dropout after every hidden layer."
        )

    paper: ClassVar[str] = "Caruana: Multitask Learning. Machine Learning 28, 1997."

    def __init__(self, config: Config, data: DataSpec) -> None:
        super().__init__(config, data)
        self.embed = FeatureEmbedding(data, config.embedding_dim)
        self.bottom = StackedMLP(1, self.embed.width, config.bottom_layers, config.dropout)
        self.towers = Towers(data.num_tasks, self.bottom.width, config.tower_layers, config.dropout)

    def forward(self, batch: Batch) -> Tensor:
        """Return logits, shape (batch, tasks)."""
        logits: Tensor = self.towers(self.bottom(self.embed(batch)).squeeze(0))
        return logits
