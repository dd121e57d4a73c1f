"""Leak gates: what must not be true of data before anything is trained on it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import combinations
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import pandas as pd

from mtbench.data.splits import NAMES, TEST, TRAIN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from mtbench.schema import Feature, Schema, Task

STOP_ABOVE = 0.995
WARN_ABOVE = 0.9
BINS = 1024
ROWS_IN_BIN = 20
PRIOR_WEIGHT = 0.1  # rows
SAMPLE = 200_000
FEWEST = 5
"""With fewer labels of a class (of numbers: in all) nothing is said of a predictor: chance is too near."""


class Finding(NamedTuple):
    """What a gate found: ``stop`` findings end the run, ``warn`` findings are shown with it."""

    level: Literal["stop", "warn"]
    gate: str
    message: str


class Values(NamedTuple):
    """The values of a feature as codes from 0; ``owner`` is the row of each value where a row may have several.

    The codes of a number are ``ordered``: neighbours may share a bin.
    """

    codes: np.ndarray
    owner: np.ndarray | None = None
    ordered: bool = False


def sample_training(part: np.ndarray) -> np.ndarray:
    """Return the numbers of at most SAMPLE training rows, ascending."""
    sample = np.flatnonzero(part == TRAIN)
    if len(sample) > SAMPLE:  # at random: a stride might meet a period in the rows
        sample = np.sort(np.random.default_rng(0).choice(sample, SAMPLE, replace=False))
    return sample


def columns(schema: Schema, features: Sequence[Feature]) -> Iterator[Finding]:
    """Check the declared columns alone: labels, outcomes and truths among the features, ids included."""
    labels = {task.label: task.name for task in schema.tasks}
    for feature in features:
        if feature.source in labels:
            yield Finding(
                "stop", "label-as-feature",
                f"feature '{feature.name}' is the label of task '{labels[feature.source]}'; "
                f"{_remedy(feature.source, schema)}",
            )  # fmt: skip
        elif feature.source in schema.outcomes or feature.source in schema.truth.values():
            yield Finding(
                "stop", "outcome-as-feature",
                f"feature '{feature.name}' is known only after the event (an outcome); "
                f"{_remedy(feature.source, schema)}",
            )  # fmt: skip


def _remedy(column: str, schema: Schema) -> str:
    listed = any(column == feature.source for feature in schema.features)
    if column == schema.domain:
        return f"remove it from {'the features and from ' if listed else ''}'domain'"
    added = column in {schema.user, schema.item} and not listed
    return "it is an id: switch ids off (ids: false)" if added else "remove it from the features"


def order(
    part: np.ndarray, time: np.ndarray | None, column: str | None, by: str, acknowledged: Mapping[str, str]
) -> Iterator[Finding]:
    """Check that training ends before validation begins, and validation before test.

    Only a warning where the user asked for a random split, or the dataset's card acknowledges ``time-order``.
    """
    if time is None:
        return
    for earlier, later in combinations(range(len(NAMES)), 2):
        first = np.min(time, where=part == later, initial=time.max())
        late = int(((part == earlier) & (time > first)).sum())
        if late:
            yield Finding(
                "warn" if by == "random" or "time-order" in acknowledged else "stop", "time-order",
                f"time runs backwards (column '{column}'): {late} {NAMES[earlier]} rows are later "
                f"than the first {NAMES[later]} row; use split: {{by: time}}",
            )  # fmt: skip


def identities(rows: np.ndarray, part: np.ndarray, column: str) -> Iterator[Finding]:
    """Check that no row id stands in two parts of the split, warm-up included; ``rows`` numbers those of ``column``."""
    for (one, first), (other, second) in combinations(enumerate((*NAMES, "warm-up")), 2):
        shared = np.intersect1d(rows[part == one], rows[part == other])
        if len(shared):
            yield Finding(
                "stop", "row-in-two-splits",
                f"{len(shared)} row ids of column '{column}' are in both {first} and {second}; "
                "remove the repeated rows, or name a column that identifies rows",
            )  # fmt: skip


def classes(
    low: np.ndarray, high: np.ndarray, tasks: Sequence[Task], unlabelled: np.ndarray | None = None
) -> Iterator[Finding]:
    """Check that each task has rows of both classes (of numbers: two values) in each part.

    ``low`` and ``high`` (tasks, parts) are the extremes of the labels that count; low is above high where none does.
    That is only a warning in a test part with ``unlabelled`` rows (rows, tasks), which are predicted without being
    judged.
    """
    for index, (task, least, most) in enumerate(zip(tasks, low, high, strict=True)):
        for part, (name, lowest, highest) in enumerate(zip(NAMES, least, most, strict=True)):
            if lowest < highest:
                continue
            labels = f"only the value {lowest:g}" if lowest == highest else "no labelled row"
            which = f"task '{task.name}' (column '{task.label}') has {labels} in the {name} rows"
            if part == TEST and unlabelled is not None and unlabelled[:, index].any():
                yield Finding("warn", "one-class", f"{which}; those without a label are predicted, not judged")
            else:
                yield Finding("stop", "one-class", f"{which}; leave the task out, or choose another split")


def predictors(
    features: Mapping[str, Values],
    labels: np.ndarray,
    mask: np.ndarray,
    schema: Schema,
    acknowledged: Mapping[str, str],
) -> Iterator[Finding]:
    """Check that no feature predicts a label nearly alone.

    ``features`` maps names to the values of the training rows; ``labels`` and ``mask`` are (rows, tasks). A value is
    scored by its mean label on one half of the rows and judged on the other half, and the other way round. Numbers to
    predict are replaced by their ranks, so that no heavy tail hides a copy.
    """
    for column, task in enumerate(schema.tasks):
        known = np.flatnonzero(mask[:, column])
        label = labels[known, column].astype(np.float64)
        if (min(label.sum(), (1 - label).sum()) if task.probability else len(label)) < FEWEST:
            continue
        half = np.zeros(len(labels), np.int64)
        half[known] = np.random.default_rng(0).permutation(len(known)) % 2
        target = np.zeros(len(labels))
        target[known] = label if task.probability else _ranks(label)
        prior = np.array([target[known[half[known] == side]].mean() for side in (0, 1)])
        judge = _auc if task.probability else partial(_r2, squares=(target**2).sum())
        measure = "AUC" if task.probability else "R2 of ranks"
        strength_of = partial(_strength, judge=judge, half=half, known=known, target=target, prior=prior)
        with ThreadPoolExecutor() as pool:
            strengths = list(pool.map(strength_of, features.values()))
        for name, strength in zip(features, strengths, strict=True):
            warning = f"{name_feature(name, schema)} alone predicts task '{task.name}' with {measure} {strength:.4f}"
            if strength > STOP_ABOVE:
                remedy = _remedy(name, schema)
                yield Finding("stop", "label-copy", f"{warning}: it is the label or nearly so; {remedy}")
            elif strength > WARN_ABOVE and name not in acknowledged:
                yield Finding("warn", "strong-feature", f"{warning}; make sure that it is known before the event")


def name_feature(name: str, schema: Schema) -> str:
    """Say which feature it is, with its column where that is named otherwise."""
    source = next((feature.source for feature in schema.features if feature.name == name), name)
    return f"feature '{name}'" + ("" if source == name else f" (column '{source}')")


def row_hashes(columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return a hash of each row's values in ``columns`` (features and labels), uint64 of shape (rows,)."""
    hashes: np.ndarray = pd.util.hash_pandas_object(pd.DataFrame(columns, copy=False), index=False).to_numpy()
    return hashes


def duplicates(training: Iterable[np.ndarray], test: np.ndarray) -> Iterator[Finding]:
    """Report test rows that equal a training row, by their hashes; those of training come in blocks."""
    distinct, count = np.unique(test, return_counts=True)
    if not len(distinct):
        return
    repeated = np.zeros(len(distinct), bool)
    for block in training:
        hashes = np.sort(block)
        at = np.searchsorted(distinct, hashes)
        at = at[distinct[np.minimum(at, len(distinct) - 1)] == hashes]
        repeated[at] = True
    if repeated.any():
        equal = int(count[repeated].sum())
        yield Finding(
            "warn", "equal-rows",
            f"{equal} of {len(test)} test rows ({equal / len(test):.1%}) equal a training row, labels included",
        )  # fmt: skip


def binned(values: np.ndarray) -> np.ndarray:
    """Return codes of bins of equal counts, about 20 rows or more in each and at most 1024 of them.

    A column of at most 1024 distinct values with five rows each, on average, keeps them apart.
    """
    ordered = np.sort(values)
    edges = ordered[np.flatnonzero(np.diff(ordered, prepend=np.nan))]
    bins = min(BINS, max(2, len(ordered) // ROWS_IN_BIN))
    if len(edges) > min(BINS, max(bins, len(ordered) // FEWEST)):
        edges = np.unique(ordered[np.arange(1, bins) * len(ordered) // bins])
    return np.searchsorted(edges, values)


_Scored = tuple[np.ndarray, np.ndarray, np.ndarray]  # scores, the rows that have each, the sum of their labels


def _strength(values: Values, judge: Callable[..., float], **known: np.ndarray) -> float:
    return max(judge(*scored) for scored in _scored(values, **known))


def _scored(
    values: Values, half: np.ndarray, known: np.ndarray, target: np.ndarray, prior: np.ndarray
) -> Iterator[_Scored]:
    """Score each value by its mean ``target`` among the known rows of the other half, once for either half.

    Each mean counts ``prior``, that half's mean over all, as a tenth of a row; a value that the other half does not
    know gets just that. Where a row may have several values, their scores are joined by mean, by maximum and by
    minimum, each yielded on its own.
    """
    if values.owner is None:
        codes, owner = values.codes[known], known
        if values.ordered:  # the rows that have a label may be few
            codes = binned(codes)
    else:
        is_known = np.zeros(len(target), bool)
        is_known[known] = True
        among = is_known[values.owner]
        codes, owner = values.codes[among], values.owner[among]
    key = 2 * codes.astype(np.int64) + half[owner]
    size = 2 * (int(codes.max(initial=0)) + 1)
    count = np.bincount(key, minlength=size)
    total = np.bincount(key, target[owner], minlength=size)
    means = (total.reshape(-1, 2) + PRIOR_WEIGHT * prior) / (count.reshape(-1, 2) + PRIOR_WEIGHT)
    score = means[:, ::-1].ravel()
    if values.owner is None:
        yield score, count, total
        return
    first = np.flatnonzero(np.diff(owner, prepend=-1))
    lengths = np.diff(first, append=len(owner))
    for join, divisor in ((np.add, lengths), (np.maximum, 1), (np.minimum, 1)):
        joined = prior[1 - half]
        if len(first):
            joined[owner[first]] = join.reduceat(score[key], first) / divisor
        yield joined[known], np.ones(len(known), np.int64), target[known]


def _ranks(label: np.ndarray) -> np.ndarray:
    """Return the mean rank of each label, scaled to lie between -0.5 and 0.5."""
    _, at, count = np.unique(label, return_inverse=True, return_counts=True)
    ranks: np.ndarray = ((np.cumsum(count) - count / 2) / len(label) - 0.5)[at]
    return ranks


def _auc(score: np.ndarray, count: np.ndarray, positive: np.ndarray) -> float:
    levels, at = np.unique(score.round(12), return_inverse=True)  # ties are ties, whatever the rounding
    positives = np.bincount(at, positive, len(levels))
    negatives = np.bincount(at, count - positive, len(levels))
    below = np.cumsum(negatives) - negatives
    return float((positives * (below + negatives / 2)).sum() / (positives.sum() * negatives.sum()))


def _r2(score: np.ndarray, count: np.ndarray, total: np.ndarray, *, squares: float) -> float:
    spread = squares - total.sum() ** 2 / count.sum()
    return float(1 - (squares + (score * (score * count - 2 * total)).sum()) / spread) if spread > 0 else 0.0
