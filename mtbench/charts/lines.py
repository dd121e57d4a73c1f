"""Lines: a value per epoch, the best so far while a budget is spent, ranks as it grows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtbench.charts.best import best_so_far
from mtbench.charts.plots import FAR_RIGHT, MIDDLE, Line, Mark, Plot, climb, fit_both, join, name_series, part_labels
from mtbench.charts.scale import Scale, finite, fit, short

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mtbench.charts.plots import Frame

MOST_POINTS = 300
DOT = 3.2
MOST_TRIALS = 12
"""Ticks of an axis of trials, about."""


def draw_curves(runs: Sequence[tuple[str, Sequence[float], int | None]], x_title: str, y_title: str) -> Plot | None:
    """Draw a value per epoch as a line for each run (name, values, chosen epoch from 0); None without values."""
    drawn = [
        (
            name,
            _thin([(epoch, value) for epoch, given in enumerate(values) if (value := finite(given)) is not None], at),
        )
        for name, values, at in runs
    ]
    points = [point for _, line in drawn for point in line]
    if not points:
        return None
    x, y = fit_both([epoch + 1 for epoch, _ in points], [value for _, value in points], whole=True)
    marks = [
        Mark(x.at(epoch + 1), y.at(value), f"{name}: {value:.4f} in epoch {epoch + 1}, chosen")
        for (name, line), (_, _, chosen) in zip(drawn, runs, strict=True)
        for epoch, value in line
        if epoch == chosen
    ]
    lines = [Line(join((x.at(epoch + 1), y.at(value)) for epoch, value in line), name) for name, line in drawn]
    return Plot(x_title, y_title, x.ticks(), y.ticks(), marks, lines)


def _thin(points: Sequence[tuple[int, float]], chosen: int | None) -> list[tuple[int, float]]:
    stride = 1 + len(points) // MOST_POINTS
    kept = {chosen, len(points) - 1}
    return [point for index, point in enumerate(points) if index % stride == 0 or index in kept]


def draw_progress(
    runs: Sequence[tuple[str, Sequence[tuple[float, float | None]]]],
    x_title: str,
    y_title: str,
    *,
    form: str = ".2f",
    coloured: bool = False,
    frame: Frame = MIDDLE,
) -> Plot | None:
    """Draw the best so far as steps for each run (name, (spent, value) in their order), named at its end.

    Where ``coloured``, runs have a colour each and every value that is not far below is a dot; what was spent is then a
    number of trials. None without values.
    """
    shown = [(number, name, steps) for number, (name, trials) in enumerate(runs) if (steps := _best_steps(trials))]
    if not shown:
        return None
    shown.sort(key=lambda run: (run[2][-1][1], run[1]))
    points = [point for _, _, steps in shown for point in steps]
    spent_until = [0.0, *(spent for spent, _ in points)]
    x, y = fit_both(spent_until, [value for _, value in points], frame, whole=coloured)
    x = x._replace(most=MOST_TRIALS) if coloured else x
    lines, ends, dots = [], [], []
    for number, name, steps in shown:
        last, best = steps[-1]
        hue = name_series(number) if coloured else ""
        lines.append(Line(climb([(x.at(spent), y.at(value)) for spent, value in steps]), name, hue))
        title = f"{name}: {y_title} {best:{form}}, {x_title} {short(last)}"
        ends.append(Mark(x.at(last), y.at(best), title, name, x.at(last) > FAR_RIGHT * frame.width, hue=hue))
        if coloured:
            dots += [
                Mark(x.at(spent), y.at(value), f"{name}, trial {spent:.0f}: {value:{form}}", hue=hue, radius=DOT)
                for cost, quality in runs[number][1]
                if (spent := finite(cost)) is not None
                and (value := finite(quality)) is not None
                and y.low <= value <= y.high
            ]
    return Plot(x_title, y_title, x.ticks(), y.ticks(), [*dots, *part_labels(ends)], lines, frame=frame)


def _best_steps(points: Sequence[tuple[float, float | None]]) -> list[tuple[float, float]]:
    """Return the points that can be drawn, each with the best value up to it."""
    best = best_so_far(finite(quality) for _, quality in points)
    return [
        (spent, value)
        for (cost, _), value in zip(points, best, strict=True)
        if (spent := finite(cost)) is not None and value is not None
    ]


def draw_ranks(ranks: Mapping[str, Sequence[int | None]], x_title: str, *, frame: Frame = MIDDLE) -> Plot | None:
    """Draw the rank of each series, the best on top, after one trial, after two, and so on; None without ranks."""
    points = [[(spent, rank) for spent, rank in enumerate(curve, 1) if rank is not None] for curve in ranks.values()]
    spent_at = [spent for curve in points for spent, _ in curve]
    if not spent_at:
        return None
    x = fit(spent_at, frame.left, frame.right, whole=True)._replace(most=MOST_TRIALS)
    y = Scale(0.5, len(ranks) + 0.5, frame.top, frame.bottom, whole=True)
    lines, marks, ends = [], [], []
    for number, (name, curve) in enumerate(zip(ranks, points, strict=True)):
        hue = name_series(number)
        lines.append(Line(join((x.at(spent), y.at(rank)) for spent, rank in curve), name, hue))
        marks += [
            Mark(x.at(spent), y.at(rank), f"{name}: rank {rank} after {spent}", hue=hue, radius=DOT)
            for spent, rank in curve[:-1]
        ]
        ends += [
            Mark(x.at(spent), y.at(rank), f"{name}: rank {rank} after {spent}", name, end=True, hue=hue)
            for spent, rank in curve[-1:]
        ]
    return Plot(x_title, "rank", x.ticks(), y.ticks(), [*marks, *part_labels(ends)], lines, frame=frame)
