"""What each value says by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mtbench.nn.embedding import FusedTable

if TYPE_CHECKING:
    from mtbench import Batch, DataSpec


class Wide(FusedTable):
    """A linear model of all features for each task, the wide half of wide and deep (Cheng et al., DLRS 2016).

    A weight for every value of a categorical feature, the mean of such weights over a list, a slope for every number;
    all start from zero.

    Since 0.1, provisional.
    """

    def __init__(self, data: DataSpec) -> None:
        super().__init__(data, data.num_tasks)
        self.slopes = nn.Parameter(torch.zeros(len(data.numeric), data.num_tasks)) if data.numeric else None

    def forward(self, batch: Batch) -> Tensor:
        """Return shape (batch, tasks)."""
        parts = []
        if self.slopes is not None:
            parts.append(batch.numeric @ self.slopes)
        if self.table is not None:
            if self.categorical:
                parts.append(self.lookup(self.codes(batch)).sum(1))
            parts += self.means(batch)
        return torch.stack(parts).sum(0)
