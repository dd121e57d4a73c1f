"""The raw cells of a CSV or Parquet file, block by block."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from mtbench import MTBenchError, suggest

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from pathlib import Path

_BLOCK = 1 << 22  # bytes of a CSV; a row must fit into one block
_ROWS = 1 << 17  # rows of a Parquet file
_BUFFER = 1 << 20  # bytes of a Parquet column; else a whole row group is read at once
_HEAD = 1 << 10  # bytes; no text has a NUL among them, and nearly every other file does
_SEPARATORS = {",": "','", ";": "';'", "\t": r'"\t"', "|": "'|'"}  # and how YAML writes them


class File(ABC):
    """A file that has each of the ``wanted`` columns once; ``shown`` names it in messages."""

    def __init__(self, path: Path, shown: str, wanted: Sequence[str]) -> None:
        self.path = path
        self.shown = shown
        self.wanted = wanted

    @abstractmethod
    def read_blocks(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yield the raw cells of these columns. Raises MTBenchError where the file cannot be read on."""

    def describe_place(self, row: int) -> str:
        """Say where row ``row`` (from 0) stands, counted from 1."""
        return f"row {row + 1}"


class Parquet(File):
    """A Parquet file."""

    def __init__(self, path: Path, shown: str, wanted: Sequence[str]) -> None:
        super().__init__(path, shown, wanted)
        with self._explain_errors():
            names = pa.parquet.read_schema(path).names
        _check_header(names, wanted, shown)

    def read_blocks(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yield the cells in the types that the file gives them."""
        with self._explain_errors(), pa.parquet.ParquetFile(self.path, buffer_size=_BUFFER, pre_buffer=False) as file:
            yield from file.iter_batches(_ROWS, columns=list(columns))

    @contextmanager
    def _explain_errors(self) -> Iterator[None]:
        try:
            yield
        except (pa.ArrowException, OSError) as error:
            raise MTBenchError(f"{self.shown}: is not a readable Parquet file ({error}); write it again") from error


class Csv(File):
    """A text file with a header, every row with as many cells as it, and every quote closed."""

    def __init__(self, path: Path, shown: str, wanted: Sequence[str], separator: str) -> None:
        super().__init__(path, shown, wanted)
        self.separator = separator
        names = self._read_header()
        _check_separator(names, wanted, separator, shown)
        _check_header(names, wanted, shown)
        self._check_quotes(names)

    def read_blocks(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yield the cells as bytes, null where empty."""
        ragged: list[pa.csv.InvalidRow] = []
        for block in self._read(columns, ragged.append):
            self._refuse_ragged(ragged)
            yield block
        self._refuse_ragged(ragged)

    def describe_place(self, row: int) -> str:
        """Say where row ``row`` (from 0) stands; its line is certain if every line of the file is one row."""
        place = super().describe_place(row)
        ragged: list[None] = []
        try:
            rows = sum(block.num_rows for block in self._read(self.wanted[:1], lambda _: ragged.append(None)))
        except MTBenchError:
            return place
        with self.path.open(encoding="latin-1") as file:  # any line breaks, any bytes
            last = max(number for number, line in enumerate(file) if line != "\n")
        return f"{place} (line {row + 2})" if last == rows + len(ragged) else place

    def _read_header(self) -> list[str]:
        with self._explain_errors():
            if not self.path.stat().st_size:
                raise MTBenchError(f"{self.shown}: is empty; give a file with a header and rows")
            with pa.input_stream(self.path) as file:
                if b"\0" in file.read(_HEAD):
                    raise MTBenchError(
                        f"{self.shown}: is not text in UTF-8; save it as CSV in UTF-8, or name a Parquet file .parquet"
                    )
            with self._open(lambda _: "skip") as reader:
                names: list[str] = reader.schema.names
        return names

    def _open(
        self, ragged: Callable[[pa.csv.InvalidRow], str], convert: pa.csv.ConvertOptions | None = None
    ) -> pa.csv.CSVStreamingReader:
        # threads would not tell the numbers of ragged rows, and are not faster here
        read = pa.csv.ReadOptions(use_threads=False, block_size=_BLOCK)
        parse = pa.csv.ParseOptions(delimiter=self.separator, newlines_in_values=True, invalid_row_handler=ragged)
        return pa.csv.open_csv(self.path, read, parse, convert)

    def _read(self, columns: Sequence[str], note: Callable[[pa.csv.InvalidRow], None]) -> Iterator[pa.RecordBatch]:
        """Yield the rows but for ragged ones, which are noted before the block in which they stood."""

        def skip(row: pa.csv.InvalidRow) -> str:
            note(row)
            return "skip"

        convert = pa.csv.ConvertOptions(
            include_columns=list(columns),
            column_types=dict.fromkeys(columns, pa.binary()),
            null_values=[""],
            strings_can_be_null=True,
        )
        with self._explain_errors(), self._open(skip, convert) as reader:
            yield from reader

    def _refuse_ragged(self, ragged: Sequence[pa.csv.InvalidRow]) -> None:
        if ragged:
            raise MTBenchError(
                f"{self.shown}: {self.describe_place(ragged[0].number - 2)} has {ragged[0].actual_columns} cells where "
                f"the header has {ragged[0].expected_columns}; close every quote, and quote cells that hold "
                f"'{self.separator}'"
            )

    def _check_quotes(self, names: Sequence[str]) -> None:
        """Refuse a quote that is never closed: it swallows the rest of the file, declared column or not."""
        with self.path.open("rb") as file:
            quotes = sum(block.count(b'"') for block in iter(partial(file.read, _BLOCK), b""))
        if quotes % 2 == 0:
            return
        rows, last = 0, None
        for block in self.read_blocks(sorted(set(names))):
            if block.num_rows:
                rows, last = rows + block.num_rows, block.slice(block.num_rows - 1).to_pylist()[0]
        for name, cell in (last or {}).items():
            if any(end in (cell or b"") for end in (b"\n", b"\r")):
                raise MTBenchError(
                    f"{self.shown}: column '{name}', row {rows}: a quote is opened and never closed; close or remove it"
                )

    @contextmanager
    def _explain_errors(self) -> Iterator[None]:
        try:
            yield
        except UnicodeDecodeError as error:
            raise MTBenchError(
                f"{self.shown}: the header is not UTF-8 text ({error}); save the file as UTF-8"
            ) from error
        except pa.ArrowInvalid as error:
            raise MTBenchError(
                f"{self.shown}: is not readable as CSV ({error}); "
                "look for a quote that is never closed or an incomplete header"
            ) from error


def _check_header(names: Sequence[str], wanted: Collection[str], shown: str) -> None:
    for column in wanted:
        if column not in names:
            raise MTBenchError(
                f"{shown}: there is no column '{column}'{suggest(column, names)}; "
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
            expected = _SEPARATORS.get(separator, repr(separator))
            raise MTBenchError(
                f"{shown}: the columns are separated by {written}, not by {expected}; "
                f"set 'separator: {written}' in the dataset's settings"
            )
