from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mtbench.data.batches import Batch, Ragged
from mtbench.nn import FeatureEmbedding
from mtbench.schema import DataSpec, Task

DATA = DataSpec(
    tasks=(Task(name="click"),),
    categorical={"user": 7, "item": 5},
    multi={"tags": 4, "words": 6},
    numeric=("age", "price", "stock"),
)


def ragged(lists: list[list[int]], dtype: torch.dtype = torch.int32) -> Ragged:
    offsets = torch.tensor([0, *(len(codes) for codes in lists)]).cumsum(0)
    return Ragged(torch.tensor([code for codes in lists for code in codes], dtype=dtype), offsets)


def batch_of(categorical: list[list[int]], tags: list[list[int]], words: list[list[int]]) -> Batch:
    rows = len(categorical)
    return Batch(
        rows=torch.arange(rows),
        categorical=torch.tensor(categorical, dtype=torch.int32).view(rows, 2),
        numeric=torch.randn(rows, 3),
        labels=torch.zeros(rows, 1),
        mask=torch.ones(rows, 1),
        multi={"tags": ragged(tags), "words": ragged(words)},
    )


def plain(embed: FeatureEmbedding, batch: Batch, copy: int) -> torch.Tensor:
    """One table per feature, one row at a time."""
    sizes = {**DATA.categorical, **DATA.multi}
    columns = slice(copy * embed.dim, (copy + 1) * embed.dim)
    tables = dict(zip(sizes, embed.table[:, columns].split(list(sizes.values())), strict=True))
    rows = []
    for i in range(len(batch)):
        parts = [tables[name][batch.categorical[i, c]] for c, name in enumerate(DATA.categorical)]
        for name in DATA.multi:
            values, offsets = batch.multi[name]
            vectors = tables[name][values[offsets[i] : offsets[i + 1]]]
            parts.append(vectors.mean(0) if len(vectors) else torch.zeros(embed.dim))
        rows.append(torch.cat([*parts, batch.numeric[i]]))
    return torch.stack(rows)


rows = st.tuples(
    st.tuples(st.integers(0, 6), st.integers(0, 4)).map(list),
    st.lists(st.integers(0, 3), max_size=4),
    st.lists(st.integers(0, 5), max_size=4),
)


@settings(deadline=None)
@given(rows=st.lists(rows, min_size=1, max_size=6), copies=st.sampled_from([1, 3]))
def test_equals_one_table_per_feature(rows, copies):
    embed = FeatureEmbedding(DATA, 4, copies)
    with torch.no_grad():
        embed.table.normal_()
    batch = batch_of(*map(list, zip(*rows, strict=True)))
    result = embed(batch)
    assert embed.width == 4 * 4 + 3
    expected = torch.stack([plain(embed, batch, copy) for copy in range(copies)])
    expected = expected[0] if copies == 1 else expected
    torch.testing.assert_close(result, expected)
    upstream = torch.randn_like(result)
    found, wanted = (torch.autograd.grad(each, embed.table, upstream)[0] for each in (result, expected))
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("copies", [1, 2])
def test_unknown_values_start_silent_and_known_ones_small(copies):
    torch.manual_seed(0)
    embed = FeatureEmbedding(DATA, 64, copies)
    unknown = embed(batch_of([[0, 0]], [[0]], [[0, 0]]))
    assert not unknown[..., : -len(DATA.numeric)].any()
    known = torch.ones(22, dtype=torch.bool)
    known[[0, 7, 12, 16]] = False
    torch.testing.assert_close(embed.table[known].std().item(), embed.STD, rtol=0.1, atol=0)


def test_unknown_values_are_trained_where_training_has_them():
    embed = FeatureEmbedding(DATA, 4)
    embed(batch_of([[0, 1]], [[]], [[]])).sum().backward()
    trained = embed.table.grad.any(1).nonzero().flatten().tolist()
    assert trained == [0, 8]


def test_copies_are_trained_apart():
    embed = FeatureEmbedding(DATA, 4, copies=2)
    embed(batch_of([[1, 1], [2, 3]], [[1], []], [[2, 2], [1]]))[1].sum().backward()
    assert not embed.table.grad[:, :4].any()
    assert embed.table.grad[:, 4:].any()


def test_numeric_features_alone_need_no_table():
    embed = FeatureEmbedding(DataSpec(DATA.tasks, numeric=("age", "price", "stock")), 4, copies=2)
    batch = batch_of([[0, 0]], [[]], [[]])
    assert not list(embed.parameters())
    assert torch.equal(embed(batch), batch.numeric.expand(2, 1, 3))
