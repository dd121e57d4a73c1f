"""The parts of a picture: marks, lines, bars and texts between two axes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from mtbench.charts.scale import Scale, fit

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

LETTER, WIDE_LETTER, LINE_HEIGHT = 6.4, 7.2, 13
"""Pixels of a letter, about, of one in a wide font, and of a line of text."""
MOST_LETTERS = 24
FAR_RIGHT = 0.6
"""Share of the width from which on a label stands at the left of its mark."""


class Frame(NamedTuple):
    """The size of a picture in pixels, and the edges between which it is drawn."""

    width: int
    height: int
    left: int
    right: int
    top: int
    bottom: int


def framed(width: int, height: int, *, left: int = 58, right: int = 18, top: int = 16, bottom: int = 44) -> Frame:
    """Return the frame of a picture with so much room at its four sides."""
    return Frame(width, height, left, width - right, top, height - bottom)


MIDDLE = framed(460, 300)


class Mark(NamedTuple):
    """A point in the picture; only a strong one is full, and ``label`` is empty where it would hide another.

    ``hue`` is the class of its colour, empty for that of all.
    """

    x: float
    y: float
    title: str
    label: str = ""
    end: bool = False
    strong: bool = True
    hue: str = ""
    radius: float = 4.5


class Line(NamedTuple):
    """A line in the picture, as the data of an SVG path."""

    path: str
    title: str = ""
    hue: str = ""


class Bar(NamedTuple):
    """A bar from the left edge, around the height ``y``."""

    y: float
    width: float
    height: float
    title: str
    hue: str = ""


class PlotText(NamedTuple):
    """Words in the picture; ``anchor`` says which end of them lies at ``x``."""

    x: float
    y: float
    words: str
    anchor: str = "middle"


class Plot(NamedTuple):
    """A picture of marks, lines, bars and texts in a frame; ticks are places with their texts.

    Those of ``x`` are slanted where they would not fit side by side.
    """

    x_title: str
    y_title: str
    x_ticks: Sequence[tuple[float, str]] = ()
    y_ticks: Sequence[tuple[float, str]] = ()
    marks: Sequence[Mark] = ()
    lines: Sequence[Line] = ()
    bars: Sequence[Bar] = ()
    texts: Sequence[PlotText] = ()
    frame: Frame = MIDDLE
    slanted: bool = False


def fit_both(
    xs: Iterable[float], ys: Iterable[float], frame: Frame = MIDDLE, *, log: bool = False, whole: bool = False
) -> tuple[Scale, Scale]:
    """Return the scales of a frame for the values across, which may be logarithmic or whole, and for those upwards."""
    return fit(xs, frame.left, frame.right, log=log, whole=whole), fit(ys, frame.bottom, frame.top)


def name_series(number: int | None) -> str:
    """Return the class of the colour of a series, from 0; empty for none. After ten come the same colours, dashed."""
    return "" if number is None else f"series-{number % 10}" + (" again" if number >= 10 else "")  # noqa: PLR2004


def name_heat(share: float) -> str:
    """Return the class of the colour between bad (0) and good (1)."""
    return f"heat-{round(10 * min(1.0, max(0.0, share)))}"


def join(points: Iterable[tuple[float, float]]) -> str:
    """Return the path through the points, straight from each to the next."""
    return "".join(f"{'L' if index else 'M'}{x} {y}" for index, (x, y) in enumerate(points))


def climb(points: Sequence[tuple[float, float]]) -> str:
    """Return the path through the points in steps: across, then up or down."""
    (x, y), *others = points
    return f"M{x} {y}" + "".join(f"H{across}V{up}" for across, up in others)


def part_labels(marks: Sequence[Mark]) -> list[Mark]:
    """Return the marks without the labels that would lie on another; the last marks keep theirs."""
    taken: list[tuple[float, float, float]] = []
    parted = []
    for mark in reversed(marks):
        label = mark.label[:MOST_LETTERS]
        width = LETTER * len(label) + 10
        left = mark.x - width if mark.end else mark.x
        hidden = any(
            left < right and start < left + width and abs(mark.y - y) < LINE_HEIGHT for start, right, y in taken
        )
        if label and not hidden:
            taken.append((left, left + width, mark.y))
        parted.append(mark._replace(label="" if hidden else label))
    return parted[::-1]
