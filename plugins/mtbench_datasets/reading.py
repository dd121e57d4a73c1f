"""Raw tables read strictly: whatever is not as expected is an error that names file, column and row.

Rows count from 1; the header of a text file is row 1.
"""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from mtbench.errors import MTBenchError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

_CONVERSION = re.compile(r"In CSV column #(\d+): Row #(\d+): (.*)", re.DOTALL)


def read_delimited(
    path: Path,
    types: Mapping[str, pa.DataType],
    *,
    delimiter: str = ",",
    header: bool = True,
    quoted: bool = True,
    null: Collection[str] = ("",),
    optional: Collection[str] = (),
) -> pa.Table:
    """Return the columns named in ``types`` of a delimited text file, which may be gzipped.

    Without a header the file has exactly these columns in this order. Cells equal to one of ``null`` are missing,
    which only the ``optional`` columns may be. Raises MTBenchError for anything else.
    """
    names = _header(path, delimiter) if header else list(types)
    if missing := [name for name in types if name not in names]:
        raise MTBenchError(f"{path}: row 1: there is no column {', '.join(missing)}; found {', '.join(names)}")
    try:
        table = pyarrow.csv.read_csv(
            path,
            # One thread: only then do errors tell the row.
            pyarrow.csv.ReadOptions(use_threads=False, column_names=None if header else names),
            pyarrow.csv.ParseOptions(delimiter=delimiter, quote_char='"' if quoted else False),
            pyarrow.csv.ConvertOptions(
                column_types=dict(types),
                include_columns=list(types),
                null_values=list(null),
                strings_can_be_null=True,
            ),
        )
    except (pa.ArrowException, OSError) as error:
        conversion = _CONVERSION.match(str(error))
        if conversion is None:
            raise MTBenchError(f"{path}: {error}; expected the columns {', '.join(names)}") from error
        column, row, what = conversion.groups()
        raise MTBenchError(f"{path}: column '{names[int(column)]}', row {row}: {what}") from error
    for name in types:
        if name not in optional:
            refuse_where(pc.is_null(table[name]), table, name, path, "a value", first_row=1 + header)
    return table


def _header(path: Path, delimiter: str) -> list[str]:
    try:
        with pa.input_stream(path) as stream, io.TextIOWrapper(stream, "utf-8") as text:
            return next(csv.reader(text, delimiter=delimiter), [])
    except (OSError, UnicodeDecodeError) as error:
        raise MTBenchError(f"{path}: {error}; expected a text file whose first line names its columns") from error


def read_parquet(path: Path, types: Mapping[str, pa.DataType]) -> pa.Table:
    """Return the columns named in ``types`` of a Parquet file, cast to them; none of them may have missing values."""
    try:
        found = pyarrow.parquet.read_schema(path).names
        if missing := [name for name in types if name not in found]:
            raise MTBenchError(f"{path}: there is no column {', '.join(missing)}; found {', '.join(found)}")
        table = pyarrow.parquet.read_table(path, columns=list(types)).cast(pa.schema(list(types.items())))
    except (pa.ArrowException, OSError) as error:
        raise MTBenchError(f"{path}: {error}") from error
    for name in types:
        refuse_where(pc.is_null(table[name]), table, name, path, "a value", first_row=1)
    return table


def refuse_where(
    wrong: pa.ChunkedArray, table: pa.Table, column: str, path: Path, expected: str, *, first_row: int
) -> None:
    """Raise MTBenchError for the first row where ``wrong`` is true; the table's rows count from ``first_row``."""
    at = pc.index(wrong, True).as_py()
    if at >= 0:
        raise MTBenchError(
            f"{path}: column '{column}', row {at + first_row}: found {table[column][at].as_py()!r}, expected {expected}"
        )


def attach(rows: pa.Table, key: str, side: pa.Table, path: Path) -> pa.Table:
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
