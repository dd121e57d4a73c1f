from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from mtbench.data import scratch
from mtbench.data.scratch import ArrayFile, Scratch, blocks, read_ahead


@pytest.mark.parametrize("rows", [0, 1, 4, 5, 9])
def test_blocks_are_all_rows_once_in_order(monkeypatch, rows):
    monkeypatch.setattr(scratch, "BLOCK", 4)
    slices = list(blocks(rows))
    assert [row for part in slices for row in range(part.start, part.stop)] == list(range(rows))
    assert all(part.stop - part.start <= 4 for part in slices)


def test_arrays_grow_by_pieces_and_are_read_at_any_place(tmp_path):
    rng = np.random.default_rng(0)
    pieces = {
        "codes": [rng.integers(9, size=size).astype(np.int32) for size in (3, 0, 4)],
        "a/b labels": [rng.normal(size=(size, 2)) for size in (3, 2, 2)],
    }
    made = Scratch(tmp_path / "scratch")
    for at in range(3):
        for name, of_name in pieces.items():
            made.append(name, of_name[at])
    for name, of_name in pieces.items():
        whole = np.concatenate(of_name)
        for part in (slice(0, 7), slice(2, 6), slice(5, 5)):
            read = made.read(name, part)
            assert read.dtype == whole.dtype
            np.testing.assert_array_equal(read, whole[part])
    made.close()


@pytest.mark.parametrize("shape", [(7,), (7, 3), (7, 0), (0, 2)])
def test_a_file_written_in_pieces_is_the_one_that_numpy_writes(tmp_path, shape):
    array = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    file = ArrayFile(tmp_path / "ours.npy", shape, np.float32)
    for start, stop in ((5, 7), (0, 2), (2, 5)):
        file.write(start, array[start:stop].astype(np.float64))  # cast to the type of the file
    file.close()
    np.save(tmp_path / "theirs.npy", array)
    np.testing.assert_array_equal(np.load(tmp_path / "ours.npy"), array)
    assert (tmp_path / "ours.npy").read_bytes() == (tmp_path / "theirs.npy").read_bytes()


def test_the_next_item_is_made_while_one_is_in_use_and_not_the_one_after_it():
    made = []

    def items():
        for number in range(4):
            made.append(number)
            yield number

    with ThreadPoolExecutor(1) as pool:
        seen = []
        for item in read_ahead(items(), pool):
            pool.submit(int).result()  # the pool has one thread: what was coming is made
            seen.append((item, list(made)))
    assert seen == [(0, [0, 1]), (1, [0, 1, 2]), (2, [0, 1, 2, 3]), (3, [0, 1, 2, 3])]


def test_an_error_of_making_an_item_is_raised_where_items_are_used():
    def items():
        yield 1
        raise ValueError("broken row")

    with ThreadPoolExecutor(1) as pool, pytest.raises(ValueError, match="broken row"):
        list(read_ahead(items(), pool))
