"""Shared and task-specific embeddings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from mtbench import Choice, IntRange, ModelCard, MultiTaskModel
from mtbench.nn import FeatureEmbedding, StackedLinear, StackedMLP, Towers, mix
from mtbench_models.config import ExtractionConfig

if TYPE_CHECKING:
    from mtbench import Batch, DataSpec


class Gates(nn.Module):
    """``n`` gates over experts: hidden layers, a linear map and a softmax."""

    def __init__(self, n: int, in_features: int, experts: int, config: STEM.Config) -> None:
        super().__init__()
        self.hidden = StackedMLP(n, in_features, config.gate_layers, config.dropout, config.norm)
        self.linear = StackedLinear(n, self.hidden.width, experts)

    def forward(self, x: Tensor) -> Tensor:
        """Return weights, shape (n, batch, experts)."""
        logits: Tensor = self.linear(self.hidden(x))
        return logits.softmax(-1)


class STEMLayer(nn.Module):
    """Experts of each task and shared ones; the branches are the tasks, then the shared one.

    Every gate weighs all experts. A task's gate sees the sum of its branch and the shared one, and lets gradients
    through to its own experts and the shared ones alone. The last layer has no shared gate.
    """

    def __init__(self, config: STEM.Config, tasks: int, in_features: int, *, last: bool) -> None:
        super().__init__()
        own = tasks * config.task_experts
        total = own + config.shared_experts
        self.experts = StackedMLP(total, in_features, config.expert_layers, config.dropout, config.norm)
        self.task_gates = Gates(tasks, in_features, total, config)
        self.shared_gate = None if last else Gates(1, in_features, total, config)
        branches = torch.arange(total).div(config.task_experts, rounding_mode="floor").clamp(max=tasks)
        trains = (branches == torch.arange(tasks).unsqueeze(1)) | (branches == tasks)
        self.branches: Tensor
        self.trains: Tensor
        self.register_buffer("branches", branches, persistent=False)
        self.register_buffer("trains", trains.unsqueeze(1).float(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return shape (branches, batch, width) for (branches, batch, in); the last layer returns the tasks' alone."""
        experts = self.experts(x.index_select(0, self.branches))
        gates = self.task_gates(x[:-1] + x[-1])
        mixed = mix(experts, gates * self.trains) + mix(experts.detach(), gates * (1 - self.trains))
        if self.shared_gate is None:
            return mixed
        return torch.cat([mixed, mix(experts, self.shared_gate(x[-1:]))])


class STEM(MultiTaskModel):
    """Embeddings of each task beside shared ones, and experts that learn from their own task."""

    class Config(ExtractionConfig):
        """Settings of STEM."""

        layers: Annotated[int, IntRange(1, 3)] = Field(1, gt=0, description="Layers of experts, one above another.")
        gate_layers: Annotated[tuple[PositiveInt, ...], Choice(((), (64,), (128, 64)))] = Field(
            (), description="Hidden layer sizes of a gate."
        )

    card = ModelCard(
        paper=(
            "Su, Pan, Wang, Xiao, Quan, Chen, Jiang: STEM: Unleashing the Power of Embeddings for Multi-task "
            "Recommendation. AAAI 2024."
        ),
        equations=(
            "Every feature has T + 1 embeddings, x_1 .. x_T and x_s; expert e of task j sees x_j, a shared one x_s.",
            "x_t' = sum over e of softmax(G_t(x_t + x_s))_e sg_t(f_e), e over all experts",
            "sg_t stops the gradients of other tasks' experts: all-forward, task-specific-backward",
            "x_s' = sum over e of softmax(G_s(x_s))_e f_e, e over all experts, without a stopped gradient",
            "logit_t = tower_t(x_t) after the last layer",
        ),
        verified=(
            (
                "The authors' code: the tables, the inputs of the gates, what is detached, and that the shared gate "
                "detaches nothing."
            ),
        ),
        inferred=("Decided here: sizes; the released settings have eight shared experts and one per task, 512 wide.",),
        differences=(
            "Experts end in the activation, the released ones in a linear map.",
            "Gates are linear unless `gate_layers` says otherwise (128 and 64 there).",
            "The last layer has no shared gate, whose output nothing reads.",
            "From the other models: T + 1 times their memory of embeddings. Compare with `embedding_dim` in mind.",
        ),
    )

    def __init__(self, config: Config, data: DataSpec) -> None:
        super().__init__(config, data)
        tasks = data.num_tasks
        self.embed = FeatureEmbedding(data, config.embedding_dim, copies=tasks + 1, dropout=config.embedding_dropout)
        self.layers = nn.Sequential(
            *(
                STEMLayer(
                    config,
                    tasks,
                    config.expert_layers[-1] if layer else self.embed.width,
                    last=layer == config.layers - 1,
                )
                for layer in range(config.layers)
            )
        )
        self.towers = Towers(tasks, config.expert_layers[-1], config.tower_layers, config.dropout, config.norm)

    def forward(self, batch: Batch) -> Tensor:
        """Return logits, shape (batch, tasks)."""
        logits: Tensor = self.towers(self.layers(self.embed(batch)))
        return logits
