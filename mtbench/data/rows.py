"""The rows of a whole split, from which batches are taken."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch

from mtbench.data.batches import Batch, EncodedRows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from mtbench import InputReader


@dataclass
class SplitRows(EncodedRows):
    """All rows of a split, memory-mapped or on a device; lists need not begin at 0.

    Batches taken from it get ``asked`` as their inputs, and ``pooled`` as further ``numeric`` and ``multi`` columns.
    """

    asked: Mapping[str, InputReader] = field(default_factory=dict)
    pooled: Mapping[str, InputReader] = field(default_factory=dict)

    def take(self, rows: Tensor) -> Batch:
        """Return a batch of the given rows, counted from 0, in their order, with inputs."""
        batch = self._gather(rows)
        multi, numeric = dict(batch.multi), [batch.numeric]
        for reader in self.pooled.values():
            lists, numbers = reader.pooled(reader.take(batch.rows))
            multi.update(lists)
            numeric += [] if numbers is None else [numbers]
        return replace(
            batch,
            multi=multi,
            numeric=torch.cat(numeric, 1) if len(numeric) > 1 else batch.numeric,
            inputs={name: reader.take(batch.rows) for name, reader in self.asked.items()},
        )

    def whole(self) -> Batch:
        """Return a batch of all rows, in memory, with lists that begin at 0."""
        return self.take(torch.arange(len(self), device=self.rows.device))
