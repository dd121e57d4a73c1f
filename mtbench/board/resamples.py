"""The file of a record's resamples: what comparisons need of its predictions, small enough to be kept."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Literal, NamedTuple

from pydantic import ValidationError

from mtbench.errors import MTBenchError
from mtbench.evaluation.replicates import Replicates
from mtbench.files import dump_canonical_json, hash_file, write_atomically
from mtbench.record import store
from mtbench.record.form import NAME_DIGITS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    import torchmetrics

    from mtbench.record.form import Record
    from mtbench.record.store import Written
    from mtbench.registry import Registry

FOLDER = "resamples"


class Resamples(Replicates):
    """The replicates of a record, named by its ``file_stem``, and the sha256 of the predictions they were made from."""

    schema_version: Literal[1] = 1
    record: str
    predictions: str


class Filled(NamedTuple):
    """Which records had resamples, for which they were made, and why others have none; by ``file_stem``."""

    found: list[str]
    made: list[str]
    lacking: dict[str, str]


def make(written: Written, registry: Registry) -> Resamples:
    """Resample the predictions that lie beside a record.

    Raises MTBenchError if they are missing or others than the record's, or if a primary metric is not installed in the
    record's version.
    """
    from mtbench.evaluation import predictions  # noqa: PLC0415 - torch, which building a page does without
    from mtbench.evaluation.resampling import resample  # noqa: PLC0415

    record, path = written
    place = path.with_suffix(".parquet")
    metrics = _load_metrics(record, registry)
    table = predictions.read(place)
    if hash_file(place) != record.predictions.sha256:
        raise MTBenchError(f"{place}: these are not the predictions of the record; restore them or run again")
    replicates = resample(table, record.recipe.tasks, metrics)
    return Resamples(**dict(replicates), record=record.file_stem, predictions=record.predictions.sha256)


def _load_metrics(record: Record, registry: Registry) -> dict[str, torchmetrics.Metric]:
    from mtbench.evaluation import evaluate  # noqa: PLC0415

    metrics = {}
    for name in {task.primary for task in record.recipe.tasks} & record.recipe.metrics.keys():
        metrics[name] = registry.metric(name)
        asked, installed = record.recipe.metrics[name].version, evaluate.version(metrics[name])
        if asked != installed:
            raise MTBenchError(
                f"the record has version {asked} of the metric '{name}', but version {installed} is installed; "
                "resample it with the version of mtbench that made it"
            )
    return metrics


def write(resamples: Resamples, records: Path) -> Path:
    """Write resamples under the record's name and their own hash into ``resamples`` of the records' folder."""
    content = (dump_canonical_json(resamples.model_dump(mode="json")) + "\n").encode()
    path = records / FOLDER / f"{resamples.record}.{_hash(content)}.json"
    write_atomically(path, lambda part: part.write_bytes(content))
    return path


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:NAME_DIGITS]


def read(path: Path) -> Resamples:
    """Return the resamples in a file. Raises MTBenchError if it holds none, or was changed after it was written."""
    try:
        content = path.read_bytes()
        resamples = Resamples.model_validate_json(content)
    except OSError as error:
        raise MTBenchError(f"{path}: cannot be read: {error.strerror or error}") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise MTBenchError(f"{path}: not resamples: {first['msg']}; delete it") from error
    if path.name != f"{resamples.record}.{_hash(content)}.json":
        raise MTBenchError(f"{path}: its name is not its record's and the hash of its content; delete it")
    return resamples


def read_all(records: Path) -> tuple[dict[str, Resamples], list[str]]:
    """Return the resamples beside the records of a folder, by ``file_stem``, and what is wrong with other files."""
    by_record: dict[str, Resamples] = {}
    problems = []
    for path in sorted((records / FOLDER).glob("*.json")):
        try:
            one = read(path)
        except MTBenchError as error:
            problems.append(str(error))
            continue
        if one.record in by_record:
            problems.append(f"{path}: these are the second resamples of this record; delete one of them")
        else:
            by_record[one.record] = one
    return by_record, problems


def read_or_make(written: Written, registry: Registry) -> Resamples:
    """Return the resamples of a record, made and written first if they are missing. Raises as :func:`make`."""
    stem = written.record.file_stem
    for path in sorted((written.path.parent / FOLDER).glob(f"{stem}.*.json")):
        try:
            return read(path)
        except MTBenchError:
            continue
    made = make(written, registry)
    write(made, written.path.parent)
    return made


def fill(records: Path, registry: Registry, follow: Callable[[Sequence[Written]], Iterable[Written]] = iter) -> Filled:
    """Make what is missing of the records of a folder; ``follow`` goes through them and may show how far it is.

    Raises MTBenchError if there is no such folder.
    """
    written, _ = store.read_all(records)
    known, _ = read_all(records)
    filled = Filled([], [], {})
    missing = []
    for one in written:
        stem = one.record.file_stem
        if stem in known:
            filled.found.append(stem)
        else:
            missing.append(one)
    for one in follow(missing):
        stem = one.record.file_stem
        try:
            write(make(one, registry), records)
            filled.made.append(stem)
        except MTBenchError as reason:
            filled.lacking[stem] = str(reason)
    return filled
