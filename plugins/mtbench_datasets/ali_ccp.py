"""Ali-CCP: impressions of Taobao's recommender, with clicks and the purchases that followed them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mtbench import Card, Dataset, DatasetConfig, Feature, MTBenchError, Schema, Source, Split, Task
from mtbench_datasets.raw_files import attach, read_batches, refuse_unless_binary

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_PARTS = ("train", "test")
_TASKS = ("click", "conversion")
_USER = {
    "101": "user_id",
    "121": "user_profile",
    "122": "user_group",
    "124": "gender",
    "125": "age",
    "126": "consumption_1",
    "127": "consumption_2",
    "128": "occupation",
    "129": "geography",
}
_ITEM = {"205": "item_id", "206": "category", "207": "shop", "216": "brand"}
_CROSSED = {
    "508": "category_history",
    "509": "shop_history",
    "702": "brand_history",
    "853": "intention_history",
}
_POSITION = {"301": "position"}
_SINGLE = {**_USER, **_ITEM, **_POSITION}
_SKELETON = {
    "sample_id": pa.string(),
    "click": pa.int8(),
    "conversion": pa.int8(),
    "common_feature_index": pa.string(),
    "feature_num": pa.int32(),
    "feature_list": pa.string(),
}
_COMMON = {"common_feature_index": pa.string(), "feature_num": pa.int32(), "feature_list": pa.string()}
_ENTRY = "^(?P<field>[0-9_]+)\x02(?P<id>[0-9]{1,9})\x03(?P<value>[-+.0-9eE]+)$"


class AliCCP(Dataset[DatasetConfig]):
    r"""Alibaba Click and Conversion Prediction (Ma et al., SIGIR 2018), read as Tianchi publishes it.

    ``sample_skeleton_{train,test}.csv`` has, without header, sample id, click, conversion, common feature index, number
    of features and a feature list; ``common_features_{train,test}.csv`` has index, number and the list of the features
    that impressions share. A list holds ``FIELD\x02ID\x03VALUE``, separated by ``\x01``. This layout and the choice of
    18 fields are known from AITM's published recipe (Xi et al., KDD 2021), the fields' meaning from NVIDIA Merlin's. As
    in AITM's, impressions with conversion but no click are dropped, values are not used, and a common feature goes
    before the impression's own. Other than there, what an impression's item has in common with the user's history
    (508, 509, 702, 853) is a list, which an impression's own and its common features make together; no id of a repeated
    field is lost.
    """

    version = 2  # fields that come several times are lists

    split = Split(by="official", valid=0.1)
    card = Card(
        title="Ali-CCP",
        licence="Not known: Tianchi states its terms at the download, which needs an account",
        citation=(
            "Ma et al., Entire Space Multi-Task Model: An Effective Approach for Estimating Post-Click Conversion "
            "Rate, SIGIR 2018"
        ),
        url="https://tianchi.aliyun.com/dataset/408",
        description=(
            "About 84 million impressions, half of them test; every feature is an anonymous id. conversion is over all "
            "impressions (CTCVR). Put the four unpacked files into ali-ccp."
        ),
        traps=(
            "Conversions are about 1 in 5,000 impressions: differences between models need many rows to show.",
            "Some impressions have a conversion without a click; they are dropped, as in other work.",
            (
                "Rows have no time: validation rows are a random share of the training rows, which share users and "
                "common features with them, and so are easier than the test rows."
            ),
            "The common feature index has no meaning across the two parts: each has its own common features.",
            "Some common features name no user (field 101): those rows share the missing user.",
            "The lists of a user's history (109_14, 110_14, 127_14, 150_14) and field 210 are not read.",
            "position (field 301) is where the item was shown: known only once it is ranked.",
        ),
    )

    def sources(self) -> Sequence[Source]:
        """Return, for both parts, the impressions and the features that they share."""
        names = [f"{table}_{part}.csv" for part in _PARTS for table in ("sample_skeleton", "common_features")]
        return [Source(name=name, mirror=f"ali-ccp/{name}") for name in names]

    def schema(self) -> Schema:
        """Return two tasks over one impression's user, item and their combinations."""
        return Schema(
            tasks=tuple(Task(name=name) for name in _TASKS),
            features=(
                *(Feature(name=name, of="user") for name in _USER.values() if name != "user_id"),
                *(Feature(name=name, of="item") for name in _ITEM.values() if name != "item_id"),
                *(Feature(name=name, of="context", kind="multi") for name in _CROSSED.values()),
                *(Feature(name=name, of="context") for name in _POSITION.values()),
            ),
            user="user_id",
            item="item_id",
            split="split",
        )

    def load(self, files: Mapping[str, Path]) -> pa.Table:
        """Return the training impressions, then the test impressions, in the order of the files."""
        return pa.concat_tables(
            [
                _read_part(files[f"sample_skeleton_{part}.csv"], files[f"common_features_{part}.csv"], part)
                for part in _PARTS
            ]
        )


def _read_part(skeleton: Path, common: Path, part: str) -> pa.Table:
    shared = pa.concat_tables(
        [
            _parse_fields(table["feature_list"], common, first_row, prefix="common ").append_column(
                "common_feature_index", table["common_feature_index"]
            )
            for first_row, table in read_batches(common, _COMMON)
        ]
    )
    pieces = []
    for first_row, table in read_batches(skeleton, _SKELETON):
        refuse_unless_binary(table, _TASKS, skeleton, first_row=first_row)
        rows = _parse_fields(table["feature_list"], skeleton, first_row)
        for name in (*_TASKS, "common_feature_index"):
            rows = rows.append_column(name, table[name])
        pieces.append(rows.filter(pc.less_equal(rows["conversion"], rows["click"])))
    rows = attach(pa.concat_tables(pieces), "common_feature_index", shared, common)
    columns = {name: rows[name] for name in _TASKS}
    columns |= {name: pc.coalesce(rows[f"common {name}"], rows[name]) for name in _SINGLE.values()}
    columns |= {name: _join_lists(rows[f"common {name}"], rows[name]) for name in _CROSSED.values()}
    return pa.table(columns).append_column("split", pa.repeat(part, len(rows)))


def _parse_fields(lists: pa.ChunkedArray, path: Path, first_row: int, prefix: str = "") -> pa.Table:
    """Return one column per field, of int32 ids or of lists of them, null where a row does not have it."""
    entries = pc.split_pattern(lists.combine_chunks(), "\x01")
    owner = pc.list_parent_indices(entries).to_numpy()
    texts = pc.list_flatten(entries)
    parts = pc.extract_regex(texts, _ENTRY)
    if (wrong := pc.index(pc.is_null(parts), True).as_py()) >= 0:
        raise MTBenchError(
            f"{path}: column 'feature_list', row {owner[wrong] + first_row}: found {texts[wrong].as_py()!r}, expected "
            r"FIELD\x02ID\x03VALUE, separated by \x01"
        )
    field, ids = pc.struct_field(parts, "field"), pc.struct_field(parts, "id").cast(pa.int32())
    columns = {}
    for number, name in {**_SINGLE, **_CROSSED}.items():
        mine = pc.equal(field, number)
        values, rows = ids.filter(mine).to_numpy(), owner[mine.to_numpy(zero_copy_only=False)]
        if number in _CROSSED:
            columns[prefix + name] = _make_lists(values, rows, len(entries))
            continue
        again = (rows[1:] == rows[:-1]) & (values[1:] != values[:-1])
        if again.any():
            at = int(again.argmax())
            raise MTBenchError(
                f"{path}: column 'feature_list', row {rows[at] + first_row}: found the ids {values[at]} and "
                f"{values[at + 1]} of field {number} ({name}), expected one"
            )
        column, missing = np.zeros(len(entries), np.int32), np.ones(len(entries), bool)
        column[rows], missing[rows] = values, False
        columns[prefix + name] = pa.array(column, mask=missing)
    return pa.table(columns)


def _make_lists(values: np.ndarray, owner: np.ndarray, rows: int) -> pa.Array:
    """Return lists of the values of each owner, which ascend; null where a row owns none."""
    counts = np.bincount(owner, minlength=rows)
    ends = np.cumsum([0, *counts], dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(ends), pa.array(values), mask=pa.array(counts == 0))


def _join_lists(first: pa.ChunkedArray, second: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the values of ``first``, then those of ``second``, row by row."""
    if first.null_count == len(first):
        return second
    lists = [column.combine_chunks() for column in (first, second)]
    owner = np.concatenate([pc.list_parent_indices(column).to_numpy() for column in lists])
    values = np.concatenate([pc.list_flatten(column).to_numpy() for column in lists])
    order = np.argsort(owner, kind="stable")
    return pa.chunked_array([_make_lists(values[order], owner[order], len(first))])
