"""The command line: one thin module per command group."""

from __future__ import annotations

import io
import os
import signal
import sys
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, NoReturn, TextIO

import typer

from mtbench.cli import bench, board, data, sweep
from mtbench.cli.compare import compare
from mtbench.cli.options import PluginOption, TracebackOption, use_plugins
from mtbench.cli.plugins import list_names, plugins
from mtbench.cli.run import run
from mtbench.cli.schema import schema
from mtbench.cli.show import show
from mtbench.errors import UNWRITABLE, MTBenchError, shows_tracebacks
from mtbench.registry import PluginWarning

if TYPE_CHECKING:
    from collections.abc import Iterator

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
    traceback: TracebackOption = False,  # noqa: ARG001 - handled by its callback
    version: Annotated[  # noqa: ARG001 - handled by its callback
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Fair, extensible and verifiable benchmarks of multi-task recommenders."""
    use_plugins(plugin)


def show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Write a warning about plugins as a line, others as Python does."""
    if issubclass(category, PluginWarning):
        sys.stderr.write(f"warning: {message}\n")
    else:
        _show_others(message, category, filename, lineno, file, line)


_show_others = warnings.showwarning


@contextmanager
def _end_as_by_ctrl_c() -> Iterator[None]:
    """Let SIGTERM do what Ctrl-C does; the exit status is its own."""
    stopped = []

    def stop(number: int, _: object) -> NoReturn:
        stopped.append(number)
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except SystemExit:
        if stopped:
            sys.exit(128 + stopped[0])
        raise


def main() -> None:
    """Run the command line: a user's mistake is one line on stderr and exit status 1."""
    warnings.showwarning = show_warning
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without arrows must not lose a run's results
    try:
        with _end_as_by_ctrl_c():
            try:
                app(prog_name="mtbench")
            finally:
                sys.stdout.flush()
    except MTBenchError as error:
        if shows_tracebacks():
            raise
        sys.stderr.write(f"error: {error}\n")
        sys.exit(1)
    except BrokenPipeError:
        # The reader has gone; the interpreter must not fail again when it flushes on the way out.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        if error.errno not in UNWRITABLE or shows_tracebacks():
            raise
        sys.stderr.write(f"error: {error.filename or 'output'}: {error.strerror}; nothing was half-written\n")
        sys.exit(1)
