"""Generated tables of strange but legal columns, each with one strangeness of its own and often two that are drawn."""

from __future__ import annotations

import csv
import datetime as dt
import math
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WORDS = [
    "", " ", "\u00e9", "e\u0301", "\u202eabc", "\U0001f469\u200d\U0001f467", "\ufdfa", "\u0130", "\u00df", "two\nlines",
    'say "x, y"', "None", "nan", "\ufeff", "-0", "1e5", "a" * 3000, "\u2028", "true", "NULL", "#", "'", "\t",
]  # fmt: skip


class Strange:
    """A table of ``columns`` (lists by name, None where missing) and what they mean."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.rows = int(self.rng.integers(80, 200))
        self.types: dict[str, pa.DataType] = {}
        draw, rows = self.rng.integers, self.rows
        self.columns: dict[str, list] = {
            "user": draw(12, size=rows).tolist(),
            "item": draw(9, size=rows).tolist(),
            "time": np.sort(draw(10 * rows, size=rows)).tolist(),
            "shelf": draw(4, size=rows).tolist(),
            "price": self.rng.lognormal(size=rows).round(3).tolist(),
            "tags": [draw(5, size=draw(3)).tolist() for _ in range(rows)],
            "title": [f"title {number}" for number in draw(9, size=rows)],
            "click": draw(2, size=rows).tolist(),
            "like": draw(2, size=rows).tolist(),
            "buy": draw(2, size=rows).tolist(),
            "part": ["train" if at < 0.6 else "valid" if at < 0.8 else "test" for at in np.arange(rows) / rows],
        }
        self.schema: dict = {
            "tasks": [{"name": "click"}, {"name": "like"}, {"name": "buy", "given": "click"}],
            "features": [
                {"name": "shelf", "of": "item"},
                {"name": "price", "kind": "numeric"},
                {"name": "tags", "kind": "multi", "of": "item"},
            ],
            "user": "user", "item": "item", "time": "time", "split": "part", "texts": ["title"],
        }  # fmt: skip
        self.settings: dict = {}
        others = self.rng.choice(len(STRANGENESS), 2, replace=False).tolist() if self.rng.random() < 0.7 else []
        self.strange = [list(STRANGENESS)[at] for at in dict.fromkeys([seed % len(STRANGENESS), *others])]
        for name in sorted(self.strange, key=lambda name: "names" in name):  # columns are known by their own until then
            STRANGENESS[name](self)

    def put(self, column: str, values, kind: pa.DataType | None = None) -> None:
        """Replace or add a column."""
        self.columns[column] = list(values)
        self.types.pop(column, None)
        if kind is not None:
            self.types[column] = kind

    def add(self, name: str, values, *, kind: str = "categorical", typed: pa.DataType | None = None, **more) -> None:
        """Add a feature."""
        self.put(name, values, typed)
        self.schema["features"].append({"name": name, "kind": kind, **more})

    def add_task(self, name: str, values, **more) -> None:
        """Add a task."""
        self.put(name, values)
        self.schema["tasks"].append({"name": name, **more})

    def rename(self, column: str, name: str) -> None:
        """Rename a column, and whatever stands for it."""
        self.columns = {name if key == column else key: values for key, values in self.columns.items()}
        self.types = {name if key == column else key: kind for key, kind in self.types.items()}

        def renamed(value):
            if isinstance(value, dict):
                return {key: renamed(one) if key in {"name", "given"} else one for key, one in value.items()}
            return [renamed(one) for one in value] if isinstance(value, list) else name if value == column else value

        self.schema = {key: renamed(value) for key, value in self.schema.items()}

    def random(self, share: float) -> list[bool]:
        """Return a random share of the rows."""
        return (self.rng.random(self.rows) < share).tolist()

    def write(self, source: str, folder: Path) -> dict:
        """Write the table and return the dataset of an experiment."""
        table = pa.table({
            name: pa.array(values, self.types.get(name)) for name, values in self.columns.items()
        })  # fmt: skip
        path = folder / f"rows.{'arrow' if source == 'memory' else source}"
        if source == "memory":
            pyarrow.feather.write_feather(table, path)
        elif source == "parquet":
            pq.write_table(table, path)
        else:
            with path.open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows([table.column_names, *zip(*map(_write_cells, table.columns), strict=True)])
        return {"name": "memory" if source == "memory" else "table", "path": str(path), **self.schema}


def _write_cells(column: pa.ChunkedArray) -> list[str]:
    def write(value) -> str:
        if isinstance(value, list):
            return "|".join(map(write, value))
        if isinstance(value, dt.datetime):
            return value.isoformat()
        return "" if value is None else str(value)

    return [write(value) for value in column.to_pylist()]


STRANGENESS: dict[str, Callable[[Strange], None]] = {
    "nothing": lambda table: None,  # noqa: ARG005
    "constant number": lambda table: table.add("level", [7.5] * table.rows, kind="numeric"),
    "one category": lambda table: table.add("colour", ["red"] * table.rows, of="item"),
    "only missing numbers": lambda table: table.put("price", [None] * table.rows, pa.float64()),
    "only missing categories": lambda table: table.put("shelf", [None] * table.rows, pa.string()),
    "only missing lists": lambda table: table.put("tags", [None] * table.rows, pa.list_(pa.string())),
    "only missing texts": lambda table: table.put("title", [None] * table.rows, pa.string()),
    "numbers missing in training": lambda table: table.put(
        "price", [None if at < 0.9 * table.rows else 1.5 * at for at in range(table.rows)]
    ),
    "unseen categories": lambda table: table.put(
        "shelf", [at if at > 0.7 * table.rows else at % 3 for at in range(table.rows)]
    ),
    "unseen users and items": lambda table: (
        table.put("user", [at if at > 0.7 * table.rows else at % 5 for at in range(table.rows)]),
        table.put("item", [-at if at > 0.7 * table.rows else at % 4 for at in range(table.rows)]),
    ),
    "empty lists": lambda table: table.put("tags", [[]] * table.rows, pa.list_(pa.int64())),
    "one long list": lambda table: table.put("tags", [[1] * 500, *[[2]] * (table.rows - 1)]),
    "one user": lambda table: table.put("user", ["me"] * table.rows),
    "one item": lambda table: table.put("item", ["it"] * table.rows),
    "an item per row": lambda table: table.put("item", range(table.rows)),
    "a user per row": lambda table: table.put("user", range(table.rows)),
    "one positive": lambda table: table.put("like", [at == 3 for at in range(table.rows)]),
    "one positive in each part": lambda table: table.put(
        "like", [at % (table.rows // 9) == 0 for at in range(table.rows)]
    ),
    "no positives in validation": lambda table: table.put(
        "like", [int(at % 2 and part != "valid") for at, part in enumerate(table.columns["part"])]
    ),
    "no positives": lambda table: table.put("click", [0] * table.rows),
    "only positives": lambda table: table.put("like", [1] * table.rows),
    "no label in training": lambda table: table.put(
        "like",
        [None if part == "train" else label for part, label in zip(table.columns["part"], table.columns["like"])],  # noqa: B905
    ),
    "few labels": lambda table: table.put(
        "like",
        [label if kept else None for kept, label in zip(table.random(0.15), table.columns["like"])],  # noqa: B905
    ),
    "huge numbers": lambda table: table.put("price", (1e30 * table.rng.normal(size=table.rows)).tolist()),
    "tiny numbers": lambda table: table.put("price", (1e-30 * table.rng.normal(size=table.rows)).tolist()),
    "numbers far from zero": lambda table: table.put("price", [1e15 + at % 7 for at in range(table.rows)]),
    "numbers of all sizes": lambda table: (
        table.add("wide", (10 ** table.rng.uniform(-30, 30, table.rows)).tolist(), kind="numeric"),
        table.add("wide too", (-(10 ** table.rng.uniform(-30, 30, table.rows))).tolist(), kind="numeric", log=True),
    ),
    "odd text": lambda table: (
        table.put("title", [WORDS[at % len(WORDS)] for at in range(table.rows)]),
        table.add("word", table.rng.choice(WORDS, table.rows).tolist(), of="user"),
    ),
    "odd ids": lambda table: (
        table.put("user", [f"{WORDS[1 + at % (len(WORDS) - 1)]}." for at in table.rng.integers(99, size=table.rows)]),
        table.put("item", [2**62 + int(at) for at in table.rng.integers(9, size=table.rows)]),
    ),
    "odd names": lambda table: [
        table.rename(column, name)
        for column, name in {
            "price": "a b/c\\d",
            "shelf": "line\nbreak",
            "like": "None",
            "user": "ü.user",
            "tags": " ",
            "click": "0",
        }.items()
    ],
    "names of others": lambda table: [
        table.rename(column, name)
        for column, name in {"price": "labels", "shelf": "recent items", "tags": "user macro", "like": "loss"}.items()
    ],
    "equal rows": lambda table: [
        table.put(name, [values[at % 40] for at in range(table.rows)])
        for name, values in table.columns.items()
        if name not in {"time", "part"}
    ],
    "one validation row": lambda table: table.put(
        "part", ["valid" if at == 5 else "test" if at % 5 == 0 else "train" for at in range(table.rows)]
    ),
    "one test row": lambda table: table.put(
        "part", ["test" if at == 5 else "valid" if at % 5 == 0 else "train" for at in range(table.rows)]
    ),
    "two training rows": lambda table: table.put(
        "part", ["train" if at < 2 else "test" if at % 2 else "valid" for at in range(table.rows)]
    ),
    "mixed parts": lambda table: table.put("part", table.rng.permutation(table.columns["part"]).tolist()),
    "equal times": lambda table: table.put("time", [7] * table.rows),
    "two times": lambda table: table.put("time", [int(at > 0.7 * table.rows) for at in range(table.rows)]),
    "few times": lambda table: table.put("time", [10 * at // table.rows for at in range(table.rows)]),
    "nanoseconds": lambda table: table.put(
        "time", [1_700_000_000 * 10**9 + at for at in range(table.rows)], pa.timestamp("ns")
    ),
    "far times": lambda table: table.put(
        "time", [at if at < 0.9 * table.rows else 10**18 + at for at in range(table.rows)]
    ),
    "negative times": lambda table: table.put("time", [-(2**62) + 3 * at for at in range(table.rows)]),
    "huge times": lambda table: table.put("time", [(at - table.rows / 2) * 1e306 for at in range(table.rows)]),
    "no time": lambda table: (table.columns.pop("time", None), table.schema.update(time=None)),
    "no users": lambda table: table.schema.update(user=None),
    "no items": lambda table: table.schema.update(item=None, texts=[]),
    "no ids": lambda table: table.settings.update(ids=False),
    "no features": lambda table: table.schema.update(features=[]),
    "one task": lambda table: table.schema.update(tasks=[dict(table.schema["tasks"][0])]),
    "many tasks": lambda table: [
        table.add_task(f"task {number}", table.rng.integers(2, size=table.rows).tolist()) for number in range(7)
    ],
    "a long funnel": lambda table: [
        table.add_task(f"step {number}", [1] * (table.rows - 8) + [0, 1] * 4, given=given)
        for number, given in enumerate([table.schema["tasks"][0]["name"], "step 0", "step 1"])
    ],
    "numbers to predict": lambda table: (
        table.add_task("seconds", (1e9 + 40 * table.rng.random(table.rows)).tolist(), kind="regression"),
        table.add_task("tiny", (1e-20 * table.rng.normal(size=table.rows)).tolist(), kind="regression"),
        table.add_task("heavy", np.exp(8 * table.rng.normal(size=table.rows)).tolist(), kind="regression"),
    ),
    "grades": lambda table: (
        table.add_task("stars", table.rng.integers(1, 6, size=table.rows).tolist(), kind="ordinal"),
        table.add_task("rare", [50 if at % 30 == 0 else -3 for at in range(table.rows)], kind="ordinal"),
    ),
    "counts": lambda table: (
        table.add_task("plays", table.rng.poisson(2, table.rows).tolist(), kind="count"),
        table.add_task("streams", (1000 * table.rng.poisson(0.2, table.rows) ** 4).tolist(), kind="count"),
    ),
    "one domain": lambda table: (table.put("country", ["NL"] * table.rows), table.schema.update(domain="country")),
    "a domain that is mostly missing": lambda table: (
        table.put("country", [None if gone else "NL" for gone in table.random(0.9)], pa.string()),
        table.schema.update(domain="country"),
    ),
    "types of all kinds": lambda table: (
        table.add("flag", table.random(0.5)),
        table.add("weight", table.rng.choice([0.1, math.nan, -0.0, 0.0, 1e300], table.rows).tolist()),
        table.add("day", [dt.datetime(2024, 1, 1 + at % 28, tzinfo=dt.UTC) for at in range(table.rows)]),
        table.add("large", [2**63 + at % 5 for at in range(table.rows)], typed=pa.uint64()),
        table.add("small", [at % 3 for at in range(table.rows)], typed=pa.int8(), kind="numeric"),
    ),
    "a warm-up": lambda table: table.settings.update(warmup=0.5),
    "everything given": lambda table: table.settings.update(
        give=["recent", "rates", "full-graph", {"name": "text", "column": "title", "encoder": "hashed", "width": 8}]
    ),
}
