"""One-gate mixture-of-experts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtbench import ModelCard, MultiTaskModel
from mtbench.nn import FeatureEmbedding, StackedLinear, StackedMLP, Towers, mix
from mtbench_models.mmoe import MMoE

if TYPE_CHECKING:
    from torch import Tensor

    from mtbench import Batch, DataSpec


class OMoE(MultiTaskModel):
    """Experts mixed by one gate for all tasks: the control that shows what gates per task bring to MMoE."""

    class Config(MMoE.Config):
        """Settings of OMoE, those of MMoE."""

    card = ModelCard(
        paper=MMoE.card.paper,
        equations=("h = sum over e of softmax(G x)_e f_e(x), x the embeddings", "logit_t = tower_t(h)"),
        verified=("Third-party code (MTReclib): one gate and one mixture for all tasks.",),
        inferred=(
            "General knowledge: the paper has it as a baseline.",
            "Decided here: the settings of MMoE, so that the gates are the only difference.",
        ),
    )

    def __init__(self, config: Config, data: DataSpec) -> None:
        super().__init__(config, data)
        self.embed = FeatureEmbedding(data, config.embedding_dim, dropout=config.embedding_dropout)
        self.experts = StackedMLP(config.experts, self.embed.width, config.expert_layers, config.dropout, config.norm)
        self.gate = StackedLinear(1, self.embed.width, config.experts)
        self.towers = Towers(data.num_tasks, self.experts.width, config.tower_layers, config.dropout, config.norm)

    def forward(self, batch: Batch) -> Tensor:
        """Return logits, shape (batch, tasks)."""
        x = self.embed(batch)
        logits: Tensor = self.towers(mix(self.experts(x), self.gate(x).softmax(-1)).squeeze(0))
        return logits
