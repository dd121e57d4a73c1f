"""Raw columns to codes and standardised numbers, block by block, fitted on the training rows alone."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mtbench.errors import MTBenchError
from mtbench.kinds import find_kind

if TYPE_CHECKING:
    from mtbench.schema import Feature, Task

LARGEST = float(np.finfo(np.float32).max)
MISSING = -1
"""The number of a missing value."""

FARTHEST = 1e6
"""Deviations from the mean of training rows at which numbers of other rows are cut off: no network sees an infinity."""

_LATE = 2.0**-21


class Numbering:
    """Numbers the values of a column from 0 in the order of their first appearance."""

    def __init__(self) -> None:
        self.values: pa.Array | None = None
        self._missing = False

    def __len__(self) -> int:
        return 0 if self.values is None else len(self.values)

    def count(self) -> int:
        """Return how many values there are; a missing one, where there is any, counts too."""
        return len(self) + self._missing

    def add(self, column: pa.ChunkedArray | pa.Array) -> np.ndarray:
        """Return the number of each row's value, int32 of shape (rows,): MISSING for null and NaN."""
        encoded = _hashable(_decoded(column)).dictionary_encode().unify_dictionaries().combine_chunks()
        values = encoded.dictionary
        if self.values is None:
            self.values = values.slice(0, 0)
        elif values.type != self.values.type:
            values = values.cast(self.values.type)
        at = pc.index_in(values, value_set=self.values)
        new = at.is_null()
        number = at.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int32)
        fresh = new.to_numpy(zero_copy_only=False)
        number[fresh] = len(self.values) + np.arange(fresh.sum())
        self.values = pa.concat_arrays([self.values, values.filter(new)])
        self._missing |= encoded.null_count > 0
        rows: np.ndarray = np.append(number, np.int32(MISSING))[encoded.indices.fill_null(len(number)).to_numpy()]
        return rows


class Categorical(Numbering):
    """Codes the values of a column that training rows have: sorted, from 1, a missing value last; 0 is unknown.

    ``seen`` counts the values that training rows have, missing ones left out.
    """

    def __init__(self) -> None:
        super().__init__()
        self._is_known = np.zeros(1, bool)
        self.seen = 0

    def fit(self, numbers: np.ndarray) -> None:
        """Take the numbers of training rows into account; call it when all blocks were added."""
        if len(self._is_known) <= len(self):
            self._is_known = np.zeros(len(self) + 1, bool)
        self._is_known[numbers] = True
        self.seen += int((numbers != MISSING).sum())

    def codes(self) -> tuple[np.ndarray, pa.Array]:
        """Return the code of each number, int32, that of a missing value last, and the values of codes from 1."""
        assert self.values is not None
        known = np.flatnonzero(self._is_known[:-1])
        known = known[pc.sort_indices(self.values.take(pa.array(known))).to_numpy()]
        codes = np.zeros(len(self) + 1, np.int32)
        codes[known] = np.arange(1, len(known) + 1)
        vocabulary = self.values.take(pa.array(known))
        if self._is_known[MISSING]:
            codes[MISSING] = len(known) + 1
            vocabulary = pa.concat_arrays([vocabulary, pa.nulls(1, vocabulary.type)])
        return codes, vocabulary


class Standard:
    """Standardises a column by the training rows' mean and deviation (blocks joined as by Chan et al., 1983).

    ``low`` and ``high`` are the extremes of the training rows. By them numbers are brought to the order of 1, by a
    power of two and so without rounding: no square leaves the range of doubles. Where numbers differ in late digits
    alone, what they have in common is taken away before.
    """

    def __init__(self, low: float = math.inf, high: float = -math.inf) -> None:
        self.low, self.high = low, high
        self.missing = False
        self._count = 0
        self._mean = self._squares = self._origin = 0.0
        self._exponent = 0
        if low < high:
            late = high / 2 - low / 2 < _LATE * max(abs(low), abs(high))
            self._origin = low if late else 0.0
            self._exponent = math.frexp(max(abs(low - self._origin), abs(high - self._origin)))[1]

    def fit(self, raw: np.ndarray) -> None:
        """Take the raw numbers of training rows into account."""
        known = self._reduce(raw[~np.isnan(raw)])
        self.missing |= len(known) < len(raw)
        if not len(known) or self.low == self.high:
            return
        mean, count = known.mean(), self._count + len(known)
        apart = mean - self._mean
        self._squares += np.square(known - mean).sum() + apart**2 * self._count * len(known) / count
        self._mean += apart * len(known) / count
        self._count = count

    def scaled(self, raw: np.ndarray) -> np.ndarray:
        """Return the standardised numbers, float32, at most FARTHEST from 0; a missing one is 0, the mean."""
        mean = self.low if self.low == self.high else self._mean  # rounding would give a constant column another one
        scaled = np.clip((self._reduce(raw) - mean) / self._deviation, -FARTHEST, FARTHEST)
        numbers: np.ndarray = np.nan_to_num(scaled, nan=0.0).astype(np.float32)
        return numbers

    def distance(self, one: float, other: float) -> float:
        """Return how many deviations two numbers are apart."""
        ends = self._reduce(np.array([one, other]))
        return float(abs(ends[1] - ends[0]) / self._deviation)

    @property
    def _deviation(self) -> float:
        return math.sqrt(self._squares / self._count) if self.low < self.high else 1.0

    def _reduce(self, raw: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):
            reduced: np.ndarray = np.ldexp(raw - self._origin, -self._exponent)
        return reduced


def lists(column: pa.ChunkedArray | pa.Array) -> tuple[pa.ChunkedArray, np.ndarray]:
    """Return the values of a column of lists, one after the other, and the length of each; a null list is empty."""
    of_lists = _decoded(column)
    if pa.types.is_null(of_lists.type):
        of_lists = of_lists.cast(pa.list_(pa.int8()))
    return pc.list_flatten(of_lists), pc.fill_null(pc.list_value_length(of_lists), 0).to_numpy().astype(np.int32)


def numeric(column: pa.ChunkedArray | pa.Array, feature: Feature, first: int = 0) -> np.ndarray:
    """Return a feature's raw numbers, float64, NaN where missing; ``first`` is the row number of the first.

    Raises MTBenchError for a value that is not finite.
    """
    raw = _numbers(column, f"feature '{feature.name}' is numeric, but its column '{feature.source}'")
    infinite = np.isinf(raw)
    if infinite.any():
        raise MTBenchError(
            f"feature '{feature.name}': column '{feature.source}', row {first + int(infinite.argmax()) + 1}: "
            "the number is infinite; leave the cell empty"
        )
    return np.sign(raw) * np.log1p(np.abs(raw)) if feature.log else raw


def labels(column: pa.ChunkedArray | pa.Array, task: Task, first: int = 0) -> np.ndarray:
    """Return a task's labels, float64 of shape (rows,), NaN where unknown; ``first`` is the row number of the first.

    Raises MTBenchError for a wrong one, or one that is too large for single precision, in which losses are.
    """
    raw = _numbers(column, f"task '{task.name}': column '{task.label}'")
    kind = find_kind(task.kind)
    wrong = (np.abs(raw) > LARGEST) | ~(np.isnan(raw) | kind.allows(raw))
    if wrong.any():
        row = int(wrong.argmax())
        raise MTBenchError(
            f"task '{task.name}': column '{task.label}', row {first + row + 1}: {raw[row]:g} is not {kind.label}; "
            "an unknown label is left empty"
        )
    return raw


def _numbers(column: pa.ChunkedArray | pa.Array, what: str) -> np.ndarray:
    """Return a column as float64, NaN where missing; ``what`` begins the message if it does not hold numbers."""
    values = _decoded(column)
    try:
        numbers: np.ndarray = values.cast(pa.float64(), safe=False).to_numpy()
    except pa.ArrowException as error:
        raise MTBenchError(f"{what} does not hold numbers: {error}") from error
    return numbers


def _decoded(column: pa.ChunkedArray | pa.Array) -> pa.ChunkedArray:
    column = column if isinstance(column, pa.ChunkedArray) else pa.chunked_array([column])
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _hashable(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column of a type that can be numbered and sorted, NaN as null."""
    kind = column.type
    if pa.types.is_null(kind):
        return column.cast(pa.int8())
    if pa.types.is_string_view(kind) or pa.types.is_binary_view(kind):
        return column.cast(pa.large_string() if pa.types.is_string_view(kind) else pa.large_binary())
    if pa.types.is_float16(kind):
        column = column.cast(pa.float32())
    if pa.types.is_floating(kind):
        return pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
    return column
