"""Folders of derived data under the hash of everything they were made from."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from typing import TYPE_CHECKING, Any

from mtbench.data.sources import cache_root

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MANIFEST = "manifest.json"


def canonical_json(value: Any) -> str:
    """Return the one JSON text of a value: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def content_hash(value: Any) -> str:
    """Return the sha256 of a value's canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def entry(kind: str, recipe: Any, build: Callable[[Path], None]) -> Path:
    """Return the folder of ``recipe`` (any JSON value), calling ``build(folder)`` if it is not there whole.

    A folder appears under its name only when complete; a damaged one is made again.
    """
    folder = cache_root() / kind / content_hash(recipe)
    if _complete(folder):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = folder.parent / tempfile.mkdtemp(prefix=".part-", dir=folder.parent)
    try:
        build(part)
        sizes = {path.name: path.stat().st_size for path in part.iterdir()}
        (part / MANIFEST).write_text(canonical_json(sizes))
        shutil.rmtree(folder, ignore_errors=True)
        try:
            os.rename(part, folder)  # noqa: PTH104
        except OSError:
            if not _complete(folder):  # another process may have been faster
                raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder


def _complete(folder: Path) -> bool:
    try:
        sizes = json.loads((folder / MANIFEST).read_text())
        return all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError):
        return False
