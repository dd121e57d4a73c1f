"""Mixing of experts."""

from __future__ import annotations

import torch
from torch import Tensor


def mix(experts: Tensor, gates: Tensor) -> Tensor:
    """Return the weighted sums of expert outputs (experts, batch, width) for gates (tasks, batch, experts).

    The result has shape (tasks, batch, width).
    """
    return torch.einsum("ebd,tbe->tbd", experts, gates)
