"""``mtbench board``: the site made from records."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from mtbench.errors import MTBenchError

app = typer.Typer(help="Make the site of a folder of records.", no_args_is_help=True)


@app.callback()
def _board() -> None:
    """Make the site of a folder of records."""


RecordsOption = Annotated[Path, typer.Option(help="Folder of records.")]
OutOption = Annotated[
    Path | None, typer.Option(help="Folder for the site; 'site' in the records' folder unless given.")
]


@app.command()
def build(records: RecordsOption = Path("records"), out: OutOption = None) -> None:
    """Build the site: static pages that need no network and no JavaScript."""
    from mtbench.board import page  # noqa: PLC0415

    typer.echo(page.build(records, records / "site" if out is None else out))


@app.command()
def serve(
    records: RecordsOption = Path("records"),
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
        raise MTBenchError(f"--port {port}: {error.strerror or error}; another port is free perhaps") from error
    with server:
        typer.echo(f"http://127.0.0.1:{server.server_port}/")
        with suppress(KeyboardInterrupt):
            server.serve_forever()
