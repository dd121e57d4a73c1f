"""What a file is that is neither CSV nor Parquet, and what to do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtbench import MTBenchError

if TYPE_CHECKING:
    from pathlib import Path

_HEAD = 1 << 10  # bytes
_SHEET = "is a spreadsheet; save its sheet as CSV in UTF-8, and name that file"
_JSON = "holds JSON; convert it once: pandas.read_json({name!r}, lines={lines}).to_parquet({parquet!r})"
_ARCHIVE = "is an archive; unpack it, and name the CSV or Parquet file inside"
_OTHER = "is of a format that is not read; write it as Parquet, from pandas with to_parquet({parquet!r})"
_SUFFIXES = {
    **dict.fromkeys((".xlsx", ".xls", ".xlsm", ".xlsb", ".ods"), _SHEET),
    **dict.fromkeys((".json", ".jsonl", ".ndjson"), _JSON),
    **dict.fromkeys((".zip", ".tar", ".tgz", ".7z", ".rar"), _ARCHIVE),
    **dict.fromkeys((".arrow", ".avro", ".dta", ".feather", ".h5", ".hdf5", ".npy", ".npz", ".orc"), _OTHER),
    **dict.fromkeys((".db", ".duckdb", ".pickle", ".pkl", ".rds", ".sas7bdat", ".sav", ".sqlite"), _OTHER),
}
_BEGINNINGS = {
    b"PK\x03\x04": "is an archive or a spreadsheet; save its table as CSV in UTF-8, and name that file",
    b"\xd0\xcf\x11\xe0": _SHEET,
    b"7z\xbc\xaf": _ARCHIVE,
    b"PAR1": "is a Parquet file; give it a name that ends with .parquet",
    b"ARROW1": _OTHER,
    **dict.fromkeys((b'{"', b"{\n", b"{\r\n", b"[{", b"[\n", b"[\r\n"), _JSON),
}


def refuse_other_formats(path: Path, shown: str) -> None:
    """Raise MTBenchError for a file whose name or beginning says that it is neither CSV nor Parquet."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    parquet = path.suffix.lower() in {".parquet", ".pq"}
    what = _SUFFIXES.get(path.suffix.lower()) or next(
        (what for begins, what in _BEGINNINGS.items() if head.startswith(begins) and not parquet), None
    )
    if what is not None:
        written = what.format(name=shown, parquet=f"{path.stem}.parquet", lines=_is_lines(head))
        raise MTBenchError(f"{shown}: {written}")


def _is_lines(head: bytes) -> bool:
    """Return whether JSON is one object a line."""
    return head.lstrip().startswith(b"{")
