"""How well items are ranked within each group (user)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from mtbench import MTBenchError, UndefinedMetricError
from mtbench_metrics.ranking import auc_per_group
from mtbench_metrics.rows import RowMetric
from mtbench_metrics.ties import Blocks, tie_blocks

if TYPE_CHECKING:
    from collections.abc import Callable


class GroupedMetric(RowMetric):
    """A metric over rankings within groups."""

    higher_is_better = True
    grouped = True

    def blocks(self) -> Blocks:
        """Rank the rows within each group."""
        preds, target = self.rows()
        return tie_blocks(preds, target, self.groups())


class GAUC(GroupedMetric):
    """AUC of each group, averaged with the groups' numbers of rows as weights; groups of one class are left out.

    Ties count one half. Undefined where no group has both classes. Zhou et al., Deep interest network, KDD 2018.
    """

    chance = 0.5

    def compute(self) -> Tensor:
        """Return the weighted mean of the groups' areas."""
        areas, weights = self._measure_areas()
        return (areas * weights).sum() / weights.sum()

    def resampler(self) -> Callable[[np.ndarray], float]:
        """Compute the groups' areas once; a resample weighs them by how often each group was drawn."""
        areas, weights = (part.numpy() for part in self._measure_areas())
        first = np.unique(self.groups().numpy(), return_index=True)[1]

        def mean(draws: np.ndarray) -> float:
            drawn = draws[first] * weights
            if not drawn.any():
                raise UndefinedMetricError(f"none of the {len(areas)} groups that has both labels was drawn")
            return float(drawn @ areas / drawn.sum())

        return mean

    def _measure_areas(self) -> tuple[Tensor, Tensor]:
        """Return area and weight of each group; groups of one class have none."""
        blocks = self.blocks()
        areas = auc_per_group(blocks)
        kept = ~areas.isnan()
        if not kept.any():
            raise UndefinedMetricError(f"none of the {len(areas)} groups has both positive and negative labels")
        return areas.nan_to_num(), blocks.per_group(blocks.size) * kept


class CutoffMetric(GroupedMetric):
    """A metric of the first ``k`` rows of each group: the mean over the groups that have a positive.

    Where predictions are tied it is the expected value over all orders of the tied rows, in closed form (McSherry and
    Najork, ECIR 2008). Undefined where no group has a positive.
    """

    def __init__(self, k: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if k < 1:
            raise MTBenchError(f"the cutoff of {type(self).__name__} must be at least 1, not {k}")
        self.k = k

    def compute(self) -> Tensor:
        """Return the mean over the groups that have a positive."""
        blocks = self.blocks()
        positives = blocks.per_group(blocks.positives)
        kept = positives > 0
        if not kept.any():
            raise UndefinedMetricError(f"none of the {len(kept)} groups has a positive label")
        return self.per_group(blocks, positives)[kept].mean()

    def per_group(self, blocks: Blocks, positives: Tensor) -> Tensor:
        """Return the value of each group, shape (groups,), given its number of positives."""
        raise NotImplementedError


class NDCG(CutoffMetric):
    """Discounted gain of the positives among the first ``k``, over that of an ideal ranking.

    Järvelin and Kekäläinen, TOIS 2002, with gain 0 or 1 and discount 1 / log2(1 + rank).
    """

    def per_group(self, blocks: Blocks, positives: Tensor) -> Tensor:
        """Return the expected NDCG of each group."""
        longest = int((blocks.above + blocks.size).max())
        depth = min(self.k, longest)
        ranks = torch.arange(1, depth + 1, dtype=torch.float64, device=positives.device)
        discount = torch.cat((ranks.new_zeros(1), (1 / (1 + ranks).log2()).cumsum(0)))

        def gain(rows: Tensor) -> Tensor:
            return discount[rows.clamp(max=depth).long()]

        share = blocks.positives / blocks.size
        gains = blocks.per_group(share * (gain(blocks.above + blocks.size) - gain(blocks.above)))
        return gains / gain(positives)


class HitRate(CutoffMetric):
    """Share of groups with a positive among the first ``k``.

    Deshpande and Karypis, TOIS 2004. Of m tied rows with p positives of which t fit, all t are negative with
    probability C(m - p, t) / C(m, t).
    """

    def per_group(self, blocks: Blocks, positives: Tensor) -> Tensor:  # noqa: ARG002
        """Return the expected hit of each group, from 0 to 1."""
        size, negatives = blocks.size, blocks.size - blocks.positives
        fit = (self.k - blocks.above).clamp(min=0).minimum(size)
        miss = _log_choose(negatives, fit) - _log_choose(size, fit)
        miss = torch.where(fit > negatives, -torch.inf, miss)
        return -blocks.per_group(miss).expm1()


def _log_choose(n: Tensor, k: Tensor) -> Tensor:
    return (n + 1).lgamma() - (k + 1).lgamma() - (n - k + 1).clamp(min=1).lgamma()
