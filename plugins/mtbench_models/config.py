"""Settings that the models have in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PositiveInt

from mtbench import Choice, FloatRange, IntRange, ModelConfig
from mtbench.nn import Norm


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


class ExtractionConfig(TowerConfig):
    """Settings of a model with experts of each task and shared ones."""

    task_experts: Annotated[int, IntRange(1, 4)] = Field(2, gt=0, description="Experts of each task on a level.")
    shared_experts: Annotated[int, IntRange(1, 8)] = Field(4, gt=0, description="Shared experts on a level.")
    expert_layers: Annotated[tuple[PositiveInt, ...], Choice(((64, 32), (128, 64), (256, 128)))] = Field(
        (128, 64), min_length=1, description="Layer sizes of an expert."
    )
