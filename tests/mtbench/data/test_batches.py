from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mtbench.data.batches import Ragged
from mtbench.data.rows import Batches, SplitRows

rows_of_lists = st.lists(st.lists(st.integers(0, 9), max_size=4), max_size=12)


def ragged(lists, dtype=torch.int64, *, before=()):
    """Lists as a slice of a longer column, as parts of the prepared data are."""
    values = [*before, *(value for values in lists for value in values)]
    ends = torch.tensor([0, *(len(values) for values in lists)]).cumsum(0) + len(before)
    return Ragged(torch.tensor(values, dtype=torch.int32), ends.to(dtype))


def plain(lists):
    bounds = lists.offsets.tolist()
    return [lists.values[start:end].tolist() for start, end in pairwise(bounds)]


@given(
    rows_of_lists, st.data(), st.sampled_from([torch.int32, torch.int64]), st.sampled_from([torch.int32, torch.int64])
)
def test_taking_lists_equals_plain_python(lists, data, offsets, index):
    rows = data.draw(st.lists(st.integers(0, len(lists) - 1)) if lists else st.just([]))
    column = ragged(lists, offsets, before=[7, 7, 7])
    taken = column.take(torch.tensor(rows, dtype=index))
    assert plain(taken) == [lists[row] for row in rows]
    assert taken.offsets[0] == 0
    assert taken.offsets.dtype == offsets
    assert taken.values.dtype == torch.int32


def rows_of(size):
    rows = torch.arange(size)
    lists = [[row] * (row % 3) for row in range(size)]
    return SplitRows(
        rows=rows + 100,
        categorical=torch.stack([rows, rows * 2], 1).int(),
        numeric=rows.float().unsqueeze(1) / 2,
        labels=(rows % 2).float().unsqueeze(1),
        mask=(rows % 3 > 0).float().unsqueeze(1),
        multi={"tags": ragged(lists)},
    )


def assert_aligned(found):
    """Every column holds what the rows of ``rows_of`` have."""
    rows = found.rows - 100
    torch.testing.assert_close(found.categorical, torch.stack([rows, rows * 2], 1).int())
    torch.testing.assert_close(found.numeric, rows.float().unsqueeze(1) / 2)
    torch.testing.assert_close(found.labels, (rows % 2).float().unsqueeze(1))
    torch.testing.assert_close(found.mask, (rows % 3 > 0).float().unsqueeze(1))
    assert plain(found.multi["tags"]) == [[row] * (row % 3) for row in rows.tolist()]


sizes = {"size": st.integers(0, 40), "batch_size": st.integers(1, 12), "world": st.integers(1, 4)}


@given(**sizes)
def test_in_order_every_row_comes_once_over_all_processes(size, batch_size, world):
    ranks = [Batches(rows_of(size), batch_size, rank=rank, world=world) for rank in range(world)]
    steps = list(zip(*ranks, strict=True))
    assert [len(each) for each in ranks] == [len(steps)] * world
    for step, parts in enumerate(steps):
        start = step * batch_size
        together = sorted(row for part in parts for row in part.rows.tolist())
        assert together == list(range(100 + start, 100 + min(start + batch_size, size)))
        for part in parts:
            assert_aligned(part)
    assert len(steps) == -(-size // batch_size)


@given(**sizes, seed=st.integers(0, 2**63 - 1))
def test_shuffled_every_process_has_rows_in_every_step(size, batch_size, world, seed):
    batch_size = max(batch_size, world)
    ranks = [Batches(rows_of(size), batch_size, shuffle=seed, rank=rank, world=world) for rank in range(world)]
    steps = list(zip(*ranks, strict=True))
    assert [len(each) for each in ranks] == [len(steps)] * world
    seen = [row for parts in steps for part in parts for row in part.rows.tolist()]
    assert len(set(seen)) == len(seen)
    left_out = size - len(seen)
    assert left_out == (size % batch_size if size % batch_size < world else 0)
    for parts in steps:
        assert all(len(part) for part in parts)
        assert max(map(len, parts)) - min(map(len, parts)) <= 1
        for part in parts:
            assert_aligned(part)


@given(size=st.integers(1, 40), batch_size=st.integers(4, 12), world=st.integers(2, 4))
def test_processes_together_take_the_steps_of_one(size, batch_size, world):
    alone = list(Batches(rows_of(size), batch_size, shuffle=3))
    ranks = [Batches(rows_of(size), batch_size, shuffle=3, rank=rank, world=world) for rank in range(world)]
    for one, parts in zip(alone, zip(*ranks, strict=True), strict=False):
        together = torch.empty_like(one.rows)
        for rank, part in enumerate(parts):
            together[rank::world] = part.rows
        assert together.tolist() == one.rows.tolist()


def test_the_order_follows_the_seed():
    orders = [torch.cat([part.rows for part in Batches(rows_of(50), 7, shuffle=seed)]).tolist() for seed in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == sorted(orders[2]) == list(range(100, 150))
    assert orders[0] != sorted(orders[0])


@given(st.integers(1, 400), st.integers(1, 50), st.integers(64, 200), st.integers(0, 9))
def test_a_long_table_is_shuffled_by_blocks(size, batch_size, together, seed):
    found = Batches(rows_of(size), batch_size, shuffle=seed, together=together)
    order = torch.cat([part.rows for part in found]) - 100
    assert sorted(order.tolist()) == list(range(size))
    assert [len(part) for part in found] == [len(part) for part in Batches(rows_of(size), batch_size)]
    block = together // 64
    if size > together and size % block == 0:
        for start in range(0, size, 64 * block):  # each group is made of whole blocks
            assert len((order[start : start + 64 * block] // block).unique()) <= 64


def test_blocks_of_a_long_table_come_in_a_random_order_and_are_mixed():
    order = torch.cat([part.rows for part in Batches(rows_of(64_000), 1000, shuffle=0, together=6400)]) - 100
    first = order[:6400]
    assert first.float().mean() == pytest.approx(32_000, abs=9000)
    assert len((first[:640] // 100).unique()) > 55, "the first rows come from nearly all of the 64 blocks"


def test_a_batch_moves_whole():
    for moved in (rows_of(5).to("meta"), rows_of(5).whole().to("meta")):
        for tensor in (moved.rows, moved.categorical, moved.numeric, moved.labels, moved.mask, *moved.multi["tags"]):
            assert tensor.device.type == "meta"
    assert_aligned(rows_of(5).whole().to("cpu", non_blocking=True))


@given(rows=st.lists(st.integers(0, 8)), again=st.data())
def test_rows_of_a_batch_are_those_of_its_split(rows, again):
    batch = rows_of(9).take(torch.tensor(rows, dtype=torch.int64))
    assert batch.rows.tolist() == [100 + row for row in rows]
    assert_aligned(batch)
    at = again.draw(st.lists(st.integers(0, len(rows) - 1)) if rows else st.just([]))
    taken = batch.take(torch.tensor(at, dtype=torch.int64))
    assert taken.rows.tolist() == [100 + rows[each] for each in at]
    assert_aligned(taken)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_batches_are_cut_on_the_device_where_the_rows_are():
    on_device = list(Batches(rows_of(30).to("cuda"), 7, shuffle=1))
    for found, expected in zip(on_device, Batches(rows_of(30), 7, shuffle=1), strict=True):
        assert found.rows.device.type == "cuda"
        assert found.rows.tolist() == expected.rows.tolist()
        assert_aligned(found.to("cpu"))
