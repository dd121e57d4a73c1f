"""Folders of derived data under the hash of everything they were made from."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import platformdirs

from mtbench.errors import MTBenchError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MANIFEST = "manifest.json"
ABANDONED_AFTER = 24 * 3600  # seconds without a new file


def cache_root() -> Path:
    """Return the folder for everything that can be made again: ``MTBENCH_CACHE``, else the user's cache folder."""
    return Path(os.environ.get("MTBENCH_CACHE") or platformdirs.user_cache_dir("mtbench"))


def canonical_json(value: Any) -> str:
    """Return the one JSON text of a value: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def content_hash(value: Any) -> str:
    """Return the sha256 of a value's canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


@contextmanager
def writing() -> Iterator[None]:
    """Turn what may go wrong while the cache is written, such as a full disk, into MTBenchError."""
    try:
        yield
    except OSError as error:
        raise MTBenchError(
            f"the cache {cache_root()} cannot be written: {error}; "
            "make room there, or set MTBENCH_CACHE to a folder that has room and may be written to"
        ) from error


def entry(kind: str, recipe: Any, build: Callable[[Path], None]) -> Path:
    """Return the folder of ``recipe`` (any JSON value), calling ``build(folder)`` if it is not there whole.

    A folder appears under its name only when complete; a damaged one is made again. Raises MTBenchError if the cache
    cannot be written.
    """
    folder = cache_root() / kind / content_hash(recipe)
    if _complete(folder):
        return folder
    part = folder.parent / f".part-{uuid4().hex}"
    with writing():
        part.mkdir(parents=True)
        _sweep(folder.parent)
    try:
        build(part)
        with writing():
            sizes = {path.name: path.stat().st_size for path in part.iterdir()}
            (part / MANIFEST).write_text(canonical_json(sizes))
            _publish(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder


def _publish(part: Path, folder: Path) -> None:
    if not _complete(folder):
        shutil.rmtree(folder, ignore_errors=True)
    try:
        part.rename(folder)
    except OSError:
        if not _complete(folder):  # else another process was faster
            raise


def _sweep(parent: Path) -> None:
    """Remove what builders that were killed have left."""
    for part in parent.glob(".part-*"):
        try:
            if time.time() - part.stat().st_mtime > ABANDONED_AFTER:
                shutil.rmtree(part, ignore_errors=True)
        except FileNotFoundError:
            continue


def _complete(folder: Path) -> bool:
    try:
        sizes = json.loads((folder / MANIFEST).read_text())
        return isinstance(sizes, dict) and all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError):
        return False
