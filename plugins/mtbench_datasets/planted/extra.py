"""Grades and counts of planted data, which follow from a taste that features show."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

EXTRA = {"ordinal": "rating", "count": "plays"}
"""Kind -> the task that is of it."""

_CUTS = np.array([-5.0, -1.5, 1.5, 5.0])


def expect(kind: str, taste: Floats) -> Floats:
    """Return the mean ratings or numbers of plays of rows (rows,).

    For a taste u, a rating is above k with probability sigmoid(4 u - c_k), the cut points being -5, -1.5, 1.5 and 5;
    plays come from a Poisson distribution with rate exp(u / 2).
    """
    mean: Floats = 1 + _beyond(taste).sum(1) if kind == "ordinal" else _rate(taste)
    return mean


def draw_labels(kind: str, taste: Floats, rng: Generator) -> NDArray[np.int8]:
    """Return the ratings or numbers of plays of rows (rows,)."""
    if kind == "ordinal":
        grades: NDArray[np.int8] = (1 + (rng.random((len(taste), 1)) < _beyond(taste)).sum(1)).astype(np.int8)
        return grades
    return rng.poisson(_rate(taste)).astype(np.int8)


def _beyond(taste: Floats) -> Floats:
    beyond: Floats = expit(4 * taste[:, None] - _CUTS)
    return beyond


def _rate(taste: Floats) -> Floats:
    rate: Floats = np.exp(taste / 2)
    return rate
