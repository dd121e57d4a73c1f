"""``mtbench board``: a leaderboard, from the admission of records to the site."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mtbench.cli.options import PluginOption, stdout, table, use_plugins
from mtbench.errors import MTBenchError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from mtbench.board.verify import Verification

app = typer.Typer(help="Admit records to a leaderboard, verify them, make its site.", no_args_is_help=True)

BOARD = Path("leaderboard/records")

RECORDS = Path("records")

RecordArgument = Annotated[
    str, typer.Argument(help="File of a record; or a model, row or beginning of a name in the folder 'records'.")
]
BoardOption = Annotated[Path, typer.Option("--records", help="The board's folder of records.")]
RecordsOption = Annotated[Path, typer.Option(help="Folder of records.")]
OutOption = Annotated[
    Path | None, typer.Option(help="Folder for the site; 'site' in the records' folder unless given.")
]


@app.command()
def build(records: RecordsOption = RECORDS, out: OutOption = None) -> None:
    """Build the site: static pages that need no network and no JavaScript."""
    from mtbench.board import page  # noqa: PLC0415

    typer.echo(page.build(records, records / "site" if out is None else out))


@app.command()
def serve(
    records: RecordsOption = RECORDS,
    out: OutOption = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on this machine; 0 takes a free one.")] = 8000,
) -> None:
    """Build the site and show it to browsers on this machine until Ctrl-C."""
    from functools import partial  # noqa: PLC0415
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer  # noqa: PLC0415

    from mtbench.board import page  # noqa: PLC0415

    index = page.build(records, records / "site" if out is None else out)
    handler = partial(SimpleHTTPRequestHandler, directory=str(index.parent))
    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    except OSError as error:
        raise MTBenchError(f"--port {port}: {error.strerror or error}; choose another, or 0 for a free one") from error
    with server:
        typer.echo(f"http://127.0.0.1:{server.server_port}/")
        with suppress(KeyboardInterrupt):
            server.serve_forever()


@app.command()
def add(record: RecordArgument, *, records: BoardOption = BOARD, plugin: PluginOption = None) -> None:
    """Inspect a record, with the predictions beside it, and put it among a board's; without any it is claimed."""
    use_plugins(plugin)
    from mtbench.board import admission  # noqa: PLC0415
    from mtbench.cli.naming import find_record  # noqa: PLC0415
    from mtbench.registry import Registry  # noqa: PLC0415

    registry = Registry.load()
    inspection = admission.inspect(find_record(record, RECORDS).path, registry, admission.read_groups(records))
    for note in inspection.notes:
        typer.echo(f"note: {note}", err=True)
    path = admission.add(inspection, records, registry)
    typer.echo(f"{path}: {'checked' if inspection.check else 'claimed'}")


@app.command()
def submit(
    record: RecordArgument,
    *,
    records: BoardOption = BOARD,
    out: Annotated[Path, typer.Option(help="Folder for the archive.")] = Path(),
    plugin: PluginOption = None,
) -> None:
    """Inspect a record with its predictions, and pack it for a pull request."""
    use_plugins(plugin)
    from mtbench.board import admission, submission  # noqa: PLC0415
    from mtbench.cli.naming import find_record  # noqa: PLC0415
    from mtbench.registry import Registry  # noqa: PLC0415

    registry, source = Registry.load(), find_record(record, RECORDS).path
    inspection = admission.inspect(source, registry, admission.read_groups(records))
    if inspection.check is None:
        raise MTBenchError(
            f"{source}: there are no predictions beside it; submit from the folder that the run wrote them to"
        )
    path = submission.pack(inspection, registry, out)
    typer.echo(path)
    typer.echo(
        f"Unpack it in {records.parent} of a checkout, run `mtbench board check` there, and open a pull request. "
        f"Keep {source.with_suffix('.parquet').name}: whoever asks for it can check every number.",
        err=True,
    )


@app.command()
def check(*, records: BoardOption = BOARD, plugin: PluginOption = None) -> None:
    """Inspect everything in a board's folder without running any of it, as its CI does."""
    use_plugins(plugin)
    from mtbench.board import admission  # noqa: PLC0415
    from mtbench.registry import Registry  # noqa: PLC0415

    count, problems = admission.check_all(records, Registry.load())
    if problems:
        raise MTBenchError("\n".join(problems))
    typer.echo(f"{records}: {count} records, nothing is wrong")


@app.command()
def verify(
    record: RecordArgument,
    *,
    seed: Annotated[int | None, typer.Option(help="Seed to train again; one at random unless given.")] = None,
    tolerance: Annotated[
        float, typer.Option(min=0, help="What values may differ by where platform or code do; elsewhere, nothing.")
    ] = 0.005,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="In a virtual environment with the record's versions, made in the cache.")
    ] = False,
    plugin: PluginOption = None,
) -> None:
    """Train a seed of a record again, from the record alone, and compare every value. Its badge becomes re-run."""
    use_plugins(plugin)
    from mtbench.cli.naming import find_record  # noqa: PLC0415

    path = find_record(record, RECORDS).path
    if rebuild:
        options = ["--tolerance", str(tolerance), *(["--seed", str(seed)] if seed is not None else [])]
        raise typer.Exit(_verify_elsewhere(path, options))
    from mtbench.board import checks  # noqa: PLC0415
    from mtbench.board.verify import verify as run_again  # noqa: PLC0415
    from mtbench.registry import Registry  # noqa: PLC0415

    verification, check = run_again(path, Registry.load(), seed=seed, tolerance=tolerance, progress=True)
    for line in verification.differences:
        typer.echo(f"differs: {line}", err=True)
    stdout().print(_tabulate(verification))
    allowed = f"within {verification.tolerance:g}" if verification.tolerance else "to the last bit"
    if not verification.passed:
        worst = verification.worst
        raise MTBenchError(
            f"{path}: seed {verification.seed} gives other values: {worst.task} {worst.metric} on {worst.split} is "
            f"{worst.recorded} in the record and {worst.again} now; it had to be the same {allowed}"
        )
    typer.echo(f"{path}: seed {verification.seed} is the same {allowed}; noted in {checks.write(check, path.parent)}")


def _verify_elsewhere(path: Path, options: Sequence[str]) -> int:
    """Verify a record in an environment made for it; return the exit status."""
    import subprocess  # noqa: PLC0415

    from mtbench.board import environments  # noqa: PLC0415
    from mtbench.record import store  # noqa: PLC0415
    from mtbench.registry import Registry  # noqa: PLC0415

    record = store.read(path)
    wanted = environments.list_requirements(record, Registry.load())
    typer.echo(f"an environment with {', '.join(wanted)}", err=True)
    inside = environments.build(wanted, environments.find_python(record.measured.environment.get("python", "")))
    typer.echo(f"verified by {inside}", err=True)
    command = [str(inside), "-m", "mtbench", "board", "verify", str(path), *options]
    return subprocess.run(command, check=False).returncode  # noqa: S603 - no shell


def _tabulate(verification: Verification) -> Table:
    """Return the test values beside those of now."""
    made = table("task", "metric", "record", "now", "difference")
    for value in verification.values:
        if value.split == "test":
            texts = ["-" if number is None else f"{number:.6g}" for number in (value.recorded, value.again)]
            made.add_row(value.task, value.metric, *texts, f"{value.gap:.1g}" if value.gap else "0")
    return made


@app.command()
def export(
    *,
    form: Annotated[Literal["latex", "markdown", "csv", "bibtex"], typer.Option("--format", help="What to write.")],
    records: BoardOption = BOARD,
    dataset: Annotated[list[str] | None, typer.Option("--dataset", help="Only this dataset; repeatable.")] = None,
    plugin: PluginOption = None,
) -> None:
    """Write the tables of a board for a paper, best in bold, ties marked; or the works to cite."""
    use_plugins(plugin)
    from mtbench.board.export import export as write  # noqa: PLC0415
    from mtbench.registry import Registry  # noqa: PLC0415

    typer.echo(write(records, Registry.load(), form, dataset or ()), nl=False)
