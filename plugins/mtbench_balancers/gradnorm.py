"""GradNorm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from mtbench import Choice, FloatRange, GradientBalancer, Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mtbench import Task

LEAST = 1e-3
"""Least weight of a task."""


class GradNorm(GradientBalancer):
    """Weights that make the tasks' gradients as long as their rates of training ask for (Chen et al., ICML 2018).

    With G_i the length of task i's weighted gradient at the shared weights, L_i(0) its first loss and r_i its inverse
    training rate, (L_i / L_i(0)) over the mean of these, the weights minimise the sum of |G_i - mean(G) r_i^alpha|, the
    second term taken for constant. They are trained with the model, sum to the number of tasks, and the loss is the
    mean of the weighted losses. A task of which no row of a batch counts has no part in it.

    Decided here: a weight is at least 0.001, and Adam trains them.
    """

    class Config(Settings):
        """Settings of GradNorm."""

        alpha: Annotated[float, FloatRange(0.0, 3.0)] = Field(
            1.5, ge=0, description="How strongly a task that trains slowly is pushed; 0 for gradients of one length."
        )
        learning_rate: Annotated[float, FloatRange(1e-3, 0.1, log=True)] = Field(
            0.025, gt=0, description="Step size of the weights."
        )
        at: Annotated[Literal["last", "all"], Choice(("last", "all"))] = Field(
            "last",
            description="Where gradients are measured: at the last shared layer, as in the paper, or at all of them.",
        )

    def __init__(self, config: Config, tasks: Sequence[Task]) -> None:
        super().__init__(config, tasks)
        self.alpha = config.alpha
        self.learning_rate = config.learning_rate
        self.last_alone = config.at == "last"
        self.weights = nn.Parameter(torch.ones(len(tasks)))
        self.first: Tensor
        self.register_buffer("first", torch.full((len(tasks),), torch.nan))

    def backward(self, losses: Tensor, shared: Sequence[nn.Parameter], own: Sequence[nn.Parameter]) -> None:  # noqa: ARG002
        """Set the gradients of all parameters, those of the weights included."""
        with torch.no_grad():  # after the step that the optimiser has made
            self.weights.clamp_(min=LEAST)
            self.weights.mul_(len(losses) / self.weights.sum())
        weights = self.weights.detach()
        lengths = self._measure_lengths(losses, shared) if shared else None
        torch.autograd.backward((weights * losses).mean())
        if lengths is not None:
            self.weights.grad = self._compute_gradient(losses.detach(), weights, lengths)

    def _measure_lengths(self, losses: Tensor, shared: Sequence[nn.Parameter]) -> Tensor:
        matrices = [parameter for parameter in shared if parameter.dim() > 1]
        at = matrices[-1:] if self.last_alone and matrices else list(shared)
        gradients = [
            torch.autograd.grad(loss, at, retain_graph=True, allow_unused=True, materialize_grads=True)
            for loss in losses.unbind()
        ]
        return torch.stack([torch.cat([part.flatten() for part in of_task]).norm() for of_task in gradients])

    def _compute_gradient(self, losses: Tensor, weights: Tensor, lengths: Tensor) -> Tensor:
        present = self.find_present(losses)
        count = present.sum().clamp(min=1)
        self.first = torch.where(self.first.isnan() & present, losses, self.first)
        ratios = torch.where(present, losses / self.first, 0)
        rates = ratios / (ratios.sum() / count)
        weighted = weights * lengths
        target = torch.where(present, weighted, 0).sum() / count * rates**self.alpha
        return torch.where(present, (weighted - target).sign() * lengths, 0)
