"""What the training rows of a raw table teach, vocabularies and scales, and all rows encoded by it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mtbench.data import encode, splits
from mtbench.data.scratch import blocks

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pyarrow as pa

    from mtbench.data.raw import Raw


@dataclass(frozen=True)
class Codes:
    """The codes of a column's numbers, that of a missing value last, 0 where training does not know the value.

    ``vocabulary`` lists the known values in the order of their codes, from 1; a missing value that training knows is
    null there. ``count`` is how many values, missing ones left out, training rows hold.
    """

    column: str
    of_number: np.ndarray
    vocabulary: pa.Array
    count: int

    @property
    def size(self) -> int:
        """Number of codes, the unknown one included."""
        return len(self.vocabulary) + 1


class Encoded(NamedTuple):
    """The rows ``rows`` of the table, encoded: R rows, C categorical and N numeric features, T tasks.

    ``categorical`` (R, C) and ``numeric`` (R, N); ``multi`` holds the codes of each feature's lists, one after the
    other, and the length of each; ``labels`` (R, T) are 0 where unknown, float64 if float32 does not hold all of the
    table, and ``mask`` (R, T) says which ones count.
    """

    rows: slice
    categorical: np.ndarray
    numeric: np.ndarray
    multi: Mapping[str, tuple[np.ndarray, np.ndarray]]
    labels: np.ndarray
    mask: np.ndarray


class Fitted:
    """A raw table under a split, with all that is fitted on its training rows.

    ``categorical`` and ``multi`` hold the codes by feature; ``low`` and ``high`` (tasks, parts) the extremes of the
    labels that count.
    """

    def __init__(self, raw: Raw, part: np.ndarray) -> None:
        self.raw = raw
        self.part = part
        kinds: dict[str, list[str]] = {"categorical": [], "multi": [], "numeric": []}
        for feature in raw.features:
            kinds[feature.kind].append(feature.name)
        source = {feature.name: feature.source for feature in raw.features}
        known = {column: self._fit_codes(column) for column in {source[name] for name in kinds["categorical"]}}
        self.categorical = {name: known[source[name]] for name in kinds["categorical"]}
        known = {column: self._fit_list_codes(column) for column in {source[name] for name in kinds["multi"]}}
        self.multi = {name: known[source[name]] for name in kinds["multi"]}
        self.numeric = {name: self._fit_standard(name) for name in kinds["numeric"]}
        self.low, self.high = self._find_extremes()

    def numeric_names(self) -> Iterator[str]:
        """Return the numeric columns as models see them: a second one where training has missing values."""
        for name, standard in self.numeric.items():
            yield name
            if standard.missing:
                yield f"{name} missing"

    def encode_blocks(self) -> Iterator[Encoded]:
        """Return all rows, block by block, in the order of the table."""
        starts = dict.fromkeys(self.raw.listed, 0)
        for rows in blocks(self.raw.rows):
            lists = {column: self._read_lists(column, rows, start) for column, start in starts.items()}
            starts = {column: start + len(lists[column][0]) for column, start in starts.items()}
            labels, mask = self._read_labels(rows)
            yield Encoded(
                rows,
                _stack([self._encode_categorical(name, rows) for name in self.categorical], rows, np.int32),
                _stack([part for name in self.numeric for part in self._encode_numeric(name, rows)], rows, np.float32),
                {name: (codes.of_number[lists[codes.column][0]], lists[codes.column][1])
                 for name, codes in self.multi.items()},
                labels,
                mask,
            )  # fmt: skip

    def find_unlabelled(self) -> np.ndarray | None:
        """Return which test rows lack a label that a task may have for them, bool of shape (rows, tasks); None if none.

        A row that is known not to be ``given`` has no such label.
        """
        names = [task.name for task in self.raw.schema.tasks]
        unlabelled = np.zeros((self.raw.rows, len(names)), bool)
        for rows in blocks(self.raw.rows):
            labels = self.raw.scratch.read("labels", rows)
            unknown = np.isnan(labels)
            for index, task in enumerate(self.raw.schema.tasks):
                lacks = unknown[:, index]
                if task.given is not None:
                    given = names.index(task.given)
                    lacks = unknown[:, given] | (lacks & (labels[:, given] == 1))
                unlabelled[rows, index] = lacks & (self.part[rows] == splits.TEST)
        return unlabelled if unlabelled.any() else None

    def _fit_codes(self, column: str) -> Codes:
        categorical = self.raw.numbered[column]
        for rows in blocks(self.raw.rows):
            train = self.part[rows] == splits.TRAIN
            categorical.fit(self.raw.scratch.read(f"number {column}", rows)[train])
        return Codes(column, *categorical.codes(), categorical.seen)

    def _fit_list_codes(self, column: str) -> Codes:
        categorical, start = self.raw.listed[column], 0
        for rows in blocks(self.raw.rows):
            numbers, lengths = self._read_lists(column, rows, start)
            categorical.fit(numbers[np.repeat(self.part[rows] == splits.TRAIN, lengths)])
            start += len(numbers)
        return Codes(column, *categorical.codes(), categorical.seen)

    def _read_lists(self, column: str, rows: slice, start: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the numbers of some rows' lists, which begin at ``start``, and the lists' lengths."""
        lengths = self.raw.scratch.read(f"length {column}", rows)
        return self.raw.scratch.read(f"list {column}", slice(start, start + int(lengths.sum()))), lengths

    def _fit_standard(self, feature: str) -> encode.Standard:
        low, high = math.inf, -math.inf
        for raw in self._read_training(feature):
            low, high = float(np.fmin.reduce(raw, initial=low)), float(np.fmax.reduce(raw, initial=high))
        standard = encode.Standard(low, high)
        for raw in self._read_training(feature):
            standard.fit(raw)
        return standard

    def _read_training(self, feature: str) -> Iterator[np.ndarray]:
        for rows in blocks(self.raw.rows):
            train = self.part[rows] == splits.TRAIN
            yield self.raw.scratch.read(f"numeric {feature}", rows)[train]

    def _find_extremes(self) -> tuple[np.ndarray, np.ndarray]:
        tasks = len(self.raw.schema.tasks)
        low, high = np.full((tasks, len(splits.NAMES)), np.inf), np.full((tasks, len(splits.NAMES)), -np.inf)
        for rows in blocks(self.raw.rows):
            labels, mask = self._read_labels(rows)
            for code in range(len(splits.NAMES)):
                of_part = self.part[rows] == code
                for task in range(tasks):
                    known = labels[of_part & mask[:, task], task]
                    low[task, code] = known.min(initial=low[task, code])
                    high[task, code] = known.max(initial=high[task, code])
        return low, high

    def _read_labels(self, rows: slice) -> tuple[np.ndarray, np.ndarray]:
        labels = self.raw.scratch.read("labels", rows).astype(self.raw.label_type)
        mask = ~np.isnan(labels)
        names = [task.name for task in self.raw.schema.tasks]
        for index, task in enumerate(self.raw.schema.tasks):
            if task.given is not None:
                mask[:, index] &= labels[:, names.index(task.given)] == 1
        return np.nan_to_num(labels), mask

    def _encode_categorical(self, feature: str, rows: slice) -> np.ndarray:
        codes = self.categorical[feature]
        column: np.ndarray = codes.of_number[self.raw.scratch.read(f"number {codes.column}", rows)]
        return column

    def _encode_numeric(self, feature: str, rows: slice) -> Iterator[np.ndarray]:
        raw, standard = self.raw.scratch.read(f"numeric {feature}", rows), self.numeric[feature]
        yield standard.scaled(raw)
        if standard.missing:
            yield np.isnan(raw).astype(np.float32)


def _stack(columns: Sequence[np.ndarray], rows: slice, kind: type[np.generic]) -> np.ndarray:
    return np.column_stack(columns) if columns else np.zeros((rows.stop - rows.start, 0), kind)


def take_lists(rows: np.ndarray, values: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the lists of the given rows, in their order: values one after the other, and lengths."""
    starts, picked = np.cumsum(lengths, dtype=np.int64)[rows] - lengths[rows], lengths[rows]
    ends = np.cumsum(picked, dtype=np.int64)
    return values[np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - ends + picked, picked)], picked
