from __future__ import annotations

import datetime as dt
import errno
import json
import math
import os

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mtbench.data.sources import Source
from mtbench.errors import MTBenchError
from mtbench.schema import Feature, Schema, Split, Task
from tests.mtbench.data.conftest import CLICK, RNG, ROWS, TIMES

pytestmark = pytest.mark.usefixtures("cache_folder")


def raw_rows(columns, part):
    return columns.row_ids(part)


def all_parts(columns):
    return [columns.train, columns.valid, columns.open_test()]


def test_every_column_is_that_of_its_raw_row(prepared, funnel):
    columns = prepared(funnel, Split(by="time", valid=0.2, test=0.2))
    raw = funnel.table.to_pydict()
    train = raw_rows(columns, columns.train)
    vocabularies = [pq.read_table(columns.folder / f"vocabulary-{n}.parquet")["value"].to_pylist() for n in range(4)]
    for name, vocabulary in zip(("user", "item", "shelf"), vocabularies, strict=False):
        seen = {raw[name][row] for row in train}
        assert vocabulary == [*sorted(seen - {None}), *([None] if None in seen else [])]
    assert vocabularies[3] == sorted({tag for row in train for tag in raw["tags"][row]})
    prices = [math.log1p(raw["price"][row]) for row in train if raw["price"][row] is not None]
    for part in all_parts(columns):
        for at, row in enumerate(raw_rows(columns, part)):
            for column, name in enumerate(("user", "item", "shelf")):
                value, known = raw[name][row], vocabularies[column]
                assert part.categorical[at, column] == (known.index(value) + 1 if value in known else 0)
            tags, offsets = part.multi["tags"]
            start, end = offsets[at : at + 2].tolist()
            assert [vocabularies[3][code - 1] for code in tags[start:end]] == raw["tags"][row]
            price = raw["price"][row]
            expected = 0 if price is None else (math.log1p(price) - np.mean(prices)) / np.std(prices)
            assert part.numeric[at, 0].item() == pytest.approx(expected, abs=1e-5)
            assert part.numeric[at, 1].item() == (price is None)
            click, buy = raw["is_click"][row], raw["buy"][row]
            assert part.labels[at].tolist() == pytest.approx([click or 0, buy, raw["seconds"][row]])
            assert part.mask[at].tolist() == [click is not None, click == 1, 1]
            bound = columns.bound("optimum", part)[at]
            assert bound[0] == raw["p_click"][row]
            assert np.isnan(bound[1:]).all()


def test_parts_follow_time_and_the_chunks_stand_beside_them(prepared, funnel):
    columns = prepared(funnel)
    when = funnel.table["when"].to_numpy()
    train, valid, test = (when[raw_rows(columns, part)] for part in all_parts(columns))
    assert train.max() < valid.min() <= valid.max() < test.min()
    chunk = np.load(columns.folder / "chunk.npy")
    assert (np.diff(chunk[: len(train)][np.argsort(train, kind="stable")]) >= 0).all()
    assert set(chunk[len(train) :]) == {chunk[: len(train)].max() + 1}


def test_warm_up_rows_stand_last_and_are_no_part(prepared, funnel):
    columns = prepared(funnel, warmup=0.4)
    counts = columns.counts
    assert counts["warmup"] == pytest.approx(0.4 * (counts["train"] + counts["warmup"]), abs=2)
    when = funnel.table["when"].to_numpy()
    parts = [raw_rows(columns, part) for part in all_parts(columns)]
    warm = np.setdiff1d(np.arange(len(when)), np.concatenate(parts))
    assert len(warm) == counts["warmup"]
    assert when[warm].max() < when[parts[0]].min()
    chunk = np.load(columns.folder / "chunk.npy")
    assert (chunk[-len(warm) :] == 0).all()
    assert chunk[: -len(warm)].min() == 1


@pytest.mark.parametrize("by", ["time", "random"])
@pytest.mark.parametrize("warmup", [0.0, 0.4])
def test_a_table_that_is_read_in_pieces_is_prepared_as_one_in_memory(
    monkeypatch, by, warmup, prepared, dataset_of, funnel
):
    table = funnel.table.append_column("title", pa.array([None, "a", "b", "c"] * 150)).drop_columns(["p_click"])
    schema = funnel.schema().model_copy(update={"texts": ("title",), "truth": {}})
    split = Split(by=by)
    whole = prepared(dataset_of(table, schema), split, warmup=warmup)
    monkeypatch.setattr("mtbench.data.scratch.BLOCK", 97)
    monkeypatch.setattr("mtbench.data.raw.BLOCK", 97)
    pieces = [*table.slice(0, 250).to_batches(max_chunksize=40), *table.slice(250).to_batches()]
    reader = pa.RecordBatchReader.from_batches(table.schema, iter(pieces))
    read = prepared(dataset_of(reader, schema), split, warmup=warmup, source="another")
    assert read.folder != whole.folder
    assert read.meta | {"source": ""} == whole.meta | {"source": ""}
    files = sorted(path.name for path in whole.folder.iterdir())
    assert sorted(path.name for path in read.folder.iterdir()) == files
    for name in files:
        if name == "numeric.npy":  # blocks round the mean otherwise
            np.testing.assert_allclose(np.load(read.folder / name), np.load(whole.folder / name), atol=1e-6)
        elif name not in {"manifest.json", "meta.json"}:
            assert (read.folder / name).read_bytes() == (whole.folder / name).read_bytes(), name


def test_what_a_generator_reveals_stands_beside_its_row(simple, prepared):
    dataset = simple(reachable=lambda table, chunk: {"click": table["when"].to_numpy() + 1000.0 * chunk})
    columns = prepared(dataset)
    chunk = np.load(columns.folder / "chunk.npy")
    for part in all_parts(columns):
        expected = TIMES[raw_rows(columns, part)] + 1000.0 * chunk[part.rows.numpy()]
        assert columns.bound("reachable", part)[:, 0].tolist() == expected.tolist()


def test_a_second_call_loads_nothing(simple, prepared):
    dataset = simple()
    first, second = prepared(dataset), prepared(dataset)
    assert dataset.loads == 1
    assert first.folder == second.folder
    assert first.meta == second.meta


def test_everything_that_decides_the_columns_is_in_the_key(tmp_path, simple, prepared):
    raw = tmp_path / "raw.csv"
    raw.write_text("1")
    source = Source(name="raw", path=raw)
    dataset = simple({"user": CLICK}, {"user": "user"}, ids=False, sources=[source])
    variants = [
        lambda: prepared(dataset),
        lambda: prepared(dataset, source="other code"),
        lambda: prepared(dataset, warmup=0.3),
        lambda: prepared(dataset, Split(by="time", valid=0.2)),
        lambda: prepared(dataset, Split(by="random", seed=1)),
        lambda: raw.write_text("2") and prepared(dataset),
        lambda: (setattr(dataset, "version", 2), prepared(dataset))[1],
        lambda: prepared(simple(sources=[source])),
    ]
    assert len({variant().folder for variant in variants}) == len(variants)
    assert dataset.loads == len(variants) - 1


@pytest.mark.parametrize("name", ["labels.npy", "meta.json", "manifest.json", "categorical.npy"])
def test_a_damaged_entry_is_built_again(name, simple, prepared):
    dataset = simple()
    columns = prepared(dataset)
    content = (columns.folder / name).read_bytes()
    (columns.folder / name).write_bytes(content[: len(content) // 2])
    assert prepared(dataset).train.labels.sum() == columns.train.labels.sum()
    assert dataset.loads == 2
    if name != "manifest.json":  # it holds the times of the files
        assert (columns.folder / name).read_bytes() == content


def test_a_stop_comes_before_anything_is_stored(cache_folder, simple, prepared):
    for dataset in (simple({"copy": CLICK}, {"features": ("x", "copy")}), simple({"click": CLICK * 0})):
        with pytest.raises(MTBenchError):
            prepared(dataset)
    assert list((cache_folder / "data").iterdir()) == []


@pytest.mark.parametrize("broken", ["scratch._write", "store.np.save", "store.pq.write_table"])
def test_a_full_disk_is_said_and_leaves_nothing(monkeypatch, cache_folder, broken, simple, prepared):
    dataset = simple()

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(f"mtbench.data.{broken}", full)
        with pytest.raises(MTBenchError, match=r"cannot be written: .*No space left.*MTBENCH_CACHE"):
            prepared(dataset)
    assert list((cache_folder / "data").iterdir()) == []
    assert prepared(dataset).counts["train"] == 320


def test_an_error_of_reading_is_not_taken_for_one_of_the_cache(simple, prepared):
    dataset = simple()
    dataset.load = lambda _: (_ for _ in ()).throw(FileNotFoundError("raw.csv"))
    with pytest.raises(FileNotFoundError):
        prepared(dataset)


@pytest.mark.parametrize(
    ("ids", "features", "expected"),
    [
        (True, ("x",), ["who", "what", "x"]),
        (True, ("x", Feature(name="member", column="who")), ["what", "x", "member"]),
        (True, ("what", "x"), ["who", "what", "x"]),
        (False, ("x",), ["x"]),
        (False, ("who", "x"), ["who", "x"]),
        (True, (), ["who", "what"]),
    ],
)
def test_ids_are_features_once_unless_switched_off(ids, features, expected, simple, prepared):
    people = {"who": RNG.integers(30, size=ROWS), "what": RNG.integers(20, size=ROWS)}
    columns = prepared(simple(people, {"features": features, "user": "who", "item": "what"}, ids=ids))
    assert list(columns.spec.categorical) == expected
    assert columns.users(columns.train) is not None


def test_a_feature_may_not_take_the_name_of_an_id(simple, prepared):
    schema = {"features": (Feature(name="who", column="x"),), "user": "who"}
    with pytest.raises(
        MTBenchError, match=r"feature 'who' has the name of an id column.*rename the feature.*ids: false"
    ):
        prepared(simple({"who": TIMES}, schema))


@pytest.mark.parametrize("ids", [True, False])
def test_no_features_at_all_is_an_error(ids, simple, prepared):
    with pytest.raises(MTBenchError, match=r"'given' has no features, and ids are switched off \(or absent\)"):
        prepared(simple({"who": TIMES}, {"features": (), "user": None if ids else "who"}, ids=ids))


def test_users_without_training_rows_are_told_apart(simple, prepared):
    who = np.where(np.arange(ROWS) < 300, np.arange(ROWS) % 20, np.arange(ROWS))
    columns = prepared(simple({"who": who, "when": np.arange(ROWS)}, {"user": "who"}))
    test = columns.open_test()
    assert (test.categorical[:, 0] == 0).all()
    assert len(set(columns.users(test))) == len(test)
    assert not set(columns.users(test)) & set(columns.users(columns.train))


@pytest.mark.parametrize("kind", ["numeric", "multi", "categorical"])
def test_one_kind_of_features_is_enough(kind, simple, prepared):
    values = RNG.integers(9, size=ROWS)
    values = pa.array([[value] for value in values.tolist()]) if kind == "multi" else values
    columns = prepared(simple({"x": values}, {"features": (Feature(name="x", kind=kind),)}))
    train = columns.train
    assert (train.categorical.shape[1], train.numeric.shape[1], len(train.multi)) == (
        kind == "categorical", kind == "numeric", kind == "multi",
    )  # fmt: skip


def test_lists_that_are_all_empty_can_be_read(simple, prepared):
    columns = prepared(simple({"tags": pa.nulls(ROWS)}, {"features": ("x", Feature(name="tags", kind="multi"))}))
    tags = columns.open_test().multi["tags"]
    assert (len(tags.values), tags.offsets.unique().tolist()) == (0, [0])


def test_a_data_frame_is_taken_too(prepared, dataset_of):
    frame = pd.DataFrame({
        "x": pd.Categorical.from_codes(CLICK * 0 + np.arange(ROWS) % 4, ["a", "b", "c", "d"]),
        "size": np.where(np.arange(ROWS) % 5, np.arange(ROWS) * 1.5, np.nan),
        "tags": [[row % 4] * (row % 3) for row in range(ROWS)],
        "click": np.where(np.arange(ROWS) % 11, CLICK, np.nan),
        "when": pd.Timestamp("2024-01-01") + pd.to_timedelta(TIMES, unit="ns"),
    })  # fmt: skip
    features = ("x", Feature(name="size", kind="numeric"), Feature(name="tags", kind="multi"))
    frames, tables = (
        prepared(dataset_of(table, Schema(tasks=("click",), features=features, time="when")), source=source)
        for source, table in (("frame", frame), ("table", pa.Table.from_pandas(frame)))
    )
    for found, expected in zip(all_parts(frames), all_parts(tables), strict=True):
        for name in ("rows", "categorical", "numeric", "labels", "mask"):
            assert getattr(found, name).tolist() == getattr(expected, name).tolist()
    assert frames.spec.numeric == ("size", "size missing")
    assert frames.train.mask.mean() < 1


@pytest.mark.parametrize(
    "when",
    [
        pa.array(TIMES, pa.timestamp("ns", "UTC")),
        pa.array(TIMES, pa.timestamp("s")),
        pa.array(TIMES.astype(np.int32), pa.date32()),
        pa.array(TIMES * 86_400_000, pa.date64()),
        pa.array(TIMES, pa.duration("ms")),
        pa.array(TIMES.astype(np.uint16)),
        pa.array(TIMES - 200.5),
        pa.array([dt.time(second=1, microsecond=int(value)) for value in TIMES]),
        pa.chunked_array([TIMES[:100], TIMES[100:]]),
        pa.array(TIMES).cast(pa.decimal128(19, 0)),
    ],
    ids=lambda when: str(when.type),
)
def test_times_of_every_type_order_the_rows(when, simple, prepared):
    columns = prepared(simple({"when": when}))
    assert sorted(TIMES[raw_rows(columns, columns.open_test())]) == list(range(360, 400))
    assert sorted(TIMES[raw_rows(columns, columns.valid)]) == list(range(320, 360))


@pytest.mark.parametrize("missing", [None, math.nan])
def test_a_missing_time_is_refused_with_its_row(missing, simple, prepared):
    when = TIMES.astype(object)
    when[17] = missing
    column = pa.array(when.tolist(), pa.float64())
    with pytest.raises(MTBenchError, match="column 'when', row 18: the time is missing"):
        prepared(simple({"when": column}))


def test_a_time_that_is_text_is_refused(simple, prepared):
    with pytest.raises(MTBenchError, match="column 'when' holds string; a time must be a number or a timestamp"):
        prepared(simple({"when": [str(value) for value in TIMES]}))


def test_a_missing_row_id_is_refused_with_its_row(simple, prepared):
    ids = [f"r{row}" for row in range(ROWS)]
    ids[5] = None
    with pytest.raises(MTBenchError, match="column 'id', row 6: the row id is missing"):
        prepared(simple({"id": ids}, {"row": "id"}))


def test_a_row_id_in_two_parts_is_refused_with_its_column(simple, prepared):
    ids = [f"r{row // 2}" for row in range(ROWS)]
    with pytest.raises(MTBenchError, match="row ids of column 'id' are in both train and test"):
        prepared(simple({"id": ids}, {"row": "id"}), Split(by="random"))


@pytest.mark.parametrize(
    "schema",
    [
        {"features": ("x", "shlef")},
        {"tasks": (Task(name="click"), Task(name="like", column="shlef"))},
        {"user": "shlef"},
        {"time": "shlef"},
        {"truth": {"click": "shlef"}},
    ],
)
def test_a_column_that_is_not_there_gets_a_suggestion(schema, simple, prepared):
    with pytest.raises(MTBenchError, match=r"'given' has no column 'shlef' \(did you mean 'shelf'\?\)"):
        prepared(simple({"shelf": CLICK}, schema))


def test_two_columns_of_one_name_are_refused(prepared, dataset_of):
    table = pa.Table.from_arrays([pa.array(CLICK)] * 3, names=["x", "x", "click"])
    with pytest.raises(MTBenchError, match="has 2 columns named 'x'"):
        prepared(dataset_of(table, Schema(tasks=("click",), features=("x",))))


def test_a_table_without_rows_is_refused(simple, prepared, dataset_of):
    with pytest.raises(MTBenchError, match="has no rows"):
        prepared(dataset_of(simple().table.slice(0, 0), simple().schema()))


def test_a_frame_of_mixed_types_is_refused(prepared, dataset_of):
    frame = pd.DataFrame({"x": pd.Series(["a", 1, []] * 100, dtype=object), "click": [0, 1, 0] * 100})
    with pytest.raises(MTBenchError, match=r"'given'.*mixed types"):
        prepared(dataset_of(frame, Schema(tasks=("click",), features=("x",))))


@pytest.mark.parametrize(
    ("kind", "values"), [("multi", CLICK), ("categorical", pa.array([[1]] * ROWS)), ("categorical", [{"a": 1}] * ROWS)]
)
def test_a_column_that_does_not_suit_its_kind_is_refused(kind, values, simple, prepared):
    with pytest.raises(MTBenchError, match=f"feature 'tag' is {kind}, which its column 'raw' cannot be: it holds"):
        prepared(simple({"raw": values}, {"features": (Feature(name="tag", kind=kind, column="raw"),)}))


def test_what_was_found_is_stored_as_plain_json(prepared, funnel):
    meta = json.loads((prepared(funnel).folder / "meta.json").read_text())
    assert meta["schema"]["tasks"][1]["given"] == "click"
    assert meta["counts"] == {"train": 480, "valid": 60, "test": 60, "warmup": 0}
    assert set(meta["fingerprints"]) == {"train", "valid", "test"}
