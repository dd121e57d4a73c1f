"""Leak gates: what must not be true of data before anything is trained on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from mtbench.data.splits import NAMES, TEST, TRAIN, VALID

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mtbench.schema import Schema, Task

STOP_ABOVE = 0.995
WARN_ABOVE = 0.9
BINS = 1024
SAMPLE = 500_000


class Finding(NamedTuple):
    """What a gate found: ``stop`` findings end the run, ``warn`` findings are shown with it."""

    level: Literal["stop", "warn"]
    gate: str
    message: str


def columns(schema: Schema) -> Iterator[Finding]:
    """Check the schema alone: labels, outcomes and truths among the features."""
    labels = {task.label: task.name for task in schema.tasks}
    for feature in schema.features:
        if feature.source in labels:
            yield Finding(
                "stop", "label-as-feature",
                f"feature '{feature.name}' is the label of task '{labels[feature.source]}'; remove it",
            )  # fmt: skip
        elif feature.source in schema.outcomes or feature.source in schema.truth.values():
            yield Finding(
                "stop", "outcome-as-feature",
                f"feature '{feature.name}' is known only after the event (an outcome); remove it from the features",
            )  # fmt: skip


def order(part: np.ndarray, time: np.ndarray | None, by: str, acknowledged: Mapping[str, str]) -> Iterator[Finding]:
    """Check that training ends before validation begins, and validation before test.

    Only a warning where the user asked for a random split, or the dataset's card acknowledges ``time-order``.
    """
    if time is None:
        return
    for earlier, later in ((TRAIN, VALID), (VALID, TEST), (TRAIN, TEST)):
        last, first = time[part == earlier].max(), time[part == later].min()
        if last > first:
            yield Finding(
                "warn" if by == "random" or "time-order" in acknowledged else "stop", "time-order",
                f"time runs backwards: {int((time[part == earlier] > first).sum())} {NAMES[earlier]} rows are later "
                f"than the first {NAMES[later]} row; use split: {{by: time}}",
            )  # fmt: skip


def identities(rows: np.ndarray, part: np.ndarray) -> Iterator[Finding]:
    """Check that no row id stands in two parts of the split."""
    for first, second in ((TRAIN, VALID), (TRAIN, TEST), (VALID, TEST)):
        shared = np.intersect1d(rows[part == first], rows[part == second])
        if len(shared):
            yield Finding(
                "stop", "row-in-two-splits",
                f"{len(shared)} row ids are in both {NAMES[first]} and {NAMES[second]}; "
                "remove the repeated rows, or name a column that identifies rows",
            )  # fmt: skip


def classes(labels: np.ndarray, mask: np.ndarray, part: np.ndarray, tasks: Sequence[Task]) -> Iterator[Finding]:
    """Check that each task has rows of both classes (regression: two values) in each part; labels (rows, tasks)."""
    for column, task in enumerate(tasks):
        for code, name in enumerate(NAMES):
            values = labels[(part == code) & mask[:, column], column]
            if not len(values) or (values == values[0]).all():
                found = f"only the value {values[0]:g}" if len(values) else "no labelled row"
                yield Finding(
                    "stop", "one-class",
                    f"task '{task.name}' has {found} in the {name} rows; leave it out, or give split.{name} more rows",
                )  # fmt: skip


def predictors(
    codes: Mapping[str, tuple[np.ndarray, np.ndarray | None]],
    labels: np.ndarray,
    mask: np.ndarray,
    tasks: Sequence[Task],
    acknowledged: Mapping[str, str],
) -> Iterator[Finding]:
    """Check that no feature predicts a label nearly alone.

    ``codes`` maps each feature to the codes of its values over the training rows, and to the row of each value where a
    row may have several. A value's score is its mean label on one half of the rows; it is judged on the other half.
    """
    for column, task in enumerate(tasks):
        known = mask[:, column]
        for name, (values, owner) in codes.items():
            strength = _strength(values, owner, labels[:, column], known, binary=task.kind == "binary")
            if strength > STOP_ABOVE:
                yield Finding(
                    "stop", "label-copy",
                    f"feature '{name}' alone predicts task '{task.name}' with {_measure(task)} {strength:.4f}: "
                    "it is the label or nearly so; remove it from the features",
                )  # fmt: skip
            elif strength > WARN_ABOVE and name not in acknowledged:
                yield Finding(
                    "warn", "strong-feature",
                    f"feature '{name}' alone predicts task '{task.name}' with {_measure(task)} {strength:.4f}; "
                    "make sure that it is known before the event",
                )  # fmt: skip


def duplicates(matrix: np.ndarray, part: np.ndarray) -> Iterator[Finding]:
    """Report test rows whose features and labels equal a training row's; ``matrix`` (rows, columns) of any numbers."""
    width = matrix.shape[1]
    if not width:
        return
    packed = np.ascontiguousarray(matrix).view(np.dtype((np.void, matrix.itemsize * width))).ravel()
    test = packed[part == TEST]
    repeated = int(np.isin(test, packed[part == TRAIN]).sum())
    if repeated:
        yield Finding(
            "warn", "equal-rows",
            f"{repeated} of {len(test)} test rows ({repeated / len(test):.1%}) equal a training row, labels included",
        )  # fmt: skip


def binned(values: np.ndarray) -> np.ndarray:
    """Return codes of at most 1024 bins of equal counts; a column of fewer distinct values keeps them apart."""
    distinct = np.unique(values[:: max(1, len(values) // SAMPLE)])
    edges = distinct if len(distinct) <= BINS else np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1]))
    return np.searchsorted(edges, values).astype(np.int32)


def _measure(task: Task) -> str:
    return "AUC" if task.kind == "binary" else "R2"


def _strength(
    values: np.ndarray, owner: np.ndarray | None, label: np.ndarray, known: np.ndarray, *, binary: bool
) -> float:
    """Return the AUC (binary) or R2 of a column's cross-fitted target means."""
    rows = len(label)
    half = np.random.default_rng(0).random(rows) < 0.5  # noqa: PLR2004
    at = np.arange(rows) if owner is None else owner
    fit = (half & known)[at]
    prior = label[half & known].mean() if (half & known).any() else 0.0
    size = int(values.max()) + 1 if len(values) else 1
    total = np.bincount(values[fit], minlength=size)
    means = (np.bincount(values[fit], label[at][fit], minlength=size) + prior) / (total + 1)
    score = means[values]
    if owner is not None:
        count = np.bincount(owner, minlength=rows)
        score = np.where(count > 0, np.bincount(owner, score, minlength=rows) / np.maximum(count, 1), prior)
    judged = ~half & known
    return _auc(score[judged], label[judged]) if binary else _r2(score[judged], label[judged])


def _auc(score: np.ndarray, label: np.ndarray) -> float:
    levels, at = np.unique(score, return_inverse=True)
    positive = np.bincount(at, label > 0, minlength=len(levels))
    negative = np.bincount(at, minlength=len(levels)) - positive
    pairs = positive.sum() * negative.sum()
    below = np.cumsum(negative) - negative
    return float((positive * (below + negative / 2)).sum() / pairs) if pairs else 0.5


def _r2(score: np.ndarray, label: np.ndarray) -> float:
    spread = ((label - label.mean()) ** 2).sum() if len(label) else 0.0
    return float(1 - ((label - score) ** 2).sum() / spread) if spread else 0.0
