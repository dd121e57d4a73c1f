"""Grades and counts of planted data, which follow from the utility of likes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit, logit

from mtbench_datasets.planted.world import BIAS, TASKS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.random import Generator
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

EXTRA = {"ordinal": "rating", "count": "plays"}
"""Kind -> the task that is of it."""

_CUTS = np.array([-2.0, -0.7, 0.7, 2.0])
_LOG_RATE = 0.3  # logarithm of the rate of plays, by unit of utility


def with_extra(probabilities: Floats, extra: Sequence[str]) -> Floats:
    """Return probabilities (..., tasks), and behind them the means of ratings and plays.

    The utility u is the logit of a like without its bias. A rating is above k with probability sigmoid(u - c_k), the
    cut points being -2, -0.7, 0.7 and 2; plays come from a Poisson distribution with rate exp(0.3 u).
    """
    utility = _utility(probabilities)
    means = [1 + _beyond(utility).sum(-1) if kind == "ordinal" else _rate(utility) for kind in extra]
    together: Floats = np.concatenate([probabilities, *(mean[..., None] for mean in means)], axis=-1)
    return together


def draw_extra(kind: str, probabilities: Floats, rng: Generator) -> NDArray[np.integer[Any]]:
    """Return the labels of rows (rows,), ratings or numbers of plays."""
    utility = _utility(probabilities)
    if kind == "ordinal":
        ratings: NDArray[np.integer[Any]] = 1 + (rng.random((len(utility), 1)) < _beyond(utility)).sum(-1)
        return ratings
    return rng.poisson(_rate(utility))


def _utility(probabilities: Floats) -> Floats:
    utility: Floats = logit(probabilities[..., TASKS.index("like")]) - BIAS[TASKS.index("like")]
    return utility


def _beyond(utility: Floats) -> Floats:
    beyond: Floats = expit(utility[..., None] - _CUTS)
    return beyond


def _rate(utility: Floats) -> Floats:
    rate: Floats = np.exp(_LOG_RATE * utility)
    return rate
