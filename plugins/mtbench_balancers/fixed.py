"""Weights that stay as they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import torch
from pydantic import Field, PositiveFloat

from mtbench import Balancer, MTBenchError, Settings, suggest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from mtbench import Task


def make_task_weights(balancer: str, weights: Mapping[str, float], tasks: Sequence[Task]) -> Tensor:
    """Return a weight for each task, 1 where none is given, that sum to 1.

    Raises MTBenchError for a weight whose task does not exist.
    """
    names = [task.name for task in tasks]
    for name in weights:
        if name not in names:
            hint = suggest(name, names) or f" (tasks: {', '.join(names)})"
            raise MTBenchError(f"balancer '{balancer}' has a weight for '{name}', which is no task{hint}")
    values = torch.tensor([weights.get(name, 1.0) for name in names])
    return values / values.sum()


class Equal(Balancer):
    """The mean of the losses: the learning rate means the same for any number of tasks."""

    searched: ClassVar[bool] = True
    distributed: ClassVar[bool] = True

    def forward(self, losses: Tensor) -> Tensor:
        """Return a scalar for the losses of the tasks, shape (tasks,)."""
        return losses.mean()


class Weighted(Balancer):
    """The weighted mean of the losses; equal weights of any size give ``Equal``.

    Raises MTBenchError for a weight whose task does not exist.
    """

    distributed: ClassVar[bool] = True

    class Config(Settings):
        """Settings of the weighted mean."""

        weights: Mapping[str, PositiveFloat] = Field(
            default_factory=dict, description="Weight of each task's loss; 1 where it is not given."
        )

    def __init__(self, config: Config, tasks: Sequence[Task]) -> None:
        super().__init__(config, tasks)
        self.weights: Tensor
        self.register_buffer("weights", make_task_weights("weighted", config.weights, tasks), persistent=False)

    def forward(self, losses: Tensor) -> Tensor:
        """Return a scalar for the losses of the tasks, shape (tasks,)."""
        return self.weights @ losses
