"""Tables in memory: given where a file is expected, they become files of the cache under the hash of their content."""

from __future__ import annotations

import hashlib
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mtbench.data import cache
from mtbench.errors import MTBenchError

if TYPE_CHECKING:
    from pathlib import Path

PREFIX = "frame:"
_FILE = "frame.parquet"


def to_arrow(what: str, frame: Any) -> pa.Table:
    """Return a pandas DataFrame, without its index, or anything of Arrow's protocol as a table.

    Raises MTBenchError, which begins with ``what``, if it cannot be one.
    """
    try:
        if isinstance(frame, pd.DataFrame):
            return pa.Table.from_pandas(frame, preserve_index=False)
        return pa.table(frame)
    except (pa.ArrowException, ValueError, TypeError) as error:
        raise MTBenchError(f"{what} has a column of mixed types or names: {error}") from error


def keep_frame(frame: Any) -> str:
    """Put a table into the cache, and return the name under which :func:`find_frame` knows it: ``frame:SHA256``.

    The name depends on what the table holds alone: the names, types and values of its columns. Raises MTBenchError for
    what is no table, or cannot be stored.
    """
    table = to_arrow("the data frame", frame).replace_schema_metadata(None)
    try:
        name = PREFIX + hash_table(table)
        cache.make_entry("frames", name, partial(_write, table))
    except pa.ArrowException as error:
        raise MTBenchError(f"the data frame has a column of a type that Parquet does not hold: {error}") from error
    return name


def find_frame(name: str) -> Path:
    """Return the Parquet file of a table that was put into the cache. Raises MTBenchError where it is gone."""

    def refuse(_: Path) -> None:
        raise MTBenchError(
            f"the data frame {name.removeprefix(PREFIX)[:12]} is not in the cache; run the experiment from Python with "
            "the frame itself under 'path', or write it to a Parquet file and name that"
        )

    return cache.make_entry("frames", name, refuse) / _FILE


def hash_table(table: pa.Table) -> str:
    """Return the sha256 of the names, types and values of a table's columns, however they are cut into chunks."""
    digest = hashlib.sha256(f"{table.num_rows}".encode())
    for name, column in zip(table.column_names, table.columns, strict=True):
        kind = str(column.type).replace("large_", "").replace("_view", "")  # which is of the version of pandas
        digest.update(f"{name!r}: {kind}".encode())
        _add(digest, column)
    return digest.hexdigest()


def _add(digest: Any, column: pa.ChunkedArray) -> None:
    """Add the values of a column: which are there, then those that are, and of lists and structs their parts."""
    kind = column.type
    digest.update(np.packbits(column.is_valid().to_numpy()).tobytes())
    if (plain := _find_plain(kind)) is not None:
        _add(digest, column.cast(plain))
    elif isinstance(kind, pa.BaseExtensionType):
        _add(digest, pa.chunked_array([chunk.storage for chunk in column.chunks], kind.storage_type))
    elif pa.types.is_struct(kind):
        for at in range(kind.num_fields):
            _add(digest, pc.struct_field(column, [at]))
    elif pa.types.is_nested(kind):
        present = column.drop_null()
        digest.update(pc.list_value_length(present).to_numpy().astype(np.int64).tobytes())
        _add(digest, pc.list_flatten(present))
    elif pa.types.is_large_binary(kind):
        values = column.drop_null()
        digest.update(pc.binary_length(values).to_numpy().tobytes())
        digest.update(b"".join(values.to_pylist()))
    elif not pa.types.is_null(kind):
        digest.update(column.drop_null().to_numpy().tobytes())


def _find_plain(kind: pa.DataType) -> pa.DataType | None:
    """Return the type of the same values whose bytes can be told, None where this is one, or is made of others."""
    if pa.types.is_dictionary(kind):
        return kind.value_type
    if pa.types.is_temporal(kind):
        return pa.int32() if kind.bit_width == 32 else pa.int64()  # noqa: PLR2004
    if pa.types.is_map(kind):
        return pa.list_(pa.struct([("key", kind.key_type), ("value", kind.item_type)]))
    if pa.types.is_decimal(kind):
        return pa.large_string()
    texts = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    others = (pa.types.is_binary, pa.types.is_fixed_size_binary, pa.types.is_binary_view)
    return pa.large_binary() if any(test(kind) for test in (*texts, *others)) else None


def _write(table: pa.Table, folder: Path) -> None:
    with cache.writing():
        pq.write_table(table, folder / _FILE)
