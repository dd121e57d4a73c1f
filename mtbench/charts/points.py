"""Points: quality against cost, two values against each other, and what nothing beats among them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mtbench.charts.best import undominated
from mtbench.charts.plots import FAR_RIGHT, MIDDLE, Line, Mark, Plot, climb, fit_both, name_series, part_labels
from mtbench.charts.scale import find_floor, finite, short

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mtbench.charts.plots import Frame


class Point(NamedTuple):
    """Something at a cost and a quality; one of a series has the series' colour, others their names beside them."""

    label: str
    cost: float | None
    quality: float | None
    series: int | None = None


def draw_pareto(
    points: Sequence[Point], x_title: str, y_title: str, *, form: str = ".2f", frame: Frame = MIDDLE
) -> Plot | None:
    """Draw quality against cost on a logarithmic axis, with a line through those that nothing beats in both.

    Those have their names; what is far worse than the median is left out. None without points.
    """
    known = [
        (cost, quality, point)
        for point in points
        if (cost := finite(point.cost)) is not None and cost > 0 and (quality := finite(point.quality)) is not None
    ]
    if not known:
        return None
    lowest = find_floor([quality for _, quality, _ in known])
    known = [one for one in known if one[1] >= lowest]
    known.sort(key=lambda one: (one[0], -one[1], one[2].label))
    x, y = fit_both([cost for cost, _, _ in known], [quality for _, quality, _ in known], frame, log=True)
    free = undominated(np.array([[-cost, quality] for cost, quality, _ in known]))
    marks, front = [], []
    for (cost, quality, point), strong in zip(known, free, strict=True):
        across, up = x.at(cost), y.at(quality)
        title = f"{point.label}: {y_title} {quality:{form}}, {x_title} {short(cost)}"
        label = point.label if strong and point.series is None else ""
        end = across > FAR_RIGHT * frame.width
        marks.append(Mark(across, up, title, label, end, bool(strong), name_series(point.series)))
        if strong:
            front.append((across, up))
    line = Line(f"{climb(front)}H{frame.right}", hue="" if known[0][2].series is None else "quiet")
    return Plot(x_title, y_title, x.ticks(), y.ticks(), part_labels(marks), [line], frame=frame)


class Trade(NamedTuple):
    """Something with two values of which more is better; ``strong`` if nothing beats it, in these and in others."""

    label: str
    across: float
    up: float
    strong: bool
    series: int


def draw_trades(trades: Sequence[Trade], x_title: str, y_title: str, *, frame: Frame = MIDDLE) -> Plot | None:
    """Draw two values against each other, what nothing beats as full dots on top; None without any."""
    if not trades:
        return None
    x, y = fit_both([trade.across for trade in trades], [trade.up for trade in trades], frame)
    marks = [
        Mark(
            x.at(trade.across),
            y.at(trade.up),
            f"{trade.label}: {x_title} {trade.across:.4f}, {y_title} {trade.up:.4f}",
            strong=trade.strong,
            hue=name_series(trade.series),
        )
        for trade in sorted(trades, key=lambda trade: trade.strong)
    ]
    return Plot(x_title, y_title, x.ticks(), y.ticks(), marks, frame=frame)
