"""Agreement of predicted grades with true ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtbench import UndefinedMetricError
from mtbench_metrics.rows import RowMetric

if TYPE_CHECKING:
    from torch import Tensor


class QuadraticWeightedKappa(RowMetric):
    """Agreement with the true grades beyond chance, errors weighing by their squares; predictions are rounded.

    Cohen, Psychological Bulletin 1968: one minus the mean squared error over that of the same predictions with labels
    drawn independently of them, here from the moments in float64. Any constant has 0; where all predictions and labels
    are one grade it is undefined.
    """

    higher_is_better = True
    kinds = ("ordinal",)
    chance = 0.0
    limits = (-1.0, 1.0)

    def value(self, preds: Tensor, target: Tensor) -> Tensor:
        """Return kappa."""
        origin = target[0]  # whole numbers differ exactly, and small ones square so
        preds, target = preds.round() - origin, target - origin
        shift = preds.mean() - target.mean()
        preds, centred = preds - preds.mean(), target - target.mean()
        by_chance = preds.square().mean() + centred.square().mean() + shift.square()
        if by_chance == 0:
            raise UndefinedMetricError(f"all {len(target)} predictions and labels are {origin:g}")
        return 2 * (preds * centred).mean() / by_chance
