"""How preparation and the macro graph grow with the data: seconds and memory, bars, a projection to a billion.

    python performance/scale.py

writes planted tables and random graphs of growing size to a temporary folder, prepares them without a cache and builds
their macro graphs, each in a process of its own, and prints what that took. ``results`` keeps the last full run.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import numpy as np
import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from scipy.optimize import nnls

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HERE = Path(__file__).parent
GB = 1e9
FAR = 1_000_000_000
ROWS = [1_000_000, 5_000_000, 20_000_000]
EDGES = [5_000_000, 15_000_000, 50_000_000]
ASSUMPTIONS = """\
The projection is the line a + b n that fits the measured points best (least squares, neither a nor b negative). It \
assumes that growth stays linear far beyond the measured sizes, on the same machine with as much memory as that \
takes, with the same users, items and rows per edge (for preparation the same users and items), and that nothing else \
sets in, such as a disk that no longer keeps up. Seconds are without imports, peak memory is that of the whole \
process; anonymous is the part of it that no file backs.

Preparation holds a few numbers of every row, such as its time and part; all else passes by in blocks. A macro graph \
is built from positives in memory: user, item, time, chunk, tasks and row of each are about 40 bytes, the merged \
pairs about as much again, and each snapshot's matrix is held in both directions. With less memory these would have \
to be streamed: pairs merged on disk by ranges of users, neighbours written by the same ranges, and the products of a \
snapshot's matrix with the macro nodes, which are sums, added up over the ranges. Only the factors that nodes are \
clustered by would remain, and they grow with users and items alone."""


class Measured(NamedTuple):
    """What a size took: seconds, and in bytes the memory after imports, at its peak, and at the anonymous peak."""

    size: int
    seconds: float
    before: int
    peak: int
    anonymous: int


class Bar(NamedTuple):
    """A limit on a measured value; ``value`` is None where the sizes that it needs were not measured."""

    what: str
    value: float | None
    limit: float
    at_most: bool = True

    @property
    def verdict(self) -> str:
        """Say whether the limit is kept."""
        if self.value is None:
            return "not measured"
        return "pass" if (self.value <= self.limit if self.at_most else self.value >= self.limit) else "FAIL"


class Projection(NamedTuple):
    """What FAR rows or edges would take: ``fixed + slope * FAR``; ``error`` is the line's largest, relative, so far."""

    value: float
    fixed: float
    slope: float
    error: float


class Sheet(NamedTuple):
    """A table to be read."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def rich(self) -> Table:
        """Return it for the terminal."""
        table = Table(title=self.title, title_justify="left")
        for number, name in enumerate(self.header):
            table.add_column(name, justify="right" if number else "left")
        for row in self.rows:
            table.add_row(*row)
        return table

    def markdown(self) -> str:
        """Return it for a document."""
        rule = ["---", *["---:"] * (len(self.header) - 1)]
        lines = [f"| {' | '.join(cells)} |" for cells in (self.header, rule, *self.rows)]
        return "\n".join([f"**{self.title}**", "", *lines, ""])


def main(
    rows: Annotated[list[int], typer.Option(min=1, help="Rows to prepare; may be given several times.")] = ROWS,
    edges: Annotated[list[int], typer.Option(min=1, help="Edges of a macro graph; likewise.")] = EDGES,
    work: Annotated[Path | None, typer.Option(help="Where a folder for temporary files is made.")] = None,
    results: Annotated[Path, typer.Option(help="Folder for scale.json and scale.md.")] = HERE / "results",
) -> None:
    """Measure how preparation and the macro graph grow; print it with bars and a projection."""
    console = Console()
    columns = (SpinnerColumn(), TextColumn("{task.completed}/{task.total} {task.description}"), TimeElapsedColumn())
    with tempfile.TemporaryDirectory(dir=work) as folder, Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=len(rows) + len(edges))
        prepared, graphs = [], []
        for size in sorted(rows):
            progress.update(task, description=f"preparing {size:,} rows")
            prepared.append(_measure_preparation(size, Path(folder)))
            progress.advance(task)
        for size in sorted(edges):
            progress.update(task, description=f"macro graph of {size:,} edges")
            graphs.append(_measure_macro_graph(size, Path(folder)))
            progress.advance(task)
    checked = check_bars(prepared, graphs)
    projected = {"preparation": project_all(prepared), "macro graph": project_all(graphs)}
    sheets = [
        _show_preparation(prepared),
        _show_macro_graph(graphs),
        _show_bars(checked),
        _show_projected(projected),
    ]
    machine = _describe_machine()
    for sheet in sheets:
        console.print(sheet.rich())
    console.print(ASSUMPTIONS, highlight=False)
    report = {
        "machine": machine,
        "preparation": [measured._asdict() for measured in prepared],
        "macro graph": [measured._asdict() for measured in graphs],
        "bars": [bar._asdict() | {"verdict": bar.verdict} for bar in checked],
        f"projection to {FAR}": {
            subject: {kind: measured._asdict() for kind, measured in of.items()} for subject, of in projected.items()
        },
    }
    text = [", ".join(f"{name} {value}" for name, value in machine.items()), *(sheet.markdown() for sheet in sheets)]
    results.mkdir(parents=True, exist_ok=True)
    (results / "scale.json").write_text(json.dumps(report, indent=1) + "\n")
    (results / "scale.md").write_text("\n\n".join([*text, ASSUMPTIONS]) + "\n")


def check_bars(prepared: Sequence[Measured], graphs: Sequence[Measured]) -> list[Bar]:
    """Return the limits that must be kept, with what was measured."""
    rates = [measured.size / measured.seconds for measured in prepared]
    peaks = {measured.size: float(measured.peak) for measured in prepared}
    per_edge = {measured.size: measured.seconds / measured.size for measured in graphs}
    return [
        Bar("preparation: rows/s, slowest size", min(rates, default=None), 500_000, at_most=False),
        Bar("preparation: peak at 20M rows / at 5M", _divide(peaks, 20_000_000, 5_000_000), 1.5),
        Bar("macro graph: time per edge at 50M / at 5M", _divide(per_edge, 50_000_000, 5_000_000), 1.5),
        Bar("macro graph: peak, GB", max((measured.peak / GB for measured in graphs), default=None), 12),
    ]


def project_all(measured: Sequence[Measured]) -> dict[str, Projection]:
    """Return the projected seconds and bytes at the peak; none where fewer than two sizes were measured."""
    if len({point.size for point in measured}) < 2:  # noqa: PLR2004 - a line needs two points
        return {}
    sizes = np.array([point.size for point in measured], float)
    return {
        "seconds": project(sizes, np.array([point.seconds for point in measured])),
        "peak": project(sizes, np.array([point.peak for point in measured], float)),
    }


def project(sizes: np.ndarray, values: np.ndarray) -> Projection:
    """Fit a line to ``values`` over ``sizes`` and follow it to FAR."""
    unit = sizes.max()  # of sizes; the fit is ill-conditioned without
    line = np.column_stack([np.ones(len(sizes)), sizes / unit])
    (fixed, slope), _ = nnls(line, values)
    error = np.abs(line @ (fixed, slope) / values - 1).max()
    return Projection(float(fixed + slope * FAR / unit), float(fixed), float(slope / unit), float(error))


def _divide(values: Mapping[int, float], large: int, small: int) -> float | None:
    return values[large] / values[small] if {large, small} <= values.keys() else None


def _measure_preparation(rows: int, folder: Path) -> Measured:
    table, cache = folder / "planted.parquet", folder / "cache"
    _run_step("write", table, rows)
    measured = _run_step("prepare", table, MTBENCH_CACHE=str(cache))
    table.unlink()
    shutil.rmtree(cache)
    return Measured(rows, **json.loads(measured))


def _measure_macro_graph(edges: int, folder: Path) -> Measured:
    tables = folder / "macro-graph"
    tables.mkdir()
    measured = _run_step("graph", tables, edges)
    shutil.rmtree(tables)
    return Measured(edges, **json.loads(measured))


def _run_step(*arguments: str | Path | int, **environment: str) -> str:
    command = [sys.executable, str(HERE / "scale_steps.py"), *map(str, arguments)]
    done = subprocess.run(  # noqa: S603 - a script of our own
        command, env=os.environ | environment, stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{arguments[0]} failed; its message stands above")
    return done.stdout


def _describe_machine() -> dict[str, Any]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "CPUs": len(os.sched_getaffinity(0)),
        "memory": f"{memory / GB:.0f} GB",
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "unset"),
        "Python": platform.python_version(),
        **{name: metadata.version(name) for name in ("numpy", "pyarrow", "scipy")},
    }


def _show_preparation(measured: Sequence[Measured]) -> Sheet:
    title = "Preparation: 100,000 users, 20,000 items, 18 columns of a Parquet file just written; nothing in the cache"
    rows = [(f"{m.size:,}", f"{m.seconds:.1f}", f"{m.size / m.seconds:,.0f}", *_write_memory(m)) for m in measured]
    return Sheet(title, ("rows", "seconds", "rows/s", "peak GB", "anonymous GB"), rows)


def _show_macro_graph(measured: Sequence[Measured]) -> Sheet:
    title = (
        "Macro graph: 20 + 20 macro nodes, 8 chunks that teach; a user per 25 edges, an item per 100, 0.4 rows per edge"
    )
    rows = [(f"{m.size:,}", f"{m.seconds:.1f}", f"{m.seconds / m.size * 1e6:.2f}", *_write_memory(m)) for m in measured]
    return Sheet(title, ("edges", "seconds", "µs/edge", "peak GB", "anonymous GB"), rows)


def _write_memory(measured: Measured) -> tuple[str, str]:
    return f"{measured.peak / GB:.2f}", f"{measured.anonymous / GB:.2f}"


def _show_bars(checked: Sequence[Bar]) -> Sheet:
    rows = [
        (
            bar.what,
            "" if bar.value is None else f"{bar.value:,.2f}",
            f"{'at most' if bar.at_most else 'at least'} {bar.limit:,g}",
            bar.verdict,
        )
        for bar in checked
    ]
    return Sheet("Bars", ("what", "measured", "limit", "verdict"), rows)


def _show_projected(projected: Mapping[str, Mapping[str, Projection]]) -> Sheet:
    units = {"seconds": ("hours", 3600.0), "peak": ("GB at the peak", GB)}
    rows = []
    for subject, of in projected.items():
        for kind, projection in of.items():
            unit, size = units[kind]
            what = f"{subject}, {unit}"
            rows.append((what, f"{projection.value / size:.3g}", f"{projection.error:.0%}"))
    return Sheet(f"Projection to {FAR:,} rows or edges", ("what", "projected", "largest error of the fit"), rows)


if __name__ == "__main__":
    typer.run(main)
