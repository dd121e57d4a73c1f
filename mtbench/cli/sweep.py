"""``mtbench sweep`` and ``mtbench sweep-worker``."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from mtbench.cli.options import JsonOption, PluginOption, TracebackOption, use_plugins
from mtbench.cli.run import carry_out

if TYPE_CHECKING:
    from collections.abc import Callable

    from mtbench.record.store import Written

FOLDER = Path("sweeps")


class Sweeps(TyperGroup):
    """Commands of which ``start`` need not be named."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put ``start`` before arguments that begin with no command."""
        if args and args[0] not in self.commands and args[0] != "--help":
            args = ["start", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=Sweeps, no_args_is_help=True, help="Search settings under one budget: `mtbench sweep FILE`, then `report`."
)

FolderOption = Annotated[Path, typer.Option(help="Folder for sweeps; each has a folder of its name there.")]
StorageOption = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        envvar="MTBENCH_STORAGE",
        help="Database, such as postgresql://USER@HOST/DATABASE; SQLite in the folder unless given.",
    ),
]


@app.command()
def start(
    file: Annotated[Path, typer.Argument(help="Experiment file (YAML).")],
    *,
    trials: Annotated[int | None, typer.Option(min=1, help="Trials of each model: sweep.trials of the file.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that work on trials.")] = 1,
    storage: StorageOption = None,
    name: Annotated[str | None, typer.Option(help="Name of the sweep; the file's unless given.")] = None,
    folder: FolderOption = FOLDER,
    records: Annotated[Path, typer.Option(help="Folder for the records.")] = Path("records"),
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a key, such as sweep.pruner=none."),
    ] = None,
    as_json: JsonOption = False,
    traceback: TracebackOption = False,  # noqa: ARG001 - handled by its callback
    plugin: PluginOption = None,
) -> None:
    """Search the settings of every model under one budget, then run the best on fresh seeds. Goes on if interrupted."""
    use_plugins(plugin)
    from mtbench.tuning.sweep import sweep as run_sweep  # noqa: PLC0415

    changes = [*(overrides or ()), *([f"sweep.trials={trials}"] if trials else ())]

    def perform(report: Callable[[Written], None]) -> list[Written]:
        return run_sweep(
            file, name=name, folder=folder, storage=storage, workers=workers, records=records, overrides=changes,
            progress=True, on_record=report,
        )  # fmt: skip

    carry_out(perform, records, as_json=as_json, again="the same command")


@app.command()
def report(
    name: Annotated[str, typer.Argument(help="Sweep file, or the name of the sweep.")],
    *,
    storage: StorageOption = None,
    folder: FolderOption = FOLDER,
    out: Annotated[Path | None, typer.Option(help="File to write; report.html in the sweep's folder.")] = None,
) -> None:
    """Write a page on a sweep, finished or not: curves, importances, settings, what nothing beats. It works offline."""
    from mtbench.tuning.report import report as write  # noqa: PLC0415
    from mtbench.tuning.sweep import default_storage  # noqa: PLC0415

    name = Path(name).stem if name.endswith((".yaml", ".yml")) else name
    path = write(name, storage or default_storage(folder, name), out or folder / name / "report.html")
    typer.echo(path.resolve())


def worker(
    name: Annotated[str, typer.Argument(help="Name of the sweep.")],
    *,
    storage: StorageOption = None,
    folder: FolderOption = FOLDER,
    attached: Annotated[bool, typer.Option(hidden=True, help="End with the standard input.")] = False,
    plugin: PluginOption = None,
) -> None:
    """Join a sweep that was started here or elsewhere, and work on its trials until all are done."""
    use_plugins(plugin)
    from mtbench.tuning.sweep import default_storage  # noqa: PLC0415
    from mtbench.tuning.worker import work  # noqa: PLC0415

    def say(text: str) -> None:
        typer.echo(text, err=True)

    with redirect_stdout(sys.stderr):
        count = work(name, storage or default_storage(folder, name), folder / name, attached=attached, say=say)
    typer.echo(f"{count} trials")
