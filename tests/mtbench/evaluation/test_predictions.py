from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtbench.errors import MTBenchError, StorageError
from mtbench.evaluation import predictions
from mtbench.files import hash_file

GOLDEN = Path(__file__).parent / "golden"


def texts(values):
    return pa.array(values, pa.string()).dictionary_encode()


def example(seed=3, split="test", *, users=True, domains=False, count=5):
    rng = np.random.default_rng(seed)
    return predictions.make_table(
        seed,
        split,
        ["click", "buy"],
        np.arange(count) * 10,
        prediction=rng.random((count, 2)),
        score=np.where(np.arange(count)[:, None] % 3, rng.normal(size=(count, 2)), np.nan),
        label=rng.integers(0, 2, (count, 2)).astype(np.float32),
        mask=np.array([[1, i % 2] for i in range(count)], np.float32).reshape(count, 2),
        user=np.arange(count) // 2 if users else None,
        domain=texts([f"tab {seed + i}" if i else None for i in range(count)]) if domains else None,
    )


@given(st.lists(st.lists(st.booleans(), min_size=3, max_size=3), max_size=8), st.booleans(), st.booleans())
def test_a_line_for_every_task_and_row_that_counts(mask, users, domains):
    mask = np.array(mask, np.float32).reshape(-1, 3)
    count = len(mask)
    prediction = 2**24 + np.arange(count * 3, dtype=float).reshape(count, 3)
    rows, group = np.arange(count) + 100, np.arange(count) + 1000
    made = predictions.make_table(
        7,
        "valid",
        ["a", "b", "c"],
        rows,
        prediction=prediction,
        label=-prediction,
        score=np.where(prediction % 4, 3 * prediction, np.array([np.nan, np.inf, -np.inf])),
        mask=mask,
        user=group if users else None,
        domain=texts([f"tab {i % 3}" for i in range(count)]) if domains else None,
    )
    expected = [
        {
            "seed": 7,
            "split": "valid",
            "task": task,
            "row": 100 + i,
            "prediction": 2.0**24 + 3 * i + t,
            "score": 3 * (2.0**24 + 3 * i + t) if (3 * i + t) % 4 else None,
            "label": -(2.0**24 + 3 * i + t),
            "user": 1000 + i if users else None,
            "domain": f"tab {i % 3}" if domains else None,
        }
        for t, task in enumerate(["a", "b", "c"])
        for i in range(count)
        if mask[i, t]
    ]
    assert made.to_pylist() == expected


@pytest.mark.parametrize("count", [0, 1, 5])
def test_what_was_written_is_read_again(tmp_path, count):
    parts = [
        example(1, "valid", count=count, domains=True),
        example(0, "test", users=False, count=count),
        example(2, "test", count=count, domains=True),
    ]
    written = pa.concat_tables(parts)
    folder = tmp_path / "seed=4"
    folder.mkdir()
    assert predictions.write(iter(parts), folder / "p.parquet") == written.num_rows
    found = predictions.read(folder / "p.parquet")
    assert found.schema.equals(predictions.SCHEMA)
    assert found.to_pylist() == written.to_pylist()
    assert [path.name for path in folder.iterdir()] == ["p.parquet"]


def test_a_file_of_version_1_is_read_as_one_of_today_and_stays_as_it_is():
    path = GOLDEN / "predictions-1.parquet"
    before = hash_file(path)
    found = predictions.read(path)
    assert found.schema.equals(predictions.SCHEMA)
    written = [
        (seed, split, task, first + row, predicted + seed / 8, None, label, user, None)
        for seed in (0, 1)
        for split, first in (("valid", 10), ("test", 20))
        for task, row, predicted, label, user in (
            ("click", 0, 0.25, 0, 5), ("click", 1, 0.75, 1, 6), ("click", 2, 0.5, 0, 5),
            ("minutes", 0, 0.5, 1, 5), ("minutes", 2, 2.5, 3, 5),
        )
    ]  # fmt: skip
    assert [tuple(line.values()) for line in found.to_pylist()] == written
    assert hash_file(path) == before


def test_equal_tables_give_equal_bytes(tmp_path):
    for name in ("a", "b"):
        predictions.write([example(domains=True)], tmp_path / name)
    predictions.write([example(seed=4)], tmp_path / "c")
    assert hash_file(tmp_path / "a") == hash_file(tmp_path / "b")
    assert hash_file(tmp_path / "a") == hashlib.sha256((tmp_path / "a").read_bytes()).hexdigest()
    assert hash_file(tmp_path / "a") != hash_file(tmp_path / "c")


@pytest.mark.parametrize("existing", [b"the old one", None])
def test_a_write_that_fails_leaves_nothing_new(tmp_path, monkeypatch, existing):
    path = tmp_path / "p.parquet"
    if existing is not None:
        path.write_bytes(existing)

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left"):
        predictions.write([example()], path)
    assert [found.read_bytes() for found in tmp_path.iterdir()] == ([] if existing is None else [existing])


def test_a_write_replaces_the_old_file(tmp_path):
    predictions.write([example(seed=1)], tmp_path / "p.parquet")
    predictions.write([example(seed=2)], tmp_path / "p.parquet")
    assert predictions.read(tmp_path / "p.parquet").equals(example(seed=2))


def test_files_that_hold_no_predictions_are_named(tmp_path):
    with pytest.raises(MTBenchError, match=r"gone\.parquet: there is no such file"):
        predictions.read(tmp_path / "gone.parquet")
    predictions.write([example(count=2000)], tmp_path / "cut.parquet")
    whole = (tmp_path / "cut.parquet").read_bytes()
    (tmp_path / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(MTBenchError, match=r"cut\.parquet: not a readable Parquet file"):
        predictions.read(tmp_path / "cut.parquet")
    pq.write_table(pa.table({"seed": [1], "score": [0.5]}), tmp_path / "other.parquet")
    with pytest.raises(MTBenchError, match=r"other\.parquet: holds columns \['seed', 'score'\], not predictions"):
        predictions.read(tmp_path / "other.parquet")


def test_arrays_that_do_not_fit_are_refused():
    ones = np.ones((3, 2), np.float32)
    with pytest.raises(ValueError, match=r"must have shape \(3, 1\)"):
        predictions.make_table(0, "test", ["a"], np.arange(3), prediction=ones, label=ones, mask=ones)
    with pytest.raises(ValueError, match="one entry per row"):
        predictions.make_table(
            0, "test", ["a", "b"], np.arange(3), prediction=ones, label=ones, mask=ones, user=np.arange(2)
        )
    with pytest.raises(ValueError, match="one entry per row"):
        predictions.make_table(
            0, "test", ["a", "b"], np.arange(3), prediction=ones, label=ones, mask=ones, domain=texts(["x"] * 4)
        )
    with pytest.raises(ValueError, match=r"score must have shape \(3, 2\)"):
        predictions.make_table(
            0, "test", ["a", "b"], np.arange(3), prediction=ones, label=ones, mask=ones, score=ones[:, :1]
        )
    with pytest.raises(ValueError, match="not 'train'"):
        predictions.make_table(0, "train", ["a", "b"], np.arange(3), prediction=ones, label=ones, mask=ones)
