"""KuaiRand-1K: everything that Kuaishou's recommender showed to a thousand users within a month."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from mtbench import Card, Dataset, DatasetConfig, Schema, Source, Split
from mtbench_datasets.kuairand_pure import make_impression_schema, read_impressions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa

_LOGS = ("log_standard_4_08_to_4_21_1k.csv", "log_standard_4_22_to_5_08_1k.csv")
_USERS, _VIDEOS, _STATISTICS = "user_features_1k.csv", "video_features_basic_1k.csv", "video_features_statistic_1k.csv"


class KuaiRand1KConfig(DatasetConfig):
    """Which columns of KuaiRand-1K."""

    statistics: bool = Field(
        False, description="Add counts over the whole collection period as features: a mild look into the future."
    )


class KuaiRand1K(Dataset[KuaiRand1KConfig]):
    """Impressions of KuaiRand-1K's standard policy (Gao et al., CIKM 2022), split by time.

    Rows, tasks and features are made exactly as those of KuaiRand-Pure, whose files the release describes as the same
    but for the suffix. ``split: {by: official}`` divides by the days that are used for KuaiRand-Pure.
    """

    Config = KuaiRand1KConfig
    split = Split(by="time")
    card = Card(
        title="KuaiRand-1K",
        licence="CC BY-SA 4.0",
        citation=(
            "Gao et al., KuaiRand: An Unbiased Sequential Recommendation Dataset with Randomly Exposed Videos, "
            "CIKM 2022"
        ),
        url="https://kuairand.com",
        description=(
            "Impressions of short videos, 2022-04-08 to 2022-05-08: 11,713,045 of 4,369,953 videos to 1,000 users by "
            "the release's table, before duplicates are dropped. Put the release's folder KuaiRand-1K below the data "
            "folder."
        ),
        traps=(
            "Logs are complete per user, unlike KuaiRand-Pure's, and long: thousands of impressions for each.",
            "There are more videos than a third of the rows: most are shown once or twice, and item ids learn little.",
            "Exact duplicates are dropped. The random policy's log is not read.",
            "KuaiRand-Pure's log has hours ahead of its time stamps; here too hours are taken from the time stamp.",
            "User features (activity, ranges of counts, days since registration) are snapshots.",
            "Exact counts and video statistics cover the whole period: `statistics` adds them, a mild look ahead.",
        ),
        acknowledged={"time-order": "The split by days is by the log's date, which runs ahead of the time stamp."},
    )

    def sources(self) -> Sequence[Source]:
        """Return the logs, the features of users and videos and, if asked for, the statistics."""
        names = (*_LOGS, _USERS, _VIDEOS, *([_STATISTICS] if self.config.statistics else []))
        return [Source(name=name, mirror=f"KuaiRand-1K/data/{name}") for name in names]

    def schema(self) -> Schema:
        """Return four tasks over one impression's context, user and video."""
        return make_impression_schema(statistics=self.config.statistics)

    def load(self, files: Mapping[str, Path]) -> pa.Table:
        """Return one row per impression in the order of the logs; ``time_ms`` is in milliseconds since 1970."""
        statistics = files[_STATISTICS] if self.config.statistics else None
        return read_impressions([files[name] for name in _LOGS], files[_USERS], files[_VIDEOS], statistics)
