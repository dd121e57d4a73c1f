"""How records are named on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mtbench.errors import MTBenchError

if TYPE_CHECKING:
    from mtbench.record.store import Written

SHORT = 8


def find_record(text: str, records: Path) -> Written:
    """Return the record of a file, or the one in the folder whose name begins so, or that is of this model or row.

    Raises MTBenchError, with what there is, unless one record alone is meant.
    """
    from mtbench.board.groups import group_records  # noqa: PLC0415
    from mtbench.board.labels import label_rows  # noqa: PLC0415
    from mtbench.record.store import Written, read, read_all  # noqa: PLC0415

    path = Path(text)
    if path.is_file():
        return Written(read(path), path)
    if paths := [path for path in sorted(records.glob("*.json")) if path.name.startswith(text)]:
        matching = {path.stem: Written(read(path), path) for path in paths}
    else:
        rows = [
            (label, one)
            for group in group_records(read_all(records)[0])
            for label, one in zip(label_rows(group.records), group.written, strict=True)
        ]
        labelled = [row for row in rows if row[0] == text] or [
            row for row in rows if row[1].record.recipe.model.name == text
        ]
        matching = {f"'{label}' ({one.path.stem[:SHORT]})": one for label, one in labelled}
    if len(matching) != 1:
        what = f"{len(matching)} records are meant: {', '.join(matching)}" if matching else "no record is meant"
        raise MTBenchError(
            f"'{text}' is no file, and in {records} {what} by it; give a path, a model, a row of the table, or the "
            "beginning of a name"
        )
    return next(iter(matching.values()))
