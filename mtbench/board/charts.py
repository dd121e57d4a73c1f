"""Charts as geometry, which templates draw as inline SVG: scales, ticks, marks and lines."""

from __future__ import annotations

import math
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from mtbench.record.form import best_so_far

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mtbench.board.standings import Interval

WIDTH, HEIGHT = 460, 300
LEFT, RIGHT, TOP, BOTTOM = 58, 18, 16, 44
TICKS = 5
MOST_POINTS = 300
MARGIN = 0.06
LEAST_DECADES = 0.2
LETTER, LINE_HEIGHT = 6.4, 13
MOST_LETTERS = 24
LARGEST = 1e200
"""What is drawn is smaller, so that differences and powers of ten are numbers."""
SHOWN_BELOW = 2.5
"""How many times the distance from the best to the median a scale reaches down."""


class Point(NamedTuple):
    """Something at a cost and a quality."""

    label: str
    cost: float | None
    quality: float | None


class Mark(NamedTuple):
    """A point in the picture; only a strong one is full, and ``label`` is empty where it would hide another."""

    x: float
    y: float
    title: str
    label: str = ""
    end: bool = False
    strong: bool = True


class Line(NamedTuple):
    """A line in the picture, as the data of an SVG path."""

    path: str
    title: str = ""


class Plot(NamedTuple):
    """A picture of marks and lines between two axes; ticks are places with their texts."""

    x_title: str
    y_title: str
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    marks: list[Mark]
    lines: list[Line]


class Whisker(NamedTuple):
    """An interval from 0 (worst of its column) to 100 (best); one that lies below the scale is ``off``."""

    low: float
    mean: float
    high: float
    off: bool


class Scale(NamedTuple):
    """Places of numbers between two pixels."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def at(self, value: float) -> float:
        """Return where a number lies."""
        if self.log:
            value = math.log10(value)
        return round(self.start + (self.end - self.start) * (value - self.low) / (self.high - self.low), 1)

    def ticks(self) -> list[tuple[float, str]]:
        """Return round numbers with their texts."""
        if self.log:
            return self._decades()
        step = _step((self.high - self.low) / TICKS)
        digits = max(0, -math.floor(math.log10(step)))
        first = math.ceil(self.low / step)
        numbers = [step * (first + index) for index in range(math.floor((self.high - self.low) / step) + 1)]
        text = f".{digits}f" if step < 10**4 and digits <= TICKS else ".3g"
        return [(self.at(number), format(number + 0.0, text)) for number in numbers if number <= self.high]

    def _decades(self) -> list[tuple[float, str]]:
        few = self.high - self.low <= 2  # noqa: PLR2004 - decades
        stride = max(1, math.ceil((self.high - self.low) / TICKS))
        numbers = [
            factor * 10.0**exponent
            for exponent in range(math.floor(self.low), math.ceil(self.high) + 1, stride)
            for factor in ((1, 2, 5) if few else (1,))
        ]
        return [(self.at(number), short(number)) for number in numbers if self.low <= math.log10(number) <= self.high]


def short(number: float) -> str:
    """Return a number in few letters: 25 k, 1.2 M."""
    for unit, factor in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if factor <= abs(number) < 1e3 * factor:
            return f"{number / factor:.3g} {unit}"
    return f"{number:.3g}"


def shade(share: float) -> int:
    """Return the tenths of a share, for a colour."""
    return round(10 * min(1.0, max(0.0, share)))


def finite(number: float | None) -> float | None:
    """Return a number that can be drawn, else None; what is as good as 0 is 0."""
    try:
        found = math.nan if number is None else float(number)
    except OverflowError:
        return None
    if abs(found) < 1 / LARGEST:
        return 0.0
    return found if abs(found) < LARGEST else None


def _step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return power * next(factor for factor in (1, 2, 5, 10, 20) if factor * power >= rough)


def _scale(values: Iterable[float], start: float, end: float, *, log: bool = False) -> Scale:
    """Return a scale with some room beyond the values."""
    known = [math.log10(value) if log else value for value in values]
    low, high = min(known), max(known)
    room = max(MARGIN * (high - low), LEAST_DECADES) if log else MARGIN * (high - low) or 0.05 * abs(high) or 0.5
    return Scale(low - room, high + room, start, end, log)


def _frame(xs: Sequence[float], ys: Sequence[float], *, log: bool = False) -> tuple[Scale, Scale]:
    return _scale(xs, LEFT, WIDTH - RIGHT, log=log), _scale(ys, HEIGHT - BOTTOM, TOP)


def pareto(points: Sequence[Point], x_title: str, y_title: str) -> Plot | None:
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
    lowest = _floor([quality for _, quality, _ in known])
    known = [each for each in known if each[1] >= lowest]
    known.sort(key=lambda each: (each[0], -each[1], each[2]))
    x, y = _frame([each[0] for each in known], [each[1] for each in known], log=True)
    marks: list[Mark] = []
    path, best = "", -math.inf
    for cost, quality, point in known:
        across, up = x.at(cost), y.at(quality)
        strong = quality > best
        title = f"{point.label}: {y_title} {quality:.2f}, {x_title} {short(cost)}"
        marks.append(Mark(across, up, title, point.label if strong else "", across > WIDTH * 0.6, strong))
        if strong:
            path += f"H{across}V{up}" if path else f"M{across} {up}"
            best = quality
    return Plot(x_title, y_title, x.ticks(), y.ticks(), _apart(marks), [Line(f"{path}H{WIDTH - RIGHT}")])


def _apart(marks: Sequence[Mark]) -> list[Mark]:
    """Return the marks without the labels that would lie on another; the best keep theirs."""
    taken: list[tuple[float, float, float]] = []
    found = []
    for mark in reversed(marks):
        label = mark.label[:MOST_LETTERS]
        width = LETTER * len(label) + 10
        left = mark.x - width if mark.end else mark.x
        hidden = any(
            left < right and start < left + width and abs(mark.y - y) < LINE_HEIGHT for start, right, y in taken
        )
        if label and not hidden:
            taken.append((left, left + width, mark.y))
        found.append(mark._replace(label="" if hidden else label))
    return found[::-1]


def curves(runs: Sequence[tuple[str, Sequence[float], int | None]], x_title: str, y_title: str) -> Plot | None:
    """Draw a value per epoch as a line for each run (name, values, chosen epoch from 0); None without values."""
    drawn = [
        (
            name,
            _thinned([(epoch, value) for epoch, each in enumerate(values) if (value := finite(each)) is not None], at),
        )
        for name, values, at in runs
    ]
    points = [point for _, line in drawn for point in line]
    if not points:
        return None
    x, y = _frame([epoch + 1 for epoch, _ in points], [value for _, value in points])
    lines, marks = [], []
    for (name, line), (_, _, chosen) in zip(drawn, runs, strict=True):
        lines.append(
            Line("".join(f"{'L' if i else 'M'}{x.at(e + 1)} {y.at(v)}" for i, (e, v) in enumerate(line)), name)
        )
        marks += [
            Mark(x.at(epoch + 1), y.at(value), f"{name}: {value:.4f} in epoch {epoch + 1}, chosen")
            for epoch, value in line
            if epoch == chosen
        ]
    whole = [tick for tick in x.ticks() if "." not in tick[1]]
    return Plot(x_title, y_title, whole, y.ticks(), marks, lines)


def progress(
    runs: Sequence[tuple[str, Sequence[tuple[float, float | None]]]], x_title: str, y_title: str
) -> Plot | None:
    """Draw the best so far as steps for each run (name, (spent, value) in their order), named at its end.

    None without values.
    """
    shown = [(name, climb) for name, trials in runs if (climb := _climb(trials))]
    if not shown:
        return None
    shown.sort(key=lambda each: (each[1][-1][1], each[0]))
    points = [point for _, climb in shown for point in climb]
    x, y = _frame([0.0, *(spent for spent, _ in points)], [value for _, value in points])
    lines, marks = [], []
    for name, climb in shown:
        (first, start), (last, best) = climb[0], climb[-1]
        steps = "".join(f"H{x.at(spent)}V{y.at(value)}" for spent, value in climb[1:])
        lines.append(Line(f"M{x.at(first)} {y.at(start)}{steps}", name))
        title = f"{name}: {y_title} {best:.2f}, {x_title} {short(last)}"
        marks.append(Mark(x.at(last), y.at(best), title, name, x.at(last) > WIDTH * 0.6))
    return Plot(x_title, y_title, x.ticks(), y.ticks(), _apart(marks), lines)


def _climb(points: Sequence[tuple[float, float | None]]) -> list[tuple[float, float]]:
    """Return the points that can be drawn, each with the best value up to it."""
    best = best_so_far(finite(quality) for _, quality in points)
    return [
        (spent, value)
        for (cost, _), value in zip(points, best, strict=True)
        if (spent := finite(cost)) is not None and value is not None
    ]


def _thinned(points: Sequence[tuple[int, float]], chosen: int | None) -> list[tuple[int, float]]:
    stride = 1 + len(points) // MOST_POINTS
    kept = {chosen, len(points) - 1}
    return [point for index, point in enumerate(points) if index % stride == 0 or index in kept]


def _floor(values: Sequence[float]) -> float:
    best = max(values)
    return best - (SHOWN_BELOW * (best - median(values)) or math.inf)


def whiskers(intervals: Sequence[Interval | None], *, higher_is_better: bool = True) -> list[Whisker | None]:
    """Return the intervals of a column on one scale, which leaves out what is far worse than the median."""
    sign = 1 if higher_is_better else -1
    turned = [
        None
        if each is None or None in map(finite, each)
        else sorted((sign * each.low, sign * each.mean, sign * each.high))
        for each in intervals
    ]
    known = [each for each in turned if each]
    if not known:
        return [None] * len(turned)
    best = max(high for _, _, high in known)
    worst = max(min(low for low, _, _ in known), _floor([mean for _, mean, _ in known]))
    if worst >= best:
        return [Whisker(50.0, 50.0, 50.0, off=False) if each else None for each in turned]

    def at(value: float) -> float:
        return round(min(100.0, max(0.0, 100 * (value - worst) / (best - worst))), 1)

    return [Whisker(at(each[0]), at(each[1]), at(each[2]), off=each[1] < worst) if each else None for each in turned]
