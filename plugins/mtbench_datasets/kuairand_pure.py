"""KuaiRand-Pure: short videos shown by Kuaishou's recommender, with what the users did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from mtbench import Card, Dataset, DatasetConfig, Feature, Schema, Source, Split, Task
from mtbench_datasets.raw_files import (
    attach,
    drop_duplicates,
    read_delimited,
    read_parquet,
    refuse_unless_binary,
    refuse_where,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_FOLDER = {"late": "kuairand_pure_late", "official": "KuaiRand-Pure/data"}
_LOGS = {
    "late": ("val.parquet", "test.parquet"),
    "official": ("log_standard_4_08_to_4_21_pure.csv", "log_standard_4_22_to_5_08_pure.csv"),
}
_USERS = "user_features_pure.csv"
_VIDEOS = "video_features_basic_pure.csv"
_STATISTICS = {"late": "item_features.parquet", "official": "video_features_statistic_pure.csv"}
_HISTORIES = "user_sequences.parquet"
_SHA256 = {
    "val.parquet": "77d41160c6ad7b67ea9497881c965d7650d3e1b494c3f3b1dfcf8df11e6395c0",
    "test.parquet": "afe40f62090c7cf086700038c7f754b9598e4f3b7e2d3fd923fe662e30ea01cb",
    "user_features_pure.csv": "dc729a656301b4c6d07f713fe41d05ec9bfaab670b90e531c70037caf033c011",
    "video_features_basic_pure.csv": "a6f7ee02684c5777422306cdc416e170302288aa89aca9dfea995edbd625bcc2",
    "user_sequences.parquet": "322e6dcd06ed2939611287b3dc5ce49b2154bbe6bf65183248cd58e9925fcc5d",
    "item_features.parquet": "d5e02514a967a593de86279284de89427aa2bbf8f747771441635c7f27a75d5d",
}

_TASKS = {"click": "is_click", "long_view": "long_view", "like": "is_like", "profile_enter": "is_profile_enter"}
_OUTCOMES = (
    *("is_follow", "is_comment", "is_forward", "is_hate"),
    *("play_time_ms", "profile_stay_time", "comment_stay_time"),
)
_LOG = (
    *("user_id", "video_id", "date", "hourmin", "time_ms", "is_click", "is_like", "is_follow", "is_comment"),
    *("is_forward", "is_hate", "long_view", "play_time_ms", "duration_ms", "profile_stay_time", "comment_stay_time"),
    *("is_profile_enter", "is_rand", "tab"),
)
USER_WORDS = (
    *("user_active_degree", "follow_user_num_range", "fans_user_num_range", "friend_user_num_range"),
    "register_days_range",
)
USER_CODES = ("is_live_streamer", "is_video_author", *(f"onehot_feat{i}" for i in range(18)))
_USER_COUNTS = ("follow_user_num", "fans_user_num", "friend_user_num")
_VIDEO_WORDS = ("video_type", "upload_dt", "upload_type")
_VIDEO_CODES = ("author_id", "music_id", "music_type")
_VIDEO_SIZES = ("video_duration", "server_width", "server_height")
_VIDEO_STATISTICS = (
    *("counts", "show_cnt", "show_user_num", "play_cnt", "play_user_num", "play_duration", "complete_play_cnt"),
    *("complete_play_user_num", "valid_play_cnt", "valid_play_user_num", "long_time_play_cnt"),
    *("long_time_play_user_num", "short_time_play_cnt", "short_time_play_user_num", "play_progress"),
    *("comment_stay_duration", "like_cnt", "like_user_num", "click_like_cnt", "double_click_cnt", "cancel_like_cnt"),
    *("cancel_like_user_num", "comment_cnt", "comment_user_num", "direct_comment_cnt", "reply_comment_cnt"),
    *("delete_comment_cnt", "delete_comment_user_num", "comment_like_cnt", "comment_like_user_num", "follow_cnt"),
    *("follow_user_num", "cancel_follow_cnt", "cancel_follow_user_num", "share_cnt", "share_user_num"),
    *("download_cnt", "download_user_num", "report_cnt", "report_user_num", "reduce_similar_cnt"),
    *("reduce_similar_user_num", "collect_cnt", "collect_user_num", "cancel_collect_cnt", "cancel_collect_user_num"),
    *("direct_comment_user_num", "reply_comment_user_num", "share_all_cnt", "share_all_user_num"),
    "outsite_share_all_cnt",
)

_FIRST_DAY, _VALID_FROM, _TEST_FROM, _LAST_DAY = 20220408, 20220505, 20220507, 20220508
_BEIJING_HOURS = 8


class KuaiRandConfig(DatasetConfig):
    """Which rows and which columns of KuaiRand-Pure."""

    release: Literal["late", "official"] = Field(
        "late", description="'official': the whole release; 'late': its last 14 days, which are redistributed."
    )
    statistics: bool = Field(
        False, description="Add counts over the whole collection period as features: a mild look into the future."
    )


class KuaiRandPure(Dataset[KuaiRandConfig]):
    """Impressions of KuaiRand-Pure's standard policy, split by date (Gao et al., CIKM 2022).

    The last two days are test, the two before them valid. Exact duplicates are dropped. Every task is predicted over
    all impressions. The hour is that of the impression in Beijing: the log's own ``hourmin`` runs ahead of it.
    """

    Config = KuaiRandConfig
    split = Split(by="official")
    card = Card(
        title="KuaiRand-Pure",
        licence="CC BY-SA 4.0",
        citation=(
            "Gao et al., KuaiRand: An Unbiased Sequential Recommendation Dataset with Randomly Exposed Videos, "
            "CIKM 2022"
        ),
        url="https://kuairand.com",
        description=(
            "Impressions of short videos, 2022-04-25 to 2022-05-08, by 25,156 users of 6,361 videos: 167,281 rows to "
            "2022-05-04 train, 26,683 of 05-05 and 05-06 valid, 28,905 of 05-07 and 05-08 test. These numbers are of "
            "`release: late`; `release: official` reads the CSV files of the whole release, whose training rows start "
            "on 2022-04-08, and has the same validation and test days."
        ),
        rows=222_869,
        positive_rates={"click": 0.449008, "long_view": 0.316428, "like": 0.017382, "profile_enter": 0.018859},
        traps=(
            "The raw log repeats 5,460 rows exactly; they are dropped.",
            "The log's hour and date run ahead of its time stamp, so hours are taken from the time stamp.",
            (
                "The parts are by date and so overlap in time: 150 training rows are later than the first validation "
                "row, by up to 13 minutes, and 707 validation rows later than the first test row, by up to 49."
            ),
            "All videos were uploaded within three days: an age would be the date in disguise; the day is a feature.",
            "User features (activity, ranges of counts, days since registration) are snapshots.",
            "Exact counts and video statistics cover the whole period: `statistics` adds them, a mild look ahead.",
            "0.1 % of rows have long_view without click: nearly a funnel, yet each task is predicted over all rows.",
            "4.1 % of test rows have a user, and 1.0 % a video, without training rows.",
            (
                "Earlier events (`late`): watch_seq is every impression, clicked or not, and is left out. A long watch "
                "counts as a positive of long_view and click (99.6 % of long views are clicks), a like as one of like. "
                "They have an order but no times; users whose last one is not before the first row are left out."
            ),
        ),
        acknowledged={"time-order": "The split is by the log's date, as in other work; it overlaps by minutes."},
    )

    def sources(self) -> Sequence[Source]:
        """Return the logs, the features of users and videos and, if asked for, the statistics."""
        release = self.config.release
        names = [*_LOGS[release], _USERS, _VIDEOS]
        if self.config.statistics:
            names.append(_STATISTICS[release])
        if release == "late":
            names.append(_HISTORIES)
        return [
            Source(
                name=name,
                sha256=_SHA256[name] if release == "late" else None,
                mirror=f"{_FOLDER[release]}/{name}",
            )
            for name in names
        ]

    def schema(self) -> Schema:
        """Return four tasks over one impression's context, user and video."""
        return make_impression_schema(statistics=self.config.statistics)

    def load(self, files: Mapping[str, Path]) -> pa.Table:
        """Return one row per impression in the order of the logs; ``time_ms`` is in milliseconds since 1970."""
        release = self.config.release
        return read_impressions(
            [files[name] for name in _LOGS[release]],
            files[_USERS],
            files[_VIDEOS],
            files[_STATISTICS[release]] if self.config.statistics else None,
        )

    def earlier_events(self, files: Mapping[str, Path]) -> pa.Table | None:
        """Return likes and long watches from before the first row; the official release has them as rows."""
        if _HISTORIES not in files:
            return None
        first = min(pc.min(_read_log(files[name])["time_ms"]).as_py() for name in _LOGS[self.config.release])
        lists = pa.list_(pa.int64())
        types = {"user_id": pa.int64(), "last_time_ms": pa.float64(), "like_seq": lists, "long_watch_seq": lists}
        histories = _read(files[_HISTORIES], types)
        histories = histories.filter(pc.less(histories["last_time_ms"], first))
        return pa.concat_tables(
            [
                _list_events(histories, "like_seq", {"like"}),
                _list_events(histories, "long_watch_seq", {"click", "long_view"}),
            ]
        )


def _list_events(histories: pa.Table, column: str, tasks: set[str]) -> pa.Table:
    owner = pc.list_parent_indices(histories[column].combine_chunks())
    marks = {task: pa.repeat(task in tasks, len(owner)) for task in _TASKS}
    videos = pc.list_flatten(histories[column])
    return pa.table({"user_id": histories["user_id"].take(owner), "video_id": videos, **marks})


def make_impression_schema(*, statistics: bool) -> Schema:
    """Return four tasks over one impression's context, user and video: the schema of every KuaiRand release."""
    features = [
        *(Feature(name=name, of="context") for name in ("tab", "hour")),
        *(Feature(name=name, of="user") for name in (*USER_WORDS, *USER_CODES)),
        *(Feature(name=name, of="item") for name in (*_VIDEO_WORDS, *_VIDEO_CODES)),
        *(Feature(name=name, of="item", kind="numeric", log=name == "video_duration") for name in _VIDEO_SIZES),
        Feature(name="tag", of="item", kind="multi"),
    ]
    if statistics:
        features += [Feature(name=name, of="user", kind="numeric", log=True) for name in _USER_COUNTS]
        features += [Feature(name=f"video_{x}", of="item", kind="numeric", log=True) for x in _VIDEO_STATISTICS]
    return Schema(
        tasks=tuple(Task(name=name, column=column) for name, column in _TASKS.items()),
        features=tuple(features),
        user="user_id",
        item="video_id",
        domain="tab",
        time="time_ms",
        split="split",
        outcomes=_OUTCOMES,
    )


def read_impressions(logs: Sequence[Path], users: Path, videos: Path, statistics: Path | None) -> pa.Table:
    """Return the rows of :func:`make_impression_schema`, in the order of the logs, without exact duplicates."""
    log = drop_duplicates(pa.concat_tables([_read_log(path) for path in logs]))
    split = pc.if_else(
        pc.less(log["date"], _VALID_FROM), "train", pc.if_else(pc.less(log["date"], _TEST_FROM), "valid", "test")
    )
    rows = log.select(["user_id", "video_id", "time_ms", "tab", *_TASKS.values(), *_OUTCOMES])
    rows = rows.append_column("hour", find_beijing_hour(pc.divide(log["time_ms"], 1000))).append_column("split", split)
    rows = attach(rows, "user_id", read_user_features(users, _USER_COUNTS if statistics else ()), users)
    rows = attach(rows, "video_id", _read_videos(videos), videos)
    return attach(rows, "video_id", _read_statistics(statistics), statistics) if statistics else rows


def find_beijing_hour(seconds: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the hour of the day in Beijing, 0 to 23, of whole seconds since 1970."""
    hour = pc.add(pc.divide(seconds, 3600), _BEIJING_HOURS)
    return pc.subtract(hour, pc.multiply(pc.divide(hour, 24), 24))


def _read(path: Path, types: Mapping[str, pa.DataType]) -> pa.Table:
    return read_parquet(path, types) if path.suffix == ".parquet" else read_delimited(path, types)


def _read_log(path: Path) -> pa.Table:
    table = _read(path, dict.fromkeys(_LOG, pa.int64()))
    outside = pc.or_(pc.less(table["date"], _FIRST_DAY), pc.greater(table["date"], _LAST_DAY))
    first_row = 1 if path.suffix == ".parquet" else 2
    refuse_unless_binary(table, tuple(_TASKS.values()), path, first_row=first_row)
    checks = [
        ("is_rand", pc.not_equal(table["is_rand"], 0), "0, the standard policy"),
        ("date", outside, f"a day from {_FIRST_DAY} to {_LAST_DAY}"),
    ]
    for name, wrong, expected in checks:
        refuse_where(wrong, table, name, path, expected, first_row=first_row)
    return table


def read_user_features(path: Path, counts: Sequence[str] = ()) -> pa.Table:
    """Return the users of a Kuaishou release: ``USER_WORDS``, ``USER_CODES`` and the ``counts`` asked for."""
    types = {
        "user_id": pa.int64(),
        **dict.fromkeys(USER_WORDS, pa.string()),
        **dict.fromkeys(USER_CODES, pa.float64()),
        **dict.fromkeys(counts, pa.float64()),
    }
    return _cast_codes(read_delimited(path, types, optional=(*USER_WORDS, *USER_CODES)), USER_CODES, path)


def _read_videos(path: Path) -> pa.Table:
    types = {
        "video_id": pa.int64(),
        **dict.fromkeys((*_VIDEO_WORDS, "tag"), pa.string()),
        **dict.fromkeys((*_VIDEO_CODES, *_VIDEO_SIZES), pa.float64()),
    }
    table = read_delimited(path, types, optional=[name for name in types if name != "video_id"])
    tags = pc.split_pattern(table["tag"], ",")
    return _cast_codes(table, _VIDEO_CODES, path).drop_columns("tag").append_column("tag", tags)


def _read_statistics(path: Path) -> pa.Table:
    """Return a video's statistics, named ``video_...``: a user has a ``follow_user_num`` too."""
    types = {"video_id": pa.int64(), **dict.fromkeys(_VIDEO_STATISTICS, pa.float64())}
    return _read(path, types).rename_columns(["video_id", *(f"video_{name}" for name in _VIDEO_STATISTICS)])


def _cast_codes(table: pa.Table, names: Sequence[str], path: Path) -> pa.Table:
    """Return ``table`` with integers for codes, which the release writes as 9 or 9.0."""
    for name in names:
        broken = pc.not_equal(pc.floor(table[name]), table[name])
        refuse_where(broken, table, name, path, "a whole number", first_row=2)
        table = table.set_column(table.column_names.index(name), name, table[name].cast(pa.int64()))
    return table
