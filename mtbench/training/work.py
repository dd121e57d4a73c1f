"""The folder beside the records in which one of them is made, by one process at a time."""

from __future__ import annotations

import shutil
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from mtbench.errors import BusyError
from mtbench.files import writing
from mtbench.record.form import NAME_DIGITS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WORK = ".work"


class Work:
    """Where the record of a key is made; ``folder`` holds what its trainings are resumed from."""

    def __init__(self, records: Path, key: str) -> None:
        self._records = records
        self.folder = records / WORK / key[:NAME_DIGITS]
        self._lock = self.folder.with_suffix(".lock")

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Keep other processes from the same work; once it is done without an error, remove what it leaves.

        The lock ends with this process, however it ends. Raises BusyError if another has it.
        """
        with writing(self._records):
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self._lock)
            try:
                lock.acquire(timeout=0)
            except Timeout as error:
                raise BusyError(
                    f"another process is running the same thing into {self._records}; wait for it, "
                    "or give this run another --records folder"
                ) from error
        with lock:
            yield
            for path in self.list_remains():
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        with suppress(OSError):  # others may be at work there
            self.folder.parent.rmdir()

    def list_remains(self) -> list[Path]:
        """Return what is left of unfinished work: the folder, its lock, predictions without a record."""
        orphans = [
            path
            for path in self._records.glob(f"{self.folder.name}-*.parquet")
            if not path.with_suffix(".json").is_file()
        ]
        return orphans + [path for path in (self.folder, self._lock) if path.exists()]

    def tidy(self) -> None:
        """Remove what a process that was killed has left, once the record is there."""
        if self.list_remains():
            with suppress(BusyError), self.hold():
                pass
