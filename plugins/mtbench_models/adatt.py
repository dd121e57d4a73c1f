"""Adaptive task-to-task fusion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from mtbench import Choice, IntRange, ModelCard, MultiTaskModel
from mtbench.nn import FeatureEmbedding, StackedLinear, StackedMLP, Towers, mix
from mtbench_models.config import TowerConfig

if TYPE_CHECKING:
    from mtbench import Batch, DataSpec


class FusionLevel(nn.Module):
    """Experts of each task; a task fuses all of them by its gate and adds a linear combination of its own."""

    def __init__(self, config: AdaTT.Config, tasks: int, in_features: int) -> None:
        super().__init__()
        self.task_experts = config.task_experts
        total = tasks * config.task_experts
        self.experts = StackedMLP(total, in_features, config.expert_layers, config.dropout, config.norm)
        self.gates = StackedLinear(tasks, in_features, total)
        bound = config.task_experts**-0.5
        self.own_weights = (
            nn.Parameter(torch.empty(tasks, config.task_experts).uniform_(-bound, bound))
            if config.task_experts > 1
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return shape (tasks, batch, width) for ``x`` of shape (batch, in) or (tasks, batch, in)."""
        common = x.dim() == 2  # noqa: PLR2004
        experts = self.experts(x if common else x.repeat_interleave(self.task_experts, 0))
        own: Tensor = experts
        if self.own_weights is not None:
            by_task = experts.reshape(*self.own_weights.shape, *experts.shape[1:])
            own = torch.einsum("te,tebd->tbd", self.own_weights, by_task)
        fused: Tensor = mix(experts, self.gates(x).softmax(-1)) + own
        return fused


class AdaTT(MultiTaskModel):
    """Levels of task-specific experts fused from task to task, with a residual from the own ones."""

    class Config(TowerConfig):
        """Settings of AdaTT-sp."""

        levels: Annotated[int, IntRange(1, 3)] = Field(2, gt=0, description="Levels of fusion, one above another.")
        task_experts: Annotated[int, IntRange(1, 4)] = Field(2, gt=0, description="Experts of each task on a level.")
        expert_layers: Annotated[tuple[PositiveInt, ...], Choice(((64, 32), (128, 64), (256, 128)))] = Field(
            (128, 64), min_length=1, description="Layer sizes of an expert."
        )

    card = ModelCard(
        paper=(
            "Li, Zhang, Yuan, Gao, Wu, Wang, Zhao, Xu, Cheng: AdaTT: Adaptive Task-to-Task Fusion Network for "
            "Multitask Learning in Recommendations. KDD 2023."
        ),
        equations=(
            "On each level, with f_je expert e of task j on that task's input x_j, the embeddings at first:",
            "x_t' = sum over j, e of softmax(G_t x_t)_je f_je(x_j) + sum over e of v_te f_te(x_t)",
            "v = 1 where a task has a single expert",
            "logit_t = tower_t(x_t) after the last level",
        ),
        verified=(
            (
                "The authors' code: the equation, the residual (called crucial there), v = 1 for a single expert, and "
                "the start of v, uniform between -1/sqrt(m) and 1/sqrt(m) for m experts of a task."
            ),
        ),
        inferred=("Decided here: sizes.",),
        differences=("This is AdaTT-sp; general AdaTT, with shared experts, is not offered.",),
    )

    def __init__(self, config: Config, data: DataSpec) -> None:
        super().__init__(config, data)
        self.embed = FeatureEmbedding(data, config.embedding_dim, dropout=config.embedding_dropout)
        width = config.expert_layers[-1]
        self.levels = nn.Sequential(
            *(
                FusionLevel(config, data.num_tasks, width if level else self.embed.width)
                for level in range(config.levels)
            )
        )
        self.towers = Towers(data.num_tasks, width, config.tower_layers, config.dropout, config.norm)

    def forward(self, batch: Batch) -> Tensor:
        """Return logits, shape (batch, tasks)."""
        logits: Tensor = self.towers(self.levels(self.embed(batch)))
        return logits
