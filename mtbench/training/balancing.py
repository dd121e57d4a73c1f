"""What a loss balancer is."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, distributed, nn

from mtbench.schema import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mtbench.schema import Task


class Balancer(nn.Module):
    """Turns the losses of the tasks into the one that is minimised.

    A subclass names its settings in an inner class ``Config``. Parameters of its own are trained with the model's,
    without weight decay and at ``learning_rate`` where it has one; they, its buffers and its extra state are part of
    checkpoints. A task of which no row of a batch counts has loss 0 there: :meth:`find_present` tells. It is not asked
    where there is only one task.

    ``packages`` are the distributions that it needs beyond mtbench's own. ``distributed`` says whether several
    processes, of which each sees a part of the batch, train as one would: they do where the loss is linear in the
    losses, with weights that do not depend on the batch. ``row_wise`` says whether it can do with sparse gradients of
    embeddings. With ``revisits``, :meth:`after_step` is called. A ``searched`` one is among those that a
    sweep tries.

    Since 0.1, stable.
    """

    plugin_kind: ClassVar[str] = "balancer"
    Config: ClassVar[type[Settings]] = Settings
    packages: ClassVar[tuple[str, ...]] = ()
    distributed: ClassVar[bool] = False
    row_wise: ClassVar[bool] = True
    revisits: ClassVar[bool] = False
    searched: ClassVar[bool] = False
    learning_rate: float | None = None

    def __init__(self, config: Settings, tasks: Sequence[Task]) -> None:
        super().__init__()
        self.config = config
        self.tasks = tuple(tasks)

    def forward(self, losses: Tensor) -> Tensor:
        """Return a scalar for the losses of the tasks, shape (tasks,)."""
        raise NotImplementedError

    def find_present(self, losses: Tensor) -> Tensor:
        """Return for each task whether rows of the batch count for it, in any process; shape (tasks,)."""
        present = losses.detach() != 0
        if distributed.is_available() and distributed.is_initialized():
            counts = present.int()
            distributed.all_reduce(counts, distributed.ReduceOp.MAX)
            present = counts > 0
        return present

    def after_step(self, losses: Tensor) -> None:
        """Take note of the losses of the last batch after the step that was made from it, shape (tasks,)."""

    def end_epoch(self, losses: Tensor) -> None:
        """Take note of the mean losses of an epoch, shape (tasks,); NaN for a task that no batch had rows for."""


class GradientBalancer(Balancer):
    """Makes the gradients itself, from the losses of the tasks and the parameters that they share.

    Since 0.1, provisional.
    """

    row_wise = False

    def forward(self, losses: Tensor) -> Tensor:
        """Return the losses as they are, for :meth:`backward`."""
        return losses

    def backward(self, losses: Tensor, shared: Sequence[nn.Parameter], own: Sequence[nn.Parameter]) -> None:
        """Set the gradients of all parameters: those that tasks share, and the others."""
        raise NotImplementedError


class Aggregator(GradientBalancer):
    """Combines the gradients that the tasks have at shared parameters.

    Any other parameter gets the sum of the tasks' gradients, so that of its task.

    Since 0.1, provisional.
    """

    def backward(self, losses: Tensor, shared: Sequence[nn.Parameter], own: Sequence[nn.Parameter]) -> None:
        """Set the gradients of all parameters."""
        rows = [parameter.new_empty(len(losses), *parameter.shape) for parameter in shared]
        if shared:
            for task, loss in enumerate(losses.unbind()):
                gradients = torch.autograd.grad(
                    loss, shared, retain_graph=True, allow_unused=True, materialize_grads=True
                )
                for row, gradient in zip(rows, gradients, strict=True):
                    row[task] = gradient
        if own:
            torch.autograd.backward(losses.sum(), inputs=list(own))
        for parameter, gradient in zip(shared, self.combine(rows), strict=True):
            parameter.grad = gradient

    def combine(self, gradients: Sequence[Tensor]) -> Sequence[Tensor]:
        """Return one gradient of each parameter for those of the tasks, shape (tasks, ...) each."""
        raise NotImplementedError
