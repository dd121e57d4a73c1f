"""Rankings with ties: rows of equal prediction are one block, so that no value depends on the order of rows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class Blocks(NamedTuple):
    """Runs of rows of one group with the same prediction, by group, the highest prediction first.

    All have shape (blocks,). ``above`` and ``positives_above`` count the rows and positives of the group with a higher
    prediction. Counts are float64.
    """

    group: Tensor
    prediction: Tensor
    size: Tensor
    positives: Tensor
    above: Tensor
    positives_above: Tensor

    def per_group(self, values: Tensor) -> Tensor:
        """Sum values of blocks within each group, shape (groups,)."""
        return torch.bincount(self.group, weights=values)


def tie_blocks(preds: Tensor, target: Tensor, groups: Tensor | None = None) -> Blocks:
    """Rank the rows within each group, whole numbers; all rows are one group if None. Groups are numbered from 0.

    Everything is on the CPU, where NumPy sorts several times as fast as torch.
    """
    order = torch.from_numpy(np.argsort(-preds.numpy()))
    new_group = torch.zeros(len(order), dtype=torch.bool)
    new_group[0] = True
    if groups is not None:
        key, order = _sort_by_group(groups, order)
        new_group[1:] = key[1:] != key[:-1]
    preds, target = preds[order], target[order]
    starts = new_group.clone()
    starts[1:] |= preds[1:] != preds[:-1]
    block = starts.cumsum(0) - 1
    size = torch.bincount(block).double()
    positives = torch.bincount(block, weights=target)
    first = new_group[starts]
    group = first.cumsum(0) - 1
    sums = (values.cumsum(0) - values for values in (size, positives))
    above, positives_above = (before - before[first][group] for before in sums)
    return Blocks(group, preds[starts], size, positives, above, positives_above)


def _sort_by_group(groups: Tensor, order: Tensor) -> tuple[Tensor, Tensor]:
    """Return the group of each row, by group, and the rows: those of a group stay in their order."""
    bits = len(order).bit_length()
    groups = groups.long()
    if int(groups.max()) - int(groups.min()) >= 1 << (63 - bits):
        groups = torch.unique(groups, return_inverse=True)[1]
    keys = ((groups - groups.min())[order] << bits) + torch.arange(len(order))
    keys.numpy().sort()  # a group and a place in one number: sorting numbers is cheap, sorting rows by numbers is not
    return keys >> bits, order[keys & ((1 << bits) - 1)]
