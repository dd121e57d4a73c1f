"""Files of a site: written whole or not at all, and removed once they are no longer made."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mtbench.errors import StorageError
from mtbench.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

MANIFEST = ".mtbench-site"
_OURS = re.compile(r"index\.html|style\.css|(?:theme|board)\.js|(?:data|models|records)/\w[\w.-]*\.html")


def publish(pages: Iterable[tuple[str, str]], out: Path) -> None:
    """Write pages, given as path within ``out`` and content, and remove those that only earlier calls made.

    The manifest names what was made, so that other files in the folder are left alone. Raises StorageError if something
    cannot be written.
    """
    stale = _read_manifest(out)
    made: set[str] = set()
    try:
        for name, content in pages:
            made.add(name)
            _write(out / name, content)
        for name in sorted(stale - made):
            _remove(out / name)
        stale.clear()
    finally:
        if made:
            _write(out / MANIFEST, "".join(f"{name}\n" for name in sorted(stale | made)))


def _read_manifest(out: Path) -> set[str]:
    """Return what the manifest names; lines that no build writes are ignored."""
    try:
        lines = (out / MANIFEST).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return set()
    return {line for line in lines if _OURS.fullmatch(line)}


def _write(path: Path, content: str) -> None:
    encoded = content.encode()
    if not path.is_file() or path.read_bytes() != encoded:
        write_atomically(path, lambda part: part.write_bytes(encoded))


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"{path}: the old page cannot be removed: {error.strerror or error}") from error
