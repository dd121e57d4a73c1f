"""Writes prepared columns with the rows in the order train, valid, test, warm-up, so that each part is one slice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mtbench.data import splits
from mtbench.data.fitted import take_lists
from mtbench.data.scratch import ArrayFile, blocks

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mtbench.data.fitted import Encoded, Fitted


class Store:
    """The files of a cache entry, to which encoded rows are added in the order of the table.

    ``of_rows`` holds further arrays with an entry for each row of the table: chunks, a time where the table has none,
    what can be reached; ``earlier`` holds the events before the first row.
    """

    def __init__(
        self, folder: Path, fitted: Fitted, of_rows: Mapping[str, np.ndarray], earlier: pa.Table | None
    ) -> None:
        self._folder = folder
        self._fitted = fitted
        self._of_rows = of_rows
        self._files: dict[str, ArrayFile] = {}
        counts = np.bincount(fitted.part, minlength=splits.WARMUP + 1)
        self._next = np.cumsum(counts) - counts  # row of each part
        values = {name: self._count_values(codes.column) for name, codes in fitted.multi.items()}
        self._values = {name: int(of_parts.sum()) for name, of_parts in values.items()}
        self._next_value = {name: np.cumsum(of_parts) - of_parts for name, of_parts in values.items()}
        schema = fitted.raw.schema
        self._nodes = {node: column for node, column in (("user", schema.user), ("item", schema.item)) if column}
        self._number_earlier(earlier)
        self.nodes = {f"{node}s": fitted.raw.numbered[column].count() for node, column in self._nodes.items()}

    def add(self, encoded: Encoded) -> None:
        """Write the next rows of the table."""
        raw, rows = self._fitted.raw, encoded.rows
        part = self._fitted.part[rows]
        counts = np.bincount(part, minlength=len(self._next))
        order = np.argsort(part, kind="stable") if counts.max() < len(part) else slice(None)
        arrays = {
            "row": np.arange(rows.start, rows.stop),
            "categorical": encoded.categorical,
            "numeric": encoded.numeric,
            "labels": encoded.labels,
            "mask": encoded.mask.astype(np.float32),
        }
        arrays |= {name: array[rows] for name, array in self._of_rows.items()}
        if raw.schema.time is not None:
            arrays["time"] = raw.scratch.read("time", rows)
        if raw.schema.truth:
            arrays["optimum"] = np.column_stack(
                [
                    raw.scratch.read(f"truth {task.name}", rows)
                    if task.name in raw.schema.truth
                    else np.full(len(part), np.nan)
                    for task in raw.schema.tasks
                ]
            )
        for node, column in self._nodes.items():
            number = raw.scratch.read(f"number {column}", rows).astype(np.int64)
            number[number < 0] = len(raw.numbered[column])
            arrays[node] = number
        if raw.schema.domain is not None:
            arrays["domain"] = raw.scratch.read(f"number {raw.schema.domain}", rows)
        for name, array in arrays.items():
            self._place(name, array[order], counts, self._next, len(self._fitted.part))
        for index, (name, lists) in enumerate(encoded.multi.items()):
            values, lengths = lists if isinstance(order, slice) else take_lists(order, *lists)
            of_parts = np.bincount(part[order], lengths, minlength=len(counts)).astype(np.int64)
            # an offset is where the list ends: how far each part's values begin after those of the block's parts before
            shift = self._next_value[name] - (np.cumsum(of_parts) - of_parts)
            ends = np.cumsum(lengths, dtype=np.int64) + shift[part[order]]
            self._place(f"multi-{index}-values", values, of_parts, self._next_value[name], self._values[name])
            self._place(f"multi-{index}-offsets", ends, counts, self._next + 1, len(self._fitted.part) + 1)
            self._next_value[name] += of_parts
        self._next += counts

    def finish(self) -> None:
        """Write what does not depend on rows: vocabularies, domains and texts."""
        for file in self._files.values():
            file.close()
        raw = self._fitted.raw
        for index, codes in enumerate((*self._fitted.categorical.values(), *self._fitted.multi.values())):
            pq.write_table(pa.table({"value": codes.vocabulary}), self._folder / f"vocabulary-{index}.parquet")
        if raw.schema.domain is not None:
            values = raw.numbered[raw.schema.domain].values
            assert values is not None
            pq.write_table(pa.table({"value": values.cast(pa.string())}), self._folder / "domains.parquet")
        if raw.schema.texts:
            for index, texts in enumerate(raw.find_texts(self._fitted.part, self.nodes["items"])):
                pq.write_table(texts, self._folder / f"text-{index}.parquet")

    def _place(self, name: str, array: np.ndarray, counts: np.ndarray, starts: np.ndarray, rows: int) -> None:
        """Write an array whose rows are sorted by part, ``counts`` of each, to where these parts go on."""
        if name not in self._files:
            self._files[name] = ArrayFile(self._folder / f"{name}.npy", (rows, *array.shape[1:]), array.dtype)
        for start, end, count in zip(starts, np.cumsum(counts), counts, strict=True):
            self._files[name].write(int(start), array[end - count : end])

    def _count_values(self, column: str) -> np.ndarray:
        """Return how many values the lists of each part hold."""
        total = np.zeros(len(self._next), np.int64)
        for rows in blocks(self._fitted.raw.rows):
            lengths = self._fitted.raw.scratch.read(f"length {column}", rows)
            total += np.bincount(self._fitted.part[rows], lengths, minlength=len(total)).astype(np.int64)
        return total

    def _number_earlier(self, earlier: pa.Table | None) -> None:
        schema = self._fitted.raw.schema
        for node, column in self._nodes.items():
            numbered = self._fitted.raw.numbered[column]
            number = np.zeros(0) if earlier is None else numbered.add(earlier[column])
            np.save(self._folder / f"earlier-{node}.npy", np.where(number < 0, len(numbered), number).astype(np.int64))
        positive = np.zeros((0 if earlier is None else earlier.num_rows, len(schema.tasks)), bool)
        for index, task in enumerate(schema.tasks):
            if earlier is not None and task.name in earlier.column_names:
                positive[:, index] = pc.fill_null(pc.cast(earlier[task.name], pa.bool_()), False).to_numpy()
        np.save(self._folder / "earlier-positive.npy", positive)
