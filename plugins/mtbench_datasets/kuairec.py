"""KuaiRec: how long users of Kuaishou watched the videos they were shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from mtbench import Card, Dataset, DatasetConfig, Feature, Schema, Source, Split, Task
from mtbench_datasets.kuairand_pure import USER_CODES, USER_WORDS, find_beijing_hour, read_user_features
from mtbench_datasets.raw_files import attach, drop_duplicates, read_delimited, refuse_where

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_FOLDER = "KuaiRec 2.0/data"
_MATRIX, _USERS, _VIDEOS = "big_matrix.csv", "user_features.csv", "item_categories.csv"
_INTERACTIONS = {
    **dict.fromkeys(("user_id", "video_id", "play_duration", "video_duration"), pa.int64()),
    **dict.fromkeys(("timestamp", "watch_ratio"), pa.float64()),
}
_TASKS = {"complete": 1.0, "twice": 2.0}
_TAGS = r"^\[(\d+(, ?\d+)*)?\]$"


class KuaiRec(Dataset[DatasetConfig]):
    """KuaiRec 2.0's big matrix (Gao et al., CIKM 2022), split by time.

    Tasks over all views: ``complete``, watched for the video's length or longer, and ``twice``, twice its length, near
    the like (more than twice) that the release suggests. Columns are those that its README describes; exact duplicates
    are dropped. The hour is that in Beijing.
    """

    split = Split(by="time")
    card = Card(
        title="KuaiRec",
        licence="CC BY-SA 4.0",
        citation=(
            "Gao et al., KuaiRec: A Fully-observed Dataset and Insights for Evaluating Recommender Systems, CIKM 2022"
        ),
        url="https://kuairec.com",
        description=(
            "12,530,806 views of 10,728 short videos by 7,176 users in the summer of 2020, before duplicates are "
            "dropped, with user features and video tags. Put the release's folder 'KuaiRec 2.0' below the data folder."
        ),
        traps=(
            (
                "There is no click, like or follow: both tasks are thresholds of one watch ratio, and twice implies "
                "complete."
            ),
            "Both labels are relative to the video's length, which is a feature and alone tells much.",
            "The release repeats many rows of the big matrix exactly (968,004 by another's count); they are dropped.",
            (
                "The small matrix (1,411 users, 3,327 videos, 99.6 % observed) is not read: its pairs are missing "
                "from the big one."
            ),
            "User features are snapshots.",
            "item_daily_features.csv is not read: its counts of a day contain the views of that day.",
        ),
    )

    def sources(self) -> Sequence[Source]:
        """Return the big matrix, the users and the tags of the videos."""
        return [Source(name=name, mirror=f"{_FOLDER}/{name}") for name in (_MATRIX, _USERS, _VIDEOS)]

    def schema(self) -> Schema:
        """Return two tasks over one view's hour, user and video."""
        return Schema(
            tasks=tuple(Task(name=name) for name in _TASKS),
            features=(
                Feature(name="hour", of="context"),
                *(Feature(name=name, of="user") for name in (*USER_WORDS, *USER_CODES)),
                Feature(name="video_duration", of="item", kind="numeric", log=True),
                Feature(name="tag", of="item", kind="multi"),
            ),
            user="user_id",
            item="video_id",
            time="timestamp",
            outcomes=("play_duration", "watch_ratio"),
        )

    def load(self, files: Mapping[str, Path]) -> pa.Table:
        """Return one row per view in the order of the file; ``timestamp`` is in seconds since 1970."""
        path = files[_MATRIX]
        views = read_delimited(path, _INTERACTIONS)
        for name in ("play_duration", "watch_ratio"):
            wrong = pc.invert(pc.and_(pc.greater_equal(views[name], 0), pc.is_finite(views[name])))
            refuse_where(wrong, views, name, path, "a number from 0", first_row=2)
        views = drop_duplicates(views)
        for name, ratio in _TASKS.items():
            views = views.append_column(name, pc.greater_equal(views["watch_ratio"], ratio).cast(pa.int8()))
        views = views.append_column("hour", find_beijing_hour(pc.floor(views["timestamp"]).cast(pa.int64())))
        views = attach(views, "user_id", read_user_features(files[_USERS]), files[_USERS])
        return attach(views, "video_id", _read_tags(files[_VIDEOS]), files[_VIDEOS])


def _read_tags(path: Path) -> pa.Table:
    table = read_delimited(path, {"video_id": pa.int64(), "feat": pa.string()})
    wrong = pc.invert(pc.match_substring_regex(table["feat"], _TAGS))
    refuse_where(wrong, table, "feat", path, "a list of tags such as [27, 9]", first_row=2)
    tags = pc.extract_regex(table["feat"], r"\[(?P<tags>.*)\]")
    tags = pc.split_pattern_regex(pc.struct_field(tags, "tags"), ", ?")
    return table.drop_columns("feat").append_column("tag", tags)
