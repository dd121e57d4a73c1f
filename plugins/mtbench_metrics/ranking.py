"""How well positives are ranked above negatives, over all rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from mtbench import UndefinedMetricError
from mtbench_metrics.rows import RowMetric, count_positives
from mtbench_metrics.ties import rank

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from mtbench_metrics.ties import Blocks


def count_won(blocks: Blocks, negatives: np.ndarray | int) -> np.ndarray:
    """Return how many pairs with a negative each block's positives win, given all negatives (of the block's group).

    A pair of a positive and a negative with tied predictions counts one half (Mann-Whitney U).
    """
    tied = blocks.size - blocks.positives
    below = negatives - (blocks.above - blocks.positives_above) - tied
    won: np.ndarray = blocks.positives * (below + tied / 2)
    return won


class AUC(RowMetric):
    """Area under the ROC curve: probability that a positive is ranked above a negative, ties counted one half.

    Undefined where there is one class. Hanley and McNeil, Radiology 1982.
    """

    higher_is_better = True
    ranks = True
    chance = 0.5
    limits = (0.0, 1.0)

    def value(self, preds: Tensor, target: Tensor) -> Tensor:
        """Return the area."""
        positives = count_positives(target)
        negatives = len(target) - positives
        won = sum(count_won(blocks, negatives).sum() for blocks in rank(preds, target))
        return torch.tensor(won / (positives * negatives))

    def resampler(self) -> Callable[[np.ndarray], float]:
        """Rank the rows once; the area of a resample is made of sums over them."""
        preds, target = (part.numpy() for part in self.rows())
        order = np.argsort(-preds)
        positive = target[order] > 0
        ends = np.flatnonzero(np.append(np.diff(preds[order]) != 0, True))

        def area(draws: np.ndarray) -> float:
            drawn = draws[order]
            all_rows = np.cumsum(drawn)[ends]
            positives = np.cumsum(drawn * positive)[ends]
            negatives = all_rows - positives
            if not positives[-1] or not negatives[-1]:
                raise UndefinedMetricError(f"all {all_rows[-1]} labels are {0 if negatives[-1] else 1}")
            below = negatives[-1] - negatives + np.diff(negatives, prepend=0) / 2
            return float(np.diff(positives, prepend=0) @ below / positives[-1] / negatives[-1])

        return area


class PRAUC(RowMetric):
    """Average precision: the precision at each distinct prediction, weighted by the recall gained there.

    Tied rows enter together, and nothing is interpolated (Davis and Goadrich, ICML 2006, say why). Undefined without
    positives.
    """

    higher_is_better = True
    ranks = True
    limits = (0.0, 1.0)

    def value(self, preds: Tensor, target: Tensor) -> Tensor:
        """Return the average precision."""
        if not target.any():
            raise UndefinedMetricError(f"all {len(target)} labels are 0")
        gained = [
            blocks.positives * ((blocks.positives_above + blocks.positives) / (blocks.above + blocks.size))
            for blocks in rank(preds, target)
        ]
        return torch.from_numpy(np.concatenate(gained)).sum() / target.sum()
