"""Whiskers: the intervals of a column of a table, as small drawings on one scale."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from mtbench.charts.scale import find_floor, finite

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mtbench.board.standings import Interval


class Whisker(NamedTuple):
    """An interval from 0 (worst of its column) to 100 (best); one that lies below the scale is ``off``.

    Where there is none, all three are the mean's, which is drawn as a dot.
    """

    low: float
    mean: float
    high: float
    off: bool


def draw_whiskers(intervals: Sequence[Interval | None], *, higher_is_better: bool = True) -> list[Whisker | None]:
    """Return the intervals of a column on one scale, which leaves out what is far worse than the median."""
    sign = 1 if higher_is_better else -1
    drawn = [None if one is None else [one.mean if end is None else end for end in one] for one in intervals]
    turned = [
        None if one is None or None in map(finite, one) else sorted(sign * value for value in one) for one in drawn
    ]
    known = [interval for interval in turned if interval]
    if not known:
        return [None] * len(turned)
    best = max(high for _, _, high in known)
    worst = max(min(low for low, _, _ in known), find_floor([mean for _, mean, _ in known]))
    if worst >= best:
        return [Whisker(50.0, 50.0, 50.0, off=False) if one else None for one in turned]

    def at(value: float) -> float:
        return round(min(100.0, max(0.0, 100 * (value - worst) / (best - worst))), 1)

    return [Whisker(at(one[0]), at(one[1]), at(one[2]), off=one[1] < worst) if one else None for one in turned]
