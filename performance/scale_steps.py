"""The steps of scale.py, each run in a process of its own so that its memory can be told.

Every step that is measured prints one line of JSON: seconds, and in bytes the memory after imports, the peak of the
resident memory and the peak of its anonymous part, which no file on disk backs. Linux alone tells them, in /proc.
"""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from threading import Event, Thread
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import typer

from mtbench.data.prepare import prepare
from mtbench.inputs import Interactions, Rows
from mtbench.schema import Schema
from mtbench_datasets.planted import Planted, PlantedConfig
from mtbench_datasets.planted.rows import draw
from mtbench_datasets.planted.world import TASKS, World
from mtbench_datasets.table import Table, TableConfig
from mtbench_inputs.macro_graph import MacroGraph, MacroGraphConfig

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mtbench.data.columns import Columns

USERS, ITEMS = 100_000, 20_000
USERS_PER_EDGE, ITEMS_PER_EDGE, ROWS_PER_EDGE = 1 / 25, 1 / 100, 2 / 5
CLUSTERS = 20
CHUNKS = 9  # eight that teach, and the held-out rows
_BLOCK = 1_000_000
_SECONDS_PER_ROW = 30  # of the planted time
_POLL = 0.02  # seconds

app = typer.Typer()


@app.command()
def write(path: Path, rows: int) -> None:
    """Write planted rows as Parquet: one world, and a block after the other with its own random numbers."""
    world = World(users=USERS, items=ITEMS, signal="none", conflict=0, seed=0)
    writer = None
    for number, start in enumerate(range(0, rows, _BLOCK)):
        part = copy(world)
        part.rows = np.random.SeedSequence([0, number])
        columns, truth, labels = draw(part, min(_BLOCK, rows - start))
        columns["time"] += _SECONDS_PER_ROW * start
        arrays = {name: pa.array(values) for name, values in columns.items()}
        arrays["tags"] = world.tags_of(columns["item"])
        for index, task in enumerate(TASKS):
            arrays |= {task: pa.array(labels[:, index]), f"truth_{task}": pa.array(truth[:, index])}
        table = pa.table(arrays)
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    if writer:
        writer.close()


@app.command("prepare")
def prepare_table(path: Path) -> None:
    """Prepare a table that :func:`write` has written, and measure it."""
    table = Table(TableConfig(path=path, **Planted(PlantedConfig()).schema().model_dump()))
    with _measure():
        prepare("table", table, table.split, source="")


@app.command()
def graph(folder: Path, edges: int) -> None:
    """Build a macro graph of random positives, most of them of few users and items, and measure it."""
    rng = np.random.default_rng(0)
    users, items = max(round(edges * USERS_PER_EDGE), CLUSTERS), max(round(edges * ITEMS_PER_EDGE), 1000)

    def pairs(size: int) -> tuple[np.ndarray, np.ndarray]:
        user, item = users * rng.random(size) ** 1.25, items * rng.random(size) ** 2
        return user.astype(np.int64), item.astype(np.int64)

    user, item = pairs(edges)
    positive = rng.random((edges, len(TASKS))) < 0.4  # noqa: PLR2004 - any share
    positive[:, 0] |= ~positive.any(1)
    rows = round(edges * ROWS_PER_EDGE)
    events = Interactions(
        user=user,
        item=item,
        time=np.arange(edges, dtype=np.float64),
        chunk=np.sort(rng.integers(CHUNKS - 1, size=edges, dtype=np.int32)),
        positive=positive,
        row=np.arange(edges) % rows,
        users=users,
        items=items,
        chunks=CHUNKS,
    )
    asking = Rows(*pairs(rows), np.arange(rows, dtype=np.float64), np.sort(rng.integers(CHUNKS, size=rows)))
    columns = cast("Columns", SimpleNamespace(schema=Schema(tasks=TASKS), part=lambda: np.zeros(rows, np.int8)))
    macro = MacroGraph(MacroGraphConfig(user_clusters=CLUSTERS, item_clusters=CLUSTERS))
    with _measure():
        macro.build(events, asking, columns, folder)


@contextmanager
def _measure() -> Iterator[None]:
    """Print what the body took."""
    before, anonymous, over = _read_memory("VmRSS"), [0], Event()

    def watch() -> None:
        while not over.wait(_POLL):
            anonymous[0] = max(anonymous[0], _read_memory("RssAnon"))

    watcher = Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    try:
        yield
        seconds = time.perf_counter() - start
    finally:
        over.set()
        watcher.join()
    print(json.dumps({"seconds": seconds, "before": before, "peak": _read_memory("VmHWM"), "anonymous": anonymous[0]}))


def _read_memory(field: str) -> int:
    """Return a field of this process's status in bytes. The kernel's VmHWM, unlike ru_maxrss, knows no parent."""
    for line in Path("/proc/self/status").read_text().splitlines():
        name, value = line.split(":", 1)
        if name == field:
            return int(value.split()[0]) * 1024
    raise SystemExit(f"/proc/self/status has no {field}; this script runs on Linux")


if __name__ == "__main__":
    app()
