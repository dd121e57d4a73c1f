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
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from mtbench.data.dataset import Dataset
    from mtbench.schema import Split

RECIPE = 4
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
    features = _features(name, schema, ids=dataset.config.ids)
    findings = list(gates.columns(schema, features))
    refuse(name, findings)
    table = _table(name, dataset.load(files))
    _check_columns(name, schema, table)
    time = None if schema.time is None else _time(name, schema.time, table)
    official = table[schema.split].cast(pa.string()).to_numpy() if split.by == "official" and schema.split else None
    part = splits.assign(split, table.num_rows, time, official)
    part = splits.warm_up(part, recipe["warmup"], time, split.seed)
    chunk = splits.chunks(part, time, split.seed)
    encoded = _encode(name, schema, features, table, part == splits.TRAIN)
    acknowledged = dataset.card.acknowledged
    findings += [
        *gates.order(part, time, schema.time, split.by, acknowledged),
        *gates.classes(encoded.labels, encoded.mask, part, schema.tasks),
        *_content_gates(encoded, schema, part, acknowledged),
    ]
    if schema.row is not None:
        findings += gates.identities(encode.identity(table[schema.row]), part, schema.row)
    refuse(name, findings)
    reachable = dataset.reachable(table, chunk)
    earlier = dataset.earlier_events(files)
    with cache.writing():
        _store(folder, encoded, schema, table, part, chunk, reachable)
        nodes = _store_interactions(folder, schema, table, part, time, split.seed, earlier)
        meta = {
            **recipe,
            **nodes,
            "schema": schema.model_dump(mode="json"),
            "categorical": {feature: codes.size for feature, codes in encoded.categorical.items()},
            "multi": {feature: codes.size for feature, (codes, _) in encoded.multi.items()},
            "numeric": list(encoded.flat_numeric()),
            "counts": {label: int((part == code).sum()) for code, label in enumerate((*splits.NAMES, "warmup"))},
            "fingerprints": {
                label: splits.fingerprint(np.flatnonzero(part == code)) for code, label in enumerate(splits.NAMES)
            },
            "findings": [finding._asdict() for finding in findings],
        }
        (folder / "meta.json").write_text(json.dumps(meta, indent=1))


@dataclass(frozen=True)
class _Encoded:
    """Encoded columns by feature; a numeric one has a second column where training has missing values."""

    categorical: dict[str, encode.Codes]
    multi: dict[str, tuple[encode.Codes, np.ndarray]]
    numeric: dict[str, tuple[np.ndarray, np.ndarray | None]]
    labels: np.ndarray
    mask: np.ndarray

    def flat_numeric(self) -> dict[str, np.ndarray]:
        """Return the numeric columns in the order in which models see them."""
        columns = {}
        for name, (values, missing) in self.numeric.items():
            columns[name] = values
            if missing is not None:
                columns[f"{name} missing"] = missing
        return columns


def _features(name: str, schema: Schema, *, ids: bool) -> list[Feature]:
    """Return the features, before them the ids unless they are switched off or listed as features already."""
    listed = {feature.source for feature in schema.features}
    columns = [column for column in (schema.user, schema.item) if ids and column and column not in listed]
    own = [Feature(name=column, of="user" if column == schema.user else "item") for column in dict.fromkeys(columns)]
    for feature in schema.features:
        if feature.name in columns:
            raise MTBenchError(
                f"dataset '{name}': feature '{feature.name}' has the name of an id column, which is a feature itself; "
                "rename the feature, or switch ids off (ids: false)"
            )
    return [*own, *schema.features]


def _table(name: str, loaded: pa.Table | pd.DataFrame) -> pa.Table:
    if not isinstance(loaded, pd.DataFrame):
        return loaded
    try:
        return pa.Table.from_pandas(loaded, preserve_index=False)
    except (pa.ArrowException, ValueError) as error:
        raise MTBenchError(f"dataset '{name}': its table has a column of mixed types or names: {error}") from error


def _check_columns(name: str, schema: Schema, table: pa.Table) -> None:
    if not table.num_rows:
        raise MTBenchError(f"dataset '{name}' has no rows")
    wanted = [
        *(task.label for task in schema.tasks),
        *(feature.source for feature in schema.features),
        *schema.texts,
        *schema.truth.values(),
    ]
    wanted += [column for column in (schema.user, schema.item, schema.time, schema.row, schema.split) if column]
    for column in wanted:
        found = table.column_names.count(column)
        if not found:
            raise MTBenchError(f"dataset '{name}' has no column '{column}'{suggestion(column, table.column_names)}")
        if found > 1:
            raise MTBenchError(f"dataset '{name}' has {found} columns named '{column}'; rename all but one")
    for column in schema.texts:
        if pa.types.is_nested(table[column].type):
            raise MTBenchError(
                f"dataset '{name}': column '{column}' holds {table[column].type}, which is no text; remove it from the "
                "texts, or join its values"
            )
    for role, needed in (("time", schema.time), ("row id", schema.row)):
        row = -1 if needed is None else pc.index(pc.is_null(table[needed], nan_is_null=True), True).as_py()
        if row >= 0:
            raise MTBenchError(
                f"dataset '{name}': column '{needed}', row {row + 1}: the {role} is missing; fill it in, drop the row, "
                f"or leave the {role} out of the schema"
            )


def _time(name: str, column: str, table: pa.Table) -> np.ndarray:
    """Return the times as numbers in whatever unit they have; only their order counts."""
    values = table[column]
    if pa.types.is_temporal(values.type):
        values = values.cast(pa.int32() if values.type.bit_width == 32 else pa.int64())  # noqa: PLR2004
    elif pa.types.is_decimal(values.type):
        values = values.cast(pa.float64())
    if not (pa.types.is_integer(values.type) or pa.types.is_floating(values.type)):
        raise MTBenchError(
            f"dataset '{name}': column '{column}' holds {values.type}; a time must be a number or a timestamp"
        )
    time: np.ndarray = values.to_numpy()
    return time


def _encode(name: str, schema: Schema, features: list[Feature], table: pa.Table, train: np.ndarray) -> _Encoded:
    encoders: dict[str, Callable[[pa.ChunkedArray, Feature], Any]] = {
        "categorical": lambda column, _: encode.categorical(column, train),
        "multi": lambda column, _: encode.multi(column, train),
        "numeric": lambda column, feature: encode.numeric(column, train, feature),
    }
    columns: dict[str, dict[str, Any]] = {kind: {} for kind in encoders}
    for feature in features:
        column = table[feature.source]
        try:
            columns[feature.kind][feature.name] = encoders[feature.kind](column, feature)
        except pa.ArrowException as error:
            raise MTBenchError(
                f"dataset '{name}': feature '{feature.name}' is {feature.kind}, which its column '{feature.source}' "
                f"cannot be: it holds {column.type} ({error}); declare it otherwise"
            ) from error
    if not features:
        raise MTBenchError(
            f"dataset '{name}' has no features, and ids are switched off (or absent); a model needs inputs"
        )
    labels = np.column_stack([encode.labels(table[task.label], task) for task in schema.tasks])
    mask = ~np.isnan(labels)
    names = [task.name for task in schema.tasks]
    for index, task in enumerate(schema.tasks):
        if task.given is not None:
            mask[:, index] &= labels[:, names.index(task.given)] == 1
    return _Encoded(**columns, labels=np.nan_to_num(labels), mask=mask)


def _content_gates(
    encoded: _Encoded, schema: Schema, part: np.ndarray, acknowledged: Mapping[str, str]
) -> Iterator[gates.Finding]:
    sample = np.flatnonzero(part == splits.TRAIN)
    if len(sample) > gates.SAMPLE:  # at random: a stride might meet a period in the rows
        sample = np.sort(np.random.default_rng(0).choice(sample, gates.SAMPLE, replace=False))
    values = {name: gates.Values(column.codes[sample]) for name, column in encoded.categorical.items()}
    for name, (column, missing) in encoded.numeric.items():
        bins = gates.binned(column[sample]) + 1
        values[name] = gates.Values(bins if missing is None else np.where(missing[sample] > 0, 0, bins), ordered=True)
    for name, (codes, offsets) in encoded.multi.items():
        picked, ends = _picked(codes.codes, offsets, sample)
        values[name] = gates.Values(picked, np.repeat(np.arange(len(sample)), np.diff(ends)))
    yield from gates.predictors(values, encoded.labels[sample], encoded.mask[sample], schema, acknowledged)
    everything = {f"categorical {name}": column.codes for name, column in encoded.categorical.items()}
    everything |= {f"numeric {name}": column for name, column in encoded.flat_numeric().items()}
    for name, (codes, offsets) in encoded.multi.items():
        hashes = np.concatenate([[0], np.cumsum(pd.util.hash_array(codes.codes))]).astype(np.uint64)
        everything[f"multi {name}"] = hashes[offsets[1:]] - hashes[offsets[:-1]]
    for index, task in enumerate(schema.tasks):
        everything[f"label {task.name}"] = np.where(encoded.mask[:, index], encoded.labels[:, index], np.nan)
    yield from gates.duplicates(everything, part)


def _picked(values: np.ndarray, offsets: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the lists of the given rows, in their order: values and offsets."""
    starts, lengths = offsets[rows], offsets[rows + 1] - offsets[rows]
    ends = np.concatenate([[0], np.cumsum(lengths)])
    return values[np.arange(ends[-1]) + np.repeat(starts - ends[:-1], lengths)], ends


def _store(
    folder: Path,
    encoded: _Encoded,
    schema: Schema,
    table: pa.Table,
    part: np.ndarray,
    chunk: np.ndarray,
    reachable: Mapping[str, np.ndarray],
) -> None:
    """Write the columns with the rows in the order train, valid, test, warm-up, so that each part is one slice."""
    order = np.argsort(part, kind="stable")

    def save(name: str, array: np.ndarray) -> None:
        np.save(folder / f"{name}.npy", np.ascontiguousarray(array))

    rows = len(order)
    save("row", order)
    save("chunk", chunk[order])
    save("categorical", _stacked([column.codes for column in encoded.categorical.values()], rows, np.int32)[order])
    save("numeric", _stacked(list(encoded.flat_numeric().values()), rows, np.float32)[order])
    save("labels", encoded.labels[order])
    save("mask", encoded.mask[order].astype(np.float32))
    for index, (column, offsets) in enumerate(encoded.multi.values()):
        values, ends = _picked(column.codes, offsets, order)
        save(f"multi-{index}-values", values)
        save(f"multi-{index}-offsets", ends)
    truths = {task: table[column].to_numpy() for task, column in schema.truth.items()}
    for kind, known in (("optimum", truths), ("reachable", reachable)):
        if known:
            unknown = np.full(rows, np.nan)
            save(kind, np.column_stack([known.get(task.name, unknown) for task in schema.tasks])[order])
    vocabularies = {name: column.vocabulary for name, column in encoded.categorical.items()}
    vocabularies |= {name: column.vocabulary for name, (column, _) in encoded.multi.items()}
    for index, vocabulary in enumerate(vocabularies.values()):
        pq.write_table(pa.table({"value": vocabulary}), folder / f"vocabulary-{index}.parquet")


def _store_interactions(
    folder: Path,
    schema: Schema,
    table: pa.Table,
    part: np.ndarray,
    time: np.ndarray | None,
    seed: int,
    earlier: pa.Table | None,
) -> dict[str, int]:
    """Write who met what and when, for rows and earlier events alike; return the counts of users and items."""
    order = np.argsort(part, kind="stable")
    when = splits.order(len(part), time, seed)
    np.save(folder / "time.npy", when[order])
    counts = {}
    for node, column in (("user", schema.user), ("item", schema.item)):
        if column is None:
            continue
        values = table[column]
        if earlier is not None:
            values = pa.chunked_array([*values.chunks, *earlier[column].cast(values.type).chunks])
        number = encode.identity(values)
        np.save(folder / f"{node}.npy", number[: table.num_rows][order])
        np.save(folder / f"earlier-{node}.npy", number[table.num_rows :])
        counts[f"{node}s"] = int(number.max()) + 1
        if node == "item":
            _store_texts(folder, schema, table, number[: table.num_rows], when, counts["items"])
    events = 0 if earlier is None else earlier.num_rows
    positive = np.zeros((events, len(schema.tasks)), bool)
    for index, task in enumerate(schema.tasks):
        if earlier is not None and task.name in earlier.column_names:
            positive[:, index] = pc.fill_null(pc.cast(earlier[task.name], pa.bool_()), False).to_numpy()
    np.save(folder / "earlier-positive.npy", positive)
    return counts


def _store_texts(folder: Path, schema: Schema, table: pa.Table, item: np.ndarray, when: np.ndarray, items: int) -> None:
    """Write the first known text of each item in the order of the items' numbers, null where there is none."""
    latest_first = np.argsort(when, kind="stable")[::-1] if schema.texts else when
    for index, column in enumerate(schema.texts):
        texts = table[column].cast(pa.large_string())
        known = latest_first[texts.is_valid().to_numpy()[latest_first]]
        row = np.full(items, -1)
        row[item[known]] = known  # of an item's rows the one assigned last stays: the first in time
        first = texts.take(pa.array(row, mask=row < 0))
        pq.write_table(pa.table({"text": first}), folder / f"text-{index}.parquet")


def _stacked(columns: list[np.ndarray], rows: int, dtype: type[np.generic]) -> np.ndarray:
    return np.column_stack(columns).astype(dtype, copy=False) if columns else np.zeros((rows, 0), dtype)
