"""Records as files: written whole, named by hashes of what is written, read whatever their version."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from pydantic import ValidationError

from mtbench.errors import MTBenchError
from mtbench.files import hash_json, write_atomically
from mtbench.record.form import NAME_DIGITS, Recipe, Record, name_file
from mtbench.record.upgrade import NEWEST, upgrade

if TYPE_CHECKING:
    from pathlib import Path


class Written(NamedTuple):
    """A record and the file that holds it."""

    record: Record
    path: Path


def write(record: Record, folder: Path) -> Path:
    """Write a record under its name, whole or not at all, never over another; return its path."""
    content = record.model_dump(mode="json")
    path = folder / f"{name_file(content)}.json"
    write_atomically(path, lambda part: part.write_bytes(_encode(content)))
    return path


def copy(written: Written, folder: Path) -> Path:
    """Copy the file of a record, byte for byte, into another folder; return its path there."""
    path = folder / written.path.name
    write_atomically(path, lambda part: shutil.copyfile(written.path, part))
    return path


def _encode(content: dict[str, Any]) -> bytes:
    """Return the one way to write a record."""
    return (json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def read(path: Path) -> Record:
    """Return the record in a file, of the newest form whatever its version.

    Raises MTBenchError if it is none, was changed after it was written, or is of a version that is not known yet.
    """
    content, written = _parse(path)
    version = content.get("schema_version")
    if type(version) is not int or version < 1:
        raise MTBenchError(f"{path}: not a record: schema_version: {version!r} is not a number from 1 on")
    if version > NEWEST:
        raise MTBenchError(
            f"{path}: a record of version {version}, and this mtbench reads versions up to {NEWEST}; update mtbench"
        )
    changed = _find_change(path, content, written)
    try:
        record = Record.model_validate(upgrade(content, version))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = [".".join(str(part) for part in first["loc"])] if first["loc"] else []
        raise MTBenchError(": ".join([f"{path}: not a record", *place, first["msg"]])) from error
    except (LookupError, TypeError, AttributeError) as error:
        raise MTBenchError(f"{path}: not a record of version {version}: {error!r}") from error
    if changed:
        raise MTBenchError(f"{path}: {changed}")
    record.__dict__["file_stem"] = path.stem
    return record


def _parse(path: Path) -> tuple[dict[str, Any], bytes]:
    try:
        written = path.read_bytes()
        content = json.loads(written, parse_constant=_refuse_constant)
    except OSError as error:
        raise MTBenchError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise MTBenchError(f"{path}: not a record: {error}") from error
    if not isinstance(content, dict):
        raise MTBenchError(f"{path}: not a record: it holds no JSON object")
    return content, written


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _find_change(path: Path, content: dict[str, Any], written: bytes) -> str:
    """Return by what it shows that a file was changed after it was written, as it stands there; empty if nothing does.

    Hashes are of the JSON as written, so that they hold whatever later versions add.
    """
    try:
        if content.get("key") != hash_json(content.get("recipe")):
            return "its key is not the hash of its recipe: it was changed after it was written"
        if path.stem != (stem := name_file(content)):
            return f"its name is not the hash of its content ({stem}): it was changed or renamed"
        if written != _encode(content):
            return "it is not as mtbench writes records: it was changed after it was written"
    except (ValueError, TypeError):  # a number too large, half of a character
        return "it is not as mtbench writes records: it was changed after it was written"
    return ""


def read_all(folder: Path) -> tuple[list[Written], list[str]]:
    """Return the records of a folder in the order of their names, and what is wrong with the files that are none."""
    if not folder.is_dir():
        raise MTBenchError(f"{folder}: there is no such folder of records")
    records, problems = [], []
    for path in sorted(folder.glob("*.json")):
        try:
            records.append(Written(read(path), path))
        except MTBenchError as error:
            problems.append(str(error))
    return records, problems


def find(folder: Path, recipe: Recipe) -> Written | None:
    """Return a record of this recipe, if the folder has one; a damaged file is none.

    One whose version knew less than this one has the same recipe if all that it knew is the same.
    """
    paths = sorted(folder.glob("*.json"), key=lambda path: not path.name.startswith(recipe.key[:NAME_DIGITS]))
    for path in paths:
        try:
            record = read(path)
        except MTBenchError:
            continue
        if record.recipe == recipe:
            return Written(record, path)
    return None
