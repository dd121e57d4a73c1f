"""Arrays of the cache, mapped into memory.

A process that reads a mapped file beyond its end is killed by the system (SIGBUS), without a word. Files of the cache
do not shrink unless something else cuts them; that is looked for before each batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from mtbench.data.cache import reading
from mtbench.errors import StorageError

if TYPE_CHECKING:
    from mmap import mmap
    from pathlib import Path

_mapped: WeakKeyDictionary[mmap, tuple[Path, int]] = WeakKeyDictionary()


def map_array(path: Path) -> np.ndarray:
    """Return the array of a ``.npy`` file of the cache; what is written into it does not reach the file.

    Raises StorageError if the file is gone or was cut.

    Since 0.1, provisional.
    """
    with reading():
        try:
            array: np.memmap[Any, Any] = np.load(path, mmap_mode="c")  # writable, as torch wants it
        except (ValueError, EOFError) as error:
            raise _describe_cut(path) from error
    if (mapping := getattr(array, "_mmap", None)) is not None:  # an empty array has none
        _mapped[mapping] = path, mapping.size()
    return array


def require_whole() -> None:
    """Raise StorageError if a file that is mapped has become shorter; each is told of once, to whoever asks next."""
    cut = [mapping for mapping, (_, size) in _mapped.items() if mapping.size() < size]
    paths = [_mapped.pop(mapping)[0] for mapping in cut]
    if paths:
        raise _describe_cut(paths[0])


def _describe_cut(path: Path) -> StorageError:
    return StorageError(
        f"{path} is shorter than it was written: something has cut it, or the disk is damaged; "
        "it is made anew by the same command"
    )
