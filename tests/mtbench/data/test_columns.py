from __future__ import annotations

import pickle

import numpy as np
import pyarrow as pa
import pytest
import torch

from mtbench.data.columns import Columns
from mtbench.data.scratch import BLOCK
from mtbench.errors import MTBenchError
from mtbench.schema import Feature, Schema, Task


@pytest.fixture
def columns(prepared, funnel):
    return prepared(funnel)


def test_each_part_is_one_slice_and_they_hold_every_row_once(columns, funnel):
    parts = [columns.train, columns.valid, columns.open_test()]
    assert [len(part) for part in parts] == [columns.counts[name] for name in ("train", "valid", "test")]
    assert torch.cat([part.rows for part in parts]).tolist() == list(range(sum(map(len, parts))))
    raw = np.concatenate([columns.row_ids(part) for part in parts])
    assert sorted(raw) == list(range(funnel.table.num_rows))


def test_columns_are_memory_mapped_and_the_file_stays_as_it_is(columns):
    for name in ("categorical", "numeric", "labels", "mask", "multi-0-values", "multi-0-offsets"):
        assert isinstance(columns._read(name), np.memmap)
    before = {path.name: path.read_bytes() for path in columns.folder.iterdir()}
    columns.train.labels.fill_(7)
    columns.train.multi["tags"].values.fill_(7)
    assert {path.name: path.read_bytes() for path in columns.folder.iterdir()} == before


def test_positive_rates_are_those_of_the_rows_that_count(columns, funnel):
    raw = funnel.table.take(pa.array(columns.row_ids(columns.train))).to_pydict()
    clicks = [value for value in raw["is_click"] if value is not None]
    bought = [buy for buy, click in zip(raw["buy"], raw["is_click"], strict=True) if click == 1 and buy is not None]
    assert columns.positive_rates() == pytest.approx({
        "click": sum(clicks) / len(clicks), "buy": sum(bought) / len(bought),
        "seconds": sum(raw["seconds"]) / len(raw["seconds"]),
    })  # fmt: skip


def test_the_spec_says_what_a_model_is_built_for(columns, funnel):
    spec = columns.spec
    assert spec.tasks == funnel.schema().tasks
    train = columns.train
    for column, (name, size) in enumerate(spec.categorical.items()):
        assert train.categorical[:, column].max() + 1 == size, name
    assert list(spec.categorical) == ["user", "item", "shelf"]
    assert list(spec.multi) == ["tags"]
    assert spec.numeric == ("price", "price missing", "age")
    assert train.numeric.shape[1] == 3
    seconds = train.labels[:, 2].double().numpy()
    assert spec.targets == ({}, {}, pytest.approx({"centre": seconds.mean(), "scale": seconds.std()}))


@pytest.mark.parametrize("base", [0, 16_777_200, 1.6e9, 1e12 + 0.1])
def test_regression_labels_are_kept_to_the_last_digit_however_large(prepared, dataset_of, base):
    values = base + np.arange(1000) % 83
    table = pa.table({"x": np.arange(1000) % 7, "click": np.arange(1000) % 3 % 2, "y": values})
    schema = Schema(tasks=(Task(name="click"), Task(name="y", kind="regression")), features=(Feature(name="x"),))
    columns = prepared(dataset_of(table, schema))
    train = columns.train
    assert train.labels.dtype == (torch.float64 if base else torch.float32)
    labels = values[columns.row_ids(train)]
    np.testing.assert_array_equal(train.labels[:, 1], labels)
    assert columns.spec.targets[1] == pytest.approx({"centre": labels.mean(), "scale": labels.std()}, rel=1e-14)
    assert columns.constants()[1] == pytest.approx(labels.mean(), rel=1e-15)


def test_one_label_that_single_precision_cannot_hold_is_enough(prepared, dataset_of):
    """Wherever it stands: the blocks before it are widened too, and 0, 1 and missing ones alone never are."""
    rows = 2 * BLOCK
    y = np.arange(rows) % 5.0
    for wide in (False, True):
        y[-1] = 2**24 + 1 if wide else 2**24
        table = pa.table({"x": np.arange(rows) % 7, "y": pa.array(y, mask=np.arange(rows) % 11 == 0)})
        schema = Schema(tasks=(Task(name="y", kind="count"),), features=(Feature(name="x"),))
        columns = prepared(dataset_of(table, schema), source=str(wide))
        parts = [columns.train, columns.valid, columns.open_test()]
        assert {part.labels.dtype for part in parts} == {torch.float64 if wide else torch.float32}
        assert max(part.labels.max().item() for part in parts) == y[-1]


def test_what_a_kind_cannot_learn_from_is_told_with_the_task(prepared, dataset_of):
    table = pa.table({"x": np.arange(2000) % 7, "y": np.arange(2000) % 150})
    schema = Schema(tasks=(Task(name="grade", kind="ordinal", column="y"),), features=(Feature(name="x"),))
    with pytest.raises(MTBenchError, match=r"task 'grade' \(column 'y'\) has 150 grades"):
        prepared(dataset_of(table, schema)).spec  # noqa: B018


def test_only_probabilities_are_positives(prepared, dataset_of):
    table = pa.table({"x": np.arange(900) % 7, "click": np.arange(900) % 2, "plays": np.arange(900) % 3})
    schema = Schema(tasks=(Task(name="plays", kind="count"), Task(name="click")), features=(Feature(name="x"),))
    columns = prepared(dataset_of(table, schema))
    assert columns.positive().sum(0).tolist() == [0, 450]


def test_users_and_row_ids_follow_the_rows_of_any_batch(columns, funnel):
    picked = columns.valid.take(torch.tensor([5, 0, 5]))
    raw = funnel.table["user"].to_pylist()
    rows = columns.row_ids(picked)
    assert rows[0] == rows[2] != rows[1]
    users = columns.users(picked)
    for one in range(3):
        for other in range(3):
            assert (users[one] == users[other]) == (raw[rows[one]] == raw[rows[other]])


def test_what_the_dataset_does_not_have_is_none(prepared, dataset_of):
    table = pa.table({"x": np.arange(400) % 7, "y": np.arange(400) % 3 % 2})
    columns = prepared(dataset_of(table, Schema(tasks=("y",), features=("x",))))
    assert columns.users(columns.valid) is None
    assert columns.bound("optimum", columns.valid) is None
    assert columns.bound("reachable", columns.valid) is None
    assert columns.train.numeric.shape == (320, 0)


def test_columns_travel_to_another_process_as_their_folder(columns):
    sent = pickle.dumps(columns)
    assert len(sent) < 1000
    back = pickle.loads(sent)  # noqa: S301
    assert isinstance(back, Columns)
    assert back.folder == columns.folder
    torch.testing.assert_close(back.train.labels, columns.train.labels, equal_nan=True)
