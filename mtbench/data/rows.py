"""The rows of a whole split, and the batches that they come in."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch

from mtbench.data.batches import Batch, EncodedRows
from mtbench.data.mapped import require_whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import Tensor

    from mtbench import InputReader

BLOCKS = 64
"""Pieces of a long table that are shuffled together."""


@dataclass
class SplitRows(EncodedRows):
    """All rows of a split, memory-mapped or on a device; lists need not begin at 0.

    Batches taken from it get ``asked`` as their inputs, and ``pooled`` as further ``numeric`` and ``multi`` columns.

    Since 0.1, provisional.
    """

    asked: Mapping[str, InputReader] = field(default_factory=dict)
    pooled: Mapping[str, InputReader] = field(default_factory=dict)

    def take(self, rows: Tensor) -> Batch:
        """Return a batch of the given rows, counted from 0, in their order, with inputs."""
        batch = self._gather(rows)
        multi, numeric = dict(batch.multi), [batch.numeric]
        for reader in self.pooled.values():
            lists, numbers = reader.pool(reader.take(batch.rows))
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
        require_whole()
        return self.take(torch.arange(len(self), device=self.rows.device))


class Batches:
    """The rows of a split in batches, shuffled by ``shuffle`` (a seed) or in order.

    At most ``together`` rows are shuffled at a time: of a longer table, blocks of neighbouring rows come in a random
    order, and those that fill this number are shuffled together, so that a table larger than memory is read in long
    pieces, each once.

    With several processes, each global batch is divided between them: process ``rank`` of ``world`` gets every
    ``world``-th row of it, so that the processes together take the same steps as one. A last batch with fewer rows than
    processes is left out where rows are shuffled, because every process must have rows to train on; in order, some
    processes get an empty batch.
    """

    def __init__(
        self,
        rows: SplitRows,
        batch_size: int,
        *,
        shuffle: int | None = None,
        together: int = 1 << 24,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.rows = rows
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.together = together
        self.rank = rank
        self.world = world

    def __len__(self) -> int:
        full, rest = divmod(len(self.rows), self.batch_size)
        fewest = 1 if self.shuffle is None else self.world
        return full + (rest >= fewest)

    def __iter__(self) -> Iterator[Batch]:
        device = self.rows.rows.device
        pieces, order = self._order(), torch.arange(0, device=device)
        for _ in range(len(self)):
            while len(order) < self.batch_size and (piece := next(pieces, None)) is not None:
                order = torch.cat([order, piece.to(device)])
            taken, order = order[: self.batch_size], order[self.batch_size :]
            require_whole()
            yield self.rows.take(taken[self.rank :: self.world])

    def _order(self) -> Iterator[Tensor]:
        size = len(self.rows)
        if self.shuffle is None:
            yield from (
                torch.arange(start, min(start + self.together, size)) for start in range(0, size, self.together)
            )
            return
        generator = torch.Generator().manual_seed(self.shuffle)
        if size <= self.together:
            yield torch.randperm(size, generator=generator)
            return
        block = max(1, self.together // BLOCKS)
        starts = block * torch.randperm(-(-size // block), generator=generator)
        for first in range(0, len(starts), BLOCKS):
            blocks = starts[first : first + BLOCKS].tolist()
            rows = torch.cat([torch.arange(start, min(start + block, size)) for start in blocks])
            yield rows[torch.randperm(len(rows), generator=generator)]
