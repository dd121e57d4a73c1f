"""Arrays on disk that need not fit into memory: appended to block by block, or written in pieces at any place."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Executor
    from pathlib import Path
    from typing import BinaryIO

T = TypeVar("T")
BLOCK = 1 << 17  # rows


def blocks(rows: int) -> Iterator[slice]:
    """Return slices of at most BLOCK rows that together are all rows."""
    for start in range(0, rows, BLOCK):
        yield slice(start, min(start + BLOCK, rows))


def read_ahead(items: Iterator[T], pool: Executor) -> Iterator[T]:
    """Return the items, each made in the pool while the one before it is in use."""
    coming = pool.submit(next, items, None)
    while (item := coming.result()) is not None:
        coming = pool.submit(next, items, None)
        yield item


class Scratch:
    """Named arrays that grow at their end; all pieces of one name have the same type and the same further axes.

    Different names may be appended to by different threads, and any may be read.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self._names = count()
        self._files: dict[str, BinaryIO] = {}
        self._kinds: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {}

    def append(self, name: str, piece: np.ndarray) -> None:
        """Append a piece to an array, which begins with its first piece."""
        if name not in self._files:
            self._files[name] = (self._folder / str(next(self._names))).open("w+b", buffering=0)
            self._kinds[name] = (piece.dtype, piece.shape[1:])
        _write(self._files[name], piece)

    def read(self, name: str, part: slice) -> np.ndarray:
        """Return the rows from ``part.start`` to ``part.stop`` of an array."""
        kind, shape = self._kinds[name]
        width = int(np.prod(shape, dtype=np.int64))
        start = part.start * width * kind.itemsize
        flat = np.fromfile(self._files[name].name, kind, (part.stop - part.start) * width, offset=start)
        return flat.reshape(-1, *shape)

    def close(self) -> None:
        """Close all files."""
        for file in self._files.values():
            file.close()


class ArrayFile:
    """A ``.npy`` file that is written in pieces, at any rows, without being mapped into memory.

    Since 0.1, provisional.
    """

    def __init__(self, path: Path, shape: Sequence[int], kind: Any) -> None:
        self._kind = np.dtype(kind)
        self._file = path.open("wb", buffering=0)
        header = {"descr": np.lib.format.dtype_to_descr(self._kind), "fortran_order": False, "shape": tuple(shape)}
        np.lib.format.write_array_header_1_0(self._file, header)
        self._begin = self._file.tell()
        self._row = self._kind.itemsize * int(np.prod(shape[1:], dtype=np.int64))
        self._file.truncate(self._begin + shape[0] * self._row)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def write(self, start: int, rows: np.ndarray) -> None:
        """Write rows from row ``start`` on."""
        self._file.seek(self._begin + start * self._row)
        _write(self._file, rows.astype(self._kind, copy=False))


def _write(file: BinaryIO, array: np.ndarray) -> None:
    rest = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
    while rest:  # an unbuffered file may take less than all
        rest = rest[file.write(rest) :]
