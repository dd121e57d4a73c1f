"""The point-in-time law, for authors of inputs: what a row is given depends on no label of its chunk or a later one."""

from __future__ import annotations

import hashlib
import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import torch

from mtbench.data.dataset import Dataset, DatasetConfig
from mtbench.data.prepare import prepare
from mtbench.inputs.interactions import collect_interactions, collect_rows
from mtbench.schema import Card, Feature, Schema, Split

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mtbench.data.columns import Columns
    from mtbench.inputs import Input

TASKS = ("click", "buy")


class InMemory(Dataset[DatasetConfig]):
    """A table in memory, generated or a part of real data, and the events before its first row."""

    card = Card(
        title="In memory", licence="", citation="", url="", description="Made by a test.",
        acknowledged={"time-order": "A test may take any rows."},
    )  # fmt: skip

    def __init__(self, table: pa.Table | pd.DataFrame, schema: Schema, earlier: pa.Table | None = None) -> None:
        super().__init__(DatasetConfig())
        self.table = pa.Table.from_pandas(table, preserve_index=False) if isinstance(table, pd.DataFrame) else table
        self.earlier = earlier
        self._schema = schema

    def schema(self) -> Schema:
        """Return what the columns mean."""
        return self._schema

    def load(self, files: Mapping[str, Path]) -> pa.Table:  # noqa: ARG002
        """Return the table."""
        return self.table

    def earlier_events(self, files: Mapping[str, Path]) -> pa.Table | None:  # noqa: ARG002
        """Return the events, if there are any."""
        return self.earlier

    def flip(self, rows: np.ndarray) -> InMemory:
        """Return the dataset with the labels of some rows, given by their numbers, the other way round.

        A missing label becomes 0 or 1, in turn.
        """
        chosen = np.zeros(self.table.num_rows, bool)
        chosen[rows] = True
        in_turn = pa.array(np.arange(self.table.num_rows) % 2)
        table = self.table
        for task in self._schema.tasks:
            label = table[task.label]
            other = pc.coalesce(pc.subtract(pa.scalar(1, label.type), label), in_turn.cast(label.type))
            at = table.column_names.index(task.label)
            table = table.set_column(at, task.label, pc.if_else(pa.array(chosen), other, label))
        return InMemory(table, self._schema, self.earlier)

    def prepare(self, split: Split, *, warmup: float = 0.0) -> Columns:
        """Return the columns of this dataset. Raises MTBenchError if it cannot be prepared."""
        content = pickle.dumps((self.table, self.earlier, self._schema.model_dump_json()))
        return prepare("in-memory", self, split, source=hashlib.sha256(content).hexdigest(), warmup=warmup)


class Generated(InMemory):
    """A table of :func:`generate_table`."""

    def __init__(self, table: pd.DataFrame) -> None:
        schema = Schema(
            tasks=TASKS,
            features=(Feature(name="club", of="user"), Feature(name="shelf", of="item")),
            user="user",
            item="item",
            time="time" if "time" in table else None,
            texts=("title",),
        )
        super().__init__(table, schema)


def generate_table(rng: np.random.Generator, rows: int, users: int, items: int, *, timed: bool = True) -> pd.DataFrame:
    """Return a random table; some times are equal, and both classes of each task stand at both ends of time."""
    item, user = rng.integers(items, size=rows), rng.integers(users, size=rows)
    table = pd.DataFrame({"user": user, "item": item, "club": user % 2, "shelf": item % 3})
    table["title"] = [f"title {number}" for number in item]
    if timed:
        table["time"] = np.sort(rng.integers(rows, size=rows))
    for task in TASKS:
        table[task] = rng.integers(2, size=rows)
    return table


def give_input(input_: Input[Any], columns: Columns, folder: Path) -> dict[str, np.ndarray]:
    """Build an input without the cache and return what it gives to every row of the table."""
    folder.mkdir(parents=True)
    input_.build(collect_interactions(columns), collect_rows(columns), columns, folder)
    taken = input_.open(folder).take(torch.arange(sum(columns.counts.values())))
    return {name: part.numpy() for name, part in taken._asdict().items()}


def find_leaks(input_: Input[Any], dataset: InMemory, split: Split, chunk: int, folder: Path) -> list[str]:
    """Flip every label in chunks from ``chunk`` on; return the parts of the input that changed for rows up to there.

    An input that keeps the law returns an empty list. Raises MTBenchError if the dataset cannot be prepared.
    """
    before = dataset.prepare(split)
    chunks = before.chunk()
    late = before.row_ids(before.everything())[chunks >= chunk]
    after = dataset.flip(late).prepare(split)
    assert np.array_equal(after.chunk(), chunks)
    first, second = (give_input(input_, columns, folder / name) for name, columns in (("a", before), ("b", after)))
    rows = chunks <= chunk
    return [name for name, values in first.items() if not np.array_equal(values[rows], second[name][rows])]
