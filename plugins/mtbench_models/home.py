"""Hierarchy of multi-gate experts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from mtbench import Choice, IntRange, ModelCard, MTBenchError, MultiTaskModel, suggest
from mtbench.nn import FeatureEmbedding, StackedLinear, StackedMLP, Towers, mix, mix_own
from mtbench_models.config import ExtractionConfig

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mtbench import Batch, DataSpec, Task


class Experts(nn.Module):
    """``n`` experts, Swish(BatchNorm(linear)) per layer, each of which sees its input through a feature gate.

    The gate of low rank, 2 sigmoid(A B x) * x, lets every expert choose its features: those of rare tasks then get
    gradients that the shared ones' do not drown.
    """

    def __init__(self, n: int, in_features: int, config: HoME.Config) -> None:
        super().__init__()
        self.down = StackedLinear(n, in_features, config.gate_rank, bias=False)
        self.up = StackedLinear(n, config.gate_rank, in_features, bias=False)
        self.networks = StackedMLP(
            n, in_features, config.expert_layers, config.dropout, norm="batch", activation="swish"
        )

    def gate(self, x: Tensor) -> Tensor:
        """Return the input of each expert, shape (n, batch, in), for (batch, in) or (n, batch, in)."""
        gates: Tensor = 2 * self.up(self.down(x)).sigmoid()
        return gates * x

    def forward(self, x: Tensor) -> Tensor:
        """Return shape (n, batch, width) for ``x`` of shape (batch, in) or (n, batch, in)."""
        outputs: Tensor = self.networks(self.gate(x))
        return outputs


def self_gate(logits: Tensor) -> Tensor:
    """Return a softmax over the last axis, or a sigmoid where it has one entry: the weight may then be below one."""
    return logits.softmax(-1) if logits.shape[-1] > 1 else logits.sigmoid()


class MetaLevel(nn.Module):
    """Experts of each category and shared ones, mixed per category and, over all of them, for the shared branch.

    To each mixture the branch's own experts are added once more, weighed by its self-gate.
    """

    def __init__(self, config: HoME.Config, categories: int, in_features: int) -> None:
        super().__init__()
        m, shared = config.category_experts, config.shared_experts
        self.own = categories * m
        self.m = m
        self.experts = Experts(self.own + shared, in_features, config)
        self.gates = StackedLinear(categories, in_features, m + shared)
        self.shared_gate = StackedLinear(1, in_features, self.own + shared)
        self.self_gates = StackedLinear(categories, in_features, m)
        self.shared_self_gate = StackedLinear(1, in_features, shared)

    def forward(self, x: Tensor) -> Tensor:
        """Return shape (categories + 1, batch, width), the shared branch last, for ``x`` of shape (batch, in)."""
        experts = self.experts(x)
        own, shared = experts.tensor_split([self.own])
        of_own, of_shared = self.gates(x).softmax(-1).tensor_split([self.m], -1)
        mixed = mix_own(own, of_own + self_gate(self.self_gates(x))) + mix(shared, of_shared)
        common = mix(experts, self.shared_gate(x).softmax(-1)) + mix(shared, self_gate(self.shared_self_gate(x)))
        return torch.cat([mixed, common])


class TaskLevel(nn.Module):
    """Experts of each task, of each category and shared ones; a task sees its own, its category's and the shared.

    Those of tasks and categories see their category's branch beside the shared one, the shared ones the latter alone.
    To each mixture a task's own experts are added once more, weighed by its self-gate.
    """

    def __init__(self, config: HoME.Config, category: Sequence[int], in_features: int) -> None:
        super().__init__()
        tasks, categories = len(category), max(category) + 1
        self.sizes = (config.task_experts, config.category_experts, config.shared_experts)
        self.own = tasks * config.task_experts
        sees = [task for task in category for _ in range(config.task_experts)]
        sees += [number for number in range(categories) for _ in range(config.category_experts)]
        self.experts = Experts(len(sees), 2 * in_features, config)
        self.shared_experts = Experts(config.shared_experts, in_features, config)
        self.gates = StackedLinear(tasks, 2 * in_features, sum(self.sizes))
        self.self_gates = StackedLinear(tasks, 2 * in_features, config.task_experts)
        self.category: Tensor
        self.sees: Tensor
        self.register_buffer("category", torch.tensor(category), persistent=False)
        self.register_buffer("sees", torch.tensor(sees), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return shape (tasks, batch, width) for the branches (categories + 1, batch, in)."""
        pairs = torch.cat([x[:-1], x[-1:].expand(len(x) - 1, -1, -1)], -1)
        own, of_categories = self.experts(pairs.index_select(0, self.sees)).tensor_split([self.own])
        of_category = (
            of_categories.reshape(-1, self.sizes[1], *own.shape[1:]).index_select(0, self.category).flatten(0, 1)
        )
        inputs = pairs.index_select(0, self.category)
        gates = self.gates(inputs).softmax(-1).split(self.sizes, -1)
        mixed = mix_own(own, gates[0] + self_gate(self.self_gates(inputs))) + mix_own(of_category, gates[1])
        return mixed + mix(self.shared_experts(x[-1]), gates[2])


class HoME(MultiTaskModel):
    """Experts of categories of tasks below experts of tasks, with normalised outputs."""

    class Config(ExtractionConfig):
        """Settings of HoME; shared experts stand on either level."""

        category_experts: Annotated[int, IntRange(1, 4)] = Field(
            2, gt=0, description="Experts of each category on either level."
        )
        gate_rank: Annotated[int, IntRange(4, 32, log=True)] = Field(16, gt=0, description="Rank of a feature gate.")
        categories: Annotated[Literal["funnel", "one"] | tuple[tuple[str, ...], ...], Choice(("funnel", "one"))] = (
            Field(
                "funnel",
                description="Lists of the tasks that belong together. 'funnel': tasks that are given one another, and "
                "the other tasks together; 'one': all tasks together.",
            )
        )

    card = ModelCard(
        paper=(
            "Wang, Cao, Fu, Gai, Zhou: HoME: Hierarchy of Multi-Gate Experts for Multi-Task Learning at Kuaishou. KDD "
            "2025."
        ),
        equations=(
            "f_e(x) = Swish(BatchNorm(W(g * x))), with a feature gate g = 2 sigmoid(A B x) of low rank",
            "self_b(x) = sum over b's own e of s(S_b x)_e f_e(x), s a softmax, a sigmoid for a single e",
            "Meta level, x the embeddings, c a category of tasks:",
            "  z_c = sum over e of softmax(G_c x)_e f_e(x) + self_c(x), e over its own and the shared experts",
            "  z_s = sum over e of softmax(G_s x)_e f_e(x) + self_s(x), e over all experts",
            "Task level, c the category of task t, y = [z_c, z_s]:",
            "  h_t = sum over e of softmax(G_t y)_e f_e + self_t(y), e over its own, its category's and the shared",
            "logit_t = tower_t(h_t)",
        ),
        verified=("The abstract: normalised Swish experts, the hierarchy, feature gates and self-gates.",),
        inferred=(
            "From third-party code: the rank of feature gates, self-gates as a sum, the inputs of the task level.",
            (
                "Decided here: linear gates; the shared experts of the task level see z_s alone; those of the meta "
                "level have a self-gate."
            ),
            "Decided here: the categories (setting `categories`), which the authors name by hand.",
        ),
    )

    def __init__(self, config: Config, data: DataSpec) -> None:
        super().__init__(config, data)
        category = _number_categories(data.tasks, config.categories)
        width = config.expert_layers[-1]
        self.embed = FeatureEmbedding(data, config.embedding_dim, dropout=config.embedding_dropout)
        self.meta = MetaLevel(config, max(category) + 1, self.embed.width)
        self.level = TaskLevel(config, category, width)
        self.towers = Towers(data.num_tasks, width, config.tower_layers, config.dropout, config.norm)

    def forward(self, batch: Batch) -> Tensor:
        """Return logits, shape (batch, tasks)."""
        logits: Tensor = self.towers(self.level(self.meta(self.embed(batch))))
        return logits


def _number_categories(tasks: Sequence[Task], setting: Literal["funnel", "one"] | Sequence[Sequence[str]]) -> list[int]:
    """Return the number of each task's category. Raises MTBenchError unless every task is in one listed category."""
    if setting == "one":
        return [0] * len(tasks)
    given = {task.name: task.given for task in tasks}
    if setting == "funnel":
        firsts = [_find_first(task.name, given) for task in tasks]
        keys = [first if firsts.count(first) > 1 else None for first in firsts]
        return [list(dict.fromkeys(keys)).index(key) for key in keys]
    listed = [name for category in setting for name in category]
    for name in listed:
        if name not in given:
            hint = suggest(name, given) or f" (tasks: {', '.join(given)})"
            raise MTBenchError(f"model 'home': 'categories' names '{name}', which is no task{hint}")
    for task in tasks:
        if listed.count(task.name) != 1:
            place = "is in none" if task.name not in listed else "is there more than once"
            raise MTBenchError(f"model 'home': task '{task.name}' {place} of the 'categories'; list each task once")
    filled = [category for category in setting if category]
    return [next(i for i, category in enumerate(filled) if task.name in category) for task in tasks]


def _find_first(name: str, given: Mapping[str, str | None]) -> str:
    """Return the task that the chain of a task's given tasks starts with."""
    before = given[name]
    return name if before is None else _find_first(before, given)
