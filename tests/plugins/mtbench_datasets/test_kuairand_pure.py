from __future__ import annotations

import csv
import os

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from mtbench.data.sources import locate
from mtbench.errors import MTBenchError
from mtbench_datasets.kuairand_pure import _VIDEO_STATISTICS, KuaiRandConfig, KuaiRandPure

EARLY, LATE = "log_standard_4_08_to_4_21_pure.csv", "log_standard_4_22_to_5_08_pure.csv"
USERS, VIDEOS = "user_features_pure.csv", "video_features_basic_pure.csv"
STATISTICS = "video_features_statistic_pure.csv"
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
ROW = "0,7,20220425,0,1650812741436,1,0,0,0,0,0,1,61802,49866,0,0,0,0,1"


def files_in(folder, **changed):
    """Write the official release's layout, with the given files' lines changed, and return its paths."""
    lines = {
        EARLY: [LOG_HEADER, ROW.replace("20220425", "20220420")],
        LATE: [LOG_HEADER, ROW, *(ROW.replace("20220425", f"202205{day}") for day in ("04", "05", "06", "07", "08"))],
        USERS: [USER_HEADER, USER],
        VIDEOS: [VIDEO_HEADER, VIDEO],
        STATISTICS: [
            f"video_id,{','.join(_VIDEO_STATISTICS)}",
            "7," + ",".join(str(i / 2) for i in range(len(_VIDEO_STATISTICS))),
        ],
    }
    for name, text in {**lines, **changed}.items():
        (folder / name).write_text("\n".join(text) + "\n")
    return {name: folder / name for name in lines}


def official(**settings):
    return KuaiRandPure(KuaiRandConfig(release="official", **settings))


@pytest.fixture(scope="module")
def real():
    """Return the late release's raw files and its table."""
    if not os.environ.get("MTBENCH_DATA"):
        pytest.skip("MTBENCH_DATA is unset: no KuaiRand-Pure files")
    dataset = KuaiRandPure(KuaiRandConfig())
    files = {source.name: locate(source) for source in dataset.sources()}
    return files, dataset.load(files)


def test_the_official_layout_is_read(tmp_path):
    table = official().load(files_in(tmp_path))
    assert table["split"].to_pylist() == ["train", "train", "train", "valid", "valid", "test", "test"]
    row = table.to_pylist()[1]
    assert row["time_ms"] == 1650812741436
    assert row["hour"] == pd.Timestamp(1650812741436, unit="ms", tz="UTC").tz_convert("Asia/Shanghai").hour
    assert (row["is_click"], row["long_view"], row["is_like"], row["is_profile_enter"]) == (1, 1, 0, 0)
    assert (row["tag"], row["music_type"], row["author_id"]) == (["39", "68"], 9, 7349781)
    assert (row["fans_user_num_range"], row["onehot_feat3"], row["onehot_feat12"]) == ("[100,1k)", 949, None)
    assert row["video_duration"] == 87433.0


def test_files_that_were_saved_again_are_read_as_the_originals(tmp_path):
    files = files_in(tmp_path)
    expected = official(statistics=True).load(files)
    for path in files.values():
        path.write_text(path.read_text() + "\n", encoding="utf-8-sig", newline="\r\n")
    assert official(statistics=True).load(files) == expected


def test_exact_duplicates_alone_are_dropped(tmp_path):
    other = ROW.replace("61802", "61803")
    table = official().load(files_in(tmp_path, **{LATE: [LOG_HEADER, ROW, other, ROW, other]}))
    assert table["play_time_ms"].to_pylist() == [61802, 61802, 61803]


def test_missing_tags_and_durations_are_null(tmp_path):
    video = "7,7349781,NORMAL,2022-04-10,LongImport,0.0,,720.0,1280.0,9155697141,,"
    row = official().load(files_in(tmp_path, **{VIDEOS: [VIDEO_HEADER, video]})).to_pylist()[0]
    assert (row["tag"], row["video_duration"], row["music_type"]) == (None, None, None)


@pytest.mark.parametrize(
    ("name", "lines", "message"),
    [
        (LATE, [LOG_HEADER, ROW, ROW.removesuffix("0,1") + "1,1"], "column 'is_rand', row 3: found 1, expected 0"),
        (LATE, [LOG_HEADER, ROW.replace("20220425", "20220509")], "column 'date', row 2: found 20220509"),
        (EARLY, [LOG_HEADER, ROW.replace("436,1,", "436,2,")], "column 'is_click', row 2: found 2, expected 0 or 1"),
        (EARLY, [LOG_HEADER, f"{ROW},5"], "Row #2: Expected 19 columns, got 20"),
        (EARLY, [LOG_HEADER.replace("tab", "scene"), ROW], "there is no column tab"),
        (USERS, [USER_HEADER, "1" + USER[1:]], "column 'user_id': 0 is among the interactions"),
        (USERS, [USER_HEADER, USER, USER], "column 'user_id': 0 occurs twice"),
        (VIDEOS, [VIDEO_HEADER, VIDEO.replace("9.0,", "9.5,")], "column 'music_type', row 2: found 9.5"),
        (VIDEOS, [VIDEO_HEADER, VIDEO.replace("720.0", "wide")], "column 'server_width', row 2: .*'wide'"),
    ],
)
def test_an_unexpected_file_is_refused(tmp_path, name, lines, message):
    with pytest.raises(MTBenchError, match=rf"{name}: (.*: )?{message}"):
        official().load(files_in(tmp_path, **{name: lines}))


def test_statistics_come_on_demand_alone(tmp_path):
    files = files_in(tmp_path)
    off, on = official(), official(statistics=True)
    assert STATISTICS not in {source.name for source in off.sources()}
    assert STATISTICS in {source.name for source in on.sources()}
    added = {f.name for f in on.schema().features} - {f.name for f in off.schema().features}
    assert len(added) == 51 + 3
    assert not added & set(off.load(files).column_names)
    row = on.load(files).to_pylist()[0]
    assert (row["follow_user_num"], row["video_counts"], row["video_outsite_share_all_cnt"]) == (514.0, 0.0, 25.0)
    assert row["video_follow_user_num"] == _VIDEO_STATISTICS.index("follow_user_num") / 2


@pytest.mark.parametrize("statistics", [False, True])
def test_no_outcome_is_a_feature_and_every_column_is_there(tmp_path, statistics):
    dataset = official(statistics=statistics)
    schema = dataset.schema()
    sources = {feature.source for feature in schema.features}
    assert not sources & {*schema.outcomes, *(task.label for task in schema.tasks)}
    assert not sources & {"date", "hourmin", "duration_ms", "is_rand", "split", "time_ms"}
    named = {*sources, *schema.outcomes, *(task.label for task in schema.tasks)}
    named |= {schema.user, schema.item, schema.time, schema.split}
    assert named == set(dataset.load(files_in(tmp_path)).column_names)


def test_a_missing_official_file_says_where_it_belongs(tmp_path, monkeypatch):
    monkeypatch.setenv("MTBENCH_DATA", str(tmp_path))
    monkeypatch.setenv("MTBENCH_CACHE", str(tmp_path / "cache"))
    with pytest.raises(MTBenchError, match=rf"KuaiRand-Pure/data/{EARLY}"):
        locate(official().sources()[0])


def test_the_card_tells_the_truth(real):
    files, table = real
    frame = table.select(["user_id", "video_id", "time_ms", "split", "is_click", "long_view"]).to_pandas()
    card = KuaiRandPure.card
    assert len(frame) == card.rows
    for task in KuaiRandPure(KuaiRandConfig()).schema().tasks:
        assert table[task.label].to_numpy().mean() == pytest.approx(card.positive_rates[task.name], abs=1e-6)
    assert frame["split"].value_counts().to_dict() == {"train": 167_281, "valid": 26_683, "test": 28_905}
    assert (frame["user_id"].nunique(), frame["video_id"].nunique()) == (25_156, 6_361)
    train, valid, test = (frame[frame["split"] == part] for part in ("train", "valid", "test"))
    assert (train["time_ms"] > valid["time_ms"].min()).sum() == 150
    assert (valid["time_ms"] > test["time_ms"].min()).sum() == 707
    assert (train["time_ms"].max() - valid["time_ms"].min()) / 60_000 == pytest.approx(13, abs=1)
    assert (valid["time_ms"].max() - test["time_ms"].min()) / 60_000 == pytest.approx(49, abs=1)
    assert (~test["user_id"].isin(train["user_id"])).mean() == pytest.approx(0.041, abs=5e-4)
    assert (~test["video_id"].isin(train["video_id"])).mean() == pytest.approx(0.010, abs=5e-4)
    assert (frame["long_view"] > frame["is_click"]).mean() == pytest.approx(0.001, abs=5e-4)
    raw = sum(pa.parquet.read_metadata(files[name]).num_rows for name in ("val.parquet", "test.parquet"))
    assert raw - len(frame) == 5_460


def test_both_releases_are_read_alike(real, tmp_path):
    late_files, late = real
    files = {USERS: late_files[USERS], VIDEOS: late_files[VIDEOS]}
    for name, source in ((EARLY, "val.parquet"), (LATE, "test.parquet")):
        files[name] = tmp_path / name
        log = pa.parquet.read_table(late_files[source]).select(LOG_HEADER.split(","))
        pa.csv.write_csv(log, files[name], pa.csv.WriteOptions(quoting_style="none"))
    assert official().load(files).equals(late)
    assert official().schema() == KuaiRandPure(KuaiRandConfig()).schema()


def test_joined_features_equal_a_plain_look_up(real):
    files, table = real
    with files[VIDEOS].open() as file:
        videos = {int(line["video_id"]): line for line in csv.DictReader(file)}
    with files[USERS].open() as file:
        users = {int(line["user_id"]): line for line in csv.DictReader(file)}
    for row in table.slice(100_000, 2_000).to_pylist():
        video, user = videos[row["video_id"]], users[row["user_id"]]
        assert row["tag"] == (video["tag"].split(",") if video["tag"] else None)
        assert str(row["music_id"]) == video["music_id"]
        assert row["upload_dt"] == video["upload_dt"]
        assert str(row["onehot_feat8"]) == user["onehot_feat8"]
        assert row["register_days_range"] == user["register_days_range"]
