"""What a metric plugin is."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

import torchmetrics

from mtbench.kinds import DEFAULT

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from torch import Tensor


class UndefinedMetricError(Exception):
    """The value does not exist on these rows (one class, empty group); the message says why, for the record.

    Since 0.1, stable.
    """


class Metric(torchmetrics.Metric):
    """A torchmetrics metric over all predictions of one task.

    ``update(preds, target, indexes)`` takes predictions, labels and, for ``grouped`` metrics, the group (user) of each
    row, all of shape (rows,) and in double precision. A metric that ``ranks`` looks at nothing but the order of the
    rows: where the model gives scores, ``preds`` are these, so the logits of a network, which do not saturate.
    ``compute`` returns a scalar float64 tensor or raises :class:`UndefinedMetricError`. ``kinds`` names the kinds of
    tasks that it judges, and with them those that are judged as these. ``best`` is the value of a perfect model, and
    ``chance`` that of one that knows nothing, None where it depends on the data: relative changes count from it.
    ``limits`` are the least and the greatest value that there can be: no interval goes beyond. ``version`` is raised
    whenever the value changes for the same predictions: records of different metric versions are never compared.

    Since 0.1, stable.
    """

    higher_is_better: bool
    full_state_update = False
    kinds: ClassVar[tuple[str, ...]] = (DEFAULT,)
    grouped: ClassVar[bool] = False
    ranks: ClassVar[bool] = False
    best: ClassVar[float] = 1.0
    chance: ClassVar[float | None] = None
    limits: ClassVar[tuple[float, float]] = (-math.inf, math.inf)
    version: ClassVar[int] = 1

    def update(self, preds: Tensor, target: Tensor, indexes: Tensor | None = None) -> None:
        """Take in some rows."""
        raise NotImplementedError

    def compute(self) -> Tensor:
        """Return the value over all rows taken in."""
        raise NotImplementedError

    def resampler(self) -> Callable[[np.ndarray], float] | None:
        """Return a fast way to value resamples of the rows taken in; None, the default, if there is none.

        What is returned takes how often each row was drawn, int64 of shape (rows,), the same for all rows of a group,
        and returns what ``compute`` would of the rows so repeated, each copy of a group being a group of its own.
        Raises UndefinedMetricError as ``compute`` does.
        """
        return None
