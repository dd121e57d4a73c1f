"""How the raw cells of a column become values, and what is wrong with those that cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NoReturn

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mtbench import Kind

TimeText = Literal["integers", "decimals", "long decimals", "instants", "long instants"]
"""How a column of text writes times; long ones have digits that float64 or microseconds would lose."""

_LABELS = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "false": 0, "true": 1}
_SPLITS = ("train", "valid", "test")
_BYTES = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view, pa.types.is_fixed_size_binary)
_LARGEST = float(np.finfo(np.float32).max)
_NUMBER = r"^[-+]?(\d+\.?\d*|\.\d+)([eE]\S+)?$"
_NANOSECONDS = pa.decimal128(19, 9)
_FIRST_YEAR, _LAST_YEAR = 1678, 2261  # with nanoseconds since 1970 in int64


class Mistake(Exception):  # noqa: N818 - it becomes an MTBenchError where the column is known
    """What is wrong with a column, or with its cell in ``row`` (from 0) of the block."""

    def __init__(self, what: str, row: int | None = None) -> None:
        super().__init__(what)
        self.row = row


def refuse(bad: pa.Array, cells: pa.Array | None, what: str) -> None:
    """Raise Mistake for the first row where ``bad`` is true, with the cell where cells are given."""
    row = pc.index(bad, value=True).as_py()
    if row >= 0:
        _reject(cells, row, what)


def read(cells: pa.Array, parse: Callable[[pa.Array], pa.Array]) -> pa.Array:
    """Return what ``parse`` makes of decoded cells. Raises Mistake, also where Arrow finds no way."""

    def fails(part: pa.Array) -> bool:
        try:
            parse(decode(part))
        except pa.ArrowException:
            return True
        return False

    try:
        return parse(decode(cells))
    except pa.ArrowException as error:
        reason = str(error).partition("\n")[0]
        _reject(cells, _find_first(cells, fails), f"is not read from {cells.type} ({reason}); convert the column")


def decode(cells: pa.Array) -> pa.Array:
    """Decode dictionaries, extensions and bytes: an UUID becomes text, and so does whatever is UTF-8."""
    if pa.types.is_dictionary(cells.type):
        cells = cells.cast(cells.type.value_type)
    if isinstance(cells.type, pa.UuidType):
        return pa.array([uuid and str(uuid) for uuid in cells.to_pylist()], pa.string())
    if isinstance(cells.type, pa.BaseExtensionType):
        cells = cells.storage
    if any(test(cells.type) for test in _BYTES):
        return _cast(cells, pa.string(), "is not UTF-8 text; save the file as UTF-8, and bytes in Parquet as text")
    return cells.cast(pa.string()) if pa.types.is_string_view(cells.type) else cells


def text(cells: pa.Array) -> pa.Array:
    """Return integers as they are and everything else as strings without blanks around them, null where empty."""
    if pa.types.is_integer(cells.type):
        return cells
    if _is_list(cells.type):
        raise Mistake("holds lists; declare it a feature with `kind: multi`")
    if pa.types.is_nested(cells.type):
        raise Mistake(f"holds {cells.type}; give one value per cell")
    if pa.types.is_floating(cells.type):
        cells = pc.if_else(pc.is_nan(cells), None, cells)
    strings = pc.utf8_trim_whitespace(cells.cast(pa.string()))
    return pc.if_else(pc.equal(strings, ""), None, strings)


def numbers(cells: pa.Array) -> pa.Array:
    """Return finite numbers, null where missing."""
    kind = cells.type
    if _is_text(kind):
        what = "is not a number; write it with digits and a decimal point, or leave the cell empty"
        values = _cast(text(cells), pa.float64(), what)
    elif pa.types.is_temporal(kind) or pa.types.is_nested(kind):
        raise Mistake(f"holds {kind}, not numbers; convert it, or declare it otherwise")
    else:
        values = cells.cast(pa.float64(), safe=False)
    infinite = pc.invert(pc.is_finite(values))
    refuse(infinite, cells, "is not a finite number; write a number, or leave the cell empty")
    return values


def probabilities(cells: pa.Array) -> pa.Array:
    """Return numbers from 0 to 1."""
    values = numbers(cells)
    outside = pc.or_(pc.less(values, 0), pc.greater(values, 1))
    refuse(outside, cells, "is no probability; write a number from 0 to 1, or leave the cell empty")
    return values


def labels(cells: pa.Array, *, kind: Kind) -> pa.Array:
    """Return numbers that a label of a kind can be."""
    values = numbers(cells)
    refuse(pc.greater(pc.abs(values), _LARGEST), cells, "is too large a label; write it in a larger unit")
    wrong = pa.array(~kind.allows(values.to_numpy(zero_copy_only=False)))
    what = f"is no {kind.name} label; write {kind.label}, or leave the cell empty where the label is unknown"
    refuse(pc.and_(pc.is_valid(values), wrong), cells, what)
    return values


def binary_labels(cells: pa.Array) -> pa.Array:
    """Return 0 and 1, null where unknown."""
    what = "is no binary label; write 0, 1, true or false, or leave the cell empty where the label is unknown"
    if pa.types.is_integer(cells.type):
        refuse(pc.invert(pc.is_in(cells, value_set=pa.array([0, 1, None], cells.type))), cells, what)
        return cells.cast(pa.int8())
    written = pc.utf8_lower(text(cells))
    codes = pc.index_in(written, value_set=pa.array(list(_LABELS)))
    refuse(pc.and_(pc.is_valid(written), pc.is_null(codes)), cells, what)
    return pc.take(pa.array(list(_LABELS.values()), pa.int8()), codes)


def splits(cells: pa.Array) -> pa.Array:
    """Return names of splits."""
    names = text(cells).cast(pa.string())
    strange = pc.invert(pc.is_in(names, value_set=pa.array([*_SPLITS, None], pa.string())))
    refuse(strange, cells, "is no split; write train, valid or test")
    return names


def lists(cells: pa.Array, *, separator: str) -> pa.Array:
    """Return lists of integers or strings; a cell of text is divided at the separator."""
    if _is_list(cells.type):
        if pa.types.is_nested(cells.type.value_type):
            raise Mistake(f"holds {cells.type}; give lists of plain values")
        of_cells, remedy = cells, "remove it from the list"
    else:
        of_cells = pc.split_pattern(text(cells).cast(pa.string()), separator)
        remedy = f"remove the '{separator}' too many"
    lengths = pc.fill_null(pc.list_value_length(of_cells), 0).to_numpy(zero_copy_only=False)
    owner = np.repeat(np.arange(len(cells)), lengths)
    try:
        values = text(decode(pc.list_flatten(of_cells)))
    except Mistake as mistake:
        raise Mistake(str(mistake), None if mistake.row is None else int(owner[mistake.row])) from None
    if values.null_count:
        row = int(owner[pc.index(pc.is_null(values), value=True).as_py()])
        _reject(cells, row, f"holds an empty value; {remedy}")
    ends = np.cumsum([0, *lengths], dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(ends), values, mask=pc.is_null(of_cells))


def tell_time_text(blocks: Iterable[pa.Array], *, formatted: bool = False) -> TimeText:
    """Say how a column of text writes times: as numbers if the first one is, and they are not ``formatted``.

    Other columns need no such look.
    """
    numbered = None
    whole = exact = True
    long = False
    for block in blocks:
        try:
            cells = decode(block)
        except Mistake:
            return "decimals"
        if not _is_text(cells.type):
            return "instants"
        strings = text(cells)
        if numbered is None:
            first = strings.drop_null().slice(0, 1)
            numbered = not formatted and pc.all(pc.match_substring_regex(first, _NUMBER)).as_py()
        long = long or pc.any(pc.match_substring_regex(strings, r"(\d\.?){16}" if numbered else r"[.,]\d{7}")).as_py()
        if numbered:
            whole, exact = whole and _can_be(strings, pa.int64()), exact and _can_be(strings, _NANOSECONDS)
    if not numbered:
        return "long instants" if long else "instants"
    return "integers" if whole else "long decimals" if long and exact else "decimals"


def _can_be(cells: pa.Array, kind: pa.DataType) -> bool:
    try:
        cells.cast(kind)
    except pa.ArrowInvalid:
        return False
    return True


def times(cells: pa.Array, *, written: TimeText, time_format: str | None) -> pa.Array:
    """Return microseconds since 1970 of instants, and numbers as they are; ``written`` says how text is to be read.

    Instants that are stored or written with nanoseconds are nanoseconds.
    """
    kind = cells.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        unit, zone = (kind.unit, kind.tz) if pa.types.is_timestamp(kind) else ("us", None)
        instants = pa.timestamp("ns" if unit == "ns" else "us", zone)
        return _cast(cells, instants, "is too far a time; write one in years of four digits").cast(pa.int64())
    if pa.types.is_decimal(kind):
        return cells
    if pa.types.is_integer(kind):
        return _cast(cells, pa.int64(), "is too large a time; write it in a coarser unit")
    if not _is_text(kind) or written == "decimals":
        return numbers(cells)
    strings = text(cells)
    if written in {"integers", "long decimals"}:
        return strings.cast(pa.int64() if written == "integers" else _NANOSECONDS)
    return _parse_instants(strings, time_format, long=written == "long instants")


def _parse_instants(strings: pa.Array, time_format: str | None, *, long: bool) -> pa.Array:
    """Parse times to microseconds since 1970, or nanoseconds if ``long``; UTC where no zone is given."""
    if time_format is None:
        what = "is not a time in ISO 8601; write it like 2024-01-31T18:30:00, or set time_format"
        # pandas would take 'now' and 'today' for times
        written = pc.if_else(pc.match_substring_regex(strings, r"^\d"), strings, None)
    else:
        what, written = f"is not a time of the form '{time_format}'; mend the cell, or set time_format", strings
    try:
        parsed = pd.to_datetime(written.to_pandas(), format=time_format or "ISO8601", utc=True, errors="coerce")
    except ValueError as error:
        raise Mistake(f"time_format '{time_format}' is not understood: {error}; use the codes of strptime") from None
    unknown = parsed.isna().to_numpy()
    refuse(pc.and_(pc.is_valid(strings), pa.array(unknown)), strings, what)
    if long:
        outside = (parsed.dt.year < _FIRST_YEAR) | (parsed.dt.year > _LAST_YEAR)
        refuse(pa.array(outside.to_numpy()), strings, "has no nanoseconds in 64 bits; write times with six decimals")
    numbers = parsed.to_numpy(dtype=f"datetime64[{'ns' if long else 'us'}]").astype("int64")
    return pa.array(numbers, mask=unknown)


def _find_first(cells: pa.Array, fails: Callable[[pa.Array], bool]) -> int:
    """Return the first row that makes a column fail, by halving it."""
    low, high = 0, len(cells)
    while high - low > 1:
        middle = (low + high) // 2
        if fails(cells.slice(low, middle - low)):
            high = middle
        else:
            low = middle
    return low


def _reject(cells: pa.Array | None, row: int, what: str) -> NoReturn:
    if cells is None:
        raise Mistake(what, row)
    cell = repr(cells[row].as_py())
    raise Mistake(f"{cell if len(cell) <= 60 else cell[:57] + '...'} {what}", row)  # noqa: PLR2004


def _cast(cells: pa.Array, kind: pa.DataType, what: str) -> pa.Array:
    def fails(part: pa.Array) -> bool:
        try:
            part.cast(kind)
        except pa.ArrowInvalid:
            return True
        return False

    try:
        return cells.cast(kind)
    except pa.ArrowInvalid:
        _reject(cells, _find_first(cells, fails), what)


def _is_text(kind: pa.DataType) -> bool:
    return any(test(kind) for test in (pa.types.is_string, pa.types.is_large_string))


def _is_list(kind: pa.DataType) -> bool:
    tests = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list, pa.types.is_list_view)
    return any(test(kind) for test in tests)
