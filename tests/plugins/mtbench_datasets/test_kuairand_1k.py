from __future__ import annotations

import pytest

from mtbench.errors import MTBenchError
from mtbench_datasets.kuairand_1k import KuaiRand1K, KuaiRand1KConfig
from mtbench_datasets.kuairand_pure import _VIDEO_STATISTICS, KuaiRandConfig, KuaiRandPure

EARLY, LATE = "log_standard_4_08_to_4_21_1k.csv", "log_standard_4_22_to_5_08_1k.csv"
USERS, VIDEOS, STATISTICS = "user_features_1k.csv", "video_features_basic_1k.csv", "video_features_statistic_1k.csv"
LOG_HEADER = (
    "user_id,video_id,date,hourmin,time_ms,is_click,is_like,is_follow,is_comment,is_forward,is_hate,long_view,"
    "play_time_ms,duration_ms,profile_stay_time,comment_stay_time,is_profile_enter,is_rand,tab"
)
USER_HEADER = (
    "user_id,user_active_degree,is_lowactive_period,is_live_streamer,is_video_author,follow_user_num,"
    "follow_user_num_range,fans_user_num,fans_user_num_range,friend_user_num,friend_user_num_range,register_days,"
    "register_days_range," + ",".join(f"onehot_feat{i}" for i in range(18))
)
USER = '0,full_active,0,-124,1,514,500+,150,"[100,1k)",34,"[30,60)",799,730+,1,1,29,949,1.0,0,0,14,135,6,3,0,,1.0,,,,'
VIDEO_HEADER = (
    "video_id,author_id,video_type,upload_dt,upload_type,visible_status,video_duration,server_width,server_height,"
    "music_id,music_type,tag"
)
VIDEO = '7,7349781,NORMAL,2022-04-10,LongImport,0.0,87433.0,720.0,1280.0,9155697141,9.0,"39,68"'
BARE = "8,,,,,,,,,,,"


def view(day, milliseconds=1650812741436, video=7, click=1, like=0, long=1, enter=0):
    return f"0,{video},{day},2300,{milliseconds},{click},{like},0,0,0,0,{long},61802,49866,0,0,{enter},0,1"


FILES = {
    EARLY: [LOG_HEADER, view(20220420), view(20220420)],
    LATE: [LOG_HEADER, view(20220505, video=8, click=0, long=0), view(20220507, enter=1)],
    USERS: [USER_HEADER, USER],
    VIDEOS: [VIDEO_HEADER, VIDEO, BARE],
    STATISTICS: [
        f"video_id,{','.join(_VIDEO_STATISTICS)}",
        *(f"{video}," + ",".join(str(video + i / 2) for i in range(len(_VIDEO_STATISTICS))) for video in (7, 8)),
    ],
}


def dataset(**settings):
    return KuaiRand1K(KuaiRand1KConfig(**settings))


def test_the_release_is_read(placed, check_features):
    table = dataset().load(placed(dataset(), FILES))
    first, second, third = table.to_pylist()
    assert [r["split"] for r in (first, second, third)] == ["train", "valid", "test"]
    assert [r["is_click"] for r in (first, second, third)] == [1, 0, 1]
    assert [r["is_profile_enter"] for r in (first, second, third)] == [0, 0, 1]
    assert (first["tag"], first["music_id"], first["video_duration"], first["hour"]) == (
        ["39", "68"],
        9155697141,
        87433,
        23,
    )
    assert (second["tag"], second["author_id"], second["video_type"], second["video_duration"]) == (None,) * 4
    check_features(dataset(), table)


def test_it_is_read_as_kuairand_pure_is(placed):
    pure = KuaiRandPure(KuaiRandConfig(release="official", statistics=True))
    files = placed(dataset(statistics=True), FILES)
    renamed = {name.replace("_1k.csv", "_pure.csv"): path for name, path in files.items()}
    assert dataset(statistics=True).load(files).equals(pure.load(renamed))
    assert dataset(statistics=True).schema() == pure.schema()
    assert dataset().schema() == KuaiRandPure(KuaiRandConfig(release="official")).schema()


def test_statistics_come_on_demand_alone(placed):
    assert [source.name for source in dataset().sources()] == [EARLY, LATE, USERS, VIDEOS]
    assert dataset(statistics=True).sources()[-1].mirror == f"KuaiRand-1K/data/{STATISTICS}"
    table = dataset(statistics=True).load(placed(dataset(statistics=True), FILES))
    assert table["video_show_cnt"].to_pylist() == [7.5, 8.5, 7.5]


@pytest.mark.parametrize(
    ("name", "lines", "message"),
    [
        (EARLY, [LOG_HEADER.replace("tab", "scene"), FILES[EARLY][1]], "there is no column tab"),
        (LATE, [LOG_HEADER, f"{FILES[LATE][1]},5"], "Row #2: Expected 19 columns, got 20"),
        (LATE, [LOG_HEADER, view(20220505, click=2)], "column 'is_click', row 2: found 2, expected 0 or 1"),
        (LATE, [LOG_HEADER, view(20220509)], "column 'date', row 2: found 20220509"),
        (USERS, [USER_HEADER, f"1{USER[1:]}"], "column 'user_id': 0 is among the interactions"),
        (VIDEOS, [VIDEO_HEADER, VIDEO, BARE, f"{BARE[:-1]}"], "Row #4: Expected 12 columns, got 11"),
        (VIDEOS, [VIDEO_HEADER, VIDEO.replace("720.0", "wide"), BARE], "column 'server_width', row 2: .*'wide'"),
    ],
)
def test_an_unexpected_file_is_refused(placed, name, lines, message):
    with pytest.raises(MTBenchError, match=rf"{name}: (.*: )?{message}"):
        dataset().load(placed(dataset(), FILES | {name: lines}))


def test_the_last_impressions_are_test(placed, prepared):
    views = [
        view(20220501, 1650812741436 + i, 7 + i % 2, i % 3 == 0, i % 5 == 0, i % 7 == 0, i % 11 == 0)
        for i in range(400)
    ]
    placed(
        dataset(), FILES | {LATE: [LOG_HEADER, *(text.replace("True", "1").replace("False", "0") for text in views)]}
    )
    columns = prepared(dataset())
    assert columns.counts == {"train": 321, "valid": 40, "test": 40, "warmup": 0}
    test = columns.open_test()
    assert set(columns.row_ids(test)) == set(range(361, 401))
    last = range(360, 400)
    expected = [[i % 3 == 0, i % 7 == 0, i % 5 == 0, i % 11 == 0] for i in last]
    assert test.labels.tolist() == expected
