"""``mtbench bench``: the records of a benchmark."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from mtbench.cli.options import JsonOption, PluginOption, TracebackOption, print_json, stdout, use_plugins
from mtbench.cli.run import carry_out
from mtbench.cli.sweep import FOLDER, FolderOption, StorageOption

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mtbench.record.store import Written
    from mtbench.tuning.bench import Place

app = typer.Typer(help="Make and survey the records of a frozen benchmark.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(help="Benchmark file (YAML), or a name in configs/benchmarks.")]
RecordsOption = Annotated[Path, typer.Option(help="Folder for the records.")]
DatasetOption = Annotated[list[str] | None, typer.Option("--dataset", help="Only this dataset; repeatable.")]
ModelOption = Annotated[list[str] | None, typer.Option("--model", help="Only entries of this model; repeatable.")]


@app.command()
def run(
    name: NameArgument,
    *,
    dataset: DatasetOption = None,
    model: ModelOption = None,
    records: RecordsOption = Path("records"),
    workers: Annotated[int, typer.Option(min=1, help="Processes that work on the trials of a tuned row.")] = 1,
    storage: StorageOption = None,
    folder: FolderOption = FOLDER,
    as_json: JsonOption = False,
    traceback: TracebackOption = False,  # noqa: ARG001 - handled by its callback
    plugin: PluginOption = None,
) -> None:
    """Make the records that are missing. Goes on if interrupted; several processes and machines may share the work."""
    use_plugins(plugin)
    from mtbench import benchmark as benchmarks  # noqa: PLC0415
    from mtbench.tuning.bench import fill  # noqa: PLC0415

    benchmark = benchmarks.load(name)

    def perform(report: Callable[[Written], None]) -> list[Written]:
        return fill(
            benchmark, records, datasets=dataset or (), models=model or (), sweeps=folder, storage=storage,
            workers=workers, progress=True, say=lambda text: typer.echo(text, err=True), on_record=report,
        )  # fmt: skip

    carry_out(perform, records, as_json=as_json, again="the same command")


@app.command()
def status(
    name: NameArgument,
    *,
    dataset: DatasetOption = None,
    model: ModelOption = None,
    records: RecordsOption = Path("records"),
    as_json: JsonOption = False,
    plugin: PluginOption = None,
) -> None:
    """Show which records are there and which are missing."""
    use_plugins(plugin)
    from mtbench import benchmark as benchmarks  # noqa: PLC0415
    from mtbench.registry import Registry  # noqa: PLC0415
    from mtbench.tuning import bench  # noqa: PLC0415

    benchmark = benchmarks.load(name)
    places = bench.status(benchmark, records, Registry.load(), dataset or (), model or ())
    if as_json:
        print_json({"benchmark": benchmark.part.model_dump(), "rows": [_list_facts(place) for place in places]})
        return
    console = stdout()
    console.print(f"{benchmark.name}  sha256 {benchmark.part.sha256[:16]}\n")
    console.print(_make_grid(places))
    done = sum(place.record is not None for place in places)
    console.print(f"\n{done} of {len(places)} records in {records}")


def _list_facts(place: Place) -> dict[str, Any]:
    row, record = place
    return {
        "dataset": row.frozen.dataset.name,
        "row": row.label,
        "record": None if record is None else record.file_stem,
    }


def _make_grid(places: Sequence[Place]) -> Table:
    """Return a table of entries by datasets: how many seeds there are, or what there is instead."""
    datasets = list(dict.fromkeys(row.frozen.dataset.name for row, _ in places))
    cells = {
        (row.label, row.frozen.dataset.name): "missing" if record is None else f"{len(record.recipe.seeds)} seeds"
        for row, record in places
    }
    grid = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    grid.add_column("row", overflow="fold")
    for dataset in datasets:
        grid.add_column(dataset, no_wrap=True)
    for label in dict.fromkeys(row.label for row, _ in places):
        grid.add_row(label, *(cells.get((label, dataset), "\N{EN DASH}") for dataset in datasets))
    return grid
