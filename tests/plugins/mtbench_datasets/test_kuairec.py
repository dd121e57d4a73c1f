from __future__ import annotations

import pandas as pd
import pytest

from mtbench.data.dataset import DatasetConfig
from mtbench.errors import MTBenchError
from mtbench_datasets.kuairec import KuaiRec

MATRIX, USERS, VIDEOS = "big_matrix.csv", "user_features.csv", "item_categories.csv"
HEADER = "user_id,video_id,play_duration,video_duration,time,date,timestamp,watch_ratio"
VIEWS = [
    "0,3649,13838,10867,2020-07-05 00:08:23.438,20200705,1593878903.438,1.273397",
    "0,3649,13838,10867,2020-07-05 00:08:23.438,20200705,1593878903.438,1.273397",
    "0,3649,22000,11000,2020-07-05 23:59:59.9,20200705,1593964799.9,2.0",
    "14,9598,9999,10000,2020-07-06 00:00:00,20200706,1593964800,0.9999",
    "14,9598,10000,10000,2020-07-06 00:00:01,20200706,1593964801,1",
]
USER_HEADER = (
    "user_id,user_active_degree,is_lowactive_period,is_live_streamer,is_video_author,follow_user_num,"
    "follow_user_num_range,fans_user_num,fans_user_num_range,friend_user_num,friend_user_num_range,register_days,"
    "register_days_range," + ",".join(f"onehot_feat{i}" for i in range(18))
)
USER = '{},high_active,0,0,1,5,"(0,10]",0,0,0,0,107,61-90,0,1,17,638,2,0,1,6,184,6,3,0,,0.0,0.0,0.0,0.0,0.0'
FILES = {
    MATRIX: [HEADER, *VIEWS],
    USERS: [USER_HEADER, USER.format(0), USER.format(14)],
    VIDEOS: ["video_id,feat", "3649,[8]", '9598,"[27, 9]"'],
}


def dataset():
    return KuaiRec(DatasetConfig())


def test_views_are_labelled_by_the_watch_ratio(placed, check_features):
    table = dataset().load(placed(dataset(), FILES))
    rows = table.to_pylist()
    assert [(r["complete"], r["twice"]) for r in rows] == [(1, 0), (1, 1), (0, 0), (1, 0)]
    assert [r["tag"] for r in rows] == [["8"], ["8"], ["27", "9"], ["27", "9"]]
    assert [r["video_duration"] for r in rows] == [10867, 11000, 10000, 10000]
    first = rows[0]
    assert (first["timestamp"], first["play_duration"], first["watch_ratio"]) == (1593878903.438, 13838, 1.273397)
    assert (first["follow_user_num_range"], first["is_video_author"], first["onehot_feat3"]) == ("(0,10]", 1, 638)
    assert (first["onehot_feat12"], first["onehot_feat13"]) == (None, 0)
    check_features(dataset(), table)


def test_the_hour_is_that_of_the_release(placed):
    rows = dataset().load(placed(dataset(), FILES)).to_pylist()
    written = [pd.Timestamp(line.split(",")[4]).hour for line in VIEWS[1:]]
    assert [r["hour"] for r in rows] == written == [0, 23, 0, 0]


@pytest.mark.parametrize(
    ("name", "lines", "message"),
    [
        (MATRIX, [HEADER.replace("watch_ratio", "ratio"), VIEWS[0]], "row 1: there is no column watch_ratio"),
        (MATRIX, [HEADER, VIEWS[0], f"{VIEWS[0]},1"], "Row #3: Expected 8 columns, got 9"),
        (MATRIX, [HEADER, VIEWS[0].replace("13838", "long")], "column 'play_duration', row 2: .*'long'"),
        (MATRIX, [HEADER, VIEWS[0].replace("1.27", "-1.27")], "column 'watch_ratio', row 2: found -1.27"),
        (MATRIX, [HEADER, VIEWS[0].replace("1.273397", "inf")], "column 'watch_ratio', row 2: found inf"),
        (USERS, FILES[USERS][:2], "column 'user_id': 14 is among the interactions and has no row here"),
        (USERS, [USER_HEADER, USER.format("0").replace("638", "6.5")], "column 'onehot_feat3', row 2: found 6.5"),
        (VIDEOS, [*FILES[VIDEOS], "5,8"], "column 'feat', row 4: found '8', expected a list of tags"),
        (VIDEOS, [*FILES[VIDEOS], "3649,[1]"], "column 'video_id': 3649 occurs twice"),
    ],
)
def test_an_unexpected_file_is_refused(placed, name, lines, message):
    with pytest.raises(MTBenchError, match=rf"{name}: (.*: )?{message}"):
        dataset().load(placed(dataset(), FILES | {name: lines}))


def test_the_last_views_are_test(placed, prepared):
    ratios = (0.5, 1.5, 2.5, 0.1)
    views = [
        f"{14 * (i % 2)},3649,1000,{2000 + i % 5},x,20200705,{1593878903 + i}.5,{ratios[i % 4]}" for i in range(400)
    ]
    placed(dataset(), FILES | {MATRIX: [HEADER, *views], VIDEOS: FILES[VIDEOS][:2]})
    columns = prepared(dataset())
    assert columns.counts == {"train": 320, "valid": 40, "test": 40, "warmup": 0}
    assert set(columns.row_ids(columns.open_test())) == set(range(360, 400))
    assert columns.positive_rates() == {"complete": 0.5, "twice": 0.25}
    assert columns.spec.numeric == ("video_duration",)
