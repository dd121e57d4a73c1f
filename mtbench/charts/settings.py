"""Settings and a score: the score against one of them, and all of them side by side."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from mtbench.charts.plots import LETTER, WIDE_LETTER, Line, Mark, Plot, PlotText, framed, join, name_heat, name_series
from mtbench.charts.scale import Scale, find_floor, fit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LINE = 14
"""Pixels between two lines of text."""
SMALL = framed(280, 210, left=50, right=14, top=12, bottom=42)
SLANTED = framed(280, 210, left=50, right=14, top=12, bottom=70)
FEW = 4
"""Ticks of a small picture, about."""
COLUMN = 104
PARALLEL_HEIGHT = 300
CHOICE_ROOM = 92
"""Pixels at the right of the last axis, for its choices."""
MOST_LETTERS = 11
MOST_CHOICES = 8
"""Choices of an axis that are all written beside it, of more the two ends."""


class Axis(NamedTuple):
    """The axis of a setting: a range of numbers, or choices by their texts, which lie at 0, 1 and so on."""

    title: str
    low: float
    high: float
    log: bool = False
    whole: bool = False
    choices: Sequence[str] = ()

    @classmethod
    def of(cls, title: str, choices: Sequence[str]) -> Axis:
        """Return the axis of choices."""
        return cls(title, 0, len(choices) - 1, choices=choices)

    def fit(self, start: float, end: float) -> Scale:
        """Return its scale between two pixels, with some room beyond its ends."""
        if self.choices:
            return Scale(-0.5, len(self.choices) - 0.5, start, end)
        return fit([self.low, self.high], start, end, log=self.log, whole=self.whole)._replace(most=FEW)

    def span(self, start: float, end: float) -> Scale:
        """Return its scale between two pixels that are its ends, unless it has one value alone."""
        low, high = (math.log10(self.low), math.log10(self.high)) if self.log else (self.low, self.high)
        return Scale(low, high, start, end, self.log) if low < high else self.fit(start, end)

    def number(self, value: Any) -> float:
        """Return the number of a value on the scale. Raises ValueError for a text that is no choice."""
        return float(self.choices.index(value) if self.choices else value)


class Tried(NamedTuple):
    """A trial: its name, its values by setting, texts for those with choices, and its score."""

    label: str
    values: Mapping[str, Any]
    score: float


def draw_slice(axis: Axis, trials: Sequence[Tried]) -> Plot:
    """Draw the score against a setting; the best trial is the full dot on top."""
    room = (SMALL.right - SMALL.left) / max(1, len(axis.choices))
    slanted = any(LETTER * len(_cut(text)) > room - LETTER for text in axis.choices)
    frame = SLANTED if slanted else SMALL
    x = axis.fit(frame.left, frame.right)
    y = fit([trial.score for trial in trials], frame.bottom, frame.top)._replace(most=FEW)
    ticks = [(x.at(at), _cut(text)) for at, text in enumerate(axis.choices)] or x.ticks()
    best = max(trials, key=lambda trial: trial.score)
    marks = [
        Mark(
            x.at(axis.number(trial.values[axis.title])),
            y.at(trial.score),
            f"{trial.label}: score {trial.score:.4f}, {_word(trial.values[axis.title])}",
            strong=trial is best,
            hue=name_series(0),
        )
        for trial in sorted(trials, key=lambda trial: trial is best)
    ]
    return Plot(axis.title, "", ticks, y.ticks(), marks, frame=frame, slanted=slanted)


def draw_parallel(axes: Sequence[Axis], trials: Sequence[Tried]) -> Plot:
    """Draw each trial as a line through its settings, coloured by its score, the best on top and with dots."""
    words = [axis.title.split(".") for axis in axes]
    column = max(COLUMN, round(WIDE_LETTER * max(len(word) for title in words for word in title)) + 10)
    width = column * len(axes) + CHOICE_ROOM - column // 2
    frame = framed(width, PARALLEL_HEIGHT, left=column // 2, right=CHOICE_ROOM, top=64, bottom=26)
    across = Scale(0, max(1, len(axes) - 1), frame.left, frame.right)
    scales = [axis.span(frame.bottom, frame.top) for axis in axes]
    lines: list[Line] = []
    texts: list[PlotText] = []
    for index, (axis, scale, title) in enumerate(zip(axes, scales, words, strict=True)):
        x = across.at(index)
        lines.append(Line(f"M{x} {frame.bottom}V{frame.top}", axis.title, "quiet"))
        texts += [PlotText(x, 14 + LINE * at, word) for at, word in enumerate(title)]
        texts += _write_values(axis, scale, x)
    ordered = sorted(trials, key=lambda trial: trial.score)
    low, high = _span([trial.score for trial in ordered])
    paths = [
        [
            (across.at(index), scale.at(axis.number(trial.values[axis.title])))
            for index, (axis, scale) in enumerate(zip(axes, scales, strict=True))
        ]
        for trial in ordered
    ]
    lines += [
        Line(join(path), f"{trial.label}: score {trial.score:.4f}", name_heat((trial.score - low) / (high - low)))
        for trial, path in zip(ordered, paths, strict=True)
    ]
    marks = [
        Mark(*place, f"{ordered[-1].label}, the best: {axis.title} {_word(ordered[-1].values[axis.title])}")
        for axis, place in zip(axes, paths[-1], strict=True)
    ]
    return Plot("", "", marks=marks, lines=lines, texts=texts, frame=frame)


def _write_values(axis: Axis, scale: Scale, x: float) -> list[PlotText]:
    """Return the texts of a vertical axis: its choices at its right, or its ends below and above it."""
    if 0 < len(axis.choices) <= MOST_CHOICES:
        return [PlotText(x + 7, scale.at(at) + 4, _cut(text), "start") for at, text in enumerate(axis.choices)]
    low, high = (axis.choices[0], axis.choices[-1]) if axis.choices else (f"{axis.low:.4g}", f"{axis.high:.4g}")
    return [PlotText(x, scale.at(axis.low) + 17, _cut(low)), PlotText(x, scale.at(axis.high) - 9, _cut(high))]


def _span(scores: Sequence[float]) -> tuple[float, float]:
    """Return the scores between which colours differ, which leaves out what is far worse than the median."""
    best = max(scores)
    lowest = max(min(scores), find_floor(scores))
    return (lowest, best) if lowest < best else (best - 1, best)


def _cut(text: str) -> str:
    return text if len(text) <= MOST_LETTERS else f"{text[: MOST_LETTERS - 1]}\N{HORIZONTAL ELLIPSIS}"


def _word(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
