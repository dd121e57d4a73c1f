"""What a row and a step of training cost as rows become many and vocabularies large.

    python performance/step_cost.py

trains a shared bottom for whole epochs of planted tables of 100 thousand to 10 million rows, read from prepared files,
and takes steps with features of 100 thousand to 10 million values in all under each update of embeddings. Sizes take
turns, round by round, and the best of the rounds counts. Writes ``results/step_cost.{json,md}``; ratios to the smallest
size are the result. The largest needs 6 GB of memory.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any

import torch
import typer
from profile_step import WARMUP, median_step, take_steps
from rich.progress import track
from sheets import Sheet, publish

from mtbench.data.prepare import prepare
from mtbench.data.rows import SplitRows
from mtbench.experiment import Training
from mtbench.registry import Registry
from mtbench.schema import DataSpec, Task
from mtbench.training.module import TrainingModule
from mtbench_datasets.planted import Planted, PlantedConfig
from mtbench_datasets.table import Table, TableConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE = Path(__file__).resolve().parent
SIZES = [100_000, 1_000_000, 10_000_000]
BATCH = 2048
FEATURES = 8
UPDATES = ("adam", "row-adam", "row-adagrad")


def make_module(spec: DataSpec, train: SplitRows, embeddings: str) -> TrainingModule:
    """Return a shared bottom at its default settings, with what trains it."""
    registry = Registry.load()
    cls, balancer = registry.resolve("model", "shared-bottom"), registry.resolve("balancer", "equal")
    columns: Any = SimpleNamespace(schema=SimpleNamespace(tasks=spec.tasks), train=train)
    training = Training(batch_size=BATCH, embeddings=embeddings)
    torch.manual_seed(0)
    return TrainingModule(
        cls(cls.Config(), spec), balancer(balancer.Config(), spec.tasks), SimpleNamespace(), columns, training, seed=0
    )


def prepare_planted(rows: int, folder: Path) -> TrainingModule:
    """Return a module with so many training rows, prepared from a Parquet file."""
    path = folder / f"{rows}.parquet"
    subprocess.run([sys.executable, HERE / "scale_steps.py", "write", path, str(rows)], check=True)  # noqa: S603
    table = Table(TableConfig(path=path, **Planted(PlantedConfig()).schema().model_dump()))
    columns = prepare("table", table, table.split, source="")
    return make_module(columns.spec, columns.train, "row-adam")  # for few rows know few users: dense Adam would tell


def time_epoch(module: TrainingModule) -> float:
    """Return the seconds of an epoch per row."""
    rows = len(module.columns.train)
    started = time.perf_counter()
    for _ in take_steps(module, -(-rows // BATCH)):
        pass
    return (time.perf_counter() - started) / rows


def draw_module(vocabulary: int, embeddings: str, steps: int) -> TrainingModule:
    """Return a module whose rows have features of so many values in all, most of them rare."""
    size = vocabulary // FEATURES
    rows, generator = BATCH * steps, torch.Generator().manual_seed(0)
    task = Task(name="click")
    codes = (size * torch.rand(rows, FEATURES, generator=generator) ** 3).int()
    labels = torch.rand(rows, 1, generator=generator).round()
    train = SplitRows(torch.arange(rows), codes, torch.zeros(rows, 0), labels, torch.ones(rows, 1))
    return make_module(DataSpec((task,), {f"feature{at}": size for at in range(FEATURES)}), train, embeddings)


def measure(sizes: Sequence[int], steps: int, rounds: int) -> dict[str, dict[int, float]]:
    """Return microseconds per row by number of rows, and milliseconds per step by vocabulary, for each update."""
    times: dict[str, dict[int, float]] = {name: dict.fromkeys(sizes, float("inf")) for name in ("rows", *UPDATES)}
    with tempfile.TemporaryDirectory() as folder:
        tables = {size: prepare_planted(size, Path(folder)) for size in track(sizes, "preparing")}
        for _, size in track(list(product(range(rounds), sizes)), "epochs"):
            times["rows"][size] = min(times["rows"][size], 1e6 * time_epoch(tables[size]))
    for _, size, update in track(list(product(range(rounds), sizes, UPDATES)), "steps"):
        seconds = median_step([time.perf_counter() for _ in take_steps(draw_module(size, update, steps), steps)])
        times[update][size] = min(times[update][size], 1e3 * seconds)
    return times


def list_lines(times: dict[str, dict[int, float]]) -> list[list[str]]:
    """Return the table: a line for each thing that grows, with ratios to the smallest size."""
    names = {"rows": "rows: µs a row"} | {update: f"vocabulary, {update}: ms a step" for update in UPDATES}
    head = ["what", *(f"{size:,}" for size in times["rows"]), "growth"]
    rows = []
    for name, of in times.items():
        values = list(of.values())
        rows.append([names[name], *(f"{value:.2f}" for value in values), f"{values[-1] / values[0]:.2f}x"])
    return [head, *rows]


def main(
    size: Annotated[list[int], typer.Option(help="Rows, and values in all.")] = SIZES,
    steps: Annotated[int, typer.Option(min=WARMUP + 2, help="Steps with each vocabulary.")] = 30,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds; the best of them counts.")] = 2,
    results: Annotated[Path, typer.Option(help="Folder for the table.")] = HERE / "results",
) -> None:
    """Measure what rows and vocabularies cost."""
    with tempfile.TemporaryDirectory() as cache:
        os.environ["MTBENCH_CACHE"] = cache
        times = measure(size, steps, rounds)
    head, *rows = list_lines(times)
    publish("step_cost", times, [Sheet(head, rows)], results, f"batches of {BATCH:,} rows")


if __name__ == "__main__":
    typer.run(main)
