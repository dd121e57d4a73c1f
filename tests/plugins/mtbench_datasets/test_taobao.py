from __future__ import annotations

import pandas as pd
import pytest

from mtbench.data.dataset import DatasetConfig
from mtbench.errors import MTBenchError
from mtbench_datasets.taobao import Taobao

FILE = "UserBehavior.csv"
LINES = [
    "1,2268318,2520377,pv,1511544070",
    "1,2268318,2520377,cart,1511544075",
    "100,1603476,2951233,buy,1511579908",
    "100,1603476,2951233,fav,1512316799",
]


def dataset():
    return Taobao(DatasetConfig())


def test_an_event_is_positive_for_its_own_behaviour_alone(placed, check_features):
    table = dataset().load(placed(dataset(), {FILE: LINES}))
    rows = table.to_pylist()
    assert [(r["favorite"], r["cart"], r["buy"]) for r in rows] == [(0, 0, 0), (0, 1, 0), (0, 0, 1), (1, 0, 0)]
    assert [r["user_id"] for r in rows] == [1, 1, 100, 100]
    assert (rows[0]["item_id"], rows[0]["category_id"], rows[0]["timestamp"]) == (2268318, 2520377, 1511544070)
    for r in rows:
        assert r["hour"] == pd.Timestamp(r["timestamp"], unit="s", tz="UTC").tz_convert("Asia/Shanghai").hour
    check_features(dataset(), table)


def test_events_outside_the_nine_days_are_dropped(placed):
    edges = {"2017-11-24 23:59:59": False, "2017-11-25": True, "2017-12-03 23:59:59": True, "2017-12-04": False}
    seconds = [int(pd.Timestamp(day, tz="Asia/Shanghai").timestamp()) for day in edges]
    files = placed(dataset(), {FILE: [*(f"{i},1,1,pv,{s}" for i, s in enumerate(seconds)), "9,1,1,pv,-2134949234"]})
    assert dataset().load(files)["user_id"].to_pylist() == [i for i, kept in enumerate(edges.values()) if kept]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1,2,3,pv", "Row #5: Expected 5 columns, got 4"),
        ("1,2,3,click,1511544070", "column 'behavior', row 5: found 'click', expected pv, fav, cart or buy"),
        ("1,2,3,pv,noon", "column 'timestamp', row 5: .*'noon'"),
        ("1,,3,pv,1511544070", "column 'item_id', row 5: found None, expected a value"),
    ],
)
def test_an_unexpected_file_is_refused(placed, line, message):
    with pytest.raises(MTBenchError, match=rf"{FILE}: (.*: )?{message}"):
        dataset().load(placed(dataset(), {FILE: [*LINES, line]}))


def test_a_header_is_no_event(placed):
    with pytest.raises(MTBenchError, match=r"column 'user_id', row 1: .*'user_id'"):
        dataset().load(placed(dataset(), {FILE: ["user_id,item_id,category_id,behavior,timestamp", *LINES]}))


def test_the_last_events_are_test(placed, prepared):
    behaviors = ("pv", "fav", "cart", "buy")
    events = [f"{i % 7},{i % 11},{i % 3},{behaviors[i % 4]},{1511544070 + 60 * i}" for i in range(400)]
    placed(dataset(), {FILE: events[::-1]})
    columns = prepared(dataset())
    assert columns.counts == {"train": 320, "valid": 40, "test": 40, "warmup": 0}
    assert set(columns.row_ids(columns.open_test())) == set(range(40))
    assert columns.positive_rates() == {"favorite": 0.25, "cart": 0.25, "buy": 0.25}
    assert set(columns.spec.categorical) == {"user_id", "item_id", "category_id", "hour"}
