"""Anybody's CSV, TSV or Parquet file as a dataset."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path  # noqa: TC003 - pydantic reads it
from typing import TYPE_CHECKING, ClassVar, NoReturn

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet
from pydantic import Field

from mtbench.data.dataset import Dataset, DatasetConfig
from mtbench.data.sources import Source
from mtbench.errors import MTBenchError, suggestion
from mtbench.schema import Card, Schema, Split

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

_BLOCK = 1 << 24  # bytes; a row must fit into one block
_HEAD = 1 << 10  # bytes; no text has a NUL among them, and nearly every other file does
_LABELS = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "false": 0, "true": 1}
_SPLITS = ("train", "valid", "test")
_SEPARATORS = {",": "','", ";": "';'", "\t": r'"\t"', "|": "'|'"}  # and how YAML writes them
_LARGEST = float(np.finfo(np.float32).max)


class TableConfig(DatasetConfig, Schema):
    """A file and what its columns mean."""

    path: Path = Field(description="CSV, TSV or Parquet file, relative to the current folder.")
    separator: str | None = Field(
        None, min_length=1, max_length=1, description="Separator of a CSV; a tab for .tsv and .tab, else a comma."
    )
    list_separator: str = Field("|", min_length=1, description="Separates the values of a multi feature in one cell.")
    time_format: str | None = Field(None, description="strptime format of the time; else ISO 8601 or a number.")


class Table(Dataset[TableConfig]):
    """One CSV, TSV or Parquet file, every cell of the declared columns checked.

    Binary labels are 0, 1, true or false; an empty cell is missing. Times become microseconds since 1970 (UTC where no
    zone is given) or stay the numbers they are.
    """

    Config: ClassVar[type[DatasetConfig]] = TableConfig
    card: ClassVar[Card] = Card(
        title="A table of one's own",
        licence="the user's",
        citation="",
        url="",
        description="A CSV, TSV or Parquet file of the user's own, with columns named in the experiment file.",
    )

    def __init__(self, config: TableConfig) -> None:
        super().__init__(config)
        by = "official" if config.split else "time" if config.time else "random"
        self.split = Split(by=by)

    def sources(self) -> Sequence[Source]:
        """Return the user's file."""
        return [Source(name=self.config.path.name, path=self.config.path)]

    def schema(self) -> Schema:
        """Return what the settings say of the columns."""
        return Schema(**{name: getattr(self.config, name) for name in Schema.model_fields})

    def load(self, files: Mapping[str, Path]) -> pa.Table:
        """Return the declared columns.

        Raises MTBenchError for the first thing wrong, naming the file, column, row and, where it is certain, the line.
        """
        path, shown = files[self.config.path.name], str(self.config.path)
        parsers = self._parsers()
        if path.suffix.lower() in {".parquet", ".pq"}:
            file = _read_parquet(path, shown, parsers)
        else:
            tab = path.suffix.lower() in {".tsv", ".tab"}
            file = _read_csv(path, shown, parsers, self.config.separator or ("\t" if tab else ","))
        if not file.cells.num_rows:
            raise MTBenchError(f"{shown}: has no rows; give a file with data below the header")
        needed = {
            column: role
            for role in ("split", "row", "time", "item", "user")
            if (column := getattr(self.config, role)) is not None
        }
        columns = {}
        for column, parse in parsers.items():
            try:
                cells = _plain(file.cells[column])
                columns[column] = parse(cells)
                if column in needed:
                    empty = f"is empty; every row needs its {needed[column]}: fill it in or remove the row"
                    _refuse(pc.is_null(columns[column]), None, empty)
            except _Mistake as mistake:
                raise MTBenchError(f"{file.at(column, mistake.row)}: {mistake}") from None
        return pa.table(columns)

    def _parsers(self) -> dict[str, Callable[[pa.ChunkedArray], pa.ChunkedArray]]:
        """Return how each declared column is read; where a column has several roles, the strictest wins."""
        config = self.config
        parsers: dict[str, Callable[[pa.ChunkedArray], pa.ChunkedArray]] = {}
        multi = {feature.source for feature in config.features if feature.kind == "multi"}
        names = [config.user, config.item, config.row, *config.outcomes, *config.texts]
        names += [feature.source for feature in config.features if feature.kind == "categorical"]
        parsers |= {name: _text for name in names if name is not None}
        parsers |= {feature.source: _numbers for feature in config.features if feature.kind == "numeric"}
        kinds = {task.name: task.kind for task in config.tasks}
        parsers |= {
            column: _probabilities if kinds[task] == "binary" else _numbers for task, column in config.truth.items()
        }
        parsers |= {task.label: partial(_label, binary=task.kind == "binary") for task in config.tasks}
        if config.time:
            parsers[config.time] = partial(_time, time_format=config.time_format)
        if config.split:
            parsers[config.split] = _split
        for column in multi & parsers.keys():
            raise MTBenchError(
                f"{config.path}: column '{column}' is declared a multi feature and something else; keep one of the two"
            )
        return parsers | {column: partial(_lists, separator=config.list_separator) for column in multi}


class _Mistake(Exception):  # noqa: N818 - it becomes an MTBenchError where the column is known
    """What is wrong with a column, or with its cell in ``row`` (from 0)."""

    def __init__(self, what: str, row: int | None = None) -> None:
        super().__init__(what)
        self.row = row


@dataclass(frozen=True)
class _File:
    """The raw cells of the declared columns; those of a CSV are bytes."""

    path: Path
    shown: str
    cells: pa.Table
    text: bool

    def at(self, column: str, row: int | None) -> str:
        """Return file, column, row counted from 1, and its line where that is certain."""
        place = f"{self.shown}: column '{column}'"
        return place if row is None else f"{place}, {_place(self.path, self.cells.num_rows, row, text=self.text)}"


def _place(path: Path, rows: int, row: int, *, text: bool) -> str:
    """Say where row ``row`` (from 0) stands; its line is certain if every line of the file is one row."""
    if text:
        content = path.read_bytes().rstrip(b"\r\n")
        breaks = content.count(b"\n") + content.count(b"\r") - content.count(b"\r\n")
        if breaks == rows:
            return f"row {row + 1} (line {row + 2})"
    return f"row {row + 1}"


def _check_header(names: Sequence[str], wanted: Collection[str], shown: str) -> None:
    for column in wanted:
        if column not in names:
            raise MTBenchError(
                f"{shown}: there is no column '{column}'{suggestion(column, names)}; "
                f"its columns are: {', '.join(names)}. Correct the name in the dataset's settings"
            )
        if names.count(column) > 1:
            raise MTBenchError(f"{shown}: {names.count(column)} columns are named '{column}'; rename all but one")


def _check_separator(names: Sequence[str], wanted: Collection[str], separator: str, shown: str) -> None:
    """Refuse a header that another separator divides into declared columns."""
    if any(name in wanted for name in names):
        return
    for other, written in _SEPARATORS.items():
        if any(part.strip('" ') in wanted for name in names for part in name.split(other)):
            found = _SEPARATORS.get(separator, repr(separator))
            raise MTBenchError(
                f"{shown}: the columns are separated by {written}, not by {found}; "
                f"set 'separator: {written}' in the dataset's settings"
            )


def _read_parquet(path: Path, shown: str, wanted: Collection[str]) -> _File:
    try:
        names = pa.parquet.read_schema(path).names
        _check_header(names, wanted, shown)
        return _File(path, shown, pa.parquet.read_table(path, columns=list(wanted), partitioning=None), text=False)
    except (pa.ArrowException, OSError) as error:
        raise MTBenchError(f"{shown}: is not a readable Parquet file ({error}); write it again") from error


def _read_csv(path: Path, shown: str, wanted: Collection[str], separator: str) -> _File:
    ragged: list[pa.csv.InvalidRow] = []

    def skip(row: pa.csv.InvalidRow) -> str:
        ragged.append(row)
        return "skip"

    read = pa.csv.ReadOptions(use_threads=False, block_size=_BLOCK)  # threads would not tell the numbers of bad rows
    parse = pa.csv.ParseOptions(delimiter=separator, newlines_in_values=True, invalid_row_handler=skip)

    def cells(columns: Collection[str]) -> pa.Table:
        convert = pa.csv.ConvertOptions(
            include_columns=list(columns),
            column_types=dict.fromkeys(columns, pa.binary()),
            null_values=[""],
            strings_can_be_null=True,
        )
        return pa.csv.read_csv(path, read, parse, convert)

    try:
        if not path.stat().st_size:
            raise MTBenchError(f"{shown}: is empty; give a file with a header and rows")
        with pa.input_stream(path) as file:
            if b"\0" in file.read(_HEAD):
                raise MTBenchError(
                    f"{shown}: is not text in UTF-8; save it as CSV in UTF-8, or name a Parquet file .parquet"
                )
        with pa.csv.open_csv(path, read, parse) as reader:
            names = reader.schema.names
        _check_separator(names, wanted, separator, shown)
        _check_header(names, wanted, shown)
        ragged.clear()
        table = cells(wanted)
        if ragged:
            place = _place(path, table.num_rows + len(ragged), ragged[0].number - 2, text=True)
            raise MTBenchError(
                f"{shown}: {place} has {ragged[0].actual_columns} cells where the header has "
                f"{ragged[0].expected_columns}; close every quote, and quote cells that hold '{separator}'"
            )
        _check_quotes(path, shown, names, cells)
    except UnicodeDecodeError as error:
        raise MTBenchError(f"{shown}: the header is not UTF-8 text ({error}); save the file as UTF-8") from error
    except pa.ArrowInvalid as error:
        raise MTBenchError(
            f"{shown}: is not readable as CSV ({error}); look for a quote that is never closed or an incomplete header"
        ) from error
    return _File(path, shown, table, text=True)


def _check_quotes(path: Path, shown: str, names: Sequence[str], cells: Callable[[Collection[str]], pa.Table]) -> None:
    """Refuse a quote that is never closed: it swallows the rest of the file, declared column or not."""
    with path.open("rb") as file:
        quotes = sum(block.count(b'"') for block in iter(partial(file.read, _BLOCK), b""))
    if quotes % 2 == 0:
        return
    last = cells(sorted(set(names)))
    for name, column in zip(last.column_names, last.slice(max(last.num_rows - 1, 0)).columns, strict=True):
        if any(b"\n" in (cell or b"") or b"\r" in (cell or b"") for cell in column.to_pylist()):
            raise MTBenchError(
                f"{shown}: column '{name}', row {last.num_rows}: a quote is opened and never closed; close or remove it"
            )


def _first(cells: pa.ChunkedArray, fails: Callable[[pa.ChunkedArray], bool]) -> int:
    """Return the first row that makes a column fail, by halving it."""
    low, high = 0, len(cells)
    while high - low > 1:
        middle = (low + high) // 2
        if fails(cells.slice(low, middle - low)):
            high = middle
        else:
            low = middle
    return low


def _reject(cells: pa.ChunkedArray | None, row: int, what: str) -> NoReturn:
    if cells is None:
        raise _Mistake(what, row)
    cell = repr(cells[row].as_py())
    raise _Mistake(f"{cell if len(cell) <= 60 else cell[:57] + '...'} {what}", row)  # noqa: PLR2004


def _refuse(bad: pa.ChunkedArray, cells: pa.ChunkedArray | None, what: str) -> None:
    row = pc.index(bad, value=True).as_py()
    if row >= 0:
        _reject(cells, row, what)


def _cast(cells: pa.ChunkedArray, kind: pa.DataType, what: str) -> pa.ChunkedArray:
    def fails(part: pa.ChunkedArray) -> bool:
        try:
            part.cast(kind)
        except pa.ArrowInvalid:
            return True
        return False

    try:
        return cells.cast(kind)
    except pa.ArrowInvalid:
        _reject(cells, _first(cells, fails), what)


def _is_text(kind: pa.DataType) -> bool:
    return any(test(kind) for test in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view))


def _is_list(kind: pa.DataType) -> bool:
    tests = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list, pa.types.is_list_view)
    return any(test(kind) for test in tests)


def _plain(cells: pa.ChunkedArray) -> pa.ChunkedArray:
    """Decode dictionaries and bytes."""
    if pa.types.is_dictionary(cells.type):
        cells = cells.cast(cells.type.value_type)
    if pa.types.is_binary(cells.type) or pa.types.is_large_binary(cells.type):
        cells = _cast(cells, pa.string(), "is not UTF-8 text; save the file as UTF-8")
    return cells


def _text(cells: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return integers as they are and everything else as strings, null where empty."""
    if pa.types.is_integer(cells.type):
        return cells
    if _is_list(cells.type):
        raise _Mistake("holds lists; declare it a feature with `kind: multi`")
    if pa.types.is_nested(cells.type):
        raise _Mistake(f"holds {cells.type}; give one value per cell")
    if pa.types.is_floating(cells.type):
        cells = pc.if_else(pc.is_nan(cells), None, cells)
    text = cells.cast(pa.string())
    return pc.if_else(pc.equal(text, ""), None, text)


def _trimmed(cells: pa.ChunkedArray) -> pa.ChunkedArray:
    return _text(pc.utf8_trim_whitespace(cells))


def _numbers(cells: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = cells.type
    if _is_text(kind):
        what = "is not a number; write it with digits and a decimal point, or leave the cell empty"
        numbers = _cast(_trimmed(cells), pa.float64(), what)
    elif pa.types.is_temporal(kind) or pa.types.is_nested(kind):
        raise _Mistake(f"holds {kind}, not numbers; convert it, or declare it otherwise")
    else:
        numbers = cells.cast(pa.float64(), safe=False)
    infinite = pc.invert(pc.is_finite(numbers))
    _refuse(infinite, cells, "is not a finite number; write a number, or leave the cell empty")
    return numbers


def _probabilities(cells: pa.ChunkedArray) -> pa.ChunkedArray:
    numbers = _numbers(cells)
    outside = pc.or_(pc.less(numbers, 0), pc.greater(numbers, 1))
    _refuse(outside, cells, "is no probability; write a number from 0 to 1, or leave the cell empty")
    return numbers


def _label(cells: pa.ChunkedArray, *, binary: bool) -> pa.ChunkedArray:
    if binary:
        text = pc.utf8_lower(_trimmed(_text(cells).cast(pa.string())))
        codes = pc.index_in(text, value_set=pa.array(list(_LABELS)))
        what = "is no binary label; write 0, 1, true or false, or leave the cell empty where the label is unknown"
        _refuse(pc.and_(pc.is_valid(text), pc.is_null(codes)), cells, what)
        labels = pc.take(pa.array(list(_LABELS.values()), pa.int8()), codes)
    else:
        labels = _numbers(cells)
        _refuse(pc.greater(pc.abs(labels), _LARGEST), cells, "is too large a label; write it in a larger unit")
    if labels.null_count == len(labels):
        raise _Mistake("has no label in any row; remove the task, or name the right column")
    return labels


def _time(cells: pa.ChunkedArray, *, time_format: str | None) -> pa.ChunkedArray:
    kind = cells.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return cells.cast(pa.timestamp("us", kind.tz if pa.types.is_timestamp(kind) else None), safe=False).cast(
            pa.int64()
        )
    if pa.types.is_integer(kind):
        return _cast(cells, pa.int64(), "is too large a time; write it in a coarser unit")
    if not _is_text(kind):
        return _numbers(cells)
    text = _trimmed(cells)
    first = text.drop_null().slice(0, 1)
    if time_format is None and pc.all(pc.match_substring_regex(first, r"^[-+]?[\d.]+([eE]\S+)?$")).as_py():
        try:
            return text.cast(pa.int64())
        except pa.ArrowInvalid:
            return _numbers(cells)
    return _instants(text, time_format)


def _instants(text: pa.ChunkedArray, time_format: str | None) -> pa.ChunkedArray:
    """Parse times to microseconds since 1970; UTC where no zone is given."""
    if time_format is None:
        what = "is not a time in ISO 8601; write it like 2024-01-31T18:30:00, or set time_format"
        # pandas would take 'now' and 'today' for times
        written = pc.if_else(pc.match_substring_regex(text, r"^\d"), text, None)
    else:
        what, written = f"is not a time of the form '{time_format}'; mend the cell, or set time_format", text
    try:
        parsed = pd.to_datetime(written.to_pandas(), format=time_format or "ISO8601", utc=True, errors="coerce")
    except ValueError as error:
        raise _Mistake(f"time_format '{time_format}' is not understood: {error}; use the codes of strptime") from None
    _refuse(pc.and_(pc.is_valid(text), pa.chunked_array([pa.array(parsed.isna())])), text, what)
    micros = parsed.to_numpy(dtype="datetime64[us]").astype("int64")
    return pa.chunked_array([pa.array(micros, mask=parsed.isna().to_numpy())])


def _split(cells: pa.ChunkedArray) -> pa.ChunkedArray:
    text = _text(cells).cast(pa.string())
    strange = pc.invert(pc.is_in(text, value_set=pa.array([*_SPLITS, None], pa.string())))
    _refuse(strange, cells, "is no split; write train, valid or test")
    return text


def _lists(cells: pa.ChunkedArray, *, separator: str) -> pa.ChunkedArray:
    if _is_list(cells.type):
        value = cells.type.value_type
        if pa.types.is_nested(value):
            raise _Mistake(f"holds {cells.type}; give lists of plain values")

        def fails(part: pa.ChunkedArray) -> bool:
            return bool(pc.list_flatten(part).null_count)

        if fails(cells):
            _reject(cells, _first(cells, fails), "holds an empty value; remove it from the list")
        return cells.cast(pa.list_(pa.int64() if pa.types.is_integer(value) else pa.string()))
    text = _text(cells).cast(pa.string())
    gap = pc.or_(pc.starts_with(text, separator), pc.ends_with(text, separator))
    gap = pc.or_(gap, pc.match_substring(text, separator * 2))
    _refuse(gap, cells, f"holds an empty value; remove the '{separator}' too many")
    return pc.split_pattern(text, separator)
