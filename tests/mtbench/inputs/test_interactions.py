from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from mtbench.errors import MTBenchError
from mtbench.inputs.interactions import EARLIER, collect_interactions, collect_rows
from mtbench.schema import Schema, Split
from mtbench.testing.inputs import TASKS, Generated, InMemory, generate_table

SPLIT = Split(by="time", valid=0.15, test=0.15)


@pytest.fixture(scope="module")
def table():
    return generate_table(np.random.default_rng(4), 300, 12, 8)


def listed(events):
    """What each event says of itself, in the order of the events."""
    return list(
        zip(events.chunk.tolist(), events.row.tolist(), events.user.tolist(), events.item.tolist(),
            map(tuple, events.positive.tolist()), strict=True)
    )  # fmt: skip


@pytest.mark.parametrize("warmup", [0.0, 0.3])
def test_events_are_the_positives_outside_the_parts_that_are_judged_by_chunk_and_time(table, warmup):
    columns = Generated(table).prepare(SPLIT, warmup=warmup)
    rows, events = collect_rows(columns), collect_interactions(columns)
    counts, positive = columns.counts, columns.positive()
    judged = range(counts["train"], counts["train"] + counts["valid"] + counts["test"])
    visible = [row for row in range(len(rows.user)) if row not in judged and positive[row].any()]
    visible.sort(key=lambda row: (rows.chunk[row], rows.time[row], row))
    assert listed(events) == [
        (int(rows.chunk[row]), row, int(rows.user[row]), int(rows.item[row]), tuple(positive[row].tolist()))
        for row in visible
    ]
    assert counts["warmup"] == (0 if warmup == 0 else pytest.approx(0.3 * (300 - len(judged)), abs=10))
    assert (events.users, events.items) == (12, 8)


def test_a_row_may_see_the_events_of_earlier_chunks(table):
    columns = Generated(table).prepare(SPLIT)
    events = collect_interactions(columns)
    for chunk in range(events.chunks + 1):
        assert events.count_seen(chunk) == sum(one < chunk for one in events.chunk)
    assert events.count_seen(0) == 0
    assert (
        0 < events.count_seen(1) < events.count_seen(events.chunks - 1) == len(events)
    )  # no event is of the last chunk
    assert events.chunks - 1 == collect_rows(columns).chunk.max()


def test_events_before_the_first_row_come_first_in_their_order(table):
    earlier = pa.table({"user": [3, 50, 3], "item": [7, 2, 60], "click": [1, 0, None], "buy": [0, 1, 1]})
    dataset = Generated(table)
    events = collect_interactions(InMemory(dataset.table, dataset.schema(), earlier).prepare(SPLIT))
    without = collect_interactions(dataset.prepare(SPLIT))
    assert events.chunk[:3].tolist() == [EARLIER] * 3
    assert events.row[:3].tolist() == [-1] * 3
    assert events.positive[:3].tolist() == [[True, False], [False, True], [False, True]]
    assert (np.diff(events.time[:4]) > 0).all()
    assert events.user[0] == events.user[2] != events.user[1]
    assert events.count_seen(0) == 3
    assert listed(events)[3:] == listed(without)
    assert events.users == without.users + 1  # user 50 is new
    assert events.items == without.items + 1


def test_a_dataset_without_users_has_no_events():
    frame = pd.DataFrame({"x": np.arange(200) % 7, "time": np.arange(200), "click": np.arange(200) % 2})
    columns = InMemory(frame, Schema(tasks=TASKS[:1], features=("x",), time="time")).prepare(SPLIT)
    with pytest.raises(MTBenchError, match="'in-memory' has no users"):
        collect_interactions(columns)
