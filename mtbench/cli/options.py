"""What commands share: options, plugin files and output."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from mtbench.errors import MTBenchError

if TYPE_CHECKING:
    from collections.abc import Sequence

PluginOption = Annotated[
    list[Path] | None, typer.Option("--plugin", metavar="FILE.py", help="Load this plugin file too; repeatable.")
]


def _show_tracebacks(wanted: bool) -> None:  # noqa: FBT001 - typer calls it
    if wanted:
        os.environ["MTBENCH_TRACEBACK"] = "1"  # for the processes that this one starts, too


TracebackOption = Annotated[
    bool, typer.Option("--traceback", callback=_show_tracebacks, help="Show the whole traceback of what goes wrong.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]


def use_plugins(files: Sequence[Path] | None) -> None:
    """Add plugin files to ``MTBENCH_PLUGINS``, so that this process and its children load them."""
    listed = [name for name in os.environ.get("MTBENCH_PLUGINS", "").split(os.pathsep) if name]
    for file in files or ():
        path = str(file.resolve())
        if not file.is_file():
            raise MTBenchError(f"--plugin {file}: {'is a folder' if file.is_dir() else 'there is no such file'}")
        if os.pathsep in path:
            raise MTBenchError(f"--plugin {file}: its path contains '{os.pathsep}'; move or rename it")
        listed.append(path)
    if listed:
        os.environ["MTBENCH_PLUGINS"] = os.pathsep.join(dict.fromkeys(listed))


def print_json(value: object) -> None:
    """Write one JSON document to stdout."""
    sys.stdout.write(json.dumps(value, indent=2, allow_nan=False) + "\n")


def origin(facts: dict[str, Any]) -> str:
    """Return the distribution with its version, or the name of a plugin file, which has none."""
    return " ".join(filter(None, (facts["distribution"], facts["version"])))


def unmarked(docstring: str) -> str:
    """Return a docstring for the terminal: paragraphs unwrapped, backquotes and roles removed."""
    text = re.sub(r"(?::\w+:)?(`+)~?([^`]+)\1", r"\2", docstring)
    return re.sub(r"(?<!\n)\n(?![\n\s*-])", " ", text)


def stdout() -> Console:
    """Return a console for the results; text is printed as it is, without markup."""
    return Console(markup=False, emoji=False, highlight=False)


def table(*columns: str) -> Table:
    """Return an empty table whose first column is never wrapped."""
    made = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for number, column in enumerate(columns):
        made.add_column(column, no_wrap=number == 0, overflow="fold")
    return made
