"""Settings that the models have in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PositiveInt

from mtbench.model import ModelConfig
from mtbench.nn import Norm
from mtbench.schema import Choice, FloatRange


class TowerConfig(ModelConfig):
    """Settings of a model that ends in one tower per task."""

    tower_layers: Annotated[tuple[PositiveInt, ...], Choice(((32,), (64, 32), (128, 64)))] = Field(
        (64, 32), description="Layer sizes of a task's tower."
    )
    dropout: Annotated[float, FloatRange(0.0, 0.5)] = Field(
        0.2, ge=0, lt=1, description="Dropout after every hidden layer."
    )
    norm: Annotated[Norm, Choice(("batch", "none"))] = Field(
        "none", description="Normalisation before every activation; batch norm was found to hurt rare tasks."
    )
