from __future__ import annotations

import pytest

from mtbench.errors import MTBenchError
from mtbench_datasets.tenrec import Tenrec, TenrecConfig

FILE = "QK-video.csv"
HEADER = "user_id,item_id,click,follow,like,share,video_category,watching_times,gender,age"
LINES = [HEADER, "1,4,0,0,0,0,1,0,1,4", "1,1201,1,0,1,0,\\N,2,1,4", "2,4,1,1,0,1,0,1,2,0"]


def dataset(**settings):
    return Tenrec(TenrecConfig(**settings))


def test_cells_arrive_under_their_names(placed, check_features):
    table = dataset().load(placed(dataset(), {FILE: LINES}))
    rows = table.to_pylist()
    labels = [(r["click"], r["like"], r["share"], r["follow"]) for r in rows]
    assert labels == [(0, 0, 0, 0), (1, 1, 0, 0), (1, 0, 1, 1)]
    assert [(r["user_id"], r["item_id"]) for r in rows] == [(1, 4), (1, 1201), (2, 4)]
    assert [r["video_category"] for r in rows] == ["1", None, "0"]
    assert [(r["gender"], r["age"], r["watching_times"]) for r in rows] == [("1", "4", 0), ("1", "4", 2), ("2", "0", 1)]
    check_features(dataset(), table)


def test_each_scenario_has_its_file():
    assert [source.mirror for source in dataset(scenario="QB-video").sources()] == ["Tenrec/QB-video.csv"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([HEADER.replace("follow,", ""), "1,4,0,0,0,1,0,1,4"], "row 1: there is no column follow; found user_id"),
        ([*LINES, "1,4,0,0,0,0,1,0,1"], "Row #5: Expected 10 columns, got 9"),
        ([*LINES, "1,4,7,0,0,0,1,0,1,4"], "column 'click', row 5: found 7, expected 0 or 1"),
        ([*LINES, "1,\\N,0,0,0,0,1,0,1,4"], "column 'item_id', row 5: found None, expected a value"),
        ([*LINES, "1,4,0,0,0,yes,1,0,1,4"], "column 'share', row 5: .*'yes'"),
    ],
)
def test_an_unexpected_file_is_refused(placed, lines, message):
    with pytest.raises(MTBenchError, match=rf"{FILE}: (.*: )?{message}"):
        dataset().load(placed(dataset(), {FILE: lines}))


def test_rows_are_divided_at_random(placed, prepared):
    rows = [
        f"{i % 23},{i % 29},{i % 2},{int(i % 5 == 0)},{int(i % 3 == 0)},{int(i % 7 == 0)},1,0,1,4" for i in range(400)
    ]
    placed(dataset(), {FILE: [HEADER, *rows]})
    columns = prepared(dataset())
    assert columns.counts == {"train": 320, "valid": 40, "test": 40, "warmup": 0}
    test = columns.open_test()
    ids = columns.row_ids(test)
    assert set(ids) != set(range(360, 400))
    assert test.labels.tolist() == [[i % 2, i % 3 == 0, i % 7 == 0, i % 5 == 0] for i in ids]
    assert set(columns.spec.categorical) == {"user_id", "item_id", "gender", "age", "video_category"}


def test_of_a_list_the_scenario_is_the_domain(placed, prepared):
    both = dataset(scenario=["QB-video", "QK-video"])
    rows = [
        f"{i % 23},{i % 29},{i % 2},{int(i % 5 == 0)},{int(i % 3 == 0)},{int(i % 7 == 0)},1,0,1,4" for i in range(400)
    ]
    placed(both, {"QB-video.csv": [HEADER, *rows[:100]], FILE: [HEADER, *rows[100:]]})
    columns = prepared(both)
    assert columns.spec.domains == columns.spec.categorical["scenario"] == 3
    for part in (columns.train, columns.valid, columns.open_test()):
        raw = columns.row_ids(part)
        assert columns.domains(part).to_pylist() == ["QB-video" if row < 100 else "QK-video" for row in raw]
        assert part.labels[:, 0].tolist() == [row % 2 for row in raw]
    assert dataset().schema().domain is None
