"""Times keep their order and their differences, whatever they are written as, from the file to the history."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from mtbench.data.prepare import prepare
from mtbench.errors import MTBenchError
from mtbench.inputs.interactions import collect_interactions, collect_rows
from mtbench.schema import Schema, Split
from mtbench.testing.inputs import Generated, InMemory, generate_table
from mtbench_datasets.table import Table, TableConfig
from mtbench_inputs.recent import Recent, RecentConfig

ROWS = 400
NOW = 1_700_000_000 * 10**9  # nanoseconds since 1970


def as_timestamps(unit, zone=None):
    return lambda numbers: pa.array(numbers, pa.timestamp(unit, zone))


def as_instants(numbers):
    return [pd.Timestamp(number, unit="ns").isoformat() + "Z" for number in numbers]


def as_decimals(numbers):
    return [Decimal(number).scaleb(-9) for number in numbers]


FORMS = {
    "integers": (NOW, list),
    "integers beyond 2^53": (2**62, list),
    "the least integers": (-(2**63), list),
    "negative integers": (-5 * 10**17, list),
    "unsigned integers": (2**62, lambda numbers: pa.array(numbers, pa.uint64())),
    "nanoseconds": (NOW, as_timestamps("ns")),
    "nanoseconds before 1970": (-NOW, as_timestamps("ns")),
    "nanoseconds somewhere": (NOW, as_timestamps("ns", "Asia/Kathmandu")),
    "microseconds": (NOW // 1000, as_timestamps("us", "UTC")),
    "decimals": (NOW, lambda numbers: pa.array(as_decimals(numbers), pa.decimal128(38, 9))),
    "wide decimals": (NOW, lambda numbers: pa.array(as_decimals(numbers), pa.decimal128(38, 18))),
    "whole decimals": (2**62, lambda numbers: pa.array([Decimal(number) for number in numbers], pa.decimal128(38, 0))),
    "fractions": (-100, lambda numbers: [number / 7 for number in numbers]),
    "days": (0, lambda numbers: pa.array(numbers, pa.int32()).cast(pa.date32())),
    "text of integers": (2**62, lambda numbers: [str(number) for number in numbers]),
    "text of decimals": (NOW, lambda numbers: [str(number) for number in as_decimals(numbers)]),
    "text of instants": (NOW, as_instants),
}


def make_table(first, step=3):
    """Return rows in no order, their ranks in time being exact, and equal times among them if ``step`` is 0."""
    rng = np.random.default_rng(2)
    ranks = rng.permutation(ROWS) if step else rng.integers(20, size=ROWS)
    apart = np.cumsum(rng.integers(1, step + 1, size=ROWS)) if step else np.arange(ROWS)
    table = generate_table(rng, ROWS, 6, 8, timed=False)
    return table, ranks, [first + int(apart[rank]) for rank in ranks]


def prepare_file(table, numbers, form, suffix, folder):
    rows = pa.Table.from_pandas(table, preserve_index=False)
    rows = rows.append_column("time", form(numbers) if isinstance(form(numbers), pa.Array) else pa.array(form(numbers)))
    path = folder / f"visits.{suffix}"
    if suffix == "csv":
        rows.to_pandas().to_csv(path, index=False)
    else:
        pq.write_table(rows, path)
    config = TableConfig(path=path, tasks=("click", "buy"), features=("club",), user="user", item="item", time="time")
    return prepare("table", Table(config), Split(by="time"), source="exact times")


@pytest.mark.parametrize("form", FORMS)
def test_events_come_in_the_order_of_their_times(tmp_path, form):
    first, write = FORMS[form]
    table, ranks, numbers = make_table(first)
    suffix = "csv" if form.startswith("text") else "parquet"
    columns = prepare_file(table, numbers, write, suffix, tmp_path)
    raw = columns.row_ids(columns.everything())
    events = collect_interactions(columns)
    assert len(events) > 200
    assert (np.diff(ranks[raw[events.row]]) > 0).all()
    assert set(ranks[raw[-columns.counts["test"] :]]) == set(range(ROWS - 40, ROWS))
    input_ = Recent(RecentConfig(length=4))
    input_.build(events, collect_rows(columns), columns, tmp_path)
    taken = input_.open(tmp_path).take(torch.arange(ROWS))
    learned = [numbers[row] for row in raw[: columns.counts["train"]]]
    span, user, chunk = max(learned) - min(learned), columns.identity("user"), columns.chunk()
    for row in range(ROWS):
        seen = np.flatnonzero((events.chunk < chunk[row]) & (events.user == user[row]))[::-1][:4]
        gaps = [(numbers[raw[row]] - numbers[raw[events.row[event]]]) / span for event in seen]
        np.testing.assert_allclose(taken.item_gaps[row][: len(gaps)], gaps, rtol=1e-5, atol=1e-9)
        assert taken.item_mask[row].sum() == len(gaps)


@pytest.mark.parametrize("form", ["integers", "nanoseconds", "text of instants", "fractions"])
def test_of_equal_times_the_later_row_of_the_file_is_the_later_event(tmp_path, form):
    first, write = FORMS[form]
    table, ranks, numbers = make_table(first, step=0)
    columns = prepare_file(table, numbers, write, "csv" if form.startswith("text") else "parquet", tmp_path)
    raw = columns.row_ids(columns.everything())[collect_interactions(columns).row]
    assert len(set(ranks[raw])) < len(raw) / 5
    assert raw.tolist() == sorted(raw, key=lambda row: (ranks[row], row))


@pytest.mark.parametrize(
    "ends",
    [(-(2**63), 2**63 - 1), (-1.7e308, 1.7e308), (0.0, 5e-324), (-1e-300, 1e300)],
    ids=str,
)
def test_the_farthest_times_make_no_gap_that_is_negative_or_no_number(tmp_path, ends):
    low, high = ends
    half = [low + number if isinstance(low, int) else low for number in range(100)]
    times = np.array(half + [high - number if isinstance(low, int) else high for number in range(100)][::-1])
    times[[50, 150]] = 0
    earlier = pa.table({"user": [1] * 5, "item": [1] * 5, "click": [1] * 5})
    table = generate_table(np.random.default_rng(0), 200, 5, 6, timed=False).assign(time=times)
    columns = InMemory(table, Generated(table).schema(), earlier).prepare(Split(by="random"))
    events, rows = collect_interactions(columns), collect_rows(columns)
    assert (np.diff(events.time[events.row < 0].astype(float)) >= 0).all()
    input_ = Recent(RecentConfig(length=9, item_length=9))
    input_.build(events, rows, columns, tmp_path)
    taken = input_.open(tmp_path).take(torch.arange(200))
    for gaps in (taken.item_gaps, taken.user_gaps):
        assert gaps.isfinite().all()
        assert ((gaps >= 0) & (gaps <= 10)).all()
    assert taken.item_mask.sum() > 100


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (pa.array([1] * 99 + [2**63], pa.uint64()), "column 'time', row 100: is too large a time"),
        (pa.array([Decimal(1)] * 99 + [Decimal(2**63)], pa.decimal128(38, 0)), "row 100: is too large a time"),
        (pa.array([Decimal(1)] * 99 + [Decimal("1e-12")], pa.decimal128(38, 12)), "more than 9 decimals"),
        (pa.array([1.0] * 99 + [float("inf")]), "row 100: the time is infinite"),
    ],
    ids=["unsigned", "decimal", "decimals", "infinite"],
)
def test_a_time_that_cannot_be_kept_is_refused(times, message):
    table = pa.Table.from_pandas(generate_table(np.random.default_rng(0), 100, 5, 6, timed=False))
    schema = Schema(tasks=("click",), features=("club",), user="user", item="item", time="time")
    with pytest.raises(MTBenchError, match=message):
        InMemory(table.append_column("time", times), schema).prepare(Split(by="time"))
