"""Encoded rows, and the batch of them that a model sees: one gather per column group, no per-row Python."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Mapping


class Ragged(NamedTuple):
    """Lists of codes of uneven length: the list of row i is ``values[offsets[i]:offsets[i + 1]]``.

    Since 0.1, provisional.
    """

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
    (R, N) is standardised. ``labels`` (R, T) are 0 where unknown, and float32 unless that cannot hold all labels of the
    dataset: then float64. ``mask`` (R, T) is 1.0 where a row counts for a task: its label is known and, for a task with
    ``given``, the given task is positive. ``rows`` (R,) are positions in the prepared table. ``domain_column`` is the
    categorical column that holds the domain, None where there is none.
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

        def move(part: Any) -> Any:
            if part is None or isinstance(part, int):
                return part
            if isinstance(part, dict):
                return {name: move(value) for name, value in part.items()}
            if isinstance(part, tuple) and not isinstance(part, Ragged):
                return type(part)(*map(move, part))
            if torch.device(device).type == "mps" and part.dtype == torch.float64:
                part = part.float()  # it has no double precision
            return part.to(device, non_blocking=non_blocking)

        return type(self)(**{column.name: move(getattr(self, column.name)) for column in fields(self)})

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

    Since 0.1, stable.
    """

    inputs: Mapping[str, Any] = field(default_factory=dict)

    def take(self, rows: Tensor) -> Batch:
        """Return the given rows of this batch, in their order."""
        inputs = {name: type(parts)(*(part[rows] for part in parts)) for name, parts in self.inputs.items()}
        return replace(self._gather(rows), inputs=inputs)
