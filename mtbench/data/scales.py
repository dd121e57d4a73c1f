"""The gates over the scale of numbers: extremes beside which the others vanish, and digits that doubles do not keep."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from mtbench.data import encode, gates, splits
from mtbench.data.gates import Finding, name_feature
from mtbench.data.scratch import blocks

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mtbench.data.fitted import Fitted
    from mtbench.schema import Feature

LITTLE, NONE = 1e-3, float(np.finfo(np.float32).eps)
"""Deviations within which half of the training rows lie: a network sees little of them, or one number."""

FEWEST_STEPS = 1024
_WHOLE_BELOW = 2.0**53  # doubles hold every integer


def check_numbers(fitted: Fitted, acknowledged: Mapping[str, str]) -> Iterator[Finding]:
    """Look at the scale of every numeric feature; the card may acknowledge what does not stop."""
    sample = gates.sample_training(fitted.part)
    for feature in fitted.raw.features:
        if feature.kind == "numeric":
            for finding in _check(fitted, feature, sample):
                if finding.level == "stop" or not {feature.name, finding.gate} & {*acknowledged}:
                    yield finding


def _check(fitted: Fitted, feature: Feature, sample: np.ndarray) -> Iterator[Finding]:
    standard, which = fitted.numeric[feature.name], name_feature(feature.name, fitted.raw.schema)
    picked, far = [], None
    for rows in blocks(fitted.raw.rows):
        raw = fitted.raw.scratch.read(f"numeric {feature.name}", rows)
        first, last = np.searchsorted(sample, [rows.start, rows.stop])
        picked.append(raw[sample[first:last] - rows.start])
        beyond = np.abs(standard.scaled(raw)) >= encode.FARTHEST
        if far is None and beyond.any():
            far = rows.start + int(beyond.argmax()), float(raw[beyond.argmax()])
    known = np.concatenate(picked)
    known = known[~np.isnan(known)]
    if not len(known):
        return
    yield from _find_hidden_spread(fitted, feature, which, known)
    if far is not None:
        yield Finding(
            "warn", "far-number",
            f"{which}, row {far[0] + 1}: {far[1]:g} is farther from the training rows than {encode.FARTHEST:g} "
            "standard deviations, and is taken for that far; correct it, or leave the cell empty",
        )  # fmt: skip
    low, high = standard.low, standard.high
    step = math.ulp(max(abs(low), abs(high)))
    if (low < high and high - low < FEWEST_STEPS * step) or (low == high and abs(low) >= _WHOLE_BELOW):
        yield Finding(
            "warn", "lost-digits",
            f"{which} goes from {low:.17g} to {high:.17g} in the training rows, where numbers are told apart in steps "
            f"of {step:g} alone; take away what they have in common",
        )  # fmt: skip


def _find_hidden_spread(fitted: Fitted, feature: Feature, which: str, known: np.ndarray) -> Iterator[Finding]:
    standard, median = fitted.numeric[feature.name], _quantile(known, 0.5)
    ends = [(_quantile(known, 0.25), _quantile(known, 0.75))]
    if ends[0][0] == ends[0][1]:  # then look at those that are not the most common number
        others = known[known != median]
        if not len(others):
            return
        ends = [(_quantile(others, 0.25), _quantile(others, 0.75)), (median, _quantile(others, 0.5))]
    spread = max(standard.distance(*pair) for pair in ends)
    if spread >= LITTLE:
        return
    farthest, at = -1.0, 0
    for rows in blocks(fitted.raw.rows):
        raw = fitted.raw.scratch.read(f"numeric {feature.name}", rows)
        apart = np.abs(raw / 2 - median / 2)
        apart[np.isnan(raw) | (fitted.part[rows] != splits.TRAIN)] = -1
        if apart.max() > farthest:
            farthest, at, value = float(apart.max()), rows.start + int(apart.argmax()), float(raw[apart.argmax()])
    remedy = "correct the number or leave the cell empty" + (
        "" if feature.log else ", or declare the feature `log: true`"
    )
    yield Finding(
        "stop" if spread < NONE else "warn", "hidden-spread",
        f"{which}, row {at + 1}: beside {value:g} the others are nearly one number, half of the training rows being "
        f"within {spread:.0e} standard deviations; {remedy}",
    )  # fmt: skip


def _quantile(numbers: np.ndarray, share: float) -> float:
    return float(np.quantile(numbers, share, method="nearest"))
