"""Anybody's CSV, TSV or Parquet file as a dataset."""

from __future__ import annotations

from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from mtbench import Card, Dataset, DatasetConfig, MTBenchError, Schema, Source, Split, find_kind
from mtbench_datasets.table import cells
from mtbench_datasets.table.blocks import Csv, File, Parquet
from mtbench_datasets.table.formats import refuse_other_formats

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    Parser = Callable[[pa.Array], pa.Array]


class TableConfig(DatasetConfig, Schema):
    """A file and what its columns mean."""

    path: Path = Field(
        description="CSV, TSV or Parquet file, relative to the current folder; from Python also a DataFrame."
    )
    separator: str | None = Field(
        None, min_length=1, max_length=1, description="Separator of a CSV; a tab for .tsv and .tab, else a comma."
    )
    list_separator: str = Field("|", min_length=1, description="Separates the values of a multi feature in one cell.")
    time_format: str | None = Field(None, description="strptime format of the time; else ISO 8601 or a number.")


class Table(Dataset[TableConfig]):
    """One CSV, TSV or Parquet file, every cell of the declared columns checked.

    Binary labels are 0, 1, true or false; an empty cell is missing, and blanks around a value are none of it. Times
    become microseconds since 1970 (UTC where no zone is given), nanoseconds where the column has any, or stay numbers.
    """

    Config: ClassVar[type[DatasetConfig]] = TableConfig
    card: ClassVar[Card] = Card(
        title="A table of one's own",
        licence="the user's",
        citation="",
        url="",
        description="A CSV, TSV or Parquet file of the user's own, with columns named in the experiment file.",
    )
    version = 2  # blanks around values are trimmed

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

    def load(self, files: Mapping[str, Path]) -> pa.RecordBatchReader:
        """Return the declared columns, read and checked a block at a time.

        Raises MTBenchError, or the reader does, for the first thing wrong, naming the file, column, row and, where it
        is certain, the line.
        """
        file = self._open_file(files[self.config.path.name], list(self._choose_parsers()))
        parsed = self._parse(file, self._choose_parsers(self._tell_time_text(file)))
        first = next(parsed)
        return pa.RecordBatchReader.from_batches(first.schema, chain([first], parsed))

    def _open_file(self, path: Path, columns: Sequence[str]) -> File:
        shown, kind = str(self.config.path), path.suffix.lower()
        if shown.startswith("frame:"):
            shown = "the data frame"
        refuse_other_formats(path, shown)
        if kind in {".parquet", ".pq"}:
            return Parquet(path, shown, columns)
        return Csv(path, shown, columns, self.config.separator or ("\t" if kind in {".tsv", ".tab"} else ","))

    def _parse(self, file: File, parsers: Mapping[str, Parser]) -> Iterator[pa.RecordBatch]:
        needed = {
            column: role
            for role in ("split", "row", "time", "item", "user")
            if (column := getattr(self.config, role)) is not None
        }
        unlabelled = [task.label for task in self.config.tasks]
        row = 0
        for block in file.read_blocks(list(parsers)):
            if not block.num_rows:
                continue
            columns = {}
            for column, parse in parsers.items():
                try:
                    columns[column] = cells.read(block[column], parse)
                    if column in needed:
                        empty = f"is empty; every row needs its {needed[column]}: fill it in or remove the row"
                        cells.refuse(pc.is_null(columns[column]), None, empty)
                except cells.Mistake as mistake:
                    place = "" if mistake.row is None else f", {file.describe_place(row + mistake.row)}"
                    raise MTBenchError(f"{file.shown}: column '{column}'{place}: {mistake}") from None
            unlabelled = [label for label in unlabelled if columns[label].null_count == block.num_rows]
            row += block.num_rows
            yield pa.record_batch(columns)
        if not row:
            raise MTBenchError(f"{file.shown}: has no rows; give a file with data below the header")
        if unlabelled:
            raise MTBenchError(
                f"{file.shown}: column '{unlabelled[0]}': has no label in any row; "
                "remove the task, or name the right column"
            )

    def _tell_time_text(self, file: File) -> cells.TimeText:
        """Say how times are written, by a look at the whole column: one decimal makes all decimals."""
        column = self.config.time
        if column is None:
            return "instants"
        blocks = (block[column] for block in file.read_blocks([column]))
        return cells.tell_time_text(blocks, formatted=self.config.time_format is not None)

    def _choose_parsers(self, written: cells.TimeText = "instants") -> dict[str, Parser]:
        """Return how each declared column is read; where a column has several roles, the strictest wins."""
        config = self.config
        parsers: dict[str, Parser] = {}
        multi = {feature.source for feature in config.features if feature.kind == "multi"}
        names = [config.user, config.item, config.domain, config.row, *config.outcomes, *config.texts]
        names += [feature.source for feature in config.features if feature.kind == "categorical"]
        parsers |= {name: cells.text for name in names if name is not None}
        parsers |= {feature.source: cells.numbers for feature in config.features if feature.kind == "numeric"}
        kinds = {task.name: find_kind(task.kind) for task in config.tasks}
        parsers |= {
            column: cells.probabilities if kinds[task].probability else cells.numbers
            for task, column in config.truth.items()
        }
        parsers |= {
            task.label: cells.binary_labels if task.probability else partial(cells.labels, kind=kinds[task.name])
            for task in config.tasks
        }
        if config.time:
            parsers[config.time] = partial(cells.times, written=written, time_format=config.time_format)
        if config.split:
            parsers[config.split] = cells.splits
        for column in multi & parsers.keys():
            raise MTBenchError(
                f"{config.path}: column '{column}' is declared a multi feature and something else; keep one of the two"
            )
        return parsers | {column: partial(cells.lists, separator=config.list_separator) for column in multi}
