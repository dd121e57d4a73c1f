from __future__ import annotations

import os
import pickle

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mtbench.data.prepare import prepare
from mtbench.errors import MTBenchError
from mtbench.inputs.interactions import collect_interactions, collect_rows
from mtbench.schema import Split
from mtbench.testing.inputs import TASKS, Generated, generate_table
from mtbench_datasets.kuairand_pure import KuaiRandPure
from mtbench_inputs.full_graph import FullGraph, FullGraphConfig, FullGraphInput

USERS, ITEMS, WIDTH, LAYERS = 9, 7, 4, 2
ROUNDING = {"atol": 1e-12, "rtol": 1e-12}


def made(columns, folder, **config):
    """Build the input of these columns without the cache."""
    folder.mkdir(parents=True, exist_ok=True)
    input_ = FullGraph(FullGraphConfig(**config))
    input_.build(collect_interactions(columns), collect_rows(columns), columns, folder)
    return input_.open(folder)


def prepared(table, *, timed, warmup=0.0):
    split = Split(by="time" if timed else "random", valid=0.15, test=0.15)
    try:
        return prepare("generated", Generated(table), split, source=str(table.to_csv()), warmup=warmup)
    except MTBenchError:
        assume(False)


def with_flipped(table, columns, rows):
    """Return the table with the labels of these prepared rows the other way round."""
    raw = columns.row_ids(columns.everything())[rows]
    flipped = table.copy()
    for task in TASKS:
        flipped.loc[raw, task] = 1 - flipped.loc[raw, task]
    return flipped


def vectors(opened, seed, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(count, WIDTH, generator=generator, dtype=dtype).requires_grad_()
        for count in (opened.spec.users, opened.spec.items)
    ]


def plain_lightgcn(columns, batch, x_users, x_items):
    """LightGCN by its definition, over the visible positives that are not of the batch, on a dense matrix."""
    counts, rows, positive = columns.counts, collect_rows(columns), columns.positive()
    held_out = range(counts["train"], counts["train"] + counts["valid"] + counts["test"])
    users, items = len(x_users), len(x_items)
    whole = torch.zeros(users + items, users + items, dtype=x_users.dtype)
    for row, (user, item) in enumerate(zip(rows.user, rows.item, strict=True)):
        if row not in held_out and row not in batch:
            whole[user, users + item] += int(positive[row].sum())
            whole[users + item, user] += int(positive[row].sum())
    scale = whole.sum(1).pow(-0.5)
    scale[torch.isinf(scale)] = 0
    whole = scale[:, None] * whole * scale
    layer = total = torch.cat([x_users, x_items])
    for _ in range(LAYERS):
        layer = whole @ layer
        total = total + layer
    return (total / (LAYERS + 1)).split([users, items])


cases = given(st.integers(0, 2**32 - 1), st.booleans(), st.sampled_from([0.0, 0.3]))


@cases
@settings(max_examples=60)
def test_propagation_equals_dense_lightgcn_without_the_batch_s_edges(tmp_path_factory, seed, timed, warmup):
    rng = np.random.default_rng(seed)
    columns = prepared(
        generate_table(rng, int(rng.integers(40, 150)), USERS, ITEMS, timed=timed), timed=timed, warmup=warmup
    )
    opened = made(columns, tmp_path_factory.mktemp("graph"))
    batch = torch.from_numpy(rng.permutation(columns.counts["train"])[: rng.integers(0, 30)])
    outcomes = []
    for function in (
        lambda *x: opened.spec.graph.propagate(*x, opened.take(batch), LAYERS),
        lambda *x: plain_lightgcn(columns, set(batch.tolist()), *x),
    ):
        x = vectors(opened, seed)
        users, items = function(*x)
        (users.pow(2).sum() + items.pow(3).sum()).backward()
        outcomes.append((users, items, *(part.grad for part in x)))
    for mine, expected in zip(*outcomes, strict=True):
        torch.testing.assert_close(mine, expected, atol=1e-5, rtol=1e-5)


def seen(opened, seed, rows, taken):
    """Return what rows are given by propagation: their users' and items' vectors, in double precision.

    Sums over a matrix with other zeros are taken in another order, so they are equal up to rounding.
    """
    users, items = opened.spec.graph.propagate(*vectors(opened, seed, torch.float64), taken, LAYERS)
    return torch.cat([users[opened.rows.users[rows]], items[opened.rows.items[rows]]], 1)


def law_case(tmp_path_factory, seed, timed, warmup, choose):
    """Return the input before and after the labels of the chosen rows were flipped, and those rows."""
    rng = np.random.default_rng(seed)
    table = generate_table(rng, int(rng.integers(40, 200)), USERS, ITEMS, timed=timed)
    columns = prepared(table, timed=timed, warmup=warmup)
    folder = tmp_path_factory.mktemp("law")
    before = made(columns, folder / "before")
    rows = torch.from_numpy(choose(rng, columns, before))
    after = made(prepared(with_flipped(table, columns, rows.numpy()), timed=timed, warmup=warmup), folder / "after")
    return before, after, rows


def some_training_rows(rng, columns, _):
    return rng.permutation(columns.counts["train"])[: rng.integers(1, 12)]


@cases
@settings(max_examples=500)
def test_a_batch_sees_none_of_its_own_labels(tmp_path_factory, seed, timed, warmup):
    before, after, rows = law_case(tmp_path_factory, seed, timed, warmup, some_training_rows)
    first, second = (seen(opened, seed, rows, opened.take(rows)) for opened in (before, after))
    torch.testing.assert_close(first, second, **ROUNDING)


def a_training_row_with_equal_labels(rng, columns, _):
    """Choose a row that is a positive of both tasks or of none: flipped, its edge comes or goes."""
    both = columns.positive()[: columns.counts["train"]].sum(1)
    return rng.choice(np.flatnonzero(both != 1), 1)


def test_the_law_catches_a_graph_that_keeps_the_batch_s_edges(tmp_path_factory):
    for seed in range(50):
        timed = seed % 2 == 0
        before, after, rows = law_case(tmp_path_factory, seed, timed, 0.0, a_training_row_with_equal_labels)
        nobody = FullGraphInput(*(part[:0] for part in before.rows))
        first, second = (seen(opened, seed, rows, nobody) for opened in (before, after))
        assert not torch.allclose(first, second, **ROUNDING)


def held_out_rows(_, columns, __):
    counts = columns.counts
    return np.arange(counts["train"], counts["train"] + counts["valid"] + counts["test"])


@cases
@settings(max_examples=100)
def test_nobody_sees_validation_or_test_labels(tmp_path_factory, seed, timed, warmup):
    before, after, rows = law_case(tmp_path_factory, seed, timed, warmup, held_out_rows)
    for mine, other in zip(before.rows, after.rows, strict=True):
        assert torch.equal(mine, other)
    assert (before.rows.edges[rows] == -1).all()
    everyone = torch.arange(len(before.rows.users))
    for chosen in (everyone, rows):
        first, second = (seen(opened, seed, everyone, opened.take(chosen)) for opened in (before, after))
        assert torch.equal(first, second)
    first, second = (opened.pool(opened.take(everyone))[1] for opened in (before, after))
    assert torch.equal(first, second)


@cases
@settings(max_examples=200)
def test_feature_models_see_no_label_of_a_row_s_own_part(tmp_path_factory, seed, timed, warmup):
    def rows_of_one_part(rng, _, opened):
        return np.flatnonzero(opened.rows.folds == int(rng.integers(5)))

    before, after, rows = law_case(tmp_path_factory, seed, timed, warmup, rows_of_one_part)
    first, second = (opened.pool(opened.take(rows))[1] for opened in (before, after))
    torch.testing.assert_close(first, second, atol=1e-6, rtol=1e-6)


def test_pooled_numbers_are_the_propagated_vectors_of_the_other_parts(tmp_path):
    columns = prepare(
        "generated", Generated(generate_table(np.random.default_rng(3), 150, USERS, ITEMS)), Split(by="time"), source=""
    )
    opened = made(columns, tmp_path, width=3, folds=4, seed=7)
    events, everyone = collect_interactions(columns), torch.arange(150)
    numbers = opened.pool(opened.take(everyone))[1]
    assert numbers.shape == (150, len(opened.features()[1])) == (150, 7)
    drawn = [np.random.default_rng((7, side)).standard_normal((count, 3)) for side, count in enumerate((USERS, ITEMS))]
    x = torch.from_numpy(np.concatenate(drawn))
    for fold in range(4):
        other = opened.rows.folds[events.row].numpy() != fold
        whole = np.zeros((USERS + ITEMS, USERS + ITEMS))
        np.add.at(whole, (events.user[other], USERS + events.item[other]), events.positive[other].sum(1))
        whole += whole.T
        scale = np.maximum(whole.sum(1), 1) ** -0.5
        whole = torch.from_numpy(scale[:, None] * whole * scale)
        users, items = (whole @ x + whole @ whole @ x).split([USERS, ITEMS])
        users, items = (side / side[side.any(1)].square().mean().sqrt() for side in (users, items))
        at = opened.rows.folds == fold
        mine = users[opened.rows.users[at]], items[opened.rows.items[at]]
        expected = torch.cat([*mine, (mine[0] * mine[1]).mean(1, keepdim=True)], 1).float()
        torch.testing.assert_close(numbers[at], expected, atol=1e-5, rtol=1e-5)


def test_a_pickled_input_gives_the_same(tmp_path):
    columns = prepare(
        "generated", Generated(generate_table(np.random.default_rng(5), 150, USERS, ITEMS)), Split(by="time"), source=""
    )
    opened = made(columns, tmp_path)
    again = pickle.loads(pickle.dumps(opened)).to("cpu")  # noqa: S301
    rows = torch.arange(0, 80, 3)
    assert torch.equal(seen(opened, 0, rows, opened.take(rows)), seen(again, 0, rows, again.take(rows)))
    assert torch.equal(opened.pool(opened.take(rows))[1], again.pool(again.take(rows))[1])
    assert again.spec[:4] == opened.spec[:4] == (USERS, ITEMS, len(TASKS), len(set(_pairs(columns))))


def _pairs(columns):
    events = collect_interactions(columns)
    return zip(events.user.tolist(), events.item.tolist(), strict=True)


def test_a_table_without_positives_to_see_gives_zeros(tmp_path):
    table = generate_table(np.random.default_rng(0), 60, USERS, ITEMS)
    columns = prepare("generated", Generated(table), Split(by="time"), source="")
    events = collect_interactions(columns)
    none = type(events)(
        **{name: value[:0] if isinstance(value, np.ndarray) else value for name, value in vars(events).items()}
    )
    input_ = FullGraph(FullGraphConfig())
    input_.build(none, collect_rows(columns), columns, tmp_path)
    opened = input_.open(tmp_path)
    assert not opened.pool(opened.take(torch.arange(60)))[1].any()
    x_users, x_items = vectors(opened, 0)
    users, items = opened.spec.graph.propagate(x_users, x_items, opened.take(torch.arange(60)), LAYERS)
    torch.testing.assert_close(users, x_users / (LAYERS + 1))
    torch.testing.assert_close(items, x_items / (LAYERS + 1))


@pytest.mark.skipif("MTBENCH_DATA" not in os.environ, reason="MTBENCH_DATA is not set")
def test_kuairand_propagates_as_scipy_does(tmp_path):
    dataset = KuaiRandPure(KuaiRandPure.Config())
    columns = prepare("kuairand-pure", dataset, dataset.split, source="full-graph")
    opened = made(columns, tmp_path)
    events, spec = collect_interactions(columns), opened.spec
    batch = torch.from_numpy(np.random.default_rng(0).permutation(columns.counts["train"])[:2048])
    other = ~np.isin(events.row, batch.numpy())
    ends = events.user[other], spec.users + events.item[other]
    whole = sp.coo_array((events.positive[other].sum(1).astype(float), ends), shape=(spec.users + spec.items,) * 2)
    whole = (whole + whole.T).tocsr()
    degrees = whole.sum(1)
    scale = sp.diags_array(np.where(degrees > 0, np.maximum(degrees, 1) ** -0.5, 0))
    x = torch.cat(vectors(opened, 0)).detach()
    first = scale @ (whole @ (scale @ x.double().numpy()))
    expected = (x.numpy() + first + scale @ (whole @ (scale @ first))) / 3
    mine = torch.cat(opened.spec.graph.propagate(*x.split([spec.users, spec.items]), opened.take(batch), LAYERS))
    np.testing.assert_allclose(mine.numpy(), expected, atol=1e-5)
