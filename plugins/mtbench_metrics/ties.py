"""Rankings with ties: rows of equal prediction are one block, so that no value depends on the order of rows.

Before they are sorted, rows are dealt into parts that fit into a core's cache, so that the time grows as the rows do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

PART = 1 << 16  # rows
SPAN = 4 * PART
CELL_BITS = 16


class Blocks(NamedTuple):
    """Runs of rows of one group with the same prediction, by group, the highest prediction first.

    All have shape (blocks,). ``above`` and ``positives_above`` count the rows and positives of the group with a higher
    prediction. Counts are float64.
    """

    group: np.ndarray
    prediction: np.ndarray
    size: np.ndarray
    positives: np.ndarray
    above: np.ndarray
    positives_above: np.ndarray

    def per_group(self, values: np.ndarray) -> np.ndarray:
        """Sum values of blocks within each group, shape (groups,)."""
        return np.bincount(self.group, weights=values)


def rank(preds: Tensor, target: Tensor, groups: Tensor | None = None) -> Iterator[Blocks]:
    """Rank all rows, or those of each group, whole numbers; yield the blocks part by part.

    ``target`` is 1 of positives and else 0. Without groups the highest predictions come first, and counts of what is
    above go on from part to part. With groups a part has whole groups, the lowest numbers first, and numbers them from
    0. All are on the CPU.
    """
    columns = [preds.numpy(), target.numpy() > 0]
    if groups is None:
        parts = deal(columns, columns[0], _descend)
    else:
        columns.append(groups.long().numpy())
        parts = deal(columns, columns[2], np.asarray)
    above, positives_above = 0, 0
    for part in parts:
        blocks = tie_blocks(*part)
        yield blocks._replace(above=blocks.above + above, positives_above=blocks.positives_above + positives_above)
        if groups is None:
            above += len(part[0])
            positives_above += int(np.count_nonzero(part[1]))


def deal(
    columns: list[np.ndarray], values: np.ndarray, key: Callable[[np.ndarray], np.ndarray]
) -> Iterator[list[np.ndarray]]:
    """Yield the columns in parts by ascending keys: rows of one key are in one part.

    ``key`` makes whole numbers, int64, of ``values``, in their order or the reverse. A part has about ``PART`` rows, or
    more where most rows have a few keys that are near each other.
    """
    if len(values) <= 2 * PART:
        yield columns
        return
    low, high = sorted(key(np.array([values.min(), values.max()])))
    shift = np.uint64(max((int(high) - int(low)).bit_length() - CELL_BITS, 0))
    spans = [slice(start, start + SPAN) for start in range(0, len(values), SPAN)]
    cells = [((key(values[span]) - low).view(np.uint64) >> shift).astype(np.uint16) for span in spans]
    counts = np.sum([np.bincount(cell, minlength=1 << CELL_BITS) for cell in cells], axis=0)
    part_of_cell = ((counts.cumsum() - counts) // PART).astype(np.uint16)
    dealt = []
    for span, cell in zip(spans, cells, strict=True):
        part = part_of_cell[cell]
        order = np.argsort(part, kind="stable")
        ends = np.bincount(part, minlength=int(part_of_cell[-1]) + 1).cumsum()[:-1]
        dealt.append([np.split(column[span][order], ends) for column in columns])
    for pieces in zip(*(zip(*span, strict=True) for span in dealt), strict=True):
        joined = [np.concatenate(column) for column in zip(*pieces, strict=True)]
        if len(joined[0]):
            yield joined


def tie_blocks(preds: np.ndarray, positive: np.ndarray, groups: np.ndarray | None = None) -> Blocks:
    """Rank the rows within each group; all rows are one group if None. Groups are numbered from 0."""
    order = _argsort(_descend(preds))
    if groups is not None:
        order = order[_argsort(groups[order])]
    preds = preds[order]
    starts = np.ones(len(order) + 1, bool)
    np.not_equal(preds[1:], preds[:-1], out=starts[1:-1])
    if groups is not None:
        groups = groups[order]
        starts[1:-1] |= groups[1:] != groups[:-1]
    bounds = np.flatnonzero(starts)
    first = bounds[:-1]
    before = np.append(0, np.cumsum(positive[order]))[bounds].astype(float)
    above, positives_above = first.astype(float), before[:-1]
    group = np.zeros(len(first), int)
    if groups is not None:
        new_group = np.append(True, groups[first[1:]] != groups[first[:-1]])
        group = np.cumsum(new_group) - 1
        lead = np.flatnonzero(new_group)[group]
        above, positives_above = above - above[lead], positives_above - positives_above[lead]
    return Blocks(group, preds[first], np.diff(bounds).astype(float), np.diff(before), above, positives_above)


def _descend(values: np.ndarray) -> np.ndarray:
    """Return whole numbers, int64, in the reverse order of floating-point ones."""
    bits = (values + 0.0).view(np.int64)  # -0.0 + 0.0 is 0.0
    return ~bits ^ ((bits >> 63) & ((1 << 63) - 1))


def _argsort(keys: np.ndarray) -> np.ndarray:
    order: np.ndarray = torch.sort(torch.from_numpy(keys), stable=True).indices.numpy()
    return order  # by radix, as NumPy sorts 16 bits at most
