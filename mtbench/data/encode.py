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
    values = _plain(column)
    known = pc.unique(values.filter(pa.array(train)))
    missing = known.null_count > 0
    known = known.drop_null()
    known = known.take(pc.sort_indices(known))
    codes = pc.fill_null(pc.add(pc.index_in(values, value_set=known), 1), 0)
    result = codes.to_numpy(zero_copy_only=False).astype(np.int32)
    if missing:
        result[values.is_null().to_numpy(zero_copy_only=False)] = len(known) + 1
        known = pa.concat_arrays([known, pa.nulls(1, known.type)])
    return Codes(result, known)


def multi(column: pa.ChunkedArray | pa.Array, train: np.ndarray) -> tuple[Codes, np.ndarray]:
    """Encode a column of lists as the codes of all values and offsets, int64 (rows + 1,); a null list is empty."""
    lists = _combined(column)
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    return categorical(pc.list_flatten(lists), np.repeat(train, lengths)), offsets


def numeric(
    column: pa.ChunkedArray | pa.Array, train: np.ndarray, feature: Feature
) -> tuple[np.ndarray, np.ndarray | None]:
    """Standardise a column by the training rows' mean and deviation, float32 of shape (rows,).

    Missing values become 0, the mean; where training has some, a second column marks them with 1. Raises MTBenchError
    for a value that is not finite.
    """
    values = _combined(column)
    try:
        raw = pc.cast(values, pa.float64()).to_numpy(zero_copy_only=False).astype(np.float64)
    except pa.ArrowException as error:
        raise MTBenchError(
            f"feature '{feature.name}' is numeric, but its column does not hold numbers: {error}"
        ) from error
    if np.isinf(raw).any():
        raise MTBenchError(
            f"feature '{feature.name}' is infinite in row {int(np.isinf(raw).argmax()) + 1}; leave the cell empty"
        )
    missing = np.isnan(raw)
    if feature.log:
        raw = np.sign(raw) * np.log1p(np.abs(raw))
    seen = raw[train & ~missing]
    mean, deviation = (seen.mean(), seen.std()) if len(seen) else (0.0, 0.0)
    scaled = np.where(missing, 0.0, (raw - mean) / (deviation or 1.0)).astype(np.float32)
    return scaled, missing.astype(np.float32) if missing[train].any() else None


def labels(column: pa.ChunkedArray | pa.Array, task: Task) -> np.ndarray:
    """Return a task's labels, float32 of shape (rows,), NaN where unknown. Raises MTBenchError for a wrong one."""
    values = _combined(column)
    try:
        raw = pc.cast(values, pa.float64()).to_numpy(zero_copy_only=False).astype(np.float64)
    except pa.ArrowException as error:
        raise MTBenchError(f"task '{task.name}': column '{task.label}' does not hold numbers: {error}") from error
    wrong = np.isinf(raw) if task.kind == "regression" else ~(np.isnan(raw) | (raw == 0) | (raw == 1))
    if wrong.any():
        row = int(wrong.argmax())
        raise MTBenchError(
            f"task '{task.name}': column '{task.label}', row {row + 1}: {raw[row]:g} is not "
            f"{'a finite number' if task.kind == 'regression' else '0 or 1'}; an unknown label is left empty"
        )
    known: np.ndarray = raw.astype(np.float32)
    return known


def identity(column: pa.ChunkedArray | pa.Array) -> np.ndarray:
    """Return the number of each row's value, int64 of shape (rows,): values are numbered as they appear."""
    encoded = pc.dictionary_encode(_plain(column), null_encoding="encode")
    numbers: np.ndarray = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return numbers


def _combined(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    values = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(values, pa.ChunkedArray):  # more than one array can hold
        values = pa.concat_arrays(values.chunks)
    return values.dictionary_decode() if pa.types.is_dictionary(values.type) else values


def _plain(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """Return a column of a type that can be sorted and looked up, NaN as null."""
    values = _combined(column)
    if pa.types.is_boolean(values.type) or pa.types.is_null(values.type):
        return values.cast(pa.int8())
    if pa.types.is_floating(values.type):
        return pc.if_else(pc.is_nan(values), pa.scalar(None, values.type), values)
    return values
