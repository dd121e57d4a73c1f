"""Rankings with ties: rows of equal prediction are one block, so that no value depends on the order of rows."""

from __future__ import annotations

from typing import NamedTuple

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
    """Rank the rows within each group (all rows are one group if None); groups are numbered from 0 without a gap."""
    order = preds.argsort(descending=True)
    if groups is None:
        groups = torch.zeros_like(order)
    else:
        order = order[groups[order].argsort(stable=True)]
    preds, target, groups = preds[order], target[order], groups[order]
    starts = torch.ones(len(preds), dtype=torch.bool, device=preds.device)
    starts[1:] = (preds[1:] != preds[:-1]) | (groups[1:] != groups[:-1])
    block = starts.cumsum(0) - 1
    group = groups[starts]
    size = torch.bincount(block).double()
    positives = torch.bincount(block, weights=target)
    return Blocks(group, preds[starts], size, positives, _sum_before(size, group), _sum_before(positives, group))


def _sum_before(values: Tensor, group: Tensor) -> Tensor:
    """Sum the values of earlier blocks of the same group."""
    before = values.cumsum(0) - values
    first = torch.searchsorted(group, group)
    return before - before[first]
