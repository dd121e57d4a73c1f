"""Which parameters several losses have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

DRAWS = 4
"""Forward passes, each with other dropout and other random gates."""
SHAKE = 0.01
"""Standard deviation of the noise that is added to the parameters."""


def find_shared(module: nn.Module, losses: Callable[[], Tensor]) -> list[str]:
    """Return the names of the parameters at which two losses or more have a gradient in one and the same value.

    ``losses`` returns the losses, shape (tasks,), of some rows. The parameters are changed: layers that start at zero
    would let no gradient through. The state of the random number generators is not.
    """
    named = {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}
    with torch.random.fork_rng({parameter.device for parameter in named.values() if parameter.is_cuda}):
        torch.manual_seed(0)
        with torch.no_grad():
            for parameter in named.values():
                parameter.add_(torch.randn_like(parameter), alpha=SHAKE)
        reached: list[dict[str, Tensor]] = []
        for _ in range(DRAWS if named else 0):
            for task, loss in enumerate(losses().flatten()):
                if task == len(reached):
                    reached.append(
                        {name: torch.zeros_like(parameter, dtype=torch.bool) for name, parameter in named.items()}
                    )
                gradients = torch.autograd.grad(loss, list(named.values()), retain_graph=True, allow_unused=True)
                for name, gradient in zip(named, gradients, strict=True):
                    if gradient is not None:
                        reached[task][name] |= gradient != 0
    return [name for name in named if torch.stack([values[name] for values in reached]).sum(0).gt(1).any()]
