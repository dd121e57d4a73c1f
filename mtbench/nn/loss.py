"""Averages over the rows that count."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import distributed

if TYPE_CHECKING:
    from torch import Tensor


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of ``values`` (rows, tasks) over rows where ``mask`` is 1, per task; 0 where there are none.

    Under data-parallel training the count is taken over all processes, so that the average of the processes' gradients
    is the gradient of one process that saw all rows.

    Since 0.1, provisional.
    """
    count = mask.sum(0)
    if distributed.is_available() and distributed.is_initialized():
        distributed.all_reduce(count)
        count = count / distributed.get_world_size()
        return (values * mask).sum(0) / count.clamp(min=1 / distributed.get_world_size())
    return (values * mask).sum(0) / count.clamp(min=1)
