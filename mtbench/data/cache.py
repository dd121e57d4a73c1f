"""Folders of derived data under the hash of everything they were made from."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs
from filelock import FileLock, Timeout

from mtbench.errors import StorageError
from mtbench.files import dump_canonical_json, hash_json, write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

MANIFEST = "manifest.json"
PART = ".part-"


def cache_root() -> Path:
    """Return the folder for everything that can be made again: ``MTBENCH_CACHE``, else the user's cache folder."""
    return Path(os.environ.get("MTBENCH_CACHE") or platformdirs.user_cache_dir("mtbench"))


@contextmanager
def writing() -> Iterator[None]:
    """Turn what may go wrong while the cache is written, such as a full disk, into StorageError."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"the cache {cache_root()} cannot be written: {error}; "
            "make room there, or set MTBENCH_CACHE to a folder that has room and may be written to"
        ) from error


@contextmanager
def reading() -> Iterator[None]:
    """Turn the absence of what was in the cache a moment ago into StorageError."""
    try:
        yield
    except FileNotFoundError as error:
        raise StorageError(
            f"{error.filename} is no longer in the cache, from which something removed it meanwhile; "
            "what is missing is made anew by the same command"
        ) from error


def make_entry(kind: str, recipe: Any, build: Callable[[Path], None]) -> Path:
    """Return the folder of ``recipe`` (any JSON value), calling ``build(folder)`` if it is not there whole.

    A folder appears under its name only when complete; one whose files are not as they were written is made again.
    Of several processes that want it, one makes it and the others wait. Raises StorageError if the cache cannot be
    written.
    """
    folder = cache_root() / kind / hash_json(recipe)
    if not _is_whole(folder):
        with hold_place(folder) as part:
            if not _is_whole(folder):
                build(part)
                _publish(part, folder)
    return folder


@contextmanager
def hold_place(place: Path) -> Iterator[Path]:
    """Wait for the right to make what belongs at ``place`` in the cache; give out an empty folder beside it to do so.

    The folder is removed in the end, and so are those of processes that were killed.
    """
    part = place.parent / f"{PART}{place.name}"
    with writing():
        place.parent.mkdir(parents=True, exist_ok=True)
        lock = _find_lock(place.name)
        lock.acquire()
    with lock:
        try:
            with writing():
                _remove_abandoned(place.parent)
                shutil.rmtree(part, ignore_errors=True)
                part.mkdir()
            yield part
        finally:
            shutil.rmtree(part, ignore_errors=True)


def _find_lock(name: str) -> FileLock:
    locks = cache_root() / "locks"
    locks.mkdir(exist_ok=True)
    return FileLock(locks / name)


def _remove_abandoned(parent: Path) -> None:
    for part in parent.glob(f"{PART}*"):
        with suppress(Timeout), _find_lock(part.name.removeprefix(PART)).acquire(timeout=0):
            shutil.rmtree(part, ignore_errors=True)


def _publish(part: Path, folder: Path) -> None:
    with writing():
        files = [path for path in part.rglob("*") if path.is_file()]
        with ThreadPoolExecutor() as pool:
            stamps = list(pool.map(_stamp, files))
        names = [path.relative_to(part).as_posix() for path in files]
        _write_manifest(part, dict(zip(names, stamps, strict=True)))
        shutil.rmtree(folder, ignore_errors=True)
        part.rename(folder)


_Stamp = list[str | int]  # a file's sha256, its size and its times of change


def _stamp(path: Path, known: _Stamp | None = None) -> _Stamp:
    """Return the stamp of a file, without reading it if size and times are the ``known`` ones."""
    with path.open("rb") as file:
        stat = os.fstat(file.fileno())
        state = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
        if known is not None and known[1:] == state:
            return known
        return [hashlib.file_digest(file, "sha256").hexdigest(), *state]


def _write_manifest(folder: Path, stamps: Mapping[str, _Stamp]) -> None:
    content = dump_canonical_json({"files": stamps})
    write_atomically(folder / MANIFEST, lambda part: part.write_text(content))


def _is_whole(folder: Path) -> bool:
    """Return whether every file is there as it was published.

    A file whose size and times are those of its stamp is trusted, as git does; else its digest decides, and an entry
    that is right, such as one copied from elsewhere, is stamped anew.
    """
    try:
        known = json.loads((folder / MANIFEST).read_text())["files"]
        stamps = {name: _stamp(folder / name, stamp) for name, stamp in known.items()}
        if any(stamps[name][0] != stamp[0] for name, stamp in known.items()):
            return False
    except (OSError, ValueError, TypeError, LookupError, AttributeError):
        return False
    if stamps != known:
        with suppress(StorageError):  # a cache that cannot be written to costs time, no more
            _write_manifest(folder, stamps)
    return True
