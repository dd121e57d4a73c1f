"""The command line: one thin module per command group."""

from __future__ import annotations

import errno
import io
import os
import sys
import warnings
from typing import Annotated, TextIO

import typer

from mtbench.cli import bench, board, data, sweep
from mtbench.cli.compare import compare
from mtbench.cli.options import PluginOption, use_plugins
from mtbench.cli.plugins import list_names, plugins
from mtbench.cli.run import run
from mtbench.cli.schema import schema
from mtbench.cli.show import show
from mtbench.errors import MTBenchError
from mtbench.registry import PluginWarning

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.command("run")(run)
app.add_typer(sweep.app, name="sweep")
app.command("sweep-worker")(sweep.worker)
app.add_typer(data.app, name="data")
app.add_typer(bench.app, name="bench")
app.command("compare")(compare)
app.add_typer(board.app, name="board")
app.command("plugins")(plugins)
app.command("list")(list_names)
app.command("show")(show)
app.command("schema")(schema)


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it
    if wanted:
        from mtbench import __version__  # noqa: PLC0415 - read from the installed metadata, only when asked for

        typer.echo(f"mtbench {__version__}")
        raise typer.Exit


@app.callback()
def options(
    *,
    plugin: PluginOption = None,
    version: Annotated[  # noqa: ARG001 - handled by its callback
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Fair, extensible and verifiable benchmarks of multi-task recommenders."""
    use_plugins(plugin)


_USERS_TO_MEND = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS}


def main() -> None:
    """Run the command line: a user's mistake is one line on stderr and exit status 1."""
    show_others = warnings.showwarning
    debugging = os.environ.get("MTBENCH_DEBUG", "0") not in {"", "0"}

    def show_warning(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if issubclass(category, PluginWarning):
            sys.stderr.write(f"warning: {message}\n")
        else:
            show_others(message, category, filename, lineno, file, line)

    warnings.showwarning = show_warning
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without arrows must not lose a run's results
    try:
        try:
            app(prog_name="mtbench")
        finally:
            sys.stdout.flush()
    except MTBenchError as error:
        if debugging:
            raise
        sys.stderr.write(f"error: {error}\n")
        sys.exit(1)
    except BrokenPipeError:
        # The reader has gone; the interpreter must not fail again when it flushes on the way out.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        if error.errno not in _USERS_TO_MEND or debugging:
            raise
        sys.stderr.write(f"error: {error.filename or 'output'}: {error.strerror}; nothing was half-written\n")
        sys.exit(1)
