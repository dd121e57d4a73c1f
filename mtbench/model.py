"""What a model plugin is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from mtbench.nn.loss import masked_mean
from mtbench.schema import IntRange, Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mtbench.data.batches import Batch
    from mtbench.schema import Component, DataSpec, Schema


class ModelConfig(Settings):
    """Settings of a model; plugins add fields, with the search range of each beside it."""

    embedding_dim: Annotated[int, IntRange(4, 64, log=True)] = Field(
        16, gt=0, description="Width of a feature's embedding."
    )


class MultiTaskModel(nn.Module):
    """Base class of every model.

    A subclass names its settings in an inner class ``Config``, builds its layers in ``__init__`` and returns logits
    from ``forward``; for a regression task that is the standardised value.
    """

    Config: ClassVar[type[ModelConfig]] = ModelConfig
    paper: ClassVar[str] = ""

    def __init__(self, config: ModelConfig, data: DataSpec) -> None:
        super().__init__()
        self.config = config
        self.data = data
        binary = torch.tensor([task.kind == "binary" for task in data.tasks])
        self.register_buffer("binary", binary, persistent=False)
        self.register_buffer("centre", torch.tensor(data.centre or [0.0] * data.num_tasks), persistent=False)
        self.register_buffer("scale", torch.tensor(data.scale or [1.0] * data.num_tasks), persistent=False)
        self.binary: Tensor
        self.centre: Tensor
        self.scale: Tensor

    @classmethod
    def inputs(cls, config: ModelConfig, schema: Schema) -> Sequence[Component]:  # noqa: ARG003
        """Return what the model needs beyond features: ``[Component(name="recent", length=20)]``.

        It is in ``data.inputs`` and, for each batch, in ``batch.inputs``, by the input's name.
        """
        return ()

    def forward(self, batch: Batch) -> Tensor:
        """Return logits, shape (batch, tasks)."""
        raise NotImplementedError

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return each task's loss over the rows that count, shape (tasks,).

        Cross-entropy, or the squared error of the standardised label.
        """
        entropy = nn.functional.binary_cross_entropy_with_logits(outputs, batch.labels, reduction="none")
        error = torch.where(self.binary, entropy, (outputs - (batch.labels - self.centre) / self.scale).square())
        return masked_mean(error, batch.mask)

    def predict(self, outputs: Tensor) -> Tensor:
        """Turn logits into predictions, shape (batch, tasks): probabilities, or values for regression tasks."""
        outputs = outputs.float()  # half precision would make ties of near probabilities
        return torch.where(self.binary, outputs.sigmoid(), outputs * self.scale + self.centre)
