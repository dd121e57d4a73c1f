"""The state of every metric here: all rows taken in."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torchmetrics.utilities.data import dim_zero_cat

from mtbench import Metric, UndefinedMetricError, find_kind


class RowMetric(Metric):
    """A metric that keeps predictions, labels and groups of all rows and computes in float64.

    Subclasses implement ``value(preds, target)``, both float64 of shape (rows,); grouped ones override ``compute``.
    ``update`` raises ValueError where shapes differ, a prediction or label is not finite, or a binary label is neither
    0 nor 1.
    """

    preds: list[Tensor]
    target: list[Tensor]
    indexes: list[Tensor]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name in ("preds", "target", "indexes"):
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def update(self, preds: Tensor, target: Tensor, indexes: Tensor | None = None) -> None:
        """Take in some rows, each argument of shape (rows,)."""
        name = type(self).__name__
        shapes = [tuple(part.shape) for part in (preds, target, indexes) if part is not None]
        if preds.ndim != 1 or len(set(shapes)) > 1:
            raise ValueError(f"{name}: predictions, labels and groups must all have shape (rows,), not {shapes}")
        for part, what in ((preds, "predictions"), (target, "labels")):
            if part.numel() and not all(bound.isfinite() for bound in part.aminmax()):
                wrong = int((~part.isfinite()).sum())
                raise ValueError(f"{name}: {wrong} of {len(part)} {what} are NaN or infinite")
        binary = all(find_kind(kind).probability for kind in self.kinds)
        if binary and bool(((target != 0) & (target != 1)).any()):
            raise ValueError(f"{name}: the labels of a binary task must be 0 or 1")
        self.preds.append(preds)
        self.target.append(target)
        if indexes is not None and self.grouped:
            self.indexes.append(indexes)

    def compute(self) -> Tensor:
        """Return the value over all rows taken in, a float64 scalar."""
        return self.value(*self.rows())

    def value(self, preds: Tensor, target: Tensor) -> Tensor:
        """Return the metric of these rows."""
        raise NotImplementedError

    def rows(self) -> tuple[Tensor, Tensor]:
        """Return predictions and labels as float64; raise UndefinedMetricError where there are no rows."""
        if not _count(self.preds):
            raise UndefinedMetricError("there are no rows")
        return _join(self.preds).double(), _join(self.target).double()

    def groups(self) -> Tensor:
        """Return the group of each row; raise UndefinedMetricError where rows came without groups."""
        if _count(self.indexes) != _count(self.preds):
            raise UndefinedMetricError("the rows have no groups (the dataset names no user)")
        return _join(self.indexes)


def _join(parts: list[Tensor] | Tensor) -> Tensor:
    whole: Tensor = parts[0] if isinstance(parts, list) and len(parts) == 1 else dim_zero_cat(parts)
    return whole.cpu()


def _count(parts: list[Tensor] | Tensor) -> int:
    # between processes torchmetrics joins the list to one tensor
    return parts.numel() if isinstance(parts, Tensor) else sum(part.numel() for part in parts)


def count_positives(target: Tensor) -> int:
    """Return the number of positive labels; raise UndefinedMetricError unless both classes are there."""
    count = int(target.sum())
    if count in {0, len(target)}:
        raise UndefinedMetricError(f"all {len(target)} labels are {0 if count == 0 else 1}")
    return count
