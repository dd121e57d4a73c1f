"""Files that are whole or not there, JSON that has one text, and hashes of both."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mtbench.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PART = ".part"


def dump_canonical_json(value: Any) -> str:
    """Return the one JSON text of a value: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def hash_json(value: Any) -> str:
    """Return the sha256 of a value's canonical JSON."""
    return hashlib.sha256(dump_canonical_json(value).encode()).hexdigest()


def hash_file(path: Path) -> str:
    """Return the sha256 of a file. Raises OSError where it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def writing(place: Path) -> Iterator[None]:
    """Turn what may go wrong while a file or into a folder is written, such as a full disk, into StorageError."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"{place} cannot be written: {error.strerror or error}; nothing was half-written: make room there, or see "
            "to it that the folder may be written to, and do the same again"
        ) from error


def write_atomically(path: Path, fill: Callable[[Path], object]) -> None:
    """Let ``fill`` write a temporary file beside ``path``, then give it that name; nothing is left half-written.

    What processes that were killed have left there is removed. Raises StorageError where it cannot be written.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path.parent)
        with _hold_part(path) as part:
            fill(part)
            with part.open("rb+") as file:
                os.fsync(file.fileno())
            part.chmod(0o644)
            part.replace(path)


@contextmanager
def _hold_part(path: Path) -> Iterator[Path]:
    """Give out a new file beside ``path``, locked for as long as this process lives, and remove it in the end."""
    while True:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}-", suffix=PART, dir=path.parent)
        part = Path(name)
        try:
            if _lock(handle) and part.exists():  # else another process took it for abandoned
                yield part
                return
        finally:
            part.unlink(missing_ok=True)
            os.close(handle)


def _remove_abandoned(folder: Path) -> None:
    """Remove the temporary files of a folder that no living process has locked."""
    for part in folder.glob(f".*-*{PART}"):
        with suppress(FileNotFoundError):
            handle = os.open(part, os.O_RDWR)
            try:
                if _lock(handle):
                    part.unlink()
            finally:
                os.close(handle)


def _lock(handle: int) -> bool:
    """Lock an open file unless another process has; the lock ends with this process, however it ends."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
