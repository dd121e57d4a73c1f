"""A submission: what a pull request brings of a record, without its predictions."""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from mtbench.board import resamples
from mtbench.files import write_atomically
from mtbench.record import store

if TYPE_CHECKING:
    from mtbench.board.admission import Inspection
    from mtbench.registry import Registry

README = """\
# {model} on {dataset}

Record {stem}{benchmark}.

- predictions: {rows:,} rows, sha256 {sha256}
- largest difference of a metric computed again from them: {difference:g}
- to train a seed of it again: `mtbench board verify {stem}.json`
"""
MOMENT = (1980, 1, 1, 0, 0, 0)
"""Time of every file in the archive, so that the same record gives the same bytes."""


def pack(inspection: Inspection, registry: Registry, out: Path) -> Path:
    """Write an archive to unpack in a board's folder: the record, its resamples and what to read; return its path.

    The record must have been inspected with its predictions. Its badge is *claimed* until somebody else has checked it.
    """
    record, record_path, check, _ = inspection
    assert check is not None
    benchmark = record.recipe.benchmark
    text = README.format(
        model=record.recipe.model.name, dataset=record.recipe.dataset.name, stem=record.file_stem,
        benchmark=f" of benchmark {benchmark.name}, sha256 {benchmark.sha256}" if benchmark else "",
        rows=record.predictions.rows, sha256=record.predictions.sha256, difference=check.difference,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        records = folder / "records"
        written = store.Written(record, record_path)
        store.copy(written, records)
        resamples.write(resamples.make(written, registry), records)
        (folder / f"{record.file_stem}.md").write_text(text, encoding="utf-8")
        path = out / f"{record.file_stem}.zip"
        write_atomically(path, lambda part: _zip(folder, part))
    return path


def _zip(folder: Path, path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(file for file in folder.rglob("*") if file.is_file()):
            entry = zipfile.ZipInfo(file.relative_to(folder).as_posix(), MOMENT)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, file.read_bytes())
