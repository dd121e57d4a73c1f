"""From a dataset plugin to encoded, split, checked and memory-mapped columns."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mtbench.data import cache, encode, gates, splits
from mtbench.data.columns import Columns
from mtbench.data.sources import digest, locate
from mtbench.errors import MTBenchError, suggestion
from mtbench.schema import Feature, Schema

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mtbench.data.dataset import Dataset
    from mtbench.schema import Split

RECIPE = 1
"""Raised whenever encoding, splitting or the stored layout changes."""


def prepare(name: str, dataset: Dataset[Any], split: Split, *, source: str, warmup: float = 0.0) -> Columns:
    """Return the encoded columns of a dataset under a split, from the cache if they are there.

    ``source`` is the digest of the dataset plugin's code. Raises MTBenchError where a raw file is missing or wrong, or
    a leak gate stops.
    """
    files = {raw.name: locate(raw) for raw in dataset.sources()}
    recipe = {
        "recipe": RECIPE,
        "dataset": name,
        "settings": dataset.config.model_dump(mode="json"),
        "version": dataset.version,
        "source": source,
        "files": {raw: digest(path) for raw, path in files.items()},
        "split": split.model_dump(mode="json"),
        "warmup": warmup,
    }
    folder = cache.entry(
        "data", recipe, partial(_build, name=name, dataset=dataset, split=split, files=files, recipe=recipe)
    )
    return Columns(folder)


def refuse(name: str, findings: list[gates.Finding]) -> None:
    """Raise MTBenchError if any finding stops."""
    stops = [finding.message for finding in findings if finding.level == "stop"]
    if stops:
        raise MTBenchError("\n".join(f"dataset '{name}': {message}" for message in dict.fromkeys(stops)))


def _build(
    folder: Path, *, name: str, dataset: Dataset[Any], split: Split, files: Mapping[str, Path], recipe: dict[str, Any]
) -> None:
    schema = dataset.schema()
    findings = list(gates.columns(schema))
    refuse(name, findings)
    table = _table(dataset.load(files))
    _check_columns(name, schema, table)
    time = None if schema.time is None else _time(name, schema.time, table)
    official = None if schema.split is None else table[schema.split].cast(pa.string()).to_numpy()
    part = splits.assign(split, table.num_rows, time, official)
    part = splits.warm_up(part, recipe["warmup"], time, split.seed)
    chunk = splits.chunks(part, time, split.seed)
    encoded = _encode(schema, table, part == splits.TRAIN, ids=dataset.config.ids)
    rows = np.arange(table.num_rows) if schema.row is None else encode.identity(table[schema.row])
    findings += [
        *gates.order(part, time, split.by, dataset.card.acknowledged),
        *gates.identities(rows, part),
        *_content_gates(encoded, schema, part, dataset),
    ]
    refuse(name, findings)
    _store(folder, encoded, schema, table, part, chunk, dataset)
    meta = {
        **recipe,
        "schema": schema.model_dump(mode="json"),
        "categorical": {feature: codes.size for feature, codes in encoded.categorical.items()},
        "multi": {feature: codes.size for feature, (codes, _) in encoded.multi.items()},
        "numeric": list(encoded.numeric),
        "counts": {label: int((part == code).sum()) for code, label in enumerate((*splits.NAMES, "warmup"))},
        "fingerprints": {
            label: splits.fingerprint(np.flatnonzero(part == code)) for code, label in enumerate(splits.NAMES)
        },
        "findings": [finding._asdict() for finding in findings],
    }
    (folder / "meta.json").write_text(json.dumps(meta, indent=1))


@dataclass(frozen=True)
class _Encoded:
    categorical: dict[str, encode.Codes]
    multi: dict[str, tuple[encode.Codes, np.ndarray]]
    numeric: dict[str, np.ndarray]
    labels: np.ndarray
    mask: np.ndarray


def _table(loaded: pa.Table | pd.DataFrame) -> pa.Table:
    return pa.Table.from_pandas(loaded, preserve_index=False) if isinstance(loaded, pd.DataFrame) else loaded


def _check_columns(name: str, schema: Schema, table: pa.Table) -> None:
    if not table.num_rows:
        raise MTBenchError(f"dataset '{name}' has no rows")
    wanted = [
        *(task.label for task in schema.tasks),
        *(feature.source for feature in schema.features),
        *schema.truth.values(),
    ]
    wanted += [column for column in (schema.user, schema.item, schema.time, schema.row, schema.split) if column]
    for column in wanted:
        if column not in table.column_names:
            raise MTBenchError(f"dataset '{name}' has no column '{column}'{suggestion(column, table.column_names)}")


def _time(name: str, column: str, table: pa.Table) -> np.ndarray:
    values = table[column]
    if pa.types.is_temporal(values.type):
        values = values.cast(pa.timestamp("us")).cast(pa.int64())
    time: np.ndarray = values.to_numpy()
    if values.null_count or (time.dtype.kind == "f" and np.isnan(time).any()):
        row = int(pc.index(pc.is_null(values, nan_is_null=True), True).as_py()) + 1
        raise MTBenchError(
            f"dataset '{name}': column '{column}', row {row}: the time is missing; split at random or drop the row"
        )
    return time


def _encode(schema: Schema, table: pa.Table, train: np.ndarray, *, ids: bool) -> _Encoded:
    features = list(schema.features)
    if ids:
        listed = {feature.source for feature in features}
        named = ((schema.user, "user"), (schema.item, "item"))
        features = [Feature(name=column, of=of) for column, of in named if column and column not in listed] + features
    categorical = {f.name: encode.categorical(table[f.source], train) for f in features if f.kind == "categorical"}
    multi = {f.name: encode.multi(table[f.source], train) for f in features if f.kind == "multi"}
    numeric: dict[str, np.ndarray] = {}
    for feature in features:
        if feature.kind == "numeric":
            numeric[feature.name], missing = encode.numeric(table[feature.source], train, feature)
            if missing is not None:
                numeric[f"{feature.name} missing"] = missing
    if not (categorical or multi or numeric):
        raise MTBenchError("the dataset has no features, and ids are switched off (or absent); a model needs inputs")
    labels = np.column_stack([encode.labels(table[task.label], task) for task in schema.tasks])
    mask = ~np.isnan(labels)
    names = [task.name for task in schema.tasks]
    for column, task in enumerate(schema.tasks):
        if task.given is not None:
            mask[:, column] &= labels[:, names.index(task.given)] == 1
    return _Encoded(categorical, multi, numeric, np.nan_to_num(labels), mask)


def _content_gates(encoded: _Encoded, schema: Schema, part: np.ndarray, dataset: Dataset[Any]) -> list[gates.Finding]:
    findings = list(gates.classes(encoded.labels, encoded.mask, part, schema.tasks))
    training = np.flatnonzero(part == splits.TRAIN)
    sample = training[:: max(1, len(training) // gates.SAMPLE)]
    codes: dict[str, tuple[np.ndarray, np.ndarray | None]] = {
        name: (column.codes[sample], None) for name, column in encoded.categorical.items()
    }
    codes |= {name: (gates.binned(column[sample]), None) for name, column in encoded.numeric.items()}
    for name, (column, offsets) in encoded.multi.items():
        lengths = np.diff(offsets)[sample]
        owner = np.repeat(np.arange(len(sample)), lengths)
        within = np.arange(len(owner)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        codes[name] = (column.codes[np.repeat(offsets[sample], lengths) + within], owner)
    acknowledged = dataset.card.acknowledged
    findings += gates.predictors(codes, encoded.labels[sample], encoded.mask[sample], schema.tasks, acknowledged)
    flat = [column.codes for column in encoded.categorical.values()]
    flat += [column.view(np.int32) for column in (*encoded.numeric.values(), *encoded.labels.T.copy())]
    findings += gates.duplicates(np.column_stack(flat), part)
    return findings


def _store(
    folder: Path,
    encoded: _Encoded,
    schema: Schema,
    table: pa.Table,
    part: np.ndarray,
    chunk: np.ndarray,
    dataset: Dataset[Any],
) -> None:
    """Write the columns with the rows in the order train, valid, test, warm-up, so that each part is one slice."""
    order = np.argsort(part, kind="stable")

    def save(name: str, array: np.ndarray) -> None:
        np.save(folder / f"{name}.npy", np.ascontiguousarray(array))

    rows = len(order)
    save("row", order)
    save("chunk", chunk[order])
    save("categorical", _stacked([column.codes for column in encoded.categorical.values()], rows, np.int32)[order])
    save("numeric", _stacked(list(encoded.numeric.values()), rows, np.float32)[order])
    save("labels", encoded.labels[order])
    save("mask", encoded.mask[order].astype(np.float32))
    if schema.user is not None:
        save("user", encode.identity(table[schema.user])[order])
    for index, (column, offsets) in enumerate(encoded.multi.values()):
        lengths = np.diff(offsets)[order]
        sorted_offsets = np.concatenate([[0], np.cumsum(lengths)])
        within = np.arange(sorted_offsets[-1]) - np.repeat(sorted_offsets[:-1], lengths)
        save(f"multi-{index}-values", column.codes[np.repeat(offsets[:-1][order], lengths) + within])
        save(f"multi-{index}-offsets", sorted_offsets)
    truths = {task: table[column].to_numpy() for task, column in schema.truth.items()}
    for kind, known in (("optimum", truths), ("reachable", dataset.reachable(table, chunk))):
        if known:
            unknown = np.full(rows, np.nan)
            save(kind, np.column_stack([known.get(task.name, unknown) for task in schema.tasks])[order])
    vocabularies = {name: column.vocabulary for name, column in encoded.categorical.items()}
    vocabularies |= {name: column.vocabulary for name, (column, _) in encoded.multi.items()}
    for index, vocabulary in enumerate(vocabularies.values()):
        pq.write_table(pa.table({"value": vocabulary}), folder / f"vocabulary-{index}.parquet")


def _stacked(columns: list[np.ndarray], rows: int, dtype: type[np.generic]) -> np.ndarray:
    return np.column_stack(columns).astype(dtype, copy=False) if columns else np.zeros((rows, 0), dtype)
