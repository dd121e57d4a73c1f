"""Conversion over the entire space of impressions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import torch
from pydantic import Field, PositiveInt

from mtbench import Choice, ModelCard, MultiTaskModel
from mtbench.nn import EntireSpace, FeatureEmbedding, Towers, masked_mean
from mtbench_models.config import TowerConfig

if TYPE_CHECKING:
    from torch import Tensor

    from mtbench import Batch, DataSpec


class ESMM(MultiTaskModel):
    """Networks over shared embeddings, trained on products of probabilities at all impressions.

    Logits and predictions are conditional on the given task, as tasks with ``given`` are evaluated.
    """

    class Config(TowerConfig):
        """Settings of ESMM."""

        tower_layers: Annotated[tuple[PositiveInt, ...], Choice(((64, 32), (128, 64, 32), (256, 128, 64)))] = Field(
            (128, 64, 32), description="Layer sizes of a task's network, which stands on the embeddings."
        )

    card = ModelCard(
        paper=(
            "Ma, Zhao, Huang, Wang, Hu, Zhu, Gai: Entire Space Multi-Task Model: An Effective Approach for Estimating "
            "Post-Click Conversion Rate. SIGIR 2018."
        ),
        equations=(
            "p_t = p_given * sigmoid(tower_t(x)), p_given = 1 without a given task: p(click) p(conversion | click)",
            "loss_t = cross-entropy of p_t over all impressions",
            "the label is 1 where the whole chain of given tasks is positive, 0 from its first negative on",
        ),
        verified=(
            (
                "Third-party code (torch-rechub, the baselines of STEM): the product, the losses, none of them on the "
                "conditional probability itself, and shared embeddings."
            ),
        ),
        inferred=(
            (
                "Decided here: a task without `given` learns from its own label, so that without any this is a network "
                "for each task over shared embeddings."
            ),
            "Decided here: a number learns from the rows that count for it; it has no probability to multiply.",
        ),
        differences=("The paper's networks are 360, 200 and 80 wide (general knowledge).",),
    )

    def __init__(self, config: Config, data: DataSpec) -> None:
        super().__init__(config, data)
        self.embed = FeatureEmbedding(data, config.embedding_dim, dropout=config.embedding_dropout)
        self.towers = Towers(data.num_tasks, self.embed.width, config.tower_layers, config.dropout, config.norm)
        self.impressions = EntireSpace(data.tasks)

    def forward(self, batch: Batch) -> Tensor:
        """Return logits, shape (batch, tasks), conditional on the given task."""
        logits: Tensor = self.towers(self.embed(batch))
        return logits

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return each task's loss, shape (tasks,): cross-entropy over all impressions, or that of a number's kind."""
        labels, known = self.impressions.labels(batch)
        log_p, log_rest = self.impressions.log_probabilities(outputs.float())
        entropy = -(labels * log_p + (1 - labels) * log_rest)
        losses = masked_mean(entropy, torch.where(self.targets.probability, known, 0))
        return torch.where(self.targets.probability, losses, super().loss(outputs, batch))
