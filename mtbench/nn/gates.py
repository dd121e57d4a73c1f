"""Mixing of experts."""

from __future__ import annotations

import torch
from torch import Tensor


def mix(experts: Tensor, gates: Tensor) -> Tensor:
    """Return the weighted sums of expert outputs (experts, batch, width) for gates (tasks, batch, experts).

    The result has shape (tasks, batch, width).

    Since 0.1, provisional.
    """
    return torch.einsum("ebd,tbe->tbd", experts, gates)


def mix_own(experts: Tensor, gates: Tensor) -> Tensor:
    """Return weighted sums, (n, batch, width), of experts (n * m, batch, width) by gates (n, batch, m).

    The i-th sum is over the i-th ``m`` experts.

    Since 0.1, provisional.
    """
    own = experts.reshape(len(gates), -1, *experts.shape[1:])
    return (own * gates.mT.unsqueeze(-1)).sum(1)
