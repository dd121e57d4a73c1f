"""``mtbench board``: the page made from records."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Make the page of a folder of records.", no_args_is_help=True)


@app.callback()
def _board() -> None:
    """Make the page of a folder of records."""


@app.command()
def build(
    records: Annotated[Path, typer.Option(help="Folder of records.")] = Path("records"),
    out: Annotated[
        Path | None, typer.Option(help="Folder for the page; 'site' in the records' folder unless given.")
    ] = None,
) -> None:
    """Build the page: a static site that needs no network and no JavaScript."""
    from mtbench.board import page  # noqa: PLC0415

    typer.echo(page.build(records, records / "site" if out is None else out))
