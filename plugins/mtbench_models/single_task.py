"""One network per task: what negative transfer is measured against."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, PositiveInt

from mtbench import Choice, ModelCard, MultiTaskModel
from mtbench.nn import FeatureEmbedding, StackedMLP, Towers
from mtbench_models.config import TowerConfig

if TYPE_CHECKING:
    from torch import Tensor

    from mtbench import Batch, DataSpec


class SingleTask(MultiTaskModel):
    """A network with embeddings of its own for each task; the tasks share nothing."""

    class Config(TowerConfig):
        """Settings of the single-task networks."""

        bottom_layers: Annotated[tuple[PositiveInt, ...], Choice(((64, 32), (128, 64), (256, 128)))] = Field(
            (128, 64), min_length=1, description="Layer sizes of the lower part of a network."
        )

    card = ModelCard(
        equations=("logit_t = tower_t(f_t(x_t)), x_t the embeddings of task t",),
        verified=("Third-party code (MTReclib): a network and embeddings of its own for each task.",),
        inferred=("Decided here: each network has the layers of the shared bottom with one tower.",),
        differences=("From the other models: about as many times the parameters as there are tasks.",),
    )

    def __init__(self, config: Config, data: DataSpec) -> None:
        super().__init__(config, data)
        self.embed = FeatureEmbedding(
            data, config.embedding_dim, copies=data.num_tasks, dropout=config.embedding_dropout
        )
        self.bottom = StackedMLP(data.num_tasks, self.embed.width, config.bottom_layers, config.dropout, config.norm)
        self.towers = Towers(data.num_tasks, self.bottom.width, config.tower_layers, config.dropout, config.norm)

    def forward(self, batch: Batch) -> Tensor:
        """Return logits, shape (batch, tasks)."""
        logits: Tensor = self.towers(self.bottom(self.embed(batch)))
        return logits
