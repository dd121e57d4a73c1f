"""Features to vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from mtbench.nn.dropout import Dropout

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mtbench import Batch, DataSpec


class FusedTable(nn.Module):
    """One table with an entry of ``width`` numbers for every value of every categorical and multi-valued feature.

    It starts from zero; ``table`` is None where there are no such features. ``offsets`` are the places of code 0. With
    ``row_wise`` the table's gradient is sparse: it has the rows alone that were looked up.
    """

    row_wise = False

    def __init__(self, data: DataSpec, width: int) -> None:
        super().__init__()
        sizes = [*data.categorical.values(), *data.multi.values()]
        self.features = len(sizes)
        self.categorical = len(data.categorical)
        self.multi = tuple(data.multi)
        self.offsets: Tensor
        self.register_buffer("offsets", torch.tensor([0, *sizes]).cumsum(0)[:-1], persistent=False)
        self.table = nn.Parameter(torch.zeros(sum(sizes), width)) if sizes else None

    def codes(self, batch: Batch) -> Tensor:
        """Return the places of the categorical features' entries, (batch, features)."""
        return batch.categorical + self.offsets[: self.categorical]

    def lookup(self, places: Tensor) -> Tensor:
        """Return the entries at some places, shape (..., width)."""
        assert self.table is not None
        if self.row_wise or self.table.device.type != "cpu":
            return functional.embedding(places, self.table, sparse=self.row_wise)
        # the same numbers: its gradient is summed several times faster on a CPU than that of functional.embedding
        return self.table.index_select(0, places.flatten()).view(*places.shape, -1)

    def means(self, batch: Batch) -> Iterator[Tensor]:
        """Yield for each multi-valued feature the mean entry of its values, (batch, width), zero for an empty list."""
        for name, offset in zip(self.multi, self.offsets[self.categorical :], strict=True):
            lists = batch.multi[name]
            yield functional.embedding_bag(
                lists.values.long() + offset,
                self.table,  # type: ignore[arg-type]
                lists.offsets.long(),
                mode="mean",
                include_last_offset=True,
                sparse=self.row_wise,
            )


class FeatureEmbedding(FusedTable):
    """Embeds all features of a batch and lays them side by side.

    A multi-valued feature is the mean of its values' embeddings, zero for an empty list; numeric features are taken as
    they are. ``copies`` gives every task, say, embeddings of its own in the same gather. Entries start from a normal
    distribution of standard deviation ``STD``; those of code 0, which training may never see, from zero: an unknown
    value then says nothing rather than noise. ``dropout`` sets elements of embeddings to zero, not numbers.

    Since 0.1, provisional.
    """

    STD = 0.05

    def __init__(self, data: DataSpec, dim: int, copies: int = 1, dropout: float = 0.0) -> None:
        super().__init__(data, copies * dim)
        self.dim = dim
        self.copies = copies
        self.numeric = len(data.numeric)
        self.dropout = Dropout(dropout)
        self.width = dim * self.features + self.numeric
        if self.table is not None:
            with torch.no_grad():
                self.table.normal_(std=self.STD)[self.offsets] = 0

    def forward(self, batch: Batch) -> Tensor:
        """Return shape (batch, width), or (copies, batch, width) where there are several copies."""
        parts = []
        if self.table is not None:
            if self.categorical:
                parts.append(self._divide(self.dropout(self.lookup(self.codes(batch)))))
            parts += [self._divide(self.dropout(mean).unsqueeze(1)) for mean in self.means(batch)]
        if self.numeric:
            parts.append(batch.numeric.expand(self.copies, -1, -1))
        x = torch.cat(parts, -1)
        return x.squeeze(0) if self.copies == 1 else x

    def _divide(self, vectors: Tensor) -> Tensor:
        """Turn (batch, features, copies * dim) into (copies, batch, features * dim)."""
        rows, features, _ = vectors.shape
        return vectors.view(rows, features, self.copies, self.dim).permute(2, 0, 1, 3).flatten(2)
