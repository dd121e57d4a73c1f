"""Embeddings and networks personalised by prior information."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Annotated

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from mtbench import Choice, FloatRange, IntRange, ModelCard, MTBenchError, MultiTaskModel, suggest
from mtbench.nn import FeatureEmbedding, StackedLinear, StackedMLP
from mtbench_models.config import TowerConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mtbench import Batch, DataSpec

IDS = 2


class GateNU(nn.Module):
    """A gate neural unit: gamma * sigmoid(W_2 ReLU(W_1 x + b_1) + b_2), around gamma / 2 at the start."""

    def __init__(self, in_features: int, hidden: int, out_features: int, gamma: float) -> None:
        super().__init__()
        self.hidden = nn.Linear(in_features, hidden)
        self.out = nn.Linear(hidden, out_features)
        self.gamma = gamma

    def forward(self, x: Tensor) -> Tensor:
        """Return scales between 0 and gamma, shape (batch, out)."""
        logits: Tensor = self.out(self.hidden(x).relu())
        return self.gamma * logits.sigmoid()


class PEPNet(MultiTaskModel):
    """Gates of prior information scale embeddings and the hidden units of every task.

    Without the stopped gradients the gates would pull at the embeddings that they scale.
    """

    class Config(TowerConfig):
        """Settings of PEPNet."""

        tower_layers: Annotated[tuple[PositiveInt, ...], Choice(((64, 32), (128, 64, 32), (256, 128, 64)))] = Field(
            (128, 64, 32), min_length=1, description="Layer sizes of a task's network, which stands on the embeddings."
        )
        gate_width: Annotated[int, IntRange(16, 128, log=True)] = Field(
            64, gt=0, description="Width of a gate's hidden layer."
        )
        gamma: Annotated[float, FloatRange(1.0, 4.0)] = Field(2.0, gt=0, description="The most that a gate scales by.")
        domain: tuple[str, ...] = Field((), description="Features of the domain, an input of EPNet's gate.")
        personal: tuple[str, ...] | None = Field(
            None,
            description="Features that say who and what, the ids of user, item and author: inputs of PPNet's gates. "
            "Unless given, the two categorical features with the most values.",
        )

    card = ModelCard(
        paper=(
            "Chang, Zhang, Hui, Leng, Niu, Song, Gai: PEPNet: Parameter and Embedding Personalized Network for "
            "Infusing with Personalized Prior Information. KDD 2023."
        ),
        equations=(
            "GateNU(v) = gamma sigmoid(W_2 ReLU(W_1 v)), gamma = 2; sg stops the gradient",
            "EPNet: x' = GateNU([domain, sg(x)]) * x, x the embeddings",
            "PPNet: h_tl = GateNU_l([personal, sg(x')])_t * f_tl(h_t,l-1), h_t0 = x', layer l of task t",
            "logit_t = w_t h_t, h_t the last layer",
        ),
        verified=(
            "Third-party code (FuxiCTR), for PPNet with one task: the gate after the layer, gamma, stopped gradient.",
        ),
        inferred=(
            "From a review: EPNet, the inputs of its gate and of PPNet's.",
            (
                "Decided here: which features are `domain` and `personal` (settings); their embeddings come from the "
                "common table and learn through the gates."
            ),
            "Decided here: the gates of a layer have one hidden layer for all tasks.",
        ),
        differences=("The paper has several domains; without `domain` features EPNet sees the embeddings alone.",),
    )

    def __init__(self, config: Config, data: DataSpec) -> None:
        super().__init__(config, data)
        self.embed = FeatureEmbedding(data, config.embedding_dim, dropout=config.embedding_dropout)
        width, tasks, sizes = self.embed.width, data.num_tasks, config.tower_layers
        personal = _choose_ids(data) if config.personal is None else config.personal
        for name, features in (("domain", config.domain), ("personal", personal)):
            self.register_buffer(name, self._find_columns(name, features), persistent=False)
        self.domain: Tensor
        self.personal: Tensor
        self.embedding_gate = GateNU(len(self.domain) + width, config.gate_width, width, config.gamma)
        self.layers = nn.ModuleList(
            StackedMLP(tasks, a, (b,), config.dropout, config.norm) for a, b in pairwise((width, *sizes))
        )
        self.layer_gates = nn.ModuleList(
            GateNU(len(self.personal) + width, config.gate_width, tasks * size, config.gamma) for size in sizes
        )
        self.head = StackedLinear(tasks, sizes[-1], 1)

    def _find_columns(self, setting: str, features: Sequence[str]) -> Tensor:
        """Return the places of some features in the embeddings. Raises MTBenchError for an unknown one."""
        dim, embedded = self.embed.dim, [*self.data.categorical, *self.data.multi]
        places = {name: range(at * dim, (at + 1) * dim) for at, name in enumerate(embedded)}
        places |= {name: range(at, at + 1) for at, name in enumerate(self.data.numeric, dim * len(embedded))}
        for name in features:
            if name not in places:
                hint = suggest(name, places) or f" (features: {', '.join(places)})"
                raise MTBenchError(f"model 'pepnet': '{setting}' names '{name}', which is no feature{hint}")
        return torch.tensor([place for name in features for place in places[name]], dtype=torch.long)

    def forward(self, batch: Batch) -> Tensor:
        """Return logits, shape (batch, tasks)."""
        x = self.embed(batch)
        prior = x[:, self.personal]
        x = self.embedding_gate(torch.cat([x[:, self.domain], x.detach()], 1)) * x
        prior = torch.cat([prior, x.detach()], 1)
        hidden = x
        for layer, gate in zip(self.layers, self.layer_gates, strict=True):
            hidden = layer(hidden)
            hidden = hidden * gate(prior).view(len(x), len(hidden), -1).transpose(0, 1)
        logits: Tensor = self.head(hidden)
        return logits.squeeze(-1).t()


def _choose_ids(data: DataSpec) -> list[str]:
    """Return the categorical features with the most values, which are ids where there are any."""
    return sorted(data.categorical, key=lambda name: -data.categorical[name])[:IDS]
