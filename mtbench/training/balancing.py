"""What a loss balancer is."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from torch import Tensor, nn

from mtbench.schema import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mtbench.schema import Task


class Balancer(nn.Module):
    """Turns the losses of the tasks into the one that is minimised.

    A subclass names its settings in an inner class ``Config``. Parameters of its own are trained with the model's.
    """

    Config: ClassVar[type[Settings]] = Settings

    def __init__(self, config: Settings, tasks: Sequence[Task]) -> None:
        super().__init__()
        self.config = config
        self.tasks = tuple(tasks)

    def forward(self, losses: Tensor) -> Tensor:
        """Return a scalar for the losses of the tasks, shape (tasks,)."""
        raise NotImplementedError
