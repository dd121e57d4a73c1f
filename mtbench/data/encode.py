"""Raw columns to codes and standardised numbers, fitted on the training rows alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mtbench.errors import MTBenchError

if TYPE_CHECKING:
    from mtbench.schema import Feature, Task


@dataclass(frozen=True)
class Codes:
    """A categorical column: ``codes`` int32 of shape (rows,), 0 for a value that training does not know.

    ``vocabulary`` lists the known values in the order of their codes, from 1; a missing value that training knows is
    null there.
    """

    codes: np.ndarray
    vocabulary: pa.Array

    @property
    def size(self) -> int:
        """Number of codes, the unknown one included."""
        return len(self.vocabulary) + 1


def categorical(column: pa.ChunkedArray | pa.Array, train: np.ndarray) -> Codes:
    """Encode a column by the sorted values of the rows where ``train`` (bool) holds; missing is one of them."""
    numbers, values = _numbered(column)
    seen = np.zeros(len(values) + 1, bool)
    seen[numbers[train]] = True
    known = np.flatnonzero(seen[:-1])
    known = known[pc.sort_indices(values.take(pa.array(known))).to_numpy()]
    codes = np.zeros(len(values) + 1, np.int32)
    codes[known] = np.arange(1, len(known) + 1)
    vocabulary = values.take(pa.array(known))
    if seen[-1]:
        codes[-1] = len(known) + 1
        vocabulary = pa.concat_arrays([vocabulary, pa.nulls(1, vocabulary.type)])
    return Codes(codes[numbers], vocabulary)


def multi(column: pa.ChunkedArray | pa.Array, train: np.ndarray) -> tuple[Codes, np.ndarray]:
    """Encode a column of lists as the codes of all values and offsets, int64 (rows + 1,); a null list is empty."""
    lists = _decoded(column)
    if pa.types.is_null(lists.type):
        lists = lists.cast(pa.list_(pa.int8()))
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy()
    offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    return categorical(pc.list_flatten(lists), np.repeat(train, lengths)), offsets


def numeric(
    column: pa.ChunkedArray | pa.Array, train: np.ndarray, feature: Feature
) -> tuple[np.ndarray, np.ndarray | None]:
    """Standardise a column by the training rows' mean and deviation, float32 of shape (rows,).

    Missing values become 0, the mean; where training has some, a second column marks them with 1. Raises MTBenchError
    for a value that is not finite.
    """
    raw = _numbers(column, f"feature '{feature.name}' is numeric, but its column '{feature.source}'")
    if np.isinf(raw).any():
        raise MTBenchError(
            f"feature '{feature.name}': column '{feature.source}', row {int(np.isinf(raw).argmax()) + 1}: "
            "the number is infinite; leave the cell empty"
        )
    missing = np.isnan(raw)
    if feature.log:
        raw = np.sign(raw) * np.log1p(np.abs(raw))
    seen = raw[train & ~missing]
    if len(seen) and seen.min() < seen.max():
        mean, deviation = seen.mean(), seen.std()
    else:  # rounding would give a constant column a tiny deviation
        mean, deviation = (seen[0] if len(seen) else 0.0), 1.0
    scaled = np.where(missing, 0.0, (raw - mean) / deviation).astype(np.float32)
    return scaled, missing.astype(np.float32) if missing[train].any() else None


def labels(column: pa.ChunkedArray | pa.Array, task: Task) -> np.ndarray:
    """Return a task's labels, float32 of shape (rows,), NaN where unknown. Raises MTBenchError for a wrong one."""
    raw = _numbers(column, f"task '{task.name}': column '{task.label}'")
    with np.errstate(over="ignore"):
        known: np.ndarray = raw.astype(np.float32)
    wrong = np.isinf(known) if task.kind == "regression" else ~(np.isnan(raw) | (raw == 0) | (raw == 1))
    if wrong.any():
        row = int(wrong.argmax())
        raise MTBenchError(
            f"task '{task.name}': column '{task.label}', row {row + 1}: {raw[row]:g} is not "
            f"{'a finite number' if task.kind == 'regression' else '0 or 1'}; an unknown label is left empty"
        )
    return known


def identity(column: pa.ChunkedArray | pa.Array) -> np.ndarray:
    """Return a number for each row's value, int64 of shape (rows,): equal values share it, missing ones too."""
    return _numbered(column)[0].astype(np.int64)


def _numbers(column: pa.ChunkedArray | pa.Array, what: str) -> np.ndarray:
    """Return a column as float64, NaN where missing; ``what`` begins the message if it does not hold numbers."""
    values = _decoded(column)
    try:
        numbers: np.ndarray = values.cast(pa.float64(), safe=False).to_numpy()
    except pa.ArrowException as error:
        raise MTBenchError(f"{what} does not hold numbers: {error}") from error
    return numbers


def _numbered(column: pa.ChunkedArray | pa.Array) -> tuple[np.ndarray, pa.Array]:
    """Return the position of each row's value among the distinct values, and those; missing stands after the last."""
    encoded = _hashable(_decoded(column)).dictionary_encode().unify_dictionaries().combine_chunks()
    values = encoded.dictionary
    return encoded.indices.fill_null(len(values)).to_numpy(), values


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
