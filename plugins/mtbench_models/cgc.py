"""Customised gate control."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtbench import ModelCard, MultiTaskModel
from mtbench.nn import FeatureEmbedding, Towers
from mtbench_models.config import ExtractionConfig
from mtbench_models.ple import PLE, ExtractionLevel

if TYPE_CHECKING:
    from torch import Tensor

    from mtbench import Batch, DataSpec


class CGC(MultiTaskModel):
    """Experts of each task and shared ones, mixed by a gate per task: one level of PLE."""

    class Config(ExtractionConfig):
        """Settings of CGC."""

    card = ModelCard(
        paper=PLE.card.paper,
        equations=(
            "h_t = sum over e of softmax(G_t x)_e f_e(x), e over the experts of task t and the shared ones",
            "logit_t = tower_t(h_t)",
        ),
        verified=("Third-party code (the baselines of AdaTT, torch-rechub, MTReclib), as for PLE.",),
        inferred=("Decided here: sizes.",),
        differences=PLE.card.differences,
    )

    def __init__(self, config: Config, data: DataSpec) -> None:
        super().__init__(config, data)
        self.embed = FeatureEmbedding(data, config.embedding_dim, dropout=config.embedding_dropout)
        self.level = ExtractionLevel(config, data.num_tasks, self.embed.width, last=True)
        self.towers = Towers(data.num_tasks, config.expert_layers[-1], config.tower_layers, config.dropout, config.norm)

    def forward(self, batch: Batch) -> Tensor:
        """Return logits, shape (batch, tasks)."""
        logits: Tensor = self.towers(self.level(self.embed(batch)))
        return logits
