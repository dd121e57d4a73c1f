"""The point-in-time law, for authors of inputs: what a row is given depends on no label of its chunk or a later one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from mtbench.data.dataset import Dataset, DatasetConfig
from mtbench.data.prepare import prepare
from mtbench.inputs.interactions import interactions_of, rows_of
from mtbench.schema import Card, Schema, Split

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mtbench.data.columns import Columns
    from mtbench.inputs import Input

TASKS = ("click", "buy")


class Generated(Dataset[DatasetConfig]):
    """A small table of users, items, times and labels that a test has made."""

    card = Card(title="Generated", licence="", citation="", url="", description="Made by a test.")

    def __init__(self, table: pd.DataFrame) -> None:
        super().__init__(DatasetConfig())
        self.table = table

    def schema(self) -> Schema:
        """Return users, items, times where the table has them, a title and two tasks."""
        time = "time" if "time" in self.table else None
        return Schema(tasks=TASKS, features=("shelf",), user="user", item="item", time=time, texts=("title",))

    def load(self, files: Mapping[str, Path]) -> pd.DataFrame:  # noqa: ARG002
        """Return the table."""
        return self.table


def generated(rng: np.random.Generator, rows: int, users: int, items: int, *, timed: bool = True) -> pd.DataFrame:
    """Return a random table; some times are equal, and both classes of each task stand at both ends of time."""
    item = rng.integers(items, size=rows)
    table = pd.DataFrame({"user": rng.integers(users, size=rows), "item": item, "shelf": item % 3})
    table["title"] = [f"title {number}" for number in item]
    if timed:
        table["time"] = np.sort(rng.integers(rows, size=rows))
    for task in TASKS:
        table[task] = rng.integers(2, size=rows)
    return table


def given(input_: Input[Any], columns: Columns, folder: Path) -> dict[str, np.ndarray]:
    """Build an input without the cache and return what it gives to every row of the table."""
    folder.mkdir(parents=True)
    input_.build(interactions_of(columns), rows_of(columns), columns, folder)
    taken = input_.open(folder).take(torch.arange(sum(columns.counts.values())))
    return {name: part.numpy() for name, part in taken._asdict().items()}


def changed_by_the_future(input_: Input[Any], table: pd.DataFrame, split: Split, chunk: int, folder: Path) -> list[str]:
    """Flip every label in chunks from ``chunk`` on; return the parts of the input that changed for rows up to there.

    An input that keeps the law returns an empty list. Raises MTBenchError if the table cannot be prepared.
    """
    before = prepare("generated", Generated(table), split, source=_digest(table))
    chunks = before.chunk()
    late = before.row_ids(before.everything())[chunks >= chunk]
    flipped = table.copy()
    for task in TASKS:
        flipped.loc[late, task] = 1 - flipped.loc[late, task]
    after = prepare("generated", Generated(flipped), split, source=_digest(flipped))
    assert np.array_equal(after.chunk(), chunks)
    first, second = (given(input_, columns, folder / name) for name, columns in (("a", before), ("b", after)))
    rows = chunks <= chunk
    return [name for name, values in first.items() if not np.array_equal(values[rows], second[name][rows])]


def _digest(table: pd.DataFrame) -> str:
    return str(pd.util.hash_pandas_object(table).sum())
