"""Times as numbers whose order and differences are those of the column."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

LARGEST = 2**63 - 1
DIGITS, PLACES = 38, 9


class Unfit(Exception):  # noqa: N818 - it becomes an MTBenchError where the column is known
    """What is wrong with a column of times, or with the one in ``row`` (from 0) of the block."""

    def __init__(self, what: str, row: int | None = None) -> None:
        super().__init__(what)
        self.row = row


def parse(column: pa.ChunkedArray) -> np.ndarray:
    """Return the times in whatever unit they have: int64, none of them rounded, or the float64 that they are.

    Decimals count in units of their last digit, at most the ninth after the point. Raises Unfit for what no int64 can
    hold, what is infinite, and a column that holds no times.
    """
    kind = column.type
    if pa.types.is_floating(kind):
        time: np.ndarray = column.to_numpy().astype(np.float64)
        _refuse(np.isinf(time), "the time is infinite; write the one that is meant, or drop the row")
        return time
    if pa.types.is_temporal(kind):
        column = column.cast(pa.int32() if kind.bit_width == 32 else pa.int64())  # noqa: PLR2004
    elif pa.types.is_decimal(kind):
        column = _count_units(column, min(max(kind.scale, 0), PLACES))
    elif not pa.types.is_integer(kind):
        raise Unfit(f"holds {kind}; a time must be a number or a timestamp")
    if pa.types.is_decimal(column.type) or pa.types.is_uint64(column.type):
        limit = pa.scalar(LARGEST).cast(column.type)
        _refuse(pc.greater(pc.abs(column), limit).to_numpy(), "is too large a time; write it in a coarser unit")
    whole: np.ndarray = column.cast(pa.int64()).to_numpy()
    return whole


def _count_units(column: pa.ChunkedArray, places: int) -> pa.ChunkedArray:
    """Return decimals as whole numbers of units, which are the last of some decimal places."""
    try:
        exact = column.cast(pa.decimal256(DIGITS, places))
    except pa.ArrowInvalid as error:
        raise Unfit(f"holds times with more than {places} decimals or {DIGITS} digits ({error}); round them") from None
    unit = pa.scalar(Decimal(10) ** places, pa.decimal256(places + 1, 0))
    return pc.multiply(exact, unit).cast(pa.decimal256(DIGITS + places + 2, 0))


def _refuse(wrong: np.ndarray, what: str) -> None:
    if wrong.any():
        raise Unfit(what, int(wrong.argmax()))
