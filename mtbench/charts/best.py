"""What is best: up to now, and beside all others."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable


def best_so_far(scores: Iterable[float | None]) -> list[float | None]:
    """Return the best of the first score, of the first two, and so on; None where there is none yet."""

    def better(best: float | None, score: float | None) -> float | None:
        return max((known for known in (best, score) if known is not None), default=None)

    return list(accumulate(scores, better))


def undominated(points: np.ndarray) -> np.ndarray:
    """Return which points (n, k) no other point beats: none is as high everywhere and higher somewhere."""
    beaten = [((points >= point).all(1) & (points > point).any(1)).any() for point in points]
    return ~np.array(beaten, dtype=bool)
