"""Batches: one gather per column group, no per-row Python."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mtbench.data.rows import SplitRows


BLOCKS = 64
"""Pieces of a long table that are shuffled together."""


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
class EncodedRows:
    """Some rows, encoded. R rows, C categorical and N numeric features, T tasks.

    ``categorical`` (R, C) int32 and ``multi`` hold codes, 0 for unknown, in the order of the ``DataSpec``; ``numeric``
    (R, N) is standardised. ``labels`` (R, T) are 0 where unknown; ``mask`` (R, T) is 1.0 where a row counts for a task:
    its label is known and, for a task with ``given``, the given task is positive. ``rows`` (R,) are positions in the
    prepared table. ``domain_column`` is the categorical column that holds the domain, None where there is none.
    """

    rows: Tensor
    categorical: Tensor
    numeric: Tensor
    labels: Tensor
    mask: Tensor
    multi: Mapping[str, Ragged] = field(default_factory=dict)
    domain_column: int | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def domain(self) -> Tensor | None:
        """Codes of the rows' domains, int32 of shape (R,), 0 for unknown; None where the dataset has no domains."""
        return None if self.domain_column is None else self.categorical[:, self.domain_column]

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Self:
        """Return a copy on ``device``."""

        def moved(part: Any) -> Any:
            if part is None or isinstance(part, int):
                return part
            if isinstance(part, dict):
                return {name: moved(value) for name, value in part.items()}
            if isinstance(part, tuple) and not isinstance(part, Ragged):
                return type(part)(*map(moved, part))
            return part.to(device, non_blocking=non_blocking)

        return type(self)(**{column.name: moved(getattr(self, column.name)) for column in fields(self)})

    def _gather(self, rows: Tensor) -> Batch:
        return Batch(
            rows=self.rows[rows],
            categorical=self.categorical[rows],
            numeric=self.numeric[rows],
            labels=self.labels[rows],
            mask=self.mask[rows],
            multi={name: lists.take(rows) for name, lists in self.multi.items()},
            domain_column=self.domain_column,
        )


@dataclass
class Batch(EncodedRows):
    """What a model sees: rows in memory, and in ``inputs`` what it asked for beyond features.

    Each input is a named tuple of tensors, one entry per row.
    """

    inputs: Mapping[str, Any] = field(default_factory=dict)

    def take(self, rows: Tensor) -> Batch:
        """Return the given rows of this batch, in their order."""
        inputs = {name: type(parts)(*(part[rows] for part in parts)) for name, parts in self.inputs.items()}
        return replace(self._gather(rows), inputs=inputs)


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
