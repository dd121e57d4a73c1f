"""The improvement of a value: its share of the way from the constant predictor to a perfect model.

It has no unit, so that metrics of several tasks can be averaged. Imports no library that is slow to load.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import numpy as np

Values = TypeVar("Values", float, "np.ndarray")


def compute_improvement(value: Values, constant: Values, best: Values) -> Values:
    """Return the share of the way from ``constant`` to ``best``: 0 at the constant predictor, 1 at a perfect model.

    Numbers, or arrays whose shapes broadcast. The constant predictor must not be perfect itself.
    """
    improvement: Values = (value - constant) / (best - constant)
    return improvement
