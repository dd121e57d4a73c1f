"""Batches: one gather per column group, no per-row Python."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class Ragged(NamedTuple):
    """Lists of codes of uneven length: the list of row i is ``values[offsets[i]:offsets[i + 1]]``."""

    values: Tensor
    offsets: Tensor

    def take(self, rows: Tensor) -> Ragged:
        """Return the lists of the given rows, in their order."""
        starts = self.offsets[rows]
        lengths = self.offsets[rows + 1] - starts
        offsets = torch.zeros(len(rows) + 1, dtype=self.offsets.dtype, device=rows.device)
        offsets[1:] = lengths.cumsum(0)
        within = torch.arange(int(offsets[-1]), device=rows.device) - offsets[:-1].repeat_interleave(lengths)
        return Ragged(self.values[starts.repeat_interleave(lengths) + within], offsets)

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Ragged:
        """Return a copy on ``device``."""
        return Ragged(*(part.to(device, non_blocking=non_blocking) for part in self))


@dataclass
class Batch:
    """Some rows, encoded. B rows, C categorical and N numeric features, T tasks.

    ``categorical`` (B, C) int32 and ``multi`` hold codes, 0 for unknown, in the order of the ``DataSpec``; ``numeric``
    (B, N) is standardised. ``labels`` (B, T) are 0 where unknown; ``mask`` (B, T) is 1.0 where a row counts for a task:
    its label is known and, for a task with ``given``, the given task is positive. ``rows`` (B,) are positions in the
    prepared table. ``inputs`` holds what the model asked for beyond features.
    """

    rows: Tensor
    categorical: Tensor
    numeric: Tensor
    labels: Tensor
    mask: Tensor
    multi: Mapping[str, Ragged] = field(default_factory=dict)
    inputs: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, rows: Tensor) -> Batch:
        """Return the given rows of this batch, in their order."""
        picked = {f.name: getattr(self, f.name)[rows] for f in fields(self) if f.name not in {"multi", "inputs"}}
        return replace(self, **picked, multi={name: lists.take(rows) for name, lists in self.multi.items()})

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Batch:
        """Return a copy on ``device``."""
        moved = {
            f.name: getattr(self, f.name).to(device, non_blocking=non_blocking)
            for f in fields(self)
            if f.name not in {"multi", "inputs"}
        }
        multi = {name: lists.to(device, non_blocking=non_blocking) for name, lists in self.multi.items()}
        return replace(self, **moved, multi=multi)


class Batches:
    """The rows of a split in batches, shuffled by ``shuffle`` (a seed) or in order.

    With several processes, each global batch is divided between them: process ``rank`` of ``world`` gets every
    ``world``-th row of it, so that the processes together take the same steps as one. A last batch with fewer rows than
    processes is left out where rows are shuffled, because every process must have rows to train on; in order, some
    processes get an empty batch.
    """

    def __init__(
        self, columns: Batch, batch_size: int, *, shuffle: int | None = None, rank: int = 0, world: int = 1
    ) -> None:
        self.columns = columns
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.rank = rank
        self.world = world

    def __len__(self) -> int:
        full, rest = divmod(len(self.columns), self.batch_size)
        fewest = 1 if self.shuffle is None else self.world
        return full + (rest >= fewest)

    def __iter__(self) -> Iterator[Batch]:
        size = len(self.columns)
        if self.shuffle is None:
            order = torch.arange(size)
        else:
            order = torch.randperm(size, generator=torch.Generator().manual_seed(self.shuffle))
        order = order.to(self.columns.rows.device)
        for start in range(0, len(self) * self.batch_size, self.batch_size):
            yield self.columns.take(order[start : start + self.batch_size][self.rank :: self.world])
