"""From a dataset plugin to encoded, split, checked and memory-mapped columns."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa

from mtbench.data import cache, gates, splits
from mtbench.data.columns import Columns
from mtbench.data.content import Content
from mtbench.data.fitted import Fitted
from mtbench.data.frames import to_arrow
from mtbench.data.raw import Raw
from mtbench.data.scales import check_numbers
from mtbench.data.scratch import read_ahead
from mtbench.data.sources import digest_source, locate
from mtbench.data.store import Store
from mtbench.data.vocabularies import check_values
from mtbench.errors import MTBenchError
from mtbench.schema import Feature

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mtbench.data.dataset import Dataset
    from mtbench.schema import Schema, Split

RECIPE = 9
"""Raised whenever encoding, splitting or the stored layout changes."""

SCRATCH = "scratch"


def prepare(name: str, dataset: Dataset[Any], split: Split, *, source: str, warmup: float = 0.0) -> Columns:
    """Return the encoded columns of a dataset under a split, from the cache if they are there.

    ``source`` is the digest of the dataset plugin's code. The table is read block by block: of its rows only times and
    parts are ever in memory as a whole. Raises MTBenchError where a raw file is missing or wrong, or a leak gate stops.
    """
    sources = {raw.name: raw for raw in dataset.sources()}
    files = {raw: locate(source) for raw, source in sources.items()}
    recipe = {
        "recipe": RECIPE,
        "dataset": name,
        "settings": dataset.config.model_dump(mode="json"),
        "version": dataset.version,
        "source": source,
        "files": {raw: digest_source(sources[raw], path) for raw, path in files.items()},
        "split": split.model_dump(mode="json"),
        "warmup": warmup,
    }
    folder = cache.make_entry(
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
    features = _list_features(name, schema, ids=dataset.config.ids)
    findings = list(gates.columns(schema, features))
    refuse(name, findings)
    loaded = dataset.load(files)
    if isinstance(loaded, pd.DataFrame):
        loaded = to_arrow(f"dataset '{name}': its table", loaded)
    with cache.writing():
        raw = Raw(name, schema, features, folder / SCRATCH)
    raw.read(loaded)
    time = None if schema.time is None else raw.whole("time")
    official = raw.whole("split") if split.by == "official" and schema.split else None
    part = splits.assign(split, raw.rows, time, official)
    part = splits.warm_up(part, recipe["warmup"], time, split.seed)
    chunk = splits.assign_chunks(part, time, split.seed)
    fitted = Fitted(raw, part)
    acknowledged = dataset.card.acknowledged
    unlabelled = fitted.find_unlabelled() if official is not None else None
    findings += [
        *gates.order(part, time, schema.time, split.by, acknowledged),
        *gates.classes(fitted.low, fitted.high, schema.tasks, unlabelled),
        *check_values(fitted, acknowledged),
        *check_numbers(fitted, acknowledged),
    ]
    if schema.row is not None:
        findings += gates.identities(raw.whole("row id"), part, schema.row)
    of_rows = {"chunk": chunk}
    if time is None:
        of_rows["time"] = splits.order(part, None, split.seed)
    if unlabelled is not None:
        of_rows["unlabelled"] = unlabelled
    hidden = splits.hide_held_out(chunk, part)
    if isinstance(loaded, pa.Table) and (reachable := dataset.reachable(loaded, hidden)):
        unknown = np.full(raw.rows, np.nan)
        of_rows["reachable"] = np.column_stack([reachable.get(task.name, unknown) for task in schema.tasks])
    del time
    earlier = dataset.earlier_events(files)
    content = Content(fitted)
    with cache.writing():
        store = Store(folder, fitted, of_rows, earlier)
        with ThreadPoolExecutor() as pool:
            for encoded in read_ahead(fitted.encode_blocks(), pool):
                collected = pool.submit(content.add, encoded)
                store.add(encoded)
                collected.result()
        store.finish()
    findings += content.findings(acknowledged)
    refuse(name, findings)
    meta = {
        **recipe,
        **store.nodes,
        "schema": schema.model_dump(mode="json"),
        "categorical": {feature: codes.size for feature, codes in fitted.categorical.items()},
        "multi": {feature: codes.size for feature, codes in fitted.multi.items()},
        "numeric": list(fitted.numeric_names()),
        "domain": next((name for name, codes in fitted.categorical.items() if codes.column == schema.domain), None),
        "counts": {label: int((part == code).sum()) for code, label in enumerate((*splits.NAMES, "warmup"))},
        "fingerprints": {label: splits.fingerprint(part, code) for code, label in enumerate(splits.NAMES)},
        "findings": [finding._asdict() for finding in findings],
    }
    with cache.writing():
        (folder / "meta.json").write_text(json.dumps(meta, indent=1))
    raw.scratch.close()
    shutil.rmtree(folder / SCRATCH)


def _list_features(name: str, schema: Schema, *, ids: bool) -> list[Feature]:
    """Return the features, before them the ids unless they are switched off, and the domain, if not listed already."""
    listed = {feature.source for feature in schema.features}
    columns = [column for column in (schema.user, schema.item) if ids and column and column not in listed]
    coded = {feature.source for feature in schema.features if feature.kind == "categorical"}
    columns += [schema.domain] if schema.domain and schema.domain not in coded else []
    of: dict[str | None, Literal["user", "item"]] = {schema.item: "item", schema.user: "user"}
    own = [Feature(name=column, of=of.get(column, "context")) for column in dict.fromkeys(columns)]
    for feature in schema.features:
        if feature.name in columns:
            role, remedy = (
                ("the domain's", "") if feature.name == schema.domain else ("an id", ", or switch ids off (ids: false)")
            )
            raise MTBenchError(
                f"dataset '{name}': feature '{feature.name}' has the name of {role} column, which is a feature itself; "
                f"rename the feature{remedy}"
            )
    if not own and not schema.features:
        raise MTBenchError(
            f"dataset '{name}' has no features, and ids are switched off (or absent); a model needs inputs"
        )
    return [*own, *schema.features]
