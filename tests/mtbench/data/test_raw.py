"""How tables are cut into blocks, and the first texts of items; the rest is tested where tables are prepared."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from mtbench.data import encode, raw
from mtbench.data.raw import FirstTexts


@pytest.fixture
def _small_blocks(monkeypatch):
    monkeypatch.setattr(raw, "BLOCK", 4)


@pytest.mark.usefixtures("_small_blocks")
@pytest.mark.parametrize("sizes", [[10], [1, 1, 1], [4, 4], [3, 0, 6, 1], []])
def test_a_reader_is_cut_as_a_table_is(sizes):
    table = pa.table({"x": pa.array(range(sum(sizes)), pa.int64())})
    starts = np.cumsum([0, *sizes])
    batches = [
        pa.record_batch({"x": table["x"].combine_chunks()[start : start + size]})
        for start, size in zip(starts, sizes, strict=False)
    ]
    from_reader = list(raw._cut_blocks(pa.RecordBatchReader.from_batches(table.schema, batches)))
    from_table = list(raw._cut_blocks(table))
    assert [len(block) for block in from_reader] == [len(block) for block in from_table]
    assert [block["x"].to_pylist() for block in from_reader] == [block["x"].to_pylist() for block in from_table]
    assert all(len(block) == 4 for block in from_reader[:-1])


@pytest.mark.usefixtures("_small_blocks")  # so that what is pending is pressed together many times
@pytest.mark.parametrize("seed", range(5))
def test_an_item_has_its_first_known_text_in_time_and_of_equal_times_that_of_the_first_row(seed):
    rng = np.random.default_rng(seed)
    item, when = rng.integers(encode.MISSING, 6, size=60), rng.integers(10, size=60)
    texts = [None if missing else f"text {row}" for row, missing in enumerate(rng.random(60) < 0.3)]
    first = FirstTexts()
    for start in range(0, 60, 7):
        part = slice(start, start + 7)
        first.add(item[part], when[part], pa.chunked_array([pa.array(texts[part], pa.large_string())]))
    expected = [None] * 8
    for row in sorted(range(60), key=lambda row: (when[row], row)):
        if texts[row] is not None and expected[item[row]] is None:
            expected[item[row]] = texts[row]
    assert first.of(8).to_pylist() == expected  # item -1, the missing one, is the last; item 6 was never seen
    assert expected[6] is None
