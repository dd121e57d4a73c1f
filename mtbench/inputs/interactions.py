"""The positives that inputs may be made from, in the order in which they may be seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from mtbench.data.columns import Columns

EARLIER = -1
"""The chunk of events that a dataset brings from before its first row."""


@dataclass(frozen=True)
class Interactions:
    """Positive events of users with items: earlier events, warm-up and training rows, sorted by (chunk, time).

    Validation and test rows are not among them, so that no input can be made from their labels. ``user`` and ``item``
    are numbers from 0; ``positive`` (events, tasks) says which tasks were positive, at least one; ``time`` orders
    events within a chunk, and where it is equal their order in the file; ``row`` is the position in the prepared table,
    -1 for earlier events. ``users``, ``items`` and ``chunks`` are counts.

    Since 0.1, provisional.
    """

    user: np.ndarray
    item: np.ndarray
    time: np.ndarray
    chunk: np.ndarray
    positive: np.ndarray
    row: np.ndarray
    users: int
    items: int
    chunks: int

    def __len__(self) -> int:
        return len(self.user)

    def count_seen(self, chunk: int) -> int:
        """Return how many events a row of ``chunk`` may see: the first so many, those of earlier chunks."""
        return int(np.searchsorted(self.chunk, chunk, "left"))


@dataclass(frozen=True)
class Rows:
    """Who, what and when of every prepared row; all of it is known when the row is predicted.

    Since 0.1, provisional.
    """

    user: np.ndarray
    item: np.ndarray
    time: np.ndarray
    chunk: np.ndarray


def collect_rows(columns: Columns) -> Rows:
    """Return all rows of the prepared table. Raises MTBenchError where the dataset has no users or no items."""
    return Rows(columns.identity("user"), columns.identity("item"), columns.time(), columns.chunk())


def collect_interactions(columns: Columns) -> Interactions:
    """Return the positive events of a dataset that lie in chunks which some row may see."""
    rows = collect_rows(columns)
    learned = columns.part() == 0
    positive = columns.positive()
    at = np.flatnonzero(learned & positive.any(1))
    early_user, early_item, early_positive = columns.earlier_events()
    early = len(early_user)
    chunk = np.concatenate([np.full(early, EARLIER, np.int32), rows.chunk[at]])
    time = np.concatenate([_lead_up(rows.time[learned], early), rows.time[at]])
    order = np.lexsort((np.arange(len(chunk)), time, chunk))
    return Interactions(
        user=np.concatenate([early_user, rows.user[at]])[order],
        item=np.concatenate([early_item, rows.item[at]])[order],
        time=time[order],
        chunk=chunk[order],
        positive=np.concatenate([early_positive, positive[at]])[order],
        row=np.concatenate([np.full(early, -1, np.int64), at])[order],
        users=columns.meta["users"],
        items=columns.meta["items"],
        chunks=int(rows.chunk.max()) + 1,
    )


def _lead_up(time: np.ndarray, count: int) -> np.ndarray:
    """Return ``count`` times that lead up to the first, as far as the type of number has room for them."""
    first = time.min()
    back = np.arange(-count, 0)
    if first.dtype.kind == "i":
        back = np.maximum(back, max(np.iinfo(first.dtype).min - int(first), -count))
    times: np.ndarray = first + back
    return times
