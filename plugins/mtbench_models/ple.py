"""Progressive layered extraction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from mtbench import IntRange, ModelCard, MultiTaskModel
from mtbench.nn import FeatureEmbedding, StackedLinear, StackedMLP, Towers, mix, mix_own
from mtbench_models.config import ExtractionConfig

if TYPE_CHECKING:
    from mtbench import Batch, DataSpec


class ExtractionLevel(nn.Module):
    """Experts of each task and shared ones, mixed per branch; the branches are the tasks, then the shared one.

    The experts stand in the order of the branches. A task's gate weighs its own experts and the shared ones, the shared
    gate weighs all. Every gate and expert sees the input of its own branch. The last level has no shared gate, for
    nothing would read its output.
    """

    def __init__(self, config: ExtractionConfig, tasks: int, in_features: int, *, last: bool) -> None:
        super().__init__()
        self.tasks = tasks
        self.task_experts = config.task_experts
        self.own = tasks * config.task_experts
        total = self.own + config.shared_experts
        self.experts = StackedMLP(total, in_features, config.expert_layers, config.dropout, config.norm)
        self.task_gates = StackedLinear(tasks, in_features, config.task_experts + config.shared_experts)
        self.shared_gate = None if last else StackedLinear(1, in_features, total)
        self.branches: Tensor
        branches = torch.arange(total).div(config.task_experts, rounding_mode="floor").clamp(max=tasks)
        self.register_buffer("branches", branches, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return shape (branches, batch, width); the last level returns the tasks' branches alone.

        ``x`` is (branches, batch, in), or (batch, in) where the branches have the same input.
        """
        common = x.dim() == 2  # noqa: PLR2004
        experts = self.experts(x if common else x.index_select(0, self.branches))
        own, shared = experts.tensor_split([self.own])
        gates = self.task_gates(x if common else x[: self.tasks]).softmax(-1)
        own_gates, shared_gates = gates.tensor_split([self.task_experts], -1)
        mixed = mix_own(own, own_gates) + mix(shared, shared_gates)
        if self.shared_gate is None:
            return mixed
        gate = self.shared_gate(x if common else x[self.tasks :]).softmax(-1)
        return torch.cat([mixed, mix(experts, gate)])


class PLE(MultiTaskModel):
    """Levels of task-specific and shared experts with gates between them."""

    class Config(ExtractionConfig):
        """Settings of PLE."""

        levels: Annotated[int, IntRange(1, 3)] = Field(2, gt=0, description="Levels of experts, one above another.")

    card: ClassVar[ModelCard] = ModelCard(
        paper=(
            "Tang, Liu, Zhao, Gong: Progressive Layered Extraction (PLE): A Novel Multi-Task Learning (MTL) Model for "
            "Personalized Recommendations. RecSys 2020."
        ),
        equations=(
            "On each level, with x_t the branch of task t and x_s the shared one, the embeddings at first:",
            "x_t' = sum over e of softmax(G_t x_t)_e f_e, e over the task's experts f_e(x_t) and the shared f_e(x_s)",
            "x_s' = sum over e of softmax(G_s x_s)_e f_e, e over all experts",
            "logit_t = tower_t(x_t) after the last level",
        ),
        verified=(
            (
                "Third-party code (the baselines of AdaTT, torch-rechub, MTReclib): a task's gate weighs its own and "
                "the shared experts, the shared gate weighs all, each gate sees the input of its branch, and the last "
                "level has no shared gate."
            ),
        ),
        inferred=(
            "General knowledge: no gradient is stopped.",
            (
                "Decided here: sizes. With two tasks a level has eight experts, as many as MMoE has in all; each "
                "further task adds `task_experts` to every level."
            ),
        ),
        differences=(
            (
                "Without the paper's sample spaces per task, which the mask of labels takes the place of, and without "
                "its decaying loss weights (general knowledge)."
            ),
        ),
    )

    def __init__(self, config: Config, data: DataSpec) -> None:
        super().__init__(config, data)
        self.embed = FeatureEmbedding(data, config.embedding_dim, dropout=config.embedding_dropout)
        self.levels = nn.Sequential(
            *(
                ExtractionLevel(
                    config,
                    data.num_tasks,
                    config.expert_layers[-1] if level else self.embed.width,
                    last=level == config.levels - 1,
                )
                for level in range(config.levels)
            )
        )
        self.towers = Towers(data.num_tasks, config.expert_layers[-1], config.tower_layers, config.dropout, config.norm)

    def forward(self, batch: Batch) -> Tensor:
        """Return logits, shape (batch, tasks)."""
        logits: Tensor = self.towers(self.levels(self.embed(batch)))
        return logits
