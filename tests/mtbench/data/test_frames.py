"""Tables in memory, given where a path is."""

from __future__ import annotations

import datetime as dt
import decimal
import shutil
import uuid

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import mtbench
from mtbench.board.verify import verify
from mtbench.data.frames import find_frame, hash_table, keep_frame
from mtbench.errors import MTBenchError
from mtbench.experiment import Experiment
from mtbench.registry import Registry

pytestmark = pytest.mark.usefixtures("cache_folder")

COLUMNS = {
    "integers": pa.array([1, None, 3]),
    "floats": pa.array([1.5, None, float("nan")]),
    "truths": pa.array([True, None, False]),
    "texts": pa.array(["a", None, "bc"]),
    "bytes": pa.array([b"a", None, b"\xff"]),
    "fixed bytes": pa.array([b"aa", None, b"bb"], pa.binary(2)),
    "categories": pa.array(["a", None, "b"]).dictionary_encode(),
    "instants": pa.array([1, None, 3], pa.timestamp("ns", "UTC")),
    "days": pa.array([dt.date(2024, 1, 1), None, dt.date(2024, 1, 2)]),
    "times": pa.array([1, None, 2], pa.time32("s")),
    "durations": pa.array([1, None, 2], pa.duration("us")),
    "decimals": pa.array([decimal.Decimal("1.25"), None, decimal.Decimal(2)]),
    "lists": pa.array([[1, 2], None, [3]]),
    "lists of lists": pa.array([[["a"], []], None, [["b"]]]),
    "pairs": pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int64(), 2)),
    "structs": pa.array([{"a": 1, "b": "x"}, None, {"a": None, "b": "y"}]),
    "maps": pa.array([[("a", 1)], None, [("b", 2)]], pa.map_(pa.string(), pa.int64())),
    "uuids": pa.array([uuid.UUID(int=1), None, uuid.UUID(int=2)], pa.uuid()),
}


@pytest.mark.parametrize("column", COLUMNS.values(), ids=COLUMNS)
def test_the_hash_is_of_the_content_whatever_the_chunks(column):
    whole = pa.table({"x": column})
    cut = pa.table({"x": pa.chunked_array([column[:1], column[1:]])})
    within = pa.concat_tables([whole, whole, whole]).slice(3, 3)
    assert hash_table(whole) == hash_table(cut) == hash_table(within)
    others = [column[::-1], column[:2], pa.concat_arrays([column[:2], column[:1]])]
    others += [pa.concat_arrays([column[:2], column[1:2]])]
    assert len({hash_table(pa.table({"x": other})) for other in others} | {hash_table(whole)}) == 1 + len(others)
    assert hash_table(pa.table({"y": column})) != hash_table(whole)


def test_what_only_looks_alike_has_another_hash():
    texts = [["ab", "c"], ["a", "bc"], ["abc", ""], ["abc", None]]
    lists = [[[1], [2, 3]], [[1, 2], [3]], [[], [1, 2, 3]], [None, [1, 2, 3]]]
    numbers = [pa.array([1, 2]), pa.array([1.0, 2.0]), pa.array([1, 2], pa.int32()), pa.array([1, 2], pa.duration("s"))]
    columns = [*map(pa.array, texts), *map(pa.array, lists), *numbers]
    assert len({hash_table(pa.table({"x": column})) for column in columns}) == len(columns)
    for kind in (pa.large_string(), pa.string_view()):  # which of them it is depends on the version of pandas
        assert hash_table(pa.table({"x": pa.array(["a"], kind)})) == hash_table(pa.table({"x": ["a"]}))


def test_a_frame_is_kept_once_without_its_index():
    frame = pd.DataFrame({"a": [3, 1, 2], "b": ["x", None, "z"]})
    name = keep_frame(frame)
    assert name.startswith("frame:")
    assert pq.read_table(find_frame(name)).to_pydict() == {"a": [3, 1, 2], "b": ["x", None, "z"]}
    changed = find_frame(name).stat().st_mtime_ns
    assert keep_frame(frame.set_index(pd.Index([7, 8, 9]))) == keep_frame(pa.table(frame)) == name
    assert find_frame(name).stat().st_mtime_ns == changed
    assert keep_frame(frame[::-1]) != name


def test_a_frame_that_is_gone_is_asked_for(cache_folder):
    name = keep_frame(pd.DataFrame({"a": [1]}))
    shutil.rmtree(cache_folder)
    with pytest.raises(MTBenchError, match=rf"the data frame {name[6:18]} is not in the cache; run .* with the frame"):
        find_frame(name)


@pytest.mark.parametrize(
    ("frame", "what"),
    [
        (pd.DataFrame({"a": [1, "x"]}), "a column of mixed types or names"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "a column of mixed types or names"),
        (pd.DataFrame({"a": [1 + 2j]}), "a column of"),
    ],
)
def test_a_frame_that_cannot_be_kept_is_refused(frame, what):
    with pytest.raises(MTBenchError, match=what):
        keep_frame(frame)


ROWS = 400
RNG = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "device": RNG.choice(["phone", "desk"], ROWS),
        "seen": pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(ROWS), "h"),
        "liked": RNG.integers(2, size=ROWS),
    }
)


def experiment(path):
    dataset = {"name": "table", "path": path, "tasks": ["liked"], "features": ["device"], "time": "seen"}
    return {"dataset": dataset, "models": ["constant"], "seeds": 1}


def run(source, folder, **options):
    (written,) = mtbench.run(source, records=folder, **options)
    return written


def test_a_frame_is_run_as_its_file_is(tmp_path):
    FRAME.to_parquet(tmp_path / "a.parquet")
    of_file = run(experiment(str(tmp_path / "a.parquet")), tmp_path).record
    written = run(experiment(FRAME), tmp_path)
    recipe = written.record.recipe
    name = recipe.dataset.settings["path"]
    assert name == keep_frame(FRAME)
    assert recipe.dataset.files == {name: name.removeprefix("frame:")}
    assert written.record.measured.seeds["0"].valid == of_file.measured.seeds["0"].valid
    for same in (experiment(pa.table(FRAME)), experiment(name), Experiment(**experiment(FRAME))):
        assert run(same, tmp_path, resume=True).path == written.path
    assert run(experiment(FRAME.assign(liked=1 - FRAME["liked"])), tmp_path).record.key != written.record.key


def test_a_record_of_a_frame_is_verified_where_the_frame_is(tmp_path, cache_folder):
    path = run(experiment(FRAME), tmp_path).path
    assert verify(path, Registry.load())[0].passed
    shutil.rmtree(cache_folder)
    with pytest.raises(MTBenchError, match=r"the data frame .* is not in the cache"):
        verify(path, Registry.load())
    keep_frame(FRAME)
    assert verify(path, Registry.load())[0].passed


def test_what_is_wrong_with_a_frame_is_named_as_in_a_file(tmp_path):
    with pytest.raises(MTBenchError, match="the data frame: column 'liked', row 3: 2 is no binary label"):
        run(experiment(FRAME.assign(liked=[0, 1, 2, *[0] * (ROWS - 3)])), tmp_path)
    with pytest.raises(MTBenchError, match=r"the data frame: there is no column 'device'"):
        run(experiment(FRAME.drop(columns="device")), tmp_path)
    with pytest.raises(MTBenchError, match=r"a folder; name one file in it"):
        run(experiment(str(tmp_path)), tmp_path)
