"""Raw tables read strictly: whatever is not as expected is an error that names file, column and row.

Rows count from 1; the header of a text file is row 1.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
import zipfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from mtbench import MTBenchError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

RawFile: TypeAlias = "Path | zipfile.Path"  # a file, or a member of an archive, which is read in place
_SEPARATOR = "\x1f"
_BATCH_BYTES = 1 << 24
_HEAD = 1 << 10  # bytes; no text has a NUL among them, and UTF-16 does
_CONVERSION = re.compile(r"In CSV column #(\d+): Row #(\d+): (.*)", re.DOTALL)


def read_delimited(
    path: RawFile,
    types: Mapping[str, pa.DataType],
    *,
    delimiter: str = ",",
    header: bool = True,
    quoted: bool = True,
    null: Collection[str] = ("",),
    optional: Collection[str] = (),
    encoding: str = "utf8",
) -> pa.Table:
    """Return the columns named in ``types`` of a delimited text file, which may be gzipped.

    Without a header the file has exactly these columns in this order. Cells equal to one of ``null`` are missing,
    which only the ``optional`` columns may be. A ``delimiter`` may have several characters. Empty lines are skipped,
    and so is a byte order mark, which says that the file is in UTF-8 whatever the ``encoding`` of the original. Raises
    MTBenchError for anything else.
    """
    encoding = _find_encoding(path, encoding)
    names = _read_header(path, delimiter) if header else list(types)
    if missing := [name for name in types if name not in names]:
        raise MTBenchError(f"{path}: row 1: there is no column {', '.join(missing)}; found {', '.join(names)}")
    with _explain_errors(path, names):
        source: Any = _open_stream(path) if isinstance(path, zipfile.Path) else path
        if len(delimiter) > 1:  # pyarrow splits at single characters
            content = _open_stream(path).read()
            source = pa.BufferReader(content.replace(delimiter.encode(), _SEPARATOR.encode()))
            delimiter = _SEPARATOR
        table = pyarrow.csv.read_csv(
            source,
            # One thread: only then do errors tell the row.
            pyarrow.csv.ReadOptions(use_threads=False, column_names=None if header else names, encoding=encoding),
            pyarrow.csv.ParseOptions(delimiter=delimiter, quote_char='"' if quoted else False),
            _make_conversion(types, null),
        )
    _refuse_missing(table, types, optional, path, first_row=1 + header)
    return table


def read_batches(path: Path, types: Mapping[str, pa.DataType]) -> Iterator[tuple[int, pa.Table]]:
    """Yield the rows of a comma-separated file without header or quotes, as :func:`read_delimited`, piece by piece.

    With each piece comes the number of its first row: for files whose raw text would not fit in memory.
    """
    names = list(types)
    _find_encoding(path, "utf8")
    with _explain_errors(path, names):
        reader = pyarrow.csv.open_csv(
            path,
            pyarrow.csv.ReadOptions(use_threads=False, column_names=names, block_size=_BATCH_BYTES),
            pyarrow.csv.ParseOptions(quote_char=False),
            _make_conversion(types, ("",)),
        )
    first_row = 1
    while True:
        with _explain_errors(path, names):
            batch = next(reader, None)
        if batch is None:
            return
        table = pa.Table.from_batches([batch])
        _refuse_missing(table, types, (), path, first_row=first_row)
        yield first_row, table
        first_row += len(table)


def _make_conversion(types: Mapping[str, pa.DataType], null: Collection[str]) -> Any:
    return pyarrow.csv.ConvertOptions(
        column_types=dict(types), include_columns=list(types), null_values=list(null), strings_can_be_null=True
    )


@contextmanager
def _explain_errors(path: RawFile, names: list[str]) -> Iterator[None]:
    """Turn pyarrow's errors into ones that name the file, the column and the row."""
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        conversion = _CONVERSION.match(str(error))
        if conversion is None:
            raise MTBenchError(f"{path}: {error}; expected the columns {', '.join(names)}") from error
        column, row, what = conversion.groups()
        raise MTBenchError(f"{path}: column '{names[int(column)]}', row {row}: {what}") from error


def _refuse_missing(
    table: pa.Table, types: Collection[str], optional: Collection[str], path: RawFile, *, first_row: int
) -> None:
    for name in types:
        if name not in optional:
            refuse_where(pc.is_null(table[name]), table, name, path, "a value", first_row=first_row)


def _open_stream(path: RawFile) -> Any:
    return pa.BufferReader(path.read_bytes()) if isinstance(path, zipfile.Path) else pa.input_stream(path)


def _find_encoding(path: RawFile, original: str) -> str:
    """Return the encoding of a text file: UTF-8 where a byte order mark says so, else that of the original."""
    try:
        with _open_stream(path) as stream:
            head = stream.read(_HEAD)
    except (pa.ArrowException, OSError) as error:
        raise MTBenchError(f"{path}: {error}; expected a text file") from error
    if b"\0" in head or head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise MTBenchError(f"{path}: is not text in UTF-8; take the file as it was published, or save it as UTF-8")
    return "utf8" if head.startswith(codecs.BOM_UTF8) else original


def _read_header(path: RawFile, delimiter: str) -> list[str]:
    try:
        with _open_stream(path) as stream, io.TextIOWrapper(stream, "utf-8-sig") as text:
            return next(filter(None, csv.reader(text, delimiter=delimiter)), [])
    except (OSError, UnicodeDecodeError) as error:
        raise MTBenchError(f"{path}: {error}; expected a text file whose first line names its columns") from error


def read_parquet(path: Path, types: Mapping[str, pa.DataType]) -> pa.Table:
    """Return the columns named in ``types`` of a Parquet file, cast to them; none of them may have missing values."""
    try:
        names = pyarrow.parquet.read_schema(path).names
        if missing := [name for name in types if name not in names]:
            raise MTBenchError(f"{path}: there is no column {', '.join(missing)}; found {', '.join(names)}")
        table = pyarrow.parquet.read_table(path, columns=list(types)).cast(pa.schema(list(types.items())))
    except (pa.ArrowException, OSError) as error:
        raise MTBenchError(f"{path}: {error}") from error
    for name in types:
        refuse_where(pc.is_null(table[name]), table, name, path, "a value", first_row=1)
    return table


def refuse_where(
    wrong: pa.ChunkedArray, table: pa.Table, column: str, path: RawFile, expected: str, *, first_row: int
) -> None:
    """Raise MTBenchError for the first row where ``wrong`` is true; the table's rows count from ``first_row``."""
    at = pc.index(wrong, True).as_py()
    if at >= 0:
        raise MTBenchError(
            f"{path}: column '{column}', row {at + first_row}: found {table[column][at].as_py()!r}, expected {expected}"
        )


def refuse_unless_binary(table: pa.Table, columns: Collection[str], path: RawFile, *, first_row: int) -> None:
    """Raise MTBenchError for the first label that is neither 0 nor 1."""
    for name in columns:
        wrong = pc.invert(pc.is_in(table[name], pa.array([0, 1], table[name].type)))
        refuse_where(wrong, table, name, path, "0 or 1", first_row=first_row)


def drop_duplicates(table: pa.Table) -> pa.Table:
    """Return the rows that equal no earlier row in all columns."""
    return table.filter(pa.array(~table.to_pandas().duplicated().to_numpy()))


def attach(rows: pa.Table, key: str, side: pa.Table, path: RawFile) -> pa.Table:
    """Return ``rows`` with the columns of ``side``, one line of which describes each value of ``key``.

    Raises MTBenchError if ``side``, read from ``path``, describes a value twice or not at all.
    """
    counts = pc.value_counts(side[key])
    if len(counts) < len(side):
        twice = counts.filter(pc.greater(counts.field("counts"), 1))[0]["values"].as_py()
        raise MTBenchError(f"{path}: column '{key}': {twice!r} occurs twice, expected one row for each")
    at = pc.index_in(rows[key], value_set=side[key])
    if at.null_count:
        lost = rows[key].filter(pc.is_null(at))[0].as_py()
        raise MTBenchError(f"{path}: column '{key}': {lost!r} is among the interactions and has no row here")
    for name in side.column_names:
        if name != key:
            rows = rows.append_column(name, side[name].take(at))
    return rows
