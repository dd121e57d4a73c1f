"""How long a large board takes: reading its records, making its site, opening the pages.

    python performance/board.py

makes records and resamples after those of the leaderboard, twenty comparisons of a hundred models, builds the site and
opens it in Chromium where there is one. Writes ``results/board.{json,md}``.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from sheets import Sheet, publish

from mtbench.board import page, resamples
from mtbench.record import store
from mtbench.record.form import Record

if TYPE_CHECKING:
    from collections.abc import Callable

RESULTS = Path(__file__).parent / "results"
LEADERBOARD = Path(__file__).resolve().parents[1] / "leaderboard" / "records"


def find_pattern() -> tuple[Record, resamples.Resamples]:
    """Return a record of the leaderboard with several tasks and epochs, and its resamples."""
    replicates = resamples.read_all(LEADERBOARD)[0]
    records = [record for record, _ in store.read_all(LEADERBOARD)[0] if record.file_stem in replicates]
    record = max(records, key=lambda record: len(record.model_dump_json()))
    return record, replicates[record.file_stem]


def write_board(folder: Path, groups: int, models: int) -> None:
    """Write that many comparisons of that many models, every value moved by chance."""
    record, replicates = find_pattern()
    rng = np.random.default_rng(0)
    for group in range(groups):
        for model in range(models):
            content = record.model_dump(mode="json")
            content["recipe"]["dataset"]["name"] = f"data-{group}"
            content["recipe"]["model"]["name"] = f"model-{model}"
            by = rng.normal(0, 0.01)
            for cells in content["results"].values():
                for cell in cells.values():
                    cell["test"] = [None if value is None else value + by for value in cell["test"]]
            made = Record.model_validate(content)
            made = made.model_copy(update={"key": made.recipe.key})
            store.write(made, folder)
            tasks = {
                name: task.model_copy(update={"values": [value and value + by for value in task.values]})
                for name, task in replicates.tasks.items()
            }
            resamples.write(replicates.model_copy(update={"record": made.file_stem, "tasks": tasks}), folder)


def time_work(work: Callable[[], object]) -> float:
    """Return how long some work takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def time_pages(paths: dict[str, Path]) -> dict[str, float]:
    """Return the seconds until each page is there, in a browser that is open; nothing where there is no browser."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    with suppress(ImportError):
        from playwright.sync_api import sync_playwright  # noqa: PLC0415

        if program is None:
            return {}
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
            tab = browser.new_page()
            times = {
                what: time_work(lambda at=at: tab.goto(at.as_uri(), wait_until="load")) for what, at in paths.items()
            }
            browser.close()
            return times
    return {}


def measure(folder: Path, groups: int, models: int) -> dict[str, float]:
    """Return the seconds that each thing takes."""
    records, site = folder / "records", folder / "site"
    write_board(records, groups, models)
    times = {
        "read the records": time_work(lambda: store.read_all(records)),
        "read the resamples": time_work(lambda: resamples.read_all(records)),
        "build the site, all of that included": time_work(lambda: page.build(records, site)),
        "build it again": time_work(lambda: page.build(records, site)),
    }
    first = next(iter(sorted((site / "data").iterdir())))
    pages = {"open the overview": site / "index.html", f"open a page of {models} rows": first}
    return times | time_pages(pages)


def main(
    groups: Annotated[int, typer.Option(help="Comparisons.")] = 20,
    models: Annotated[int, typer.Option(help="Records of each.")] = 100,
) -> None:
    """Measure a board and write the results."""
    with tempfile.TemporaryDirectory() as folder:
        times = measure(Path(folder), groups, models)
    lines = [[what, f"{value:.1f}"] for what, value in times.items()]
    publish("board", times, [Sheet(["what", "seconds"], lines)], RESULTS, f"{groups} comparisons of {models} records")


if __name__ == "__main__":
    typer.run(main)
