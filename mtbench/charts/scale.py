"""Scales: where a number lies between two pixels, the round numbers beside an axis, and numbers in few letters."""

from __future__ import annotations

import math
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

TICKS = 5
MARGIN = 0.06
LEAST_DECADES = 0.2
LARGEST = 1e200
"""What is drawn is smaller, so that differences and powers of ten are numbers."""
SHOWN_BELOW = 2.5
"""How many times the distance from the best to the median a scale reaches down."""


class Scale(NamedTuple):
    """Places of numbers between two pixels; a logarithmic one has its ends as powers of ten.

    ``most`` is how many ticks there are about; those of ``whole`` numbers are whole.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False
    whole: bool = False
    most: int = TICKS

    def at(self, value: float) -> float:
        """Return where a number lies."""
        if self.log:
            value = math.log10(value)
        return round(self.start + (self.end - self.start) * (value - self.low) / (self.high - self.low), 1)

    def ticks(self) -> list[tuple[float, str]]:
        """Return the places of round numbers with their texts."""
        if self.log:
            return self._decades()
        step = _step((self.high - self.low) / self.most)
        if self.whole:
            step = max(1.0, step)
        digits = max(0, -math.floor(math.log10(step)))
        text = f".{digits}f" if step < 10**4 and digits <= TICKS else ".3g"
        return [(self.at(number), format(number + 0.0, text)) for number in _multiples(step, self.low, self.high)]

    def _decades(self) -> list[tuple[float, str]]:
        few = self.high - self.low <= 2  # noqa: PLR2004 - decades
        stride = max(1, math.ceil((self.high - self.low) / self.most))
        numbers = [
            factor * 10.0**exponent
            for exponent in range(math.floor(self.low), math.ceil(self.high) + 1, stride)
            for factor in ((1, 2, 5) if few else (1,))
        ]
        inside = [number for number in numbers if self.low <= math.log10(number) <= self.high]
        if len(inside) < 2:  # noqa: PLR2004 - no two powers of ten, of twice and five times them: any round numbers
            low, high = 10**self.low, 10**self.high
            inside = _multiples(_step((high - low) / self.most), low, high)
        return [(self.at(number), short(number)) for number in inside]


def _multiples(step: float, low: float, high: float) -> list[float]:
    first = math.ceil(low / step)
    numbers = [step * (first + index) for index in range(math.floor((high - low) / step) + 1)]
    return [number for number in numbers if number <= high]


def _step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return power * next(factor for factor in (1, 2, 5, 10, 20) if factor * power >= rough)


def fit(values: Iterable[float], start: float, end: float, *, log: bool = False, whole: bool = False) -> Scale:
    """Return a scale with some room beyond the values."""
    known = [math.log10(value) if log else value for value in values]
    low, high = min(known), max(known)
    room = max(MARGIN * (high - low), LEAST_DECADES) if log else MARGIN * (high - low) or 0.05 * abs(high) or 0.5
    return Scale(low - room, high + room, start, end, log, whole)


def find_floor(values: Sequence[float]) -> float:
    """Return the lowest value worth a place on a scale; what is far worse than the median lies below."""
    best = max(values)
    return best - (SHOWN_BELOW * (best - median(values)) or math.inf)


def short(number: float) -> str:
    """Return a number in few letters: 25 k, 1.2 M."""
    for unit, factor in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if factor <= abs(number) < 1e3 * factor:
            return f"{number / factor:.3g} {unit}"
    return f"{number:.3g}"


def finite(number: float | None) -> float | None:
    """Return a number that can be drawn, else None; what is as good as 0 is 0."""
    try:
        known = math.nan if number is None else float(number)
    except OverflowError:
        return None
    if abs(known) < 1 / LARGEST:
        return 0.0
    return known if abs(known) < LARGEST else None
