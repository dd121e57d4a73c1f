"""How well items are ranked within each group (user)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mtbench import MTBenchError, UndefinedMetricError
from mtbench_metrics.ranking import count_won
from mtbench_metrics.rows import RowMetric
from mtbench_metrics.ties import rank

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

    from mtbench_metrics.ties import Blocks


class GroupedMetric(RowMetric):
    """A metric over rankings within groups."""

    higher_is_better = True
    grouped = True
    ranks = True
    limits = (0.0, 1.0)

    def blocks(self) -> Iterator[Blocks]:
        """Rank the rows within each group, some groups at a time."""
        return rank(*self.rows(), self.groups())


class GAUC(GroupedMetric):
    """AUC of each group, averaged with the groups' numbers of rows as weights; groups of one class are left out.

    Ties count one half. Undefined where no group has both classes. Zhou et al., Deep interest network, KDD 2018;
    docs/metrics.md says how other libraries weigh groups.
    """

    chance = 0.5

    def compute(self) -> Tensor:
        """Return the weighted mean of the groups' areas."""
        areas, weights = (torch.from_numpy(values) for values in self._measure_areas())
        return (areas * weights).sum() / weights.sum()

    def resampler(self) -> Callable[[np.ndarray], float]:
        """Compute the groups' areas once; a resample weighs them by how often each group was drawn."""
        areas, weights = self._measure_areas()
        first = np.unique(self.groups().numpy(), return_index=True)[1]

        def mean(draws: np.ndarray) -> float:
            drawn = draws[first] * weights
            if not drawn.any():
                raise UndefinedMetricError(f"none of the {len(areas)} groups that has both labels was drawn")
            return float(drawn @ areas / drawn.sum())

        return mean

    def _measure_areas(self) -> tuple[np.ndarray, np.ndarray]:
        """Return area and weight of each group; groups of one class have none."""
        areas, weights = [], []
        for blocks in self.blocks():
            size, positives = blocks.per_group(blocks.size), blocks.per_group(blocks.positives)
            pairs = positives * (size - positives)
            won = blocks.per_group(count_won(blocks, (size - positives)[blocks.group]))
            areas.append(won / np.maximum(pairs, 1))
            weights.append(size * (pairs > 0))
        if not any(part.any() for part in weights):
            count = sum(map(len, weights))
            raise UndefinedMetricError(f"none of the {count} groups has both positive and negative labels")
        return np.concatenate(areas), np.concatenate(weights)


class CutoffMetric(GroupedMetric):
    """A metric of the first ``k`` rows of each group: the mean over groups with a positive and more than ``k`` rows.

    All rows of a smaller group are among the first ``k`` however they are ranked, so that even a constant would hit.
    Ranked are the rows that were logged; no negatives are sampled. Where predictions are tied it is the expected value
    over all orders of the tied rows, in closed form (McSherry and Najork, ECIR 2008). Undefined where no group is left.
    Version 1 counted smaller groups too.
    """

    version = 2

    def __init__(self, k: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if k < 1:
            raise MTBenchError(f"the cutoff of {type(self).__name__} must be at least 1, not {k}")
        self.k = k

    def compute(self) -> Tensor:
        """Return the mean over the groups that count."""
        values, groups, with_positive = [], 0, 0
        for blocks in self.blocks():
            size, positives = blocks.per_group(blocks.size), blocks.per_group(blocks.positives)
            groups += len(size)
            with_positive += int(np.count_nonzero(positives))
            kept = (positives > 0) & (size > self.k)
            values.append(self.per_group(blocks, positives)[kept])
        joined = np.concatenate(values)
        if not with_positive:
            raise UndefinedMetricError(f"none of the {groups} groups has a positive label")
        if not len(joined):
            raise UndefinedMetricError(
                f"none of the {with_positive} groups that have a positive label has more than {self.k} rows"
            )
        return torch.tensor(joined.mean())

    def per_group(self, blocks: Blocks, positives: np.ndarray) -> np.ndarray:
        """Return the value of each group, shape (groups,), given its number of positives; any for those without."""
        raise NotImplementedError


class NDCG(CutoffMetric):
    """Discounted gain of the positives among the first ``k``, over that of an ideal ranking.

    Järvelin and Kekäläinen, TOIS 2002, with gain 0 or 1 and discount 1 / log2(1 + rank).
    """

    def per_group(self, blocks: Blocks, positives: np.ndarray) -> np.ndarray:
        """Return the expected NDCG of each group."""
        depth = min(self.k, int((blocks.above + blocks.size).max()))
        discount = np.append(0.0, np.cumsum(1 / np.log2(np.arange(2, depth + 2))))

        def gain(rows: np.ndarray) -> np.ndarray:
            return discount[np.minimum(rows, depth).astype(int)]  # type: ignore[no-any-return]

        share = blocks.positives / blocks.size
        gains = blocks.per_group(share * (gain(blocks.above + blocks.size) - gain(blocks.above)))
        values: np.ndarray = gains / gain(np.maximum(positives, 1))
        return values


class HitRate(CutoffMetric):
    """Share of groups with a positive among the first ``k``.

    Deshpande and Karypis, TOIS 2004. Of m tied rows with p positives of which t fit, all t are negative with
    probability (1 - p / m) (1 - p / (m - 1)) ... (1 - p / (m - t + 1)).
    """

    def per_group(self, blocks: Blocks, positives: np.ndarray) -> np.ndarray:  # noqa: ARG002
        """Return the expected hit of each group, from 0 to 1."""
        fit = np.clip(self.k - blocks.above, 0, blocks.size).astype(int)
        block = np.repeat(np.arange(len(fit)), fit)
        drawn = np.arange(len(block)) - (fit.cumsum() - fit)[block]
        hit = np.minimum(blocks.positives[block] / (blocks.size[block] - drawn), 1.0)
        with np.errstate(divide="ignore"):  # a sure hit
            miss = np.log1p(-hit)
        return -np.expm1(np.bincount(blocks.group[block], weights=miss))
