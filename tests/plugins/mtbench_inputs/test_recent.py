from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mtbench.data.prepare import prepare
from mtbench.errors import MTBenchError
from mtbench.inputs.interactions import collect_rows
from mtbench.schema import Split
from mtbench.testing.inputs import TASKS, Generated, generate_table, give_input
from mtbench_datasets.kuairand_pure import KuaiRandPure
from mtbench_inputs.recent import Recent, RecentConfig


def plain_history(columns, length):
    """The last positives of each row's user, event by event."""
    rows, positive = collect_rows(columns), columns.positive()
    trained = columns.counts["train"]
    span = np.ptp(rows.time[:trained]) or 1
    histories = []
    for user, time, chunk in zip(rows.user, rows.time, rows.chunk, strict=True):
        seen = [
            (rows.chunk[e], rows.time[e], e)
            for e in range(trained)
            if rows.user[e] == user and rows.chunk[e] < chunk and positive[e].any()
        ]
        latest = [e for _, _, e in sorted(seen)[::-1][:length]]
        histories.append([(rows.item[e] + 1, positive[e].tolist(), (time - rows.time[e]) / span) for e in latest])
    return histories


@given(st.integers(0, 2**32 - 1), st.sampled_from(["time", "random", "random without time"]))
@settings(max_examples=60)
def test_recent_equals_a_plain_history(tmp_path_factory, seed, by):
    rng = np.random.default_rng(seed)
    table = generate_table(rng, int(rng.integers(40, 120)), 6, 8, timed=by != "random without time")
    try:
        columns = Generated(table).prepare(Split(by=by.split()[0]))
    except MTBenchError:
        assume(False)
    parts = give_input(Recent(RecentConfig(length=4)), columns, tmp_path_factory.mktemp("recent") / "input")
    for row, expected in enumerate(plain_history(columns, 4)):
        size = len(expected)
        assert parts["item_mask"][row].tolist() == [1] * size + [0] * (4 - size)
        assert parts["items"][row].tolist() == [item for item, _, _ in expected] + [0] * (4 - size)
        assert parts["item_marks"][row][:size].tolist() == [marks for _, marks, _ in expected]
        np.testing.assert_allclose(parts["item_gaps"][row][:size], [gap for _, _, gap in expected], atol=1e-6)
        assert not parts["item_marks"][row][size:].any()


@pytest.mark.parametrize("warmup", [0.0, 0.3])
@pytest.mark.parametrize("timed", [True, False])
def test_items_come_with_their_features_as_first_learned(tmp_path, timed, warmup):
    rng = np.random.default_rng(1)
    table = generate_table(rng, 150, 5, 60, timed=timed)
    table["shelf"] = rng.integers(6, size=150)  # an item's shelf changes
    columns = Generated(table).prepare(Split(by="time" if timed else "random"), warmup=warmup)
    rows, counts = collect_rows(columns), columns.counts
    input_ = Recent(RecentConfig(length=6, features=True))
    input_.build(*_made_from(columns), tmp_path)
    opened = input_.open(tmp_path)
    assert opened.spec.features == ("item", "shelf")  # not the user's
    names = list(columns.spec.categorical)
    codes = columns.everything().categorical[:, [names.index(name) for name in opened.spec.features]]
    trained = [*range(counts["train"]), *range(150 - counts["warmup"], 150)]
    expected = {}
    for row in sorted(trained, key=lambda row: (rows.chunk[row], rows.time[row])):
        expected.setdefault(rows.item[row] + 1, codes[row].tolist())
    taken = opened.take(torch.arange(150))
    assert taken.item_mask.any(1).float().mean() > 0.3
    for items, item_codes in zip(taken.items.tolist(), taken.item_codes.tolist(), strict=True):
        assert item_codes == [expected.get(item, [0, 0]) for item in items]
    unseen = set(range(1, opened.spec.items + 1)) - set(expected)
    assert unseen
    assert not opened.codes[[0, *unseen]].any()


def test_no_history_is_a_history_of_length_zero(tmp_path):
    columns = Generated(generate_table(np.random.default_rng(0), 150, 5, 8)).prepare(Split(by="time"))
    input_ = Recent(RecentConfig(length=0, features=True))
    input_.build(*_made_from(columns), tmp_path)
    taken = input_.open(tmp_path).take(torch.arange(9))
    assert taken.items.shape == (9, 0)
    assert taken.item_codes.shape == (9, 0, 2)


def test_a_pooled_history_is_the_list_and_the_counts(tmp_path):
    rng = np.random.default_rng(0)
    columns = prepare("generated", Generated(generate_table(rng, 150, 5, 8)), Split(by="time"), source="pooled")
    input_ = Recent(RecentConfig(length=6))
    input_.build(*_made_from(columns), tmp_path)
    opened = input_.open(tmp_path)
    rows = torch.arange(150)
    taken = opened.take(rows)
    lists, counts = opened.pool(taken)
    items = lists["recent items"]
    for row in range(150):
        mine = items.values[items.offsets[row] : items.offsets[row + 1]]
        assert mine.tolist() == taken.items[row][taken.item_mask[row] > 0].tolist()
        torch.testing.assert_close(counts[row].expm1(), taken.item_marks[row].sum(0))
    assert opened.features() == (
        {"recent items": opened.spec.items + 1},
        tuple(f"recent {t}" for t in range(len(TASKS))),
    )


def _made_from(columns):
    from mtbench.inputs.interactions import collect_interactions  # noqa: PLC0415

    return collect_interactions(columns), collect_rows(columns), columns


@pytest.mark.skipif("MTBENCH_DATA" not in os.environ, reason="MTBENCH_DATA is not set")
def test_kuairand_brings_its_earlier_events(tmp_path):
    dataset = KuaiRandPure(KuaiRandPure.Config())
    assert Path(os.environ["MTBENCH_DATA"]).is_dir()
    columns = prepare("kuairand-pure", dataset, dataset.split, source="recent")
    early_user, _, positive = columns.earlier_events()
    assert len(early_user) > 300_000
    assert positive.any(1).all()
    parts = give_input(Recent(RecentConfig(length=20)), columns, tmp_path / "input")
    first = collect_rows(columns).chunk == 0
    assert parts["item_mask"][first].any(1).mean() > 0.5  # even rows of the first chunk have a history
