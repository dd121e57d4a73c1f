"""The columns of a raw table, read once, block by block, and kept on disk while they are prepared."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from mtbench.data import cache, encode, splits, times
from mtbench.data.scratch import BLOCK, Scratch, read_ahead
from mtbench.errors import MTBenchError, suggest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from mtbench.schema import Feature, Schema


class Raw:
    """What a table's columns hold, as arrays of ``scratch``.

    By column ``number`` (codes of ``numbered``) and ``length`` and ``list`` (codes of ``listed``); by feature
    ``numeric``; by task ``truth``; and ``labels`` (rows, tasks), NaN where unknown, ``time``, ``split`` and ``row id``.
    ``label_type`` is float32 if that holds all labels exactly, so that 0 and 1 take no more memory than they need.
    """

    def __init__(self, name: str, schema: Schema, features: Sequence[Feature], folder: Path) -> None:
        self.name = name
        self.schema = schema
        self.features = features
        self.scratch = Scratch(folder)
        self.rows = 0
        self.label_type: type[np.float32 | np.float64] = np.float32
        ids = [column for column in (schema.user, schema.item) if column]
        categorical = [feature.source for feature in features if feature.kind == "categorical"]
        self.numbered = {column: encode.Categorical() for column in (*categorical, *ids)}
        self.listed = {feature.source: encode.Categorical() for feature in features if feature.kind == "multi"}
        self._texts_path = folder / "texts.arrow"
        kinds = pa.schema([(column, pa.large_string()) for column in schema.texts])
        self._texts = pa.ipc.new_stream(self._texts_path, kinds)

    def read(self, loaded: pa.Table | pa.RecordBatchReader) -> None:
        """Read all blocks. Raises MTBenchError for what is missing, or cannot be what the schema says."""
        _check_columns(self.name, self.schema, loaded.schema)
        readers = list(self._readers())
        with self._texts, ThreadPoolExecutor() as pool:
            for block in read_ahead(_cut_blocks(loaded), pool):
                for done in [pool.submit(reader, block) for reader in readers]:
                    done.result()
                self.rows += block.num_rows
        if not self.rows:
            raise MTBenchError(f"dataset '{self.name}' has no rows")

    def whole(self, name: str) -> np.ndarray:
        """Return an array of all rows."""
        return self.scratch.read(name, slice(0, self.rows))

    def find_texts(self, part: np.ndarray, items: int) -> Iterator[pa.Table]:
        """Yield, by column, the ``text`` of each item by number, null where unknown, and the ``part`` it is from, int8.

        The first of training and warm-up rows goes before one of validation rows, which are 1, and that before one of
        test rows, which are 2. The last item may be the missing one.
        """
        firsts = [[FirstTexts() for _ in splits.NAMES] for _ in self.schema.texts]
        start = 0
        with pa.ipc.open_stream(self._texts_path) as kept:
            for block in kept:
                rows = slice(start, start + len(block))
                start = rows.stop
                item, when = self.scratch.read(f"number {self.schema.item}", rows), np.arange(rows.start, rows.stop)
                if self.schema.time is not None:
                    when = self.scratch.read("time", rows)
                of_rows = np.where(part[rows] == splits.WARMUP, splits.TRAIN, part[rows])
                for code in range(len(splits.NAMES)):
                    among = np.flatnonzero(of_rows == code)
                    for of_parts, texts in zip(firsts, block.columns, strict=True):
                        of_parts[code].add(item[among], when[among], pa.chunked_array([texts.take(pa.array(among))]))
        for of_parts in firsts:
            texts = [first.of(items) for first in of_parts]
            known = np.column_stack([text.is_valid().to_numpy() for text in texts])
            yield pa.table({"text": pc.coalesce(*texts), "part": known.argmax(1).astype(np.int8)})

    def _readers(self) -> Iterator[Callable[[pa.Table], None]]:
        schema = self.schema
        if schema.time is not None:
            yield partial(self._read_time, column=schema.time)
        if schema.row is not None:
            yield partial(self._read_row, column=schema.row)
        if schema.split is not None:
            yield partial(self._read_split, column=schema.split)
        for feature in self.features:
            if feature.kind == "numeric":
                yield partial(self._read_numeric, feature=feature)
        yield from (partial(self._read_numbers, column=column) for column in self.numbered)
        yield from (partial(self._read_lists, column=column) for column in self.listed)
        yield self._read_labels
        if schema.texts:
            yield self._read_texts
        yield from (partial(self._read_truth, task=task, column=column) for task, column in schema.truth.items())

    def _append(self, name: str, piece: np.ndarray) -> None:
        with cache.writing():
            self.scratch.append(name, piece)

    def _read_labels(self, block: pa.Table) -> None:
        labels = np.column_stack([encode.labels(block[task.label], task, self.rows) for task in self.schema.tasks])
        if not np.array_equal(labels, labels.astype(np.float32), equal_nan=True):
            self.label_type = np.float64
        self._append("labels", labels)

    def _read_numbers(self, block: pa.Table, column: str) -> None:
        with self._explain_unfit(column, block):
            numbers = self.numbered[column].add(block[column])
        self._append(f"number {column}", numbers)

    def _read_lists(self, block: pa.Table, column: str) -> None:
        with self._explain_unfit(column, block):
            values, lengths = encode.lists(block[column])
            numbers = self.listed[column].add(values)
        self._append(f"list {column}", numbers)
        self._append(f"length {column}", lengths)

    def _read_numeric(self, block: pa.Table, feature: Feature) -> None:
        with self._explain_unfit(feature.source, block):
            numbers = encode.numeric(block[feature.source], feature, self.rows)
        self._append(f"numeric {feature.name}", numbers)

    def _read_truth(self, block: pa.Table, task: str, column: str) -> None:
        self._append(f"truth {task}", block[column].cast(pa.float64()).to_numpy())

    def _read_time(self, block: pa.Table, column: str) -> None:
        self._refuse_missing("time", column, block)
        try:
            time = times.parse(block[column])
        except times.Unfit as unfit:
            place = "" if unfit.row is None else f", row {self.rows + unfit.row + 1}:"
            raise MTBenchError(f"dataset '{self.name}': column '{column}'{place} {unfit}") from None
        self._append("time", time)

    def _read_split(self, block: pa.Table, column: str) -> None:
        self._append("split", splits.parse_official(block[column].cast(pa.string()).to_numpy(), self.rows))

    def _read_row(self, block: pa.Table, column: str) -> None:
        self._refuse_missing("row id", column, block)
        values = block[column]
        if pa.types.is_integer(values.type):
            keys = values.to_numpy().astype(np.uint64)
        else:
            keys = pd.util.hash_array(values.cast(pa.string()).to_numpy())
        self._append("row id", keys)

    def _read_texts(self, block: pa.Table) -> None:
        texts = pa.table({column: block[column].cast(pa.large_string()) for column in self.schema.texts})
        with cache.writing():
            self._texts.write_table(texts)

    def _refuse_missing(self, role: str, column: str, block: pa.Table) -> None:
        row = pc.index(pc.is_null(block[column], nan_is_null=True), True).as_py()
        if row >= 0:
            raise MTBenchError(
                f"dataset '{self.name}': column '{column}', row {self.rows + row + 1}: the {role} is missing; fill it "
                f"in, drop the row, or leave the {role} out of the schema"
            )

    @contextmanager
    def _explain_unfit(self, column: str, block: pa.Table) -> Iterator[None]:
        try:
            yield
        except pa.ArrowException as error:
            feature = next((one for one in self.features if one.source == column), None)
            what = f"feature '{feature.name}' is {feature.kind}" if feature else "an id is categorical"
            raise MTBenchError(
                f"dataset '{self.name}': {what}, which its column '{column}' cannot be: it holds "
                f"{block[column].type} ({error}); declare it otherwise"
            ) from error


class FirstTexts:
    """The first known text of each item in the order of time, and of rows where times are equal."""

    def __init__(self) -> None:
        self._pending: list[pa.Table] = []
        self._largest = 2 * BLOCK

    def add(self, item: np.ndarray, when: np.ndarray, texts: pa.ChunkedArray) -> None:
        """Take the texts of some rows into account."""
        self._pending.append(_take_first(pa.table({"item": item, "when": when, "text": texts})))
        if sum(len(pending) for pending in self._pending) > self._largest:
            self._pending = [_take_first(pa.concat_tables(self._pending))]
            self._largest = 2 * max(BLOCK, len(self._pending[0]))

    def of(self, items: int) -> pa.ChunkedArray:
        """Return the texts of items by number, null where there is none; the last item may be the missing one."""
        first = _take_first(pa.concat_tables(self._pending))
        at = np.full(items, -1)
        at[first["item"].to_numpy()] = np.arange(len(first))
        return first["text"].take(pa.array(at, mask=at < 0))


def _take_first(table: pa.Table) -> pa.Table:
    table = table.filter(pc.is_valid(table["text"]))
    item = table["item"].to_numpy()
    order = np.lexsort((table["when"].to_numpy(), item))  # stable: the first row of equal times comes first
    first = order[np.flatnonzero(np.diff(item[order], prepend=encode.MISSING - 1))]
    return table.take(np.sort(first))


def _cut_blocks(loaded: pa.Table | pa.RecordBatchReader) -> Iterator[pa.Table]:
    """Return a table in pieces of BLOCK rows, the last one shorter; what a reader gives is cut and joined to that."""
    if isinstance(loaded, pa.Table):
        for start in range(0, loaded.num_rows, BLOCK):
            yield loaded.slice(start, BLOCK)
        return
    pending = loaded.schema.empty_table()
    for batch in loaded:
        pending = pa.concat_tables([pending, pa.Table.from_batches([batch])])
        while len(pending) >= BLOCK:
            yield pending.slice(0, BLOCK)
            pending = pending.slice(BLOCK)
    if len(pending):
        yield pending


def _check_columns(name: str, schema: Schema, columns: pa.Schema) -> None:
    wanted = [
        *(task.label for task in schema.tasks),
        *(feature.source for feature in schema.features),
        *schema.texts,
        *schema.truth.values(),
    ]
    roles = (schema.user, schema.item, schema.domain, schema.time, schema.row, schema.split)
    wanted += [column for column in roles if column]
    for column in wanted:
        count = columns.names.count(column)
        if not count:
            raise MTBenchError(f"dataset '{name}' has no column '{column}'{suggest(column, columns.names)}")
        if count > 1:
            raise MTBenchError(f"dataset '{name}' has {count} columns named '{column}'; rename all but one")
    for column in schema.texts:
        if pa.types.is_nested(columns.field(column).type):
            raise MTBenchError(
                f"dataset '{name}': column '{column}' holds {columns.field(column).type}, which is no text; remove it "
                "from the texts, or join its values"
            )
