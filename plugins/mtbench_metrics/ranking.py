"""How well positives are ranked above negatives, over all rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtbench.evaluation.metric import UndefinedMetricError
from mtbench_metrics.rows import RowMetric, positives
from mtbench_metrics.ties import Blocks, tie_blocks

if TYPE_CHECKING:
    from torch import Tensor


def auc_per_group(blocks: Blocks) -> Tensor:
    """Return the area under the ROC curve of each group, shape (groups,); NaN where a group has one class.

    A pair of a positive and a negative with tied predictions counts one half (Mann-Whitney U).
    """
    positive = blocks.per_group(blocks.positives)
    negative = blocks.per_group(blocks.size) - positive
    tied = blocks.size - blocks.positives
    below = negative[blocks.group] - (blocks.above - blocks.positives_above) - tied
    return blocks.per_group(blocks.positives * (below + tied / 2)) / (positive * negative)


class AUC(RowMetric):
    """Area under the ROC curve: probability that a positive is ranked above a negative, ties counted one half.

    Undefined where there is one class. Hanley and McNeil, Radiology 1982.
    """

    higher_is_better = True

    def value(self, preds: Tensor, target: Tensor) -> Tensor:
        """Return the area."""
        positives(target)
        return auc_per_group(tie_blocks(preds, target))[0]


class PRAUC(RowMetric):
    """Average precision: the precision at each distinct prediction, weighted by the recall gained there.

    Tied rows enter together, and nothing is interpolated (Davis and Goadrich, ICML 2006, say why). Undefined without
    positives.
    """

    higher_is_better = True

    def value(self, preds: Tensor, target: Tensor) -> Tensor:
        """Return the average precision."""
        if not target.any():
            raise UndefinedMetricError(f"all {len(target)} labels are 0")
        blocks = tie_blocks(preds, target)
        precision = (blocks.positives_above + blocks.positives) / (blocks.above + blocks.size)
        return (blocks.positives * precision).sum() / target.sum()
